"""Manifests beside the blobs: what the catalogue knows of each model, in a file of its own, so that a lost
catalogue can be rebuilt.

``manifests/REVISION/NAME.json`` is written after the catalogue's row and removed before it, so a manifest
without a row always means that the catalogue lost something. A slash in a name is written as ``@``, which no
name has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import BadModel, DamagedStore
from freehold.core.json_types import JsonObject
from freehold.models.intake import check_names
from freehold.models.unpacking import is_file, stated

VERSION = 1
#: What can name a model.
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
#: Bytes of a manifest, and its time (the year 9999): ours are never longer or later.
_MOST_TEXT, _LATEST = 64 << 20, 253_402_300_800.0


@dataclass(frozen=True)
class Entry:
    """A row of the catalogue's table of models. ``manifest``: file name -> (sha256, bytes); ``created``:
    seconds since 1970.
    """

    name: str
    revision: str
    card: JsonObject
    manifest: dict[str, tuple[str, int]]
    created: float

    def as_dict(self) -> JsonObject:
        """JSON form, with its version and a digest over the rest."""
        value = {
            "manifest_version": VERSION,
            "name": self.name,
            "revision": self.revision,
            "card": self.card,
            "manifest": {name: list(record) for name, record in self.manifest.items()},
            "created": self.created,
        }
        return value | {"digest": atomic_files.digest_of(value)}


class Manifests:
    """The manifests of one store."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str, revision: str) -> Path:
        """Where the manifest of a model lies, or will."""
        return self.folder / revision / f"{name.replace('/', '@')}.json"

    def write(self, entry: Entry) -> None:
        """Keep a manifest, whole or not at all. Raises DoesNotFit."""
        text = json.dumps(entry.as_dict(), ensure_ascii=False, indent=1)
        atomic_files.write_atomically(self.path(entry.name, entry.revision), text + "\n")

    def remove(self, name: str, revision: str) -> None:
        """Forget a manifest; no fault where it is not there."""
        self.path(name, revision).unlink(missing_ok=True)

    def paths(self) -> Iterator[Path]:
        """Every manifest's file."""
        return iter(sorted(self.folder.glob("*/*.json")))

    def names(self) -> set[tuple[str, str]]:
        """(name, revision) of every manifest, by its file's name alone."""
        return {(path.stem.replace("@", "/"), path.parent.name) for path in self.folder.glob("*/*.json")}

    def read(self) -> tuple[list[Entry], dict[Path, str]]:
        """(the manifests that are whole, oldest first; a sentence for each file that is not one)."""
        entries, faults = list[Entry](), dict[Path, str]()
        for path in self.paths():
            try:
                entries.append(read(path))
            except DamagedStore as error:
                faults[path] = error.message
        return sorted(entries, key=lambda entry: entry.created), faults


def _check(entry: Entry, path: Path) -> None:
    """Raises ValueError, TypeError, KeyError or BadModel for what no store of ours has written, whatever its
    digest says.
    """
    if not MODEL_NAME.fullmatch(entry.name):
        raise ValueError(f"{ascii(entry.name)[:120]} cannot name a model")
    if path.parent.name != entry.revision or path.name != f"{entry.name.replace('/', '@')}.json":
        raise ValueError("it is in the wrong folder: its name or revision does not match")
    check_names(list(entry.manifest))
    if not all(is_file(digest, size) for digest, size in entry.manifest.values()):
        raise ValueError("it names a file without a sha256 and a size")
    if type(entry.created) not in (int, float) or not 0 <= entry.created <= _LATEST:
        raise ValueError("it has no valid time")
    stated(entry.card, path)


def check_writable(entry: Entry, path: Path) -> None:
    """Raises BadModel for an entry whose manifest could not be read again: a model may state anything of
    itself.
    """
    try:
        _check(entry, path)
    except ValueError as error:
        raise BadModel(f"{entry.name} cannot be stored: {error}", "ask whoever made the model") from None


def read(path: Path) -> Entry:
    """A manifest from its file. Raises DamagedStore where its bytes are not what was written."""
    try:
        if path.stat().st_size > _MOST_TEXT:
            raise ValueError(f"it is larger than {_MOST_TEXT >> 20} MB")
        value = json.loads(path.read_text(encoding="utf-8"))
        digest = value.pop("digest")
        if digest != atomic_files.digest_of(value):
            raise ValueError("its digest does not match")
        if value["manifest_version"] != VERSION:
            raise ValueError(f"it has version {value['manifest_version']!r}; version {VERSION} is read")
        manifest = {name: (record[0], record[1]) for name, record in value["manifest"].items()}
        if atomic_files.digest_of(manifest) != value["revision"]:
            raise ValueError("its files do not match its revision")
        entry = Entry(value["name"], value["revision"], value["card"], manifest, value["created"])
        _check(entry, path)
        return entry
    except (
        OSError,
        BadModel,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
    ) as error:
        raise DamagedStore(
            f"the manifest {path} is damaged ({error})",
            "freehold store repair writes it again from the catalogue",
        ) from None
