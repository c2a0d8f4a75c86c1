"""The server's metrics for Prometheus, and those that a key may see."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from freehold.inference.interface import Completion
from freehold.servers.inference.api_keys import Key
from freehold.servers.inference.engine_metrics import EngineMetrics
from freehold.servers.inference.model_pool import ModelPool
from freehold.servers.inference.scheduler import Scheduler

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)


class Metrics:
    """Counts of requests, tokens, seconds and energy by model."""

    def __init__(self, scheduler: Scheduler, pool: ModelPool):
        self.registry = CollectorRegistry()
        self.requests = self._counter("freehold_requests", "Requests by model and outcome.", "status")
        self.tokens = self._counter(
            "freehold_tokens", "Tokens of prompts (computed and reused) and answers.", "kind"
        )
        self.first = self._seconds(
            "freehold_first_token_seconds", "Time from when an engine takes a request to its first token."
        )
        self.whole = self._seconds(
            "freehold_request_seconds", "Time from a request's arrival to the end of its answer."
        )
        self.drafts = self._counter(
            "freehold_guessed_tokens", "Tokens that prompt lookup offered, and those that were right.", "kind"
        )
        self.joules = self._counter("freehold_energy_joules", "Energy of answers.")
        self.registry.register(EngineMetrics(scheduler))
        self._gauge("freehold_waiting_requests", "Requests that no engine has taken yet.").set_function(
            lambda: scheduler.waiting
        )
        self._gauge("freehold_requests_under_way", "Requests in progress.").set_function(
            lambda: scheduler.in_progress
        )
        self._gauge("freehold_loaded_models", "Models in memory.").set_function(lambda: len(pool.loaded))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, ["model", *labels], registry=self.registry)

    def _seconds(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ["model"], buckets=_SECONDS, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def count_answer(self, model: str, completion: Completion) -> None:
        """Count what was computed of an answer, whole or not."""
        if completion.tokens:
            self.first.labels(model).observe(completion.first_token_s)
        computed = max(0, completion.prompt_tokens - completion.reused)
        self.tokens.labels(model, "prompt").inc(computed)
        self.tokens.labels(model, "reused").inc(completion.reused)
        self.tokens.labels(model, "answer").inc(len(completion.tokens))
        self.joules.labels(model).inc(completion.joules or 0.0)
        self.drafts.labels(model, "offered").inc(completion.drafted)
        self.drafts.labels(model, "right").inc(completion.accepted)

    def count_request(self, model: str, status: str, seconds: float) -> None:
        """Count a request that has ended, ``seconds`` after it arrived."""
        self.requests.labels(model, status).inc()
        self.whole.labels(model).observe(seconds)


class VisibleMetrics(CollectorRegistry):
    """The metrics that a key may see: only those of its own models, where it is limited to some."""

    def __init__(self, registry: CollectorRegistry, key: Key):
        super().__init__()
        self._all, self._key = registry, key

    def collect(self) -> Iterator[Metric]:
        """The metrics; Prometheus' client calls this."""
        for metric in self._all.collect():
            if self._key.models:
                metric.samples = [
                    sample
                    for sample in metric.samples
                    if "model" not in sample.labels or self._key.may_use(sample.labels["model"])
                ]
            yield metric
