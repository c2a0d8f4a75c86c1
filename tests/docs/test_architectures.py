"""docs/architectures.md says what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.quantization.conversion import converter
from tests.docs.architectures import CASES, DOCUMENT, HEAD, measure


@pytest.fixture(scope="module")
def _one_process() -> Iterator[None]:
    """The converter takes seconds to start."""
    with converter():
        yield


def test_the_page_has_a_line_for_each_architecture_and_no_other() -> None:
    text = DOCUMENT.read_text()
    assert text.startswith(HEAD)
    lines = text.removeprefix(HEAD).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == list(CASES)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("name", CASES)
def test_the_line_of_an_architecture_is_true(name: str, tmp_path: Path) -> None:
    assert measure(name, tmp_path).line(name) in DOCUMENT.read_text().splitlines()
