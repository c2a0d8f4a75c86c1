"""Joules of pieces of work: from a meter's files, shared between what is under way at once, and estimated where there is no meter."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.ledger.energy import Counter


@pytest.fixture
def meters(tmp_path: Path) -> Path:
    """Two packages, and a part of one that must not be counted twice."""
    for name, value in (("intel-rapl:0", 1_000_000), ("intel-rapl:1", 5_000_000), ("intel-rapl:0:0", 77)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{value}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")
    return tmp_path


def spend(meters: Path, package: int, joules: float) -> None:
    file = meters / f"intel-rapl:{package}" / "energy_uj"
    file.write_text(str(int((int(file.read_text()) + joules * 1e6) % 10_000_000)))


def test_what_is_spent_is_shared_by_what_is_under_way(meters: Path) -> None:
    counter = Counter(meters)
    assert counter.measured
    assert "RAPL" in counter.method
    spend(meters, 0, 3)  # nobody's
    first = counter.begin()
    spend(meters, 0, 2)
    second = counter.begin()
    spend(meters, 1, 4)
    assert counter.end(first) == pytest.approx(2 + 4 / 2)
    spend(meters, 0, 1)
    assert counter.end(second) == pytest.approx(4 / 2 + 1)
    third = counter.begin()
    spend(meters, 1, 8)  # the meter goes round
    assert counter.end(third) == pytest.approx(8)


def test_without_a_meter_processor_time_counts(tmp_path: Path) -> None:
    counter = Counter(tmp_path)
    assert not counter.measured
    assert "estimated from processor time" in counter.method
    span = counter.begin()
    assert sum(number * number for number in range(2_000_000)) > 0
    spent = counter.end(span)
    assert 0 < spent < 500
    assert counter.end(counter.begin()) < spent
