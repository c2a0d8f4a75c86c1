"""What an answer is worth: by the kind of task, 0 to 1 for each row."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.data.examples import Example
from freehold.errors import UsageError
from freehold.evals import sandbox

Grade = Callable[[Example, str], float]

MOST_LABELS = 300
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


@dataclass(frozen=True)
class Metric:
    """``name`` is what needs refer to; ``method`` says how a row is graded."""

    kind: str
    name: str
    method: str
    grade: Grade


def exact(example: Example, answer: str) -> float:
    """1 if equal but for surrounding space."""
    return float(answer.strip() == example.reference.get("label", example.answer).strip())


def last_number(text: str) -> str | None:
    """The number after ``####`` if there is one, else the last number; commas and trailing zeros dropped."""
    marked = text.rpartition("####")[2] if "####" in text else text
    found = _NUMBER.findall(marked)
    if not found:
        return None
    plain = (found[0] if "####" in text else found[-1]).replace(",", "").rstrip(".")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def number(example: Example, answer: str) -> float:
    """1 if the answer's number equals the wanted one."""
    wanted = last_number(example.reference.get("answer", example.answer))
    return float(wanted is not None and last_number(answer) == wanted)


def fields(example: Example, answer: str) -> float:
    """F1 over (path, value) pairs of two JSON objects; 0 if the answer is no JSON."""
    try:
        given = Counter(_leaves(json.loads(_json_part(answer))))
    except ValueError:
        return 0.0
    wanted = Counter(_leaves(json.loads(example.answer)))
    shared = sum((given & wanted).values())
    return 2 * shared / max(sum(given.values()) + sum(wanted.values()), 1)


def _json_part(text: str) -> str:
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def _leaves(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item, f"{path}[]")]
    return [f"{path}={json.dumps(value)}"]


def chrf(example: Example, answer: str) -> float:
    """chrF2 of one row over 100 (Popovic 2015), by sacrebleu."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(answer, [example.answer]).score) / 100


def rouge_l(wanted: str, given: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004), lower case, by rapidfuzz's LCS."""
    from rapidfuzz.distance import LCSseq

    a, b = (re.findall(r"\w+", text.lower()) for text in (wanted, given))
    return 2 * LCSseq.similarity(a, b) / max(len(a) + len(b), 1)


def code(example: Example, answer: str) -> float:
    """1 if the completed function passes its own unit tests."""
    return float(sandbox.passes(program(example, answer))[0])


def program(example: Example, answer: str) -> str:
    """The answer as a program that runs the row's tests: fenced code taken out, the asked signature put in front where it is missing."""
    asked = example.reference.get("prompt", example.question)
    fenced = re.search(r"```(?:python)?\s*\n(.*?)(?:```|\Z)", answer, re.S)
    text = fenced.group(1) if fenced else answer
    entry = example.reference["entry_point"]
    if f"def {entry}" in text:
        imports = "\n".join(line for line in asked.splitlines() if line.startswith(("import ", "from ")))
        body = f"{imports}\n{text}"
    else:
        body = asked + text
    return f"{body}\n\n{example.reference['test']}\n\ncheck({entry})\n"


METRICS = {
    "label": Metric("label", "accuracy", "exact match of the label, decoding bound to the labels of the training rows", exact),
    "number": Metric("number", "accuracy", "exact match of the number after #### or the last number", number),
    "json": Metric("json", "field_f1", "F1 over the fields and values of the JSON object", fields),
    "code": Metric("code", "pass_rate", "unit tests of the row, one try, in a limited child process", code),
    "text": Metric("text", "chrf", "chrF2 against the wanted answer, 0 to 1", chrf),
}


def detect(examples: Sequence[Example]) -> str:
    """The kind of task, from the rows: code, number, json, label or text."""
    if all("test" in e.reference and "entry_point" in e.reference for e in examples):
        return "code"
    answers = [example.answer.strip() for example in examples]
    if all("####" in answer for answer in answers) or all(re.fullmatch(r"-?[\d,]+(\.\d+)?", answer) for answer in answers):
        return "number"
    if all(answer.startswith("{") for answer in answers[:50]) and all(_is_object(answer) for answer in answers):
        return "json"
    distinct = set(answers)
    if len(distinct) <= MOST_LABELS and len(answers) >= 3 * len(distinct) and max(map(len, distinct)) <= 120:
        return "label"
    return "text"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def from_file(spec: str) -> Metric:
    """``path.py:function``, a function of (row as dict, answer) to 0..1. Raises UsageError."""
    path, _, name = spec.rpartition(":")
    file = Path(path)
    if not path or not file.is_file():
        raise UsageError(f"--metric {spec!r} names no file", f"write path.py:function, or one of {', '.join(METRICS)}")
    module_spec = importlib.util.spec_from_file_location("freehold_user_metric", file)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{file.name} has no function {name!r}", "check the name after the colon")

    def grade(example: Example, answer: str) -> float:
        row = {"id": example.id, "messages": [{"role": r, "content": c} for r, c in example.messages], **example.reference}
        value = function(row, answer)
        if isinstance(value, bool | int | float) and 0 <= value <= 1:
            return float(value)
        raise UsageError(f"{file.name}:{name} returned {value!r} for row {example.id}", "return a number from 0 to 1")

    return Metric("text", name, f"{file.name}:{name}, the user's own function", grade)


def choose(asked: str | None, examples: Sequence[Example]) -> Metric:
    """The metric asked for, or the one that suits the rows. Raises UsageError."""
    if asked is None:
        return METRICS[detect(examples)]
    return METRICS[asked] if asked in METRICS else from_file(asked)
