"""Refusals of the server, in the shape of the API that was asked."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

from freehold.core.errors import BadModel, Busy, DoesNotFit, FreeholdError, NotFound, StepFailed

_OPENAI = {
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
    503: "server_error",
}
_ANTHROPIC = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
    429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


class ApiError(Exception):
    """An answer other than success. ``code``: OpenAI's word for it; ``wait_s``: seconds after which to try again."""

    def __init__(self, status: int, message: str, code: str | None = None, wait_s: float = 0.0):
        super().__init__(message)
        self.status, self.message, self.code, self.wait_s = status, message, code, wait_s


def of_fault(error: FreeholdError) -> ApiError:
    """What a failure of ours is to a client."""
    if isinstance(error, DoesNotFit):
        return ApiError(400, str(error), "context_length_exceeded")
    if isinstance(error, NotFound):
        return ApiError(404, str(error), "model_not_found")
    if isinstance(error, Busy):
        return ApiError(503, str(error), "overloaded", 5.0)
    return ApiError(500 if isinstance(error, BadModel | StepFailed) else 400, str(error))


def body_of(path: str, refusal: ApiError) -> dict[str, Any]:
    """The refusal as the API at ``path`` writes errors."""
    if path.startswith("/v1/messages"):
        return {
            "type": "error",
            "error": {"type": _ANTHROPIC.get(refusal.status, "api_error"), "message": refusal.message},
        }
    if path.startswith("/api/"):
        return {"error": refusal.message}
    kind = _OPENAI.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    return {"error": {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}}


def response(path: str, refusal: ApiError) -> JSONResponse:
    """The refusal over HTTP."""
    headers = {"Retry-After": str(max(1, round(refusal.wait_s)))} if refusal.status in (429, 503) else {}
    return JSONResponse(body_of(path, refusal), refusal.status, headers)
