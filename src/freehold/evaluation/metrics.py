"""What an answer is worth: by the kind of task, 0 to 1 for each row."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from freehold.core import plugins
from freehold.core.errors import BadData, UsageError
from freehold.data.draft import DEEPEST, depth
from freehold.data.examples import Example
from freehold.evaluation import registered_metrics, sandbox, task_kinds
from freehold.evaluation.answer_reading import LabelReader
from freehold.evaluation.numbers import ends_in_range, find_numbers, in_words, whole_number
from freehold.evaluation.task_kinds import wanted_label, wanted_labels

Grade = Callable[[Example, str], float]

#: Chinese, Japanese, Thai, Lao, Khmer and Burmese letters.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
#: Zero-width characters, marks of direction and of emoji style, soft hyphens.
_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0f\ufeff\u00ad]")
_HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2212\ufe63\uff0d", "-"))
#: Figures of floating-point numbers that agree to so large a share are the same number.
_CLOSE = 1e-9
#: Items of a JSON list that are paired one by one; longer lists count equal items only.
_MOST_PAIRED = 60


@dataclass(frozen=True)
class Metric:
    """How the answers to a task's rows are graded."""

    #: kind of the task: a key of :data:`METRICS`
    kind: str
    #: name of the figure, which needs refer to
    name: str
    #: how a row is graded, for the report
    method: str
    #: (row, answer) -> 0 to 1
    grade: Grade
    #: why this metric was chosen
    reason: str = ""
    #: for values: the range of the training answers, by which errors are divided
    scale: float = 0.0
    #: for labels: the known ones
    labels: frozenset[str] = frozenset()
    #: for labels: the right answer where a row's label is not known, "" where there is none
    unknown: str = ""
    #: for labels: reads them from answers
    reader: LabelReader | None = None

    def answered(self, answer: str) -> str:
        """The label that an answer names; the answer without surrounding space where it names none."""
        return self.reader.read(answer) if self.reader else answer.strip()

    def wanted(self, example: Example) -> str:
        """The label that is right for a row: its own, or ``unknown`` for one out of scope."""
        label = wanted_label(example)
        return self.unknown if self.unknown and self.labels and label not in self.labels else label


def exact(example: Example, answer: str) -> float:
    """1 if equal, apart from surrounding space and Unicode form."""
    return float(plain(answer) == plain(wanted_label(example)))


def same(example: Example, answer: str) -> float:
    """1 if the answer is the expected one, read like a label: case and what surrounds it do not count."""
    expected = plain(wanted_label(example))
    return float(LabelReader(frozenset({expected})).read(plain(answer)) == expected)


def plain(text: str) -> str:
    """A text in one Unicode form, without invisible characters and outer space, with one kind of hyphen."""
    if text.isascii():
        return text.strip()
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).translate(_HYPHENS).strip()


def last_number(text: str) -> Fraction | None:
    """The number after ``####`` if there is one, else the last number; None for no number and for a range."""
    marked = text.rpartition("####")[2] if "####" in text else text
    listed = find_numbers(marked)
    if not listed:
        return in_words(marked)
    if ends_in_range(marked):
        return None
    return listed[0] if "####" in text else listed[-1]


def number(example: Example, answer: str) -> float:
    """1 if the answer's number equals the expected one, however they are written; 50% is 50 and 0.5."""
    expected_text = example.reference.get("answer", example.answer)
    expected, answered = last_number(expected_text), last_number(answer)
    if expected is None or answered is None:
        return 0.0
    percent = ("%" in answer) - ("%" in expected_text)
    return float(answered == expected or (percent != 0 and answered == expected * Fraction(100) ** percent))


def value_of(text: str) -> float | None:
    """The number that a text is, else the last one in it; None where there is no finite one, or a range."""
    whole = whole_number(text)
    value = whole if whole is not None else last_number(text)
    try:
        return None if value is None else float(value)
    except OverflowError:
        return None


