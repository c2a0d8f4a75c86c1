"""Run an engine over rows and keep every answer.

Rows go through in fixed blocks. A block is computed from empty memory and appended to the answers
file as one line, so a killed measurement goes on at the next block and ends with the same answers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field

from freehold.core import atomic_files, machine, statistics
from freehold.core.progress import Sink, Task, task
from freehold.data.examples import Example
from freehold.data.templates import Messages
from freehold.evaluation.answer_reading import final_answer
from freehold.evaluation.metrics import Metric, error_of, exact, rouge_l, value_of
from freehold.evaluation.task_kinds import wanted_label
from freehold.inference.interface import Choices, Engine, PromptEncoder
from freehold.inference.request import GenerationRequest


def absent(nothing: object = None) -> Any:
    """Marks a field that JSON leaves out while its value is ``nothing``."""
    return Field(exclude_if=lambda value: value == nothing)


@dataclass(frozen=True)
class Measurement:
    """A measured value with its 95% interval. An end of the interval is null where too few rows give one."""

    __pydantic_config__: ClassVar = ConfigDict(use_attribute_docstrings=True)

    value: float
    """what was measured, in ``unit``"""
    low: float | None
    """lower end of the 95% interval; null where so few rows give no bound"""
    high: float | None
    """upper end of the 95% interval; null where so few rows give no bound"""
    n: int
    """sample size: rows, requests or waits"""
    method: str
    """what the value is, and how its interval is reckoned"""
    groups: Annotated[int | None, absent()] = None
    """groups that the rows come from, where rows belong together"""
    variance: Annotated[float | None, absent()] = None
    """of a row's score, where it does not follow from the value"""
    unit: Annotated[str, absent("")] = ""
    """unit of the value; absent for a score from 0 to 1"""
    digest: Annotated[str, absent("")] = ""
    """sha256 of the weights that were measured"""
    machine: Annotated[str, absent("")] = ""
    """the processor that it was measured on"""

    def as_dict(self) -> dict[str, float | str | None]:
        """JSON form, without what is not there."""
        always = ("value", "low", "high", "n", "method")
        return {key: value for key, value in asdict(self).items() if key in always or value not in (None, "")}

    def scaled(self, factor: float, unit: str = "") -> Self:
        """The same measurement in a unit of which ``factor`` are one of the present unit."""
        ends = (end if end is None else end * factor for end in (self.low, self.high))
        variance = self.variance if self.variance is None else self.variance * factor**2
        low, high = ends
        return replace(self, value=self.value * factor, low=low, high=high, variance=variance, unit=unit)


#: Measurements by their names, the metric's own first.
Measurements = dict[str, Measurement]


def measured_of(figures: Measurements, digest: str) -> Measurements:
    """The same figures, each with the digest of the weights and the machine that they were measured on."""
    processor = machine.look().processor
    return {name: replace(figure, digest=digest, machine=processor) for name, figure in figures.items()}


@dataclass(frozen=True)
class Difference:
    """The paired difference of two variants' scores on the same rows."""

    __pydantic_config__: ClassVar = ConfigDict(use_attribute_docstrings=True)

    difference: float
    """mean of second less first"""
    low: float
    """lower end of the 95% interval"""
    high: float
    """upper end of the 95% interval"""
    p: float
    """p-value of no difference"""
    test: str
    """the test that gives ``p``"""
    rows: int
    """rows that both answered"""
    gained: int
    """rows on which the second is better"""
    lost: int
    """rows on which the first is better"""
    method: str = ""
    """how the interval is reckoned"""
    groups: int | None = None
    """groups that the rows come from, where rows belong together"""


@dataclass(frozen=True)
class Answer:
    """One row's answer and its worth. Seconds are those of a batched run, not of a single user's wait."""

    id: str
    text: str
    score: float
    finish: str
    prompt_tokens: int
    answer_tokens: int


def graded(
    metric: Metric, example: Example, text: str, finish: str, prompt_tokens: int, answer_tokens: int
) -> Answer:
    """The one place where an answer, of an own model or of an API, is read and graded; thoughts before it
    do not count.
    """
    answer = final_answer(text)
    return Answer(example.id, answer, metric.grade(example, answer), finish, prompt_tokens, answer_tokens)


