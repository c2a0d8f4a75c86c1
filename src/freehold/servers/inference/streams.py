"""Answers that are sent while they come about."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi.responses import StreamingResponse

from freehold.servers.inference.service import Answer


class Stream(StreamingResponse):
    """An answer as ``events``. It ends with its client, also where that left unread what was being sent, or had left before."""

    def __init__(self, answer: Answer, events: AsyncGenerator[str], media_type: str):
        super().__init__(events, media_type=media_type)
        self.answer, self.events = answer, events

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See the ASGI specification."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.events.aclose()
            await self.answer.close()  # events that were never begun did not close it