def error_of(example: Example, answer: str, scale: float) -> float:
    """Absolute error of an answer's number; ``scale`` where the answer has none."""
    expected, answered = value_of(wanted_label(example)), value_of(answer)
    if expected is None:
        raise BadData(
            f"row {example.id}: the expected answer is not a number", "fix it, or pass another --metric"
        )
    return scale if answered is None else abs(answered - expected)


def closeness(scale: float) -> Grade:
    """1 less the error as a share of ``scale``, at least 0; 0 for an answer without a number."""

    def grade(example: Example, answer: str) -> float:
        return max(0.0, 1 - error_of(example, answer, scale) / scale) if value_of(answer) is not None else 0.0

    return grade


def fields(example: Example, answer: str) -> float:
    """F1 over (path, value) pairs of two JSON values; 0 if the answer is not JSON."""
    expected = task_kinds.parse_json(example.answer)
    answered = find_json(answer, list if isinstance(expected, list) else dict)
    if answered is None:
        return 0.0
    shared = _shared(expected, answered)
    return 2 * shared / (_count(expected) + _count(answered))


def find_json(text: str, kind: type) -> Any:
    """The first JSON object (``dict``) or list in a text, whatever surrounds it; None if there is none."""
    whole = task_kinds.parse_json(text)
    if whole is not None:
        return whole
    decoder, opening = json.JSONDecoder(), "[" if kind is list else "{"
    start = text.find(opening)
    for _ in range(50):
        if start < 0:
            return None
        try:
            value = decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            value = None
        if value is not None:
            # What is nested more deeply than anything can follow is no answer.
            return value if depth(value) <= DEEPEST else None
        start = text.find(opening, start + 1)
    return None


def _count(value: Any) -> int:
    """Values in a JSON value; an empty object or list is one of its own."""
    if isinstance(value, dict) and value:
        return sum(map(_count, value.values()))
    if isinstance(value, list) and value:
        return sum(map(_count, value))
    return 1


def _shared(wanted: Any, given: Any) -> int:
    """Values that two JSON values have in the same place; list items are paired so that most are shared."""
    if isinstance(wanted, dict) and isinstance(given, dict) and wanted and given:
        return sum(_shared(item, given[key]) for key, item in wanted.items() if key in given)
    if isinstance(wanted, list) and isinstance(given, list) and wanted and given:
        return _shared_items(wanted, given)
    return int(_equal(wanted, given))


def _shared_items(wanted: list[Any], given: list[Any]) -> int:
    """The most values that two lists share when each item is paired with one of the other (Kuhn 1955, by
    scipy).
    """
    if max(len(wanted), len(given)) > _MOST_PAIRED:
        return sum((Counter(map(_key, wanted)) & Counter(map(_key, given))).values())
    from scipy.optimize import linear_sum_assignment

    table = [[_shared(first, second) for second in given] for first in wanted]
    rows, columns = linear_sum_assignment(table, maximize=True)
    return sum(table[row][column] for row, column in zip(rows, columns, strict=True))


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _equal(wanted: Any, given: Any) -> bool:
    """Whether two single values are the same. True is not 1, "1" is not 1; 5 and 5.0 are the same number, and
    so are two NaN.
    """
    if _is_number(wanted) and _is_number(given):
        return _equal_numbers(wanted, given)
    if isinstance(wanted, str) and isinstance(given, str):
        return plain(wanted) == plain(given)
    return type(wanted) is type(given) and bool(wanted == given)


def _equal_numbers(wanted: float, given: float) -> bool:
    if isinstance(wanted, int) and isinstance(given, int):
        return wanted == given  # of any length
    try:
        a, b = float(wanted), float(given)
    except OverflowError:
        return False
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=_CLOSE)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


#: How an answer says that a row has none of the labels.
_NONE = frozenset({"none", "None", "None.", "none.", "no labels", "-"})


def answered_labels(answer: str) -> frozenset[str]:
    """The labels in an answer: a JSON list, or texts between commas, semicolons or line ends."""
    listed = find_json(answer, list) if "[" in answer else None
    if isinstance(listed, list):
        return frozenset(str(label).strip() for label in listed)
    return frozenset(piece.strip() for piece in re.split(r"[,;\n]", answer) if piece.strip())


