"""Copies of repositories of other hubs, kept up to date: the same files bit by bit, under the same or another
name.

Every file is checked against what the other hub says of it: its sha256 where it is kept as LFS or Xet, git's
object id otherwise. What is here already and open to everyone, or in the copy itself, is not fetched: another
hub that knows the digest of a file which is private here does not get it into a copy that others may read.
The other hub's commit id works as a revision of the copy.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from freehold.core import atomic_files
from freehold.core.errors import BadData, Conflict, NotFound
from freehold.core.progress import Sink, silent, task
from freehold.hub import client
from freehold.hub.client import Address
from freehold.hub.commits import Change, Commit, File, Repository, git_oid, lfs_file
from freehold.hub.permissions import Permissions
from freehold.hub.repositories import Repositories
from freehold.hub.signed_links import NOBODY
from freehold.hub.uploads import Uploads
from freehold.hub.users import KEEPER, Users
from freehold.models import catalogue as tables
from freehold.models.names import check_path
from freehold.models.store import Store

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: Files that are not LFS are held in memory while they are checked; a hub keeps larger ones as LFS.
_SMALL = 64 << 20
#: Bytes by which an answer may exceed a file: what a server packs and describes.
_SLACK = 1 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Mirror:
    """A copy: the repository here, where it comes from, and the other hub's commit that it stands at. Seconds
    since 1970.
    """

    kind: str
    name: str
    source: Address
    commit: str
    at: float


@dataclass(frozen=True)
class Mirrored:
    """What a run did. ``fetched``: bytes that came over the network; ``held``: bytes of the whole state."""

    mirror: Mirror
    changed: bool
    files: int
    fetched: int
    held: int


def mirrors(store: Store, repository: int | None = None) -> list[Mirror]:
    """Every copy by name, or that of one repository."""
    table, rows = tables.mirrors, tables.repositories
    asked = (
        sa.select(table, rows.c.kind, rows.c.name)
        .join(rows, rows.c.id == table.c.repository)
        .order_by(rows.c.name, rows.c.kind)
    )
    with store.engine.connect() as connection:
        found = connection.execute(
            asked if repository is None else asked.where(table.c.repository == repository)
        ).all()
    return [_mirror(row) for row in found]


def mirror(
    repositories: Repositories, source: Address, name: str = "", *, token: str = "", sink: Sink = silent
) -> Mirrored:
    """Bring the copy of ``source`` up to date, or make it, as ``name`` or under the source's own.

    Raises NotFound when the other hub or the repository cannot be reached, Conflict when the name is taken by
    a repository that is no copy of it, BadData when a file is not what the other hub says of it, DoesNotFit.
    The copy then stands where it stood, and what was fetched whole is not fetched again.
    """
    store, name = repositories.store, name or source.name
    landing = (
        store.incoming / f"mirror-{atomic_files.digest_of([source.endpoint, source.kind, source.name])[:16]}"
    )
    with (
        atomic_files.locked(store.incoming / f"{landing.name}.lock", f"mirroring {source}"),
        atomic_files.disk_full_explained(landing),
    ):
        atomic_files.make_folder(landing)
        api = client.client(source.endpoint, token)
        with client.explained(str(source)):
            told: Any = api.repo_info(
                source.name, repo_type=source.kind, revision=source.revision or None, files_metadata=True
            )
        _check_commit(source, told.sha)
        found, known = _copy(repositories, source, name, private=bool(told.private))
        before = repositories.commit(found, "main")
        if (
            known is not None
            and known.commit == told.sha
            and _stands(repositories, found, told.sha) == before.id
            and all(repositories.contents.find(file.sha256) is not None for file in before.files.values())
        ):
            return Mirrored(known, False, 0, 0, sum(file.size for file in before.files.values()))
        wanted, missing = _compare(repositories, found, source, told.siblings or [], before)
        total = sum(one.size or 0 for one in missing)
        atomic_files.need_disk(store.folder, total, f"mirroring {source}")
        with task(sink, f"mirroring {source}", total, "bytes") as progress:
            arrived = 0
            for one in missing:
                with client.watched(landing, progress, arrived):
                    path = _downloaded(api, source, one, str(told.sha), landing)
                wanted[one.rfilename] = _taken(repositories, found, source, one, path)
                arrived += wanted[one.rfilename].size
                progress.at(arrived, one.rfilename)
        put = {path: file for path, file in wanted.items() if before.files.get(path) != file}
        gone = sorted(before.files.keys() - wanted.keys())
        commit = before
        if put or gone:
            change = Change(
                f"Mirror {source} at {str(told.sha)[:12]}", parent=before.id, put=put, removed=gone
            )
            commit = repositories.apply(found, "main", change, KEEPER)
        made = Mirror(found.kind, found.name, source, str(told.sha), time.time())
        _remember(repositories, found, made, commit)
        Users(store).record(KEEPER, "mirror", f"{found.kind}s/{found.name}", f"{source} at {told.sha}")
        shutil.rmtree(landing)
    return Mirrored(made, bool(put or gone), len(missing), total, sum(file.size for file in wanted.values()))


def _downloaded(api: HfApi, source: Address, sibling: Any, commit: str, folder: Path) -> Path:
    """A file of the other hub, fetched into ``folder``; no more bytes than it is said to have are taken."""
    from freehold.core import net

    # where the size is not told, that of a file which is no LFS file
    size = sibling.size if isinstance(sibling.size, int) else _SMALL
    with client.explained(f"{sibling.rfilename} of {source}"), net.at_most(size + _SLACK):
        return Path(
            api.hf_hub_download(
                source.name, sibling.rfilename, repo_type=source.kind, revision=commit, local_dir=folder
            )
        )


def _check_commit(source: Address, commit: object) -> None:
    """Raises BadData for what is no commit's name: it becomes a revision of the copy, and could stand for a
    tag.
    """
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise BadData(
            f"{source} states no valid commit ({str(commit)[:40]!r})",
            "mirror from a hub of the Hugging Face protocol",
        )


def _copy(
    repositories: Repositories, source: Address, name: str, *, private: bool
) -> tuple[Repository, Mirror | None]:
    """The repository that is the copy, made where there is none. Raises Conflict."""
    try:
        found = repositories.find(source.kind, name)
    except NotFound:
        return repositories.create(source.kind, name, private=private, owner=KEEPER), None
    known = next(iter(mirrors(repositories.store, found.id)), None)
    with repositories.engine.connect() as connection:
        first = connection.execute(
            sa.select(sa.func.count()).where(tables.commits.c.repository == found.id)
        ).scalar()
    if known is None:
        if first == 1 and list(repositories.commit(found, "main").files) == [".gitattributes"]:
            return found, None  # made by a run that was killed, or by hand for this purpose: nothing is lost
        raise Conflict(
            f"{found.name} is a repository of its own here, not a copy of {source}",
            "choose another name with --as",
        )
    if (known.source.endpoint, known.source.name) != (source.endpoint, source.name):
        raise Conflict(
            f"{found.name} is a copy of {known.source}, not of {source}", "choose another name with --as"
        )
    return found, known


def _compare(
    repositories: Repositories, found: Repository, source: Address, told: list[Any], before: Commit
) -> tuple[dict[str, File], list[Any]]:
    """(files that are here already by path, the others as the hub described them). Raises BadData for a path
    that no repository may have.
    """
    wanted: dict[str, File] = {}
    missing: list[Any] = []
    shared = _shared(repositories, found, {one.lfs.sha256 for one in told if one.lfs is not None})
    for one in told:
        check_path(one.rfilename)
        if one.lfs is None and one.blob_id is None:
            raise BadData(
                f"{source} gives no digest for {one.rfilename!r}",
                "mirror from a hub that lists digests of its files",
            )
        here = before.files.get(one.rfilename)
        content = repositories.contents.find(one.lfs.sha256) if one.lfs and one.lfs.sha256 in shared else None
        if one.lfs is not None and content is not None:
            repositories.contents.renew(content)
            wanted[one.rfilename] = lfs_file(one.lfs.sha256, one.lfs.size)
        elif (
            one.lfs is None
            and here is not None
            and here.oid == one.blob_id
            and repositories.contents.find(here.sha256) is not None
        ):
            wanted[one.rfilename] = here
        else:
            missing.append(one)
    return wanted, missing


def _shared(repositories: Repositories, found: Repository, digests: set[str]) -> set[str]:
    """Those of ``digests`` that the copy may hold without fetching them: its own, what was fetched for it,
    and what everyone may read here."""
    uploads = Uploads(repositories.engine)
    rights = Permissions(repositories, Users(repositories.store), uploads)
    own = repositories.held(found.id, digests) | uploads.contents_of(KEEPER, found.id, digests)
    return own | rights.readable(NOBODY, digests - own)


def _taken(repositories: Repositories, found: Repository, source: Address, told: Any, path: Path) -> File:
    """A fetched file as the repository holds it. Raises BadData when it is not what the other hub said; then
    it is removed.
    """
    size = path.stat().st_size
    if told.lfs is not None:
        repositories.contents.accept(path, told.lfs.sha256, told.lfs.size)
        Uploads(repositories.engine).content(KEEPER, found.id, told.lfs.sha256)
        return lfs_file(told.lfs.sha256, told.lfs.size)
    data = path.read_bytes() if size <= _SMALL else b""
    path.unlink()
    if size > _SMALL or git_oid("blob", data) != told.blob_id:
        raise BadData(
            f"{told.rfilename} of {source} does not match the digest of that hub (git object "
            f"{str(told.blob_id)[:12]})",
            "run the same command again",
        )
    return File(repositories.contents.put(data), size, False, told.blob_id)


def _stands(repositories: Repositories, found: Repository, commit: str) -> str:
    """The commit here that a commit of the other hub became; nothing where it was never copied."""
    try:
        return repositories.resolve(found, commit)
    except NotFound:
        return ""


def _remember(repositories: Repositories, found: Repository, made: Mirror, commit: Commit) -> None:
    """Where the copy stands, and the other hub's commit id as a revision of it."""
    table, refs = tables.mirrors, tables.refs
    with repositories.engine.begin() as connection:
        connection.execute(table.delete().where(table.c.repository == found.id))
        connection.execute(
            table.insert().values(
                repository=found.id,
                endpoint=made.source.endpoint,
                source=made.source.name,
                revision=made.source.revision,
                commit_id=made.commit,
                at=made.at,
            )
        )
        own = (refs.c.repository == found.id, refs.c.kind == "source", refs.c.name == made.commit)
        connection.execute(refs.delete().where(*own))
        connection.execute(
            refs.insert().values(repository=found.id, kind="source", name=made.commit, commit_id=commit.id)
        )


def _mirror(row: Any) -> Mirror:
    return Mirror(
        row.kind, row.name, Address(row.endpoint, row.kind, row.source, row.revision), row.commit_id, row.at
    )
