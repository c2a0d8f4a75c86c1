"""What each step of a trial is given: what decides its result, and the rest.

What decides a result makes the digest that the step's folder is named by. The rest, such as the time that is
left, changes nothing that is measured. Names and values of what decides must stay as they are: with others
every step would be done again.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from freehold.models.info import ModelInfo
from freehold.trial import json_form, results
from freehold.trial.json_form import JsonObject
from freehold.trial.results import StepResult

Result = TypeVar("Result", bound=StepResult)


_FREE = {"free": True}


def free(default: Any) -> Any:
    """A field that does not decide the step's result."""
    return field(default=default, metadata=_FREE)


def optional(default: Any = None) -> Any:
    """A field that decides, and is left out of the digest while it has its default."""
    return field(default=default, metadata={"optional": True})


def decisive(record: Any) -> JsonObject:
    """The fields of a record that decide a step's result, in JSON form."""
    chosen: JsonObject = {}
    for entry in fields(record):
        value = getattr(record, entry.name)
        left_out = "optional" in entry.metadata and value == entry.default
        if "free" not in entry.metadata and not left_out:
            chosen[entry.name] = value
    return chosen


@dataclass(frozen=True)
class Arguments(Generic[Result]):
    """What every step is given."""

    #: name of the job that takes these
    job: ClassVar[str]
    #: what it gives back
    result: ClassVar[type[Any]]

    _: KW_ONLY
    #: the step's folder
    place: str = free("")
    #: the task's file
    task: str = free("")

    def inputs(self) -> JsonObject:
        """What decides the result, in JSON form."""
        return decisive(self)

    def as_json(self) -> JsonObject:
        """The form in which a step's process receives them."""
        return json_form.write(self)

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Inverse of :meth:`as_json`. Raises BadData."""
        return json_form.read(cls, value)


@dataclass(frozen=True)
class BaselinesArguments(Arguments[results.BaselinesResult]):
    """For the step that measures simple methods."""

    job = "baselines"
    result = results.BaselinesResult

    #: split -> digest of its rows' file
    task_files: dict[str, str]
    #: name of the metric, None to detect it
    metric: str | None
    #: which column plays which part
    columns: str
    #: the closed set of labels
    labels: tuple[str, ...]
    #: the label for rows out of scope, "" for none
    unknown_label: str
    #: whether models are tuned
    tune: bool
    #: ids of rows that are too long for a model
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """The task and the model that a step is about."""

    #: split -> digest of its rows' file
    task_files: dict[str, str]
    #: name of the metric, None to detect it
    metric: str | None
    #: which column plays which part
    columns: str
    #: digest of the model's manifest
    revision: str
    #: the model's name
    model: str
    #: whether the model's own chat template is set aside
    plain: bool
    #: ids of rows that are too long for a model
    leave_out: tuple[str, ...] = optional(())
    #: file or folder of the weights
    weights: str = free("")
    #: the model's info in JSON form
    card: JsonObject | None = field(default=None, metadata=_FREE)

    @property
    def info(self) -> ModelInfo:
        """The model's info."""
        return ModelInfo.from_dict(self.card or {})


@dataclass(frozen=True)
class ModelArguments(Arguments[Result]):
    """What every step with a model is given."""

    #: the task and the model
    subject: Subject

    def inputs(self) -> JsonObject:
        """What decides the result, in JSON form: that of the subject among it."""
        chosen = decisive(self)
        del chosen["subject"]
        return {**decisive(self.subject), **chosen}

    @property
    def model(self) -> str:
        """The model's name."""
        return self.subject.model

    @property
    def weights(self) -> Path:
        """File or folder of the weights."""
        return Path(self.subject.weights)

    @property
    def info(self) -> ModelInfo:
        """The model's info."""
        return self.subject.info

    @property
    def plain(self) -> bool:
        """Whether the model's own chat template is set aside."""
        return self.subject.plain


@dataclass(frozen=True)
class ConvertArguments(ModelArguments[results.ConvertResult]):
    """For the step that writes a model as GGUF."""

    job = "convert"
    result = results.ConvertResult

    #: folder of the store
    store: str = free("")


@dataclass(frozen=True)
class LookArguments(ModelArguments[results.LookResult]):
    """For the step that counts the rows' tokens."""

    job = "look"
    result = results.LookResult


@dataclass(frozen=True, kw_only=True)
class PaceArguments(ModelArguments[results.PaceResult]):
    """For the step that measures how fast a model is."""

    job = "pace"
    result = results.PaceResult

    #: whether the model may be tuned
    tuned: bool


@dataclass(frozen=True, kw_only=True)
class MeasureArguments(ModelArguments[results.MeasureResult]):
    """For the step that has a variant answer rows."""

    job = "measure"
    result = results.MeasureResult

    #: sha256 of the variant's weights
    weights_digest: str
    #: ids of the worked examples
    shots: tuple[str, ...]
    #: tokens that an answer may have
    max_tokens: int
    #: which rows: ``validation`` or ``test``
    split: str
    #: answers at once
    parallel: int
    #: tokens of context
    context: int
    #: worked examples that any prompt may show; of validation rows
    most_shots: int | None = optional()
    #: whether models are tuned; of validation rows
    tune: bool | None = optional()
    #: what the progress bar says
    title: str = free("")
    #: seconds after which no block of rows is begun; 0 for no limit
    limit_s: float = free(0.0)
    #: the trial's budget in seconds
    budget_s: float = free(0.0)
    #: seconds that a row takes, as planned
    row_s: float = free(0.0)
    #: seconds that what all rows begin with takes, as planned
    prefix_s: float = free(0.0)


