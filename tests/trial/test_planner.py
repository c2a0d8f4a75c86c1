"""What a budget holds: shares are kept, the slow are left out first, and what is left out is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from freehold.trial.planner import (
    AS_IS,
    AS_IS_ALONE,
    COMPARE,
    PRIVACY,
    RESERVE,
    SAFETY,
    SERVED,
    Candidate,
    Pace,
    Plan,
    Work,
    plan,
)

SMALL = Candidate(
    name="small",
    parameters=135_000_000,
    matrix_parameters=106_000_000,
    prompt_tokens=60,
    prefix_tokens=20,
    answer_tokens=2.5,
    tuned_tokens=2.5,
    shot_tokens=500,
    pace=Pace(0.3, 500, 150, 70, 4e11),
)
LARGE = replace(
    SMALL,
    name="large",
    parameters=1_500_000_000,
    matrix_parameters=1_300_000_000,
    pace=Pace(2.0, 40, 20, 9, 4e11),
)
TYPES = ("Q4_K_M", "Q8_0", "Q2_K")
WORK = Work(700, 70, 200, tune=True, types=TYPES, safety_prompts=24, privacy_rows=128, latency_rows=32)
BUDGETS = [30, 60, 120, 180, 300, 600, 1800, 7200, 86400]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("candidates", [(SMALL,), (SMALL, LARGE), (LARGE,)], ids=["small", "both", "large"])
def test_a_plan_never_takes_more_than_the_budget(budget: float, candidates: tuple[Candidate, ...]) -> None:
    made = plan(budget, 8.0, candidates, WORK)
    assert 8.0 + sum(part.seconds for part in made.parts) <= budget * (1 - RESERVE) + 1e-6 or not made.parts


@pytest.mark.parametrize("budget", BUDGETS)
def test_everything_is_planned_or_said_to_be_left_out(budget: float) -> None:
    made = plan(budget, 8.0, (SMALL, LARGE), WORK)
    told = " ".join(made.left_out)
    for part in made.parts:
        if part.kind == "zero-shot":
            assert made.part("few-shot", part.model) or f"{part.model} few-shot" in made.left_out
    for name in ("small", "large"):
        assert made.part("zero-shot", name) or name in told
        assert name in made.tuned or name in told or "tuning" in told or not made.decides
    if made.decides:
        asked = made.part("safety")
        assert (asked and asked.amount == 24) or "safety" in told


def test_more_budget_never_gives_a_poorer_trial() -> None:
    def richness(made: Plan) -> tuple[int, float]:
        return len(made.tuned), sum(part.amount for part in made.parts if part.kind == "tuned")

    made = [richness(plan(budget, 8.0, (SMALL, LARGE), WORK)) for budget in BUDGETS]
    assert made == sorted(made)
    assert made[-1] == (2, 6)


def test_a_small_budget_decides_without_tuning_and_says_so() -> None:
    made = plan(75, 8.0, (SMALL,), WORK)
    assert made.decides
    assert not made.tuned
    assert any("tuning" in sentence for sentence in made.left_out)
    assert 75 < made.tuning_s <= made.all_s


def test_a_budget_that_decides_nothing_names_the_least_that_does() -> None:
    made = plan(12, 8.0, (LARGE,), WORK)
    assert not made.decides
    assert made.least_s > 12
    assert plan(made.least_s, 8.0, (LARGE,), WORK).decides
    assert not plan(0.8 * made.least_s, 8.0, (LARGE,), WORK).decides


def test_the_slowest_candidate_is_left_out_first_with_the_time_it_would_take() -> None:
    made = plan(120, 8.0, (SMALL, LARGE), WORK)
    assert made.part("zero-shot", "small")
    assert not made.part("zero-shot", "large")
    assert any(sentence.startswith("large (20 rows would take about") for sentence in made.left_out)


def test_without_tuning_the_time_goes_to_the_models_as_they_stand() -> None:
    made = plan(700, 8.0, (SMALL, LARGE), replace(WORK, tune=False))
    tuning = plan(700, 8.0, (SMALL, LARGE), WORK)
    assert tuning.tuned == ("small",)
    assert sum(part.seconds for part in made.parts if part.kind.endswith("shot")) > sum(
        part.seconds for part in tuning.parts if part.kind.endswith("shot")
    )
    assert not made.tuned
    assert made.tuning_s == 0.0


def test_what_cannot_be_tuned_is_not_planned_to_be() -> None:
    assert plan(7200, 8.0, (replace(SMALL, untunable="unknown architecture"), LARGE), WORK).tuned == (
        "large",
    )
    assert plan(7200, 8.0, (SMALL,), replace(WORK, train_rows=10)).tuned == ()


def test_tuning_gets_what_is_left_up_to_six_epochs() -> None:
    made = plan(86400, 8.0, (SMALL,), WORK)
    tuning = made.part("tune", "small")
    assert tuning
    assert tuning.amount == pytest.approx(6.0)
    assert not made.left_out


def test_long_answers_are_measured_on_fewer_rows_rather_than_not_at_all() -> None:
    essays = replace(SMALL, answer_tokens=200, tuned_tokens=150)
    part = plan(300, 8.0, (essays,), WORK).part("zero-shot", "small")
    assert part
    assert 20 <= part.amount < 200


def test_safety_takes_fewer_prompts_when_time_is_short_and_none_when_none_are_wanted() -> None:
    slow = replace(SMALL, pace=Pace(0.5, 200, 40, 20, 4e11))
    counts = [p.amount for b in (600, 1200, 7200) if (p := plan(b, 8.0, (slow,), WORK).part("safety"))]
    assert counts == sorted(counts)
    assert counts[-1] == 24
    assert not plan(7200, 8.0, (slow,), replace(WORK, safety_prompts=0)).part("safety")


def test_a_plan_is_written_down_and_read_again() -> None:
    made = plan(300, 8.0, (SMALL, LARGE), WORK)
    assert Plan.from_dict(made.as_dict()) == made


def test_the_plan_is_shown_with_what_is_left_out_and_the_budgets_that_help() -> None:
    shown = "\n".join(plan(120, 8.0, (SMALL, LARGE), WORK).lines())
    assert "plan for 2 min 00 s" in shown
    assert "small: zero-shot, 70 of 70 rows that choose" in shown
    assert "left out" in shown
    assert "for everything" in shown


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("candidates", [(SMALL,), (SMALL, LARGE)], ids=["small", "both"])
def test_no_part_takes_more_than_its_share_of_the_budget(
    budget: float, candidates: tuple[Candidate, ...]
) -> None:
    made = plan(budget, 8.0, candidates, WORK)
    room = budget * (1 - RESERVE) - 8.0
    shots = sum(part.seconds for part in made.parts if part.kind in ("zero-shot", "few-shot"))
    assert shots <= room * (AS_IS if made.tuned else AS_IS_ALONE) + 1e-6
    for kind, share in (("served", SERVED), ("safety", SAFETY), ("privacy", PRIVACY), ("compare", COMPARE)):
        assert made.seconds(kind) <= room * share + 1e-6, kind


def test_a_share_that_holds_too_little_is_not_begun() -> None:
    slow = replace(SMALL, pace=Pace(0.5, 200, 10, 4, 4e11), answer_tokens=100, tuned_tokens=100)
    made = plan(120, 8.0, (slow,), WORK)
    for part in made.parts:
        fewest = {"safety": 8, "privacy": 16, "served": 20, "compare": 20, "zero-shot": 20, "few-shot": 20}
        assert part.amount >= fewest.get(part.kind, 0), part
    assert made.part("privacy") is None


def test_a_tuned_variant_is_judged_on_all_test_rows_and_an_untuned_one_on_what_fits() -> None:
    tuned = plan(600, 8.0, (SMALL,), WORK)
    assert tuned.tuned == ("small",)
    judged = tuned.part("judge")
    assert judged is not None
    assert judged.amount == WORK.test_rows
    many = replace(WORK, test_rows=100_000, tune=False)
    judged = plan(600, 8.0, (SMALL,), many).part("judge")
    assert judged is not None
    assert 20 <= judged.amount < many.test_rows


def test_too_few_training_rows_are_not_tuned_on() -> None:
    assert plan(7200, 8.0, (SMALL,), replace(WORK, train_rows=16)).tuned == ("small",)
    assert plan(7200, 8.0, (SMALL,), replace(WORK, train_rows=15)).tuned == ()


# -- our own mix of types ---------------------------------------------------------------------

MIXABLE = replace(SMALL, pace=replace(SMALL.pace, rounding=1e6))
MIXABLE_LARGE = replace(LARGE, pace=replace(LARGE.pace, rounding=1e6))


def left_out_mixes(made: Plan) -> list[str]:
    return [sentence for sentence in made.left_out if sentence.startswith("mixed types of the tuned")]


def test_a_mix_of_types_is_made_where_the_budget_holds_it_and_its_time_is_shown() -> None:
    made = plan(7200, 8.0, (MIXABLE,), WORK)
    part = made.part("mix", "small")
    assert part
    assert part.seconds > MIXABLE.mixing_s
    assert not left_out_mixes(made)
    assert "small: quantizing to our own mix of types and measuring it" in "\n".join(made.lines())
    kinds = [part.kind for part in made.parts]
    assert kinds.index("tuned") < kinds.index("mix") < kinds.index("time")
    timed = made.part("time")
    assert timed
    assert timed.amount == len(TYPES) + 1


def test_a_mix_that_the_budget_does_not_hold_is_left_out_with_its_time() -> None:
    made = plan(300, 8.0, (MIXABLE,), WORK)
    assert made.tuned == ("small",)
    assert made.part("mix", "small") is None
    (sentence,) = left_out_mixes(made)
    assert sentence.startswith("mixed types of the tuned small (about ")
    assert made.all_s > 300
    assert plan(made.all_s, 8.0, (MIXABLE,), WORK).part("mix", "small")


def test_a_model_more_is_tuned_before_a_mix_is_made() -> None:
    made = [plan(budget, 8.0, (MIXABLE, MIXABLE_LARGE), WORK) for budget in BUDGETS]
    counts = [(len(p.tuned), sum(part.kind == "mix" for part in p.parts)) for p in made]
    assert counts == sorted(counts)
    assert counts[-1] == (2, 2)


def test_a_mix_of_the_fastest_model_alone_is_made_where_there_is_no_time_for_both() -> None:
    slow = replace(MIXABLE_LARGE, pace=replace(MIXABLE_LARGE.pace, rounding=2e4))
    budget = plan(100, 8.0, (MIXABLE, slow), WORK).all_s / 2
    made = plan(budget, 8.0, (MIXABLE, slow), WORK)
    assert len(made.tuned) == 2
    assert made.part("mix", "small")
    assert made.part("mix", "large") is None
    assert len(left_out_mixes(made)) == 1


@pytest.mark.parametrize(
    "candidate",
    [SMALL, replace(MIXABLE, unmixable="that needs 9 GiB"), replace(MIXABLE, untunable="unknown")],
    ids=["speed not measured", "no memory", "not tuned"],
)
def test_what_cannot_be_mixed_is_neither_planned_nor_left_out_for_time(candidate: Candidate) -> None:
    for budget in BUDGETS:
        made = plan(budget, 8.0, (candidate,), WORK)
        assert made.part("mix", "small") is None
        assert not left_out_mixes(made)


def test_a_slower_machine_needs_longer_for_a_mix() -> None:
    slower = replace(MIXABLE, pace=replace(MIXABLE.pace, rounding=1e5))
    assert slower.mixing_s > MIXABLE.mixing_s
    reading = replace(MIXABLE, pace=replace(MIXABLE.pace, prompt_tokens_per_s=50))
    assert reading.mixing_s > MIXABLE.mixing_s


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_plan_with_mixes_and_a_search_never_takes_more_than_the_budget(budget: float) -> None:
    made = plan(budget, 8.0, (MIXABLE, MIXABLE_LARGE), replace(WORK, search_s=60.0))
    assert 8.0 + sum(part.seconds for part in made.parts) <= budget * (1 - RESERVE) + 1e-6 or not made.parts


# -- what tuning takes ------------------------------------------------------------------------


def test_a_search_takes_its_seconds_beside_the_epochs() -> None:
    without, made = (plan(86400, 8.0, (SMALL,), replace(WORK, search_s=s)) for s in (0.0, 300.0))
    parts = [p.part("tune", "small") for p in (without, made)]
    assert parts[0]
    assert parts[1]
    assert parts[1].seconds == pytest.approx(parts[0].seconds + 300.0)
    assert parts[1].amount == parts[0].amount


def test_a_search_that_the_budget_does_not_hold_leaves_out_tuning() -> None:
    assert plan(600, 8.0, (SMALL,), WORK).tuned == ("small",)
    made = plan(600, 8.0, (SMALL,), replace(WORK, search_s=590.0))
    assert made.tuned == ()
    assert any(sentence.startswith("tuning:") for sentence in made.left_out)


def test_pairs_of_answers_take_twice_as_long_to_learn() -> None:
    pairs = replace(SMALL, preferences=True)
    assert pairs.epoch_s(100) == pytest.approx(2 * SMALL.epoch_s(100))
    assert plan(300, 8.0, (pairs,), WORK).tuning_s > plan(300, 8.0, (SMALL,), WORK).tuning_s


def test_safety_and_privacy_give_way_to_the_fewest_epochs() -> None:
    budgets = range(80, 360, 30)
    tuned = [made for budget in budgets if (made := plan(budget, 8.0, (SMALL,), WORK)).tuned]
    poorest = tuned[0]
    assert poorest.part("safety") is None
    assert poorest.part("privacy") is None
    epochs = poorest.part("tune", "small")
    assert epochs
    assert epochs.amount >= 1.0
    assert "safety" in poorest.left_out
    assert "the memorization test of the tuned model" in poorest.left_out


def test_other_sizes_are_left_out_by_name_before_tuning_is() -> None:
    budgets = range(80, 560, 30)
    fewer = [made for b in budgets if (made := plan(b, 8.0, (SMALL,), WORK)).tuned]
    usual = fewer[0].part("tuned", "small")
    assert usual
    assert (usual.amount, usual.of) == (1, 3)
    assert "sizes Q8_0, Q2_K of the tuned model" in fewer[0].left_out


def test_a_need_on_waits_takes_their_time_from_judging() -> None:
    plain, waiting = (plan(3600, 8.0, (SMALL,), replace(WORK, waits=n)) for n in (0, 59))
    assert waiting.seconds("judge") == pytest.approx(plain.seconds("judge") + 59 * SMALL.wait_s())


def test_where_the_choice_is_made_on_the_test_rows_judging_takes_only_waits() -> None:
    made = plan(3600, 8.0, (SMALL,), replace(WORK, test_rows=0))
    assert made.seconds("judge") == 1.0
    assert made.part("compare") is None


def test_a_plan_of_an_earlier_version_is_read() -> None:
    value = plan(300, 8.0, (SMALL,), WORK).as_dict()
    assert all(part["kind"] != "mix" for part in value["parts"])
    assert Plan.from_dict(value).part("mix", "small") is None


def test_no_mix_is_planned_or_missed_where_none_is_asked_for() -> None:
    for budget in BUDGETS:
        made = plan(budget, 8.0, (MIXABLE,), replace(WORK, mix=False))
        assert made.part("mix", "small") is None
        assert not left_out_mixes(made)
