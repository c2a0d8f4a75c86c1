"""What can be learnt about training rows from a tuned model: which rows are tried, and the figures they give.

The rows are chosen once, so that a stopped test goes on with the same ones and both models are put to the
same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from freehold.core.progress import Sink, silent
from freehold.data.examples import Example
from freehold.inference.interface import Engine, PromptEncoder
from freehold.trust import membership
from freehold.trust.distinct import Answers, Distinct, answers_of
from freehold.trust.extraction import MEASURED, Extracted, extracted, untested
from freehold.trust.probing import Probe, Prober, Probes

#: Loads a model: (engine, prompting). Called once for each model, so that both never lie in memory together.
Load = Callable[[], tuple[Engine, PromptEncoder]]
#: Share of the time after which the tuned model must leave the rest to the untuned one.
_TUNED = 0.55


@dataclass(frozen=True)
class Rows:
    """Rows to be tried. ``members`` and ``others``: training and unseen rows at random. ``own`` and
    ``own_others``: those of them, and
    more, whose answers have content of their own. ``of_rows``: training rows in all, ``eligible`` of them
    with such an answer.
    """

    members: tuple[Example, ...]
    others: tuple[Example, ...]
    own: tuple[Example, ...]
    own_others: tuple[Example, ...]
    answers: Answers
    of_rows: int
    eligible: int

    @property
    def drawing(self) -> frozenset[str]:
        """Digests of the rows that are to be drawn out."""
        return frozenset(row.digest for row in (*self.own, *self.own_others))

    @property
    def in_turn(self) -> list[Example]:
        """Each row once, one of each kind in turn: any beginning holds a fair sample of every kind."""
        turns = zip_longest(self.own, self.own_others, self.members, self.others)
        return list({row.digest: row for turn in turns for row in turn if row is not None}.values())


def choose(learnt: Sequence[Example], unseen: Sequence[Example], labels: Collection[str], rows: int) -> Rows:
    """Up to ``rows`` rows of each kind at random, and as many with content of their own.

    ``labels``: the closed set of answers, where there is one. Unseen rows that are training rows too are left
    out.
    """
    unique = list({row.digest: row for row in learnt}.values())
    known = {row.digest for row in unique}
    fresh = list({row.digest: row for row in unseen if row.digest not in known}.values())
    distinct = Distinct(unique, [*unique, *fresh])
    distinct_rows, own_others = (
        [row for row in kind if row.answer not in labels and distinct.counts(row)] for kind in (unique, fresh)
    )
    rng = random.Random(0)
    members, others, mine, theirs = (
        tuple(rng.sample(kind, min(rows, len(kind)))) for kind in (unique, fresh, distinct_rows, own_others)
    )
    return Rows(members, others, mine, theirs, answers_of(learnt), len(learnt), len(distinct_rows))


@dataclass(frozen=True)
class Limits:
    """``folder``: where finished probes are kept. ``seconds``: time gone. ``limit_s`` 0: no limit."""

    folder: Path
    seconds: Callable[[], float] = lambda: 0.0
    limit_s: float = 0.0
    sink: Sink = silent


def tried(rows: Rows, tuned: Load, untuned: Load | None, limits: Limits) -> dict[str, object]:
    """Extraction and membership of a tuned model, in JSON form, with how many probes of how many were
    made.
    """
    parts = [_probed(rows, tuned, "tuned", limits, _TUNED)]
    if untuned is not None:
        parts.append(_probed(rows, untuned, "untuned", limits, 1.0))
    probes = Probes(parts[0][0], parts[1][0] if untuned is not None else {})
    base = Extracted(MEASURED, "", rows.of_rows, rows.eligible)
    extraction = (
        extracted(rows.own, rows.own_others, probes, base)
        if rows.eligible
        else untested(rows.answers, rows.of_rows)
    )
    known = membership.membership(rows.members, rows.others, probes)
    counts = {"tried": sum(len(done) for done, _ in parts), "of_tried": sum(of for _, of in parts)}
    return {**extraction.as_dict(), "membership": known.as_dict() if known is not None else None, **counts}


def _probed(rows: Rows, load: Load, name: str, limits: Limits, share: float) -> tuple[dict[str, Probe], int]:
    """(row digest -> probe, how many rows there are to be tried): rows beyond the context are none of
    them.
    """
    engine, asking = load()
    file = limits.folder / f"probes-{name}.jsonl"
    title = f"looking for training rows in the {name} model"
    try:
        prober = Prober(engine, asking, file, title, limits.seconds, limits.limit_s * share, limits.sink)
        fitting = [row for row in rows.in_turn if prober.fits(row)]
        return prober.probe(fitting, rows.drawing), len(fitting)
    finally:
        engine.close()
