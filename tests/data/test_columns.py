"""Which column plays which part: parts as typed, guesses from names and values, doubt."""

from collections.abc import Sequence
from typing import Any

import pytest

from freehold.core.errors import BadData, UsageError
from freehold.data.columns import map_columns, parse_columns
from freehold.data.names import LABEL, TEXT, is_pair, plain, rank
from freehold.data.profile import profile
from freehold.data.table import Row, Table


def table(**columns: Sequence[Any]) -> Table:
    """A table of columns that are equally long."""
    names = tuple(name.replace("__", " ") for name in columns)
    rows = zip(*columns.values(), strict=True)
    placed = (Row(f"in.csv, line {n}", dict(zip(names, row, strict=True))) for n, row in enumerate(rows, 2))
    return Table("in.csv", "0", names, tuple(placed))


SENTENCES = [f"the customer asks about item {n} and place {n * 7} today" for n in range(30)]
TEAMS = ["billing", "access", "shipping"] * 10


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (SENTENCES, "text"),
        (TEAMS, "label"),
        (["always"] * 30, "constant"),
        ([None, ""] * 15, "empty"),
        (range(100, 130), "id"),
        ([f"T-{n:05d}" for n in range(30)], "id"),
        ([f"{n:032x}" for n in range(30)], "id"),
        ([f"person{n}@example.org" for n in range(30)], "id"),
        ([f"2026-03-{n + 1:02d}" for n in range(30)], "date"),
        ([f"{n + 1}.3.2026 12:30" for n in range(30)], "date"),
        ([f"March {n % 28 + 1}, 2026" for n in range(30)], "date"),
        ([f"Mon Mar {n % 28 + 1:02d} 22:19:45 UTC 2026" for n in range(30)], "date"),
        ([n * 7 % 30 / 4 for n in range(30)], "number"),
        ([f"{n * 7 % 30},5" for n in range(30)], "number"),
        ([True, False] * 15, "boolean"),
        (["yes", "No"] * 15, "boolean"),
        ([["a", "b"]] * 30, "list"),
        ([{"a": 1}] * 30, "object"),
        ([[{"a": 1}], []] * 15, "object"),
        ([[{"role": "user", "content": "a"}]] * 30, "messages"),
        (["[{'from': 'human', 'value': 'a'}]"] * 30, "messages"),
        ([f"{n}+{n}" for n in range(30)], "text"),
    ],
)
def test_the_kind_of_a_column_is_read_from_its_values(values: Sequence[Any], kind: str) -> None:
    assert profile(table(x=list(values)), "x").kind == kind


def test_names_are_compared_without_case_accents_and_signs() -> None:
    assert plain("Ticket Body") == plain("ticketBody") == plain("TICKET_BODY") == "ticketbody"
    assert rank("Étiquette", LABEL) == rank("etiquette", LABEL)
    assert rank("ticket_priority", LABEL) is not None
    assert rank("colour", TEXT) is None
    first, second = rank("label", LABEL), rank("priority", LABEL)
    assert first is not None
    assert second is not None
    assert first < second


def test_names_of_pairs() -> None:
    assert is_pair("sentence1", "sentence2")
    assert is_pair("Question A", "Question B")
    assert is_pair("premise", "hypothesis")
    assert not is_pair("text", "label")


def test_parts_as_typed() -> None:
    assert parse_columns("text=subject+body, label=team") == {"text": "subject+body", "label": "team"}
    assert parse_columns("TEXT=Ticket, Body,label=a=b") == {"text": "Ticket, Body", "label": "a=b"}
    assert parse_columns("chosen=good") == {"completion": "good"}


@pytest.mark.parametrize(
    ("typed", "phrase"),
    [
        ("colour=red", "unknown part 'colour'"),
        ("lable=team", "did you mean label?"),
        ("body", "does not understand 'body'"),
        ("text=", "does not understand"),
        ("text=a,text=b", "names text twice"),
    ],
)
def test_parts_that_cannot_be(typed: str, phrase: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_columns(typed)
    assert phrase in str(caught.value)


def test_a_mapping_carries_what_is_not_used() -> None:
    rows = table(
        id=range(30), created=[f"2026-01-{n + 1:02d}" for n in range(30)], body=SENTENCES, team=TEAMS
    )
    mapping = map_columns(rows, {"text": "body", "label": "team"})
    assert str(mapping) == "text=body, label=team (given); not used: id, created"
    assert (mapping.guessed, mapping.shape) == (False, "text")
    guessed = map_columns(rows)
    assert guessed.columns == {"text": "body", "label": "team", "id": "id"}
    assert guessed.unused == ("created",)


def test_a_given_mapping_is_used_as_it_stands() -> None:
    rows = table(text=SENTENCES, label=TEAMS, system=["Be short."] * 30, note=SENTENCES[::-1])
    mapping = map_columns(rows, {"text": "note", "label": "label"})
    assert mapping.columns == {"text": "note", "label": "label"}
    assert mapping.unused == ("text", "system")


def test_doubt_without_a_person_names_the_candidates_and_the_line_to_pass() -> None:
    rows = table(text=SENTENCES, category=TEAMS, topic=["a", "b"] * 15)
    with pytest.raises(BadData) as caught:
        map_columns(rows)
    assert "\"category\" (for example 'billing', 'access', 'shipping')" in caught.value.message
    assert "--columns text=text,label=category" in caught.value.remedy


def test_doubt_with_a_person_is_a_question() -> None:
    asked: list[str] = []

    def ask(question: str, choices: Sequence[str]) -> int:
        asked.append(question)
        return len(choices) - 1

    mapping = map_columns(table(text=SENTENCES, category=TEAMS, topic=["a", "b"] * 15), ask=ask)
    assert mapping.columns["label"] == "topic"
    assert asked == ["in.csv: which column is the label?"]
    assert any("--columns text=text,label=topic" in note for note in mapping.notes)


def test_an_id_is_never_offered_as_text() -> None:
    rows = table(
        text=[f"T-{n:05d}" for n in range(30)],
        message=[f"2026-01-{n + 1:02d}" for n in range(30)],
        label=TEAMS,
    )
    with pytest.raises(BadData) as caught:
        map_columns(rows)
    assert '"text" (ids), "message" (dates)' in caught.value.message


def test_numbers_and_their_names() -> None:
    numbers = [("billing", "access", "shipping").index(team) for team in TEAMS]
    mapping = map_columns(table(text=SENTENCES, label=numbers, label_text=TEAMS))
    assert mapping.columns["label"] == "label_text"
    other = map_columns(table(text=SENTENCES, label=numbers, label_text=TEAMS[::-1]))
    assert other.columns["label"] == "label_text"
    unrelated = map_columns(table(text=SENTENCES, label=numbers, label_text=["a", "b"] * 15))
    assert unrelated.columns["label"] == "label"
