"""Test rows that are known from training: many are refused, few are left out of the figures."""

from __future__ import annotations

from freehold.core.errors import BadData
from freehold.data.examples import Example
from freehold.data.splits import FEWEST_TEST_ROWS, Splits

#: A test split that shares more than this with the training rows measures memory, not skill.
MOST_LEAKED = 0.2
_SHOWN, _QUOTED = 3, 60


def refuse_leaks(splits: Splits, allow: bool) -> None:
    """Raises BadData where too many test rows are known from training, and always where all of them are."""
    leaked, total = len(splits.leaked), len(splits.leaked) + len(splits.test)
    if not leaked:
        return
    what = f"{_what(splits)} (for example {_pair(splits)})"
    if leaked == total:
        raise BadData(
            f"all {total:,} test rows {what}, so no row is left to judge a model by",
            "pass other test rows with --test, or leave --test out to have test rows split off",
        )
    if leaked > MOST_LEAKED * total and not allow:
        raise BadData(
            f"{leaked / total:.0%} of the test rows {what}, so the trial would measure memorization",
            f"remove them from one side, or pass --allow-leaks to judge by the other {total - leaked:,} rows",
        )


def leak_warning(splits: Splits) -> str:
    """A sentence on the test rows that are left out of the figures; "" where there are none."""
    leaked, total = len(splits.leaked), len(splits.leaked) + len(splits.test)
    if not leaked:
        return ""
    few = f"; fewer than {FEWEST_TEST_ROWS} rows are left" if len(splits.test) < FEWEST_TEST_ROWS else ""
    return (
        f"{leaked:,} of {total:,} test rows {_what(splits)}; {'it is' if leaked == 1 else 'they are'} left "
        f"out of all figures{few}; for example {_quotes(splits)}"
    )


def _what(splits: Splits) -> str:
    single = len(splits.leaked) == 1
    duplicates = "is a near-duplicate" if single else "are near-duplicates"
    kinds = [f"{duplicates} of training or validation rows"] if splits.leaks else []
    if splits.group_leaks:
        kinds.append(
            f"{'belongs' if single else 'belong'} to a group that has training or validation rows too"
        )
    return " or ".join(kinds)


def _pair(splits: Splits) -> str:
    if splits.leaks:
        return f"{splits.leaks[0][1]} and {splits.leaks[0][0]}"
    known, test, group = splits.group_leaks[0]
    return f"{test} and {known}, both of {group!r}"


def _quotes(splits: Splits) -> str:
    """The first leaks, each with the beginning of both texts."""
    rows = {example.id: example for example in (*splits.train, *splits.valid)}
    tests = {example.id: example for example in splits.leaked}
    pairs = [
        f"{test} {_quote(tests[test])} and {known} {_quote(rows[known])}"
        for known, test, _ in splits.leaks
        if known in rows and test in tests
    ]
    pairs += [f"{test} and {known} of {group!r}" for known, test, group in splits.group_leaks]
    return "; ".join(pairs[:_SHOWN])


def _quote(example: Example) -> str:
    text = " ".join(example.question.split())
    return f'("{text if len(text) <= _QUOTED else text[: _QUOTED - 3] + "..."}")'
