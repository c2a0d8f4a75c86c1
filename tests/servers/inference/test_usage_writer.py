"""Usage reaches the database, and is kept where the database fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from freehold.costs.usage import Used
from freehold.servers.inference.usage_writer import UsageWriter


def used(model: str) -> Used:
    return Used(0.0, "", model, 1, 0, 1, 0.1, 0.2, "ok")


class FullDisk:
    """A usage log that fails until ``free``."""

    def __init__(self) -> None:
        self.free, self.rows = False, list[str]()

    def add(self, rows: Sequence[Used]) -> None:
        if not self.free:
            raise OSError("no space left on device")
        self.rows += [row.model for row in rows]


def test_rows_are_kept_in_order_until_they_can_be_written_and_written_at_the_end() -> None:
    disk: Any = FullDisk()
    writer = UsageWriter(disk)

    async def test() -> None:
        writer.add(used("first"))
        await writer._write()
        writer.add(used("second"))
        assert disk.rows == []
        disk.free = True
        running = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(test())
    assert disk.rows == ["first", "second"]
