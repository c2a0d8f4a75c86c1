"""Answers made to hold up or break whoever grades them: each is graded in about the time that it takes to
read it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from freehold.data.examples import Example
from freehold.evaluation import answer_reading, metrics

LENGTH = 300_000
#: What a long answer may be made of. Where looking goes on from each piece to the end, this takes hours.
PIECES = {
    "digits": "1",
    "thousands": "1,",
    "fractions": "1/",
    "halves": "1\u00bd",
    "exponents": "1e",
    "spaces": " ",
    "lines": "\n",
    "tabs": "\t",
    "minus": "-",
    "lists": "[",
    "objects": '{"a":',
    "fences": "```\n",
    "thoughts": "<think>",
    "names": "label: ",
    "words": "one ",
}


def row(answer: str, **reference: str) -> Example:
    return Example("r", (("user", "q"), ("assistant", answer)), reference)


_GRADE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from freehold.evaluation import answer_reading, metrics
from tests.evaluation.test_hostile_answers import LENGTH, PIECES, row
text = PIECES[sys.argv[1]] * (LENGTH // len(PIECES[sys.argv[1]]))
for answer in (text, text + "!"):
    metrics.number(row("5"), answer)
    metrics.value_of(answer)
    metrics.fields(row('{"a": 1}'), answer)
    metrics.label_set(row("a", labels='["a"]'), answer)
    metrics.same(row("a"), answer)
    answer_reading.LabelReader(frozenset({"yes", "no"})).read(answer_reading.final_answer(answer))
"""


@pytest.mark.parametrize("name", PIECES)
def test_a_long_answer_is_graded_in_bounded_time(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", _GRADE, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-300:]


def test_what_a_long_run_begins_and_ends_with_still_counts() -> None:
    listed = ",".join(map(str, range(1, 2000)))
    assert metrics.last_number(f"so {listed}") == 1999
    assert metrics.last_number(f"#### {listed}") == 1
    assert metrics.last_number("7 and then " + "9" * 1_000_000) == 7
    assert metrics.last_number("5" + " " * 100_000) == 5
    assert metrics.last_number("3" * 5000 + "\u00bd") is None


def test_an_answer_nested_too_deeply_is_no_json() -> None:
    deep = "[" * 5000 + "]" * 5000
    assert metrics.fields(row('{"a": 1}'), deep) == 0.0
    assert metrics.fields(row('{"a": 1}'), '{"a": ' + "[" * 900 + "]" * 900 + "}") == 0.0
    assert answer_reading.LabelReader(frozenset({"yes"})).read(deep) == deep
