"""What a server's keys have used: a row for each request, and sums by key and model with what an API would have cost."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from freehold.models.catalogue import Text, make_tables
from freehold.models.store import Store

metadata = sa.MetaData()
#: ``engine_s``: from the moment an engine took it to its end; others shared the engine meanwhile. ``reused``: prompt tokens that had been
#: computed before. ``joules``: its part of what the engine's steps took; null where nothing counted. ``status``: ok, cancelled, or error.
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
    """One request."""

    at: float
    key: str
    model: str
    prompt_tokens: int
    reused: int
    answer_tokens: int
    first_token_s: float
    engine_s: float
    status: str
    joules: float | None = None


@dataclass(frozen=True)
class Sum:
    """What a key had of a model."""

    key: str
    model: str
    requests: int
    prompt_tokens: int
    reused: int
    answer_tokens: int
    engine_s: float
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
        values: list[dict[str, Any]] = [asdict(row) for row in rows]
        if values:
            with self.engine.begin() as connection:
                connection.execute(usage.insert(), values)

    def sums(self, days: float = 0.0) -> list[Sum]:
        """By key and model, largest first; of the last ``days``, or of all time."""
        c, total = usage.c, sa.func.sum
        asked = sa.select(c.key, c.model, sa.func.count(), total(c.prompt_tokens), total(c.reused), total(c.answer_tokens), total(c.engine_s),
                          total(c.joules))  # fmt: skip
        asked = asked.group_by(c.key, c.model).order_by(total(c.prompt_tokens + c.answer_tokens).desc())
        if days:
            asked = asked.where(c.at >= time.time() - days * 86_400)
        with self.engine.connect() as connection:
            return [Sum(*row) for row in connection.execute(asked)]
