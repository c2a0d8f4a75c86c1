import pytest

from freehold.data.examples import Example
from freehold.data.splits import find_leaks, similar_pairs, split
from freehold.errors import BadData


def example(name: str, question: str) -> Example:
    return Example(name, (("user", question), ("assistant", "yes")))


def words(i: int) -> str:
    return f"the customer number {i} asks about item {i * 7} and place {i * 13} today"


def test_the_same_rows_split_alike_in_any_order() -> None:
    rows = [example(str(i), words(i)) for i in range(400)]
    first, second = split(rows, None, None), split(rows[::-1], None, None)
    assert {e.id for e in first.test} == {e.id for e in second.test}
    assert 40 < len(first.test) < 120
    assert len(first.train) + len(first.valid) + len(first.test) == 400


def test_near_duplicates_never_part() -> None:
    rows = [example(f"{i}{v}", f"{words(i)} {'please' if v else ''}") for i in range(200) for v in range(2)]
    parts = split(rows, None, None)
    assert parts.leaks == ()


def test_a_leak_between_given_splits_is_found() -> None:
    train = [example("t1", "My card was eaten by the machine this morning, help me"), example("t2", "Where is the nearest branch")]
    test = [example("x1", "my card was eaten by the machine this morning help me!"), example("x2", "How do I change my address")]
    assert [(a, b) for a, b, _ in find_leaks(train, test)] == [("t1", "x1")]


def test_similarity_is_the_exact_jaccard_of_word_pairs() -> None:
    ((_, _, similarity),) = similar_pairs(["a b c d e f g h i j k", "a b c d e f g h i j l"])
    assert similarity == pytest.approx(9 / 11)


def test_too_small_a_test_split_is_refused() -> None:
    with pytest.raises(BadData, match="the test split has 1 rows"):
        split([example("a", words(1))] * 1, [], [example("b", words(2))])
