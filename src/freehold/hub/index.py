"""The index by which repositories are listed and searched.

Every repository has a row of tokens in a full-text table: its kind, who may see it, author, tags, the words of its name and card, and
two that say where it stands: a step of its downloads and the month and day of its last change. A search is the intersection of its
tokens' lists. The order comes from the steps: the highest is searched first, then the next, until a page is full, so that no search
sorts all it finds. Few matches are sorted directly.

Source of the table's form: SQLite FTS5, contentless and without positions; a row is removed by handing it its own tokens again, which
is why ``documents`` keeps them.
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
from sqlalchemy.dialects.sqlite import insert

from freehold.errors import UsageError
from freehold.hub import catalogue as tables

#: As many matches are sorted as they come; more are walked through by steps.
FEW = 1000
#: As many matches of one step are sorted; of more the step is walked through in the order of the table.
MANY = 20_000
#: Words of a card that are kept, and the length of the longest.
CARD_WORDS, LONGEST = 1000, 40
#: Words that begin as the one searched for: the most frequent of so many.
STARTS, LOOKED_AT = 16, 2000
DAY = 86_400
MONTH = 30
_OTHER = re.compile(r"[\x00-\x7f]")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.:/")
_WORD = re.compile(r"[^\W_]+")


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
class Query:
    """What is asked for. ``words`` begin words of the name; ``text`` is in the name or the card; all ``tags`` must be there.

    ``names``: whose private repositories may be seen beside the public ones; None: all. ``sort``: modified, created or downloads.
    """

    kind: str
    words: str = ""
    text: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    sort: str = "modified"
    descending: bool = True


@dataclass(frozen=True)
class Facets:
    """Tag -> how many of the matches have it, most frequent first; ``of`` so many matches, which are all there are if ``complete``."""

    counts: dict[str, int]
    of: int
    complete: bool


def token(kind: str, value: str) -> str:
    """A token of the index: other ASCII signs than its own are written as their number between dots."""
    folded = value.lower()[:200]
    return f"{kind}:" + _OTHER.sub(lambda found: found[0] if found[0] in _PLAIN else f".{ord(found[0]):x}.", folded)


def words_of(text: str) -> list[str]:
    """Words in lower case, each once, in order."""
    return list(dict.fromkeys(_WORD.findall(text.lower())))


def step_of(downloads: int) -> int:
    """The step of a number of downloads: two for each doubling."""
    return int(2 * math.log2(downloads + 1))


def tokens_of(entry: Entry) -> list[str]:
    """All tokens of a repository."""
    day = int(entry.modified // DAY)
    found = [f"k:{entry.kind}", token("a", entry.author), f"s:{step_of(entry.downloads)}", f"m:{day // MONTH}", f"d:{day}"]
    if not entry.private:
        found.append("v:public")
    found += [token("t", tag) for tag in entry.tags]
    found += [f"n:{word}" for word in words_of(entry.name)]
    found += [f"c:{word}" for word in words_of(entry.card[:200_000])[:CARD_WORDS] if len(word) <= LONGEST]
    return list(dict.fromkeys(found))


class Index:
    """The index of one catalogue."""

    def __init__(self, engine: sa.Engine):
        self.engine = engine

    # -- taking in ------------------------------------------------------------------------------

    def put(self, connection: sa.Connection, entries: Iterable[Entry]) -> None:
        """Take repositories in, or anew, within a transaction."""
        entries = list(entries)
        before = self._take_out(connection, [entry.id for entry in entries])
        after = [(entry.id, tokens_of(entry)) for entry in entries]
        rows = [{"repository": number, "tokens": zlib.compress(" ".join(found).encode())} for number, found in after]
        connection.execute(tables.documents.insert(), rows)
        connection.exec_driver_sql("INSERT INTO search(rowid, tokens) VALUES (?, ?)", [(number, " ".join(found)) for number, found in after])
        labels = {token("t", tag)[2:]: tag for entry in entries for tag in entry.tags}
        self._count(connection, [found for _, found in after], before, labels)

    def remove(self, connection: sa.Connection, number: int) -> None:
        """Forget a repository within a transaction."""
        self._count(connection, [], self._take_out(connection, [number]), {})

    def _take_out(self, connection: sa.Connection, numbers: list[int]) -> list[list[str]]:
        """Remove rows; the tokens they had."""
        table = tables.documents
        found: list[list[str]] = []
        for start in range(0, len(numbers), 500):
            some = table.c.repository.in_(numbers[start : start + 500])
            for row in connection.execute(sa.select(table).where(some)).all():
                text = zlib.decompress(row.tokens).decode()
                connection.exec_driver_sql("INSERT INTO search(search, rowid, tokens) VALUES ('delete', ?, ?)", (row.repository, text))
                found.append(text.split(" "))
            connection.execute(table.delete().where(some))
        return found

    def _count(self, connection: sa.Connection, added: list[list[str]], removed: list[list[str]], labels: dict[str, str]) -> None:
        """Keep the numbers of tags and of names' words true."""
        tags: Counter[tuple[str, str]] = Counter()
        words: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        for sign, documents in ((1, added), (-1, removed)):
            for found in documents:
                kind = found[0][2:]
                words.update({one[2:]: sign for one in found if one.startswith("n:")})
                if "v:public" in found:
                    kinds[kind] += sign
                    tags.update({(kind, one[2:]): sign for one in found if one.startswith("t:")})
        self._add(
            connection,
            tables.tag_counts,
            [{"kind": kind, "tag": tag, "label": labels.get(tag, tag), "count": n} for (kind, tag), n in tags.items() if n],
        )
        self._add(connection, tables.kinds, [{"kind": kind, "count": n} for kind, n in kinds.items() if n])
        self._add(connection, tables.name_words, [{"word": word, "count": n} for word, n in words.items() if n])

    def _add(self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            statement = insert(table)
            more = {"count": table.c.count + statement.excluded.count}
            connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=more), rows)

    # -- asking ---------------------------------------------------------------------------------

    def page(self, query: Query, cursor: str = "", limit: int = 100) -> tuple[list[int], str]:
        """(ids in order, the cursor of the next page or nothing). Raises UsageError for a cursor that is none."""
        after = _read_cursor(cursor)
        with self.engine.connect() as connection:
            filtered = query.words or query.text or query.author or query.tags
            found = self._matching(connection, query, after, limit + 1) if filtered else self._all(connection, query, after, limit + 1)
        rows = found[:limit]
        return [number for _, number in rows], f"{rows[-1][0]!r}:{rows[-1][1]}" if len(found) > limit else ""

    def facets(self, query: Query, prefixes: Sequence[str] = (), limit: int = 50) -> Facets:
        """Tags among the best :data:`FEW` matches; of all repositories of a kind where nothing is searched for."""
        wanted = [tables.tag_counts.c.label.startswith(prefix, autoescape=True) for prefix in prefixes]
        with self.engine.connect() as connection:
            if not (query.words or query.text or query.author or query.tags):
                table = tables.tag_counts
                rows = connection.execute(
                    sa.select(table.c.label, table.c.count).where(table.c.kind == query.kind, table.c.count > 0, sa.or_(*wanted) if wanted else sa.true())
                    .order_by(table.c.count.desc(), table.c.tag).limit(limit)
                )  # fmt: skip
                counts = {row[0]: row[1] for row in rows}
                total = connection.execute(sa.select(tables.kinds.c.count).where(tables.kinds.c.kind == query.kind)).scalar() or 0
                return Facets(counts, total, True)
        numbers, more = self.page(query, limit=FEW)
        counted: Counter[str] = Counter()
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(tables.repositories.c.tags).where(tables.repositories.c.id.in_(numbers)))
            for (tags,) in rows:
                counted.update(tag for tag in tags if not prefixes or tag.startswith(tuple(prefixes)))
        return Facets(dict(counted.most_common(limit)), len(numbers), not more)

    def _key(self, query: Query) -> sa.ColumnElement[Any]:
        rows = tables.repositories.c
        return {"modified": rows.modified, "created": rows.id, "downloads": rows.downloads}[query.sort]

    def _ordered(self, query: Query, after: tuple[float, int] | None, limit: int) -> sa.Select[Any]:
        """(key, id) of a kind's repositories in order; to be narrowed."""
        rows, key = tables.repositories.c, self._key(query)
        wanted = sa.select(key, rows.id).where(rows.kind == query.kind)
        if after is not None:
            place, bound = sa.tuple_(key, rows.id), sa.tuple_(*after)
            wanted = wanted.where(place < bound if query.descending else place > bound)
        order = (key.desc(), rows.id.desc()) if query.descending else (key, rows.id)
        return wanted.order_by(*order).limit(limit)

    def _all(self, connection: sa.Connection, query: Query, after: tuple[float, int] | None, limit: int) -> list[tuple[float, int]]:
        wanted, rows = self._ordered(query, after, limit), tables.repositories.c
        if query.names is not None:
            wanted = wanted.where(sa.or_(sa.not_(rows.private), rows.author.in_(query.names)))
        return [(row[0], row[1]) for row in connection.execute(wanted)]

    def _matching(self, connection: sa.Connection, query: Query, after: tuple[float, int] | None, limit: int) -> list[tuple[float, int]]:
        match = self._match(connection, query)
        if match is None:
            return []
        few = self._numbers(connection, match, FEW + 1)
        if len(few) <= FEW:
            return self._sorted(connection, query, few, after, limit)
        if query.sort == "created":
            return [(number, number) for number in self._numbers(connection, match, limit, query.descending, after)]
        found: list[tuple[float, int]] = []
        for step, low, high in self._steps(connection, query, after):
            own = f'{match} AND "{step}"'
            numbers = self._numbers(connection, own, MANY + 1)
            if len(numbers) <= MANY:
                found += self._sorted(connection, query, numbers, after, limit - len(found))
            else:
                found += self._walked(connection, query, own, (low, high), after, limit - len(found))
            if len(found) >= limit:
                break
        return found

    def _match(self, connection: sa.Connection, query: Query) -> str | None:
        """The expression of a query's tokens; None when a word is in no name."""
        parts = [f"k:{query.kind}", *(token("t", tag) for tag in query.tags)]
        if query.author:
            parts.append(token("a", query.author))
        wanted = [f'"{part}"' for part in parts]
        for word in words_of(query.words):
            starts = self._starting(connection, word)
            if not starts:
                return None
            wanted.append(_any(f"n:{one}" for one in starts))
        for word in words_of(query.text):
            wanted.append(_any([*(f"n:{one}" for one in self._starting(connection, word)), f"c:{word[:LONGEST]}"]))
        if query.names is not None:
            wanted.append(_any(["v:public", *(token("a", name) for name in query.names if name)]))
        return " AND ".join(wanted)

    def _starting(self, connection: sa.Connection, word: str) -> list[str]:
        """Words of names that begin so, the word itself first, then the most frequent."""
        table = tables.name_words
        rows = connection.execute(
            sa.select(table).where(table.c.word >= word, table.c.word < word + "\U0010ffff", table.c.count > 0)
            .order_by(table.c.word).limit(LOOKED_AT)
        ).all()  # fmt: skip
        return [row.word for row in sorted(rows, key=lambda row: (row.word != word, -row.count))[:STARTS]]

    def _numbers(
        self, connection: sa.Connection, match: str, limit: int, descending: bool = True, after: tuple[float, int] | None = None
    ) -> list[int]:
        """Ids of matches, in their order."""
        beyond = "" if after is None else f"AND rowid {'<' if descending else '>'} {after[1]}"
        order = "DESC" if descending else "ASC"
        rows = connection.exec_driver_sql(f"SELECT rowid FROM search WHERE search MATCH ? {beyond} ORDER BY rowid {order} LIMIT ?", (match, limit))
        return [row[0] for row in rows]

    def _sorted(
        self, connection: sa.Connection, query: Query, numbers: list[int], after: tuple[float, int] | None, limit: int
    ) -> list[tuple[float, int]]:
        """The first of these in the query's order."""
        rows = tables.repositories.c
        found: list[tuple[float, int]] = []
        for start in range(0, len(numbers), 5000):
            some = sa.select(self._key(query), rows.id).where(rows.id.in_(sa.bindparam("some", expanding=True, literal_execute=True)))
            found += [(row[0], row[1]) for row in connection.execute(some, {"some": numbers[start : start + 5000]})]
        found.sort(reverse=query.descending)
        if after is not None:
            found = [one for one in found if (one < after if query.descending else one > after)]
        return found[:limit]

    def _walked(self, connection: sa.Connection, query: Query, match: str, between: tuple[float, float], after: tuple[float, int] | None,
                limit: int) -> list[tuple[float, int]]:  # fmt: skip
        """Matches of one step in the order of the table: they are many, so the first are near."""
        key = self._key(query)
        there = sa.text("EXISTS (SELECT 1 FROM search WHERE search MATCH :match AND search.rowid = repositories.id)")
        wanted = self._ordered(query, after, limit).where(key >= between[0], key < between[1], there)
        return [(row[0], row[1]) for row in connection.execute(wanted, {"match": match})]

    def _steps(self, connection: sa.Connection, query: Query, after: tuple[float, int] | None) -> Iterator[tuple[str, float, float]]:
        """(token, least key, key it stays below) from where the query's order begins."""
        key, rows = self._key(query), tables.repositories.c
        ends = [
            connection.execute(sa.select(key).where(rows.kind == query.kind).order_by(order, order2).limit(1)).scalar()
            for order, order2 in ((key, rows.id), (key.desc(), rows.id.desc()))
        ]
        low, high = (0 if end is None else end for end in ends)
        if after is not None:
            low, high = (low, after[0]) if query.descending else (after[0], high)
        if query.sort == "downloads":
            steps = range(step_of(int(low)), step_of(int(high)) + 1)
            for step in reversed(steps) if query.descending else steps:
                yield f"s:{step}", 2 ** (step / 2) - 1, 2 ** ((step + 1) / 2) - 1
            return
        first, last = int(low // DAY), int(high // DAY)
        months = range(first // MONTH, last // MONTH + 1)
        match = self._match(connection, query)
        for month in reversed(months) if query.descending else months:
            if len(self._numbers(connection, f'{match} AND "m:{month}"', FEW + 1)) <= FEW:
                yield f"m:{month}", month * MONTH * DAY, (month + 1) * MONTH * DAY
                continue
            days = range(max(first, month * MONTH), min(last, month * MONTH + MONTH - 1) + 1)
            for day in reversed(days) if query.descending else days:
                yield f"d:{day}", day * DAY, (day + 1) * DAY


def _any(tokens: Iterable[str]) -> str:
    return "(" + " OR ".join(f'"{one}"' for one in tokens) + ")"


def _read_cursor(text: str) -> tuple[float, int] | None:
    if not text:
        return None
    key, _, number = text.partition(":")
    try:
        found = float(key), int(number)
    except ValueError:
        found = (math.nan, 0)
    if not math.isfinite(found[0]) or abs(found[1]) >= 2**63:
        raise UsageError(f"{text[:60]!r} is no cursor of a list", "take the address of the next page from the list's Link header")
    return found
