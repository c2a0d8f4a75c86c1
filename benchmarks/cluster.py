"""A trial on two nodes beside one node: seconds from start to report, and whether the figures agree.

Run: PYTHONPATH=src python benchmarks/cluster.py rows.jsonl --model NAME [--model NAME] [--budget 20m]

Both clusters are started on this machine with as many processors for each node as --cpus says, and each
node gets a home of its own, so weights and rows are sent. Two nodes on one machine share its processors,
its memory and its disk. What this shows: that steps are spread, what sending and waiting cost, and that the
report is the same. What it does not show: how much sooner two machines end. For that, run it against a real
cluster with --address, once with one node and once with two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def cluster(homes: list[Path], cpus: int) -> Iterator[str]:
    """The address of a cluster with one node for each home, beside a head that does no steps."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    settings = {"object_store_memory": 200 << 20, "include_dashboard": False}
    ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **settings})
    try:
        for home in homes:
            ray.add_node(num_cpus=cpus, env_vars={"FREEHOLD_HOME": str(home)}, **settings)
        yield ray.address
    finally:
        ray.shutdown()


def trial(arguments: argparse.Namespace, address: str, home: Path) -> tuple[float, dict[str, Any]]:
    """(seconds, report) of a trial in a home of its own, whose models are the store's."""
    home.mkdir()
    source = Path(arguments.home)
    for name in ("blobs", "manifests", "freehold.db"):
        subprocess.run(["cp", "-al" if name == "blobs" else "-a", source / name, home / name], check=True)
    command = [sys.executable, "-m", "freehold.cli.main", "trial", arguments.rows, "--json", "--yes"]
    command += ["--budget", arguments.budget, "--cluster", address]
    for model in arguments.model:
        command += ["--model", model]
    environment = {**os.environ, "FREEHOLD_HOME": str(home)}
    started = time.monotonic()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 3, 4):
        sys.exit(done.returncode)
    return time.monotonic() - started, json.loads(done.stdout)


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Figures by variant: what must not depend on the number of nodes."""
    return {v["id"]: {n: f["value"] for n, f in v["figures"].items()} for v in report["variants"]}


def main() -> None:
    """One node, then two; a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", help="training rows")
    parser.add_argument("--model", action="append", required=True, help="a model of the store; repeatable")
    parser.add_argument(
        "--home", default=os.environ.get("FREEHOLD_HOME", ""), help="home that holds the models"
    )
    parser.add_argument("--budget", default="20m", help="machine time of each trial")
    parser.add_argument("--cpus", type=int, default=1, help="processors of a node, as Ray counts them")
    parser.add_argument("--address", default="", help="a cluster that runs, instead of two that are started")
    arguments = parser.parse_args()
    results: dict[int, tuple[float, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.address:
            results[0] = trial(arguments, arguments.address, folder / "driver")
        else:
            for count in (1, 2):
                homes = [folder / f"node-{count}-{number}" for number in range(count)]
                with cluster(homes, arguments.cpus) as address:
                    results[count] = trial(arguments, address, folder / f"driver-{count}")
    print("| nodes | seconds | machine seconds | nodes that did steps |\n| --- | --- | --- | --- |")
    for count, (seconds, report) in results.items():
        section = report["cluster"]
        print(
            f"| {count or 'as given'} | {seconds:.0f} | {section['seconds']:.0f} | {len(section['nodes'])} |"
        )
    if len(results) == 2:
        one, two = (figures(report) for _, report in results.values())
        print("the same figures" if one == two else f"different figures: {one} and {two}")


if __name__ == "__main__":
    main()
