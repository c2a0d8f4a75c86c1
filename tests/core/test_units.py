"""Sizes, durations and shares: each parser takes its own kind with a unit, and refuses the others in a
sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from freehold.core.errors import UsageError
from freehold.core.units import parse_bytes, parse_seconds, parse_share


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 * 2**30),
        ("1.5 gb", 1_500_000_000),
        ("100MB", 10**8),
        ("64KiB", 2**16),
        ("2TiB", 2**41),
        ("0B", 0),
        ("0", 0),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45m", 2700),
        ("90s", 90),
        ("1h30m", 5400),
        ("1h 30min", 5400),
        ("800ms", 0.8),
        ("0.5s", 0.5),
        ("1.5h", 5400),
        ("1d2h", 93_600),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "share"), [("0.9", 0.9), ("90%", 0.9), ("1", 1), ("0", 0), ("12.5 %", 0.125)]
)
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("parse", "text", "sentence"),
    [
        (parse_bytes, "4", "'4' is a size without a unit; write for example 4GiB or 4GB"),
        (parse_bytes, "4G", "'4G' is a size without a unit; write for example 4GiB or 4GB"),
        (parse_bytes, "4s", "'4s' is a duration, which does not fit here; write for example 4GiB"),
        (parse_bytes, "1h30m", "'1h30m' is a duration, which does not fit here; write for example 4GiB"),
        (parse_bytes, "90%", "'90%' is a percentage, which does not fit here; write for example 4GiB"),
        (parse_bytes, "4 apples", "'4 apples' has an unknown unit; write for example 4GiB"),
        (parse_bytes, "-3GB", "'-3GB' is not a size; write for example 4GiB"),
        (parse_bytes, "1e9B", "'1e9B' is not a size; write for example 4GiB"),
        (parse_bytes, "", "'' is not a size; write for example 4GiB"),
        (
            parse_seconds,
            "45",
            "'45' is a duration without a unit; write for example 45m, 90s, 800ms or 1h30m",
        ),
        (parse_seconds, "4GiB", "'4GiB' is a size, which does not fit here; write for example 45m, 90s"),
        (parse_seconds, "30m1h", "'30m1h' is not a duration: the larger unit comes first; write for example"),
        (parse_seconds, "5m5m", "'5m5m' is not a duration: the larger unit comes first; write for example"),
        (parse_seconds, "1h30", "'1h30' is not a duration; write for example"),
        (parse_seconds, "soon", "'soon' is not a duration; write for example"),
        (
            parse_share,
            "90",
            "'90' is more than 1, and a share is between 0 and 1; write for example 0.9 or 90%",
        ),
        (parse_share, "120%", "'120%' is more than 1, and a share is between 0 and 1; write for example 0.9"),
        (parse_share, "0.9s", "'0.9s' is a duration, which does not fit here; write for example 0.9 or 90%"),
        (parse_share, "-1", "'-1' is not a share; write for example 0.9 or 90%"),
    ],
)
def test_other_kinds_and_bare_numbers_are_refused_with_a_sentence(
    parse: Callable[[str], float], text: str, sentence: str
) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert f"{error.value.message}; {error.value.remedy}".startswith(sentence)


@pytest.mark.parametrize("parse", [parse_bytes, parse_seconds])
def test_zero_is_refused_where_something_must_be_there(parse: Callable[..., float]) -> None:
    with pytest.raises(UsageError, match=r"--memory: '0' must be more than 0"):
        parse("0", "--memory", positive=True)
