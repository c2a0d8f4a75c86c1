"""A rival as the report holds it."""

from dataclasses import replace

from freehold.evals.measure import graded
from freehold.trial import rival_variant
from freehold.trial.rival import Rival, Spent
from tests.trial.rows import labelled, task_of

TASK = task_of(
    labelled("t", [(f"text {i}", "red" if i % 2 else "blue") for i in range(8)]),
    labelled("x", [(f"other {i}", "red" if i % 2 else "blue") for i in range(6)]),
)
ANSWERS = tuple(
    graded(TASK.metric, example, f"Label: {example.answer}.", "stop", 9, 2) for example in TASK.test
)


def test_its_figures_are_made_as_own_ones_are() -> None:
    made = rival_variant.of(Rival("big at example.org", ANSWERS), TASK)
    assert made["figures"]["accuracy"]["value"] == 1.0
    assert made["figures"]["macro_f1"]["value"] == 1.0
    assert made["kind"] == "rival"


def test_what_it_took_is_per_counted_request() -> None:
    spent = Spent(requests=12, prompt_tokens=500, answer_tokens=300, reasoning_tokens=250, uncounted=2)
    made = rival_variant.of(Rival("big", ANSWERS, spent=spent, refused=1, cut=2), TASK)
    assert (made["mean_prompt_tokens"], made["mean_answer_tokens"]) == (50, 30)
    assert (made["rented"]["refused"], made["rented"]["cut"]) == (1, 2)
    assert made["rented"]["spent"]["reasoning_tokens"] == 250
    silent = rival_variant.of(Rival("big", ANSWERS, spent=replace(spent, uncounted=12)), TASK)
    assert silent["mean_prompt_tokens"] is None


def test_its_waits_have_bounds_where_there_are_enough() -> None:
    many = rival_variant.rented(Rival("big", ANSWERS, waits_ms=tuple(float(n) for n in range(100))))
    assert many["p95_ms"]["n"] == 100
    assert many["p95_ms"]["low"] < many["p95_ms"]["value"] < many["p95_ms"]["high"]
    few = rival_variant.rented(Rival("big", ANSWERS, waits_ms=(3.0, 4.0)))
    assert few["p95_ms"]["high"] is None
    assert rival_variant.rented(Rival("big", ANSWERS))["p95_ms"] is None
