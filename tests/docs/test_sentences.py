"""What a user reads is in plain English: some words must not come back."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: Each with what to write instead.
DIALECT = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\banew\b": "again, rebuild",
    r"\btold\b": "the noun, or 'asked to'",
    r"\bobliges?\b": "requires, obligations",
    r"\bis no (JSON|YAML)\b": "is not valid JSON",
    r"\b(trust|believe|accept|use|serve) \w+('s)? \w+ no more\b": "stop trusting",
    r"\bto the letter\b": "exactly, word for word",
    r"\bmade up after\b": "modelled on",
    r"\bstands? in the\b": "also appears in",
    r"\bheld against\b": "checked against",
    r"\bso many\b": "a number",
    r"\bof its own accord\b": "automatically",
    r"\bis there already\b": "already exists",
    r"\bin case alone\b": "only in case",
    r"\bis ending\b": "is shutting down",
    r"\bNot for you\b": "Access denied",
    r"\bgives? away\b": "reveals",
    r"\bdrawn out\b": "extracted",
    r"\bnobody's\b": "not anyone's",
    r"\bwere had\b|\bbe had\b": "fetched",
    r"(?<![\d,.{}])\b1 (rows|files|errors|models|faults|labels)\b": "1 row",
    r"\bfaults?\b": "error",
    r"\bto? wants\b": "expects",
}


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sentences", ROOT / "docs" / "sentences.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sentences"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def listed() -> list[Any]:
    """Every sentence: kind, source and text."""
    return _script().sentences()


def test_the_list_has_every_kind_of_sentence(listed: list[Any]) -> None:
    texts = {
        kind: [each.text for each in listed if each.kind == kind]
        for kind in ("help", "error", "text", "page")
    }
    assert "Stop trusting a key." in texts["help"]
    assert "there is no report {path}" in texts["error"]
    assert any(text.startswith("No model tried meets {names}") for text in texts["text"])
    assert "Licence obligations" in texts["page"]
    assert min(len(each) for each in texts.values()) > 300


@pytest.mark.parametrize("words", DIALECT)
def test_no_sentence_uses_dialect(listed: list[Any], words: str) -> None:
    pattern = re.compile(words)
    wrong = [f"{each.source}: {each.text[:200]}" for each in listed if pattern.search(_prose(each.text))]
    assert not wrong, f"write {DIALECT[words]}"


def test_the_dialect_is_recognized() -> None:
    caught = "x.json is no JSON; mend it, or make it anew; 1 rows; the name is there already; to the letter"
    assert sum(bool(re.search(words, caught)) for words in DIALECT) == 6
    assert _prose("{told.items} is fine") == "{} is fine"


def _prose(text: str) -> str:
    """The text without the names of values."""
    return re.sub(r"\{[^{}]*\}", "{}", text)
