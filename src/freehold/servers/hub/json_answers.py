"""What many answers and bodies of the JSON API share.

Fields of all answers and bodies keep the names of the Hugging Face Hub's protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel

from freehold.core import strict_json
from freehold.core.json_types import JsonObject
from freehold.servers.hub.api_error import ApiError
from freehold.servers.web.bodies import body_of, need_json_type


class Empty(BaseModel):
    """``{}``: it worked, and there is nothing to say."""


class UserName(BaseModel):
    """A user as discussions name them."""

    name: str


def timestamp(seconds: float) -> str:
    """A time in seconds since 1970 as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass(frozen=True)
class JsonBody:
    """A body that is a JSON object, or empty."""

    fields: JsonObject

    def text(self, name: str) -> str:
        """A field's text; "" where it is not there. Raises ApiError."""
        value = self.fields.get(name) or ""
        if not isinstance(value, str):
            raise ApiError(400, f"the field {name!r} must be a string")
        return value

    def flag(self, name: str) -> bool:
        """Whether a field is there and true."""
        return bool(self.fields.get(name))


async def _json_body(request: Request) -> JsonBody:
    """Raises ApiError, BadData, HTTPException."""
    need_json_type(request)
    value = strict_json.read(await body_of(request) or b"{}")
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object")
    return JsonBody(value)


#: Read beside the event loop, so that the routes themselves can work in threads.
Body = Annotated[JsonBody, Depends(_json_body)]