@dataclass(frozen=True, kw_only=True)
class TuneArguments(ModelArguments[results.TuningResult]):
    """For the step that tunes a model."""

    job = "tune"
    result = results.TuningResult

    #: the recipe as JSON
    recipe: JsonObject
    #: tokens of the longest row
    longest_row: int
    #: whose electricity carbon is counted with; "" for the world's
    country: str
    #: seconds for the tuning
    tuning_s: float
    #: seconds of these for finding learning rate and rank; 0: no search
    search_s: float = optional(0.0)
    #: bytes of memory that the tuning must fit; 0 where it fits as it is
    memory_bytes: int = optional(0)
    #: seconds that merging takes, as planned
    merging_s: float = free(0.0)
    #: what it is tuned on
    device: str = free("cpu")


@dataclass(frozen=True, kw_only=True)
class ShrinkArguments(ModelArguments[results.ShrinkResult]):
    """For the step that quantizes a tuned model."""

    job = "shrink"
    result = results.ShrinkResult

    #: digest of what decided the tuning
    tuned: str
    #: quantization types
    types: tuple[str, ...]
    #: the merged model's file
    source: str = free("")


@dataclass(frozen=True, kw_only=True)
class MixArguments(ModelArguments[results.MixResult]):
    """For the step that quantizes a tuned model with our own mix of types."""

    job = "mix"
    result = results.MixResult

    #: digest of what decided the tuning
    tuned: str
    #: bytes that the file may have
    size_bytes: int
    #: tokens of training rows that it is calibrated on, at most
    calibration_tokens: int
    #: positions of these at which errors are measured, at most
    positions: int
    #: groups of layers whose errors are probed one by one
    bands: int
    #: the merged model's file
    source: str = free("")


@dataclass(frozen=True, kw_only=True)
class TimedArguments(ModelArguments[results.TimingResult]):
    """For the step that measures what serving takes."""

    job = "timed"
    result = results.TimingResult

    #: sha256 of the variant's weights
    weights_digest: str
    #: ids of the worked examples
    shots: tuple[str, ...]
    #: tokens that an answer may have
    max_tokens: int
    #: tokens of context
    context: int
    #: tokens of the longest prompt
    longest_prompt: int
    #: waits of one user to take
    latency_rows: int
    #: several requests at once are timed too; earlier versions did not
    at_once: bool
    #: whose electricity carbon is counted with; "" for the world's
    country: str
    #: what the progress bar says
    title: str = free("")
    #: seconds it may take; 0 for no limit
    limit_s: float = free(0.0)


@dataclass(frozen=True, kw_only=True)
class SafetyArguments(ModelArguments[results.SafetyResult]):
    """For the step that asks a variant harmful prompts."""

    job = "safety"
    result = results.SafetyResult

    #: sha256 of the variant's weights
    weights_digest: str
    #: sha256 of the prompts' file
    prompts_digest: str
    #: version of the reading of the answers
    judged: int | str
    #: the prompts' file
    prompts: str = free("")
    #: prompts to ask
    most: int = free(0)
    #: what the progress bar says
    title: str = free("")
    #: seconds it may take; 0 for no limit
    limit_s: float = free(0.0)
    #: the trial's budget in seconds
    budget_s: float = free(0.0)


@dataclass(frozen=True, kw_only=True)
class PrivacyArguments(ModelArguments[results.PrivacyResult]):
    """For the step that looks for training rows in a tuned variant."""

    job = "extraction"
    result = results.PrivacyResult

    #: sha256 of the variant's weights
    weights_digest: str
    #: training rows to try
    rows: int
    #: file of the weights before tuning
    untuned: str = free("")
    #: what the progress bar says
    title: str = free("")
    #: seconds it may take; 0 for no limit
    limit_s: float = free(0.0)
    #: the trial's budget in seconds
    budget_s: float = free(0.0)


@dataclass(frozen=True)
class ServedArguments(Arguments[results.ServedResult]):
    """For the step that asks rows through a running server."""

    job = "served"
    result = results.ServedResult

    #: split -> digest of its rows' file
    task_files: dict[str, str]
    #: name of the metric, None to detect it
    metric: str | None
    #: name of the stored model
    model: str
    #: digest of its manifest
    revision: str
    #: id of the variant
    variant: str
    #: folder of the store
    store: str = free("")
    #: ids of the rows to ask
    rows: tuple[str, ...] = free(())
    #: what the progress bar says
    title: str = free("")
    #: seconds after which no row is begun
    limit_s: float = free(0.0)
    #: the trial's budget in seconds
    budget_s: float = free(0.0)
