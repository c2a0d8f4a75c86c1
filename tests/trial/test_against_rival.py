"""What the verdict may say of renting: compared on the rows both answered, and only quality speaks for it."""

from typing import Any

from freehold.evaluation.measurement import Answer, mean_figure
from freehold.trial.against_rival import AgainstRival, compare_rival, machine_only, reason_to_rent
from freehold.trial.requirements import Decision, parse_need
from tests.trial.rows import made_variant

NEED = parse_need("accuracy>=0.9")
SLOW = parse_need("p95<=800ms")
BIG = parse_need("memory<=1GiB")


def answers(right: int, of: int, start: int = 0) -> list[Answer]:
    """The first ``right`` of ``of`` rows are right."""
    return [Answer(f"r{start + i}", "", float(i < right), "stop", 1, 1) for i in range(of)]


def compared(chosen: list[Answer], rival: list[Answer], *needs: Any) -> AgainstRival:
    figure = mean_figure([answer.score for answer in rival], "accuracy")
    variant = made_variant("rival", {"accuracy": figure}, title="big at example.org")
    against = compare_rival(chosen, rival, needs or (NEED,), variant, "accuracy")
    assert against is not None
    return against


def missed(*needs: Any) -> list[Decision]:
    return [Decision(need.text, False, "measured") for need in needs]


def test_a_rival_is_compared_on_the_rows_both_answered() -> None:
    against = compared(answers(50, 100), answers(100, 150, start=50))
    assert (against.rows, against.chosen_rows, against.rival_rows) == (50, 100, 150)
    assert (against.chosen, against.rival) == (0.0, 1.0)
    assert against.better == "rival"


def test_rivals_without_a_row_in_common_are_not_compared() -> None:
    variant = made_variant("big", {"accuracy": mean_figure([1.0], "accuracy")})
    assert compare_rival(answers(1, 1), answers(1, 1, start=9), (NEED,), variant, "accuracy") is None


def test_a_difference_that_may_be_chance_is_nobody_s() -> None:
    other = [Answer(f"r{i}", "", float(5 <= i < 87), "stop", 1, 1) for i in range(100)]
    against = compared(answers(80, 100), other)
    assert against.better == ""
    assert against.low < 0 < against.high
    assert "does not differ significantly" in against.sentence()
    assert compared(answers(95, 100), answers(60, 100)).better == "chosen"


def test_renting_is_reasonable_where_the_rival_meets_what_is_missed() -> None:
    against = compared(answers(300, 400), answers(390, 400))
    assert against.meets_quality
    reason = reason_to_rent(missed(NEED), against, (NEED, SLOW))
    assert reason.startswith("big at example.org meets accuracy>=0.9 on the same rows")


def test_renting_is_reasonable_where_the_rival_is_significantly_better() -> None:
    against = compared(answers(200, 400), answers(300, 400))
    assert not against.meets_quality
    assert "is significantly better" in reason_to_rent(missed(NEED), against, (NEED,))


def test_nothing_else_speaks_for_renting() -> None:
    worse, better = (
        compared(answers(300, 400), answers(290, 400)),
        compared(answers(380, 400), answers(400, 400)),
    )
    assert reason_to_rent(missed(NEED), None, (NEED,)) == ""
    assert reason_to_rent(missed(NEED), worse, (NEED,)) == ""
    assert reason_to_rent([], better, (NEED,)) == ""
    # a slow machine is no evidence that another model answers better
    assert reason_to_rent(missed(SLOW), better, (NEED, SLOW)) == ""


def test_a_need_that_only_the_machine_fails_is_said_as_such() -> None:
    met = Decision(NEED.text, True, "0.95")
    needs = (NEED, SLOW, BIG)
    slow = machine_only(
        "m, tuned", [met, Decision(SLOW.text, False, "1200 ms"), Decision(BIG.text, True, "")], needs, 2
    )
    assert "this machine (2 cores) is too slow for p95<=800ms: 1200 ms" in slow
    assert "The limit is the machine, not the model" in slow
    small = machine_only("m", [met, Decision(BIG.text, False, "2 GiB")], needs)
    assert "too small for memory<=1GiB" in small
    assert "more memory" in small
    assert "faster" not in small


def test_a_machine_is_not_blamed_for_the_model() -> None:
    slow = Decision(SLOW.text, False, "1200 ms")
    needs = (NEED, SLOW)
    assert machine_only("m", [Decision(NEED.text, False, "0.5"), slow], needs) == ""
    assert machine_only("m", [Decision(NEED.text, None, "0.9"), slow], needs) == ""
    assert machine_only("m", [Decision(NEED.text, True, "0.95")], needs) == ""
    assert machine_only("m", [slow], (SLOW,)) == ""
