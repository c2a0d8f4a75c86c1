"""What a node of a cluster does with the files of a job: it keeps them by digest until the end.

Every function here runs on the node, in a process of Ray. A job's files are in ``cluster/JOB`` of the node's
own home: ``blobs`` by sha256, and ``folders`` made of them. A blob that the node's store holds is not sent.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from freehold.core import atomic_files, machine, settings
from freehold.core.errors import BadData
from freehold.core.machine import Machine

#: Bytes that are sent at once.
CHUNK_BYTES = 16 << 20
#: Folder of the home that jobs of a cluster are in.
FOLDER = "cluster"


@dataclass(frozen=True)
class Facts:
    """What a node says of itself."""

    #: its name in the network
    host: str
    #: version of Freehold
    version: str
    machine: Machine


@dataclass(frozen=True)
class SentFile:
    """Digest and bytes of a file."""

    sha256: str
    size_bytes: int


#: Files of a folder by their names, which may hold slashes.
Files = dict[str, SentFile]


def version() -> str:
    """The version of Freehold that is installed here."""
    return importlib.metadata.version("freehold")


def facts() -> Facts:
    """The name of this machine, its version of Freehold, processor and memory."""
    settings.go_quiet()
    return Facts(socket.gethostname(), version(), machine.look())


def job_folder(job: str) -> Path:
    """Where a job's files are on this node."""
    settings.guard_process()
    return settings.home() / FOLDER / job


def _blob(job: str, sha256: str) -> Path:
    return job_folder(job) / "blobs" / sha256


def missing(job: str, files: list[SentFile]) -> list[str]:
    """Digests of those files that this node does not have, neither in the job's folder nor in its store."""
    return sorted(
        {f.sha256 for f in files if not _blob(job, f.sha256).exists() and not _from_store(job, f.sha256)}
    )


def _from_store(job: str, sha256: str) -> bool:
    """Link a whole blob of this node's own store into the job; whether there was one."""
    stored = settings.home() / "blobs" / sha256[:2] / sha256
    if not stored.exists() or atomic_files.sha256_file(stored) != sha256:
        return False
    target = _blob(job, sha256)
    atomic_files.make_folder(target.parent)
    target.unlink(missing_ok=True)
    target.symlink_to(stored)
    return True


def receive(job: str, sha256: str, offset: int, data: bytes) -> None:
    """Write a piece of a file where it belongs; pieces may come twice, after a node or a driver has died."""
    target = _arriving(job, sha256)
    atomic_files.make_folder(target.parent)
    descriptor = os.open(target, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)


def _arriving(job: str, sha256: str) -> Path:
    return job_folder(job) / "arriving" / sha256


def accept(job: str, file: SentFile) -> None:
    """Keep a file whose pieces are all there. Raises BadData where its bytes are not those of its digest."""
    arrived, target = _arriving(job, file.sha256), _blob(job, file.sha256)
    os.truncate(arrived, file.size_bytes)
    if atomic_files.sha256_file(arrived) != file.sha256:
        arrived.unlink()
        raise BadData(
            f"{socket.gethostname()}: a file arrived damaged (sha256 {file.sha256[:12]})",
            "run the same command again; finished steps are kept",
        )
    atomic_files.make_folder(target.parent)
    arrived.rename(target)


def lay_out(job: str, name: str, files: Files, *, copied: bool = False) -> Path:
    """A folder of the job with these files. ``copied``: they may be written to; else they are links."""
    folder = job_folder(job) / "folders" / name
    atomic_files.make_folder(folder)
    for path, file in files.items():
        target, blob = folder / path, _blob(job, file.sha256)
        atomic_files.make_folder(target.parent)
        target.unlink(missing_ok=True)
        if copied:
            shutil.copyfile(blob, target)
        else:
            target.symlink_to(blob)
    return folder


def collect(job: str, folder: Path) -> Files:
    """What a folder holds; its files become blobs of the job, so that a later step here needs no copy."""
    files: Files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        file = SentFile(atomic_files.sha256_file(path), path.stat().st_size)
        files[path.relative_to(folder).as_posix()] = file
        target = _blob(job, file.sha256)
        if not target.exists():
            atomic_files.make_folder(target.parent)
            path.rename(target)
    shutil.rmtree(folder)
    return files


def send(job: str, sha256: str, offset: int) -> bytes:
    """A piece of a blob of the job."""
    with _blob(job, sha256).open("rb") as file:
        file.seek(offset)
        return file.read(CHUNK_BYTES)


def forget(job: str) -> None:
    """Remove the job's files from this node. Raises OSError where the system does not let it."""
    if job_folder(job).exists():
        shutil.rmtree(job_folder(job))
