"""Answers that are sent while they are generated."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from freehold.servers.inference.service import Answer

EVENTS, JSON_LINES = "text/event-stream", "application/x-ndjson"


class Stream(StreamingResponse):
    """An answer as ``events``. It ends when its client leaves, even before the first event was read."""

    def __init__(self, answer: Answer, events: AsyncGenerator[str], media_type: str = EVENTS):
        super().__init__(events, media_type=media_type)
        self.answer, self.events = answer, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all; the ASGI server calls this."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.events.aclose()
            await self.answer.close()  # events that were never begun did not close it


def server_sent_event(value: Mapping[str, object], name: str = "") -> str:
    """One server-sent event with a JSON object."""
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
