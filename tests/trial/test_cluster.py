"""A trial on a cluster of two nodes on this machine, beside the same trial in processes of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.core import progress
from freehold.data.splits import Splits
from freehold.models.store import Store
from freehold.runtime import cluster as clusters
from freehold.trial.options import NO_SAFETY, Options
from freehold.trial.report_record import Report
from freehold.trial.run import Trial
from tests.entry import pull
from tests.hub.models import gguf
from tests.ray_cluster import RayCluster, started
from tests.trial.rows import labelled, task_of

PAIRS = [("card", "a"), ("pin", "b")] * 12
OPTIONS = Options(
    budget_s=7200,
    needs=("accuracy>=0.5", "p95<=60s"),
    plain_template=True,
    shots=0,
    types=("Q8_0",),
    recipe={"steps": 2, "rank": 4},
    safety_prompts=NO_SAFETY,
    latency_rows=4,
)


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """Started for one test: killing a node is part of it."""
    with started([tmp_path / name for name in ("node-a", "node-b")], monkeypatch) as cluster:
        yield cluster


def trial_of(home: Path, cluster: clusters.Cluster | None) -> Trial:
    """A trial of two models of two layers."""
    store = Store(home)
    models = []
    for name in ("first", "second"):
        file = gguf(home / f"{name}.gguf", fields={"general.name": name})
        models.append(pull(store, f"file:{file}", f"org/{name}"))
    train, valid, test = (labelled(name, PAIRS) for name in ("a", "v", "t"))
    task = replace(task_of(train, test), splits=Splits(train, valid, test, (), 0))
    return Trial(store, task, models, OPTIONS, progress.silent, cluster=cluster)


def figures(report: Report) -> dict[str, Any]:
    """What does not depend on speeds."""
    return {
        v.id: (v.kind, v.rows, v.digest, {n: f.value for n, f in v.figures.items()}) for v in report.variants
    }


@pytest.mark.minutes
def test_a_cluster_gives_the_report_of_one_machine_though_a_node_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_nodes: RayCluster
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "here"))
    here = trial_of(tmp_path / "here", None)
    alone = here.run(lambda plan: plan.budget_s)
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "driver"))
    cluster = clusters.connect(two_nodes.address)
    try:
        trial = trial_of(tmp_path / "driver", cluster)
        assert trial.id == here.id
        killer = threading.Thread(target=_kill_while_tuning, args=(two_nodes,))
        killer.start()
        report = trial.run(lambda plan: plan.budget_s)
        killer.join()
    finally:
        cluster.close()
    assert figures(report) == figures(alone)
    assert report.verdict.verdict == alone.verdict.verdict
    records = [json.loads(path.read_text()) for path in trial.folder.glob("steps/*/node.json")]
    assert len({record["node"] for record in records}) == 2
    assert [record for record in records if record["lost"]]
    assert any("rows and models may still be on" in note for note in report.notes)


def _kill_while_tuning(two_nodes: RayCluster) -> None:
    """Kill whichever node begins to tune first."""
    while True:
        for number, home in enumerate(two_nodes.homes):
            if list(home.glob("cluster/*/folders/tune-*")):
                two_nodes.kill(number)
                return
        time.sleep(0.01)
