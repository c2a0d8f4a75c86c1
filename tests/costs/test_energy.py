"""Joules of pieces of work: from a meter's files, shared between what is under way at once, and estimated
where there is no meter.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.core.errors import UsageError
from freehold.costs import energy
from freehold.costs.energy import Counter


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


def test_counters_are_those_of_packages_that_can_be_read(meters: Path) -> None:
    assert energy.counters(meters) == (1_000_000, 5_000_000)
    (meters / "intel-rapl:0" / "energy_uj").unlink()
    (meters / "intel-rapl:0" / "energy_uj").mkdir()  # it is there, and cannot be read
    assert energy.counters(meters) == (5_000_000,)
    assert energy.counters(meters / "nothing") == ()


def test_energy_is_called_measured_only_where_counters_were_read() -> None:
    with energy.metered("") as spent:
        assert sum(number * number for number in range(3_000_000)) > 0
    assert spent.kwh > 0
    assert spent.measured == bool(energy.counters(Path("/sys/class/powercap")))
    if not spent.measured:
        assert "estimated, as no counter of it can be read" in spent.method
        assert "(0.1 + 0.9 load\u00b3)" in spent.method
    assert "PUE 1" in spent.method
    assert "assumed, as no --country was given: world average, mean of 2018, 475 g" in spent.grid
    assert spent.kg_co2e == pytest.approx(spent.kwh * 0.475)


@pytest.mark.parametrize("country", ["DEU", "deu", "DE", "Germany", "germany"])
def test_a_country_is_known_by_code_or_name_and_carries_its_year(country: str) -> None:
    germany = energy.grid(country)
    assert (germany.country, germany.year, germany.assumed) == ("DEU", 2023, False)
    assert "Germany, mean of 2023" in str(germany)


def test_the_carbon_of_every_country_is_that_of_codecarbon() -> None:
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    source = DataSource()
    reckoning, one = Emissions(source), Energy.from_energy(1)
    for code in source.get_global_energy_mix_data():
        kg = reckoning.get_country_emissions(one, GeoMetadata(code))
        assert energy.grid(code).g_per_kwh == pytest.approx(kg * 1000), code


@pytest.mark.parametrize(
    ("country", "near"), [("Germny", "did you mean Germany"), ("XX", "no data"), ("Atlantis", "no data")]
)
def test_an_unknown_country_is_said(country: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        energy.grid(country)


def test_without_a_meter_processor_time_counts(tmp_path: Path) -> None:
    counter = Counter(tmp_path)
    assert not counter.measured
    assert "estimated from processor time" in counter.method
    span = counter.begin()
    assert sum(number * number for number in range(2_000_000)) > 0
    spent = counter.end(span)
    assert 0 < spent < 500
    assert counter.end(counter.begin()) < spent
