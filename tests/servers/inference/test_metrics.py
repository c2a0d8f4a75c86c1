"""What the server counts for Prometheus, and which of it a key may see."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from freehold.inference.interface import Completion
from freehold.servers.inference.api_keys import ANYONE, Key
from freehold.servers.inference.metrics import Metrics, VisibleMetrics

ANSWER = Completion("blue", (1, 2, 3), "stop", 10, 0.15, 0.4, reused=4, drafted=5, accepted=2, joules=1.5)


@dataclass
class Queue:
    """What the metrics read of the scheduler."""

    waiting: int = 0
    in_progress: int = 0
    health: Any = field(default_factory=lambda: SimpleNamespace(restarts=0, faults=0, reason="", step_s=0.0))


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def metrics(queue: Queue) -> Metrics:
    return Metrics(cast(Any, queue), cast(Any, SimpleNamespace(loaded=["alpha"])))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_an_answer_counts_what_was_computed_and_what_was_reused(metrics: Metrics) -> None:
    metrics.count_answer("alpha", ANSWER)
    metrics.count_answer("alpha", ANSWER)
    kinds = {
        kind: value(metrics, "freehold_tokens_total", model="alpha", kind=kind)
        for kind in ("prompt", "reused", "answer")
    }
    assert kinds == {"prompt": 12.0, "reused": 8.0, "answer": 6.0}
    assert value(metrics, "freehold_guessed_tokens_total", model="alpha", kind="offered") == 10.0
    assert value(metrics, "freehold_guessed_tokens_total", model="alpha", kind="right") == 4.0
    assert value(metrics, "freehold_energy_joules_total", model="alpha") == 3.0


def test_an_answer_that_was_cut_before_its_first_token_has_no_first_token(metrics: Metrics) -> None:
    metrics.count_answer("alpha", replace(ANSWER, tokens=(), reused=12, joules=None))
    assert value(metrics, "freehold_first_token_seconds_count", model="alpha") is None
    assert value(metrics, "freehold_tokens_total", model="alpha", kind="prompt") == 0.0
    assert value(metrics, "freehold_energy_joules_total", model="alpha") == 0.0


def test_seconds_fall_into_their_buckets(metrics: Metrics) -> None:
    metrics.count_answer("alpha", ANSWER)
    buckets = [
        value(metrics, "freehold_first_token_seconds_bucket", model="alpha", le=end) for end in ("0.1", "0.2")
    ]
    assert buckets == [0.0, 1.0]
    metrics.count_request("alpha", "ok", 7.0)
    metrics.count_request("alpha", "429", 0.01)
    assert value(metrics, "freehold_request_seconds_sum", model="alpha") == pytest.approx(7.01)
    assert value(metrics, "freehold_requests_total", model="alpha", status="429") == 1.0


def test_the_state_of_queue_engine_and_memory_is_read_when_it_is_asked_for(
    metrics: Metrics, queue: Queue
) -> None:
    queue.waiting, queue.in_progress = 3, 2
    queue.health.restarts, queue.health.reason, queue.health.step_s = 1, "the engine died", 0.5
    assert value(metrics, "freehold_waiting_requests") == 3.0
    assert value(metrics, "freehold_requests_under_way") == 2.0
    assert value(metrics, "freehold_loaded_models") == 1.0
    assert value(metrics, "freehold_engine_restarts_total") == 1.0
    assert value(metrics, "freehold_engine_up") == 0.0
    assert value(metrics, "freehold_engine_step_seconds") == 0.5
    queue.health.reason = ""
    assert value(metrics, "freehold_engine_up") == 1.0


def test_a_key_sees_its_own_models_and_what_belongs_to_none(metrics: Metrics) -> None:
    for model in ("alpha", "beta"):
        metrics.count_answer(model, ANSWER)
    limited = Key("reception", ("beta",), 0.0, 0.0, ANYONE.limits)
    page = generate_latest(VisibleMetrics(metrics.registry, limited)).decode()
    assert 'model="beta"' in page
    assert "alpha" not in page
    assert "freehold_waiting_requests 0.0" in page
    everything = generate_latest(VisibleMetrics(metrics.registry, ANYONE)).decode()
    assert 'model="alpha"' in everything
    # looking with one key must not have removed anything
    assert everything == generate_latest(metrics.registry).decode()
