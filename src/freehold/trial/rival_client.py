"""One request to an OpenAI-compatible server: its retries, its answer, and what the answer took."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from freehold.core.errors import FreeholdError
from freehold.trial.rival_dialect import RequestBody

#: Tries of a request, and of the first one, where a wrong address is more likely than a busy server.
TRIES, FIRST_TRIES = 8, 2
#: Asking stops where a server asks to wait longer than this; the answers so far are saved.
LONGEST_WAIT_S = 120.0
#: Seconds that an answer may take; models that reason take minutes.
TIMEOUT_S = 300.0
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_RESUME = "the answers so far are saved; run the same command again to continue"


class Rejected(Exception):
    """A request that the server will never accept as it is: ``status`` and the server's ``message``."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message

    @property
    def filtered(self) -> bool:
        """Whether the server's content filter refused the row."""
        text = self.message.lower()
        return any(
            word in text for word in ("content_filter", "content filter", "content_policy", "responsibleai")
        )


class Stopped(Exception):
    """Asking was stopped while a request waited for its next try."""


@dataclass(frozen=True)
class Reply:
    """A server's answer."""

    #: what it wrote
    text: str
    #: stop, length, content_filter or rejected
    finish: str
    #: None where the server counted none
    prompt_tokens: int | None
    #: None where the server counted none
    answer_tokens: int | None
    #: part of ``answer_tokens``
    reasoning_tokens: int
    #: part of ``prompt_tokens``
    cached_tokens: int
    #: of the try that was answered
    seconds: float
    #: tries until there was an answer
    tries: int


class Client:
    """Sends requests to one address; safe for several threads. Close it at the end."""

    def __init__(self, url: str, key: str, *, pause: Callable[[float], bool] | None = None):
        import httpx

        self.url = url.rstrip("/") + "/chat/completions"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(headers=headers, timeout=httpx.Timeout(TIMEOUT_S, connect=20))
        self.stop = threading.Event()
        self._pause = pause or self.stop.wait
        self._reached = False

    def close(self) -> None:
        """End waiting and close the connections."""
        self.stop.set()
        self._http.close()

    def ask(self, body: RequestBody) -> Reply:
        """The answer to one request. Raises Rejected, Stopped, FreeholdError."""
        import httpx

        tries = 0
        while True:
            tries += 1
            last = tries >= (TRIES if self._reached else FIRST_TRIES)
            started = time.perf_counter()
            try:
                response = self._http.post(self.url, json=body)
            except httpx.HTTPError as error:
                if last or isinstance(error, httpx.UnsupportedProtocol):
                    what = f"{self.url} could not be reached ({error or type(error).__name__})"
                    raise FreeholdError(what, f"check --rival-endpoint; {_RESUME}") from error
                self._wait(_backoff(tries))
                continue
            seconds = time.perf_counter() - started
            self._reached = True
            status, value = _read(response)
            if status == 200:
                return _reply(self.url, value, seconds, tries)
            if status in (400, 413, 422):
                raise Rejected(status, response.text[:4000])
            if status not in _AGAIN or "insufficient_quota" in response.text or tries >= TRIES:
                raise FreeholdError(
                    f"{self.url} answered {status} ({response.text[:200]})",
                    f"check the model name, the key and its quota; {_RESUME}",
                )
            self._wait(self._asked_to_wait(response, tries))

    def _wait(self, seconds: float) -> None:
        if self._pause(seconds) or self.stop.is_set():
            raise Stopped

    def _asked_to_wait(self, response: Any, tries: int) -> float:
        """Seconds until the next try: those that the server asks for, else twice as many each time."""
        seconds = _retry_after(response.headers)
        if seconds is None:
            return _backoff(tries)
        if seconds > LONGEST_WAIT_S:
            raise FreeholdError(f"{self.url} asks to wait {seconds:,.0f} s before the next request", _RESUME)
        return seconds


def _retry_after(headers: Any) -> float | None:
    """Seconds in Retry-After or retry-after-ms; the header may hold a date."""
    text = headers.get("retry-after-ms", "")
    if text.replace(".", "", 1).isdigit():
        return float(text) / 1000
    text = headers.get("retry-after", "")
    if text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time()) if text else None
    except ValueError:
        return None


def _backoff(tries: int) -> float:
    """Seconds to wait: 0.5, 1, 2, ... at most 30, shortened at random so that clients spread out."""
    return min(0.5 * 2 ** (tries - 1), 30.0) * (1 - 0.25 * random.random())


def _read(response: Any) -> tuple[int, Any]:
    """(status, body); an error in a body with status 200 gives the error's own status."""
    try:
        value = response.json()
    except ValueError:
        value = None
    error = value.get("error") if isinstance(value, dict) else None
    if response.status_code == 200 and error:
        code = error.get("code") if isinstance(error, dict) else None
        return (code if isinstance(code, int) and code >= 400 else 502), value
    return response.status_code, value


def _reply(url: str, value: Any, seconds: float, tries: int) -> Reply:
    try:
        choice = value["choices"][0]
        message = choice["message"]
    except (KeyError, IndexError, TypeError) as error:
        raise FreeholdError(
            f"{url} answered with something other than a chat completion ({str(value)[:200]})",
            "check --rival-endpoint: it is the address before /chat/completions, often ending in /v1",
        ) from error
    refusal = message.get("refusal")
    usage = value.get("usage") or {}
    answer_details = usage.get("completion_tokens_details") or {}
    prompt_details = usage.get("prompt_tokens_details") or {}
    finish = "content_filter" if refusal else choice.get("finish_reason") or ""
    return Reply(
        text=_text(message.get("content")) or (refusal or ""),
        finish=finish,
        prompt_tokens=usage.get("prompt_tokens"),
        answer_tokens=usage.get("completion_tokens"),
        reasoning_tokens=answer_details.get("reasoning_tokens") or 0,
        cached_tokens=prompt_details.get("cached_tokens") or 0,
        seconds=seconds,
        tries=tries,
    )


def _text(content: Any) -> str:
    """A message's text, which some servers give in parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content or ""
