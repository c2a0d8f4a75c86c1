"""YAML from anyone: bounded in time and memory, and refused in a sentence."""

from __future__ import annotations

import tracemalloc

import pytest

from freehold.core.errors import BadData
from freehold.core.yaml_text import MOST_CHARACTERS, MOST_DIGITS, MOST_LEVELS, MOST_VALUES, load

_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
_MERGES = "m: &m0 {x: 1}\n" + "".join(
    f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_LAUGHS, "values, with its aliases written out"),
        (_MERGES, "values, with its aliases written out"),
        ("- &a " + "x" * 100_000 + "\n" + "- *a\n" * 100, "characters, with its aliases written out"),
        ("a: &a [*a]", "has no complete anchor before it"),
        ("a: *nobody", "has no complete anchor before it"),
        ("[" * (MOST_LEVELS + 1), "levels deep"),
        ("- " * 100_000, "levels deep"),
        ("- 1\n" * (MOST_VALUES + 1), "more than 100,000 values"),
        ("a" * (MOST_CHARACTERS + 1), "are allowed"),
        ("a: " + "9" * (MOST_DIGITS + 1), f"more than {MOST_DIGITS} characters"),
        ("a: 0x" + "f" * 1_000_000, f"more than {MOST_DIGITS} characters"),
        ("a: " + ":".join(["59"] * 100_000), f"more than {MOST_DIGITS} characters"),
        ("a: 1." + "1" * 1_000_000, f"more than {MOST_DIGITS} characters"),
        ("%TAG !a! tag:x\n" * 100_000 + "---\na", "directives"),
        ("a: 1\nb: 2\n'a': 3", "line 3: the key 'a' appears twice"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: 2020-99-99", "month"),
        ("a: !!binary eA==", "the tag"),
        ("a: !!python/object/apply:os.system [ls]", "the tag"),
        ("a: !!int x", "the tag"),
        ("a: \ud800", "surrogates"),
        ("a: [1", "line 2, column 1"),
        ("? {a: b}\n: c", "unhashable"),
    ],
    ids=range(23),
)
def test_what_costs_more_than_its_length_is_refused(text: str, reason: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadData, match="README.md is not valid YAML") as refused:
            load(text, "README.md")
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 500


def test_ordinary_cards_are_read() -> None:
    text = (
        "license: mit\ntags: &t [a, 'b']\nalso: *t\nvalue: 0.91\nwhen: 2026-01-02\nnone: "
        "~\nyes: true\ninner: {<<: {p: 1, q: 1}, q: 2}\n"
    )
    card = load(text, "README.md")
    assert card["also"] == ["a", "b"]
    assert card["inner"] == {"p": 1, "q": 2}
    assert str(card["when"]) == "2026-01-02"
    assert load("", "README.md") is None
