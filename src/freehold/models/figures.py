"""Figures that a card states: its ``model-index``, as authors write it for the Hugging Face Hub. Nobody here
has measured them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from freehold.core.json_types import JsonObject


@dataclass(frozen=True)
class Stated:
    """A metric's value on a data set."""

    task: str
    metric: str
    value: float


def stated(card: JsonObject) -> list[Stated]:
    """Every number of a card's ``model-index``."""
    figures: list[Stated] = []
    for entry in _list(card.get("model-index")):
        for result in _list(entry.get("results")):
            dataset = result.get("dataset")
            task = str(dataset.get("name") or dataset.get("type") or "") if isinstance(dataset, dict) else ""
            for metric in _list(result.get("metrics")):
                value = metric.get("value")
                if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                    figures.append(
                        Stated(
                            task or "no named data",
                            str(metric.get("name") or metric.get("type") or "value"),
                            float(value),
                        )
                    )
    return figures


def _list(value: Any) -> list[JsonObject]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
