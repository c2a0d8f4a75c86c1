"""A verdict rests on needs, on what was measured, and on being better than one answer for all."""

from dataclasses import replace
from typing import Any

import pytest

from freehold.trial.against_rival import AgainstRival
from freehold.trial.baselines import Baseline
from freehold.trial.choice import TEST, choose
from freehold.trial.requirements import Decision, Requirement, check_names, parse_need
from freehold.trial.results import TimingResult, WaitMeasurement
from freehold.trial.variant import Against, Bounds, Ends, Variant
from freehold.trial.verdict import Verdict, classic_sentence, reach
from tests.trial.rows import compared, figure, labelled, made_variant, task_of, variant, wait

BETTER = Against(
    difference=0.4,
    low=0.3,
    high=0.5,
    p=1e-9,
    test="McNemar, exact",
    rows=200,
    gained=90,
    lost=10,
    baseline="majority",
    title="majority class",
    constant=True,
)


def needs(*texts: str) -> list[Requirement]:
    return [parse_need(text) for text in texts]


def seen(
    name: str, value: float, low: float, high: float, p95: WaitMeasurement | float | None = None, **more: Any
) -> Variant:
    """A variant with an accuracy, timed or not."""
    waited = wait(p95) if isinstance(p95, int | float) else p95
    running = TimingResult(p95_ms=waited, peak_memory_bytes=2**30) if waited else None
    figures = {"accuracy": figure(value, low, high)}
    return made_variant(name, **{"figures": figures, "running": running, "against": (BETTER,), **more})


def decided(asked: list[Requirement], variants: list[Variant], metric: str, **more: Any) -> Verdict:
    """The verdict on the variant that is chosen by the same figures."""
    return reach(asked, variants, choose(asked, variants, metric, TEST).variant, metric, **more)


def spam(ham: int, spam_rows: int) -> tuple[list[tuple[str, str]], int]:
    pairs = [(f"see you at lunch on day {n}", "ham") for n in range(ham)]
    return pairs + [(f"win a prize of {n} now", "spam") for n in range(spam_rows)], ham + spam_rows


def test_thirty_three_times_ham_is_not_owned() -> None:
    pairs, count = spam(31, 2)
    task = task_of(labelled("train", pairs * 3), labelled("test", pairs))
    variants, simple = compared(task, variant(task, "model", ["ham"] * count))
    assert variants[0].figures["accuracy"].value == pytest.approx(31 / 33)
    verdict = decided(needs("accuracy>=0.75"), variants, "accuracy", baselines=simple)
    assert verdict.word == "not yet"
    assert "not significantly better than the same answer for every row" in verdict.sentence
    assert verdict.decisions[-1].met is None


def test_two_rows_right_that_the_majority_has_wrong_are_too_few_and_the_number_that_would_do_is_said() -> (
    None
):
    pairs, _ = spam(31, 2)
    task = task_of(labelled("train", pairs * 3), labelled("test", pairs))
    variants, simple = compared(task, variant(task, "model", [e.answer for e in task.test]))
    verdict = decided(needs("accuracy>=0.75"), variants, "accuracy", baselines=simple)
    assert verdict.word == "not yet"
    assert verdict.more_rows
    assert "more test rows" in verdict.sentence


def test_enough_rows_right_that_the_majority_has_wrong_are_owned() -> None:
    pairs, _ = spam(60, 30)
    task = task_of(labelled("train", pairs * 2), labelled("test", pairs))
    variants, simple = compared(task, variant(task, "model", [e.answer for e in task.test]))
    assert decided(needs("accuracy>=0.75"), variants, "accuracy", baselines=simple).word == "own it"


def test_what_was_not_compared_with_one_answer_for_all_is_not_owned() -> None:
    alone = seen("v", 0.95, 0.92, 0.97, against=None)
    verdict = decided(needs("accuracy>=0.9"), [alone], "accuracy")
    assert verdict.word == "not yet"
    assert "not compared" in verdict.sentence


def test_a_kind_of_task_without_a_baseline_is_owned_by_its_needs_alone() -> None:
    assert (
        decided(needs("accuracy>=0.9"), [seen("v", 0.95, 0.92, 0.97, against=())], "accuracy").word
        == "own it"
    )


def test_a_classic_method_that_does_as_well_is_named_in_the_sentence() -> None:
    pairs, _ = spam(60, 60)
    task = task_of(labelled("train", pairs * 2), labelled("test", pairs))
    variants, simple = compared(task, variant(task, "model", [e.answer for e in task.test]))
    verdict = decided(needs("accuracy>=0.75"), variants, "accuracy", baselines=simple)
    assert verdict.word == "own it"
    assert "does the job as well" in verdict.sentence
    assert "TF-IDF" in verdict.classic or "nearest" in verdict.classic


