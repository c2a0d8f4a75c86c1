"""How often the same test rows have judged: each look costs some of the error allowed to all of them.

A look is a judgement of one variant on one set of test rows. Other needs are no new look, as nothing new was
measured; another variant, or more of the rows, is. Looks are kept in the home. Rows are kept as short
digests, never as texts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from freehold.core import atomic_files

#: Two looks are at the same rows from this share on: rows that both have, of the smaller of the two.
SHARED = 0.05
#: Characters kept of a row's digest.
_DIGEST = 16


@dataclass(frozen=True)
class Look:
    """One look at test rows."""

    #: 1 for the first look at these rows
    number: int
    #: ids of the trials that looked at these rows earlier, once each
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class _SavedLook:
    """A look as it is kept on disk."""

    #: id of the trial
    trial: str
    #: when it was counted, in seconds since 1970
    at: float
    #: 1 for the first look at these rows
    number: int
    #: ids of earlier trials on these rows
    before: tuple[str, ...]
    #: short digests of the rows, sorted
    rows: tuple[str, ...]

    def overlaps(self, rows: Collection[str]) -> bool:
        """Whether it was at the same rows as those of these digests."""
        shared = len(set(self.rows) & set(rows))
        return shared >= max(1, SHARED * min(len(self.rows), len(rows)))


def look(folder: Path, trial: str, variant: str, rows: Collection[str]) -> Look:
    """Count a judgement of a variant on rows, both as digests; one counted before keeps its number."""
    digests = sorted(row[:_DIGEST] for row in rows)
    file = folder / f"{atomic_files.digest_of([variant, digests])[:32]}.json"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_files.locked(folder / "lock", "the list of looks at test rows", wait=True):
        if file.exists():
            known = _read(file)
            return Look(known.number, known.before)
        earlier = sorted(
            (saved for saved in _saved(folder) if saved.overlaps(digests)), key=lambda saved: saved.at
        )
        number = 1 + max((saved.number for saved in earlier), default=0)
        before = tuple(dict.fromkeys(saved.trial for saved in earlier))
        new = _SavedLook(trial, time.time(), number, before, tuple(digests))
        atomic_files.write_atomically(file, json.dumps(asdict(new)))
        return Look(number, before)


def _saved(folder: Path) -> Iterator[_SavedLook]:
    return (_read(file) for file in folder.glob("*.json"))


def _read(file: Path) -> _SavedLook:
    value = json.loads(file.read_text())
    return _SavedLook(
        value["trial"], value["at"], value["number"], tuple(value["before"]), tuple(value["rows"])
    )
