"""What a trial took on a cluster is summed over the machines."""

import json
from pathlib import Path

import pytest

from freehold.costs.money import HOURS_PER_YEAR, CostOptions, exactly
from freehold.trial.cluster_costs import NodeRecord, cluster_section, dollars


def step(
    folder: Path, name: str, node: str, seconds: float, kwh: float = 0.0, lost: tuple[str, ...] = ()
) -> None:
    """A finished step of a node."""
    place = folder / name
    place.mkdir()
    NodeRecord(node, "head:6379", {"cores": 2}, lost).keep(place)
    energy = {"kwh": kwh, "kg_co2e": kwh / 2} if kwh else None
    (place / "result.json").write_text(json.dumps({"seconds": seconds, "energy": energy}))


def test_time_energy_and_money_are_summed_over_the_machines(tmp_path: Path) -> None:
    step(tmp_path, "tune-a", "one", 1800.0, kwh=0.25)
    step(tmp_path, "tune-b", "two", 3600.0, kwh=0.5, lost=("three",))
    step(tmp_path, "look-a", "one", 1800.0)
    section = cluster_section(tmp_path, CostOptions(hardware_per_hour=exactly(2.0)))
    assert section is not None
    assert [(n.name, n.steps, n.seconds, n.kwh) for n in section.nodes] == [
        ("one", 2, 3600.0, 0.25),
        ("two", 1, 3600.0, 0.5),
    ]
    assert (section.seconds, section.kwh, section.kg_co2e) == (7200.0, 0.75, 0.375)
    assert section.dollars == (4.0, 4.0, 4.0)
    assert section.lost == ("three",)


def test_steps_done_here_make_no_section(tmp_path: Path) -> None:
    (tmp_path / "look-a").mkdir()
    assert cluster_section(tmp_path, CostOptions()) is None


def test_without_a_price_per_hour_the_machines_price_and_electricity_count() -> None:
    options = CostOptions(
        hardware_price=exactly(HOURS_PER_YEAR), hardware_years=exactly(1), kwh_price=exactly(0.5)
    )
    assert dollars(options, 7200.0, 2.0) == pytest.approx((3.0, 3.0, 3.0))