def test_a_classic_method_that_is_worse_is_not_named_and_one_that_is_better_is_said_to_be() -> None:
    entry = replace(BETTER, baseline="linear", title="linear classifier", constant=False)
    figures = {"accuracy": figure(0.712, 0.6, 0.8)}
    simple = [
        Baseline("linear", "linear classifier", "", constant=False, figures=figures, rows=200, seconds=7.2)
    ]
    assert classic_sentence(made_variant(against=(entry,)), simple, "accuracy") == ""
    worse = replace(entry, difference=-0.1)
    assert classic_sentence(made_variant(against=(worse,)), simple, "accuracy") == (
        "A simple method does the job better: linear classifier, accuracy 0.712, ready in 7 s on the same "
        "rows"
    )


def test_measured_and_failed_comes_before_worse_and_not_measured() -> None:
    failed, untimed = seen("few-shot", 0.55, 0.5, 0.6, p95=900), seen("zero-shot", 0.3, 0.25, 0.35)
    verdict = decided(needs("accuracy>=0.7", "p95<=500ms"), [untimed, failed], "accuracy")
    assert (verdict.word, verdict.variant) == ("not with these models", "few-shot")


def test_an_undecided_variant_that_was_not_timed_keeps_the_verdict_open_though_the_better_one_failed() -> (
    None
):
    failed, untimed = seen("few-shot", 0.72, 0.66, 0.78, p95=900), seen("zero-shot", 0.69, 0.63, 0.75)
    verdict = decided(needs("accuracy>=0.7", "p95<=500ms"), [untimed, failed], "accuracy")
    assert (verdict.word, verdict.variant) == ("not yet", "few-shot")
    assert "zero-shot may meet every need" in verdict.sentence


def test_a_variant_that_meets_all_but_was_not_timed_keeps_the_verdict_open_and_is_named() -> None:
    failed, untimed = seen("big", 0.95, 0.92, 0.97, p95=900), seen("small", 0.9, 0.86, 0.94)
    verdict = decided(needs("accuracy>=0.8", "p95<=500ms"), [untimed, failed], "accuracy")
    assert (verdict.word, verdict.variant) == ("not yet", "big")
    assert "small may meet every need, but p95<=500ms was not measured" in verdict.sentence


def test_not_yet_needs_a_variant_that_could_still_win() -> None:
    open_, failed = seen("open", 0.9, 0.87, 0.93, p95=100), seen("failed", 0.95, 0.92, 0.97, p95=900)
    asked = needs("accuracy>=0.9", "p95<=500ms")
    assert decided(asked, [failed, open_], "accuracy").word == "not yet"
    assert decided(asked, [failed], "accuracy").word == "not with these models"


def test_skipped_tuning_stands_in_the_first_line_and_rent_it_is_not_said() -> None:
    failed = seen("base", 0.5, 0.4, 0.6)
    why = "tuning was skipped: the budget held 20 rows"
    verdict = decided(needs("accuracy>=0.9"), [failed], "accuracy", skipped=[why])
    assert verdict.word == "not yet"
    assert why in verdict.sentence.splitlines()[0]
    assert verdict.skipped == (why,)


def test_other_things_skipped_are_said_and_leave_the_word() -> None:
    verdict = decided(
        needs("accuracy>=0.9"),
        [seen("v", 0.5, 0.4, 0.6)],
        "accuracy",
        skipped=["safety was skipped as asked"],
    )
    assert verdict.word == "not with these models"
    assert verdict.sentence.endswith("; safety was skipped as asked.")


def test_a_ceiling_on_an_error_is_decided_by_its_interval() -> None:
    def off(value: float, low: float, high: float) -> Variant:
        figures = {"closeness": figure(0.9, low, high, 50), "mae": figure(value, low, high, 50)}
        return seen("v", 0.9, 0.8, 1.0, figures=figures)

    asked = needs("mae<=0.5")
    assert decided(asked, [off(0.3, 0.2, 0.4)], "closeness").word == "own it"
    assert decided(asked, [off(0.5, 0.4, 0.6)], "closeness").word == "not yet"
    assert decided(asked, [off(0.9, 0.7, 1.1)], "closeness").word == "not with these models"


def test_a_need_on_nothing_that_is_measured_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Exception, match="did you mean accuracy"):
        check_names(needs("acuracy>=0.9"), ("accuracy", "macro_f1"))
    check_names(needs("accuracy>=0.9", "p95<=1s", "licence=commercial", "safety>=good"), ("accuracy",))


