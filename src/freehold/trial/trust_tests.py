"""Whether a variant can be trusted: how it answers harmful prompts, and whether training rows come out of
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import atomic_files
from freehold.core.progress import duration
from freehold.models.store import Model
from freehold.trial.arguments import PrivacyArguments, SafetyArguments
from freehold.trial.options import NO_SAFETY, Options
from freehold.trial.results import SafetyResult
from freehold.trial.steps import OutOfTime, end_s, step_name
from freehold.trial.variant import Variant
from freehold.trust.safety import JUDGED

if TYPE_CHECKING:
    from freehold.trial.run import Trial
    from freehold.trust.hazards import Prompt


@dataclass(frozen=True)
class _Pair:
    """A model's best variant as it stands, and its best tuned one, None where it was not tuned."""

    model: Model
    as_is: Variant
    tuned: Variant | None


def prompts(options: Options) -> list[Prompt]:
    """The prompts that safety is tested with; none where it is not to be."""
    from freehold.trust.hazards import read_prompts

    return [] if options.safety_prompts == NO_SAFETY else read_prompts(_prompt_file(options))


def _prompt_file(options: Options) -> Path:
    from importlib import resources

    return Path(options.safety_prompts or str(resources.files("freehold.trust") / "prompts.jsonl"))


def test(trial: Trial) -> None:
    """Test the safety of each model's best tuned variant beside the model as it stands, then whether its
    rows come out.

    Where nothing was tuned, the safety of the chosen variant's model is tested.
    """
    pairs = _pairs(trial)
    safety = trial.plan.part("safety") if trial.plan else None
    with trial.clock.part("safety") as seconds:
        if safety and not seconds:
            trial.skip("safety", "earlier parts of the trial used up its time")
        elif safety:
            _test_safety(trial, pairs, int(safety.amount))
    privacy = trial.plan.part("privacy") if trial.plan else None
    with trial.clock.part("privacy") as seconds:
        if privacy and not seconds:
            trial.skip("the memorization test", "earlier parts of the trial used up its time")
        elif privacy:
            for pair in pairs:
                _test_privacy(trial, pair, int(privacy.amount))


def _pairs(trial: Trial) -> list[_Pair]:
    """What is tested: of each model that was tuned, else of the one that was chosen."""
    ranked = [trial.variant(name) for name in trial.choice.ranked]
    pairs: list[_Pair] = []
    for model in trial.models:
        variants = [variant for variant in ranked if variant.model == model.name]
        as_is = next((variant for variant in variants if variant.kind == "as is"), None)
        tuned = next((variant for variant in variants if variant.kind == "tuned"), None)
        if as_is is not None:
            pairs.append(_Pair(model, as_is, tuned))
    chosen = trial.variant(trial.choice.variant).model
    return (
        [pair for pair in pairs if pair.tuned is not None]
        or [pair for pair in pairs if pair.model.name == chosen]
        or pairs[:1]
    )


def _test_safety(trial: Trial, pairs: list[_Pair], most: int) -> None:
    """Ask each model as it stands and its best tuned variant the same prompts."""
    from freehold.trust.grades import beside

    runs = sum(2 if pair.tuned else 1 for pair in pairs)
    for pair in pairs:
        before = _answers(trial, pair.model, pair.as_is, most, trial.clock.part_left() / max(runs, 1))
        runs -= 1
        if before is None:
            continue
        finding = before.without_answers()
        for variant in [v for v in trial.variants if v.model == pair.model.name and v.kind == "as is"]:
            trial.update(variant, safety=finding)
        if pair.tuned is None:
            continue
        prompts, _ = before.progress  # the same prompts as before it was tuned
        seconds = trial.clock.part_left() / max(runs, 1)
        after = _answers(trial, pair.model, pair.tuned, prompts, seconds)
        runs -= 1
        if after is not None:
            graded = beside(after.finding, before.finding, pair.as_is.title)
            trial.update(pair.tuned, safety=after.without_answers() | graded)


def _answers(trial: Trial, model: Model, variant: Variant, most: int, seconds: float) -> SafetyResult | None:
    """What a variant's answers to ``most`` prompts say; None, with a note, where there was no time."""
    file = _prompt_file(trial.options)
    arguments = SafetyArguments(
        trial.subject(model, Path(variant.weights)),
        task=str(trial.task_file),
        weights_digest=variant.digest,
        prompts_digest=atomic_files.sha256_file(file),
        judged=JUDGED,
        prompts=str(file),
        most=most,
        title=variant.title,
        limit_s=seconds,
        budget_s=trial.options.budget_s,
    )
    name = step_name("safety", variant.id)
    try:
        return trial.steps.run(name, arguments, end_s=end_s(seconds), again=trial.grown)
    except OutOfTime:
        trial.skip(f"safety of {variant.title}", f"it did not finish within {duration(seconds)}")
        return None


def _test_privacy(trial: Trial, pair: _Pair, rows: int) -> None:
    """Try whether training rows come out of the tuned variant and not out of the model as it stands."""
    variant, seconds = pair.tuned, trial.clock.part_left()
    if variant is None:
        return
    arguments = PrivacyArguments(
        trial.subject(pair.model, Path(variant.weights)),
        task=str(trial.task_file),
        weights_digest=variant.digest,
        rows=rows,
        untuned=pair.as_is.weights,
        title=variant.title,
        limit_s=seconds,
        budget_s=trial.options.budget_s,
    )
    name = step_name("privacy", variant.id)
    try:
        result = trial.steps.run(name, arguments, end_s=end_s(seconds), again=trial.grown)
        trial.update(variant, privacy=result.finding)
    except OutOfTime:
        what = f"the memorization test of {variant.title}"
        trial.skip(what, f"it did not finish within {duration(seconds)}")
