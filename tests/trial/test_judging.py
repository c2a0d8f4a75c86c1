"""What the test rows can find is said beforehand, and the bounds keep the errors they are given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from freehold.core import statistics
from freehold.evaluation.measurement import Measurements, interval_figure
from freehold.trial import judging
from freehold.trial.requirements import Requirement, Terms, decide, parse_need, terms_of
from freehold.trial.run import Trial
from freehold.trial.variant import Variant
from tests.trial.rows import made_variant


def trial_of(rows: int, *needs: str) -> Trial:
    """As much of a trial as its power rests on: the number of test rows and the needs."""
    asked = [parse_need(text) for text in needs]
    task = SimpleNamespace(test=tuple(range(rows)))
    return cast(Trial, SimpleNamespace(task=task, effective_needs=lambda: (asked, "")))


def share(right: int, rows: int, needs: list[Requirement], terms: Terms) -> Variant:
    """A variant with ``right`` of ``rows`` answers right, as it is judged."""

    def figures(level: float) -> Measurements:
        return {"accuracy": interval_figure(statistics.share_interval(right, rows, level=level), "")}

    return made_variant("v", figures(0.95), bounds=judging.bounds(needs, terms, figures))


def test_what_the_rows_can_find_is_said_for_each_need_on_a_share() -> None:
    (note,) = judging.power_notes(trial_of(300, "accuracy>=0.9", "p95<=800ms", "licence=commercial"))
    assert note.startswith("with 300 test rows, accuracy>=0.9 is shown to be met in 4 of 5 trials")
    assert float(note.rpartition(" is ")[2].partition(" or")[0]) == pytest.approx(0.943, abs=0.005)


def test_too_few_rows_for_a_need_are_said_with_the_fewest_that_can() -> None:
    (note,) = judging.power_notes(trial_of(30, "accuracy>=0.95"))
    assert "30 test rows can't show that accuracy>=0.95 is met, even if every answer is right" in note
    fewest = int(note.partition("; at least ")[2].split()[0])
    assert statistics.share_interval(fewest, fewest, level=0.96).low >= 0.95
    assert statistics.share_interval(fewest - 1, fewest - 1, level=0.96).low < 0.95


def test_a_later_look_asks_for_more() -> None:
    needs = [parse_need("accuracy>=0.9")]
    looks = [terms_of(needs, statistics.alpha_of_look(n), statistics.alpha_of_look(n + 1)) for n in (1, 2)]
    met = [decide(needs[0], share(283, 300, needs, terms), terms).met for terms in looks]
    assert met == [True, None]


def test_waits_are_as_many_as_the_error_of_the_look_needs() -> None:
    needs = [parse_need("p95<=800ms"), parse_need("accuracy>=0.9")]
    first, second = (terms_of(needs, statistics.alpha_of_look(n), 0.001) for n in (1, 2))
    assert 72 < judging.waits_for(needs, first) < judging.waits_for(needs, second)
    assert judging.waits_for(needs[1:], first) == 0
