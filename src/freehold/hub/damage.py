"""Damaged contents of the hub: found before they are handed on, and moved aside so that an upload brings good
ones.
"""

from __future__ import annotations

from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import BadData, BadModel, NotFound
from freehold.hub import xet
from freehold.hub.blob_store import BlobStore, Content
from freehold.models.catalogue import chunked, marks, packs

REMEDY = (
    "freehold hub check --repair moves the damaged bytes aside; then upload the file again (with "
    "HF_HUB_DISABLE_XET=1, since clients remember chunks that they sent), or mirror it again"
)


def whole_file(contents: BlobStore, digest: str, target: Path, name: str) -> Path:
    """A file with a content's bytes, checked against its digest: where it lies already, else ``target``.

    ``name``: what it is called in its repository. Raises BadModel where it is missing or damaged.
    """
    content = contents.find(digest)
    if content is None:
        raise BadModel(f"the content of {name} is missing from the hub", REMEDY)
    lies = contents.path(content)
    if lies is not None:
        whole = contents.store.checked.is_whole(digest)
        if not whole:
            contents.store.checked.set_aside(digest)
    else:
        lies = target
        atomic_files.make_folder(target.parent)
        whole = _laid(contents, content, target)
    if not whole:
        raise BadModel(
            f"the content of {name} in the hub is damaged: its bytes do not match sha256 {digest[:12]}",
            REMEDY,
        )
    return lies


def why_missing(damaged: Path, digest: str) -> str:
    """What became of a content that is not here: it is missing, or was damaged and moved aside."""
    if any(damaged.glob(f"{digest}-*")):
        return (
            f"was changed; its bytes no longer match, and were moved to {damaged}: upload or mirror its file"
            " again"
        )
    return "is missing: upload or mirror its file again"


def _laid(contents: BlobStore, content: Content, target: Path) -> bool:
    try:
        contents.lay(content, target)
    except (BadData, NotFound, ValueError, IndexError):
        return False
    return atomic_files.sha256_file(target) == content.sha256


def set_aside(contents: BlobStore, content: Content) -> str:
    """Move a damaged content's bytes out of reach, and forget it, so that it is asked for again; a sentence.

    Where only the list of a xorb's chunks is damaged, it is written again and nothing is lost.
    """
    damaged = contents.store.checked.damaged
    if not content.terms:
        shelf = contents.shelf(content.sha256)
        shelf.set_aside(content.sha256, damaged)
        return f"{content.sha256[:12]} was damaged and is moved to {damaged}; upload or mirror its file again"
    for name in dict.fromkeys(term.xorb for term in content.terms):
        _check_xorb(contents, name, damaged)
    contents.forget_indexes()
    if not contents.check(content):
        return f"{content.sha256[:12]} can be read again: the list of its chunks was rebuilt"
    with contents.store.engine.begin() as connection:
        connection.execute(chunked.delete().where(chunked.c.sha256 == content.sha256))
        for table in (marks, packs):
            connection.execute(table.delete().where(table.c.sha256 == content.sha256))
    return f"{content.sha256[:12]} had damaged chunks, which are moved to {damaged}; {_AGAIN}"


_AGAIN = "upload its file again with HF_HUB_DISABLE_XET=1, or mirror it again"


def _check_xorb(contents: BlobStore, name: str, damaged: Path) -> None:
    """Write a whole xorb's list of chunks again; move one that is not whole aside."""
    size = contents.xorbs.size(name)
    if size is None:
        return
    laid = contents.store.incoming / f"xorb-{name[:16]}"
    try:
        with laid.open("wb") as file:
            for block in contents.xorbs.read(name, 0, size):
                file.write(block)
        with laid.open("rb") as file:
            chunks = xet.index_of(file, name)
    except (BadData, ValueError):
        contents.xorbs.set_aside(name, damaged)
        if contents.xorbs.size(f"{name}.index") is not None:
            contents.xorbs.set_aside(f"{name}.index", damaged)
        return
    finally:
        laid.unlink(missing_ok=True)
    contents.xorbs.put(f"{name}.index", xet.write_index(chunks))
