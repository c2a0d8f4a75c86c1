"""A store made usable again: a damaged catalogue from its readable rows and the manifests, damaged blobs out
of the way.

Nothing is thrown away: a damaged database and damaged blobs are moved to ``damaged/``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freehold.core import atomic_files, system_errors
from freehold.core.errors import BadModel, DamagedStore, Unsupported
from freehold.core.progress import Sink, silent, task
from freehold.hub import repository_checks
from freehold.hub.repositories import Repositories
from freehold.models import catalogue
from freehold.models.formats import gguf
from freehold.models.info import read_info
from freehold.models.manifests import Entry, Manifests
from freehold.models.store import Store, entry_of, files_by_digest, remedy_of

#: The file of the catalogue and what SQLite keeps beside it.
_FILES = (catalogue.FILE, f"{catalogue.FILE}-wal", f"{catalogue.FILE}-shm")
#: Tables of what search knows, which is rebuilt from the others.
_DERIVED = ("documents", "kinds", "tag_counts", "steps", "name_words")
#: A character that cannot stand in a model's name.
_STRANGE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass
class Repaired:
    """What a repair did and what it could not do, a sentence each."""

    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def repair(folder: Path, sink: Sink = silent) -> Repaired:
    """Make the store in ``folder`` usable. Raises Busy where another process is repairing it, DoesNotFit on a
    full disk.
    """
    report = Repaired()
    with atomic_files.locked(folder / ".repair.lock", "repairing the store"):
        why = damage(folder)
        if why:
            _rebuild(folder, why, report)
        strange = _move_manifests(folder, report)
        store = Store(folder)
        _add_entries(store, report)
        _fill_manifests(store, report)
        if why:
            report.done.extend(repository_checks.repair(Repositories(store)))
        if why or strange:
            _name_by_headers(store, report)
            _tell_unnamed(store, report)
        _move_damaged(store, report, sink)
    return report


def _move_manifests(folder: Path, report: Repaired) -> bool:
    """Move manifests that are damaged aside; whether there were any."""
    _, strange = Manifests(folder / "manifests").read()
    for path, why in strange.items():
        aside = folder / "damaged" / f"{path.parent.name}-{path.name}-{time.time_ns()}"
        atomic_files.make_folder(aside.parent)
        os.replace(path, aside)
        report.done.append(f"{why}; it is moved to {aside}")
    return bool(strange)


def damage(folder: Path) -> str:
    """Why the SQLite catalogue in ``folder`` has to be rebuilt; nothing where it can be used. Raises Busy,
    FreeholdError.
    """
    try:
        store = Store(folder)
        if store.engine.dialect.name == "sqlite":
            said = catalogue.faults_of_file(store.engine)
            for table in catalogue.metadata.sorted_tables:
                _read_all(store.engine, table)
            store.engine.dispose()
            return said[0] if said else ""
    except Exception as error:
        known = system_errors.explain(error)
        if not isinstance(known, DamagedStore):
            raise
        return known.message
    return ""


def _read_all(engine: sa.Engine, table: sa.Table) -> None:
    with engine.connect() as connection:
        try:
            for _ in connection.execute(sa.select(table)):
                pass
        except (ValueError, TypeError) as error:
            raise DamagedStore(f"a row of the table {table.name} cannot be read ({error})") from None


def _rebuild(folder: Path, why: str, report: Repaired) -> None:
    """Move the damaged database aside and make a new one of its readable rows."""
    aside = folder / "damaged" / f"catalogue-{time.time_ns()}"
    atomic_files.make_folder(aside)
    for name in _FILES:
        if (folder / name).exists():
            os.replace(folder / name, aside / name)
    engine = catalogue.open_catalogue(folder)
    report.done.append(f"the catalogue was rebuilt, because {why}")
    if (aside / catalogue.FILE).exists():
        report.done.append(f"the damaged one is kept in {aside}")
        _salvage(aside / catalogue.FILE, engine, report)
    engine.dispose()


def _add_entries(store: Store, report: Repaired) -> None:
    """Rows of the table of models for manifests that have none."""
    entries, _ = store.manifests.read()
    with store.engine.begin() as connection:
        rows = {(row.name, row.revision) for row in connection.execute(sa.select(catalogue.models))}
        for entry in entries:
            if (entry.name, entry.revision) not in rows:
                connection.execute(catalogue.models.insert().values(**vars(entry)))
                report.done.append(f"{entry.name}@{entry.revision[:12]} was restored from its manifest")


def _salvage(file: Path, engine: sa.Engine, report: Repaired) -> None:
    """Copy what can be read of a damaged database into a new one."""
    with contextlib.closing(sqlite3.connect(file)) as old:
        old.text_factory = bytes
        for table in catalogue.metadata.sorted_tables:
            if table.name in _DERIVED:
                continue
            rows, whole = _readable(old, table)
            with engine.begin() as connection:
                for row in rows:
                    statement = catalogue.upsert(connection, table).values(**row)
                    connection.execute(statement.on_conflict_do_nothing())
            if rows:
                report.done.append(
                    f"{len(rows)} rows of {table.name} were read{'' if whole else ', not all of them'}"
                )
            if not whole and not rows:
                report.done.append(f"nothing of {table.name} could be read")


def _readable(old: sqlite3.Connection, table: sa.Table) -> tuple[list[dict[str, Any]], bool]:
    """(the rows of a table that can be read, whether those are all)."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    rows, whole = list[dict[str, Any]](), True
    try:
        for values in old.execute(f'SELECT {names} FROM "{table.name}"'):
            try:
                rows.append(
                    {
                        column.name: _python_value(column, value)
                        for column, value in zip(table.columns, values, strict=True)
                    }
                )
            except (ValueError, TypeError):
                whole = False
    except sqlite3.DatabaseError:
        whole = False
    return rows, whole


