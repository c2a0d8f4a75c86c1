"""Models' steps are done ahead, all at once: the trial finds them, and its report is that of one machine.

Real steps in real processes; in Ray's place are folders of this machine. tests/trial/test_cluster.py has Ray.
"""

from __future__ import annotations

import contextvars
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.core import machine
from freehold.runtime import cluster as clusters
from freehold.runtime import cluster_node
from freehold.runtime.cluster import Cluster, Node
from tests.trial.test_cluster import figures, trial_of

_home: contextvars.ContextVar[Path] = contextvars.ContextVar("home")


class NodeGone(Exception):
    """What Ray says when a node has died."""


class FolderCluster(Cluster):
    """Nodes that are folders. The one that tunes first dies at it."""

    def __init__(self, folder: Path):
        super().__init__("folders")
        here = machine.look()
        self.folder = folder
        self.alive = [Node(name, name, 1, 0, here) for name in ("a", "b")]
        self.done: list[tuple[str, str]] = []

    def nodes(self) -> list[Node]:
        return list(self.alive)

    def _start(self, node_id: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        token = _home.set(self.folder / node_id)
        try:
            return function(*args, **kwargs)
        finally:
            _home.reset(token)

    def _get(self, started: Any) -> Any:
        return started

    def call(self, node: Node, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._start(node.id, function, *args, **kwargs)

    def work(self, node: Node, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if name.startswith("tune") and len(self.alive) == 2:
            self.alive.remove(node)
            raise NodeGone
        self.done.append((node.id, name))
        _, *rest = args
        return self._start(node.id, function, *rest, **kwargs)


@pytest.mark.minutes
def test_the_report_is_that_of_one_machine_though_a_node_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_node, "job_folder", lambda job: _home.get() / cluster_node.FOLDER / job)
    monkeypatch.setattr(clusters, "_losses", lambda: (NodeGone,))
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "driver"))
    cluster = FolderCluster(tmp_path)
    trial = trial_of(tmp_path / "driver", cluster)
    report = trial.run(lambda plan: plan.budget_s)
    # steps without a limit of time are done once; a busy machine may end others, which are done again
    counts = Counter(name for _, name in cluster.done)
    assert {counts[name] for name in counts if name.startswith(("look", "tune", "shrink"))} == {1}
    assert {node for node, _ in cluster.done} == {"a", "b"}
    assert report.cluster is not None
    assert len(report.cluster.lost) == 1
    assert report.cluster.seconds == pytest.approx(sum(node.seconds for node in report.cluster.nodes))
    (living,) = cluster.alive
    assert not list((tmp_path / living.id).glob("cluster/*"))  # nothing stays there
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "here"))
    alone = trial_of(tmp_path / "here", None)
    assert alone.id == trial.id
    expected = alone.run(lambda plan: plan.budget_s)
    assert figures(report) == figures(expected)
    assert report.verdict.verdict == expected.verdict.verdict
    assert json.loads((trial.folder / "report.json").read_text())["cluster"]["address"] == "folders"
