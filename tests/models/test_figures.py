"""Figures that a card states, of which nobody here has measured any."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.models.figures import Stated, stated


def card(*results: Any) -> dict[str, Any]:
    return {"model-index": [{"name": "m", "results": list(results)}]}


def test_every_number_is_listed_with_its_data_and_metric() -> None:
    result = {
        "dataset": {"name": "BANKING77", "type": "banking77"},
        "metrics": [{"type": "accuracy", "value": 0.91}, {"name": "F1 (macro)", "type": "f1", "value": 1}],
    }
    assert stated(card(result)) == [
        Stated("BANKING77", "accuracy", 0.91),
        Stated("BANKING77", "F1 (macro)", 1.0),
    ]


@pytest.mark.parametrize(
    ("dataset", "task"), [({"type": "banking77"}, "banking77"), ({}, "no named data"), ("x", "no named data")]
)
def test_data_without_a_name(dataset: object, task: str) -> None:
    assert stated(card({"dataset": dataset, "metrics": [{"value": 1}]})) == [Stated(task, "value", 1.0)]


@pytest.mark.parametrize("value", ["0.9", True, None, float("nan"), float("inf"), [0.9]])
def test_what_is_no_number_is_no_figure(value: object) -> None:
    assert stated(card({"metrics": [{"type": "accuracy", "value": value}]})) == []


@pytest.mark.parametrize(
    "values", [{}, {"model-index": "x"}, {"model-index": [1, None]}, card("x"), card({"metrics": {"a": 1}})]
)
def test_a_card_of_another_form_states_nothing(values: dict[str, Any]) -> None:
    assert stated(values) == []
