"""How bytes come and go over HTTP: parts of a file by Range, and uploads that are checked while they come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from freehold.core import atomic_files
from freehold.core.errors import DoesNotFit
from freehold.servers.hub.api_error import ApiError


@dataclass(frozen=True)
class ByteRange:
    """The bytes of a file that a request asks for."""

    start: int
    #: exclusive
    end: int
    #: bytes of the whole file
    size: int
    #: whether a Range header asked for them
    partial: bool

    @property
    def status(self) -> int:
        """The HTTP status of an answer with these bytes."""
        return 206 if self.partial else 200

    @property
    def headers(self) -> dict[str, str]:
        """The headers that state the range; no Content-Range for a whole file."""
        stated = {"Content-Range": f"bytes {self.start}-{self.end - 1}/{self.size}"} if self.partial else {}
        return stated | {"Content-Length": str(self.end - self.start)}


def requested_range(request: Request, size: int) -> ByteRange:
    """The range that a request asks for; the whole file for none or several. Raises ApiError 416."""
    whole = ByteRange(0, size, size, partial=False)
    unit, _, text = request.headers.get("range", "").partition("=")
    if unit.strip().lower() != "bytes" or "," in text:
        return whole
    first, dash, last = text.strip().partition("-")
    if not dash:
        return whole
    try:
        if first:
            start, end = int(first), int(last) + 1 if last else size
        else:
            start, end = max(0, size - int(last)), size
    except ValueError:
        return whole
    if start >= size or start < 0 or end <= start:
        message = f"bytes {text[:40]} are outside the file's {size} bytes"
        raise ApiError(416, message, headers={"Content-Range": f"bytes */{size}"})
    return ByteRange(start, min(end, size), size, partial=True)


async def receive(request: Request, target: Path, limit: int) -> None:
    """Write a request's body to a file; more than ``limit`` bytes or a broken connection leave nothing.

    Raises ApiError.
    """
    announced = int(request.headers.get("content-length") or 0)
    if announced > limit:
        raise ApiError(413, f"the body has {announced} bytes; at most {limit} are expected")
    try:
        await run_in_threadpool(atomic_files.need_disk, target.parent, announced, "the upload")
    except DoesNotFit as error:
        raise ApiError(507, str(error)) from None
    try:
        written = await _write(request, target, limit)
        if announced and written != announced:
            raise ApiError(400, f"{announced} bytes were announced and {written} arrived")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


async def _write(request: Request, target: Path, limit: int) -> int:
    """The number of bytes written."""
    written = 0
    with target.open("wb") as file, atomic_files.disk_full_explained(target):
        async for block in request.stream():
            written += len(block)
            if written > limit:
                raise ApiError(413, f"the body has more than {limit} bytes")
            await run_in_threadpool(file.write, block)
    return written
