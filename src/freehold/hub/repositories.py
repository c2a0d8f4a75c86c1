"""Repositories: named lines of commits over contents, with branches and tags.

A commit is a whole list of files; its id is the digest of that list with its parent, author, time and
message, cut to the 40 hexadecimal digits that clients expect. A commit counts from the moment its row and
the branch's move are written, which happens in one transaction after every content is on disk.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from freehold.core.errors import BadData, Conflict, NotFound, PolicyDenied, UsageError
from freehold.hub import discussions, front_matter
from freehold.hub.blob_store import BlobStore
from freehold.hub.commit_rows import branch_row, changed, commit_row, differing, new_number, protect
from freehold.hub.commits import (
    LFS_ENDINGS,
    Change,
    Commit,
    Exists,
    File,
    Repository,
    Stale,
    check_repository_name,
    commit_of,
    git_oid,
    repository_of,
)
from freehold.hub.reachability import held_by, leads_to
from freehold.hub.search_index import Entry, SearchIndex, SearchQuery, step_of
from freehold.hub.uploads import forget_old
from freehold.models import catalogue as tables
from freehold.models.catalogue import under_way
from freehold.models.info import stated_licence
from freehold.models.names import check_path, check_together
from freehold.models.store import Store

#: Characters of what cards state in one page of a list.
_PAGE_CHARACTERS = 16 << 20
#: A card larger than this is a file like any other.
_CARD_BYTES = 5_000_000
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,250}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Proposal(NamedTuple):
    """A request: the last state it shares with its branch, its own, the branch's, and the files that both
    have changed differently.
    """

    base: Commit
    head: Commit
    branch: Commit
    conflicts: list[str]


#: Looks at a commit before it is made: the repository, the files that it brings, all files afterwards, and
#: the licence
#: that their card states. Raises PolicyDenied.
Admit = Callable[["Repository", Mapping[str, "File"], Mapping[str, "File"], str], None]


class Repositories:
    """Every repository in one store."""

    def __init__(self, store: Store, contents: BlobStore | None = None, admit: Admit | None = None):
        """``admit``: what every commit passes (see commit_gate.py); what serves others, or copies from them,
        has one.
        """
        self.store, self.admit = store, admit
        self.contents = contents or BlobStore(store)
        self.engine = store.engine
        self.index = SearchIndex(self.engine)
        self._index_what_is_not()

    # -- names ------------------------------------------------------------------------------

    def create(self, kind: str, name: str, *, private: bool = False, owner: str = "") -> Repository:
        """A new repository whose branch ``main`` holds git's rules for large files. Raises UsageError,
        Exists.
        """
        check_repository_name(name)
        now = time.time()
        rules = "".join(
            f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in sorted(LFS_ENDINGS)
        ).encode()
        files = {".gitattributes": File(self.contents.put(rules), len(rules), False, git_oid("blob", rules))}
        values = {
            "kind": kind,
            "name": name,
            "folded": name.lower(),
            "author": name.split("/", maxsplit=1)[0] if "/" in name else owner,
            "private": private,
            "gated": "",
            "created": now,
            "modified": now,
            "downloads": 0,
            "tags": [],
            "card": {},
        }
        try:
            with self.engine.begin() as connection:
                connection.execute(
                    tables.moves.delete().where(
                        tables.moves.c.kind == kind, tables.moves.c.folded == name.lower()
                    )
                )
                number = new_number(connection)
                connection.execute(tables.repositories.insert().values(id=number, **values))
                first = commit_row("", Change("initial commit"), owner or "freehold", files)
                connection.execute(tables.commits.insert().values(repository=number, **first))
                connection.execute(
                    tables.refs.insert().values(
                        repository=number, kind="branch", name="main", commit_id=first["id"]
                    )
                )
                connection.execute(
                    tables.holdings.insert().values(repository=number, sha256=files[".gitattributes"].sha256)
                )
                self._indexed(connection, number, "")
        except IntegrityError:
            raise Exists(
                f"a {kind} named {name} already exists (names must differ by more than case)",
                "choose another name",
            ) from None
        return self.find(kind, name)

    def find(self, kind: str, name: str) -> Repository:
        """A repository by name, or by a name it had before. Raises NotFound."""
        rows, moves = tables.repositories, tables.moves
        with self.engine.connect() as connection:
            row = connection.execute(
                sa.select(rows).where(rows.c.kind == kind, rows.c.folded == name.lower())
            ).first()
            if row is None:
                moved = (
                    sa.select(moves.c.repository)
                    .where(moves.c.kind == kind, moves.c.folded == name.lower())
                    .scalar_subquery()
                )
                row = connection.execute(sa.select(rows).where(rows.c.id == moved)).first()
        if row is None:
            raise NotFound(f"no {kind} is named {name}", "look at the list, or create it")
        return repository_of(row)

    def numbered(self, number: int) -> Repository | None:
        """A repository by its number; None where it is gone."""
        with self.engine.connect() as connection:
            row = connection.execute(
                sa.select(tables.repositories).where(tables.repositories.c.id == number)
            ).first()
        return None if row is None else repository_of(row)

    def delete(self, repository: Repository) -> None:
        """Forget a repository; its contents go with the next collection."""
        with self.engine.begin() as connection:
            self.index.remove(connection, repository.id)
            for table in (
                tables.commits,
                tables.refs,
                tables.holdings,
                tables.accesses,
                tables.moves,
                tables.mirrors,
                tables.discussions,
                tables.events,
                tables.uploads,
            ):
                connection.execute(table.delete().where(table.c.repository == repository.id))
            connection.execute(tables.repositories.delete().where(tables.repositories.c.id == repository.id))

    def move(self, repository: Repository, name: str) -> None:
        """Rename; the old name leads to the new one until something else takes it.

        Raises Exists, UsageError.
        """
        check_repository_name(name)
        try:
            with self.engine.begin() as connection:
                connection.execute(
                    tables.moves.delete().where(
                        tables.moves.c.kind == repository.kind, tables.moves.c.folded == name.lower()
                    )
                )
                connection.execute(
                    tables.repositories.update()
                    .where(tables.repositories.c.id == repository.id)
                    .values(
                        name=name,
                        folded=name.lower(),
                        author=name.split("/", maxsplit=1)[0],
                        modified=time.time(),
                    )
                )
                connection.execute(
                    tables.moves.delete().where(
                        tables.moves.c.kind == repository.kind,
                        tables.moves.c.folded == repository.name.lower(),
                    )
                )
                if repository.name.lower() != name.lower():
                    connection.execute(
                        tables.moves.insert().values(
                            kind=repository.kind, folded=repository.name.lower(), repository=repository.id
                        )
                    )
                self._indexed(connection, repository.id)
        except IntegrityError:
            raise Exists(f"a {repository.kind} named {name} already exists", "choose another name") from None

    def settings(
        self, repository: Repository, *, private: bool | None = None, gated: str | None = None
    ) -> None:
        """Change who may read."""
        values = {key: value for key, value in (("private", private), ("gated", gated)) if value is not None}
        if values:
            with self.engine.begin() as connection:
                connection.execute(
                    tables.repositories.update()
                    .where(tables.repositories.c.id == repository.id)
                    .values(**values)
                )
                self._indexed(connection, repository.id)

    # -- listing ----------------------------------------------------------------------------

    def list(self, query: SearchQuery, cursor: str = "", limit: int = 1000) -> tuple[list[Repository], str]:
        """(a page of repositories, the next page's cursor or nothing). Raises UsageError for a cursor that is
        none.
        """
        numbers, following = self.index.page(query, cursor, limit)
        with self.engine.connect() as connection:
            fitting = _fitting(connection, numbers)
        if fitting < len(numbers):
            numbers, following = self.index.page(query, cursor, fitting)
        listed: dict[int, Repository] = {}
        with self.engine.connect() as connection:
            for some in tables.in_parts(numbers):
                rows = sa.select(tables.repositories).where(tables.repositories.c.id.in_(some))
                listed |= {row.id: repository_of(row) for row in connection.execute(rows)}
        return [listed[number] for number in numbers if number in listed], following

    def index_entry(self, connection: sa.Connection, number: int, card: str | None = None) -> Entry:
        """What the index should hold of a repository as it stands within a transaction. ``card``: its card's
        text, read here where it is None.
        """
        row = connection.execute(
            sa.select(tables.repositories).where(tables.repositories.c.id == number)
        ).one()
        card = self._card_at_main(connection, number) if card is None else card
        return Entry(
            row.id, row.kind, row.name, row.author, row.private, row.modified, row.downloads, row.tags, card
        )

    def _card_at_main(self, connection: sa.Connection, number: int) -> str:
        head = sa.select(tables.refs.c.commit_id).where(
            tables.refs.c.repository == number, tables.refs.c.kind == "branch", tables.refs.c.name == "main"
        )
        files = connection.execute(
            sa.select(tables.commits.c.files).where(
                tables.commits.c.repository == number, tables.commits.c.id == head.scalar_subquery()
            )
        ).scalar()
        readme = (files or {}).get("README.md")
        return self._card_text(File(*readme) if readme else None)

    def _indexed(self, connection: sa.Connection, number: int, card: str | None = None) -> None:
        self.index.put(connection, [self.index_entry(connection, number, card)])

    def _index_what_is_not(self) -> None:
        """Take in the repositories of a catalogue that was made before there was an index."""
        with self.engine.begin() as connection:
            if connection.execute(sa.select(tables.documents.c.repository).limit(1)).first() is None:
                for number in connection.execute(sa.select(tables.repositories.c.id)).scalars().all():
                    self._indexed(connection, number)

    # -- states -----------------------------------------------------------------------------

    def refs(self, repository: Repository) -> list[tuple[str, str, str]]:
        """(kind, name, commit) of branches and tags."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(tables.refs)
                .where(tables.refs.c.repository == repository.id)
                .order_by(tables.refs.c.kind, tables.refs.c.name)
            )
            return [(row.kind, row.name, row.commit_id) for row in rows]

    def resolve(self, repository: Repository, revision: str, *, lost: bool = False) -> str:
        """Commit id of a branch, tag or (shortened) commit id that one of them leads to. Raises NotFound.

        ``lost``: also of a commit that nothing leads to any more, since its branch was removed or its
        history squashed.
        """
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(tables.refs.c.commit_id)
                .where(tables.refs.c.repository == repository.id, tables.refs.c.name == name)
                .order_by(tables.refs.c.kind)
            ).all()
            if rows:
                return rows[0].commit_id
            if re.fullmatch(r"[0-9a-f]{7,40}", revision):
                ids = tables.commits.c.id
                known = connection.execute(
                    sa.select(ids)
                    .where(tables.commits.c.repository == repository.id, ids.startswith(revision))
                    .limit(20)
                ).scalars()
                led_to = [
                    commit_id for commit_id in known if lost or leads_to(connection, repository.id, commit_id)
                ]
                if len(led_to) == 1:
                    return led_to[0]
        raise NotFound(
            f"{repository.name} has no revision {revision[:80]!r}", "name a branch, a tag or a commit of it"
        )

    def held(self, repository: int, digests: Collection[str]) -> set[str]:
        """Those of ``digests`` that a revision of a repository, by its number, holds."""
        with self.engine.connect() as connection:
            return held_by(connection, repository, digests)

    def digests_at(self, repository: int, commit_id: str) -> frozenset[str]:
        """The contents that a commit of a repository, by its number, holds."""
        commits = tables.commits
        with self.engine.connect() as connection:
            files = connection.execute(
                sa.select(commits.c.files).where(
                    commits.c.repository == repository, commits.c.id == commit_id
                )
            ).scalar_one()
        return frozenset(values[0] for values in files.values())

    def commit(self, repository: Repository, revision: str) -> Commit:
        """The state at a revision. Raises NotFound."""
        return self._state(repository, self.resolve(repository, revision))

    def before(self, repository: Repository, commit: Commit) -> Commit | None:
        """The state before a commit; None before the first."""
        return self._state(repository, commit.parent) if commit.parent else None

    def _state(self, repository: Repository, commit_id: str) -> Commit:
        with self.engine.connect() as connection:
            row = connection.execute(
                sa.select(tables.commits).where(
                    tables.commits.c.repository == repository.id, tables.commits.c.id == commit_id
                )
            ).one()
        return commit_of(row)

    def history(self, repository: Repository, revision: str) -> list[Commit]:
        """Commits from a revision back to the first, without their files."""
        columns = [column for column in tables.commits.c if column.name != "files"]
        with self.engine.connect() as connection:
            rows = {
                row.id: row
                for row in connection.execute(
                    sa.select(*columns).where(tables.commits.c.repository == repository.id)
                )
            }
        at, line = self.resolve(repository, revision), list[Commit]()
        while at in rows:
            row = rows[at]
            line.append(Commit(row.id, row.parent, row.title, row.message, row.author, row.created, {}))
            at = row.parent
        return line

    def apply(self, repository: Repository, branch: str, change: Change, author: str) -> Commit:
        """Add a commit to a branch. Raises NotFound, UsageError, BadData, Stale; then nothing has changed."""
        return self._apply(repository, branch, change, author)[0]

    def propose(self, repository: Repository, start: str, change: Change, author: str) -> tuple[Commit, str]:
        """Add a commit after ``start`` on a new line beside the branches; the commit and the line's name,
        ``refs/pr/N``. Raises like :meth:`apply`.
        """
        return self._apply(repository, "", change, author, start)

    def _lock(self, connection: sa.Connection, repository: Repository) -> None:
        """Take the write lock by a change that changes nothing: what is done to one repository queues up, and
        numbers stay apart.
        """
        rows = tables.repositories
        connection.execute(rows.update().where(rows.c.id == repository.id).values(downloads=rows.c.downloads))

    def discuss(
        self, repository: Repository, title: str, author: str, *, text: str = "", request: bool = False
    ) -> int:
        """Open a discussion, or with ``request`` a line for commits beside the branches, a draft until its
        author opens it; its number.
        """
        head = self.resolve(repository, "main")
        with self.engine.begin() as connection:
            self._lock(connection, repository)
            status = "draft" if request else "open"
            number = discussions.start(
                connection, repository.id, title, author, text=text, request=request, status=status
            )
            if request:
                self._new_line(connection, repository, number, head)
        return number

    def proposed(self, repository: Repository, request: discussions.Discussion) -> Proposal:
        """What a request changes. Raises Conflict where it has nothing in common with its branch."""
        if request.merged_as:
            taken = self._state(repository, request.merged_as)
            with self.engine.connect() as connection:
                there = leads_to(connection, repository.id, taken.id)
            # of a history that was squashed since, nothing is shown
            return Proposal((self.before(repository, taken) if there else None) or taken, taken, taken, [])
        head, branch = (
            self.commit(repository, discussions.line_of(request.number)),
            self.commit(repository, request.base),
        )
        there = {commit.id for commit in self.history(repository, branch.id)}
        shared = next((commit.id for commit in self.history(repository, head.id) if commit.id in there), None)
        if shared is None:
            raise Conflict(
                f"request {request.number} and {request.base} have no commit in common",
                "propose the change again",
            )
        base = self.commit(repository, shared)
        mine, theirs = differing(base.files, head.files), differing(base.files, branch.files)
        return Proposal(
            base,
            head,
            branch,
            sorted(path for path in mine & theirs if head.files.get(path) != branch.files.get(path)),
        )

    def merge(self, repository: Repository, request: discussions.Discussion, author: str) -> Commit:
        """Take a request into its branch as one commit. Raises Conflict, Stale; then nothing has changed."""
        if not request.request or request.status not in ("open", "draft"):
            what = f"is {request.status}" if request.request else "proposes no change"
            raise Conflict(
                f"discussion {request.number} {what} and cannot be merged",
                "open it first" if request.request else "",
            )
        base, head, there, conflicts = self.proposed(repository, request)
        if conflicts:
            raise Conflict(
                f"request {request.number} cannot be merged: {conflicts[0]} was changed on {request.base} "
                "too",
                "bring the request up to date first",
            )
        changed = differing(base.files, head.files)
        change = Change(
            f"{request.title} (#{request.number})",
            parent=there.id,
            put={path: head.files[path] for path in changed & head.files.keys()},
            removed=sorted((changed - head.files.keys()) & there.files.keys()),
        )
        return self._apply(repository, request.base, change, author, merging=request)[0]

    def _apply(
        self,
        repository: Repository,
        branch: str,
        change: Change,
        author: str,
        start: str = "",
        merging: discussions.Discussion | None = None,
    ) -> tuple[Commit, str]:
        self._check_uploaded(change)
        self._ask(repository, start or branch, change)
        with self.engine.begin() as connection:
            self._lock(connection, repository)
            if start:
                text = change.message.strip() or "Proposed with a commit"
                number = discussions.start(
                    connection, repository.id, change.title, author, text=text, request=True
                )
                branch = self._new_line(connection, repository, number, start)
            head, before = self._head(connection, repository, branch, change.parent)
            files = changed(before, repository.name, change, lambda at: self.commit(repository, at).files)
            check_together(files)
            values = commit_row(head, change, author, files)
            connection.execute(tables.commits.insert().values(repository=repository.id, **values))
            self._advance(connection, repository, branch, head, values["id"])
            if number := discussions.number_of(branch):
                details = {"subject": change.title, "oid": values["id"]}
                discussions.note(connection, repository.id, number, author, "commit", details)
            if merging is not None:
                discussions.set_status(connection, merging, "merged", author, values["id"])
            protect(connection, repository.id, files)
            if branch == "main":
                self._describe(connection, repository, files, values["created"])
        commit = Commit(
            values["id"], head, values["title"], values["message"], author, values["created"], files
        )
        return commit, branch

    def _check_uploaded(self, change: Change) -> None:
        """Raises UsageError for a path that is not safe, BadData for a file whose content is not here."""
        for path in change.put:
            check_path(path)
        missing = [path for path, file in change.put.items() if self.contents.find(file.sha256) is None]
        if missing:
            others = f" ({len(missing)} such files)" if len(missing) > 1 else ""
            raise BadData(
                f"the content of {missing[0]!r} was not uploaded{others}", "upload it before the commit"
            )

    def _head(
        self, connection: sa.Connection, repository: Repository, branch: str, parent: str
    ) -> tuple[str, dict[str, File]]:
        """The commit that a branch is at, and its files. Raises NotFound, Stale where it is not at
        ``parent``.
        """
        head = connection.execute(
            sa.select(tables.refs.c.commit_id).where(*branch_row(repository, branch))
        ).scalar()
        if head is None:
            raise NotFound(f"{repository.name} has no branch {branch[:80]!r}", "create the branch first")
        if parent and not head.startswith(parent):
            raise Stale(
                f"the branch {branch} of {repository.name} is at {head[:12]} and the commit was made on "
                f"{parent[:12]}",
                "fetch the branch and commit again",
            )
        row = connection.execute(
            sa.select(tables.commits.c.files).where(
                tables.commits.c.repository == repository.id, tables.commits.c.id == head
            )
        ).one()
        return head, {path: File(*values) for path, values in row.files.items()}

    def _advance(
        self, connection: sa.Connection, repository: Repository, branch: str, head: str, commit_id: str
    ) -> None:
        """Move a branch from one commit to the next. Raises Stale where it is no longer at ``head``."""
        refs = tables.refs
        where = (*branch_row(repository, branch), refs.c.commit_id == head)
        moved = connection.execute(refs.update().where(*where).values(commit_id=commit_id))
        if moved.rowcount != 1:
            raise Stale(
                f"the branch {branch} of {repository.name} moved or was removed meanwhile",
                "fetch the branch and commit again",
            )

    def _describe(
        self, connection: sa.Connection, repository: Repository, files: dict[str, File], modified: float
    ) -> None:
        """Take over what the README on the branch main says of the repository."""
        text = self._card_text(files.get("README.md"))
        card = front_matter.of_card(text)
        tags = front_matter.tags_of(card, files, repository.kind)
        connection.execute(
            tables.repositories.update()
            .where(tables.repositories.c.id == repository.id)
            .values(card=card, tags=tags, modified=modified)
        )
        self._indexed(connection, repository.id, text)

    def _ask(self, repository: Repository, revision: str, change: Change) -> None:
        """Put a commit before the gate; outside the transaction, since files are looked into. Raises
        PolicyDenied, NotFound.
        """
        if self.admit is None:
            return
        before = self.commit(repository, revision).files
        files = changed(before, repository.name, change, lambda at: self.commit(repository, at).files)
        brings = {path: file for path, file in files.items() if before.get(path) != file}
        licence = stated_licence(front_matter.of_card(self._card_text(files.get("README.md"))))
        self.admit(repository, brings, files, licence)

    def _new_line(
        self, connection: sa.Connection, repository: Repository, number: int, commit_id: str
    ) -> str:
        name = discussions.line_of(number)
        connection.execute(
            tables.refs.insert().values(
                repository=repository.id, kind="request", name=name, commit_id=commit_id
            )
        )
        return name

    def _card_text(self, readme: File | None) -> str:
        """A card's text; nothing for one that is large or missing."""
        data = self.contents.small(readme.sha256, _CARD_BYTES) if readme is not None else None
        return (data or b"").decode("utf-8", "replace")

    def squash(self, repository: Repository, branch: str, title: str, author: str) -> None:
        """Make a branch's history one commit of its present files."""
        head = self.commit(repository, branch)
        row = commit_row("", Change(title), author, head.files)
        with self.engine.begin() as connection:
            connection.execute(tables.commits.insert().values(repository=repository.id, **row))
            moved = connection.execute(
                tables.refs.update()
                .where(
                    tables.refs.c.repository == repository.id,
                    tables.refs.c.kind != "tag",
                    tables.refs.c.name == branch,
                    tables.refs.c.commit_id == head.id,
                )
                .values(commit_id=row["id"])
            )
            if moved.rowcount != 1:
                raise Stale(
                    f"the branch {branch} of {repository.name} moved meanwhile", "run the same command again"
                )

    # -- branches and tags --------------------------------------------------------------------

    def add_ref(self, repository: Repository, kind: str, name: str, commit_id: str) -> None:
        """A branch or tag at a commit. Raises Exists, UsageError."""
        if (
            not _REF.fullmatch(name)
            or ".." in name
            or name.endswith((".lock", "/"))
            or name.startswith("refs/")  # it would stand for a request's commits
            or _COMMIT.fullmatch(name)
        ):
            raise UsageError(
                f"{name[:80]!r} cannot name a {kind}", "use letters, digits, dot, dash, underscore and slash"
            )
        try:
            with self.engine.begin() as connection:
                connection.execute(
                    tables.refs.insert().values(
                        repository=repository.id, kind=kind, name=name, commit_id=commit_id
                    )
                )
        except IntegrityError:
            raise Exists(f"{repository.name} has a {kind} {name} already", "choose another name") from None

    def remove_ref(self, repository: Repository, kind: str, name: str) -> None:
        """Raises NotFound, and PolicyDenied for the branch main."""
        if kind == "branch" and name == "main":
            raise PolicyDenied("the branch main cannot be removed", "delete the repository instead")
        with self.engine.begin() as connection:
            gone = connection.execute(
                tables.refs.delete().where(
                    tables.refs.c.repository == repository.id,
                    tables.refs.c.kind == kind,
                    tables.refs.c.name == name,
                )
            )
        if not gone.rowcount:
            raise NotFound(f"{repository.name} has no {kind} {name[:80]!r}", "look at its refs")

    def downloaded(self, repository: Repository) -> None:
        """Count a download."""
        rows = tables.repositories
        with self.engine.begin() as connection:
            connection.execute(
                rows.update().where(rows.c.id == repository.id).values(downloads=rows.c.downloads + 1)
            )
            count = connection.execute(sa.select(rows.c.downloads).where(rows.c.id == repository.id)).scalar()
            if count and step_of(count) != step_of(count - 1):
                self._indexed(connection, repository.id)

    # -- keeping house ------------------------------------------------------------------------

    def collect(self, *, grace_s: float = 3600.0) -> tuple[int, int]:
        """Remove what neither a repository nor a model needs and that is older than ``grace_s``; (files,
        bytes) removed.
        """
        with self.engine.connect() as connection:
            referenced = tables.held(connection) | under_way(connection)
        with self.engine.begin() as connection:
            forget_old(connection)
        chunks = self.contents.collect(referenced, grace_s=grace_s)
        blobs = self.store.collect(grace_s=grace_s)
        return chunks[0] + blobs[0], chunks[1] + blobs[1]


def _fitting(connection: sa.Connection, numbers: Sequence[int]) -> int:
    """How many of the first repositories, one at least, make a page: cards may state up to megabytes each."""
    rows = tables.repositories
    lengths: dict[int, int] = {}
    for some in tables.in_parts(numbers):
        length = sa.func.length(sa.cast(rows.c.card, sa.Text))
        statement = sa.select(rows.c.id, length).where(rows.c.id.in_(some))
        lengths |= {number: count for number, count in connection.execute(statement)}
    left = _PAGE_CHARACTERS
    for count, number in enumerate(numbers):
        left -= lengths.get(number, 0)
        if left < 0:
            return max(1, count)
    return len(numbers)
