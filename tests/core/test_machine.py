"""What this machine is said to be: memory under a container's limit, and what its engine lacks."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from freehold.core import machine
from freehold.core.machine import RESERVE_BYTES, Machine

GIB = 1 << 30


def of(memory_bytes: int) -> Machine:
    return Machine("p", 2, memory_bytes, memory_bytes, False, "Linux 6", "3.11.7")


def test_models_may_take_all_but_the_reserve() -> None:
    assert of(8 * GIB).usable_bytes == 8 * GIB - RESERVE_BYTES


def test_the_smallest_machine_may_use_a_gibibyte() -> None:
    assert of(GIB // 2).usable_bytes == GIB
    assert of(GIB + 1).usable_bytes == GIB


def test_the_facts_of_this_machine_are_whole_and_can_be_written() -> None:
    here = machine.look()
    assert here.processor
    assert here.cores > 0
    assert 0 < here.free_memory_bytes <= here.memory_bytes <= psutil.virtual_memory().total
    assert json.loads(json.dumps(here.as_dict())) == here.as_dict()


def test_a_containers_limit_is_the_machines_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_container_limit", lambda: 512 << 20)
    assert machine.look().memory_bytes == 512 << 20
    assert machine.look().free_memory_bytes <= 512 << 20


def test_a_limit_above_the_machines_memory_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_container_limit", lambda: 1 << 59)
    assert machine.look().memory_bytes == psutil.virtual_memory().total


@pytest.mark.parametrize(("text", "limit"), [("1073741824\n", GIB), ("max\n", 0), (f"{1 << 62}", 0)])
def test_a_control_groups_file_is_read(
    text: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / Path(name).name)
    assert machine._container_limit() == limit


def test_results_say_what_their_bytes_depend_on() -> None:
    made_with = machine.made_with()
    assert {"freehold", "torch", "llama-cpp-python", "processor", "system"} <= set(made_with)
    assert all(made_with.values())


def test_the_peak_of_memory_only_grows() -> None:
    before = machine.peak_memory_bytes()
    data = bytearray(64 << 20)
    data[::4096] = b"x" * len(data[::4096])
    assert machine.peak_memory_bytes() >= max(before, 64 << 20)