def _python_value(column: sa.Column[Any], value: Any) -> Any:
    """A value of SQLite as its column takes it. Raises ValueError for bytes that are none."""
    if value is None or isinstance(column.type, sa.LargeBinary):
        return value
    text = value.decode() if isinstance(value, bytes) else value
    if isinstance(column.type, sa.JSON):
        return json.loads(text)
    if isinstance(column.type, sa.Boolean):
        return bool(text)
    return column.type.python_type(text)


def _fill_manifests(store: Store, report: Repaired) -> None:
    """A manifest for each row that has none, or whose own is damaged."""
    whole = {(entry.name, entry.revision) for entry in store.manifests.read()[0]}
    for model in store.models():
        if (model.name, model.revision) in whole:
            continue
        if atomic_files.digest_of(model.manifest) != model.revision:
            report.left.append(
                f"{model.name}@{model.revision[:12]} does not match its revision: {remedy_of(model)}"
            )
            continue
        store.manifests.write(entry_of(model))
        report.done.append(f"the manifest of {model.name}@{model.revision[:12]} was written")


def _named(store: Store) -> set[str]:
    """Digests that a model or a repository names."""
    with store.engine.connect() as connection:
        return catalogue.held(connection) | files_by_digest(store).keys()


def _name_by_headers(store: Store, report: Repaired) -> None:
    """Names for GGUF files among the blobs that nothing names, by what their headers say."""
    named = _named(store)
    for path in sorted(store.blobs.glob("??/*")):
        entry = None if path.name in named else _from_header(path)
        if entry is not None and store.checked.is_whole(path.name):
            store.keep(entry)
            report.done.append(f"{entry.name} was named after its header; its source is no longer known")


def _tell_unnamed(store: Store, report: Repaired) -> None:
    """Say which blobs nothing names: with a lost catalogue they may be what a hub's repositories hold."""
    named = _named(store)
    left = [path for path in store.blobs.glob("??/*") if path.name not in named]
    if left:
        report.left.append(
            f"{len(left)} files in {store.blobs} are named by no model and no repository, and 'freehold gc' "
            "would remove "
            f"them; what a hub held is in {catalogue.FILE} alone, so put a backup of it back first if there "
            "is one"
        )


def _from_header(path: Path) -> Entry | None:
    """An entry for a GGUF blob without a manifest; None for other blobs."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            return None
    try:
        header = gguf.read_header(path)
        card = read_info({"model.gguf": path})
    except (BadModel, Unsupported):
        return None
    stated = str(header.fields.get("general.name", "") or card.architecture)
    plain = _STRANGE.sub("-", stated).strip("-._")[:60] or "model"
    manifest = {"model.gguf": (path.name, path.stat().st_size)}
    values = card.as_dict() | {"provenance": {"source": "store repair"}}
    name = f"recovered/{plain}-{path.name[:8]}"
    return Entry(name, atomic_files.digest_of(manifest), values, manifest, time.time())


def _move_damaged(store: Store, report: Repaired, sink: Sink) -> None:
    """Read every blob that a model names; a damaged one is moved aside, and how it comes back is said."""
    needed = files_by_digest(store)
    total = sum(store.blob(digest).stat().st_size for digest in needed if store.blob(digest).exists())
    with task(sink, "reading the store", total, "bytes") as progress:
        for digest, (model, name) in needed.items():
            try:
                if store.checked.is_whole(digest, again=True, on_bytes=progress.more):
                    continue
                aside = store.checked.set_aside(digest)
                why = f"{model.name}: {name} was damaged and is moved to {aside}"
            except FileNotFoundError:
                why = f"{model.name}: {name} is missing"
            report.left.append(f"{why}; {remedy_of(model)}")
