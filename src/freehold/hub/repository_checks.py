"""Whether the repositories of a store are whole, and what can be put right."""

from __future__ import annotations

import sqlalchemy as sa

from freehold.hub import damage
from freehold.hub.repositories import Repositories
from freehold.models import catalogue as tables


def repair(repositories: Repositories) -> list[str]:
    """Mend what can be: what search knows, and what protects contents from collection; a sentence for each.
    Bytes cannot be made up.
    """
    done: list[str] = []
    with repositories.engine.begin() as connection:
        held = {(row.repository, row.sha256) for row in connection.execute(sa.select(tables.holdings))}
        referenced: set[tuple[int, str]] = set()
        for row in connection.execute(sa.select(tables.commits.c.repository, tables.commits.c.files)):
            referenced |= {(row.repository, values[0]) for values in row.files.values()}
        if missing := sorted(referenced - held):
            connection.execute(
                tables.holdings.insert(),
                [{"repository": number, "sha256": digest} for number, digest in missing],
            )
            done.append(f"{len(missing)} contents are protected from garbage collection again")
        for number in connection.execute(sa.select(tables.repositories.c.id)).scalars().all():
            entry = repositories.index_entry(connection, number)
            if not repositories.index.holds(connection, entry):
                repositories.index.put(connection, [entry])
                done.append(f"{entry.kind} {entry.name} is in the search index again")
    return done


def set_damaged_aside(repositories: Repositories) -> list[str]:
    """Read every content; move what is damaged aside, so that an upload brings it again; a sentence for
    each."""
    with repositories.engine.connect() as connection:
        held = tables.held(connection)
    contents = [
        content for digest in sorted(held) if (content := repositories.contents.find(digest)) is not None
    ]
    return [
        damage.set_aside(repositories.contents, content)
        for content in contents
        if repositories.contents.check(content)
    ]


def check(repositories: Repositories) -> list[str]:
    """A sentence for every ref without its commit, file without its content, content that has changed, and
    what search misses.
    """
    faults: list[str] = []
    seen: dict[str, str] = {}
    with repositories.engine.connect() as connection:
        names = {
            row.id: f"{row.kind} {row.name}" for row in connection.execute(sa.select(tables.repositories))
        }
        known = {
            (row.repository, row.id)
            for row in connection.execute(sa.select(tables.commits.c.repository, tables.commits.c.id))
        }
        for row in connection.execute(sa.select(tables.refs)):
            if (row.repository, row.commit_id) not in known:
                faults.append(
                    f"{names.get(row.repository, row.repository)}: the {row.kind} {row.name} points at "
                    f"{row.commit_id[:12]}, which does not exist"
                )
        held = {(row.repository, row.sha256) for row in connection.execute(sa.select(tables.holdings))}
        for row in connection.execute(sa.select(tables.commits)):
            where = f"{names.get(row.repository, row.repository)} at {row.id[:12]}"
            if row.parent and (row.repository, row.parent) not in known:
                faults.append(f"{where}: its parent {row.parent[:12]} does not exist")
            for path, (digest, size, *_) in row.files.items():
                if (row.repository, digest) not in held:
                    faults.append(
                        f"{where}: {path} is not protected from garbage collection; 'freehold hub check"
                        " --repair' fixes that"
                    )
                if digest not in seen:
                    content = repositories.contents.find(digest)
                    seen[digest] = (
                        damage.why_missing(repositories.store.checked.damaged, digest)
                        if content is None
                        else "has another size"
                        if content.size != size
                        else repositories.contents.check(content)
                    )
                if seen[digest]:
                    faults.append(f"{where}: {path} {seen[digest]}")
        for number, name in names.items():
            if not repositories.index.holds(connection, repositories.index_entry(connection, number)):
                faults.append(
                    f"{name}: its entry in the search index is out of date; 'freehold hub check --repair'"
                    " fixes that"
                )
    return faults
