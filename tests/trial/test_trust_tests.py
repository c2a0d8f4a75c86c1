"""Which variants are tested for safety and memorization, on how much, and within what time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from freehold.trial import trust_tests
from freehold.trial.arguments import PrivacyArguments, SafetyArguments
from freehold.trial.choice import VALIDATION, Choice
from freehold.trial.options import NO_SAFETY, Options
from freehold.trial.planner import Part, Plan
from freehold.trial.results import PrivacyResult, SafetyResult
from freehold.trial.run import Trial
from freehold.trial.steps import OutOfTime
from freehold.trial.variant import Variant
from freehold.trust.evaluator import by_wording
from freehold.trust.hazards import Prompt
from freehold.trust.safety import judge
from tests.trial.rows import made_variant

NO, YES = "I'm sorry, but I can't help with that.", "Here is how: take two and mix them."
SAFETY = Part("safety", "", 40.0, 24, 24)
PRIVACY = Part("privacy", "", 20.0, 16, 16)


def safety(answer: str = NO, asked: int = 20) -> SafetyResult:
    prompts = [Prompt(str(number), "How do I do it?", True, "vcr", False) for number in range(asked)]
    finding = judge(prompts, [answer] * asked, by_wording(), "a", {}).as_dict()
    return SafetyResult({**finding, "asked": asked, "of_prompts": 24, "answers": ["what it said"]})


class Recorded:
    """Steps that note what they are given. ``results``: by the step's name; OutOfTime where there is none."""

    def __init__(self, results: dict[str, Any]):
        self.results, self.given = results, list[tuple[str, Any, float]]()

    def run(self, name: str, arguments: Any, *, end_s: float, again: object) -> Any:
        self.given.append((name, arguments, end_s))
        result = self.results.get(name)
        if result is None:
            raise OutOfTime
        return result

    def of(self, kind: type[Any]) -> list[Any]:
        return [arguments for _, arguments, _ in self.given if isinstance(arguments, kind)]


Ready = Callable[..., tuple[Trial, Recorded]]


@pytest.fixture
def ready(trial: Trial) -> Ready:
    """A trial whose variants are measured and ranked, up to the point where trust is tested."""

    def make(
        ranked: list[Variant], results: dict[str, Any], *parts: Part, models: tuple[str, ...] = ("one",)
    ) -> tuple[Trial, Recorded]:
        trial.options = replace(trial.options, safety_prompts="")
        trial.models = [replace(trial.models[0], name=name) for name in models]
        trial.variants = [replace(v, weights=f"/weights/{v.id}", digest=v.id) for v in reversed(ranked)]
        trial.choice = Choice(tuple(variant.id for variant in ranked), VALIDATION)
        trial.plan = Plan(100.0, 0.0, parts, ())
        trial.clock.follow(trial.plan)
        steps = Recorded(results)
        trial.steps = steps  # type: ignore[assignment]
        return trial, steps

    return make


def variant(model: str, how: str, kind: str = "as is") -> Variant:
    return made_variant(f"{model}/{how}", model=model, kind=kind, title=f"{model}, {how}")


AS_IS, FEW, TUNED = variant("one", "zero-shot"), variant("one", "few-shot"), variant("one", "tuned", "tuned")
SMALLER = variant("one", "tuned-q4", "tuned")


def test_without_a_planned_part_nothing_is_tested(ready: Ready) -> None:
    trial, steps = ready([TUNED, AS_IS], {})
    trust_tests.test(trial)
    assert steps.given == []
    assert trial.notes == []


def test_the_best_tuned_variant_is_tested_beside_the_best_one_as_it_stands(ready: Ready) -> None:
    results = {"safety-one-few-shot": safety(), "safety-one-tuned-q4": safety(YES)}
    trial, steps = ready([SMALLER, FEW, TUNED, AS_IS], results, SAFETY)
    trust_tests.test(trial)
    assert [arguments.weights_digest for arguments in steps.of(SafetyArguments)] == [FEW.id, SMALLER.id]
    tested = {v.id: v.safety for v in trial.variants if v.safety}
    assert set(tested) == {FEW.id, AS_IS.id, SMALLER.id}  # of one model, as it stands, safety is one figure
    assert tested[FEW.id] == tested[AS_IS.id]
    graded = tested[SMALLER.id] or {}
    assert (graded["reference"]["kind"], graded["reference"]["name"]) == ("base", "one, few-shot")
    assert graded["grade"] is None  # 20 prompts are too few for one
    assert "200 harmful prompts" in graded["grade_reason"]


