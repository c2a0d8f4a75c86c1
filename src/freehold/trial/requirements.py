"""Needs, and whether the evidence meets them: decided by the interval, not by the point."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from freehold.core import units
from freehold.core.errors import UsageError
from freehold.core.json_types import JsonObject
from freehold.core.statistics import rows_for_power
from freehold.core.wording import did_you_mean
from freehold.evaluation.measurement import Measurement
from freehold.evaluation.metrics import possible_figures
from freehold.trial.variant import Bounds, Variant
from freehold.trust import grades, licence
from freehold.trust.hazards import GRADES

_FORM = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(>=|<=|=)\s*([^\s].*?)\s*")
_EXAMPLES = "write for example accuracy>=0.9, p95<=800ms, memory<=4GiB, licence=commercial or safety>=good"
#: Sizes that a need may limit, in bytes.
SIZES = ("memory", "size")
#: Needs on these are upper bounds: waits in milliseconds, sizes in bytes.
CEILINGS = ("p50", "p95", *SIZES)
#: Figures of errors: needs on them are upper bounds too.
ERRORS = ("mae", "cut_off", "no_number")
#: Needs on waits, and the share of waits that is within each.
WAITS = {"p50": 0.5, "p95": 0.95}


@dataclass(frozen=True)
class Requirement:
    """A need: ``name`` ``relation`` ``limit``."""

    #: as a person typed it
    text: str
    #: what it is on: a figure, a wait, a size, licence or safety
    name: str
    #: >=, <= or =
    relation: str
    #: milliseconds, bytes, a share, or the word of a licence policy or a safety grade
    limit: float | str


@dataclass(frozen=True)
class Terms:
    """The one-sided error that each statement may make."""

    #: of saying that a need is met
    meets: float = 0.025
    #: of saying that a need is missed
    misses: float = 0.025
    #: of saying at the next look that a need is met
    next_look: float = 0.025


@dataclass(frozen=True)
class Decision:
    """Whether evidence meets a need."""

    #: the need as it was typed
    need: str
    #: None where the evidence cannot decide
    met: bool | None
    #: the figures that decide, as a sentence
    evidence: str
    #: further test rows that would probably decide, None where that is unknown
    more_rows: int | None = None
    #: False where there is no evidence at all
    measured: bool = True
    #: what the need is on
    name: str = ""

    def as_dict(self) -> JsonObject:
        """For reports."""
        return asdict(self)


def parse_need(text: str) -> Requirement:
    """A need such as ``accuracy>=0.9``, ``p95<=800ms``, ``memory<=4GiB`` or ``licence=commercial``.

    Raises UsageError for another form, a missing or wrong unit, and a bound that nothing can meet.
    """
    name, relation, value = _pieces(text)
    if name == "licence":
        return _licence_need(text, relation, value)
    if name == "safety":
        return _safety_need(text, relation, value.lower())
    limit = _limit(text, name, value)
    needed = "<=" if name in (*CEILINGS, *ERRORS) else ">="
    if relation != needed:
        raise UsageError(
            f"the need {text!r} has the wrong sign",
            f"write {name}{needed}{value}; quality takes >=, {', '.join(CEILINGS)} and errors take <=",
        )
    return Requirement(text, name, relation, limit)


def _pieces(text: str) -> tuple[str, str, str]:
    """(name, relation, value) of a need. Raises UsageError where it has another form."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"the need {text!r} is not understood", _EXAMPLES)
    return _name(match[1]), match[2], match[3]


def _name(typed: str) -> str:
    """What a need is on, in the spelling of the figures; a person's own metric keeps its case."""
    name = typed.lower()
    if name == "license":
        return "licence"
    known = (*possible_figures(None), *CEILINGS, "licence", "safety")
    return name if name in known else typed


def _licence_need(text: str, relation: str, value: str) -> Requirement:
    if relation != "=" or value not in licence.POLICIES:
        remedy = "write licence=commercial, licence=unrestricted or licence=any"
        raise UsageError(f"the need {text!r} is not understood", remedy)
    return Requirement(text, "licence", "=", value)


def _safety_need(text: str, relation: str, grade: str) -> Requirement:
    if relation != ">=" or grade not in GRADES:
        remedy = f"write safety>= and one of {', '.join(GRADES)}, e.g. safety>=good"
        raise UsageError(f"the need {text!r} is not understood", remedy)
    return Requirement(text, "safety", ">=", grade)


def _limit(text: str, name: str, value: str) -> float:
    """The limit in bytes, milliseconds, a share, or for ``mae`` in the unit of the answers."""
    where = f"the need {text!r}"
    if name in SIZES:
        return float(units.parse_bytes(value, where, positive=True))
    if name in WAITS:
        return 1000 * units.parse_seconds(value, where, positive=True)
    if name != "mae":
        return units.parse_share(value, where)
    if re.fullmatch(r"\d+(\.\d+)?", value) is None:
        raise UsageError(
            f"{where}: {value!r} is not a number", "write the error without a unit, e.g. mae<=2.5"
        )
    return float(value)


def check_needs(texts: Sequence[str], metric: str | None) -> list[Requirement]:
    """The needs, checked before any row is read. ``metric``: as typed, None where it will be detected.

    Raises UsageError for a need that cannot be read or met, and for one on what no trial with this metric
    measures.
    """
    figures = possible_figures(metric)
    for text in texts:
        _check_name(text, _pieces(text)[0], figures)
    return [parse_need(text) for text in texts]


