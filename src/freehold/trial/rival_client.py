"""One row to a server of the OpenAI kind and back: retries as usual clients do, and what an answer took."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from freehold.core.errors import FreeholdError

#: Tries of a request, and of the very first, where a wrong address is likelier than a busy server.
TRIES, FIRST_TRIES = 8, 2
#: A server that asks to wait longer than this is left alone: answers so far are kept.
LONGEST_WAIT_S = 120.0
#: Seconds that an answer may take; models that reason take minutes.
TIMEOUT_S = 300.0
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_KEPT = "answers so far are kept; run the same command again to go on"


class Rejected(Exception):
    """A request that the server will never take as it is: ``status`` and what it said."""

    def __init__(self, status: int, said: str):
        super().__init__(said)
        self.status, self.said = status, said

    @property
    def filtered(self) -> bool:
        """Whether the server's content filter refused the row."""
        text = self.said.lower()
        return any(
            word in text for word in ("content_filter", "content filter", "content_policy", "responsibleai")
        )


class Stopped(Exception):
    """Asking was ended while a request waited to be tried again."""


@dataclass(frozen=True)
class Reply:
    """A server's answer. Seconds are those of the try that was answered; tokens are None where not counted.

    ``finish``: stop, length or content_filter. ``reasoning_tokens`` are part of ``answer_tokens``,
    ``cached_tokens`` of ``prompt_tokens``.
    """

    text: str
    finish: str
    prompt_tokens: int | None
    answer_tokens: int | None
    reasoning_tokens: int
    cached_tokens: int
    seconds: float
    tries: int


class Client:
    """Asks one address; safe for several threads. Close it at the end."""

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

    def ask(self, body: dict[str, Any]) -> Reply:
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
                    what = f"{self.url} could not be asked ({error or type(error).__name__})"
                    raise FreeholdError(what, f"check --rival-endpoint; {_KEPT}") from error
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
                    f"check the model name, the key and its quota; {_KEPT}",
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
            raise FreeholdError(f"{self.url} asks to wait {seconds:,.0f} s before the next request", _KEPT)
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
    """0.5 s, 1 s, 2 s, ... at most 30 s, a little shorter by chance so that clients spread out."""
    return min(0.5 * 2 ** (tries - 1), 30.0) * (1 - 0.25 * random.random())


def _read(response: Any) -> tuple[int, Any]:
    """(status, body); an error that comes with status 200 gives its own status."""
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
            f"{url} answered something else than a chat completion ({str(value)[:200]})",
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
