"""Needs, and whether the evidence meets them: decided by the interval, not by the point."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from freehold.core import yaml_text
from freehold.core.errors import BadData, UsageError
from freehold.core.statistics import rows_for_power
from freehold.evaluation.measurement import Measurement
from freehold.trial.variant import Bounds, Variant
from freehold.trust import grades, licence
from freehold.trust.hazards import GRADES

_FORM = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(>=|<=|=)\s*([^\s].*?)\s*")
_UNITS = {
    "ms": 1.0, "s": 1000.0, "min": 60000.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
    "%": 0.01, "": 1.0,
}  # fmt: skip
#: Needs on these are upper bounds: in milliseconds, bytes, or both as the unit says.
CEILINGS = ("p50", "p95", "memory", "size")
#: Figures of errors: needs on them are upper bounds too.
ERRORS = ("mae", "cut_off", "no_number")
#: Needs on waits, and the share of waits that is within each.
WAITS = {"p50": 0.5, "p95": 0.95}


@dataclass(frozen=True)
class Requirement:
    """``name`` ``relation`` ``limit``; limits in milliseconds, bytes or shares, or the word of a licence policy."""

    text: str
    name: str
    relation: str
    limit: float | str


@dataclass(frozen=True)
class Terms:
    """The error that each statement may make, one-sided: that a need is met, that one is missed, and that one is met at the next look."""

    meets: float = 0.025
    misses: float = 0.025
    next_look: float = 0.025


@dataclass(frozen=True)
class Decision:
    """``met``: True, False, or None where the evidence cannot decide; ``more_rows``: further test rows that probably would.

    ``measured``: False where there is no evidence at all. ``name``: what the need is on.
    """

    need: str
    met: bool | None
    evidence: str
    more_rows: int | None = None
    measured: bool = True
    name: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


def parse_need(text: str) -> Requirement:
    """``accuracy>=0.9``, ``p95<=800ms``, ``memory<=4GiB``, ``licence=commercial``. Raises UsageError."""
    match = _FORM.fullmatch(text)
    hint = "write for example accuracy>=0.9, p95<=800ms, memory<=4GiB licence=commercial or safety>=good"
    if match is None:
        raise UsageError(f"the need {text!r} is not understood", hint)
    name, relation, value = match[1].lower(), match[2], match[3]
    if name in ("licence", "license"):
        if relation != "=" or value not in licence.POLICIES:
            raise UsageError(
                f"the need {text!r} is not understood",
                "write licence=commercial, licence=unrestricted or licence=any",
            )
        return Requirement(text, "licence", "=", value)
    if name == "safety":
        if relation != ">=" or value.lower() not in GRADES:
            raise UsageError(
                f"the need {text!r} is not understood",
                f"write safety>= and one of {', '.join(GRADES)}, e.g. safety>=good",
            )
        return Requirement(text, "safety", ">=", value.lower())
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z%]*)", value)
    if number is None or number[2].lower() not in _UNITS:
        raise UsageError(
            f"the need {text!r} has the limit {value!r}, which is not a number with a known unit", hint
        )
    ceiling = name in (*CEILINGS, *ERRORS)
    if relation == "=" or ceiling != (relation == "<="):
        example = f"write {name}{'<=' if ceiling else '>='}{value}"
        raise UsageError(
            f"the need {text!r} has the wrong sign",
            f"{example}; quality takes >=, {', '.join(CEILINGS)} and errors take <=",
        )
    return Requirement(text, name, relation, float(number[1]) * _UNITS[number[2].lower()])


def check_names(needs: Sequence[Requirement], figures: Sequence[str]) -> None:
    """Raises UsageError for a need on something that this trial does not measure; ``figures``: those of the metric, the main one first."""
    known = [*figures, *CEILINGS, "licence", "safety"]
    for need in needs:
        if need.name not in known:
            near = difflib.get_close_matches(need.name, known, 1, 0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"the need {need.text!r}: {need.name!r} is not measured in this trial",
                f"{hint}This trial measures {', '.join(known)}",
            )


def parse_bytes(text: str) -> int:
    """``4GiB`` -> bytes. Raises UsageError."""
    return int(float(parse_need(f"memory<={text}").limit))


def parse_seconds(text: str) -> float:
    """``45m``, ``90s``, ``1h30m`` -> seconds. Raises UsageError."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?", text.strip())
    if match is None or not any(match.groups()):
        raise UsageError(f"{text!r} is no duration", "write for example 45m, 90s or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def read_task_file(path: Path) -> list[str]:
    """The needs of a ``task.yaml`` (key ``needs``, a list). Unknown keys are errors. Raises UsageError."""
    try:
        value = yaml_text.load(path.read_text(), str(path))
    except BadData as error:
        raise UsageError(error.message, "correct it there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0]})", "correct it") from error
    if (
        not isinstance(value, dict)
        or set(value) - {"needs"}
        or not all(isinstance(n, str) for n in value.get("needs", []))
    ):
        unknown = ", ".join(map(str, set(value) - {"needs"})) if isinstance(value, dict) else "no mapping"
        raise UsageError(
            f"{path} holds {unknown or 'needs that are no text'}",
            "write only 'needs:' with a list of texts like accuracy>=0.9",
        )
    return list(value.get("needs", []))


def exact(need: Requirement) -> bool:
    """Whether a need is on something else than the answers' quality: machine, licence or safety."""
    return need.name in (*CEILINGS, "licence", "safety")


def terms_of(needs: Sequence[Requirement], alpha: float, next_alpha: float, among: int = 1) -> Terms:
    """The error allowed to each statement, ``alpha`` being that of this look, one-sided.

    All needs must be met to own, so each is decided at the whole error. One missed need is enough to fail, so that error is divided
    among the needs that have an interval. ``among``: variants that the rows that judge were chosen by too.
    """
    uncertain = sum(not exact(need) or need.name in (*WAITS, "safety") for need in needs)
    return Terms(alpha / among, alpha / max(uncertain, 1), next_alpha / among)


def decide(need: Requirement, variant: Variant, terms: Terms | None = None) -> Decision:
    """Check one need against a variant's evidence (see report.schema.json, ``variants``).

    Figures on answers are decided by the variant's ``bounds`` where it has them (:func:`freehold.trial.judging.bounds`), which keep the
    errors of ``terms``; else by the 95% interval.
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
    """True where the near end meets the limit, False where the far end misses it, None where neither. An end of None is unknown."""
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


def _safe(need: Requirement, safety: dict[str, Any] | None) -> Decision:
    """A grade is met where both ends of the interval meet it, and missed where neither does; see ``trust/grades.py``."""
    met, evidence = grades.decide(safety, str(need.limit))
    return Decision(need.text, met, evidence, measured=bool(safety), name=need.name)
