"""Needs, and whether the evidence meets them: decided by the interval, not by the point."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from freehold.core import units, yaml_text
from freehold.core.errors import BadData, UsageError
from freehold.core.statistics import rows_for_power
from freehold.evaluation.metrics import possible_figures
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

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


@dataclass(frozen=True)
class Ends:
    """The ends of an interval; None where so few rows give no bound."""

    low: float | None
    high: float | None

    @staticmethod
    def of(figure: Mapping[str, Any]) -> Ends:
        """The ends of a report's figure."""
        return Ends(figure["low"], figure["high"])


@dataclass(frozen=True)
class NeedEvidence:
    """What was measured of a variant, as far as one need rests on it."""

    #: the measured value
    value: float
    #: its 95% interval
    interval: Ends
    #: rows or waits that it rests on
    n: int
    #: variance of one row's score, None where it follows from the value
    variance: float | None
    #: what disturbed the measurement, "" where nothing did
    busy: str
    #: the interval at the error of saying that the need is met
    meets: Ends
    #: the interval at the error of saying that the need is missed
    misses: Ends
    #: whether the two intervals before were made for this decision
    judged: bool

    @staticmethod
    def of(need: Requirement, variant: Mapping[str, Any]) -> NeedEvidence | None:
        """The evidence on a need in a variant of a report (report.schema.json); None where there is none."""
        waits = need.name in WAITS
        figures = (variant.get("running") or {}) if waits else variant["figures"]
        figure = figures.get(f"{need.name}_ms" if waits else need.name)
        if figure is None:
            return None
        bounds = variant.get("bounds", {}).get(need.name, {"meets": figure, "misses": figure})
        return NeedEvidence(
            value=figure["value"],
            interval=Ends.of(figure),
            n=figure["n"],
            variance=figure.get("variance"),
            busy=figure.get("busy") or "",
            meets=Ends.of(bounds["meets"]),
            misses=Ends.of(bounds["misses"]),
            judged=need.name in variant.get("bounds", {}),
        )

    def met(self, need: Requirement) -> bool | None:
        """True where the near end meets the limit, False where the far end misses it, None where neither does."""
        limit, above = float(need.limit), need.relation == ">="
        near = self.meets.low if above else self.meets.high
        far = self.misses.high if above else self.misses.low
        if near is not None and (near >= limit if above else near <= limit):
            return True
        return False if far is not None and (far < limit if above else far > limit) else None


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

    Raises UsageError for a need that cannot be read or met, and for one on something that no trial with this metric
    measures.
    """
    figures = possible_figures(metric)
    for text in texts:
        _check_name(text, _pieces(text)[0], figures)
    return [parse_need(text) for text in texts]


def check_names(needs: Sequence[Requirement], figures: Sequence[str]) -> None:
    """Raises UsageError for a need on something that is not measured. ``figures``: those of the metric, the main one
    first.
    """
    for need in needs:
        _check_name(need.text, need.name, figures)


def _check_name(text: str, name: str, figures: Sequence[str]) -> None:
    known = [*figures, *CEILINGS, "licence", "safety"]
    if name in known:
        return
    near = difflib.get_close_matches(name.lower(), known, 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"the need {text!r}: {name!r} is not measured in this trial",
        f"{hint}This trial measures {', '.join(known)}",
    )


def read_task_file(path: Path) -> list[str]:
    """The needs of a ``task.yaml``: key ``needs``, a list of texts. Raises UsageError, for unknown keys too."""
    try:
        value = yaml_text.load(path.read_text(), str(path))
    except BadData as error:
        raise UsageError(error.message, "correct it there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0]})", "correct it") from error
    remedy = "write only 'needs:' with a list of texts such as accuracy>=0.9"
    if not isinstance(value, dict):
        raise UsageError(f"{path} must be a mapping with the key 'needs'", remedy)
    if unknown := set(value) - {"needs"}:
        raise UsageError(f"{path} has unknown keys: {', '.join(sorted(map(str, unknown)))}", remedy)
    needs = value.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise UsageError(f"{path}: 'needs' must be a list of texts", remedy)
    return list(needs)


def exact(need: Requirement) -> bool:
    """Whether a need is on something else than the answers' quality: machine, licence or safety."""
    return need.name in (*CEILINGS, "licence", "safety")


