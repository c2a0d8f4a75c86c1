"""A pull takes a path as well as a source with a word before the colon."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.core.errors import UsageError
from freehold.models.store import Store
from freehold.workflows.pull import pull
from tests.hub.models import gguf


def test_a_path_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf(tmp_path / "small.gguf")
    store = Store(tmp_path / "home")
    assert pull(store, str(tmp_path / "small.gguf")).name == "small"
    monkeypatch.chdir(tmp_path)
    model = pull(store, "small.gguf", "near")
    assert model.info.provenance["source"] == "file:small.gguf"


def test_a_path_that_does_not_exist_is_told_apart_from_a_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a source"):
        pull(Store(tmp_path), "gone.gguf")
