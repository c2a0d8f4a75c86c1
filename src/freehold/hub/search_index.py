"""The index by which repositories are listed and searched.

Every repository has a row of tokens in a full-text table: its author, tags, the words of its name and card,
and two that say where it stands: a step of its downloads and the day of its last change. Each begins with the
kind, so that kinds have lists of their own. A search is the intersection of its tokens' lists; who may see
what is looked up for what is found, since a list of almost all would be slow. The order comes from the steps:
the first of them are searched, as many as will probably fill a page, then the next, so that no search sorts
all it finds. Few matches are sorted directly.

The full-text table has a form for each database (search_table.py); ``documents`` keeps every row's tokens,
since SQLite's form needs them to take a row out, and so that what a row should hold can be compared with what
it holds.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.core.errors import UsageError
from freehold.hub.search_table import Match, PostgresSearch, SearchTable, Source, SqliteSearch
from freehold.models import catalogue as tables

#: As many matches are sorted as they come; more are looked for step by step.
FEW = 6000
#: As many matches of one step are sorted; of more the step is walked through in the order of the table.
MANY = 20_000
#: Steps that are searched together.
TOGETHER = 60
#: Facets are counted among so many of the best matches.
COUNTED = 300
#: Words of a card that are kept, and the length of the longest.
CARD_WORDS, LONGEST = 1000, 40
#: Words that begin as the one searched for: the most frequent of so many.
STARTS, LOOKED_AT = 16, 2000
DAY = 86_400
#: Words and tags of one search: each is looked for by itself.
MOST_ASKED = 64
_OTHER = re.compile(r"[\x00-\x7f]")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.:/")
_WORD = re.compile(r"[^\W_]+")


#: Where a repository stands in an order: the value it is sorted by, and its id.
Place = tuple[float, int]
_KEYS = {"modified": "modified", "created": "id", "downloads": "downloads"}


@dataclass(frozen=True)
class Entry:
    """What the index takes in of a repository. Seconds since 1970; ``card``: the text of its card."""

    id: int
    kind: str
    name: str
    author: str
    private: bool
    modified: float
    downloads: int
    tags: Sequence[str]
    card: str = ""


@dataclass(frozen=True)
class SearchQuery:
    """What is asked for. ``words`` begin words of the name; ``text`` is in the name or the card; all ``tags``
    must be there.

    ``names``: whose private repositories may be seen beside the public ones; None: all. ``sort``: modified,
    created or downloads.
    """

    kind: str
    words: str = ""
    text: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    sort: str = "modified"
    descending: bool = True

    def check(self) -> None:
        """Raises UsageError where more is asked for than a person would."""
        if max(len(words_of(self.words)), len(words_of(self.text)), len(self.tags)) > MOST_ASKED:
            raise UsageError(f"the search has more than {MOST_ASKED} words or tags", "use fewer")

    @property
    def searches(self) -> bool:
        """Whether anything but the kind narrows it."""
        return bool(self.words or self.text or self.author or self.tags)


@dataclass(frozen=True)
class Facets:
    """Tag -> how many of the matches have it, most frequent first; ``of`` so many matches, which are all
    there are if ``complete``.
    """

    counts: dict[str, int]
    of: int
    complete: bool


@dataclass(frozen=True)
class Group:
    """Neighbouring steps of an order, ``s`` for downloads and ``d`` for days, and how many repositories stand
    on them.
    """

    order: str
    steps: list[int]
    count: int

    def between(self) -> tuple[float, float]:
        """The least key on these steps, and the one that theirs stay below."""
        first, last = min(self.steps), max(self.steps) + 1
        return (2 ** (first / 2) - 1, 2 ** (last / 2) - 1) if self.order == "s" else (first * DAY, last * DAY)


def folded(value: str) -> str:
    """A value as tokens hold it: ASCII signs other than theirs are written as their number between dots."""
    return _OTHER.sub(
        lambda match: match[0] if match[0] in _PLAIN else f".{ord(match[0]):x}.", value.lower()[:200]
    )


def token(kind: str, what: str, value: str) -> str:
    """A token of the index, ``what`` being one letter."""
    return f"{kind[0]}{what}:{folded(value)}"


def words_of(text: str) -> list[str]:
    """Words in lower case, each once, in order."""
    return list(dict.fromkeys(_WORD.findall(text.lower())))


def step_of(downloads: int) -> int:
    """The step of a number of downloads: two for each doubling."""
    return int(2 * math.log2(downloads + 1))


def tokens_of(entry: Entry) -> list[str]:
    """All tokens of a repository."""
    kind = entry.kind[0]
    tokens = [
        token(kind, "a", entry.author),
        f"{kind}s:{step_of(entry.downloads)}",
        f"{kind}d:{int(entry.modified // DAY)}",
    ]
    tokens.append(f"{kind}v:{'private' if entry.private else 'public'}")
    tokens += [token(kind, "t", tag) for tag in entry.tags]
    tokens += [f"{kind}n:{word}" for word in words_of(entry.name)]
    tokens += [
        f"{kind}c:{word}" for word in words_of(entry.card[:200_000])[:CARD_WORDS] if len(word) <= LONGEST
    ]
    return list(dict.fromkeys(tokens))


class SearchIndex:
    """The index of one catalogue."""

    def __init__(self, engine: sa.Engine):
        self.engine = engine
        self._search: SearchTable = (
            PostgresSearch() if engine.dialect.name == "postgresql" else SqliteSearch()
        )

    # -- taking in ------------------------------------------------------------------------------

    def put(self, connection: sa.Connection, entries: Iterable[Entry]) -> None:
        """Add or replace repositories, within a transaction."""
        entries = list(entries)
        before = self._take_out(connection, [entry.id for entry in entries])
        after = [(entry.id, tokens_of(entry)) for entry in entries]
        rows = [
            {"repository": number, "tokens": zlib.compress(" ".join(tokens).encode())}
            for number, tokens in after
        ]
        connection.execute(tables.documents.insert(), rows)
        self._search.put(connection, after)
        labels = {folded(tag): tag for entry in entries for tag in entry.tags}
        self._count(connection, [tokens for _, tokens in after], before, labels)

    def holds(self, connection: sa.Connection, entry: Entry) -> bool:
        """Whether the index knows a repository as it is."""
        table = tables.documents
        stored = connection.execute(sa.select(table.c.tokens).where(table.c.repository == entry.id)).scalar()
        return stored is not None and zlib.decompress(stored).decode() == " ".join(tokens_of(entry))

    def remove(self, connection: sa.Connection, number: int) -> None:
        """Forget a repository within a transaction."""
        self._count(connection, [], self._take_out(connection, [number]), {})

    def _take_out(self, connection: sa.Connection, numbers: list[int]) -> list[list[str]]:
        """Remove rows; the tokens they had."""
        table = tables.documents
        documents: list[list[str]] = []
        for part in tables.in_parts(numbers):
            some = table.c.repository.in_(part)
            rows = [
                (row.repository, zlib.decompress(row.tokens).decode())
                for row in connection.execute(sa.select(table).where(some))
            ]
            self._search.take_out(connection, rows)
            documents += [text.split(" ") for _, text in rows]
            connection.execute(table.delete().where(some))
        return documents

    def _count(
        self,
        connection: sa.Connection,
        added: list[list[str]],
        removed: list[list[str]],
        labels: dict[str, str],
    ) -> None:
        """Keep the numbers of tags and of names' words true."""
        tags: Counter[tuple[str, str]] = Counter()
        words: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        steps: Counter[tuple[str, str, int]] = Counter()
        for sign, documents in ((1, added), (-1, removed)):
            for tokens in documents:
                kind = tokens[0][0]
                by_what: dict[str, list[str]] = {}
                for name in tokens:
                    by_what.setdefault(name[1], []).append(name[3:])
                words.update(dict.fromkeys(by_what.get("n", []), sign))
                steps.update({(kind, order, int(name)): sign for order in "sd" for name in by_what[order]})
                if by_what["v"] == ["public"]:
                    kinds[kind] += sign
                    tags.update({(kind, name): sign for name in by_what.get("t", [])})
        rows = [
            {"kind": kind, "order": order, "step": step, "count": n}
            for (kind, order, step), n in steps.items()
            if n
        ]
        self._add(connection, tables.steps, rows)
        self._add(connection, tables.kinds, [{"kind": kind, "count": n} for kind, n in kinds.items() if n])
        rows = [
            {"kind": kind, "tag": tag, "label": labels.get(tag, tag), "count": n}
            for (kind, tag), n in tags.items()
            if n
        ]
        self._add(connection, tables.tag_counts, rows)
        self._add(
            connection, tables.name_words, [{"word": word, "count": n} for word, n in words.items() if n]
        )

    def _add(self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            keys = [column.name for column in table.primary_key]
            statement = tables.upsert(connection, table)
            more = {"count": table.c.count + statement.excluded.count}
            # in one order, so that two transactions that count the same never wait for each other
            rows.sort(key=lambda row: [row[key] for key in keys])
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=more), rows)

    # -- asking ---------------------------------------------------------------------------------

    def page(self, query: SearchQuery, cursor: str = "", limit: int = 100) -> tuple[list[int], str]:
        """(ids in order, the cursor of the next page or nothing). Raises UsageError for a cursor that is
        none.
        """
        query.check()
        after = _read_cursor(cursor)
        with self.engine.connect() as connection:
            if query.searches:
                places = self._matching(connection, query, after, limit + 1)
            else:
                places = self._places(
                    connection, query, Source("repositories r", [], "", []), after, limit + 1
                )
        rows = places[:limit]
        return [number for _, number in rows], f"{rows[-1][0]!r}:{rows[-1][1]}" if len(places) > limit else ""

    def facets(self, query: SearchQuery, prefixes: Sequence[str] = (), limit: int = 50) -> Facets:
        """Tags among the best :data:`COUNTED` matches; of all repositories of a kind where nothing is
        searched for.
        """
        with self.engine.connect() as connection:
            if not query.searches:
                table = tables.tag_counts
                starts = [folded(prefix) for prefix in prefixes]
                # the sum keeps SQLite from walking through all tags in the order of their counts
                conditions = [
                    sa.and_(table.c.tag >= start, table.c.tag < start + "\U0010ffff") for start in starts
                ]
                rows = connection.execute(
                    sa.select(table.c.label, table.c.count)
                    .where(
                        table.c.kind == query.kind[0],
                        table.c.count > 0,
                        sa.or_(*conditions) if conditions else sa.true(),
                    )
                    .order_by((table.c.count + 0).desc() if conditions else table.c.count.desc(), table.c.tag)
                    .limit(limit)
                )
                counts = {row[0]: row[1] for row in rows}
                total = (
                    connection.execute(
                        sa.select(tables.kinds.c.count).where(tables.kinds.c.kind == query.kind[0])
                    ).scalar()
                    or 0
                )
                return Facets(counts, total, True)
        numbers, more = self.page(query, limit=COUNTED)
        counted: Counter[str] = Counter()
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(tables.repositories.c.tags).where(tables.repositories.c.id.in_(numbers))
            )
            for (tags,) in rows:
                counted.update(tag for tag in tags if not prefixes or tag.startswith(tuple(prefixes)))
        return Facets(dict(counted.most_common(limit)), len(numbers), not more)

    def _matching(
        self, connection: sa.Connection, query: SearchQuery, after: Place | None, limit: int
    ) -> list[Place]:
        match = self._match(connection, query)
        if match is None:
            return []
        count, seen = self._probed(connection, match)
        if count <= FEW:
            return self._sorted(connection, query, match, after, limit)
        if query.sort == "created":
            return self._by_number(connection, query, match, after, limit)
        places: list[Place] = []
        for group in self._groups(connection, query, after, 2 * limit * seen / count):
            narrowed = match.narrowed(f"{query.kind[0]}{group.order}:{step}" for step in group.steps)
            if group.count <= MANY or self._probed(connection, narrowed, MANY)[0] <= MANY:
                places += self._sorted(connection, query, narrowed, after, limit - len(places))
            else:
                places += self._walked(connection, query, narrowed, group, after, limit - len(places))
            if len(places) >= limit:
                break
        return places

    def _match(self, connection: sa.Connection, query: SearchQuery) -> Match | None:
        """What a query's tokens ask for; None when nothing can match: a word is in no name, or what was asked
        for has no word in it.
        """
        kind = query.kind[0]
        all_of = [token(kind, "t", tag) for tag in query.tags]
        if query.author:
            all_of.append(token(kind, "a", query.author))
        any_of: list[tuple[str, ...]] = []
        for word in words_of(query.words):
            starts = self._starting(connection, word)
            if not starts:
                return None
            any_of.append(tuple(f"{kind}n:{start}" for start in starts))
        for word in words_of(query.text):
            any_of.append(
                (
                    *(f"{kind}n:{start}" for start in self._starting(connection, word)),
                    f"{kind}c:{word[:LONGEST]}",
                )
            )
        return Match(tuple(all_of), tuple(any_of)) or None

    def _starting(self, connection: sa.Connection, word: str) -> list[str]:
        """Words of names that begin so, the word itself first, then the most frequent."""
        table = tables.name_words
        rows = connection.execute(
            sa.select(table)
            .where(table.c.word >= word, table.c.word < word + "\U0010ffff", table.c.count > 0)
            .order_by(table.c.word)
            .limit(LOOKED_AT)
        ).all()
        return [row[0] for row in sorted(rows, key=lambda row: (row[0] != word, -row[1]))[:STARTS]]

    def _probed(self, connection: sa.Connection, match: Match, most: int = 0) -> tuple[int, int]:
        """(how many match, counted no further than one beyond ``most``; among how many repositories they
        lie).
        """
        condition, values = self._search.condition(match)
        probe = (
            f"SELECT count(*), max(number) FROM (SELECT search.rowid AS number FROM search WHERE {condition}"
            " LIMIT ?) found"
        )
        count, last = self._search.run(connection, probe, (*values, (most or FEW) + 1))[0]
        return count, last or 0

    def _by_number(
        self, connection: sa.Connection, query: SearchQuery, match: Match, after: Place | None, limit: int
    ) -> list[Place]:
        """Matches in the order of their ids, which is that in which they were made and in which the text
        table yields them.
        """
        seen, names = _seen(query)
        source = self._search.matching(match)
        beyond = "" if after is None else f"AND search.rowid {'<' if query.descending else '>'} {after[1]}"
        sql = (
            f"SELECT search.rowid FROM {source.table} WHERE r.kind = ? {source.where} {seen} {beyond} "
            f"ORDER BY search.rowid {'DESC' if query.descending else 'ASC'} LIMIT ?"
        )
        rows = self._search.run(
            connection, sql, (*source.values, query.kind, *source.where_values, *names, limit)
        )
        return [(row[0], row[0]) for row in rows]

    def _sorted(
        self, connection: sa.Connection, query: SearchQuery, match: Match, after: Place | None, limit: int
    ) -> list[Place]:
        """The first matches, all of them read and sorted."""
        return self._places(connection, query, self._search.matching(match), after, limit)

    def _walked(
        self,
        connection: sa.Connection,
        query: SearchQuery,
        match: Match,
        group: Group,
        after: Place | None,
        limit: int,
    ) -> list[Place]:
        """Matches of some steps in the order of the table: they are many, so the first are near."""
        key = _KEYS[query.sort]
        condition, values = self._search.condition(match)
        there = (
            f"AND r.{key} >= ? AND r.{key} < ? AND EXISTS (SELECT 1 FROM search WHERE {condition} AND"
            " search.rowid = r.id)"
        )
        return self._places(
            connection,
            query,
            Source(self._search.ordered_by(key), [], there, [*group.between(), *values]),
            after,
            limit,
        )

    def _places(
        self, connection: sa.Connection, query: SearchQuery, source: Source, after: Place | None, limit: int
    ) -> list[Place]:
        """(key, id) of a kind's repositories in the query's order."""
        key, order = _KEYS[query.sort], "DESC" if query.descending else "ASC"
        beyond = "" if after is None else f"AND (r.{key}, r.id) {'<' if query.descending else '>'} (?, ?)"
        seen, names = _seen(query)
        sql = (
            f"SELECT r.{key}, r.id FROM {source.table} WHERE r.kind = ? {source.where} {seen} {beyond} ORDER"
            f" BY r.{key} {order}, r.id {order} LIMIT ?"
        )
        rows = self._search.run(
            connection, sql, (*source.values, query.kind, *source.where_values, *names, *(after or ()), limit)
        )
        return [(row[0], row[1]) for row in rows]

    def _groups(
        self, connection: sa.Connection, query: SearchQuery, after: Place | None, first: float
    ) -> Iterator[Group]:
        """Steps from where the query's order begins: together they hold ``first`` repositories, then twice as
        many, and so on.
        """
        table, order = tables.steps, "s" if query.sort == "downloads" else "d"
        conditions = [table.c.kind == query.kind[0], table.c.order == order, table.c["count"] > 0]
        if after is not None:
            start = step_of(int(after[0])) if order == "s" else int(after[0] // DAY)
            conditions.append(table.c.step <= start if query.descending else table.c.step >= start)
        rows = connection.execute(
            sa.select(table.c.step, table.c["count"])
            .where(*conditions)
            .order_by(table.c.step.desc() if query.descending else table.c.step)
        )
        steps, held, size = list[int](), 0, min(first, MANY)
        for step, count in rows.all():
            if steps and (held + count > size or len(steps) == TOGETHER):
                yield Group(order, steps, held)
                steps, held, size = [], 0, min(2 * size, MANY)
            steps.append(step)
            held += count
        if steps:
            yield Group(order, steps, held)


def _seen(query: SearchQuery) -> tuple[str, tuple[str, ...]]:
    """The condition that private repositories are of those who may be seen, and its values."""
    if query.names is None:
        return "", ()
    if not query.names:
        return "AND NOT r.private", ()
    return f"AND (NOT r.private OR r.author IN ({', '.join('?' * len(query.names))}))", query.names


def _read_cursor(text: str) -> Place | None:
    if not text:
        return None
    key, _, number = text.partition(":")
    try:
        position = float(key), int(number)
    except ValueError:
        position = (math.nan, 0)
    if not math.isfinite(position[0]) or abs(position[1]) >= 2**63:
        raise UsageError(
            f"{text[:60]!r} is not a valid cursor",
            "take the address of the next page from the list's Link header",
        )
    return position
