"""How a rival was asked and what that took, as the report holds it."""

from freehold.trial.rival import Rival, Spent
from freehold.trial.rival_variant import rented


def test_what_was_odd_and_what_it_took_is_counted() -> None:
    spent = Spent(requests=12, prompt_tokens=500, answer_tokens=300, reasoning_tokens=250, uncounted=2)
    made = rented(Rival("big", (), "few-shot", ("temperature 0",), refused=1, cut=2, rejected=3, spent=spent))
    assert (made["refused"], made["cut"], made["rejected"]) == (1, 2, 3)
    assert made["conditions"] == ["temperature 0"]
    assert made["spent"]["reasoning_tokens"] == 250


def test_its_waits_have_bounds_where_there_are_enough() -> None:
    many = rented(Rival("big", (), waits_ms=tuple(float(n) for n in range(100))))
    assert many["p95_ms"]["n"] == 100
    assert many["p95_ms"]["low"] < many["p95_ms"]["value"] < many["p95_ms"]["high"]
    few = rented(Rival("big", (), waits_ms=(3.0, 4.0)))
    assert few["p95_ms"]["high"] is None
    assert rented(Rival("big", ()))["p95_ms"] is None
