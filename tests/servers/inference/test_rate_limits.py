"""Limits of a key in a minute and at once, and of the queue."""

from __future__ import annotations

import pytest

from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.api_keys import Key, Limits
from freehold.servers.inference.rate_limits import Limiter


class Time:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def key(name: str = "k", **limits: int) -> Key:
    return Key(name, (), 0.0, 0.0, Limits(**limits))


def refused(limiter: Limiter, of: Key, waiting: int = 0) -> ApiError:
    with pytest.raises(ApiError) as raised:
        limiter.enter(of, waiting)
    assert raised.value.status == 429
    return raised.value


def test_the_window_of_requests_slides(time: Time) -> None:
    limiter, two = Limiter(4, time), key(requests_per_minute=2)
    limiter.enter(two, 0)
    time.now += 20
    limiter.enter(two, 0)
    time.now += 20
    assert refused(limiter, two).wait_s == 20
    time.now += 20
    limiter.enter(two, 0)
    assert refused(limiter, two).wait_s == 20


def test_a_refused_request_does_not_count(time: Time) -> None:
    limiter, one = Limiter(4, time), key(requests_per_minute=1)
    limiter.enter(one, 0)
    for _ in range(3):
        refused(limiter, one)
    time.now += 60
    limiter.enter(one, 0)


def test_keys_are_counted_apart(time: Time) -> None:
    limiter = Limiter(4, time)
    first, second = key("first", requests_per_minute=1), key("second", requests_per_minute=1)
    limiter.enter(first, 0)
    limiter.enter(second, 0)
    refused(limiter, first)


def test_a_key_without_limits_is_held_back_by_the_queue_alone(time: Time) -> None:
    limiter = Limiter(4, time)
    for _ in range(100):
        limiter.enter(key(), 3)
    error = refused(limiter, key(), 4)
    assert (error.code, error.wait_s) == ("overloaded", 2.0)
    assert "4 waiting" in error.message


def test_requests_at_once_end_with_their_answers(time: Time) -> None:
    limiter, two = Limiter(4, time), key(concurrent=2)
    limiter.enter(two, 0)
    limiter.enter(two, 0)
    assert "at most 2 requests at the same time" in refused(limiter, two).message
    limiter.leave(two, 10)
    limiter.enter(two, 0)


def test_tokens_of_a_minute_count_when_they_were_used(time: Time) -> None:
    limiter, few = Limiter(4, time), key(tokens_per_minute=100)
    limiter.enter(few, 0)
    limiter.leave(few, 60)
    time.now += 30
    limiter.enter(few, 0)
    limiter.leave(few, 40)
    error = refused(limiter, few)
    assert (error.code, error.wait_s) == ("rate_limit_exceeded", 30.0)
    time.now += 30  # the first 60 tokens are a minute old
    limiter.enter(few, 0)


def test_tokens_of_answers_under_way_are_reserved(time: Time) -> None:
    limiter, few = Limiter(4, time), key(tokens_per_minute=100)
    limiter.enter(few, 0)
    limiter.enter(few, 0)
    limiter.expect(few, 100)
    with pytest.raises(ApiError, match="requests in progress included") as raised:
        limiter.expect(few, 1)
    assert raised.value.wait_s == 1.0  # nothing was used yet that grows old
    limiter.leave(few, 10, expected=100)
    limiter.expect(few, 50)


def test_an_answer_without_tokens_uses_none(time: Time) -> None:
    limiter, few = Limiter(4, time), key(tokens_per_minute=1)
    for _ in range(3):
        limiter.enter(few, 0)
        limiter.leave(few, 0)
