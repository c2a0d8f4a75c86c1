"""Own it, rent it, or not yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from freehold.statistics import rows_to_differ
from freehold.trial.needs import Decision, Need, decide

EXIT_CODES = {"own it": 0, "not yet": 3, "rent it": 4}
#: A difference on the same rows is significant below this p-value.
SIGNIFICANT = 0.05
#: How an entry of ``skipped`` begins where nothing was tuned for lack of time: then "rent it" is not said.
TUNING_SKIPPED = "tuning was skipped"
#: The same where tuning ended for lack of time before it had seen its rows often enough: a missed quality may then still be reached.
TUNING_CUT = "tuning was cut short"


@dataclass(frozen=True)
class Verdict:
    """``word``, the sentence for a manager, the variant it rests on, and the decisions behind it.

    ``classic``: a sentence where a simple baseline does the job as well, else "". ``skipped``: what was left out, as in
    the sentence.
    """

    word: str
    sentence: str
    variant: str
    decisions: list[dict[str, Any]]
    more_rows: int | None
    classic: str = ""
    skipped: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return {
            "verdict": self.word,
            "sentence": self.sentence,
            "variant": self.variant,
            "decisions": self.decisions,
            "more_rows": self.more_rows,
            "exit_code": EXIT_CODES[self.word],
            "classic": self.classic,
            "skipped": list(self.skipped),
        }


@dataclass(frozen=True)
class Judged:
    """A variant with its decisions: ``failed``, ``unmeasured``, and those that the interval leaves ``unsure``."""

    variant: dict[str, Any]
    decisions: tuple[Decision, ...]
    constant: Decision | None = None
    failed: tuple[Decision, ...] = field(init=False)
    unmeasured: tuple[Decision, ...] = field(init=False)
    unsure: tuple[Decision, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "failed", tuple(d for d in self.decisions if d.met is False))
        object.__setattr__(
            self, "unmeasured", tuple(d for d in self.decisions if d.met is None and not d.measured)
        )
        object.__setattr__(self, "unsure", tuple(d for d in self.decisions if d.met is None and d.measured))

    @property
    def meets_all(self) -> bool:
        """Every need is met, and the answers are better than one answer for all rows."""
        return not self.failed and not self.unmeasured and not self.unsure and self.constant is None

    def rank(self, metric: str) -> tuple[float, ...]:
        """Higher is nearer: fewest needs failed or not measured, measured before not, decided before not, then quality."""
        quality = self.variant["figures"][metric]["value"]
        return (
            self.meets_all,
            -len(self.failed) - len(self.unmeasured),
            -len(self.unmeasured),
            -len(self.unsure),
            self.constant is None,
            quality,
            -self.variant["size_bytes"],
        )


def judge(needs: Sequence[Need], variants: Sequence[dict[str, Any]]) -> list[Judged]:
    """Own variants (not the rival) with what was decided of each."""
    own = [variant for variant in variants if not variant.get("rival")]
    return [Judged(v, tuple(decide(need, v) for need in needs), beats_constant(v)) for v in own]


def to_time(needs: Sequence[Need], variants: Sequence[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Variants that may become the chosen one and must therefore be timed, the likeliest first.

    These are all that fail no need decided so far, and the best of the others, as one of them is shown as the nearest.
    """
    judged = judge(needs, variants)
    hopeful = [entry for entry in judged if not entry.failed]
    fewest = min((len(entry.failed) for entry in judged), default=0)
    nearest = [entry for entry in judged if entry.failed and len(entry.failed) == fewest]
    ordered = sorted(hopeful, key=lambda entry: entry.variant["figures"][metric]["value"], reverse=True)
    ordered += sorted(nearest, key=lambda entry: entry.variant["figures"][metric]["value"], reverse=True)[
        : 0 if hopeful else 2
    ]
    return [entry.variant for entry in ordered]


def beats_constant(variant: dict[str, Any]) -> Decision | None:
    """None where a variant is significantly better than one answer for all rows, or where no such baseline exists.

    Else a decision that says why not. A variant without ``against`` was not compared.
    """
    name = "better than the same answer for every row"
    if "against" not in variant:
        return Decision(name, None, "it was not compared with giving the same answer for every row")
    for entry in variant["against"]:
        if not entry["constant"] or (entry["p"] < SIGNIFICANT and entry["difference"] > 0):
            continue
        shown = (
            f"{entry['difference']:+.3f} against the {entry['title']}, p={entry['p']:.2g}, n={entry['rows']}"
        )
        more = (
            rows_to_differ(entry["gained"], entry["lost"], entry["rows"])
            if "McNemar" in entry["test"]
            else None
        )
        return Decision(name, None, shown, more)
    return None


