"""The kind of a task, detected from its expected answers, and why.

Kinds: code, labels, label, number, value, json, exact or text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freehold.data.examples import Example
from freehold.data.values import json_value, without_unit
from freehold.evaluation.numbers import whole_number

#: A label column holds labels if at least this share of its rows carry a label that another row has too.
FEWEST_REPEATED_LABELS = 0.2
#: Answers without a label column are labels if at least this share of the rows repeats an answer, ...
FEWEST_REPEATED_ANSWERS = 0.8
#: ... and none has more characters than this.
LONGEST_LABEL = 200
#: At most this many integers, each on three rows or more on average, are labels (grades, stars, 0 and 1).
MOST_INTEGER_LABELS = 12
#: Numbers are values with an error if at least this share of them has a fraction.
FEWEST_FRACTIONS = 0.1

_FENCE = re.compile(r"\s*```(?:[A-Za-z0-9]*)\s*\n(.*?)\n?\s*```\s*", re.S)


@dataclass(frozen=True)
class Kind:
    """The kind of a task."""

    #: a key of ``metrics.METRICS``
    name: str
    #: why it was chosen, and how to choose another, as a sentence
    reason: str


def wanted_label(example: Example) -> str:
    """The label a row carries, without surrounding space."""
    return example.reference.get("label", example.answer).strip()


def wanted_labels(example: Example) -> frozenset[str]:
    """The labels of a row that may have several. Raises ValueError where the row has no such list."""
    listed = json_value(example.reference["labels"])
    return frozenset(str(label).strip() for label in listed)


def repeated_share(answers: Sequence[str]) -> float:
    """Share of rows whose answer another row has too: about that of new rows whose answer is known (Good
    1953).
    """
    counts = Counter(answers)
    return sum(count for count in counts.values() if count > 1) / max(len(answers), 1)


def unfenced(text: str) -> str:
    """The inside of a code block if the text is nothing else."""
    match = _FENCE.fullmatch(text)
    return match[1] if match else text


def parse_json(text: str) -> Any:
    """The object or list that a text holds, fenced or not; None if it is not one."""
    try:
        value = json_value(unfenced(text))
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def is_number(text: str) -> bool:
    """Whether a text is one number and nothing else but a percent sign or a currency."""
    return whole_number(without_unit(text)[0]) is not None


def as_float(text: str) -> float:
    """The number a text is, its unit left out. Raises ValueError."""
    number = whole_number(without_unit(text)[0])
    if number is None:
        raise ValueError(f"{text!r} is not a number")
    return float(number)


def detect(examples: Sequence[Example]) -> Kind:
    """The kind of task that the rows are."""
    if examples and all("test" in e.reference and "entry_point" in e.reference for e in examples):
        return Kind("code", "every row has unit tests and the name of the function that they call")
    if any("labels" in e.reference for e in examples):
        return Kind("labels", "a row may have several labels; their order does not matter")
    column = bool(examples) and all("label" in e.reference for e in examples)
    answers = [wanted_label(example) for example in examples]
    if answers and all("####" in answer for answer in answers):
        return Kind("number", "every answer ends with #### and a number")
    units = {without_unit(answer)[1] for answer in answers}
    if len(units) == 1 and all(map(is_number, answers)):
        return _of_numbers(answers, column)
    if answers and not column and all(parse_json(answer) is not None for answer in answers):
        return Kind("json", "every answer is a JSON object or list")
    if examples and all(is_number(e.reference.get("answer", "")) for e in examples):
        return Kind("number", "a column holds the number that each answer ends in")
    return _of_texts(answers, column)


def _of_numbers(answers: Sequence[str], column: bool) -> Kind:
    values = [as_float(answer) for answer in answers]
    distinct, repeated = len(set(values)), repeated_share(answers)
    if sum(value % 1 != 0 for value in values) / len(values) >= FEWEST_FRACTIONS:
        reason = "the answers are numbers with fractions, so the size of the error counts"
        return Kind("value", f"{reason}; {_others('number', *(['label'] if repeated else []))}")
    if distinct <= MOST_INTEGER_LABELS and len(values) >= 3 * distinct:
        reason = f"the answers are {distinct} different integers that repeat, so they are labels"
        return Kind("label", f"{reason}; {_others('number', 'value')}")
    if column and repeated >= 0.5:
        reason = f"the label column has {distinct} different integers that repeat, so they are labels"
        return Kind("label", f"{reason}; {_others('number', 'value')}")
    if column:
        reason = "the label column has integers that seldom repeat, so the size of the error counts"
        return Kind("value", f"{reason}; {_others('number', *(['label'] if repeated else []))}")
    reason = "every answer is a number, so only the right one counts"
    return Kind("number", f"{reason}; {_others('value', *(['label'] if repeated else []))}")


#: What numbers may be instead, and the option that says so.
_OTHER = {
    "label": "if they are labels such as grades, pass --metric label",
    "number": "if only the right number counts, pass --metric number",
    "value": "if near numbers are nearly right, pass --metric value",
}


def _others(*kinds: str) -> str:
    return "; ".join(_OTHER[kind] for kind in kinds)


#: Answers are compared as a whole where at least this share of them are codes, dates or one-word names.
FEWEST_CODES = 0.9
#: The longest code, and of answers without digits the longest word.
_LONGEST_CODE, _LONGEST_WORD = 64, 32


def is_code(text: str) -> bool:
    """Whether a text is right only as a whole: an id, a date, a time, an amount, an address on the net, one
    word.

    Such are short, on one line, and one word, or hold digits in at least half of their words. Scripts without
    spaces between words have no such words.
    """
    words = text.split()
    if not words or len(text) > _LONGEST_CODE or "\n" in text:
        return False
    digits = sum(any(character.isdigit() for character in word) for word in words)
    if digits:
        return 2 * digits >= len(words)
    spaced = not any(unicodedata.category(character) == "Lo" for character in text)
    return len(words) == 1 and spaced and (len(text) <= _LONGEST_WORD or "://" in text or "@" in text)


def _of_texts(answers: Sequence[str], column: bool) -> Kind:
    share, distinct = repeated_share(answers), len(set(answers))
    if column and share >= FEWEST_REPEATED_LABELS:
        return Kind("label", f"the label column has {distinct:,} labels in {len(answers):,} rows")
    longest = max(map(len, answers), default=0)
    if not column and share >= FEWEST_REPEATED_ANSWERS and longest <= LONGEST_LABEL:
        reason = (
            f"the answers repeat ({distinct:,} different ones in {len(answers):,} rows), so they are labels"
        )
        return Kind("label", f"{reason}; if they are free text, pass --metric text")
    of = "labels" if column else "answers"
    if sum(map(is_code, answers)) >= FEWEST_CODES * max(len(answers), 1):
        reason = (
            f"the {of} are short and seldom repeat, as codes, dates and names do, so only the whole counts"
        )
        return Kind("exact", f"{reason}; if a part of one is worth something, pass --metric text")
    return Kind(
        "text",
        f"the {of} seldom repeat ({distinct:,} different ones in {len(answers):,} rows), so they are free "
        "text",
    )
