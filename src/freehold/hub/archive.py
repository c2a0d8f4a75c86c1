"""A model in one file that outlives this program: a plain tar of its files, led by a list of them with their digests.

``freehold.json`` comes first (name, revision, card, provenance, lineage, and each file's sha256 and bytes), ``SHA256SUMS`` second, in the
form that ``sha256sum --check`` reads, then ``files/NAME`` in the order of their names, and ``runtime/...`` where what runs the model was
asked for (runtime.py). Owners, modes and times are fixed, so the
same revision gives the same bytes on any machine. Source: POSIX.1-2001 (pax), as Python's tarfile writes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import IO, Any

from freehold import durable
from freehold.errors import BadModel, NotFound, UsageError
from freehold.hub.card import Card
from freehold.hub.names import check_path
from freehold.hub.sources import Delivery, Inspect
from freehold.hub.store import Model, Store
from freehold.progress import Sink, Task, silent, task

_VERSION = 1
#: A list of files longer than this is none of ours.
_MOST_LIST = 64 << 20
_BLOCK = 1 << 20


def archive(
    store: Store, model: Model, target: Path, sink: Sink = silent, *, runtime: dict[str, Path] | None = None
) -> Path:
    """Write a model to ``target``, whole or not at all. ``runtime``: files that go beside it. Raises BadModel when a file in the store is
    damaged, DoesNotFit."""
    parts = [
        (f"files/{name}", store.blob(digest), digest, size)
        for name, (digest, size) in sorted(model.manifest.items())
    ]
    beside = [
        (f"runtime/{name}", path, durable.sha256_file(path), path.stat().st_size)
        for name, path in sorted((runtime or {}).items())
    ]
    total = sum(size for *_, size in [*parts, *beside])
    listed: dict[str, Any] = {
        "archive_version": _VERSION, "name": model.name, "revision": model.revision, "card": model.card.as_dict(),
        "files": {name: {"sha256": digest, "bytes": size} for name, (digest, size) in sorted(model.manifest.items())},
    }  # fmt: skip
    if beside:
        listed["runtime"] = {
            name.removeprefix("runtime/"): {"sha256": digest, "bytes": size}
            for name, _, digest, size in beside
        }
    sums = "".join(f"{digest}  {name}\n" for name, _, digest, _ in [*parts, *beside])
    durable.make_folder(target.parent)
    durable.need_disk(target.parent, total, f"archiving {model.name}")
    with (
        durable.replacing(target) as temporary,
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
                    reader = _Hashed(file, progress)
                    tar.addfile(_member(name, size), reader)
                if reader.digest.hexdigest() != digest:
                    raise BadModel(
                        f"{name.removeprefix('files/')} of {model.name} was changed in the store",
                        "pull it again, or restore the file from a backup",
                    )
    return target


def restore(
    store: Store, source: Path, name: str = "", sink: Sink = silent, *, inspect: Inspect = lambda _: None
) -> Model:
    """Take an archive in, as ``name`` or under its own. ``inspect`` looks at the files before they are stored.

    Raises BadModel for an archive that is damaged or holds unsafe names, and what ``inspect`` raises; then nothing is kept.
    """
    if not source.is_file():
        raise NotFound(f"there is no file {source}", "give an archive that 'freehold archive' wrote")
    landing = store.incoming / f"restore-{hashlib.sha256(str(source.absolute()).encode()).hexdigest()[:16]}"
    with (
        durable.locked(store.incoming / f"{landing.name}.lock", f"restoring {source.name}"),
        durable.disk_full_explained(landing),
    ):
        landing.mkdir(parents=True, exist_ok=True)
        try:
            with source.open("rb") as file, tarfile.open(fileobj=file, mode="r|") as tar:
                listed, files = _unpack(tar, source, landing, sink)
            card = Card.from_dict(listed["card"])
            inspect(Delivery(files, card.provenance, card.licence, card.licence_from))
            found = store.add(
                name or str(listed["name"]), files, card.provenance, licence=card.licence, licence_from=card.licence_from, lineage=card.lineage,
                move=True, base=card if card.format == "adapter" else None, sink=sink,
            )  # fmt: skip
        except (tarfile.TarError, KeyError, TypeError, ValueError, AttributeError, EOFError) as error:
            raise BadModel(
                f"{source.name} is no archive of ours, or is damaged ({type(error).__name__}: {error})",
                "copy it again",
            ) from None
        finally:
            shutil.rmtree(landing)
    if found.revision != listed["revision"]:
        store.remove(f"{found.name}@{found.revision}")
        raise BadModel(
            f"{source.name} names the revision {str(listed['revision'])[:12]} and holds {found.revision[:12]}",
            "copy it again",
        )
    return found


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes], progress: Task):
        super().__init__()
        self.file, self.progress, self.digest = file, progress, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """See :class:`io.RawIOBase`."""
        block = self.file.read(size)
        self.digest.update(block)
        self.progress.more(len(block))
        return block


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _unpack(
    tar: tarfile.TarFile, source: Path, landing: Path, sink: Sink
) -> tuple[dict[str, Any], dict[str, Path]]:
    """The list, and the files by name; each is checked, and none is written under a name the archive chose."""
    first = tar.next()
    if first is None or first.name != "freehold.json" or not first.isfile() or first.size > _MOST_LIST:
        raise BadModel(
            f"{source.name} does not begin with freehold.json",
            "give an archive that 'freehold archive' wrote",
        )
    listed: dict[str, Any] = json.loads(_opened(tar, first).read())
    if listed["archive_version"] != _VERSION:
        raise BadModel(
            f"{source.name} has version {listed['archive_version']!r}; version {_VERSION} is read",
            "update Freehold",
        )
    for name in listed["files"]:
        try:
            check_path(name)
        except UsageError as error:
            raise BadModel(
                f"{source.name} holds a file with an unsafe name: {error.message}",
                "do not use this archive; ask whoever made it",
            ) from None
    wanted = {
        f"files/{name}": (name, str(record["sha256"]), int(record["bytes"]))
        for name, record in listed["files"].items()
    }
    beside = listed.get("runtime", {})
    total = sum(size for *_, size in wanted.values())
    durable.need_disk(landing, total, f"restoring {source.name}")
    files: dict[str, Path] = {}
    with task(sink, f"restoring {source.name}", total, "bytes") as progress:
        while (member := tar.next()) is not None:
            if member.name == "SHA256SUMS" and member.isfile():
                continue
            if (
                member.isfile()
                and member.name.removeprefix("runtime/") in beside
                and member.name.startswith("runtime/")
            ):
                continue  # it runs the model where Freehold is not; here Freehold does
            name, digest, size = wanted.get(member.name, ("", "", -1))
            if not member.isfile() or member.size != size or name in files:
                raise BadModel(
                    f"{source.name} holds {member.name[:120]!r}, which its list does not have so",
                    "copy it again",
                )
            path = landing / str(len(files))
            reader = _Hashed(_opened(tar, member), progress)
            with path.open("wb") as file:
                while block := reader.read(_BLOCK):
                    file.write(block)
            if reader.digest.hexdigest() != digest:
                raise BadModel(
                    f"{name} in {source.name} was changed: its bytes do not match its sha256 {digest[:12]}",
                    "copy it again",
                )
            files[name] = path
    missing = wanted.keys() - {f"files/{name}" for name in files}
    if missing:
        raise BadModel(f"{source.name} lacks {min(missing).removeprefix('files/')!r}", "copy it again")
    return listed, files


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None  # it is a plain file
    return file
