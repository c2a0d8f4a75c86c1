from freehold.inference.interface import Choices


def test_a_choice_is_settled_as_soon_as_one_is_left() -> None:
    choices = Choices(("a b", "a c", "d"), ((1, 2, 9), (1, 3, 9), (4, 9)))
    assert sorted(choices.allowed([])) == [1, 4]
    assert choices.settled([]) is None
    assert choices.settled([4]) == 2
    assert choices.settled([1]) is None
    assert choices.settled([1, 3]) == 1


def test_an_answer_that_begins_another_can_still_be_chosen() -> None:
    choices = Choices(("a", "a b"), ((1, 9), (1, 2, 9)))
    assert sorted(choices.allowed([1])) == [2, 9]
    assert choices.settled([1, 9]) == 0
