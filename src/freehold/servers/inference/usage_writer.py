"""Writes the usage of requests to the database, a few times a second."""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy.exc import SQLAlchemyError

from freehold.core.errors import FreeholdError
from freehold.costs.usage import UsageLog, Used

#: Seconds between two writes: the usage that a killed server may lose.
WRITE_EVERY_S = 0.25
log = logging.getLogger("freehold.usage")


class UsageWriter:
    """Keeps rows until the database has them. Used from the event loop."""

    def __init__(self, usage_log: UsageLog):
        self._usage_log = usage_log
        self._unwritten: list[Used] = []
        #: whether the last write failed
        self._failed = False

    def add(self, row: Used) -> None:
        """Add the usage of a request that has ended."""
        self._unwritten.append(row)

    async def run(self) -> None:
        """Write every :data:`WRITE_EVERY_S` seconds until cancelled, and once more then.

        What the database does not take (the disk is full, another process writes for too long) is tried
        again.
        """
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY_S)
                await self._write()
        except asyncio.CancelledError:
            await self._write()
            raise

    async def _write(self) -> None:
        rows, self._unwritten = self._unwritten, []
        try:
            await asyncio.to_thread(self._usage_log.add, rows)
        except (SQLAlchemyError, FreeholdError, OSError) as error:
            self._unwritten = rows + self._unwritten
            if not self._failed:
                log.error("usage cannot be written; it is kept in memory and tried again: %s", error)
            self._failed = True
        else:
            if self._failed:
                log.warning("usage is written again")
            self._failed = False