def label_set(example: Example, answer: str, reader: LabelReader | None = None) -> float:
    """F1 of the answer's set of labels beside the wanted one; the order does not matter."""
    if "labels" not in example.reference:
        wanted = frozenset([wanted_label(example)])
    else:
        wanted = wanted_labels(example)
        if answer.strip() == example.answer.strip():
            return 1.0  # a label may hold a comma
    given = answered_labels(answer)
    if not wanted:  # a row may have no label at all
        return float(given <= _NONE)
    if reader:
        given = reader.read_all(given)
    return 2 * len(wanted & given) / max(len(wanted) + len(given), 1)


def chrf(example: Example, answer: str) -> float:
    """chrF2 of one row over 100 (Popovic 2015), by sacrebleu."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(plain(answer), [plain(example.answer)]).score) / 100


def rouge_l(wanted: str, given: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004), whatever their case, by rapidfuzz's LCS."""
    from rapidfuzz.distance import LCSseq

    a, b = (_words(text) for text in (wanted, given))
    return 2 * LCSseq.similarity(a, b) / max(len(a) + len(b), 1)


def _words(text: str) -> list[str]:
    """Words in lower case; of scripts that put no spaces between words, each character; of a text without
    either, each sign.
    """
    folded = plain(text).casefold()
    return re.findall(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+", folded) or re.findall(r"\S", folded)


def code(example: Example, answer: str, *, trusted: bool = False) -> float:
    """1 if the completed function passes its own unit tests, run in the sandbox, or without it if trusted.

    Raises MissingPart where there is no sandbox.
    """
    return float(sandbox.run(job(example, answer), trusted=trusted).passed)


def job(example: Example, answer: str) -> sandbox.Job:
    """The answer as a program with the row's tests: without fences, and with a signature."""
    prompt = example.reference.get("prompt", example.question)
    fenced = _CODE_BLOCK.search(answer)
    text = fenced.group(1) if fenced else answer
    entry = example.reference["entry_point"]
    if f"def {entry}" in text:
        imports = "\n".join(line for line in prompt.splitlines() if line.startswith(("import ", "from ")))
        body = f"{imports}\n{text}"
    else:
        body = prompt + text
    return sandbox.Job(body, prompt, example.reference["test"], entry)


_CODE_BLOCK = re.compile(r"```(?:python)?[^\S\n]*\n(.*?)(?:```|\Z)", re.S)


#: Freehold's own metrics, as they are registered: one for each kind of task.
LABEL = Metric(
    "label", "accuracy", "the label is right; case, quotes and punctuation around it do not count", exact
)
LABELS = Metric("labels", "label_f1", "F1 of the row's set of labels, whatever their order", label_set)
NUMBER = Metric(
    "number", "accuracy", "the number after #### or the last number equals the expected one", number
)
VALUE = Metric(
    "value",
    "closeness",
    "1 minus the error divided by the range of the training answers, at least 0",
    closeness(1.0),
)
JSON = Metric("json", "field_f1", "F1 over the fields and values of the JSON object or list", fields)
EXACT = Metric(
    "exact", "exact_match", "the answer is the expected one; case and what surrounds it do not count", same
)
CODE = Metric("code", "pass_rate", "unit tests of the row, one try, in a sandbox", code)
TEXT = Metric("text", "chrf", "chrF2 against the expected answer, 0 to 1", chrf)
METRICS = {metric.kind: metric for metric in (LABEL, LABELS, NUMBER, VALUE, JSON, EXACT, CODE, TEXT)}
#: Figures that are measured beside the main one, by kind.
FURTHER: dict[str, tuple[str, ...]] = {
    "label": ("macro_f1", "accuracy_in_scope", "accuracy_out_of_scope"),
    "labels": ("exact_match",),
    "value": ("mae", "no_number"),
    "text": ("rouge_l", "exact_match"),
}


def figure_names(metric: Metric) -> tuple[str, ...]:
    """The names of figures that a need may refer to."""
    return (metric.name, *FURTHER.get(metric.kind, ()), "cut_off")


def possible_figures(name: str | None) -> tuple[str, ...]:
    """The figures that a need may refer to, known before rows are read. ``name``: None for every metric.

    Raises UsageError for an unknown metric.
    """
    if name is None:
        return tuple(dict.fromkeys(figure for metric in METRICS.values() for figure in figure_names(metric)))
    registered = find_registered(name)
    if registered is not None:
        return figure_names(registered)
    _, function = _path_and_function(name)
    return figure_names(replace(TEXT, name=function))


def find_registered(spec: str) -> Metric | None:
    """The metric that an installed package registers as ``NAME`` or ``NAME==VERSION``; None where none does.

    The method of one from another package names the package and its version. Raises MissingPart, UsageError.
    """
    known = registered_metrics.find(spec)
    if known is None:
        return None
    plugin, metric = known.plugin, known.metric
    if isinstance(metric, Metric) and plugin.ours:
        return metric
    if metric.name in possible_figures(None):
        raise plugin.unfit(f"has the figure {metric.name!r}, which is one of Freehold's own")
    who = f"the metric {plugin.name!r} of the package {plugin.origin}"
    grade = _checked(metric.grade, who, "update the package, or pass another --metric")
    return Metric(metric.kind, metric.name, f"{metric.method} (metric {plugin.name}, {plugin.origin})", grade)


def from_file(spec: str) -> Metric:
    """``path.py:function``, a function of (row as dict, answer) to 0..1. Raises UsageError."""
    file, name = _path_and_function(spec)
    function = _function(file, name)

    def value_of_row(example: Example, answer: str) -> float:
        messages = [{"role": role, "content": content} for role, content in example.messages]
        return function({"id": example.id, "messages": messages, **example.reference}, answer)

    grade = _checked(value_of_row, f"{file.name}:{name}", "fix the function")
    return Metric("text", name, f"{file.name}:{name}, the user's own function", grade)


def _checked(function: Grade, who: str, remedy: str) -> Grade:
    """The grades of code that is not Freehold's. Raises UsageError where it fails or leaves 0 to 1."""

    def grade(example: Example, answer: str) -> float:
        try:
            value = float(function(example, answer))
        except Exception as error:
            what = f"{who} failed on row {example.id} ({type(error).__name__}: {error})"
            raise UsageError(what, f"{remedy}; it must return a number from 0 to 1") from error
        if 0 <= value <= 1:
            return value
        raise UsageError(
            f"{who} returned {value:g} for row {example.id}", f"{remedy}; it must return a number from 0 to 1"
        )

    return grade


def _path_and_function(spec: str) -> tuple[Path, str]:
    """The file and the name of a function in it. Raises UsageError where the file does not exist."""
    path, _, name = spec.rpartition(":")
    if not path or not Path(path).is_file():
        raise UsageError(_unknown(spec), f"pass one of {', '.join(_names())}, or path.py:function")
    return Path(path), name


def _function(file: Path, name: str) -> Callable[[dict[str, Any], str], Any]:
    module_spec = importlib.util.spec_from_file_location("freehold_user_metric", file)
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"{file.name} is not a Python file", "name a file that ends in .py")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"{file.name} cannot be run ({type(error).__name__}: {error})", "fix the file"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{file.name} has no function {name!r}", "check the name after the colon")
    return function


