"""How a rival was asked and what that took, for the report."""

from __future__ import annotations

from dataclasses import asdict

from freehold.core.json_types import JsonObject
from freehold.trial import json_form
from freehold.trial.rival import Rival
from freehold.trial.waits import P95, Wait, Waits


def rented(rival: Rival) -> JsonObject:
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
        "p50_ms": json_form.write(waits.figure(0.5)) if rival.waits_ms else None,
        "p95_ms": json_form.write(waits.figure(P95)) if rival.waits_ms else None,
    }
