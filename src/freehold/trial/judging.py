"""Choosing a variant and judging it: which rows choose, which judge, and the bounds that decide.

The flow is in :mod:`freehold.trial.run`; this is what it does between measuring and the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from freehold.core import atomic_files, settings, statistics
from freehold.core.errors import DoesNotFit
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Measurements
from freehold.trial import looks, timing
from freehold.trial.choice import Choice, choose
from freehold.trial.looks import Look
from freehold.trial.requirements import WAITS, Requirement, Terms, decide, exact, terms_of
from freehold.trial.variant import Bounds, Ends, Variant

if TYPE_CHECKING:
    from freehold.trial.run import Trial


def choice_of(trial: Trial) -> Choice:
    """Rank the variants measured so far on the rows that choose."""
    return choose(trial.effective_needs()[0], trial.variants, trial.task.metric.name, trial.chosen_on)


def judge(trial: Trial) -> tuple[Look, Terms]:
    """Measure the chosen variant on the test rows and set its bounds; then the best untuned one, for
    comparison.

    Where the chosen one misses a need on quality, the others are measured too as far as there is time: only
    a variant whose own figures miss the needs is ruled out.
    """
    needs, _ = trial.effective_needs()
    chosen = trial.variant(trial.choice.variant)
    with trial.clock.part("judge", ends=True) as seconds:
        chosen = trial.measure_on_test(chosen, max(seconds, trial.clock.left() * 0.5))
    if not chosen.on_test:
        raise DoesNotFit(
            f"{chosen.title} was chosen, but there was no time to measure it on the test rows",
            "raise --budget; results so far are kept",
        )
    look, terms = look_at(trial, chosen)
    chosen = timing.wait_again(trial, chosen, waits_for(needs, terms))
    intervals = bounds(needs, terms, lambda level: figures_at(trial, chosen, level))
    chosen = trial.update(chosen, bounds=intervals)
    with trial.clock.part("compare") as seconds:
        if seconds:
            _compare(trial, chosen, seconds)
    return look, terms


def _compare(trial: Trial, chosen: Variant, seconds: float) -> None:
    """Measure the best untuned variant on the test rows; then those that keep *not with these models* from
    being said.
    """
    needs, _ = trial.effective_needs()
    ranked = [trial.variant(name) for name in trial.choice.ranked]
    plain = next((variant for variant in ranked if variant.kind == "as is"), None)
    others = [plain] if plain is not None and plain.id != chosen.id else []
    if any(decide(need, chosen).met is False for need in needs if not exact(need)):
        others += [variant for variant in ranked if variant.id != chosen.id and variant not in others]
    for number, variant in enumerate(others):
        left = trial.clock.part_left()
        ruled_out = any(decide(need, variant).met is False for need in needs)
        if left <= 0 or (number and ruled_out):
            continue
        trial.measure_on_test(variant, left if number else min(left, seconds))


def waits_for(needs: Sequence[Requirement], terms: Terms) -> int:
    """Waits of one user that a bound at the error of ``terms`` rests on, 0 where no need is on them."""
    shares = [WAITS[need.name] for need in needs if need.name in WAITS]
    return max((statistics.waits_needed(share, 1 - 2 * terms.meets) for share in shares), default=0)


def look_at(trial: Trial, chosen: Variant) -> tuple[Look, Terms]:
    """Count this look at the test rows, and say what error it leaves to each statement."""
    answered = {answer.id for answer in trial.answers[chosen.id]}
    rows = [example.digest for example in trial.task.test if example.id in answered]
    measured = atomic_files.digest_of([chosen.digest, chosen.shots, trial.options.plain_template])
    look = looks.look(settings.home() / "looks", trial.id, measured, rows)
    alpha, following = statistics.alpha_of_look(look.number), statistics.alpha_of_look(look.number + 1)
    return look, terms_of(trial.effective_needs()[0], alpha, following, trial.choice.among)


def bounds(
    needs: Sequence[Requirement], terms: Terms, figures: Callable[[float], Measurements]
) -> dict[str, Bounds]:
    """The intervals that decide each need: ``meets`` at the error of saying that it is met, ``misses`` at
    that of saying it is missed.

    ``figures``: a variant's figures with intervals at a level.
    """
    # often both errors are the same, and resampling takes time
    at = {error: figures(1 - 2 * error) for error in {terms.meets, terms.misses}}
    meets, misses = at[terms.meets], at[terms.misses]
    names = sorted({need.name for need in needs} & set(meets))
    return {name: Bounds(Ends.of(meets[name]), Ends.of(misses[name])) for name in names}


def figures_at(trial: Trial, variant: Variant, level: float) -> Measurements:
    """The variant's figures on the test rows and of its waits, with intervals at ``level``."""
    answers, task = trial.answers[variant.id], trial.task
    figures = measurement.measurement(task.metric, task.test, answers, groups=task.groups, level=level)
    waits = variant.running.waits_ms if variant.running else ()
    if waits:
        figures |= {
            name: measurement.interval_figure(
                statistics.quantile_interval(waits, share, level=level), "waits"
            )
            for name, share in WAITS.items()
        }
    return figures


def power_notes(trial: Trial) -> list[str]:
    """What the test rows can find at all, for each need on a share: known before the budget is spent."""
    rows, level = len(trial.task.test), 1 - 2 * statistics.alpha_of_look(1)
    notes: list[str] = []
    for need in trial.effective_needs()[0]:
        if exact(need) or need.relation != ">=" or not 0 < float(need.limit) < 1:
            continue
        beyond = float(need.limit) + statistics.detectable(rows, float(need.limit), level=level)
        if beyond > 1:
            fewest = statistics.waits_needed(float(need.limit), level)
            notes.append(
                f"{rows} test rows can't show that {need.text} is met, even if every answer is right; "
                f"at least {fewest} are needed"
            )
        else:
            notes.append(
                f"with {rows} test rows, {need.text} is shown to be met in 4 of 5 trials "
                f"if the true {need.name} is {beyond:.3f} or more"
            )
    return notes
