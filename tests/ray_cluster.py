"""A Ray cluster of several nodes on this machine, each with a home of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

#: Tries to start a node: Ray gives up after 30 seconds, which a busy machine may need.
TRIES = 3


@dataclass
class RayCluster:
    """A cluster whose head does no steps."""

    address: str
    homes: Sequence[Path]
    nodes: Sequence[Any]
    #: ``ray.cluster_utils.Cluster``
    ray: Any

    def kill(self, number: int) -> None:
        """End a node's processes at once."""
        self.ray.remove_node(self.nodes[number], allow_graceful=False)


@contextlib.contextmanager
def started(homes: Sequence[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """A cluster with one node of one processor for each home. Skips the test where Ray is not installed."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = cluster_utils.Cluster()
    try:
        _node(ray, num_cpus=0)
        nodes = [_node(ray, num_cpus=1, env_vars={"FREEHOLD_HOME": str(home)}) for home in homes]
        yield RayCluster(ray.address, homes, nodes, ray)
    finally:
        ray.shutdown()


def _node(ray: Any, **options: Any) -> Any:
    for number in range(TRIES):
        try:
            return ray.add_node(object_store_memory=100 << 20, include_dashboard=False, **options)
        except Exception:
            if number == TRIES - 1:
                raise
    raise AssertionError