def _names() -> list[str]:
    """The names of all registered metrics, Freehold's own first."""
    return list(plugins.registered(registered_metrics.GROUP))


def _unknown(spec: str) -> str:
    """A sentence that names the nearest metric, by its own name or by the name of its figure."""
    path, colon, _ = spec.rpartition(":")
    if colon and path.endswith(".py"):
        return f"--metric {spec}: the file {path} does not exist"
    named = {name: name for name in _names()} | {metric.name: kind for kind, metric in METRICS.items()}
    named |= {
        "accuracy": "label",
        "f1": "label",
        "mae": "value",
        "rmse": "value",
        "rouge": "text",
        "bleu": "text",
    }
    named |= {"em": "exact", "classification": "label", "regression": "value"}
    near = difflib.get_close_matches(spec.lower(), named, 1, 0.5)
    return f"--metric {spec}: unknown metric" + (f"; did you mean {named[near[0]]}?" if near else "")


def choose(
    name: str | None,
    known: Sequence[Example],
    test: Sequence[Example] = (),
    labels: Sequence[str] = (),
    unknown: str = "",
    *,
    trust_code: bool = False,
) -> Metric:
    """The metric of this name, or for None the one that fits the rows, with the reason.

    ``known`` are training and validation rows: the scale of errors is theirs. ``trust_code``: code in answers
    runs without a sandbox. Raises UsageError, BadData.
    """
    rows = [*known, *test]
    if name is None:
        kind = task_kinds.detect(rows)
        metric = replace(METRICS[kind.name], reason=kind.reason)
    else:
        metric = find_registered(name) or from_file(name)
        metric = replace(metric, reason="chosen with --metric")
        _check_rows(metric, rows)
    if metric.kind == "code" and trust_code:
        method = "unit tests of the row, one try, without a sandbox (--trust-code)"
        return replace(metric, method=method, grade=functools.partial(code, trusted=True))
    if metric.kind == "value":
        return _scaled(metric, known or test)
    if metric.kind == "label" and metric.name == METRICS["label"].name:
        return _with_labels(metric, frozenset(labels) or frozenset(map(wanted_label, rows)), unknown)
    if metric.kind == "labels":
        every = frozenset(label for e in rows if "labels" in e.reference for label in wanted_labels(e))
        reader = LabelReader(every | frozenset(wanted_label(e) for e in rows if "labels" not in e.reference))
        return replace(metric, grade=lambda e, a: label_set(e, a, reader), reader=reader)
    return metric


