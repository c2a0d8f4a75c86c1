import math

from freehold import statistics


def test_the_first_look_has_most_of_the_error_and_all_looks_no_more_than_its_whole() -> None:
    parts = [statistics.alpha_of_look(look) for look in range(1, 60)]
    assert parts[0] == 0.02
    assert sum(parts) <= 0.025
    assert statistics.level_of_look(1) == 0.96


def test_waits_that_an_upper_bound_needs() -> None:
    assert statistics.waits_needed(0.95) == 72
    short = statistics.quantile_interval(range(71), 0.95)
    assert short.high == math.inf
    assert "72 values" in short.method
    assert statistics.quantile_interval(range(72), 0.95).high == 71.0
