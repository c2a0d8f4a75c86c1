"""Reading an archive that somebody else may have made: nothing in it is trusted, and nothing is written where
it says.

Each file must be in the archive's list, come once, be an ordinary file of the size listed, and match its
sha256. Files are written under numbers into a folder that the caller names. What the list says of the model
is checked for its form.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from freehold.core import atomic_files, strict_json
from freehold.core.errors import BadModel
from freehold.core.json_types import JsonObject
from freehold.core.progress import Sink, Task, task
from freehold.models.info import ModelInfo
from freehold.models.intake import check_names

VERSION = 1
#: Bytes of a list of files, and of a member's further headers: ours are never longer.
_MOST_LIST, _MOST_HEADER = 64 << 20, 1 << 20
_MOST_FILES, _MOST_BYTES = 100_000, 1 << 50
#: What an archive may say of a model's history: bytes as JSON, how deep it is nested, and characters of a
#: licence.
_MOST_STATED, _MOST_DEPTH, _MOST_LICENCE = 4 << 20, 32, 2_000
_BLOCK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ASK = "do not use this archive; ask whoever made it"
_LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass(frozen=True)
class Listed:
    """What an archive says it holds. ``files``: name -> (sha256, bytes); ``beside``: names of files that run
    the model.
    """

    name: str
    revision: str
    card: ModelInfo
    files: dict[str, tuple[str, int]]
    beside: frozenset[str]

    def check_revision(self, source: Path) -> None:
        """Raises BadModel where the listed files are not those of the revision that the archive names."""
        holds = atomic_files.digest_of(self.files)
        if holds != self.revision:
            raise BadModel(
                f"{source.name} names the revision {self.revision[:12]} and holds {holds[:12]}",
                "copy it again",
            )


class Hashed(io.RawIOBase):
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


class _Member(tarfile.TarInfo):
    """A member whose own further headers have a bound: tarfile reads them into memory whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """See :class:`tarfile.TarInfo`. Raises tarfile.ReadError."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _LONG_HEADERS and member.size > _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {member.size:,} bytes")
        return member


def unpack(source: Path, folder: Path, sink: Sink) -> tuple[Listed, dict[str, Path]]:
    """What the archive lists, and its files by name, in ``folder``. Raises BadModel, DoesNotFit."""
    try:
        with (
            source.open("rb") as file,
            tarfile.open(fileobj=file, mode="r|", tarinfo=_Member) as tar,
        ):
            listed = _read_list(tar, source)
            return listed, _files(tar, source, listed, folder, sink)
    except (
        tarfile.TarError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        EOFError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BadModel(
            f"{source.name} is not a Freehold archive, or is damaged ({type(error).__name__}: "
            f"{str(error)[:200]})",
            "copy it again",
        ) from None


def _read_list(tar: tarfile.TarFile, source: Path) -> Listed:
    first = tar.next()
    if first is None or first.name != "freehold.json" or not _is_plain(first) or first.size > _MOST_LIST:
        raise BadModel(
            f"{source.name} does not begin with freehold.json",
            "give an archive that 'freehold archive' wrote",
        )
    value: JsonObject = json.loads(_opened(tar, first).read())
    if value["archive_version"] != VERSION:
        raise BadModel(
            f"{source.name} has version {value['archive_version']!r}; version {VERSION} is read",
            "update Freehold",
        )
    files = {name: _record(name, record) for name, record in value["files"].items()}
    if len(files) > _MOST_FILES:
        raise BadModel(f"{source.name} lists {len(files):,} files; at most {_MOST_FILES:,} are read", _ASK)
    try:
        check_names(list(files))
    except BadModel as error:
        raise BadModel(f"{source.name}: {error.message}", _ASK) from None
    return Listed(
        str(value["name"]),
        str(value["revision"]),
        stated(value["card"], source),
        files,
        frozenset(value.get("runtime", {})),
    )


def _record(name: str, record: JsonObject) -> tuple[str, int]:
    """(sha256, bytes) of a listed file. Raises ValueError."""
    digest, size = record["sha256"], record["bytes"]
    if not is_file(digest, size):
        raise ValueError(f"{name[:80]!r} has no valid sha256 or size")
    return digest, size


def is_file(digest: object, size: object) -> bool:
    """Whether these can be the sha256 of a file and its bytes."""
    has_digest = isinstance(digest, str) and _SHA256.fullmatch(digest) is not None
    return has_digest and type(size) is int and 0 <= size <= _MOST_BYTES


def stated(value: JsonObject, source: Path) -> ModelInfo:
    """The card that an archive or a manifest states, where it has the form of one. Raises BadModel,
    ValueError.
    """
    card = ModelInfo.from_dict(value)
    texts = (card.format, card.licence, card.licence_from, card.architecture, card.quantization)
    numbers = (
        card.parameters,
        card.context_length,
        card.size_bytes,
        card.layers,
        card.hidden,
        card.kv_width,
        card.vocabulary,
    )
    if not all(isinstance(text, str) and len(text) <= _MOST_LICENCE for text in texts):
        raise ValueError("a text in its card is too long, or is not text")
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
        raise ValueError("a number in its card is not a whole number, or is too large")
    if not (card.chat_template is None or isinstance(card.chat_template, str)):
        raise ValueError("the chat template in its card is not text")
    if not isinstance(card.provenance, dict):
        raise ValueError("its provenance has the wrong form")
    history = [card.provenance, card.lineage.as_list()]
    if len(json.dumps(history)) > _MOST_STATED or strict_json.depth(history, _MOST_DEPTH) > _MOST_DEPTH:
        raise BadModel(f"the history that {source.name} states is too long or nested too deeply", _ASK)
    return card


def _files(tar: tarfile.TarFile, source: Path, listed: Listed, folder: Path, sink: Sink) -> dict[str, Path]:
    """The files of an archive's list, each checked and written under a number."""
    total = sum(size for _, size in listed.files.values())
    atomic_files.need_disk(folder, total, f"restoring {source.name}")
    files: dict[str, Path] = {}
    with task(sink, f"restoring {source.name}", total, "bytes") as progress:
        while (member := tar.next()) is not None:
            if _is_beside(member, listed):
                continue
            kind, _, name = member.name.partition("/")
            digest, size = listed.files.get(name, ("", -1)) if kind == "files" else ("", -1)
            if not _is_plain(member) or member.size != size or name in files:
                raise BadModel(
                    f"{source.name} holds {member.name[:120]!r}, which does not match its list", _ASK
                )
            path = folder / str(len(files))
            if _written(_opened(tar, member), path, progress) != digest:
                raise BadModel(
                    f"{name} in {source.name} was changed: its bytes do not match its sha256 {digest[:12]}",
                    "copy it again",
                )
            files[name] = path
    missing = listed.files.keys() - files.keys()
    if missing:
        raise BadModel(f"{source.name} lacks {min(missing)!r}", "copy it again")
    return files


def _is_beside(member: tarfile.TarInfo, listed: Listed) -> bool:
    """Whether a member is passed over: the sums, and what runs the model where Freehold is not."""
    runtime = member.name.startswith("runtime/") and member.name.removeprefix("runtime/") in listed.beside
    return _is_plain(member) and (member.name == "SHA256SUMS" or runtime)


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether a member is an ordinary file; a sparse one would write bytes that the archive does not hold."""
    return member.isfile() and not member.issparse()


def _written(member: IO[bytes], path: Path, progress: Task) -> str:
    """The sha256 of a member written to ``path``."""
    reader = Hashed(member, progress)
    with path.open("wb") as file:
        while block := reader.read(_BLOCK):
            file.write(block)
    return reader.digest.hexdigest()


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None  # it is a plain file
    return file
