"""What is not installed is named with the extra that installs it, and every extra exists."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys

import pytest

from freehold.core import extras
from freehold.core.errors import MissingPart


@pytest.mark.parametrize(("module", "extra"), extras.MODULES.items())
def test_the_package_has_the_extra_and_the_sentence_names_it(module: str, extra: str) -> None:
    provided = importlib.metadata.metadata("freehold").get_all("Provides-Extra") or []
    assert extra in provided
    error = extras.missing(module, "a verb")
    assert error.message == f"a verb needs {module}, which is not installed"
    assert error.remedy == f"pip install 'freehold[{extra}]'"


def test_what_is_installed_is_not_imported_to_find_out() -> None:
    before = "ray" in sys.modules
    extras.need("ray", "--cluster")
    assert ("ray" in sys.modules) == before


def test_what_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPart, match="tuning needs torch"):
        extras.need("torch", "tuning")
