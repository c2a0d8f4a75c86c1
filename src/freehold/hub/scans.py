"""What is dangerous in the files of a repository, whoever brought them: each file is looked into once, and
what was found is kept.

The looking itself is known to a room above (``trust/scan.py``) and handed in. Only models are looked into:
data and programs are what other kinds of repository are made of. The form that clients are told it in is the
Hugging Face Hub's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from freehold.core import atomic_files
from freehold.core.json_types import JsonObject
from freehold.hub.blob_store import BlobStore
from freehold.hub.commits import File
from freehold.models import catalogue as tables

#: Bytes that are looked into of a file that does not lie on this machine's disk as one; headers and texts are
#: shorter, archives begin with their mark.
_HEAD = 64 << 20
#: Files looked into before what was found is written down.
_AT_ONCE = 256


@dataclass(frozen=True)
class Danger:
    """``level``: ``unsafe``, what does harm to whoever merely opens it, or ``caution``, what cannot be
    vouched for. ``kind``: one word.
    """

    level: str
    kind: str
    why: str


#: Looks into files by name; what is found, by name, and nothing for a clean file.
Look = Callable[[Mapping[str, Path]], Mapping[str, list[Danger]]]


class Scans:
    """Findings by file. ``rules`` changes when ``look`` does: what other rules found is found again. ``look``
    None: nothing is known of any file.
    """

    def __init__(self, contents: BlobStore, look: Look | None, rules: str):
        self._contents, self._look, self._rules = contents, look, rules

    @property
    def able(self) -> bool:
        """Whether files can be looked into here."""
        return self._look is not None

    def of(self, files: Mapping[str, File]) -> dict[str, list[Danger]]:
        """The dangers of each file that was looked into; one that is missing from the hub is not in the
        answer.
        """
        keys = (
            {path: atomic_files.digest_of([self._rules, path, file.sha256]) for path, file in files.items()}
            if self.able
            else {}
        )
        known = self._known(keys.values())
        new = [path for path in files if self.able and keys[path] not in known]
        for start in range(0, len(new), _AT_ONCE):
            scanned = self._looked({path: files[path] for path in new[start : start + _AT_ONCE]})
            known |= {keys[path]: dangers for path, dangers in scanned.items()}
            with self._contents.store.engine.begin() as connection:
                for path, dangers in scanned.items():
                    statement = tables.upsert(connection, tables.scans).values(
                        digest=keys[path], found=[asdict(danger) for danger in dangers]
                    )
                    connection.execute(statement.on_conflict_do_nothing())
        return {path: known[key] for path, key in keys.items() if key in known}

    def _known(self, keys: Iterable[str]) -> dict[str, list[Danger]]:
        table, digests = tables.scans, list(keys)
        known: dict[str, list[Danger]] = {}
        with self._contents.store.engine.connect() as connection:
            for start in range(0, len(digests), _AT_ONCE):
                rows = connection.execute(
                    sa.select(table.c.digest, table.c.found).where(
                        table.c.digest.in_(digests[start : start + _AT_ONCE])
                    )
                )
                known |= {row.digest: [Danger(**danger) for danger in row.found] for row in rows}
        return known

    def _looked(self, files: Mapping[str, File]) -> dict[str, list[Danger]]:
        assert self._look is not None
        dangers: dict[str, list[Danger]] = {}
        with tempfile.TemporaryDirectory(dir=self._contents.store.incoming) as name:
            laid = Path(name) / "file"  # one at a time: many heads together would fill a disk
            for path, file in files.items():
                content = self._contents.find(file.sha256)
                if content is not None:
                    self._contents.lay_head(content, laid, _HEAD)
                    dangers[path] = list(self._look({path: laid}).get(path, []))
                    laid.unlink()
        return dangers


def worst(dangers: Iterable[Danger]) -> str:
    """``unsafe``, ``caution``, or ``safe`` where nothing was found."""
    levels = {danger.level for danger in dangers}
    return next((level for level in ("unsafe", "caution") if level in levels), "safe")


def file_status(dangers: list[Danger]) -> JsonObject:
    """``securityFileStatus`` of a file in a tree. No virus scanner has seen it, so ``avScan`` is empty."""
    pickle = next((danger for danger in dangers if danger.kind == "pickle"), None)
    imports = None if pickle is None else {"highestSafetyLevel": "dangerous", "message": pickle.why}
    return {
        "status": worst(dangers),
        "avScan": None,
        "pickleImportScan": imports,
        "message": "; ".join(danger.why for danger in dangers),
    }


def repository_status(scanned: Mapping[str, list[Danger]], files: Mapping[str, File]) -> JsonObject:
    """``securityRepoStatus`` of a model."""
    issues = [{"path": path, "level": worst(dangers)} for path, dangers in sorted(scanned.items()) if dangers]
    return {"scansDone": len(scanned) == len(files), "filesWithIssues": issues}
