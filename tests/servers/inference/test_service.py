"""Limits, keys, the order of those who wait, and the accounts, without a server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from freehold.core.errors import NotFound, UsageError
from freehold.costs.usage import UsageLog, Used
from freehold.models.store import Store
from freehold.servers.inference.api_errors import ApiError, error_body
from freehold.servers.inference.api_keys import Key, Keys, Limits
from freehold.servers.inference.chat_request import ChatRequest, prompt_tokens
from freehold.servers.inference.rate_limits import Limiter
from freehold.servers.inference.tool_calls import Tool, ToolCallFilter, split_calls


def key(**limits: int) -> Key:
    return Key("one", (), 0.0, 0.0, Limits(**limits))


def test_requests_and_tokens_of_a_minute_are_limited() -> None:
    now = [1000.0]
    limiter = Limiter(4, lambda: now[0])
    few = key(requests_per_minute=2)
    limiter.enter(few, 0)
    now[0] += 10
    limiter.enter(few, 0)
    with pytest.raises(ApiError) as refused:
        limiter.enter(few, 0)
    assert (refused.value.status, refused.value.wait_s) == (429, 50.0)
    now[0] += 51
    limiter.enter(few, 0)
    words = Key("two", (), 0.0, 0.0, Limits(tokens_per_minute=100))
    limiter.enter(words, 0)
    limiter.leave(words, 120)
    with pytest.raises(ApiError, match="100 tokens a minute"):
        limiter.enter(words, 0)
    now[0] += 61
    limiter.enter(words, 0)


def test_at_once_and_in_the_queue() -> None:
    limiter = Limiter(4)
    one = key(concurrent=1)
    limiter.enter(one, 0)
    with pytest.raises(ApiError, match="at most 1 request at the same time"):
        limiter.enter(one, 0)
    limiter.leave(one, 0)
    limiter.enter(one, 3)
    with pytest.raises(ApiError, match="the queue is full"):
        limiter.enter(key(), 4)


def test_keys_are_kept_as_digests_and_rotate(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = Keys(store)
    assert not keys.any()
    made = keys.create("reception", models=["smollm2"], limits=Limits(requests_per_minute=5, priority=2))
    found = keys.find(made)
    assert found is not None
    assert (found.name, found.may_use("smollm2"), found.may_use("other"), found.limits.priority) == (
        "reception",
        True,
        False,
        2,
    )
    assert (
        made.encode()
        not in (tmp_path / "freehold.db").read_bytes() + (tmp_path / "freehold.db-wal").read_bytes()
    )
    second = keys.rotate("reception", overlap_s=60)
    assert keys.find(made) is not None
    third = keys.rotate("reception")
    assert keys.find(second) is None
    assert keys.find(made) is None
    assert keys.find(third) is not None
    keys.revoke("reception")
    assert keys.find(third) is None
    with pytest.raises(NotFound):
        keys.revoke("reception")
    short = keys.create("short", days=1e-9)
    time.sleep(0.01)
    assert keys.find(short) is None
    with pytest.raises(UsageError):
        keys.create("short")


def test_usage_is_summed_by_key_and_model(tmp_path: Path) -> None:
    usage_log = UsageLog(Store(tmp_path))
    now = time.time()
    usage_log.add(
        [
            Used(now, "a", "m", 100, 40, 10, 0.1, 0.5, "ok"),
            Used(now, "a", "m", 1, 0, 1, 0.1, 0.5, "ok"),
            Used(now - 1e6, "b", "m", 5, 0, 5, 0.1, 0.5, "ok"),
        ]
    )
    assert [
        (one.key, one.requests, one.prompt_tokens, one.reused, one.answer_tokens) for one in usage_log.sums()
    ] == [
        ("a", 2, 101, 40, 11),
        ("b", 1, 5, 0, 5),
    ]
    assert [one.key for one in usage_log.sums(days=1)] == ["a"]


def test_calls_are_told_from_text() -> None:
    text, calls = split_calls(
        'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    )
    assert text == "Let me see."
    assert [(call.name, call.arguments) for call in calls] == [("weather", {"city": "Paris"})]
    broken = "<tool_call>{not json}</tool_call>"
    assert split_calls(broken) == (broken, [])
    shown = ToolCallFilter(calls=True)
    said = [
        shown.add(part)
        for part in ("A <b> and <tool", '_call>{"name": "f", "argu', 'ments": {}}</tool_call>')
    ]
    assert "".join(said) == "A <b> and "
    assert [call.name for call in shown.rest()[1]] == ["f"]
    plain = ToolCallFilter(calls=True)
    assert plain.add("1 < 2, <tool") + plain.rest()[0] == "1 < 2, <tool"


def test_calls_are_told_in_time_that_grows_as_the_text_does() -> None:
    for many in (
        "<tool_call>{" * 200_000,
        "<tool_call>{}x</tool_call>" * 50_000,
        "<tool_call>" + " " * 500_000,
    ):
        assert split_calls(many) == (many, [])


def test_a_call_may_hold_the_marks_of_calls() -> None:
    inner = '{"name": "f", "arguments": {"code": "<tool_call>{}x</tool_call>"}}'
    text, calls = split_calls(f"a<tool_call>{inner}</tool_call>b")
    assert text == "ab"
    assert [call.arguments for call in calls] == [{"code": "<tool_call>{}x</tool_call>"}]


def test_errors_have_each_apis_shape() -> None:
    refusal = ApiError(429, "later", "overloaded", 3.0)
    assert error_body("/v1/chat/completions", refusal)["error"]["type"] == "rate_limit_error"
    assert error_body("/v1/messages", refusal) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "later"},
    }
    assert error_body("/api/chat", refusal) == {"error": "later"}


def test_a_chat_without_messages_is_an_error() -> None:
    with pytest.raises(ApiError, match="messages is empty"):
        prompt_tokens(ChatRequest("m", tools=(Tool("f", "", {}),)), None, "")  # type: ignore[arg-type]
