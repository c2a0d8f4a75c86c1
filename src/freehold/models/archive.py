"""A model in one file that outlives this program: a plain tar of its files, led by a list of them with their
digests.

``freehold.json`` comes first (name, revision, card, provenance, lineage, and each file's sha256 and bytes),
``SHA256SUMS`` second, in the form that ``sha256sum --check`` reads, then ``files/NAME`` in the order of their
names, and ``runtime/...`` where what runs the model was asked for (runtime.py). Owners, modes and times are
fixed, so the same revision gives the same bytes on any machine. Source: POSIX.1-2001 (pax), as Python's
tarfile writes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import BadModel, NotFound
from freehold.core.json_types import JsonObject
from freehold.core.progress import Sink, silent, task
from freehold.models.info import ModelInfo
from freehold.models.intake import Gate, admit
from freehold.models.store import Model, Store, check_name
from freehold.models.unpacking import VERSION, Hashed, unpack

#: The kind of source that a policy knows an archive by.
ORIGIN = "file"


def archive(
    store: Store, model: Model, target: Path, sink: Sink = silent, *, runtime: dict[str, Path] | None = None
) -> Path:
    """Write a model to ``target``, whole or not at all. ``runtime``: files that go beside it. Raises BadModel
    when a file in the store is damaged, DoesNotFit.
    """
    parts = [
        (f"files/{name}", store.blob(digest), digest, size)
        for name, (digest, size) in sorted(model.manifest.items())
    ]
    beside = [
        (f"runtime/{name}", path, atomic_files.sha256_file(path), path.stat().st_size)
        for name, path in sorted((runtime or {}).items())
    ]
    total = sum(size for *_, size in [*parts, *beside])
    listed: JsonObject = {
        "archive_version": VERSION,
        "name": model.name,
        "revision": model.revision,
        "card": model.info.as_dict(),
        "files": {
            name: {"sha256": digest, "bytes": size} for name, (digest, size) in sorted(model.manifest.items())
        },
    }
    if beside:
        listed["runtime"] = {
            name.removeprefix("runtime/"): {"sha256": digest, "bytes": size}
            for name, _, digest, size in beside
        }
    sums = "".join(f"{digest}  {name}\n" for name, _, digest, _ in [*parts, *beside])
    atomic_files.make_folder(target.parent)
    atomic_files.need_disk(target.parent, total, f"archiving {model.name}")
    with (
        atomic_files.replacing(target) as temporary,
        tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, text in (
            ("freehold.json", json.dumps(listed, indent=1, sort_keys=True)),
            ("SHA256SUMS", sums),
        ):
            tar.addfile(_member(name, len(text.encode())), io.BytesIO(text.encode()))
        with task(sink, f"archiving {model.name}", total, "bytes") as progress:
            for name, path, digest, size in [*parts, *beside]:
                with path.open("rb") as file:
                    reader = Hashed(file, progress)
                    tar.addfile(_member(name, size), reader)
                if reader.digest.hexdigest() != digest:
                    raise BadModel(
                        f"{name.removeprefix('files/')} of {model.name} was changed in the store",
                        "pull it again, or restore the file from a backup",
                    )
    return target


def restore(store: Store, source: Path, gate: Gate, name: str = "", sink: Sink = silent) -> Model:
    """Take an archive in, as ``name`` or under its own, looked at by ``gate`` as a model that is pulled.

    Of what the archive says of the model, only its licence, provenance and lineage are kept, as statements of
    whoever made it; everything else is read from the files. Raises BadModel for an archive that is damaged,
    unsafe or not true to its list, PolicyDenied where the policy says no; then nothing is kept.
    """
    if not source.is_file():
        raise NotFound(f"there is no file {source}", "give an archive that 'freehold archive' wrote")
    if name:
        check_name(name)
    landing = store.incoming / f"restore-{hashlib.sha256(str(source.absolute()).encode()).hexdigest()[:16]}"
    with (
        atomic_files.locked(store.incoming / f"{landing.name}.lock", f"restoring {source.name}"),
        atomic_files.disk_full_explained(landing),
    ):
        atomic_files.make_folder(landing)
        try:
            listed, files = unpack(source, landing, sink)
            subject = f"{ORIGIN}:{source}"
            card = listed.card
            admitted = admit(
                files, gate, source=subject, licence=card.licence, licence_from=card.licence_from
            )
            listed.check_revision(source)
            base = None
            if card.format == "adapter":
                base = _base_card(store, card, gate, landing)
            else:
                gate.try_out(files, landing)
            return store.add(
                name or listed.name,
                admitted,
                card.provenance,
                licence=card.licence,
                licence_from=card.licence_from,
                lineage=card.lineage,
                move=True,
                base=base,
                sink=sink,
            )
        finally:
            shutil.rmtree(landing, ignore_errors=True)


def _base_card(store: Store, card: ModelInfo, gate: Gate, landing: Path) -> ModelInfo:
    """What an adapter takes over from its base: from the stored model where it is here, else as the archive
    says, looked at.
    """
    step = card.lineage.base
    base = store.input_of(step) if step is not None else None
    if base is not None:
        return base.info
    if card.chat_template is not None:
        template = landing / "chat_template.jinja"
        template.write_text(card.chat_template)
        gate.dangers({template.name: template})
    return card


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info
