"""What each step of a trial gives back. Field names are the keys of ``result.json`` in the step's folder."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, Self

from pydantic import ConfigDict

from freehold.costs.energy import Energy
from freehold.evaluation.measurement import Measurement, Measurements
from freehold.quantization.quantize import Quantized
from freehold.trial import json_form
from freehold.trial.baselines import Baseline
from freehold.trial.json_form import JsonObject
from freehold.trial.planner import Pace

_DOCUMENTED = ConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True)
class StepResult:
    """What every step gives back."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    _: KW_ONLY
    seconds: float = 0.0
    """seconds that the step took, those of earlier runs included"""
    node: str = ""
    """the machine of a cluster that did the step; empty where this machine did"""

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Inverse of :meth:`as_json`. Raises BadData."""
        return json_form.read(cls, value)

    def as_json(self) -> JsonObject:
        """The form in which a step's process sends it and in which it is kept."""
        return json_form.write(self)


@dataclass(frozen=True)
class PartialResult(StepResult):
    """The result of a step that its time may cut short, and that a larger budget continues."""

    _: KW_ONLY
    budget_s: float = 0.0
    """the trial's budget when it was made, in seconds"""

    @property
    def progress(self) -> tuple[int, int]:
        """(how much was done, of how much)."""
        raise NotImplementedError

    @property
    def complete(self) -> bool:
        """Whether everything was done."""
        done, total = self.progress
        return done >= total


@dataclass(frozen=True)
class Spread:
    """How long the rows' prompts or answers are, in tokens."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    mean: float
    """mean over all rows"""
    p50: int
    """median"""
    p95: int
    """95 of 100 rows have no more"""
    max: int
    """the longest row's"""


@dataclass(frozen=True)
class LookResult(StepResult):
    """How long the rows are in a model's tokens."""

    template: str
    """where the chat template is from"""
    prompt_tokens: Spread
    """of the rows' prompts"""
    answer_tokens: Spread
    """of the rows' answers"""
    longest_prompt: int = 0
    """tokens of the longest prompt that fits the model's context"""
    shared_prefix_tokens: int = 0
    """tokens that all prompts begin with"""
    max_tokens: int = 256
    """tokens that an answer may have"""
    over_context: tuple[str, ...] = ()
    """ids of the rows that do not fit the model's context"""
    over_context_count: int = 0
    """how many these are"""
    sample_prompt: str = ""
    """the beginning of one prompt as the model reads it"""
    longest_rejected: int = 0
    """tokens of the longest rejected answer, where the rows hold pairs of answers"""
    longest_training_row: int = 0
    """tokens of the longest prompt with its own answer, of the training and validation rows"""

    @property
    def longest_row(self) -> int:
        """Tokens of the longest prompt and the longest answer together, rejected answers among them."""
        return int(self.prompt_tokens.max + max(self.answer_tokens.max, self.longest_rejected))

    @property
    def long_row(self) -> float:
        """Tokens of a long row: 95 of 100 have no longer prompt or answer."""
        return self.prompt_tokens.p95 + self.answer_tokens.p95

    @property
    def mean_row(self) -> float:
        """Tokens of the mean row, prompt and answer."""
        return self.prompt_tokens.mean + self.answer_tokens.mean


@dataclass(frozen=True)
class PaceResult(StepResult):
    """How fast a model is on this machine."""

    load_s: float
    """seconds to load it"""
    prompt_tokens_per_s: float
    """tokens of a prompt that are read in a second"""
    answer_tokens_per_s: float
    """tokens written in a second, several answers at once"""
    single_tokens_per_s: float
    """tokens of one answer alone that are written in a second"""
    flops: float = 0.0
    """operations per second of matrix products as tuning makes them; 0 where nothing can be tuned"""
    rounding: float = 0.0
    """weights per second that are rounded to every type of a mix; 0 where nothing can be tuned"""
    load: JsonObject = field(default_factory=dict)
    """what else used the processor meanwhile (:mod:`freehold.core.cpu_load`)"""
    note: str = ""
    """the same as a sentence; empty where nothing did"""

    @property
    def pace(self) -> Pace:
        """The speeds, for the plan."""
        return Pace(
            self.load_s,
            self.prompt_tokens_per_s,
            self.answer_tokens_per_s,
            self.single_tokens_per_s,
            self.flops,
            self.rounding,
        )


@dataclass(frozen=True)
class ConvertResult(StepResult):
    """A model that was written as GGUF."""

    record: JsonObject
    """how (:mod:`freehold.runtime.gguf_form`)"""


@dataclass(frozen=True)
class BaselinesResult(StepResult):
    """Simple methods, measured on the test rows."""

    baselines: tuple[Baseline, ...]
    """the constant answer first"""


@dataclass(frozen=True)
class MeasureResult(PartialResult):
    """A variant's figures on the rows that it answered."""

    figures: Measurements
    """by name, the metric's own first"""
    rows: int
    """rows that were answered"""
    of_rows: int
    """rows there are"""
    mean_prompt_tokens: float
    """of a row's prompt"""
    mean_answer_tokens: float
    """of a row's answer"""
    rows_per_second: float | None = None
    """speed, many rows at once; null where the process was stopped"""
    peak_memory_bytes: int | None = None
    """highest memory of the process; null where it was stopped"""

    @property
    def progress(self) -> tuple[int, int]:
        """(rows answered, rows there are)."""
        return self.rows, self.of_rows


