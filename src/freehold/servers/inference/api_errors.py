"""Errors of the server, in the form of the API that was called."""

from __future__ import annotations

from typing import Literal, TypedDict

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
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class ApiError(Exception):
    """An answer other than success.

    ``status``: of HTTP. ``code``: OpenAI's word for it. ``wait_s``: seconds after which to try again.
    """

    def __init__(self, status: int, message: str, code: str | None = None, wait_s: float = 0.0):
        super().__init__(message)
        self.status, self.message, self.code, self.wait_s = status, message, code, wait_s


class OpenAIError(TypedDict):
    """The error of OpenAI's APIs, and of ours."""

    message: str
    type: str
    param: None
    code: str | None


class OpenAIErrorBody(TypedDict):
    """The envelope of OpenAI's error."""

    error: OpenAIError


class AnthropicError(TypedDict):
    """The error of Anthropic's API."""

    type: str
    message: str


class AnthropicErrorBody(TypedDict):
    """The envelope of Anthropic's error."""

    type: Literal["error"]
    error: AnthropicError


class OllamaErrorBody(TypedDict):
    """The error of Ollama's API."""

    error: str


def api_error_of(error: FreeholdError) -> ApiError:
    """The answer that a client gets for an error of ours."""
    if isinstance(error, DoesNotFit):
        return ApiError(400, str(error), "context_length_exceeded")
    if isinstance(error, NotFound):
        return ApiError(404, str(error), "model_not_found")
    if isinstance(error, Busy):
        return ApiError(503, str(error), "overloaded", 5.0)
    return ApiError(500 if isinstance(error, BadModel | StepFailed) else 400, str(error))


def error_body(path: str, error: ApiError) -> OpenAIErrorBody | AnthropicErrorBody | OllamaErrorBody:
    """The error as the API at ``path`` writes errors."""
    if path.startswith("/v1/messages"):
        kind = _ANTHROPIC.get(error.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}}
    if path.startswith("/api/"):
        return {"error": error.message}
    kind = _OPENAI.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}


def error_response(path: str, error: ApiError) -> JSONResponse:
    """The error as a response."""
    headers = {"Retry-After": str(max(1, round(error.wait_s)))} if error.status in (429, 503) else {}
    return JSONResponse(error_body(path, error), error.status, headers)