@dataclass(frozen=True)
class Ask:
    """How rows are asked: worked examples put before each, the closed set of labels, and the longest answer
    in tokens.
    """

    shots: tuple[Messages, ...] = ()
    labels: tuple[str, ...] = ()
    max_tokens: int = 64

    def messages(self, example: Example) -> Messages:
        """The row's prompt with the worked examples between the system message and the question."""
        system = tuple(m for m in example.prompt[:1] if m[0] == "system")
        shown = tuple(message for shot in self.shots for message in shot if message[0] != "system")
        return (*system, *shown, *example.prompt[len(system) :])


#: Sizes a block may have.
_BLOCKS = (128, 64, 32, 16, 8, 4, 2, 1)
#: Share of a time limit that one block may take: a block is done whole or not at all.
_BLOCK_SHARE = 0.12


def block_rows(ask: Ask, row_s: float = 0.0, prefix_s: float = 0.0, limit_s: float = 0.0) -> int:
    """Rows in a block: fewer where answers are long, and so few that at ``row_s`` seconds a row one ends
    within a time limit's reach.

    ``prefix_s``: seconds that what all rows begin with costs each block; a block takes at least four times
    that.
    """
    most = 128 if ask.labels or ask.max_tokens <= 24 else 48 if ask.max_tokens <= 96 else 16
    if row_s and limit_s:
        seconds = max(_BLOCK_SHARE * limit_s, 4 * prefix_s)
        most = min(most, max(1, int(seconds / row_s)))
    return most if most == 48 else next(size for size in _BLOCKS if size <= most)


def kept_block(kept: Path, rows: int) -> int:
    """The block size that answers in ``kept`` were made with, or ``rows`` if there are none: a run that
    goes on keeps its blocks.
    """
    place = kept.with_suffix(".block")
    if place.exists():
        return int(place.read_text())
    atomic_files.write_atomically(place, str(rows))
    return rows


def choices_of(prompting: PromptEncoder, ask: Ask, example: Example) -> Choices | None:
    """The labels that answers are bound to, as tokens; None where they are not bound. The same for every
    row.
    """
    return prompting.choices(ask.messages(example), ask.labels) if ask.labels else None


def requests(
    prompting: PromptEncoder, ask: Ask, examples: Sequence[Example], choices: Choices | None = None
) -> list[GenerationRequest]:
    """Engine requests, greedy, for the rows. ``choices``: those of :func:`choices_of`, where they are made
    already.
    """
    choices = choices or choices_of(prompting, ask, examples[0])
    longest = max(map(len, choices.tokens)) if choices else ask.max_tokens
    stops = prompting.template.stops
    return [
        GenerationRequest(tuple(prompting.prompt(ask.messages(e))), longest, stops=stops, choices=choices)
        for e in examples
    ]


@dataclass(frozen=True)
class AnswerOptions:
    """How rows are gone through."""

    #: where answers are kept, a line for each block
    file: Path
    #: what the progress bar says
    title: str
    #: seconds since the work began
    clock: Callable[[], float] = time.monotonic
    #: seconds on that clock after which no block may end; 0 for no limit
    limit_s: float = 0.0
    #: rows in a block; 0 to choose by the length of answers
    block: int = 0


def answers_of(
    engine: Engine,
    encoder: PromptEncoder,
    metric: Metric,
    ask: Ask,
    examples: Sequence[Example],
    options: AnswerOptions,
    sink: Sink,
) -> list[Answer]:
    """Answers to the rows in order, block by block; whole blocks are read back from the file if it has them.

    With a time limit no block is begun that would end after it, going by the slowest block so far: fewer rows
    may come back, but never none.
    """
    answers = read_answers(options.file)
    size = kept_block(options.file, options.block or block_rows(ask))
    choices = choices_of(encoder, ask, examples[0]) if len(answers) < len(examples) else None
    slowest = 0.0
    with task(sink, options.title, len(examples), "rows") as progress:
        progress.resume(len(answers))
        while len(answers) < len(examples):
            begun = options.clock()
            if answers and options.limit_s and begun + slowest > options.limit_s:
                break
            rows = examples[len(answers) : len(answers) + size]
            block = _block(engine, requests(encoder, ask, rows, choices), metric, rows, progress)
            atomic_files.append_line(options.file, json.dumps([asdict(x) for x in block], ensure_ascii=False))
            answers += block
            slowest = max(slowest, options.clock() - begun)
            mean = sum(answer.score for answer in answers) / len(answers)
            progress.at(len(answers), f"{metric.name} so far {mean:.3f}")
    return answers


