"""What was asked and answered, in files, if the operator wants them: one for each day, with how long it is kept in its name.

Files are JSON lines, readable by their owner alone, and are deleted when their time is over. Nothing is logged unless a folder is named.
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
    """Writes to ``folder``, each day's file for ``days`` days after it; nothing without a folder. Raises UsageError."""

    def __init__(self, folder: Path | None = None, days: int = 0):
        self.folder, self.days = folder, days
        self._lock = threading.Lock()
        self._day: date | None = None
        if folder is None:
            return
        if days < 1:
            raise UsageError(
                "a log of prompts needs the days that it is kept", "give --log-days, e.g. --log-days 30"
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.forget(datetime.now(UTC).date())

    def write(self, key: str, dialogue: ChatRequest, done: Completion | None, status: str) -> None:
        """Add a request, and what was answered if it came to its end."""
        if self.folder is None:
            return
        now = datetime.now(UTC)
        asked = {"messages": dialogue.messages} if dialogue.prompt is None else {"prompt": dialogue.prompt}
        row = {
            "at": now.isoformat(),
            "key": key,
            "model": dialogue.model,
            **asked,
            "answer": done.text if done else None,
            "status": status,
        }
        with self._lock:
            if now.date() != self._day:
                self._day = now.date()
                self.forget(self._day)
            path = self.folder / f"prompts-{self._day}-kept-{self.days}-days.jsonl"
            with os.fdopen(
                os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
            ) as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def forget(self, today: date) -> None:
        """Delete files whose time is over, by the days in their own names."""
        assert self.folder is not None
        for path in self.folder.iterdir():
            if _is_over(path.name, today):
                path.unlink(missing_ok=True)  # another server of this folder may have been faster

    async def keep(self) -> None:
        """Delete what is due, every hour until cancelled, also where nobody asks anything."""
        while self.folder is not None:
            try:
                await asyncio.to_thread(self.forget, datetime.now(UTC).date())
            except OSError as error:  # the folder may be there again in an hour
                log.error("prompts whose time is over cannot be deleted, which is tried again: %s", error)
            await asyncio.sleep(3600)


def _is_over(name: str, today: date) -> bool:
    """Whether a file of this name is one of ours that has been kept for its days."""
    named = _NAME.fullmatch(name)
    try:
        return named is not None and (today - date.fromisoformat(named[1])).days > int(named[2])
    except ValueError:  # no day of the calendar: not ours
        return False
