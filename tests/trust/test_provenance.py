"""The steps that a certificate tells: whatever source a model came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from freehold.models.intake import made_here
from freehold.models.store import Store
from freehold.trust import provenance
from tests.hub.models import gguf

WHEEL = {"file": "weights-1.0-py3-none-any.whl", "sha256": "ab" * 32}


@pytest.mark.parametrize(
    ("packages", "inputs"),
    [
        ([WHEEL], {WHEEL["file"]: WHEEL["sha256"]}),
        (["weights==1.0", "weights-part1==1.0"], {}),
        ([], {}),
        (None, {}),
    ],
    ids=["wheels", "names", "none", "absent"],
)
def test_a_pull_is_told_whatever_its_source_has_recorded(
    packages: list[Any] | None, inputs: dict[str, str], tmp_path: Path
) -> None:
    recorded = {"source": "known:x"} | ({} if packages is None else {"packages": packages})
    store = Store(tmp_path / "home")
    model = store.add("x", made_here({"x.gguf": gguf(tmp_path / "x.gguf")}), recorded)
    (step,) = provenance.steps(model)
    assert (step.kind, step.digest, step.inputs) == ("pulled", model.digest, inputs)
    assert step.details["source"] == "known:x"
    if packages and not inputs:
        assert step.details["packages"] == packages
