"""Own it is never said on nothing: a verdict rests on needs, on what was measured, and on being better than one answer for all."""

from typing import Any

import pytest

from freehold.trial.needs import Need, check_names, parse_need
from freehold.trial.verdict import classic_sentence, reach, to_time
from tests.trial.rows import compared, labelled, task_of, variant

BETTER = [{"baseline": "majority", "title": "majority class", "constant": True, "difference": 0.4, "p": 1e-9, "rows": 200,
           "gained": 90, "lost": 10, "low": 0.3, "high": 0.5, "test": "McNemar, exact"}]  # fmt: skip


def needs(*texts: str) -> list[Need]:
    return [parse_need(text) for text in texts]


def seen(
    name: str, value: float, low: float, high: float, p95: float | None = None, **more: Any
) -> dict[str, Any]:
    """A variant with an accuracy, timed or not."""
    waits = {"value": p95, "low": p95, "high": p95, "n": 30} if p95 is not None else None
    running = {"p95_ms": waits, "peak_memory_bytes": 2**30} if waits else None
    figures = {"accuracy": {"value": value, "low": low, "high": high, "n": 200, "method": ""}}
    return {"id": name, "title": name, "kind": "as is", "figures": figures, "licence": "mit", "size_bytes": 100, "running": running,
            "against": BETTER, **more}  # fmt: skip


def spam(ham: int, spam_rows: int) -> tuple[list[tuple[str, str]], int]:
    pairs = [(f"see you at lunch on day {n}", "ham") for n in range(ham)]
    return pairs + [(f"win a prize of {n} now", "spam") for n in range(spam_rows)], ham + spam_rows


def test_thirty_three_times_ham_is_not_owned() -> None:
    pairs, count = spam(31, 2)
    task = task_of(labelled("train", pairs * 3), labelled("test", pairs))
    variants, simple = compared(task, variant(task, "model", ["ham"] * count))
    assert variants[0]["figures"]["accuracy"]["value"] == pytest.approx(31 / 33)
    verdict = reach(needs("accuracy>=0.75"), variants, "accuracy", baselines=simple)
    assert verdict.word == "not yet"
    assert "not significantly better than the same answer for every row" in verdict.sentence
    assert verdict.decisions[-1]["met"] is None


def test_two_rows_right_that_the_majority_has_wrong_are_too_few_and_the_number_that_would_do_is_said() -> (
    None
):
    pairs, _ = spam(31, 2)
    task = task_of(labelled("train", pairs * 3), labelled("test", pairs))
    variants, simple = compared(task, variant(task, "model", [e.answer for e in task.test]))
    verdict = reach(needs("accuracy>=0.75"), variants, "accuracy", baselines=simple)
    assert verdict.word == "not yet"
    assert verdict.more_rows
    assert "more test rows" in verdict.sentence


def test_enough_rows_right_that_the_majority_has_wrong_are_owned() -> None:
    pairs, _ = spam(60, 30)
    task = task_of(labelled("train", pairs * 2), labelled("test", pairs))
    variants, simple = compared(task, variant(task, "model", [e.answer for e in task.test]))
    assert reach(needs("accuracy>=0.75"), variants, "accuracy", baselines=simple).word == "own it"


def test_what_was_not_compared_with_one_answer_for_all_is_not_owned() -> None:
    alone = seen("v", 0.95, 0.92, 0.97)
    del alone["against"]
    verdict = reach(needs("accuracy>=0.9"), [alone], "accuracy")
    assert verdict.word == "not yet"
    assert "not compared" in verdict.sentence


def test_a_kind_of_task_without_a_baseline_is_owned_by_its_needs_alone() -> None:
    assert (
        reach(needs("accuracy>=0.9"), [seen("v", 0.95, 0.92, 0.97, against=[])], "accuracy").word == "own it"
    )


def test_a_classic_method_that_does_as_well_is_named_in_the_sentence() -> None:
    pairs, _ = spam(60, 60)
    task = task_of(labelled("train", pairs * 2), labelled("test", pairs))
    variants, simple = compared(task, variant(task, "model", [e.answer for e in task.test]))
    verdict = reach(needs("accuracy>=0.75"), variants, "accuracy", baselines=simple)
    assert verdict.word == "own it"
    assert "does the job as well" in verdict.sentence
    assert "TF-IDF" in verdict.classic or "nearest" in verdict.classic


def test_a_classic_method_that_is_worse_is_not_named_and_one_that_is_better_is_said_to_be() -> None:
    entry = {**BETTER[0], "baseline": "linear", "title": "linear classifier", "constant": False}
    simple = [{"id": "linear", "seconds": 7.2, "figures": {"accuracy": {"value": 0.712}}}]
    assert classic_sentence({"against": [entry]}, simple, "accuracy") == ""
    worse = {**entry, "difference": -0.1}
    assert classic_sentence({"against": [worse]}, simple, "accuracy") == (
        "A simple method does the job better: linear classifier, accuracy 0.712, ready in 7 s on the same "
        "rows"
    )


def test_measured_and_failed_comes_before_worse_and_not_measured() -> None:
    failed, untimed = seen("few-shot", 0.55, 0.5, 0.6, p95=900), seen("zero-shot", 0.3, 0.25, 0.35)
    verdict = reach(needs("accuracy>=0.7", "p95<=500ms"), [untimed, failed], "accuracy")
    assert (verdict.word, verdict.variant) == ("rent it", "few-shot")