def test_a_quality_missed_by_a_tuning_that_was_cut_short_is_not_yet_rented() -> None:
    tuned = [seen("tuned", 0.8, 0.75, 0.85, p95=100)]
    cut = ("tuning was cut short: 0.8 epochs instead of 3, to keep the budget",)
    verdict = decided(needs("accuracy>=0.9"), tuned, "accuracy", skipped=cut)
    assert verdict.word == "not yet"
    assert "tuning was cut short: 0.8 epochs" in verdict.sentence
    assert decided(needs("accuracy>=0.9"), tuned, "accuracy").word == "not with these models"
    # more tuning makes no answer quicker
    assert decided(needs("p95<=50ms"), tuned, "accuracy", skipped=cut).word == "not with these models"


def rival(value: float, difference: float, p: float, met: bool | None) -> AgainstRival:
    """An API on the same 200 rows."""
    return AgainstRival(
        title="gpt",
        metric="accuracy",
        rows=200,
        chosen_rows=200,
        rival_rows=200,
        chosen=value - difference,
        rival=value,
        difference=difference,
        low=difference - 0.04,
        high=difference + 0.04,
        p=p,
        test="McNemar, exact",
        better="" if p >= 0.05 else "rival" if difference > 0 else "chosen",
        decisions=(Decision("accuracy>=0.9", met, "", name="accuracy"),),
    )


def test_rent_it_is_said_only_where_an_api_did_better_on_the_same_rows() -> None:
    failed = [seen("tuned", 0.8, 0.75, 0.85, p95=100)]
    verdict = decided(needs("accuracy>=0.9"), failed, "accuracy", rival=rival(0.95, 0.15, 1e-6, True))
    assert (verdict.word, verdict.section(command="").exit_code) == ("rent it", 4)
    assert "gpt meets accuracy>=0.9 on the same rows" in verdict.sentence
    verdict = decided(needs("accuracy>=0.9"), failed, "accuracy", rival=rival(0.79, -0.01, 0.8, False))
    assert verdict.word == "not with these models"
    assert "gpt does not differ significantly" in verdict.sentence


def test_an_api_that_is_better_is_named_beside_a_model_that_is_owned() -> None:
    good = [seen("tuned", 0.95, 0.92, 0.97, p95=100)]
    verdict = decided(needs("accuracy>=0.9"), good, "accuracy", rival=rival(0.99, 0.04, 1e-3, True))
    assert verdict.word == "own it"
    assert "gpt is significantly better: accuracy 0.990" in verdict.sentence


def test_a_need_that_only_the_machine_misses_is_said_as_such_and_no_reason_to_rent() -> None:
    slow = [seen("tuned", 0.95, 0.92, 0.97, p95=900)]
    asked = needs("accuracy>=0.9", "p95<=500ms")
    for beside in (None, rival(0.99, 0.04, 1e-3, True)):
        verdict = decided(asked, slow, "accuracy", rival=beside)
        assert verdict.word == "not with these models"
        assert "The limit is the machine, not the model" in verdict.sentence


def test_an_unknown_upper_end_of_waits_decides_nothing() -> None:
    few = seen("tuned", 0.95, 0.92, 0.97, p95=wait(100, 100, None))
    verdict = decided(needs("p95<=500ms"), [few], "accuracy")
    assert verdict.word == "not yet"
    assert "waits are too few" in verdict.decisions[0].evidence


def test_waits_of_a_busy_machine_decide_nothing() -> None:
    waited = replace(wait(5364), busy="other programs used 62% of the processor")
    busy = seen("tuned", 0.95, 0.92, 0.97, p95=waited)
    verdict = decided(needs("p95<=500ms"), [busy], "accuracy")
    assert verdict.word == "not yet"
    assert "62%" in verdict.decisions[0].evidence


def test_what_was_not_chosen_is_ruled_out_by_its_own_figures_or_keeps_the_verdict_open() -> None:
    failed = seen("chosen", 0.8, 0.75, 0.85, p95=100)
    other = seen("other", 0.85, 0.7, 0.95, p95=100, measured_on="validation")
    verdict = reach(needs("accuracy>=0.9"), [failed, other], "chosen", "accuracy")
    assert verdict.word == "not yet"
    assert "other may meet every need, but was not measured on the test rows" in verdict.sentence


def test_the_bounds_decide_where_there_are_any() -> None:
    variant = seen("v", 0.95, 0.901, 0.97)
    assert decided(needs("accuracy>=0.9"), [variant], "accuracy").word == "own it"
    stricter = Bounds(meets=Ends(0.895, 0.975), misses=Ends(0.901, 0.97))
    bounded = replace(variant, bounds={"accuracy": stricter})
    verdict = decided(needs("accuracy>=0.9"), [bounded], "accuracy")
    assert verdict.word == "not yet"
    assert "at least 0.895" in verdict.decisions[0].evidence