@dataclass(frozen=True)
class TuningResult(StepResult):
    """How a tuning went. Its files are in the step's folder."""

    recipe: JsonObject
    """the recipe as it was carried out (:class:`freehold.training.recipe.Recipe`)"""
    rows: int
    """training rows"""
    steps: int
    """optimizer steps taken"""
    best_step: int
    """the step whose adapter was kept: least loss on the validation rows"""
    stopped: str
    """why it ended before its last step; empty where it did not"""
    training_seconds: float
    """seconds of the steps alone"""
    tokens_per_second: float
    """training tokens read in a second"""
    peak_memory_bytes: int
    """highest memory of the device"""
    energy: Energy
    """what it took"""
    train_curve: tuple[tuple[float, float], ...]
    """(step, training loss)"""
    valid_curve: tuple[tuple[float, ...], ...]
    """(step, validation loss, share of answers that are exact)"""
    reason: str = ""
    """why so many steps"""
    rows_left_out: int = 0
    """training rows that are too long"""
    shared_prefix_tokens: int = 0
    """tokens that all rows begin with, read once"""
    made: JsonObject = field(default_factory=dict)
    """digests of what was written, and the versions that wrote it"""


@dataclass(frozen=True)
class ShrinkResult(StepResult):
    """A tuned model's quantized files."""

    types: dict[str, Quantized]
    """quantization type -> its file"""


@dataclass(frozen=True)
class MixResult(StepResult):
    """A tuned model's file of mixed types."""

    quantized: Quantized
    """the file"""
    shares: dict[str, float]
    """llama.cpp's type -> share of the weights that have it"""
    calibration_rows: int
    """training rows that it was calibrated on"""


@dataclass(frozen=True)
class WaitMeasurement(Measurement):
    """A waiting time in milliseconds, and whether the machine was quiet."""

    quiet: bool = True
    """whether nothing else used the processor"""
    busy: str = ""
    """what did, as a sentence"""


@dataclass(frozen=True)
class AtOnce:
    """Several requests at once: a capacity, and the waits that belong to it."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    parallel: int
    """requests at once"""
    requests_per_second: Measurement
    """requests that are answered in a second"""
    p50_ms: float
    """median wait, milliseconds"""
    p95_ms: float
    """95 of 100 waits are no longer, milliseconds"""


@dataclass(frozen=True)
class TimingResult(StepResult):
    """What serving a variant takes. Reports of earlier versions lack some of it."""

    peak_memory_bytes: int = 0
    """highest memory of the process, measured"""
    predicted_memory_bytes: int = 0
    """the same, predicted beforehand"""
    p50_ms: WaitMeasurement | None = None
    """median wait of one user, milliseconds"""
    p95_ms: WaitMeasurement | None = None
    """95 of 100 waits of one user are no longer, milliseconds"""
    slowest_ms: float | None = None
    """the longest wait, milliseconds"""
    waits_ms: tuple[float, ...] = ()
    """the waits that count, milliseconds"""
    waits: JsonObject = field(default_factory=dict)
    """how many waits were measured, quiet, counted and needed, and of how many rows"""
    quiet: bool = True
    """whether nothing else used the processor, or waits were taken again until nothing did"""
    load: dict[str, str] = field(default_factory=dict)
    """what disturbed each of waits, throughput and energy; empty texts where nothing did"""
    load_s: float = 2.0
    """seconds to load the model"""
    prompt_tokens_per_second: float = 0.0
    """reading a prompt, one request alone"""
    answer_tokens_per_second: float = 0.0
    """writing an answer, one request alone"""
    requests_per_second: float = 0.0
    """with ``at_once.parallel`` requests at once"""
    requests_per_second_alone: float = 0.0
    """one request at a time"""
    at_once: AtOnce | None = None
    """several requests at once"""
    parallel: int = 0
    """requests that were sent at once"""
    requests: int = 0
    """requests that energy was counted over"""
    energy: Energy | None = None
    """of all requests"""
    kwh_per_1000_requests: float = 0.0
    """energy of a thousand requests, kWh"""
    watts: float = 0.0
    """mean power while it answered, watts"""
    context: int = 0
    """tokens of context that were open"""

    def wait(self, name: str) -> WaitMeasurement | None:
        """The wait that a need named ``p50`` or ``p95`` is on; None where it was not measured."""
        return {"p50": self.p50_ms, "p95": self.p95_ms}[name]


@dataclass(frozen=True)
class ServedResult(PartialResult):
    """How many rows were asked through a running server; the answers are in the step's folder."""

    rows: int
    """rows that were answered"""
    of_rows: int
    """rows that were to be asked"""

    @property
    def progress(self) -> tuple[int, int]:
        """(rows answered, rows to ask)."""
        return self.rows, self.of_rows


@dataclass(frozen=True)
class FindingResult(PartialResult):
    """What a test of :mod:`freehold.trust` found: its JSON form, as the report holds it."""

    finding: JsonObject

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Inverse of :meth:`as_json`."""
        return cls(value, seconds=value.get("seconds", 0.0), budget_s=value.get("budget_s", 0.0))

    def as_json(self) -> JsonObject:
        """The finding itself, with the budget it was made under."""
        return {**self.finding, "budget_s": self.budget_s}


@dataclass(frozen=True)
class SafetyResult(FindingResult):
    """How a variant answered harmful prompts, and harmless ones that only sound so."""

    @property
    def progress(self) -> tuple[int, int]:
        """(prompts asked, prompts there are)."""
        return int(self.finding["asked"]), int(self.finding["of_prompts"])

    def without_answers(self) -> JsonObject:
        """For the report: answers to harmful prompts stay in the step's folder."""
        return {key: value for key, value in self.finding.items() if key != "answers"}


@dataclass(frozen=True)
class PrivacyResult(FindingResult):
    """What can be learnt about the training rows from a tuned variant."""

    @property
    def progress(self) -> tuple[int, int]:
        """(probes made, probes there are)."""
        return int(self.finding["tried"]), int(self.finding["of_tried"])
