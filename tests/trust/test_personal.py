"""Personal data in texts, measured on two lists that were written for it; the figures are in
docs/evidence.md.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from freehold.trust import personal

HERE = Path(__file__).parent


def cases(name: str) -> list[tuple[str, str]]:
    """(kind, text) of a list; the kind ``none`` says that there is nothing personal."""
    lines = (HERE / name).read_text("utf-8").splitlines()
    pairs = [line.split("\t", 1) for line in lines if "\t" in line and not line.startswith("# ")]
    return [(kind, text) for kind, text in pairs]


def kinds(text: str) -> list[str]:
    return [found.kind for found in personal.find(text)]


@pytest.mark.parametrize(
    ("name", "personal_texts", "others", "recall", "false_alarms"),
    [("personal.tsv", 218, 87, 0.99, 0), ("personal_later.tsv", 95, 61, 0.97, 0)],
)
def test_the_lists_are_told_apart(
    name: str, personal_texts: int, others: int, recall: float, false_alarms: int
) -> None:
    listed = cases(name)
    wanted = [(kind, text) for kind, text in listed if kind != "none"]
    assert (len(wanted), len(listed) - len(wanted)) == (personal_texts, others)
    missed = [(kind, text) for kind, text in wanted if kind not in kinds(text)]
    alarms = [(text, kinds(text)) for kind, text in listed if kind == "none" and kinds(text)]
    assert len(missed) <= (1 - recall) * len(wanted), missed
    assert len(alarms) <= false_alarms, alarms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("IBAN DE89 3704 0044 0532 0130 00 UND BIC", "DE89 3704 0044 0532 0130 00"),
        ("(call +44 20 7946 0958)", "+44 20 7946 0958"),
        ("mail a.b@c.example.org, or not", "a.b@c.example.org"),
        ("DOB: 07-Apr-1988, male", "07-Apr-1988"),
        ("I spoke with Priya Raghunathan yesterday", "Priya Raghunathan"),
        ("password: Tr0ub4dor&3 was it", "Tr0ub4dor&3"),
    ],
)
def test_exactly_the_personal_part_is_found(text: str, found: str) -> None:
    (only,) = personal.find(text)
    assert text[only.start : only.end] == found


def test_a_number_is_judged_by_its_check_digits_and_by_what_it_is_said_to_be() -> None:
    assert kinds("36 574 261 809") == ["national number"]
    assert kinds("36 574 261 808") == []
    assert kinds("Steuer-ID 36 574 261 808") == ["national number"]  # mistyped, and still somebody's
    assert kinds("order number 4012888888881881") == []
    assert kinds("my card 4012888888881881") == ["card number"]


def test_several_things_in_one_text_are_all_found() -> None:
    text = "Hi Sarah, I am Jonas Weber, jonas@weber.de, +49 171 1234567, IBAN DE89370400440532013000."
    assert kinds(text) == ["name", "name", "email", "telephone", "iban"]


@pytest.mark.parametrize(
    "text",
    [
        part * 5_000
        for part in ("9999", "a", "AAAA", "Aa", "1 ", "a.b@", "::", "- ", "AB12", "((+1", "Ab'C", "x://y/~")
    ],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    personal.find(text)
    assert time.process_time() - started < 3.0
