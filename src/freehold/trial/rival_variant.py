"""A rival as the report holds it: a variant of the kind "rival", with how it was asked and what that took."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from freehold.evals import measure
from freehold.trial.rival import Rival
from freehold.trial.task import Task
from freehold.trial.waits import P95, Wait, Waits


def of(rival: Rival, task: Task) -> dict[str, Any]:
    """The variant (see report.schema.json); its own key is ``rented``."""
    figures = measure.measurement(task.metric, task.test, rival.answers)
    scoped = measure.scope_figures(task.metric, rival.answers, task.out_of_scope)
    spent, requests = rival.spent, max(rival.spent.requests - rival.spent.uncounted, 1)
    counted = bool(spent.requests - spent.uncounted)
    return {
        "id": "rival",
        "title": rival.title,
        "model": rival.title,
        "kind": "rival",
        "rival": True,
        "digest": "",
        "size_bytes": 0,
        "parameters": 0,
        "licence": "",
        "shots": [],
        "figures": figures | scoped,
        "measured_on": "test",
        "rows": len(rival.answers),
        "of_rows": len(task.test),
        "rows_per_second": None,
        "mean_prompt_tokens": spent.prompt_tokens / requests if counted else None,
        "mean_answer_tokens": spent.answer_tokens / requests if counted else None,
        "measuring_seconds": None,
        "trained": None,
        "running": None,
        "weights": "",
        "stored_as": "",
        "rented": rented(rival),
    }


def rented(rival: Rival) -> dict[str, Any]:
    """How a rival was asked, what was odd, what it took, and how long one user waits for it."""
    waits = Waits(tuple(Wait(ms / 1000, True) for ms in rival.waits_ms), len(rival.waits_ms))
    return {
        "how": rival.how,
        "conditions": list(rival.conditions),
        "refused": rival.refused,
        "cut": rival.cut,
        "rejected": rival.rejected,
        "spent": asdict(rival.spent),
        "chosen_by": rival.chosen_by,
        "chosen_rows": rival.chosen_rows,
        "p50_ms": waits.figure(0.5) if rival.waits_ms else None,
        "p95_ms": waits.figure(P95) if rival.waits_ms else None,
    }
