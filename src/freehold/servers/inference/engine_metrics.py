"""The state of the engines' thread for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from freehold.servers.inference.scheduler import Scheduler


class EngineMetrics(Collector):
    """Reads a scheduler's health at each collection."""

    def __init__(self, scheduler: Scheduler):
        self._runner = scheduler

    def collect(self) -> Iterator[Metric]:
        """The metrics; Prometheus' client calls this."""
        health = self._runner.health
        yield CounterMetricFamily(
            "freehold_engine_restarts",
            "How often the engines' thread died and was started again.",
            health.restarts,
        )
        yield CounterMetricFamily(
            "freehold_engine_faults",
            "Errors of the engine, of one answer or of a whole step.",
            health.faults,
        )
        yield GaugeMetricFamily(
            "freehold_engine_up", "1 if the engine can answer, else 0.", 0.0 if health.reason else 1.0
        )
        yield GaugeMetricFamily(
            "freehold_engine_step_seconds", "Age of the engine's step in progress; 0 for none.", health.step_s
        )