def check_names(needs: Sequence[Requirement], figures: Sequence[str]) -> None:
    """Raises UsageError for a need on what is not measured. ``figures``: of the metric, its own first."""
    for need in needs:
        _check_name(need.text, need.name, figures)


def _check_name(text: str, name: str, figures: Sequence[str]) -> None:
    known = [*figures, *CEILINGS, "licence", "safety"]
    if name in known:
        return
    hint = did_you_mean(name.lower(), known)
    raise UsageError(
        f"the need {text!r}: {name!r} is not measured in this trial",
        f"{hint}This trial measures {', '.join(known)}",
    )


def exact(need: Requirement) -> bool:
    """Whether a need is on something else than the answers' quality: machine, licence or safety."""
    return need.name in (*CEILINGS, "licence", "safety")


def terms_of(needs: Sequence[Requirement], alpha: float, next_alpha: float, among: int = 1) -> Terms:
    """The one-sided error allowed to each statement, ``alpha`` being that of this look.

    All needs must be met to own, so each is decided at the whole error. One missed need is enough to fail, so
    that error is divided among the needs with an interval. ``among``: variants that the judging rows chose
    from.
    """
    uncertain = sum(not exact(need) or need.name in (*WAITS, "safety") for need in needs)
    return Terms(alpha / among, alpha / max(uncertain, 1), next_alpha / among)


def decide(need: Requirement, variant: Variant, terms: Terms | None = None) -> Decision:
    """Check one need against a variant's evidence (see report.schema.json, ``variants``).

    Figures on answers are decided by the variant's ``bounds`` where it has them
    (:func:`freehold.trial.judging.bounds`), which keep the errors of ``terms``; else by the 95% interval.
    """
    if need.name == "licence":
        met, why = licence.allowed(variant.licence, str(need.limit))
        return Decision(need.text, met, why, name=need.name)
    if need.name == "safety":
        return _safe(need, variant.safety)
    if need.name in ("memory", "size"):
        peak = variant.running.peak_memory_bytes if variant.running else None
        value = peak if need.name == "memory" else variant.size_bytes
        if value is None:
            return Decision(need.text, None, "not measured", measured=False, name=need.name)
        shown = f"{value / 2**30:.2f} GiB measured"
        return Decision(need.text, value <= float(need.limit), shown, name=need.name)
    if need.name in WAITS:
        return _waits(need, variant)
    figure = variant.figures.get(need.name)
    if figure is None:
        return Decision(need.text, None, "not measured", measured=False, name=need.name)
    bounds = variant.bounds_of(need.name, figure)
    met = _met(need, bounds)
    terms = terms or Terms()
    shown = f"{figure.value:.4g}, 95% between {_end(figure.low)} and {_end(figure.high)}, n={figure.n}"
    at_least = need.relation == ">="
    near, side = (bounds.meets.low, "at least") if at_least else (bounds.meets.high, "at most")
    if need.name in (variant.bounds or {}) and near is not None:
        shown += (
            f"; {side} {near:.4g}, wrong in at most {100 * terms.meets:.3g} of 100 trials: this bound decides"
        )
    more = _more_rows(need, figure, terms) if met is None else None
    return Decision(need.text, met, shown, more, name=need.name)


def _end(value: float | None) -> str:
    return "no bound" if value is None else f"{value:.4g}"


def _met(need: Requirement, bounds: Bounds) -> bool | None:
    """True where the near end meets the limit, False where the far end misses it, None where neither.

    An end of None is unknown.
    """
    limit, meets, misses = float(need.limit), bounds.meets, bounds.misses
    if need.relation == ">=":
        good = meets.low is not None and meets.low >= limit
        bad = misses.high is not None and misses.high < limit
    else:
        good = meets.high is not None and meets.high <= limit
        bad = misses.low is not None and misses.low > limit
    return True if good else False if bad else None


def _waits(need: Requirement, variant: Variant) -> Decision:
    """Waiting times are decided by bounds on their own; those of a busy machine not at all."""
    figure = variant.wait(need.name)
    if figure is None:
        return Decision(need.text, None, "not measured", measured=False, name=need.name)
    bounds = variant.bounds_of(need.name, figure)
    shown = f"{figure.value:.4g} ms, 95% between {_end(figure.low)} and {_end(figure.high)} ms, n={figure.n}"
    if figure.busy:
        return Decision(need.text, None, f"{shown}; {figure.busy}", name=need.name)
    met = _met(need, bounds)
    if met is None and bounds.meets.high is None:
        shown += f"; {figure.n} waits are too few to say what the slowest are"
    return Decision(need.text, met, shown, name=need.name)


def _more_rows(need: Requirement, figure: Measurement, terms: Terms) -> int | None:
    """Further rows that decide with a chance of 80% at the next look; None where it can't be said."""
    if need.relation != ">=" or not 0 <= figure.value <= 1 or figure.n == 0:
        return None
    level = 1 - 2 * min(terms.next_look, terms.misses)
    return rows_for_power(figure.value, float(need.limit), figure.n, level=level, variance=figure.variance)


def _safe(need: Requirement, safety: JsonObject | None) -> Decision:
    """A grade is met where both ends of the interval meet it, and missed where neither does; see
    ``trust/grades.py``."""
    met, evidence = grades.decide(safety, str(need.limit))
    return Decision(need.text, met, evidence, measured=bool(safety), name=need.name)
