"""How often is the verdict wrong? The whole decision rule is simulated: rows in, verdict out, no model runs.

    python benchmarks/verdict_calibration.py [--runs 2000] [--only looks] [--json]

Every variant's truth lies exactly at the need. There *own it* is one error (a truth just below would not meet
it) and *not with these models* or *rent it* the other; each may come in at most 2.5% of runs. The words come
from the product's own code: figures from :mod:`freehold.evaluation.measurement`, the choice from
:mod:`freehold.trial.choice`, bounds and terms from :mod:`freehold.trial.judging` and
:mod:`freehold.trial.requirements`, the word from :mod:`freehold.trial.verdict`. Only the answers are drawn.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import norm

from freehold.core import statistics
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Measurements
from freehold.trial import judging
from freehold.trial.against_rival import AgainstRival, compare_rival
from freehold.trial.choice import TEST, VALIDATION, choose
from freehold.trial.requirements import decide, parse_need, terms_of
from freehold.trial.results import TimingResult, WaitMeasurement
from freehold.trial.variant import Rows, Selection, Variant
from freehold.trial.verdict import NONE, OWN, RENT, reach

#: The most that either error may come to.
ALLOWED = 0.025
#: Graded scores: what F1 or a judge gives, and how often.
GRADES, SHARES = np.array([0.0, 0.5, 0.66, 0.8, 1.0]), np.array([0.06, 0.04, 0.06, 0.10, 0.74])
#: Labels for macro-F1, the rarest with 4% of rows; an answer is right in 85% of a label's rows, else it names
#: the next label.
LABELS = np.array([0.55, 0.25, 0.10, 0.06, 0.04])
#: p95 of waits of exp(normal) milliseconds.
P95 = float(np.exp(norm.ppf(0.95)))


@dataclass(frozen=True)
class Scenario:
    """What is simulated. ``rows``: of the test; at each further look twice as many.

    ``alike``: correlation of variants on a row.

    ``group_rows``: mean rows of a group (1: rows stand alone), ``icc``: correlation of a group's rows; both
    before answers are cut into right and wrong. ``waits``: a second need, p95, on so many waits. ``rival``:
    an API that is as good is asked too.
    """

    part: str
    metric: str = "accuracy"
    rows: int = 300
    need: float = 0.9
    variants: int = 1
    alike: float = 0.5
    chosen_on: Rows = VALIDATION
    valid_rows: int = 100
    looks: int = 1
    group_rows: int = 1
    icc: float = 0.0
    waits: int = 0
    rival: bool = False


@dataclass(frozen=True)
class Result:
    """Shares of runs that ended in each of the two errors, and their standard errors."""

    scenario: Scenario
    runs: int
    own: float
    own_error: float
    refused: float
    refused_error: float
    seconds: float


def scenarios() -> list[Scenario]:
    """All that are in the table of docs/evidence.md."""
    sizes = (20, 50, 100, 300, 1000, 3000)
    made = [Scenario("one variant", rows=n) for n in sizes]
    made += [Scenario("one variant", rows=n, need=0.97) for n in (100, 300, 1000)]
    made += [Scenario("one variant", metric="score", rows=n) for n in sizes]
    made += [Scenario("one variant", metric="macro_f1", rows=n) for n in (50, 300, 3000)]
    made += [Scenario("one variant", metric="p95", waits=n) for n in (10, 32, 80, 200, 1000)]
    made += [Scenario("variants", variants=v, alike=r) for v in (3, 7, 16) for r in (0.0, 0.5, 0.9)]
    made += [Scenario("variants", metric="score", variants=7), Scenario("variants", variants=16, rows=50)]
    made += [
        Scenario("chosen on test rows", variants=v, chosen_on=TEST, alike=r)
        for v in (3, 16)
        for r in (0, 0.9)
    ]
    made += [Scenario("looks", looks=k) for k in (2, 4)]
    made += [Scenario("looks", looks=4, rows=50), Scenario("looks", looks=4, variants=7)]
    made += [
        Scenario("groups", rows=g * 6, group_rows=6, icc=icc)
        for g in (10, 30, 100, 200)
        for icc in (0.3, 0.5)
    ]
    made += [Scenario("groups", metric="score", rows=180, group_rows=6, icc=0.5)]
    made += [Scenario("two needs", waits=200), Scenario("two needs", waits=200, looks=3, variants=7)]
    made += [Scenario("a rival as good", rival=True, variants=3)]
    return made


# -- drawing answers ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """One run's rows.

    ``latent`` (variants + rival, rows) normal, ``labels`` of the rows, and each row's group.
    """

    latent: np.ndarray
    labels: np.ndarray
    groups: list[int] | None

    def first(self, rows: int) -> Drawn:
        """The first rows alone, as an earlier look has them."""
        groups = self.groups[:rows] if self.groups else None
        return Drawn(self.latent[:, :rows], self.labels[:rows], groups)


def draw(random: np.random.Generator, s: Scenario, rows: int) -> Drawn:
    """Rows with what makes them hard: their group, themselves, and the variant."""
    groups = None
    hard = np.zeros(rows)
    if s.group_rows > 1:
        sizes = np.maximum(1, np.round(random.lognormal(math.log(s.group_rows) - 0.5, 1, rows))).astype(int)
        number = np.repeat(np.arange(rows), sizes)[:rows]
        hard = math.sqrt(s.icc) * random.normal(size=rows)[number]
        groups = number.tolist()
    shared = hard + math.sqrt((1 - s.icc) * s.alike) * random.normal(size=rows)
    own = math.sqrt((1 - s.icc) * (1 - s.alike)) * random.normal(size=(s.variants + s.rival, rows))
    return Drawn(shared + own, random.choice(len(LABELS), p=LABELS, size=rows), groups)


def scores(s: Scenario, latent: np.ndarray) -> np.ndarray:
    """Scores of one variant's answers, whose mean in the long run is :func:`limit`."""
    if s.metric == "score":
        return GRADES[np.searchsorted(np.cumsum(SHARES)[:-1], norm.cdf(latent))]
    return (latent < norm.ppf(0.85 if s.metric == "macro_f1" else s.need)).astype(float)


