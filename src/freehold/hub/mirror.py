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
    statement = (
        sa.select(table, rows.c.kind, rows.c.name)
        .join(rows, rows.c.id == table.c.repository)
        .order_by(rows.c.name, rows.c.kind)
    )
    with store.engine.connect() as connection:
        rows_by_mirror = connection.execute(
            statement if repository is None else statement.where(table.c.repository == repository)
        ).all()
    return [_mirror(row) for row in rows_by_mirror]


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
            info: Any = api.repo_info(
                source.name, repo_type=source.kind, revision=source.revision or None, files_metadata=True
            )
        _check_commit(source, info.sha)
        repository, known = _copy(repositories, source, name, private=bool(info.private))
        before = repositories.commit(repository, "main")
        if (
            known is not None
            and known.commit == info.sha
            and _stands(repositories, repository, info.sha) == before.id
            and all(repositories.contents.find(file.sha256) is not None for file in before.files.values())
        ):
            return Mirrored(known, False, 0, 0, sum(file.size for file in before.files.values()))
        files, missing = _compare(repositories, repository, source, info.siblings or [], before)
        total = sum(sibling.size or 0 for sibling in missing)
        atomic_files.need_disk(store.folder, total, f"mirroring {source}")
        with task(sink, f"mirroring {source}", total, "bytes") as progress:
            arrived = 0
            for sibling in missing:
                with client.watched(landing, progress, arrived):
                    path = _downloaded(api, source, sibling, str(info.sha), landing)
                files[sibling.rfilename] = _taken(repositories, repository, source, sibling, path)
                arrived += files[sibling.rfilename].size
                progress.at(arrived, sibling.rfilename)
        put = {path: file for path, file in files.items() if before.files.get(path) != file}
        gone = sorted(before.files.keys() - files.keys())
        commit = before
        if put or gone:
            change = Change(
                f"Mirror {source} at {str(info.sha)[:12]}", parent=before.id, put=put, removed=gone
            )
            commit = repositories.apply(repository, "main", change, KEEPER)
        copy = Mirror(repository.kind, repository.name, source, str(info.sha), time.time())
        _remember(repositories, repository, copy, commit)
        Users(store).record(
            KEEPER, "mirror", f"{repository.kind}s/{repository.name}", f"{source} at {info.sha}"
        )
        shutil.rmtree(landing)
    return Mirrored(copy, bool(put or gone), len(missing), total, sum(file.size for file in files.values()))


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
        repository = repositories.find(source.kind, name)
    except NotFound:
        return repositories.create(source.kind, name, private=private, owner=KEEPER), None
    known = next(iter(mirrors(repositories.store, repository.id)), None)
    with repositories.engine.connect() as connection:
        first = connection.execute(
            sa.select(sa.func.count()).where(tables.commits.c.repository == repository.id)
        ).scalar()
    if known is None:
        if first == 1 and list(repositories.commit(repository, "main").files) == [".gitattributes"]:
            return (
                repository,
                None,
            )  # made by a run that was killed, or by hand for this purpose: nothing is lost
        raise Conflict(
            f"{repository.name} is a repository of its own here, not a copy of {source}",
            "choose another name with --as",
        )
    if (known.source.endpoint, known.source.name) != (source.endpoint, source.name):
        raise Conflict(
            f"{repository.name} is a copy of {known.source}, not of {source}", "choose another name with --as"
        )
    return repository, known


def _compare(
    repositories: Repositories, repository: Repository, source: Address, siblings: list[Any], before: Commit
) -> tuple[dict[str, File], list[Any]]:
    """(files that are here already by path, the others as the hub described them). Raises BadData for a path
    that no repository may have.
    """
    files: dict[str, File] = {}
    missing: list[Any] = []
    shared = _shared(
        repositories, repository, {sibling.lfs.sha256 for sibling in siblings if sibling.lfs is not None}
    )
    for sibling in siblings:
        check_path(sibling.rfilename)
        if sibling.lfs is None and sibling.blob_id is None:
            raise BadData(
                f"{source} gives no digest for {sibling.rfilename!r}",
                "mirror from a hub that lists digests of its files",
            )
        here = before.files.get(sibling.rfilename)
        content = (
            repositories.contents.find(sibling.lfs.sha256)
            if sibling.lfs and sibling.lfs.sha256 in shared
            else None
        )
        if sibling.lfs is not None and content is not None:
            repositories.contents.renew(content)
            files[sibling.rfilename] = lfs_file(sibling.lfs.sha256, sibling.lfs.size)
        elif (
            sibling.lfs is None
            and here is not None
            and here.oid == sibling.blob_id
            and repositories.contents.find(here.sha256) is not None
        ):
            files[sibling.rfilename] = here
        else:
            missing.append(sibling)
    return files, missing


def _shared(repositories: Repositories, repository: Repository, digests: set[str]) -> set[str]:
    """Those of ``digests`` that the copy may hold without fetching them: its own, what was fetched for it,
    and what everyone may read here."""
    uploads = Uploads(repositories.engine)
    rights = Permissions(repositories, Users(repositories.store), uploads)
    readable = repositories.held(repository.id, digests) | uploads.contents_of(KEEPER, repository.id, digests)
    return readable | rights.readable(NOBODY, digests - readable)


def _taken(
    repositories: Repositories, repository: Repository, source: Address, sibling: Any, path: Path
) -> File:
    """A fetched file as the repository holds it. Raises BadData when it is not what the other hub said; then
    it is removed.
    """
    size = path.stat().st_size
    if sibling.lfs is not None:
        repositories.contents.accept(path, sibling.lfs.sha256, sibling.lfs.size)
        Uploads(repositories.engine).content(KEEPER, repository.id, sibling.lfs.sha256)
        return lfs_file(sibling.lfs.sha256, sibling.lfs.size)
    data = path.read_bytes() if size <= _SMALL else b""
    path.unlink()
    if size > _SMALL or git_oid("blob", data) != sibling.blob_id:
        raise BadData(
            f"{sibling.rfilename} of {source} does not match the digest of that hub (git object "
            f"{str(sibling.blob_id)[:12]})",
            "run the same command again",
        )
    return File(repositories.contents.put(data), size, False, sibling.blob_id)


def _stands(repositories: Repositories, repository: Repository, commit: str) -> str:
    """The commit here that a commit of the other hub became; nothing where it was never copied."""
    try:
        return repositories.resolve(repository, commit)
    except NotFound:
        return ""


def _remember(repositories: Repositories, repository: Repository, copy: Mirror, commit: Commit) -> None:
    """Where the copy stands, and the other hub's commit id as a revision of it."""
    table, refs = tables.mirrors, tables.refs
    with repositories.engine.begin() as connection:
        connection.execute(table.delete().where(table.c.repository == repository.id))
        connection.execute(
            table.insert().values(
                repository=repository.id,
                endpoint=copy.source.endpoint,
                source=copy.source.name,
                revision=copy.source.revision,
                commit_id=copy.commit,
                at=copy.at,
            )
        )
        same = (refs.c.repository == repository.id, refs.c.kind == "source", refs.c.name == copy.commit)
        connection.execute(refs.delete().where(*same))
        connection.execute(
            refs.insert().values(
                repository=repository.id, kind="source", name=copy.commit, commit_id=commit.id
            )
        )


def _mirror(row: Any) -> Mirror:
    return Mirror(
        row.kind, row.name, Address(row.endpoint, row.kind, row.source, row.revision), row.commit_id, row.at
    )
