import numpy as np
import pytest
from sklearn.metrics import f1_score

from freehold.core import statistics


def test_macro_f1_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    wanted = random.choice(list("abcd"), 200)
    given = np.where(random.random(200) < 0.8, wanted, random.choice(list("abcx"), 200))
    interval = statistics.macro_f1(list(wanted), list(given))
    assert interval.value == pytest.approx(f1_score(wanted, given, average="macro", labels=list("abcd")))
    assert interval.low < interval.value < interval.high


def test_labels_with_few_rows_make_a_wide_interval_and_are_said() -> None:
    interval = statistics.macro_f1(["a", "a", "b", "c"], ["a", "b", "b", "x"])
    assert interval.value == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert interval.low < 0.1
    assert interval.high > 0.9
    assert "3 of 3 labels have fewer than 10 rows" in interval.method


def test_rare_labels_that_are_all_right_do_not_prove_that_they_always_are() -> None:
    interval = statistics.macro_f1(["a"] * 97 + ["b"] * 3, ["a"] * 97 + ["b"] * 3)
    assert interval.value == interval.high == 1.0
    assert interval.low < 0.8


@pytest.mark.parametrize(("rare", "hit"), [(0.5, 0.9), (0.05, 0.9), (0.05, 0.6), (0.2, 0.97)])
def test_the_interval_covers_where_a_label_is_rare(rare: float, hit: float) -> None:
    """100 rows of two labels, the rare one right in ``hit`` of its rows.

    Each end errs in at most 2.5% of samples.
    """
    random = np.random.default_rng(1)
    rows = (1 - rare, rare)
    right = (0.97, hit)
    f1 = [
        2 * rows[i] * right[i] / (rows[i] + rows[i] * right[i] + rows[1 - i] * (1 - right[1 - i]))
        for i in (0, 1)
    ]
    ends = []
    for _ in range(300):
        true = random.random(100) < rare
        answered = np.where(random.random(100) < np.where(true, hit, 0.97), true, ~true)
        interval = statistics.macro_f1(list(map(str, true)), list(map(str, answered)))
        truth = np.mean(f1) if true.any() else f1[0]
        ends.append((truth < interval.low, truth > interval.high))
    # 300 samples at 2.5%: above 5% by chance once in 200
    assert np.mean(ends, axis=0).max() <= 0.05


def test_groups_widen_it() -> None:
    wanted, given = list("ab" * 100), list("aa" * 20 + "ab" * 80)
    alone = statistics.macro_f1(wanted, given)
    together = statistics.macro_f1(wanted, given, groups=[i // 20 for i in range(200)])
    assert together.groups == 10
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