def terms_of(needs: Sequence[Requirement], alpha: float, next_alpha: float, among: int = 1) -> Terms:
    """The one-sided error allowed to each statement, ``alpha`` being that of this look.

    All needs must be met to own, so each is decided at the whole error. One missed need is enough to fail, so that
    error is divided among the needs that have an interval. ``among``: variants that were chosen by the rows that judge.
    """
    uncertain = sum(not exact(need) or need.name in (*WAITS, "safety") for need in needs)
    return Terms(alpha / among, alpha / max(uncertain, 1), next_alpha / among)


def decide(need: Requirement, variant: Mapping[str, Any], terms: Terms | None = None) -> Decision:
    """Check one need against a variant of a report (report.schema.json, ``variants``).

    Figures on answers are decided by the variant's ``bounds`` where it has them
    (:func:`freehold.trial.judging.bounds`), which keep the errors of ``terms``; else by the 95% interval.
    """
    if need.name == "licence":
        met, why = licence.allowed(variant["licence"], str(need.limit))
        return Decision(need.text, met, why, name=need.name)
    if need.name == "safety":
        safety = variant.get("safety")
        met, why = grades.decide(safety, str(need.limit))
        return Decision(need.text, met, why, measured=bool(safety), name=need.name)
    if need.name in SIZES:
        return _decide_size(need, variant)
    evidence = NeedEvidence.of(need, variant)
    if evidence is None:
        return _not_measured(need)
    return (
        _decide_wait(need, evidence)
        if need.name in WAITS
        else _decide_figure(need, evidence, terms or Terms())
    )


def _not_measured(need: Requirement) -> Decision:
    return Decision(need.text, None, "not measured", measured=False, name=need.name)


def _decide_size(need: Requirement, variant: Mapping[str, Any]) -> Decision:
    """A size is known, so it has no interval."""
    running = variant.get("running") or {}
    size = running.get("peak_memory_bytes") if need.name == "memory" else variant.get("size_bytes")
    if size is None:
        return _not_measured(need)
    return Decision(need.text, size <= float(need.limit), f"{size / 2**30:.2f} GiB measured", name=need.name)


def _decide_wait(need: Requirement, evidence: NeedEvidence) -> Decision:
    """Waits are decided by bounds of their own, and those of a busy machine not at all."""
    shown = f"{evidence.value:.4g} ms, {_between(evidence.interval)} ms, n={evidence.n}"
    if evidence.busy:
        return Decision(need.text, None, f"{shown}; {evidence.busy}", name=need.name)
    met = evidence.met(need)
    if met is None and evidence.meets.high is None:
        shown += f"; {evidence.n} waits are too few to say what the slowest are"
    return Decision(need.text, met, shown, name=need.name)


def _decide_figure(need: Requirement, evidence: NeedEvidence, terms: Terms) -> Decision:
    """A figure on answers, decided by its interval."""
    met = evidence.met(need)
    shown = f"{evidence.value:.4g}, {_between(evidence.interval)}, n={evidence.n}"
    above = need.relation == ">="
    near = evidence.meets.low if above else evidence.meets.high
    if evidence.judged and near is not None:
        shown += (
            f"; {'at least' if above else 'at most'} {near:.4g}, wrong in at most {100 * terms.meets:.3g} of 100 "
            "trials: this bound decides"
        )
    more_rows = _more_rows(need, evidence, terms) if met is None else None
    return Decision(need.text, met, shown, more_rows, name=need.name)


def _between(interval: Ends) -> str:
    low, high = ("no bound" if end is None else f"{end:.4g}" for end in (interval.low, interval.high))
    return f"95% between {low} and {high}"


def _more_rows(need: Requirement, evidence: NeedEvidence, terms: Terms) -> int | None:
    """Further rows that decide with a chance of 80% at the next look; None where that is unknown."""
    if need.relation != ">=" or not 0 <= evidence.value <= 1 or evidence.n == 0:
        return None
    level = 1 - 2 * min(terms.next_look, terms.misses)
    return rows_for_power(
        evidence.value, float(need.limit), evidence.n, level=level, variance=evidence.variance
    )
