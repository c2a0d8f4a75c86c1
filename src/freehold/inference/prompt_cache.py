"""Computed prefixes on disk: keys and values of long prompts, so that after a restart they are read instead
of computed again.

A state is two files: ``NAME.state`` as llama.cpp writes it, and ``NAME.json`` with its tokens and sha256,
written last. They hold what was asked, so the folder is for its owner alone. States belong to one file of
weights (and one adapter); the folder's name says which. Each has a scope (whose prompt it was), and is given
to nobody else.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freehold.core import atomic_files

#: Shorter prompts are computed about as fast as they are read.
LEAST_TOKENS = 384
#: 2: with the scope; states of before are deleted, since nobody knows whose they were.
_FORMAT = 2


@dataclass(eq=False)
class State:
    """One prefix: its tokens, the file, its bytes, and its scope.

    Compared by identity: arrays of tokens have no single equality.
    """

    tokens: np.ndarray
    path: Path
    size: int
    scope: str


class PromptCache:
    """The states of one model, those used least recently removed beyond ``most_bytes``."""

    def __init__(self, folder: Path, most_bytes: int):
        self.folder, self.most_bytes = folder, most_bytes
        atomic_files.make_folder(folder)
        self._known: list[State] = []
        listed = set[str]()
        for record in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            values = json.loads(record.read_text())
            path = record.with_suffix(".state")
            if values.get("format") != _FORMAT or not path.exists():
                record.unlink()
                continue
            listed.add(path.name)
            self._known.append(
                State(
                    np.asarray(values["tokens"], dtype=np.int32), path, path.stat().st_size, values["scope"]
                )
            )
        for path in folder.iterdir():  # what a killed process left half written
            if path.suffix == ".part" or (path.suffix == ".state" and path.name not in listed):
                path.unlink()

    def best(self, tokens: np.ndarray, scope: str = "") -> tuple[State | None, int]:
        """The state of this scope that shares most with the beginning of ``tokens``, and how many tokens that
        is.
        """
        most, at = max(
            (
                (shared(state.tokens, tokens), at)
                for at, state in enumerate(self._known)
                if state.scope == scope
            ),
            default=(0, -1),
        )
        return (self._known[at], most) if most else (None, 0)

    def whole(self, state: State) -> bool:
        """Whether the file is what was written; a state that is not is forgotten. Marks it as used."""
        record = json.loads(state.path.with_suffix(".json").read_text())
        if state.path.exists() and atomic_files.sha256_file(state.path) == record["sha256"]:
            os.utime(state.path.with_suffix(".json"))
            self._known.remove(state)
            self._known.append(state)
            return True
        self._remove(state)
        return False

    def path_for(self, tokens: np.ndarray, scope: str = "") -> Path:
        """Where to write the state of these tokens first; :meth:`keep` then takes it in."""
        name = hashlib.sha256(scope.encode() + b"\0" + tokens.astype("<i4").tobytes()).hexdigest()[:32]
        return self.folder / f"{name}.state.part"

    def keep(self, tokens: np.ndarray, written: Path, scope: str = "") -> None:
        """Take in a state that was written where :meth:`path_for` says."""
        atomic_files.sync(written)
        atomic_files.narrow(written)
        path = written.with_suffix("")
        digest = atomic_files.sha256_file(written)
        os.replace(written, path)
        record = {
            "format": _FORMAT,
            "scope": scope,
            "tokens": tokens.tolist(),
            "sha256": digest,
            "at": time.time(),
        }
        atomic_files.write_atomically(path.with_suffix(".json"), json.dumps(record))
        self._known = [state for state in self._known if state.path != path]
        self._known.append(State(tokens.astype(np.int32), path, path.stat().st_size, scope))
        while sum(state.size for state in self._known) > self.most_bytes and len(self._known) > 1:
            self._remove(self._known[0])

    def _remove(self, state: State) -> None:
        self._known.remove(state)
        state.path.with_suffix(".json").unlink(missing_ok=True)
        state.path.unlink(missing_ok=True)


def shared(first: np.ndarray, second: np.ndarray) -> int:
    """How many tokens two texts begin alike with."""
    size = min(len(first), len(second))
    differ = np.flatnonzero(first[:size] != second[:size])
    return int(differ[0]) if len(differ) else size
