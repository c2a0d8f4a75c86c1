"""Joining a Ray cluster, and work that goes on though a node dies."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.core import machine
from freehold.core.errors import MissingPart
from freehold.runtime import cluster as clusters
from freehold.runtime import cluster_node
from freehold.runtime.cluster import Node
from tests.ray_cluster import RayCluster, started


def test_without_ray_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPart) as error:
        clusters.connect("auto")
    assert error.value.remedy == "pip install 'freehold[ray]'"


def test_an_address_where_nothing_listens_is_a_sentence() -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(MissingPart, match=rf"the Ray cluster at 127\.0\.0\.1:{port} cannot be reached"):
            clusters.connect(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["nonsense", "host:port", "ray://", ":6379"])
def test_what_is_no_address_is_a_sentence(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(MissingPart, match="is not an address"):
        clusters.connect(address)


def test_a_plan_rests_on_what_every_machine_has() -> None:
    here = machine.look()
    large = replace(here, cores=64, memory_bytes=1 << 40, bf16=True, free_memory_bytes=1 << 39)
    small = replace(here, cores=8, memory_bytes=1 << 34, bf16=False, free_memory_bytes=1 << 33)
    odd = replace(here, cores=2, memory_bytes=1 << 36, bf16=True, free_memory_bytes=1 << 35)
    least = clusters.weakest([large, small, odd])
    assert (least.cores, least.memory_bytes, least.bf16, least.free_memory_bytes) == (
        2,
        1 << 34,
        False,
        1 << 33,
    )


@pytest.fixture
def one_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """A cluster of one node beside its head."""
    with started([tmp_path / "there"], monkeypatch) as cluster:
        yield cluster


def _end_its_process_once(mark: str) -> int:
    """Ends the first process that does it, as a killed node would."""
    if not Path(mark).exists():
        Path(mark).touch()
        os._exit(9)
    return os.getpid()


@pytest.mark.minutes
def test_work_whose_process_dies_is_done_again_and_files_go_there_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_node: RayCluster
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "here"))
    cluster = clusters.connect(one_node.address)
    lost: list[str] = []
    try:

        def attempt(node: Node) -> int:
            mark = str(tmp_path / "mark")
            return cluster.work(node, "work", _end_its_process_once, lambda: None, mark)

        assert cluster.until_done("work", [], attempt, lambda node: lost.append(node.id)) != os.getpid()
        (node,) = cluster.nodes()
        assert lost == [node.id]
        source = tmp_path / "weights"
        source.write_bytes(os.urandom(2 * cluster_node.CHUNK_BYTES + 3))
        file = cluster.described(source)
        cluster.send(node, "job", {file.sha256: source})
        cluster.bring(node, "job", {"back": file}, tmp_path)
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        cluster.forget("job")
        assert not (tmp_path / "there" / "cluster" / "job").exists()
    finally:
        cluster.close()
