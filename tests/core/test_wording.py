"""Counts in sentences agree with their nouns and verbs."""

from __future__ import annotations

import pytest

from freehold.core.wording import agreeing, counted, did_you_mean
from freehold.data.shapes import NOTES


def test_a_count_of_one_takes_the_singular() -> None:
    assert [counted(count, "row") for count in (0, 1, 2, 1200)] == ["0 rows", "1 row", "2 rows", "1,200 rows"]
    assert counted(1, "row has", "rows have") == "1 row has"
    assert counted(3, "row has", "rows have") == "3 rows have"


def test_a_template_takes_the_form_that_agrees_with_the_count() -> None:
    template = "{n} row[|s] [has|have] {braces} and [brackets]"
    assert agreeing(template, 1) == "1 row has {braces} and [brackets]"
    assert agreeing(template, 2000) == "2,000 rows have {braces} and [brackets]"


@pytest.mark.parametrize("key", NOTES)
def test_every_note_on_rows_has_both_numbers(key: str) -> None:
    for count, wrong in ((1, "1 rows"), (2, "2 row ")):
        note = agreeing(NOTES[key], count)
        assert wrong not in note
        assert "{n}" not in note
        assert "[" not in note


def test_the_term_most_like_a_word_is_offered() -> None:
    assert did_you_mean("acuracy", ["accuracy", "safety"]) == "did you mean accuracy? "
    assert did_you_mean("xyzzy", ["accuracy", "safety"]) == ""