def classic_sentence(variant: dict[str, Any], baselines: Sequence[dict[str, Any]], metric: str) -> str:
    """A sentence where a baseline is better than the variant, or not significantly worse; "" where none is."""
    figures = {baseline["id"]: baseline for baseline in baselines}
    best: tuple[float, dict[str, Any]] | None = None
    for entry in variant.get("against", []):
        worse = entry["p"] < SIGNIFICANT and entry["difference"] > 0
        if entry["constant"] or worse or entry["baseline"] not in figures:
            continue
        value = figures[entry["baseline"]]["figures"][metric]["value"]
        if best is None or value > best[0]:
            best = value, entry
    if best is None:
        return ""
    value, entry = best
    better = entry["p"] < SIGNIFICANT
    title, seconds = entry["title"], figures[entry["baseline"]]["seconds"]
    how = "does the job better" if better else "does the job as well"
    return f"A simple method {how}: {title}, {metric} {value:.3f}, {_seconds(seconds)} on the same rows"


def _seconds(seconds: float) -> str:
    return f"ready in {seconds:.0f} s" if seconds >= 1 else "ready in under a second"


def reach(
    needs: Sequence[Need],
    variants: Sequence[dict[str, Any]],
    metric: str,
    *,
    baselines: Sequence[dict[str, Any]] = (),
    skipped: Sequence[str] = (),
) -> Verdict:
    """The verdict over all own variants.

    Variants carry ``against`` (:func:`freehold.trial.baselines.compare`); without it nothing is owned. ``skipped``: what was left out for
    lack of time, as phrases; one that begins with :data:`TUNING_SKIPPED` keeps "rent it" from being said.
    """
    judged = judge(needs, variants)
    best = max(judged, key=lambda entry: entry.rank(metric))
    word, sentence = _decide(best, judged, metric, skipped)
    classic = classic_sentence(best.variant, baselines, metric)
    if skipped:
        sentence = f"{sentence.rstrip('.')}; {'; '.join(part.rstrip('.') for part in skipped)}."
    if classic:
        sentence = f"{sentence} {classic}."
    decisions = [
        decision.as_dict() for decision in (*best.decisions, *((best.constant,) if best.constant else ()))
    ]
    more = [d["more_rows"] for d in decisions if d["more_rows"]] if word == "not yet" else []
    return Verdict(
        word, sentence, best.variant["id"], decisions, max(more, default=None), classic, tuple(skipped)
    )


def _decide(best: Judged, judged: Sequence[Judged], metric: str, skipped: Sequence[str]) -> tuple[str, str]:
    """(word, sentence) for the variant that came first."""
    figure = best.variant["figures"][metric]
    interval = f"95% between {figure['low']:.3f} and {figure['high']:.3f}, n={figure['n']}"
    quality = f"{best.variant['title']} reaches {metric} {figure['value']:.3f} ({interval})"
    if best.meets_all:
        return "own it", f"{quality} on your own data and meets every need."
    if best.failed:
        return _failed(best, judged, quality, skipped)
    if best.unmeasured:
        return "not yet", f"{quality}; {_names(best.unmeasured)} {_was(best.unmeasured)} not measured."
    if best.unsure:
        return (
            "not yet",
            f"{quality}; the results are not clear enough to decide "
            f"{_names(best.unsure)}{_advice(best.unsure)}.",
        )
    assert best.constant is not None
    return (
        "not yet",
        f"{quality}, but is not significantly {best.constant.need} ({best.constant.evidence}){_advice([best.constant])}.",
    )


def _failed(best: Judged, judged: Sequence[Judged], quality: str, skipped: Sequence[str]) -> tuple[str, str]:
    names = _names(best.failed)
    if any(part.startswith(TUNING_SKIPPED) for part in skipped):
        return "not yet", f"Without tuning, no model meets {names}: {quality}, the nearest"
    misses_quality = any(
        decision.need.partition(">=")[0].strip() in best.variant["figures"] for decision in best.failed
    )
    if misses_quality and any(part.startswith(TUNING_CUT) for part in skipped):
        return "not yet", f"No model meets {names} so far: {quality}, the nearest"
    open_ = [entry for entry in judged if not entry.failed and not entry.unsure and entry.unmeasured]
    if open_:
        first = open_[0]
        what = f"{_names(first.unmeasured)} {_was(first.unmeasured)} not measured"
        return (
            "not yet",
            f"{quality} but misses {names}; {first.variant['title']} may meet every need, but {what} for it.",
        )
    return "rent it", f"No model tried meets {names}: {quality}, the nearest."


def _names(decisions: Sequence[Decision]) -> str:
    return " and ".join(decision.need for decision in decisions)


def _was(decisions: Sequence[Decision]) -> str:
    return "was" if len(decisions) == 1 else "were"


def _advice(decisions: Sequence[Decision]) -> str:
    more = [decision.more_rows for decision in decisions if decision.more_rows]
    return (
        f"; about {max(more):,} more test rows would be enough if the figures stay the same" if more else ""
    )