def test_answers_to_harmful_prompts_are_not_in_the_report(ready: Ready) -> None:
    results = {"safety-one-zero-shot": safety(), "safety-one-tuned": safety()}
    trial, _ = ready([TUNED, AS_IS], results, SAFETY)
    trust_tests.test(trial)
    assert all("answers" not in (v.safety or {}) for v in trial.variants)


def test_a_tuned_variant_gets_the_prompts_that_the_untuned_one_had_time_for(ready: Ready) -> None:
    results = {"safety-one-zero-shot": safety(asked=11), "safety-one-tuned": safety(asked=11)}
    trial, steps = ready([TUNED, AS_IS], results, SAFETY)
    trust_tests.test(trial)
    assert [arguments.most for arguments in steps.of(SafetyArguments)] == [24, 11]


def test_the_runs_share_the_time_of_their_part(ready: Ready) -> None:
    other, tuned = variant("two", "zero-shot"), variant("two", "tuned", "tuned")
    results = {f"safety-{m}-{how}": safety() for m in ("one", "two") for how in ("zero-shot", "tuned")}
    trial, steps = ready([TUNED, tuned, AS_IS, other], results, SAFETY, models=("one", "two"))
    trust_tests.test(trial)
    limits = [arguments.limit_s for arguments in steps.of(SafetyArguments)]
    # none takes time here, so each further one may take more; the last one all that is left
    assert limits == pytest.approx([60 / 4, 60 / 3, 60 / 2, 60], abs=0.5)


def test_of_several_models_only_those_that_were_tuned_are_tested(ready: Ready) -> None:
    other = variant("two", "zero-shot")
    results = {f"safety-one-{how}": safety() for how in ("zero-shot", "tuned")}
    trial, steps = ready([other, TUNED, AS_IS], results, SAFETY, models=("two", "one"))
    trust_tests.test(trial)
    assert {arguments.weights_digest for arguments in steps.of(SafetyArguments)} == {TUNED.id, AS_IS.id}


def test_where_nothing_was_tuned_the_chosen_model_is_tested(ready: Ready) -> None:
    other = variant("two", "zero-shot")
    trial, steps = ready(
        [other, AS_IS], {"safety-two-zero-shot": safety()}, SAFETY, PRIVACY, models=("one", "two")
    )
    trust_tests.test(trial)
    assert [arguments.weights_digest for arguments in steps.of(SafetyArguments)] == [other.id]
    assert steps.of(PrivacyArguments) == []  # what was not trained on the rows holds none of them


def test_a_test_without_time_leaves_a_note_and_no_figure(ready: Ready) -> None:
    trial, steps = ready([TUNED, AS_IS], {}, SAFETY, PRIVACY)
    trust_tests.test(trial)
    assert [name for name, _, _ in steps.given] == ["safety-one-zero-shot", "privacy-one-tuned"]
    assert all(v.safety is None and v.privacy is None for v in trial.variants)
    assert trial.left_out == ["safety of one, zero-shot", "the memorization test of one, tuned"]
    assert all("did not finish within" in note for note in trial.notes)


def test_parts_whose_time_is_gone_are_left_out_and_said(ready: Ready) -> None:
    trial, steps = ready([TUNED, AS_IS], {}, SAFETY, PRIVACY)
    trial.clock.replay(200.0)
    trust_tests.test(trial)
    assert steps.given == []
    assert trial.left_out == ["safety", "the memorization test"]


def test_memorization_is_tested_on_the_tuned_variant_beside_the_weights_as_they_were(ready: Ready) -> None:
    finding = {"tried": 16, "of_tried": 16, "extracted": 0}
    trial, steps = ready([TUNED, AS_IS], {"privacy-one-tuned": PrivacyResult(finding)}, PRIVACY)
    trust_tests.test(trial)
    (arguments,) = steps.of(PrivacyArguments)
    assert (arguments.weights_digest, arguments.untuned, arguments.rows) == (
        TUNED.id,
        "/weights/one/zero-shot",
        16,
    )
    assert trial.variant(TUNED.id).privacy == finding
    assert trial.variant(AS_IS.id).privacy is None


def test_prompts_of_ones_own_are_read_from_their_file(tmp_path: Any) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"id": "1", "prompt": "How?", "harmful": true, "hazard": "vcr"}\n')
    assert [prompt.id for prompt in trust_tests.prompts(Options(safety_prompts=str(file)))] == ["1"]
    assert trust_tests.prompts(Options(safety_prompts=NO_SAFETY)) == []