def _check_rows(metric: Metric, rows: Sequence[Example]) -> None:
    """Raises BadData where the rows cannot be graded as asked."""
    answers = [wanted_label(example) for example in rows]
    if metric.kind == "label" and len(rows) >= 3 and not task_kinds.repeated_share(answers):
        message = f"--metric label: all {len(rows):,} rows have different answers, so these are not labels"
        raise BadData(message, "leave --metric out, or pass --metric text")
    broken = {
        "json": lambda e: task_kinds.parse_json(e.answer) is None,
        "value": lambda e: value_of(wanted_label(e)) is None,
        "number": lambda e: last_number(e.reference.get("answer", e.answer)) is None,
        "code": lambda e: not {"test", "entry_point"} <= set(e.reference),
        "labels": lambda e: not {"labels", "label"} & set(e.reference) and not e.answer.strip(),
    }.get(metric.kind)
    if broken is None or metric.name not in {known.name for known in METRICS.values()}:
        return
    bad = [example.id for example in rows if broken(example)]
    if bad:
        what = {
            "json": "a JSON object or list",
            "value": "a number",
            "number": "a number",
            "code": "a row with unit tests",
        }
        message = (
            f"--metric {metric.kind}: {len(bad):,} of {len(rows):,} rows are not "
            f"{what.get(metric.kind, 'labelled')} (first: {bad[0]})"
        )
        raise BadData(message, "fix them, or pass another --metric")


def _scaled(metric: Metric, known: Sequence[Example]) -> Metric:
    values = [value for e in known if (value := value_of(wanted_label(e))) is not None]
    scale = max(values, default=0.0) - min(values, default=0.0)
    if scale <= 0:
        raise BadData(
            "the training answers are all the same number, so there is nothing to learn",
            "add rows with other answers",
        )
    method = f"{metric.method} ({scale:.4g})"
    return replace(metric, grade=closeness(scale), scale=scale, method=method)


def _with_labels(metric: Metric, labels: frozenset[str], unknown: str) -> Metric:
    bound = replace(metric, labels=labels - {unknown}, unknown=unknown, reader=LabelReader(labels))
    more = f"; {unknown!r} is right for a label outside the set" if unknown else ""

    def grade(example: Example, answer: str) -> float:
        return float(bound.answered(answer) == bound.wanted(example))

    return replace(bound, grade=grade, method=metric.method + more)