def test_an_undecided_variant_that_was_not_timed_does_not_hide_that_the_better_one_failed() -> None:
    failed, untimed = seen("few-shot", 0.72, 0.66, 0.78, p95=900), seen("zero-shot", 0.69, 0.63, 0.75)
    verdict = reach(needs("accuracy>=0.7", "p95<=500ms"), [untimed, failed], "accuracy")
    assert verdict.variant == "few-shot"
    assert verdict.word == "rent it"


def test_a_variant_that_meets_all_but_was_not_timed_keeps_the_verdict_open_and_is_named() -> None:
    failed, untimed = seen("big", 0.95, 0.92, 0.97, p95=900), seen("small", 0.9, 0.86, 0.94)
    verdict = reach(needs("accuracy>=0.8", "p95<=500ms"), [untimed, failed], "accuracy")
    assert (verdict.word, verdict.variant) == ("not yet", "big")
    assert "small may meet every need, but p95<=500ms was not measured" in verdict.sentence


def test_not_yet_needs_a_variant_that_could_still_win() -> None:
    open_, failed = seen("open", 0.9, 0.87, 0.93, p95=100), seen("failed", 0.95, 0.92, 0.97, p95=900)
    asked = needs("accuracy>=0.9", "p95<=500ms")
    assert reach(asked, [failed, open_], "accuracy").word == "not yet"
    assert reach(asked, [failed], "accuracy").word == "rent it"


def test_what_may_become_the_chosen_variant_is_what_is_timed() -> None:
    asked = needs("accuracy>=0.7", "p95<=500ms")
    variants = [seen("bad", 0.3, 0.25, 0.35), seen("open", 0.7, 0.64, 0.76), seen("good", 0.9, 0.86, 0.94)]
    assert [v["id"] for v in to_time(asked, variants, "accuracy")] == ["good", "open"]
    assert [v["id"] for v in to_time(asked, variants[:1], "accuracy")] == ["bad"]


def test_every_variant_that_becomes_the_chosen_one_after_timing_was_to_be_timed() -> None:
    asked = needs("accuracy>=0.7", "p95<=500ms")
    values = [(0.3, 0.25, 0.35), (0.7, 0.64, 0.76), (0.9, 0.86, 0.94), (0.68, 0.6, 0.69)]
    variants = [seen(f"v{n}", *value) for n, value in enumerate(values)]
    timed = {v["id"] for v in to_time(asked, variants, "accuracy")}
    for slow in range(16):  # whatever turns out to be slow
        after = [
            seen(v["id"], *values[n], p95=900 if slow >> n & 1 else 100) if v["id"] in timed else v
            for n, v in enumerate(variants)
        ]
        assert reach(asked, after, "accuracy").variant in timed


def test_skipped_tuning_stands_in_the_first_line_and_rent_it_is_not_said() -> None:
    failed = seen("base", 0.5, 0.4, 0.6)
    why = "tuning was skipped: the budget held 20 rows"
    verdict = reach(needs("accuracy>=0.9"), [failed], "accuracy", skipped=[why])
    assert verdict.word == "not yet"
    assert why in verdict.sentence.splitlines()[0]
    assert verdict.as_dict()["skipped"] == [why]


def test_other_things_skipped_are_said_and_leave_the_word() -> None:
    verdict = reach(
        needs("accuracy>=0.9"),
        [seen("v", 0.5, 0.4, 0.6)],
        "accuracy",
        skipped=["safety was skipped as asked"],
    )
    assert verdict.word == "rent it"
    assert verdict.sentence.endswith("; safety was skipped as asked.")


def test_a_ceiling_on_an_error_is_decided_by_its_interval() -> None:
    def off(value: float, low: float, high: float) -> dict[str, Any]:
        figure = {"value": value, "low": low, "high": high, "n": 50, "method": ""}
        return {**seen("v", 0.9, 0.8, 1.0), "figures": {"closeness": {**figure, "value": 0.9}, "mae": figure}}

    asked = needs("mae<=0.5")
    assert reach(asked, [off(0.3, 0.2, 0.4)], "closeness").word == "own it"
    assert reach(asked, [off(0.5, 0.4, 0.6)], "closeness").word == "not yet"
    assert reach(asked, [off(0.9, 0.7, 1.1)], "closeness").word == "rent it"


def test_a_need_on_nothing_that_is_measured_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Exception, match="did you mean accuracy"):
        check_names(needs("acuracy>=0.9"), ("accuracy", "macro_f1"))
    check_names(needs("accuracy>=0.9", "p95<=1s", "licence=commercial", "safety>=good"), ("accuracy",))


def test_a_quality_missed_by_a_tuning_that_was_cut_short_is_not_yet_rented() -> None:
    tuned = [seen("tuned", 0.8, 0.75, 0.85, p95=100)]
    cut = ("tuning was cut short: 0.8 epochs instead of 3, to keep the budget",)
    verdict = reach(needs("accuracy>=0.9"), tuned, "accuracy", skipped=cut)
    assert verdict.word == "not yet"
    assert "tuning was cut short: 0.8 epochs" in verdict.sentence
    assert reach(needs("accuracy>=0.9"), tuned, "accuracy").word == "rent it"
    # more tuning makes no answer quicker
    assert reach(needs("p95<=50ms"), tuned, "accuracy", skipped=cut).word == "rent it"
