"""What the kernel says of the processor; nothing where it says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.core import cpu_facts

SAID = """processor\t: 0
model name\t: A Processor: of two words
flags\t\t: fpu avx2 avx512f
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    cpu_facts.cpu_fact.cache_clear()
    yield
    cpu_facts.cpu_fact.cache_clear()


def says(text: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "cpuinfo"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(cpu_facts, "CPUINFO", file)


def test_a_fact_is_the_line_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(SAID, tmp_path, monkeypatch)
    assert cpu_facts.cpu_fact("model name") == "A Processor: of two words"
    assert cpu_facts.cpu_fact("no such line") == ""


@pytest.mark.parametrize("name", ["flags", "Features"])
def test_instruction_sets_have_two_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(SAID.replace("flags", name), tmp_path, monkeypatch)
    assert cpu_facts.cpu_flags() == {"fpu", "avx2", "avx512f"}


def test_where_the_kernel_says_nothing_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(None, tmp_path, monkeypatch)
    assert (cpu_facts.cpu_fact("model name"), cpu_facts.cpu_flags()) == ("", set())