def _block(
    engine: Engine, asked: list[GenerationRequest], metric: Metric, rows: Sequence[Example], progress: Task
) -> list[Answer]:
    """Graded answers to one block's rows, in the rows' order."""
    done: dict[int, Answer] = {}
    for index, completion in engine.generate(asked):
        written = len(completion.tokens)
        done[index] = graded(
            metric, rows[index], completion.text, completion.finish, completion.prompt_tokens, written
        )
        progress.more(1)
    return [done[number] for number in range(len(rows))]


def read_answers(file: Path) -> list[Answer]:
    """The answers that a run kept, in the order of the rows."""
    return [Answer(**answer) for line in atomic_files.read_lines(file) for answer in json.loads(line)]


def measurement(
    metric: Metric,
    examples: Sequence[Example],
    answers: Sequence[Answer],
    *,
    groups: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> Measurements:
    """Figures of a variant on the rows: each a value with interval, sample size and method; the metric's
    own comes first.

    ``groups``: row id -> name of its group, where rows belong together. ``level``: that of the intervals.
    """
    by_id = {example.id: example for example in examples}
    rows = [by_id[answer.id] for answer in answers]
    names = groups_of(answers, groups)
    further = _further(metric, rows, answers, names, level)
    scores = [answer.score for answer in answers]
    cut = [float(answer.finish == "length") for answer in answers]
    return {
        metric.name: mean_figure(scores, metric.method, groups=names, level=level),
        **further,
        "cut_off": mean_figure(cut, "answers cut at the token limit", groups=names, level=level),
    }


def groups_of(answers: Sequence[Answer], groups: Mapping[str, str] | None) -> list[str] | None:
    """The group of each answer's row; None where rows stand alone. A row without a group is its own."""
    return [groups.get(answer.id) or f"row {answer.id}" for answer in answers] if groups else None


def shared(
    first: Sequence[Answer], second: Sequence[Answer]
) -> tuple[tuple[Answer, ...], tuple[Answer, ...]]:
    """The answers of each to the rows that both answered, in the order of ``first``."""
    others = {answer.id: answer for answer in second}
    both = tuple(answer for answer in first if answer.id in others)
    return both, tuple(others[answer.id] for answer in both)


def paired(
    first: Sequence[Answer], second: Sequence[Answer], groups: Mapping[str, str] | None = None
) -> Difference:
    """The difference ``second - first`` on the same rows in the same order."""
    scores = [[answer.score for answer in answers] for answers in (first, second)]
    return Difference(**statistics.paired(*scores, groups=groups_of(first, groups)))


def _further(
    metric: Metric, rows: Sequence[Example], answers: Sequence[Answer], groups: list[str] | None, level: float
) -> Measurements:
    """The figures beside the metric's own."""

    def mean(scores: list[float], method: str) -> Measurement:
        return mean_figure(scores, method, groups=groups, level=level)

    if metric.kind == "label":
        truth = [metric.wanted(example) for example in rows]
        answered = [metric.answered(answer.text) for answer in answers]
        interval = statistics.macro_f1(truth, answered, groups=groups, level=level)
        return {"macro_f1": interval_figure(interval, "mean F1 over labels")}
    if metric.kind == "labels":
        equal = [float(answer.score == 1.0) for answer in answers]
        return {"exact_match": mean(equal, "exactly the expected set of labels")}
    if metric.kind == "value":
        without = [float(value_of(answer.text) is None) for answer in answers]
        return {
            "mae": _mean_error(metric, rows, answers, groups, level),
            "no_number": mean(without, "answers without a number"),
        }
    if metric.kind == "text":
        rouge = [rouge_l(e.answer, answer.text) for e, answer in zip(rows, answers, strict=True)]
        equal = [exact(e, answer.text) for e, answer in zip(rows, answers, strict=True)]
        return {"rouge_l": mean(rouge, "ROUGE-L F1"), "exact_match": mean(equal, "exact match")}
    return {}


def _mean_error(
    metric: Metric, rows: Sequence[Example], answers: Sequence[Answer], groups: list[str] | None, level: float
) -> Measurement:
    """The mean absolute error. No error counts for more than the range of the training answers: an interval
    needs a bound.
    """
    errors = [error_of(e, answer.text, metric.scale) for e, answer in zip(rows, answers, strict=True)]
    method = (
        f"mean absolute error; larger errors, and answers without a number, count as {metric.scale:g}, "
        "the range of the training answers"
    )
    shares = [min(error / metric.scale, 1.0) for error in errors]
    return mean_figure(shares, method, groups=groups, level=level).scaled(metric.scale, "as in the rows")


def scope_figures(
    metric: Metric,
    answers: Sequence[Answer],
    out_of_scope: Collection[str],
    *,
    groups: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> Measurements:
    """The metric on rows whose label is in the label set, and on those whose is not; nothing where all rows
    are in it.
    """
    outside = [answer for answer in answers if answer.id in out_of_scope]
    inside = [answer for answer in answers if answer.id not in out_of_scope]

    def mean(part: list[Answer], method: str) -> Measurement:
        scores = [answer.score for answer in part]
        return mean_figure(scores, method, groups=groups_of(part, groups), level=level)

    figures: Measurements = {}
    if outside and inside:
        figures[f"{metric.name}_in_scope"] = mean(
            inside, f"{metric.method}; rows whose label is in the label set"
        )
    if outside:
        right = f"right if answered {metric.unknown!r}" if metric.unknown else "no answer can be right"
        figures[f"{metric.name}_out_of_scope"] = mean(
            outside, f"rows whose label is not in the label set; {right}"
        )
    return figures


def mean_figure(
    scores: Sequence[float], method: str, *, groups: Sequence[Hashable] | None = None, level: float = 0.95
) -> Measurement:
    """The mean of scores with its interval (:func:`freehold.core.statistics.mean_interval`). ``groups``:
    each row's group.

    It has a ``variance`` where that does not follow from the mean: graded scores, and rows in groups.
    """
    mean = interval_figure(statistics.mean_interval(scores, groups=groups, level=level), method)
    if groups is None and all(score in (0.0, 1.0) for score in scores):
        return mean
    return replace(mean, variance=statistics.row_variance(scores, groups=groups))


def interval_figure(interval: statistics.Interval, method: str) -> Measurement:
    """An interval as a figure; ``method`` says what the value is, the interval's own words follow."""
    how = f"{method}; {interval.method}"
    ends = finite(interval.low), finite(interval.high)
    return Measurement(interval.value, *ends, interval.n, how, groups=interval.groups)


def finite(end: float) -> float | None:
    """An end of an interval; None where so few rows give no bound, as JSON has no infinity."""
    return end if math.isfinite(end) else None


def pick_shots(examples: Sequence[Example], labels: Sequence[str], count: int) -> tuple[Example, ...]:
    """Worked examples from the training rows: one per label in turn where there are labels, the shortest of
    typical length first.
    """
    if not examples:
        return ()
    ordered = sorted(examples, key=lambda e: e.digest)
    middle = sorted(len(e.question) for e in ordered)[len(ordered) // 2]
    near = sorted(ordered, key=lambda e: abs(len(e.question) - middle) // 20)
    if not labels:
        return tuple(near[:count])
    first: dict[str, Example] = {}
    for example in near:
        first.setdefault(wanted_label(example), example)
    chosen = sorted(first.values(), key=lambda e: e.digest)[:count]
    return tuple(chosen)
