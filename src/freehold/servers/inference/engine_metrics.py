"""How the engines' thread stands, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from freehold.servers.inference.scheduler import Scheduler


class EngineMetrics(Collector):
    """Reads a runner's health each time it is asked."""

    def __init__(self, runner: Scheduler):
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        """See :mod:`prometheus_client`."""
        health = self._runner.health
        yield CounterMetricFamily(
            "freehold_engine_restarts",
            "How often the engines' thread died and was started again.",
            health.restarts,
        )
        yield CounterMetricFamily(
            "freehold_engine_faults",
            "Faults of the engine: of one answer, or of a whole step.",
            health.faults,
        )
        yield GaugeMetricFamily(
            "freehold_engine_up", "1 where the engine can answer, else 0.", 0.0 if health.reason else 1.0
        )
        yield GaugeMetricFamily(
            "freehold_engine_step_seconds", "Age of the engine's step under way; 0 for none.", health.step_s
        )
