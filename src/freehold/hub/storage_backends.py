"""Where contents lie: a folder of this machine, or a bucket of an S3 server.

A shelf keeps bytes under names that are digests of them. It checks nothing: what is put on it was checked
before. Source for buckets: the Amazon S3 API as boto3 speaks it, whose own settings (AWS_ENDPOINT_URL_S3,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION) say where and as whom.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from freehold.core import atomic_files, settings
from freehold.core.errors import FreeholdError, MissingPart, NotFound, UsageError

_BLOCK = 1 << 20


class Away(FreeholdError):
    """The place where contents lie does not answer."""


class StorageBackend(Protocol):
    """Bytes by name."""

    def size(self, name: str) -> int | None:
        """Bytes of an entry; None for one that is not here."""
        ...

    def take(self, name: str, temporary: Path) -> None:
        """Move a file here, whole or not at all."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a small entry, whole or not at all."""
        ...

    def read(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes ``start`` to ``end`` (exclusive) in blocks of at most a megabyte. Raises NotFound."""
        ...

    def renew(self, name: str) -> None:
        """Let a collection take an entry for a new one. Raises FileNotFoundError where a folder has none."""
        ...

    def path(self, name: str) -> Path | None:
        """Where an entry lies on this machine's disk; None where it does not."""
        ...

    def set_aside(self, name: str, damaged: Path) -> None:
        """Move a damaged entry into the folder ``damaged`` of this machine, so that another can take its
        place.
        """
        ...

    def collect(self, needed: Callable[[str], bool], oldest: float) -> tuple[int, int]:
        """Remove entries that are not needed and were put or renewed before ``oldest`` (seconds since 1970);
        (how many, bytes).
        """
        ...


def blocks_of(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Bytes ``start`` to ``end`` (exclusive) of a file in blocks of a megabyte."""
    with path.open("rb") as file:
        file.seek(start)
        left = end - start
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            left -= len(block)
            yield block


class Folder:
    """A folder with one below it for each first two digits."""

    def __init__(self, folder: Path):
        self.folder = folder
        atomic_files.make_folder(folder)

    def _place(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def size(self, name: str) -> int | None:
        """See :class:`StorageBackend`."""
        try:
            return self._place(name).stat().st_size
        except FileNotFoundError:
            return None

    def take(self, name: str, temporary: Path) -> None:
        """See :class:`StorageBackend`."""
        with atomic_files.replacing(self._place(name)) as target:
            temporary.replace(target)

    def put(self, name: str, data: bytes) -> None:
        """See :class:`StorageBackend`."""
        atomic_files.write_atomically(self._place(name), data)

    def read(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """See :class:`StorageBackend`."""
        if self.size(name) is None:
            raise NotFound(f"the content {name[:12]} is not here", "upload it first")
        return blocks_of(self._place(name), start, end)

    def renew(self, name: str) -> None:
        """See :class:`StorageBackend`."""
        os.utime(self._place(name))

    def path(self, name: str) -> Path | None:
        """See :class:`StorageBackend`."""
        file = self._place(name)
        return file if file.exists() else None

    def set_aside(self, name: str, damaged: Path) -> None:
        """See :class:`StorageBackend`."""
        atomic_files.make_folder(damaged)
        os.replace(self._place(name), damaged / f"{name}-{time.time_ns()}")

    def collect(self, needed: Callable[[str], bool], oldest: float) -> tuple[int, int]:
        """See :class:`StorageBackend`."""
        others = [path for path in self.folder.rglob("*") if path.is_file() and not needed(path.name)]
        gone, freed = atomic_files.unlink_older(others, oldest)
        return len(gone), freed


class Bucket:
    """Objects named ``PREFIX/AREA/ab/NAME``. S3 has no touch: a renewed entry has an empty object of its name
    under ``renewed/``.
    """

    def __init__(self, client: Any, bucket: str, prefix: str):
        self.client, self.bucket, self.prefix = client, bucket, prefix

    def _key(self, name: str) -> str:
        return f"{self.prefix}{name[:2]}/{name}"

    def _renewal(self, name: str) -> str:
        return f"{self.prefix}renewed/{name}"

    def size(self, name: str) -> int | None:
        """See :class:`StorageBackend`. Raises Away."""
        with self._explained():
            try:
                return int(self.client.head_object(Bucket=self.bucket, Key=self._key(name))["ContentLength"])
            except self.client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return None
                raise

    def take(self, name: str, temporary: Path) -> None:
        """See :class:`StorageBackend`. Raises Away."""
        with self._explained():
            self.client.upload_file(str(temporary), self.bucket, self._key(name))
        temporary.unlink()

    def put(self, name: str, data: bytes) -> None:
        """See :class:`StorageBackend`. Raises Away."""
        with self._explained():
            self.client.put_object(Bucket=self.bucket, Key=self._key(name), Body=data)

    def read(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """See :class:`StorageBackend`. Raises Away."""
        if end <= start:
            return iter(())
        with self._explained():
            try:
                body = self.client.get_object(
                    Bucket=self.bucket, Key=self._key(name), Range=f"bytes={start}-{end - 1}"
                )["Body"]
            except self.client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    raise NotFound(
                        f"the content {name[:12]} is not in the bucket", "upload it first"
                    ) from None
                raise
        return self._blocks(body)

    def _blocks(self, body: Any) -> Iterator[bytes]:
        with self._explained(), contextlib.closing(body):
            yield from body.iter_chunks(_BLOCK)

    def renew(self, name: str) -> None:
        """See :class:`StorageBackend`. Raises Away."""
        with self._explained():
            self.client.put_object(Bucket=self.bucket, Key=self._renewal(name), Body=b"")

    def path(self, name: str) -> Path | None:
        """See :class:`StorageBackend`."""
        return None

    def set_aside(self, name: str, damaged: Path) -> None:
        """See :class:`StorageBackend`. Raises Away."""
        atomic_files.make_folder(damaged)
        with self._explained():
            self.client.download_file(self.bucket, self._key(name), str(damaged / f"{name}-{time.time_ns()}"))
            self.client.delete_object(Bucket=self.bucket, Key=self._key(name))

    def collect(self, needed: Callable[[str], bool], oldest: float) -> tuple[int, int]:
        """See :class:`StorageBackend`. Raises Away."""
        renewed: dict[str, float] = {}
        stored: list[tuple[str, str, float, int]] = []
        with self._explained():
            for page in self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            ):
                for entry in page.get("Contents", []):
                    name = entry["Key"].rpartition("/")[2]
                    at = entry["LastModified"].timestamp()
                    if entry["Key"] == self._renewal(name):
                        renewed[name] = at
                    elif entry["Key"] == self._key(name):
                        stored.append((entry["Key"], name, at, int(entry["Size"])))
            gone = [
                (key, size)
                for key, name, at, size in stored
                if not needed(name) and max(at, renewed.get(name, 0.0)) < oldest
            ]
            spent = [self._renewal(name) for name, at in renewed.items() if at < oldest]
            for key in [*(key for key, _ in gone), *spent]:
                self.client.delete_object(Bucket=self.bucket, Key=key)
        return len(gone), sum(size for _, size in gone)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the client's failures into one sentence."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            cause = str(error).strip().splitlines()[0]
            raise Away(
                f"the bucket {self.bucket} cannot be used ({cause})",
                "check the server, AWS_ENDPOINT_URL_S3 and the keys",
            ) from error


def open_shelves(blobs: Path, xorbs: Path) -> tuple[StorageBackend, StorageBackend]:
    """(whole contents, xorbs) where settings say: two folders, or the bucket that FREEHOLD_BUCKET names.
    Raises UsageError, MissingPart, Away.
    """
    address = settings.bucket()
    if not address:
        return Folder(blobs), Folder(xorbs)
    match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^?#]*))?", address)
    if match is None:
        raise UsageError(
            f"FREEHOLD_BUCKET is {address!r}, which is not the address of a bucket",
            "write s3://BUCKET or s3://BUCKET/PREFIX",
        )
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError:
        raise MissingPart("S3 needs the package boto3", "pip install 'freehold[s3]'") from None
    client = boto3.client(
        "s3",
        config=Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"max_attempts": 3, "mode": "standard"},
            max_pool_connections=50,
        ),
    )
    prefix = f"{match[2].strip('/')}/" if match[2] else ""
    whole = Bucket(client, match[1], f"{prefix}blobs/")
    whole.put(
        "probe", str(time.time()).encode()
    )  # a bucket that is not there, or that may not be written, shows now
    return whole, Bucket(client, match[1], f"{prefix}xorbs/")
