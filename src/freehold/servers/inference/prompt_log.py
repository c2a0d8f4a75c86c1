"""The log of prompts and answers, if the operator wants one: a file for each day, with its retention in
its name.

Files are JSON lines that only their owner may read, and are deleted when their time is over. Nothing is
logged unless a folder is named.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
from datetime import UTC, date, datetime
from pathlib import Path

from freehold.core.errors import UsageError
from freehold.inference.interface import Completion
from freehold.servers.inference.chat_request import ChatRequest

log = logging.getLogger("freehold.prompts")
_NAME = re.compile(r"prompts-(\d{4}-\d{2}-\d{2})-kept-(\d+)-days\.jsonl")


class PromptLog:
    """Writes to ``folder`` and keeps each day's file for ``days`` days; does nothing without a folder.

    Raises UsageError where the days are missing.
    """

    def __init__(self, folder: Path | None = None, days: int = 0):
        self.folder, self.days = folder, days
        self._lock = threading.Lock()
        self._day: date | None = None
        if folder is None:
            return
        if days < 1:
            raise UsageError(
                "--log-prompts needs the number of days to keep the files",
                "pass --log-days, e.g. --log-days 30",
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.delete_expired(datetime.now(UTC).date())

    def write(self, key: str, chat: ChatRequest, completion: Completion | None, status: str) -> None:
        """Add a request, and its answer if there is one."""
        if self.folder is None:
            return
        now = datetime.now(UTC)
        row: dict[str, object] = {"at": now.isoformat(), "key": key, "model": chat.model}
        if chat.prompt is None:
            row["messages"] = [message.for_template() for message in chat.messages]
        else:
            row["prompt"] = chat.prompt
        row |= {"answer": completion.text if completion else None, "status": status}
        with self._lock:
            if now.date() != self._day:
                self._day = now.date()
                self.delete_expired(self._day)
            path = self.folder / f"prompts-{self._day}-kept-{self.days}-days.jsonl"
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def delete_expired(self, today: date) -> None:
        """Delete files whose time is over, by the days in their names."""
        assert self.folder is not None
        for path in self.folder.iterdir():
            if _is_expired(path.name, today):
                path.unlink(missing_ok=True)  # another server with this folder may have deleted it

    async def run(self) -> None:
        """Delete expired files every hour until cancelled."""
        while self.folder is not None:
            try:
                await asyncio.to_thread(self.delete_expired, datetime.now(UTC).date())
            except OSError as error:  # the folder may be there again in an hour
                log.error("expired prompt logs cannot be deleted (trying again in an hour): %s", error)
            await asyncio.sleep(3600)


def _is_expired(name: str, today: date) -> bool:
    """Whether a file of this name is a prompt log whose time is over."""
    match = _NAME.fullmatch(name)
    try:
        return match is not None and (today - date.fromisoformat(match[1])).days > int(match[2])
    except ValueError:  # not a date: not our file
        return False