def limit(s: Scenario) -> float:
    """The need, exactly at the truth."""
    if s.metric == "score":
        return float(GRADES @ SHARES)
    if s.metric == "macro_f1":
        answered = LABELS * 0.85 + np.roll(LABELS, 1) * 0.15
        return float((2 * LABELS * 0.85 / (LABELS + answered)).mean())
    return s.need


def figures(s: Scenario, rows: Drawn, number: int, level: float) -> Measurements:
    """A variant's figures as a measurement gives them."""
    values = scores(s, rows.latent[number])
    made = {s.metric: measurement.mean_figure(values.tolist(), "", groups=rows.groups, level=level)}
    if s.metric == "macro_f1":
        answered = np.where(values > 0, rows.labels, (rows.labels + 1) % len(LABELS))
        names, given = list(map(str, rows.labels)), list(map(str, answered))
        interval = statistics.macro_f1(names, given, groups=rows.groups, level=level)
        made = {"macro_f1": measurement.interval_figure(interval, "")}
    return made


# -- from rows to a word --------------------------------------------------------------------------


def verdicts(random: np.random.Generator, s: Scenario) -> list[str]:
    """The word at each look of one run, until one is decisive."""
    texts = [] if s.metric == "p95" else [f"{s.metric}>={limit(s):.15f}"]
    needs = [parse_need(text) for text in texts + ([f"p95<={P95:.15f}ms"] if s.waits else [])]
    quality = replace(s, metric="accuracy") if s.metric == "p95" else s
    valid = draw(random, quality, s.valid_rows)
    every = draw(random, quality, s.rows * 2 ** (s.looks - 1))
    variants = [variant(quality, valid, number) for number in range(s.variants)]
    words: list[str] = []
    for look in range(1, s.looks + 1):
        test = every.first(s.rows * 2 ** (look - 1))
        waits = np.exp(random.normal(size=s.waits)).tolist()
        words.append(word(quality, needs, variants, test, waits, look))
        if words[-1] in {OWN, NONE, RENT}:
            break
    return words


def variant(s: Scenario, valid: Drawn, number: int) -> Variant:
    """A variant with its figures on the validation rows."""
    chosen_by = figures(s, valid, number, 0.95) if s.chosen_on == VALIDATION and s.variants > 1 else None
    selection = Selection(chosen_by) if chosen_by else None
    return of(str(number), f"model {number}", {}, against=(), selection=selection)


def of(name: str, title: str, measured: Measurements, **more: Any) -> Variant:
    """A variant with these figures on the test rows."""
    return Variant(
        id=name,
        title=title,
        model=name,
        kind="as is",
        digest="",
        figures=measured,
        rows=0,
        of_rows=0,
        running=None,
        licence="mit",
        size_bytes=1,
        **more,
    )


