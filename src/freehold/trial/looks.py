"""How often the same test rows have judged: each look costs some of the error that all looks together may make.

A look is a judgement of one variant on one set of test rows. Asking again with other needs is no new look, as nothing new was measured;
another variant, or more of the rows, is. Looks are kept in the home, with the rows as short digests, never as texts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.core import atomic_files

#: Rows that two looks share, as a share of the smaller one, from which they count as looks at the same rows.
SHARED = 0.05
#: Characters kept of a row's digest.
_DIGEST = 16


@dataclass(frozen=True)
class Look:
    """``number``: the first look at these rows is 1. ``before``: ids of the trials that looked at them earlier, once each."""

    number: int
    before: tuple[str, ...] = ()


def look(folder: Path, trial: str, variant: str, rows: Collection[str]) -> Look:
    """Count a judgement of ``variant`` (a digest of what answered) on ``rows`` (digests); a judgement that was counted keeps its number."""
    own = sorted(row[:_DIGEST] for row in rows)
    key = atomic_files.digest_of([variant, own])[:32]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_files.locked(folder / "lock", "the list of looks at test rows", wait=True):
        file = folder / f"{key}.json"
        if file.exists():
            known = json.loads(file.read_text())
            return Look(known["number"], tuple(known["before"]))
        earlier = [kept for kept in _kept(folder) if _overlap(own, kept["rows"])]
        number = 1 + max((kept["number"] for kept in earlier), default=0)
        before = tuple(dict.fromkeys(kept["trial"] for kept in sorted(earlier, key=lambda kept: kept["at"])))
        value = {"trial": trial, "at": time.time(), "number": number, "before": before, "rows": own}
        atomic_files.write_atomically(file, json.dumps(value))
        return Look(number, before)


def _kept(folder: Path) -> Iterator[dict[str, Any]]:
    for file in folder.glob("*.json"):
        yield json.loads(file.read_text())


def _overlap(first: list[str], second: list[str]) -> bool:
    shared = len(set(first) & set(second))
    return shared >= max(1, SHARED * min(len(first), len(second)))
