"""Energy and carbon of a piece of work, by codecarbon without network."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Energy:
    """kWh and kg of CO2-equivalent; ``method`` says whether the machine measured them or they are estimated."""

    kwh: float = 0.0
    kg_co2e: float = 0.0
    seconds: float = 0.0
    method: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"kwh": self.kwh, "kg_co2e": self.kg_co2e, "seconds": self.seconds, "method": self.method}


@contextlib.contextmanager
def metered(country: str) -> Iterator[Energy]:
    """Meter the block; the result is filled when it ends. ``country``: ISO code of three letters, for the grid's carbon."""
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker = OfflineEmissionsTracker(
        country_iso_code=country, save_to_file=False, log_level="critical", measure_power_secs=5, allow_multiple_runs=True,
        tracking_mode="machine",
    )  # fmt: skip
    energy = Energy()
    tracker.start()
    try:
        yield energy
    finally:
        tracker.stop()
        data = tracker.final_emissions_data
        energy.kwh, energy.kg_co2e, energy.seconds = float(data.energy_consumed), float(data.emissions), float(data.duration)
        measured = Path("/sys/class/powercap/intel-rapl:0/energy_uj").exists()
        how = (
            "processor energy measured (RAPL)" if measured else "estimated from the processor's rated power and its load, as the machine has no meter"
        )
        energy.method = f"codecarbon, offline: {how}; memory estimated; carbon from the yearly mean of the grid of {country}"
