"""A closed set of answers: what may follow, and when only one is left."""

import time

from freehold.inference.interface import Choices


def test_an_answer_is_settled_where_no_other_begins_so() -> None:
    choices = Choices(("a b", "a c", "d"), ((1, 2, 0), (1, 3, 0), (4, 0)))
    assert sorted(choices.allowed(())) == [1, 4]
    assert choices.settled(()) is None
    assert choices.settled((1,)) is None
    assert choices.settled((1, 3)) == 1
    assert choices.settled((4,)) == 2
    assert Choices(("only",), ((7, 0),)).settled(()) == 0


def test_an_answer_that_begins_another_is_told_from_it_by_its_end() -> None:
    choices = Choices(("card", "card lost"), ((1, 0), (1, 2, 0)))
    assert choices.settled((1,)) is None
    assert choices.settled((1, 0)) == 0
    assert choices.settled((1, 2)) == 1


def test_a_thousand_labels_cost_no_more_a_token_than_ten() -> None:
    def seconds(count: int) -> float:
        choices = Choices(tuple(map(str, range(count))), tuple((1, 2, 3, 4, 10 + n, 0) for n in range(count)))
        started = time.process_time()
        for _ in range(20_000):
            choices.settled((1, 2, 3, 4))
        return time.process_time() - started

    assert seconds(1000) < 20 * seconds(10)  # it was a hundred times as much
