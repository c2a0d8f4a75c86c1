"""Own it, rent it, or not yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freehold.trial.needs import Need, decide

EXIT_CODES = {"own it": 0, "not yet": 3, "rent it": 4}


@dataclass(frozen=True)
class Verdict:
    """``word``, the sentence for a manager, the variant it rests on, and the decisions behind it."""

    word: str
    sentence: str
    variant: str
    decisions: list[dict[str, Any]]
    more_rows: int | None

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return {
            "verdict": self.word, "sentence": self.sentence, "variant": self.variant, "decisions": self.decisions,
            "more_rows": self.more_rows, "exit_code": EXIT_CODES[self.word],
        }  # fmt: skip


def reach(needs: list[Need], variants: list[dict[str, Any]], metric: str) -> Verdict:
    """The verdict over all own variants.

    The variant shown is the one that meets most, then leaves fewest undecided, then is best; of two whose
    quality does not differ significantly the smaller one would do, and the report shows that beside.
    """
    judged = [(variant, [decide(need, variant) for need in needs]) for variant in variants if not variant.get("rival")]

    def rank(entry: tuple[dict[str, Any], list[Any]]) -> tuple[float, ...]:
        variant, decisions = entry
        failed = sum(d.met is False for d in decisions)
        unsure = sum(d.met is None for d in decisions)
        return -failed, -unsure, variant["figures"][metric]["value"], -variant["size_bytes"]

    best, decisions = max(judged, key=rank)
    failed = [d for d in decisions if d.met is False]
    unsure = [d for d in decisions if d.met is None]
    shown = [d.as_dict() for d in decisions]
    figure = best["figures"][metric]
    quality = f"{best['title']} reaches {metric} {figure['value']:.3f} (95% between {figure['low']:.3f} and {figure['high']:.3f}, n={figure['n']})"
    if not failed and not unsure:
        return Verdict("own it", f"{quality} on your own data and meets every need.", best["id"], shown, None)
    if failed:
        names = " and ".join(d.need for d in failed)
        return Verdict("rent it", f"No model tried meets {names}: {quality}, the nearest.", best["id"], shown, None)
    more = [d.more_rows for d in unsure if d.more_rows is not None]
    names = " and ".join(d.need for d in unsure)
    advice = f"; about {max(more):,} further test rows would decide if the figure stays" if more else ""
    return Verdict("not yet", f"{quality}; the evidence can't decide {names}{advice}.", best["id"], shown, max(more, default=None))
