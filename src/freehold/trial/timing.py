"""Timing the variants that may be chosen: waits of one user, capacity, energy, memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.errors import DoesNotFit
from freehold.core.progress import duration
from freehold.trial.arguments import TimedArguments
from freehold.trial.choice import choose
from freehold.trial.requirements import decide
from freehold.trial.results import TimingResult
from freehold.trial.steps import OutOfTime, end_s, step_name
from freehold.trial.variant import Variant

if TYPE_CHECKING:
    from freehold.trial.run import Trial

#: Seconds that timing the likeliest choice may take whatever is left: without its waits it decides nothing.
LEAST_TIMING_S = 20.0


def time_variants(trial: Trial) -> None:
    """Time every variant that may be chosen, the likeliest first. Raises DoesNotFit where no variant was
    measured.

    These are the tuned ones, of each model the best as it stands, and all that no need has ruled out yet.
    """
    if not trial.variants:
        raise DoesNotFit(
            f"no row was answered within {duration(trial.options.budget_s)}: {'; '.join(trial.notes)}",
            "raise --budget; results so far are kept",
        )
    needs = trial.effective_needs()[0]
    choice = choose(needs, trial.variants, trial.task.metric.name, trial.chosen_on)
    ranked = [trial.variant(name) for name in choice.ranked]
    best = {v.model: v.id for v in reversed(ranked) if v.kind == "as is"}.values()
    hopeful = [v.id for v in ranked if not any(decide(need, v).met is False for need in needs)]
    chosen = [v for v in ranked if v.kind == "tuned" or v.id in (*best, *hopeful)]
    with trial.clock.part("time"):
        for number, variant in enumerate(chosen):
            seconds = trial.clock.part_left() / (len(chosen) - number)
            least = 0.0 if number else LEAST_TIMING_S
            optional = bool(number) and variant.id not in hopeful
            _time(trial, variant, max(seconds, least), optional=optional)


def _time(trial: Trial, variant: Variant, seconds: float, *, optional: bool) -> None:
    """Time a variant within so many seconds; an ``optional`` one only where all of it will fit."""
    waits, speed = trial.options.latency_rows, trial.model_of(variant).paced
    arguments, name = _arguments(trial, variant, waits), _step_name(variant)
    least = speed.timing_s(waits, shots=bool(variant.shots)) if optional else speed.pace.load_s + 3
    if not trial.steps.done(name, arguments) and seconds < least:
        if not optional:
            trial.skip(f"timing {variant.title}", "earlier parts of the trial used up its time")
        return
    trial.update(variant, running=_timed(trial, variant, name, arguments, seconds))


def wait_again(trial: Trial, variant: Variant, waits: int) -> Variant:
    """Take ``waits`` new waits of the chosen variant: those that it was chosen by are too few, and the best
    of several.
    """
    if not waits or variant.running is None:
        return variant
    arguments, speed = _arguments(trial, variant, waits), trial.model_of(variant).paced
    whole = waits * speed.wait_s(shots=bool(variant.shots)) + speed.pace.load_s + 5
    seconds = max(1.5 * whole, trial.clock.part_left())
    again = _timed(trial, variant, f"waits-{_step_name(variant)}", arguments, seconds)
    if again is None:
        return variant
    running = replace(
        variant.running,
        p50_ms=again.p50_ms,
        p95_ms=again.p95_ms,
        slowest_ms=again.slowest_ms,
        waits_ms=again.waits_ms,
        waits=again.waits,
        quiet=again.quiet,
        load=again.load,
    )
    return trial.update(variant, running=running)


def _step_name(variant: Variant) -> str:
    return step_name("timed", variant.id)


def _arguments(trial: Trial, variant: Variant, waits: int) -> TimedArguments:
    """What the step is given that times a variant, but for the time it may take."""
    tried = trial.model_of(variant)
    shown = (variant.mean_prompt_tokens or 0.0) if variant.shots else 0
    _, context = trial.room(tried.model.info, tried.look, int(shown))
    return TimedArguments(
        trial.subject(tried.model, Path(variant.weights)),
        task=str(trial.task_file),
        weights_digest=variant.digest,
        shots=variant.shots,
        max_tokens=tried.look.max_tokens,
        context=context,
        longest_prompt=int(tried.look.longest_prompt + shown * 1.2),
        latency_rows=waits,
        at_once=True,
        country=trial.options.country,
        title=variant.title,
    )


def _timed(
    trial: Trial, variant: Variant, name: str, arguments: TimedArguments, seconds: float
) -> TimingResult | None:
    """What timing found within so many seconds; None, with a note, where it did not end."""
    try:
        return trial.steps.run(name, replace(arguments, limit_s=seconds), end_s=end_s(seconds))
    except OutOfTime:
        trial.skip(f"timing {variant.title}", f"it did not finish within {duration(seconds)}")
        return None
