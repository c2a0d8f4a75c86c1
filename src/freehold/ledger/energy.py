"""Energy and carbon of a piece of work, by codecarbon without network; and a counter of joules for work that is shared out as it is done."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
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
        energy.kwh, energy.kg_co2e, energy.seconds = (
            float(data.energy_consumed),
            float(data.emissions),
            float(data.duration),
        )
        measured = Path("/sys/class/powercap/intel-rapl:0/energy_uj").exists()
        how = (
            "processor energy measured (RAPL)"
            if measured
            else "estimated from the processor's rated power and its load, as the machine has no meter"
        )
        energy.method = f"codecarbon, offline: {how}; memory estimated; carbon from the yearly mean of the grid of {country}"


#: Watts of a processor core at work where the processor's rated power is not known: codecarbon's own assumption.
CORE_WATTS = 4.0
_METERS = Path("/sys/class/powercap")


@dataclass(eq=False)
class Span:
    """A piece of work under way, and the joules that are its part so far."""

    joules: float = 0.0


class Counter:
    """Joules of pieces of work: by the processor's own meter where it can be read, else by this process's processor time at the rated power
    of a core. Pieces that are under way at once share what is spent meanwhile, so that nothing is counted twice.

    ``measured`` says which. Source of the meter: Linux's powercap interface, ``energy_uj`` and ``max_energy_range_uj``
    of each package.
    """

    def __init__(self, meters: Path = _METERS):
        self._meters = [
            folder
            for folder in sorted(meters.glob("intel-rapl:*"))
            if folder.name.count(":") == 1 and _readable(folder / "energy_uj")
        ]
        self.measured = bool(self._meters)
        self._last = [self._read(folder) for folder in self._meters]
        self._sum = self._watts = self._shared = 0.0
        self._open: list[Span] = []
        self._lock = threading.Lock()
        self._method = "the processor's own meter (RAPL), all packages"
        # looking the rated power up takes seconds, in which a model can be loaded
        self._looking = None if self.measured else threading.Thread(target=self._look, daemon=True)
        if self._looking is not None:
            self._looking.start()

    def _look(self) -> None:
        self._watts, self._method = _core_watts()

    @property
    def method(self) -> str:
        """How joules are counted, in words."""
        if self._looking is not None:
            self._looking.join()
        return self._method

    def begin(self) -> Span:
        """A piece of work begins."""
        with self._lock:
            self._share()
            self._open.append(span := Span())
        return span

    def end(self, span: Span) -> float:
        """It has ended; its joules."""
        with self._lock:
            self._share()
            self._open.remove(span)
        return span.joules

    def _share(self) -> None:
        now = self._total()
        for span in self._open:
            span.joules += (now - self._shared) / len(self._open)
        self._shared = now

    def _total(self) -> float:
        if self._looking is not None:
            self._looking.join()
            return time.process_time() * self._watts
        for number, folder in enumerate(self._meters):
            now = self._read(folder)
            grown = now - self._last[number]
            if grown < 0:  # the meter has gone round
                grown += int((folder / "max_energy_range_uj").read_text())
            self._last[number] = now
            self._sum += grown / 1e6
        return self._sum

    @staticmethod
    def _read(folder: Path) -> int:
        return int((folder / "energy_uj").read_text())


def _readable(path: Path) -> bool:
    try:
        path.read_text()
    except OSError:
        return False
    return True


def _core_watts() -> tuple[float, str]:
    """Watts of a core at work, and where the figure is from. codecarbon's table is read by a process of its own: it takes 80 MB to load."""
    program = "from codecarbon.core.cpu import TDP; found = TDP(); print(found.tdp or 0, found.model)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    words = done.stdout.split(maxsplit=1)
    rated = float(words[0]) if done.returncode == 0 and words else 0.0
    count = os.cpu_count() or 1
    # codecarbon takes a processor that it does not know for cores of 4 W
    known = rated > 0 and rated != CORE_WATTS * count
    how = (
        f"{words[1].strip()}'s rated {rated:g} W over {count} cores"
        if known
        else f"{CORE_WATTS:g} W a core, as the processor's rated power is not known"
    )
    return (
        rated / count if known else CORE_WATTS
    ), f"estimated from processor time at {how}; this machine has no meter that can be read"
