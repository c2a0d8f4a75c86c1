"""Whether a store is whole: its database, its manifests, and every byte of its blobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from freehold.core import atomic_files, system_errors
from freehold.core.errors import DamagedStore
from freehold.core.progress import Sink, silent, task
from freehold.models.catalogue import FILE, faults_of_file, held
from freehold.models.manifests import Manifests
from freehold.models.store import Store, files_by_digest, remedy_of


@dataclass(frozen=True)
class Fault:
    """What is wrong with a store. ``what``: catalogue, manifest, model or blob; ``why``: a sentence;
    ``remedy``: what to do.
    """

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.why}; {self.remedy}"


_REPAIR = "freehold store repair"


def check(folder: Path, sink: Sink = silent) -> list[Fault]:
    """Everything that is wrong with the store in ``folder``; every blob is read.

    Raises Busy, FreeholdError.
    """
    try:
        store = Store(folder)
        said = faults_of_file(store.engine)[:20]
        database = [Fault("catalogue", f"{FILE} is damaged: {line}", _REPAIR) for line in said]
        return [*database, *_manifests(store), *_blobs(store, sink)]
    except Exception as error:
        known = system_errors.explain(error)
        if not isinstance(known, DamagedStore):
            raise
        return [Fault("catalogue", known.message, known.remedy), *_unreadable(folder)]


def _manifests(store: Store) -> list[Fault]:
    """Rows of the catalogue and manifests beside the blobs name the same models."""
    models = store.models()
    recorded, rows = store.manifests.names(), {(model.name, model.revision) for model in models}
    faults = _unreadable(store.folder)
    for name, revision in sorted(recorded - rows):
        faults.append(
            Fault("catalogue", f"{FILE} does not list {name}@{revision[:12]}, which has a manifest", _REPAIR)
        )
    for name, revision in sorted(rows - recorded):
        faults.append(Fault("manifest", f"{name}@{revision[:12]} has no manifest", _REPAIR))
    for model in models:
        if atomic_files.digest_of(model.manifest) != model.revision:
            why = (
                f"the files that {FILE} names for {model.name} do not match its revision"
                f" {model.revision[:12]}"
            )
            faults.append(Fault("catalogue", why, _REPAIR))
    return faults


def _unreadable(folder: Path) -> list[Fault]:
    """Manifests that are not what was written."""
    return [Fault("manifest", why, _REPAIR) for why in Manifests(folder / "manifests").read()[1].values()]


def _blobs(store: Store, sink: Sink) -> list[Fault]:
    """Every blob that a model names is here, and every blob is what its name says."""
    needed = files_by_digest(store)
    here = {path.name: path for path in store.blobs.glob("??/*") if len(path.name) == 64}
    faults = [
        Fault("model", f"{model.name}: {name} is missing from the store", remedy_of(model))
        for digest, (model, name) in needed.items()
        if digest not in here
    ]
    with store.engine.connect() as connection:
        of_hub = held(connection)
    with task(
        sink, "reading the store", sum(path.stat().st_size for path in here.values()), "bytes"
    ) as progress:
        for digest in sorted(here):
            if store.checked.is_whole(digest, again=True, on_bytes=progress.more):
                continue
            if digest in needed:
                model, name = needed[digest]
                why, way = f"{model.name}: {name} is damaged", remedy_of(model)
            elif digest in of_hub:
                why, way = f"the hub's content {digest[:12]} is damaged", "freehold hub check --repair"
            else:
                why, way = f"the blob {digest[:12]}, which nothing needs, is damaged", "freehold gc"
            faults.append(Fault("blob", f"{why}: its bytes do not match sha256 {digest[:12]}", way))
    return faults