def word(
    s: Scenario, needs: list[Any], variants: list[Variant], test: Drawn, waits: list[float], look: int
) -> str:
    """The verdict on one look, by the steps that a trial takes (:func:`freehold.trial.judging.judge`)."""
    on_test = len(variants) == 1 or s.chosen_on == TEST
    variants = [
        replace(each, figures=figures(s, test, number, 0.95) if on_test else {}, running=running(waits))
        for number, each in enumerate(variants)
    ]
    choice = choose(needs, variants, s.metric, s.chosen_on)
    number = int(choice.variant)
    terms = terms_of(needs, statistics.alpha_of_look(look), statistics.alpha_of_look(look + 1), choice.among)
    bounds = judging.bounds(needs, terms, lambda level: figures_at(s, test, number, waits, level))
    chosen = replace(variants[number], figures=figures(s, test, number, 0.95), bounds=bounds)
    variants[number] = chosen
    if any(decide(need, chosen, terms).met is False for need in needs):
        variants = [
            replace(each, figures=figures(s, test, other, 0.95)) for other, each in enumerate(variants)
        ]
    # the others are not measured on the test rows, and no verdict rests on their figures
    variants = [replace(each, figures=each.figures or chosen.figures) for each in variants]
    rival = rival_of(s, needs, test, number) if s.rival else None
    return reach(needs, variants, choice.variant, s.metric, terms=terms, rival=rival).word


def figures_at(s: Scenario, test: Drawn, number: int, waits: list[float], level: float) -> Measurements:
    """As :func:`freehold.trial.judging.figures_at`."""
    made = figures(s, test, number, level)
    if waits:
        made["p95"] = measurement.interval_figure(
            statistics.quantile_interval(waits, 0.95, level=level), "waits"
        )
    return made


def running(waits: list[float]) -> TimingResult | None:
    """What timing gives."""
    if not waits:
        return None
    waited = measurement.interval_figure(statistics.quantile_interval(waits, 0.95), "waits")
    return TimingResult(p95_ms=WaitMeasurement(**vars(waited)), peak_memory_bytes=1)


def rival_of(s: Scenario, needs: list[Any], test: Drawn, number: int) -> AgainstRival | None:
    """As :func:`freehold.trial.summary.rival_of`, from the last of the drawn variants."""
    asked = of("rival", "API", figures(s, test, s.variants, 0.95))
    mine, theirs = (answers(scores(s, test.latent[row])) for row in (number, s.variants))
    groups = {str(row): group for row, group in enumerate(test.groups)} if test.groups else None
    return compare_rival(mine, theirs, needs, asked, s.metric, groups=groups)


def answers(values: np.ndarray) -> list[measurement.Answer]:
    """Answers with these scores."""
    return [measurement.Answer(str(row), "", float(score), "stop", 1, 1) for row, score in enumerate(values)]


# -- the table ------------------------------------------------------------------------------------


def simulate(s: Scenario, runs: int, seed: int = 0) -> Result:
    """Both errors over ``runs`` runs."""
    random, begun = np.random.default_rng(seed), time.monotonic()
    ends = Counter(verdicts(random, s)[-1] for _ in range(runs))
    own, refused = ends[OWN] / runs, (ends[NONE] + ends[RENT]) / runs
    return Result(s, runs, own, _error(own, runs), refused, _error(refused, runs), time.monotonic() - begun)


def costly(s: Scenario) -> bool:
    """Whether a run takes several times as long as one of shares; a quarter of the runs is made then."""
    return s.metric in {"score", "macro_f1"} or s.group_rows > 1


def _error(share: float, runs: int) -> float:
    return math.sqrt(max(share, 1 / runs) * (1 - share) / runs)


def described(s: Scenario) -> str:
    """A scenario in words: what is not usual about it."""
    plain = Scenario(s.part)
    changed = {k: v for k, v in asdict(s).items() if k != "part" and v != getattr(plain, k) and k != "metric"}
    size = [] if s.metric == "p95" else [f"n={changed.pop('rows', s.rows)}"]
    words = {
        "group_rows": "rows a group",
        "icc": "icc",
        "looks": "looks",
        "variants": "variants",
        "alike": "correlation",
        "need": "need",
        "waits": "waits",
        "chosen_on": "chosen on",
        "rival": "rival",
    }
    return ", ".join([s.metric, *size, *(f"{words[k]} {v}" for k, v in changed.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--only", default="", help="only scenarios of this part")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = [s for s in scenarios() if options.only in s.part]
    if not options.json:
        print("| part | scenario | runs | false own it | false no | within 2.5% |\n|" + " --- |" * 6)
    for s in wanted:
        result = simulate(s, options.runs // 4 if costly(s) else options.runs)
        if options.json:
            print(
                json.dumps({**asdict(s), **{k: v for k, v in asdict(result).items() if k != "scenario"}}),
                flush=True,
            )
            continue
        held = all(
            x - 2 * e <= ALLOWED
            for x, e in ((result.own, result.own_error), (result.refused, result.refused_error))
        )
        print(
            f"| {s.part} | {described(s)} | {result.runs} | {result.own:.2%} ± {result.own_error:.2%} "
            f"| {result.refused:.2%} ± {result.refused_error:.2%} | {'yes' if held else 'NO'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
