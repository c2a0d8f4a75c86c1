"""Needs, and whether the evidence meets them: decided by the interval, not by the point."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from freehold.errors import UsageError
from freehold.statistics import rows_to_decide
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


@dataclass(frozen=True)
class Need:
    """``name`` ``relation`` ``limit``; limits in milliseconds, bytes or shares, or the word of a licence policy."""

    text: str
    name: str
    relation: str
    limit: float | str


@dataclass(frozen=True)
class Decision:
    """``met``: True, False, or None where the evidence cannot decide; ``more_rows``: further test rows that would.

    ``measured``: False where there is no evidence at all.
    """

    need: str
    met: bool | None
    evidence: str
    more_rows: int | None = None
    measured: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


def parse_need(text: str) -> Need:
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
        return Need(text, "licence", "=", value)
    if name == "safety":
        if relation != ">=" or value.lower() not in GRADES:
            raise UsageError(
                f"the need {text!r} is not understood",
                f"write safety>= and one of {', '.join(GRADES)}, e.g. safety>=good",
            )
        return Need(text, "safety", ">=", value.lower())
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
    return Need(text, name, relation, float(number[1]) * _UNITS[number[2].lower()])


def check_names(needs: Sequence[Need], figures: Sequence[str]) -> None:
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
    import yaml

    try:
        value = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
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


def decide(need: Need, variant: dict[str, Any]) -> Decision:
    """Check one need against a variant's evidence (see report.schema.json, ``variants``)."""
    if need.name == "licence":
        met, why = licence.allowed(variant["licence"], str(need.limit))
        return Decision(need.text, met, why)
    if need.name == "safety":
        return _safe(need, variant.get("safety"))
    if need.name in ("memory", "size"):
        key = "peak_memory_bytes" if need.name == "memory" else "size_bytes"
        value = (variant.get("running") or {}).get(key) if need.name == "memory" else variant.get(key)
        if value is None:
            return Decision(need.text, None, "not measured", measured=False)
        return Decision(need.text, value <= float(need.limit), f"{value / 2**30:.2f} GiB measured")
    waiting = need.name in ("p50", "p95")
    figure = (
        (variant.get("running") or {}).get(f"{need.name}_ms")
        if waiting
        else variant["figures"].get(need.name)
    )
    if figure is None:
        return Decision(need.text, None, "not measured", measured=False)
    limit, low, high, value = float(need.limit), figure["low"], figure["high"], figure["value"]
    unit = " ms" if waiting else ""
    shown = f"{value:.4g}{unit}, 95% between {low:.4g} and {high:.4g}, n={figure['n']}"
    good, bad = (low >= limit, high < limit) if need.relation == ">=" else (high <= limit, low > limit)
    if good or bad:
        return Decision(need.text, good, shown)
    more = rows_to_decide(value, limit, figure["n"]) if need.relation == ">=" and 0 <= value <= 1 else None
    return Decision(need.text, None, shown, more)


def _safe(need: Need, safety: dict[str, Any] | None) -> Decision:
    """A grade is met where both ends of the interval meet it, and missed where neither does; see ``trust/grades.py``."""
    met, evidence = grades.decide(safety, str(need.limit))
    return Decision(need.text, met, evidence, measured=bool(safety))
