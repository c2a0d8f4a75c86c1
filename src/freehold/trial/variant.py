"""A variant: a model as one might serve it, and everything that was measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict

from freehold.evaluation.measurement import Difference, Measurement, Measurements, absent
from freehold.quantization.quantize import Quantized
from freehold.trial.json_form import JsonObject
from freehold.trial.results import TimingResult, TuningResult, WaitMeasurement

Kind = Literal["as is", "tuned", "rival"]
Rows = Literal["test", "validation"]
#: The rows that judge, and those that a variant is chosen by.
TEST: Rows = "test"
VALIDATION: Rows = "validation"

_DOCUMENTED = ConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True)
class Selection:
    """What a variant was chosen by."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    figures: Measurements
    """by name, on the validation rows"""
    rows: int = 0
    """validation rows that were answered"""
    of_rows: int = 0
    """validation rows there are"""


@dataclass(frozen=True)
class Ends:
    """Both ends of an interval; null where so few rows give none."""

    low: float | None
    high: float | None

    @staticmethod
    def of(measurement: Measurement) -> Ends:
        """Those of a measurement."""
        return Ends(measurement.low, measurement.high)


@dataclass(frozen=True)
class Bounds:
    """The intervals that decide a need."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    meets: Ends
    """at the error of saying that the need is met"""
    misses: Ends
    """at the error of saying that the need is missed"""


@dataclass(frozen=True)
class Against(Difference):
    """A variant's paired difference from a baseline; positive where the variant is better."""

    baseline: str = field(kw_only=True)
    """id of the baseline"""
    title: str = field(kw_only=True)
    """title of the baseline"""
    constant: bool = field(kw_only=True)
    """whether the baseline answers every row alike"""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model as one might serve it: as it stands or tuned, with or without worked examples; or an API
    beside it.
    """

    __pydantic_config__: ClassVar = _DOCUMENTED

    id: str
    """model and how it was asked or made"""
    title: str
    """the same for people"""
    model: str
    """name of the model that it stands on"""
    kind: Kind
    """as it stands, tuned, or an API"""
    digest: str
    """sha256 of the weights; empty for an API"""
    figures: Measurements
    """by name, on the rows that ``measured_on`` says"""
    rows: int
    """rows that were answered"""
    of_rows: int
    """rows there are"""
    running: TimingResult | None
    """what serving takes; null where it was not timed"""
    measured_on: Rows = TEST
    """the rows that ``figures`` were measured on"""
    size_bytes: int = 0
    """of the weights' file"""
    parameters: int = 0
    """of the model"""
    licence: str = ""
    """SPDX name; empty where none is stated"""
    shots: tuple[str, ...] = ()
    """ids of the worked examples"""
    max_tokens: Annotated[int | None, absent()] = None
    """tokens that an answer may have"""
    selection: Selection | None = None
    """what it was chosen by; null where it was chosen on the test rows"""
    trained: TuningResult | None = None
    """how it was tuned; null where it was not"""
    quantized: Annotated[Quantized | None, absent()] = None
    """how it was quantized after tuning"""
    weights: str = ""
    """path of the weights; empty for an API"""
    stored_as: str = ""
    """its name in the store; empty where it is not there"""
    rows_per_second: float | None = None
    """speed when it was measured, many rows at once"""
    mean_prompt_tokens: float | None = None
    """of a row's prompt"""
    mean_answer_tokens: float | None = None
    """of a row's answer"""
    measuring_seconds: float | None = None
    """seconds that measuring took"""
    bounds: Annotated[dict[str, Bounds] | None, absent()] = None
    """figure -> the intervals that decide needs on it; of the chosen variant"""
    against: Annotated[tuple[Against, ...] | None, absent()] = None
    """paired difference from each baseline; absent where it was not compared"""
    money: Annotated[JsonObject | None, absent()] = None
    """what it costs beside an API (:mod:`freehold.trial.costs`); absent where it was not timed"""
    safety: Annotated[JsonObject | None, absent()] = None
    """how it answers harmful prompts (:mod:`freehold.trust.safety`)"""
    privacy: Annotated[JsonObject | None, absent()] = None
    """what can be learnt about the training rows (:mod:`freehold.trust.privacy`); of a tuned variant"""
    rival: Annotated[bool, absent(nothing=False)] = False
    """true for an API"""
    rented: Annotated[JsonObject | None, absent()] = None
    """of an API: how it was asked and what that took (:mod:`freehold.trial.rival_variant`)"""
    conditions: Annotated[tuple[str, ...] | None, absent()] = None
    """of an API: how it was asked, in sentences"""
    mean_reasoning_tokens: Annotated[float | None, absent()] = None
    """of an API: tokens of an answer that are paid and not shown"""

    @property
    def on_test(self) -> bool:
        """Whether its figures are of test rows."""
        return self.measured_on == TEST

    def wait(self, name: str) -> WaitMeasurement | None:
        """The wait that a need named ``p50`` or ``p95`` is on; None where it was not measured."""
        return self.running.wait(name) if self.running else None

    def bounds_of(self, name: str, figure: Measurement) -> Bounds:
        """The intervals that decide a need on ``figure``: those set for it, else its own."""
        known = (self.bounds or {}).get(name)
        return known or Bounds(Ends.of(figure), Ends.of(figure))
