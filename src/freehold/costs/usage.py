"""What a server's keys have used: a row for each request, and sums by key and model."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from freehold.models.catalogue import Text, make_tables
from freehold.models.store import Store

metadata = sa.MetaData()
#: One row for each request; the columns are the fields of :class:`Used`.
usage = sa.Table(
    "usage",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("key", Text, nullable=False),
    sa.Column("model", Text, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("reused", sa.Integer, nullable=False),
    sa.Column("answer_tokens", sa.Integer, nullable=False),
    sa.Column("first_token_s", sa.Float, nullable=False),
    sa.Column("engine_s", sa.Float, nullable=False),
    sa.Column("status", Text, nullable=False),
    sa.Column("joules", sa.Float),
)


@dataclass(frozen=True)
class Used:
    """What one request used."""

    #: when it ended, in seconds since 1970
    at: float
    #: name of the key
    key: str
    #: name of the model
    model: str
    #: tokens of the prompt
    prompt_tokens: int
    #: prompt tokens that were computed before
    reused: int
    #: tokens of the answer
    answer_tokens: int
    #: seconds until the first token of the answer
    first_token_s: float
    #: seconds in the engine, which other requests shared
    engine_s: float
    #: ok, cancelled, or error
    status: str
    #: its part of the engine's energy, None where nothing was metered
    joules: float | None = None


@dataclass(frozen=True)
class Sum:
    """What a key used of a model in all its requests."""

    #: name of the key
    key: str
    #: name of the model
    model: str
    #: number of requests
    requests: int
    #: tokens of prompts
    prompt_tokens: int
    #: prompt tokens that were computed before
    reused: int
    #: tokens of answers
    answer_tokens: int
    #: seconds in the engine, which other requests shared
    engine_s: float
    #: energy, None where nothing was metered
    joules: float | None


class UsageLog:
    """The usage in one store."""

    def __init__(self, store: Store):
        self.engine = store.engine
        make_tables(self.engine, metadata)
        if "joules" not in {
            column["name"] for column in sa.inspect(self.engine).get_columns("usage")
        }:  # a table from before energy was counted
            with self.engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE usage ADD COLUMN joules FLOAT"))

    def add(self, rows: Iterable[Used]) -> None:
        """Write requests, all or none."""
        values = [asdict(row) for row in rows]
        if values:
            with self.engine.begin() as connection:
                connection.execute(usage.insert(), values)

    def sums(self, days: float = 0.0) -> list[Sum]:
        """By key and model, largest first; of the last ``days``, or of all time."""
        c, total = usage.c, sa.func.sum
        totals = [
            total(column) for column in (c.prompt_tokens, c.reused, c.answer_tokens, c.engine_s, c.joules)
        ]
        query = sa.select(c.key, c.model, sa.func.count(), *totals).group_by(c.key, c.model)
        query = query.order_by(total(c.prompt_tokens + c.answer_tokens).desc())
        if days:
            query = query.where(c.at >= time.time() - days * 86_400)
        with self.engine.connect() as connection:
            return [Sum(*row) for row in connection.execute(query)]
