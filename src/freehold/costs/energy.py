"""Energy and carbon of a piece of work, by codecarbon without network; and a counter of joules for work
that is shared out as it is done.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from freehold.core.errors import UsageError

#: Power usage effectiveness: what a building spends on cooling and conversion, beside the machine. Only the
#: machine is counted here.
PUE = 1.0


@dataclass(frozen=True)
class Grid:
    """Grams of CO2-equivalent for a kWh of a country's electricity: the mean of a year. ``country``: ISO code
    of three letters, or "" for the world. ``assumed``: no country was given.
    """

    country: str
    name: str
    g_per_kwh: float
    year: int
    source: str
    assumed: bool

    def __str__(self) -> str:
        known = "assumed, as no --country was given: " if self.assumed else ""
        return f"{known}{self.name}, mean of {self.year}, {self.g_per_kwh:g} g CO2e per kWh ({self.source})"


#: codecarbon's world figure, and the year it is of: its source is the IEA's report of 2019 on 2018.
_WORLD_YEAR = 2018


def grid(country: str) -> Grid:
    """The electricity of a country by its ISO code of three letters or its English name; of the world for
    "". Raises UsageError.
    """
    folder = _codecarbon() / "data" / "private_infra"
    if not country:
        per_source = json.loads((folder / "carbon_intensity_per_source.json").read_text())
        g = float(per_source["world_average"])
        return Grid("", "world average", g, _WORLD_YEAR, "IEA, as in codecarbon", assumed=True)
    mixes: dict[str, dict[str, Any]] = json.loads((folder / "global_energy_mix.json").read_text())
    codes = {name.lower(): code for code, mix in mixes.items() for name in (code, mix["country_name"])}
    code = codes.get(country.strip().lower()) or _three_letters(country.strip())
    if code not in mixes:
        near = difflib.get_close_matches(country.strip().lower(), codes, 1, 0.6)
        close = f"; did you mean {mixes[codes[near[0]]]['country_name']} ({codes[near[0]]})?" if near else ""
        raise UsageError(
            f"--country {country}: codecarbon has no data on a country of that name{close}",
            "write its ISO code, such as DEU, or leave --country out for the world average",
        )
    mix = mixes[code]
    g = float(mix["carbon_intensity"])
    return Grid(
        code, mix["country_name"], g, int(mix["year"]), "Our World in Data, as in codecarbon", assumed=False
    )


def _three_letters(country: str) -> str:
    """The ISO code of three letters for one of two letters or another name of the country; "" where there
    is none.
    """
    import pycountry

    try:
        return pycountry.countries.lookup(country).alpha_3
    except LookupError:
        return ""


def _codecarbon() -> Path:
    """Where codecarbon lies, without importing it: that takes a second."""
    spec = importlib.util.find_spec("codecarbon")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@dataclass
class Energy:
    """kWh and kg of CO2-equivalent. ``measured``: the processor's counters were read in this run; ``method``
    says how else, and with which constants. ``grid``: what the carbon rests on.
    """

    kwh: float = 0.0
    kg_co2e: float = 0.0
    seconds: float = 0.0
    measured: bool = False
    method: str = ""
    grid: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


@contextlib.contextmanager
def metered(country: str) -> Iterator[Energy]:
    """Meter the block; the result is filled when it ends. ``country``: as for :func:`grid`. Raises
    UsageError.
    """
    from codecarbon import OfflineEmissionsTracker

    electricity = grid(country)
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker = OfflineEmissionsTracker(
        save_to_file=False,
        log_level="critical",
        measure_power_secs=5,
        allow_multiple_runs=True,
        tracking_mode="machine",
        pue=PUE,
        force_carbon_intensity_g_co2e_kwh=electricity.g_per_kwh,
    )
    energy, before = Energy(), counters(_METERS)
    tracker.start()
    try:
        yield energy
    finally:
        tracker.stop()
        data = tracker.final_emissions_data
        energy.kwh, energy.kg_co2e = float(data.energy_consumed), float(data.emissions)
        energy.seconds = float(data.duration)
        energy.measured, energy.method = _method(
            data, tracker.get_detected_hardware()["cpu_physical_count"], before, counters(_METERS)
        )
        energy.grid = str(electricity)


def _method(
    data: Any, sockets: int | None, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[bool, str]:
    """Whether counters of the processor were read in this run, and how each part of the figure was found."""
    from codecarbon.core import cpu

    # codecarbon counts with them where it finds a package's counter that it may read
    measured = bool(before) and before != after and cpu.is_rapl_available() and float(data.cpu_energy) > 0
    how = (
        "processor measured (RAPL counters, read in this run)" if measured else _estimated(data, sockets or 1)
    )
    graphics = "; graphics processors measured (their driver's counters)" if data.gpu_energy > 0 else ""
    rest = f"memory estimated at {float(data.ram_power):.3g} W, from its size"
    outside = f"PUE {data.pue:g}: no cooling, power supply, disk or network is counted"
    return measured, f"{how}{graphics}; {rest}; {outside} (codecarbon {data.codecarbon_version}, offline)"


def _estimated(data: Any, sockets: int) -> str:
    """The constants of an estimate: codecarbon's rule for a processor without counters that can be read
    (its ``external/hardware.py``).
    """
    from codecarbon.core import cpu
    from codecarbon.core.hardware_cache import get_cached_tdp

    rated = get_cached_tdp(cpu).tdp
    if sys.platform != "linux" or rated is None:
        return "processor estimated by codecarbon, as no counter of it was read"
    rated *= sockets
    # codecarbon takes a processor that is not in its table for threads of 4 W
    known = rated != CORE_WATTS * int(data.cpu_count or 0)
    power = (
        f"{rated:g} W, the rated power of {data.cpu_model} in codecarbon's table"
        if known
        else f"{rated:g} W, {CORE_WATTS:g} W a thread, as the rated power of {data.cpu_model} is not known"
    )
    load = "(0.1 + 0.9 load\u00b3), the load being that of the whole machine"
    return f"processor estimated, as no counter of it can be read here: {power}, times {load}"


def counters(meters: Path) -> tuple[int, ...]:
    """Microjoules of each processor package, as its counter says now; nothing where there is none or it
    cannot be read.
    """
    return tuple(
        int((folder / "energy_uj").read_text())
        for folder in sorted(meters.glob("intel-rapl:*"))
        if folder.name.count(":") == 1 and _readable(folder / "energy_uj")
    )


#: Watts of a processor core at work where the processor's rated power is not known: codecarbon's own
#: assumption.
CORE_WATTS = 4.0
_METERS = Path("/sys/class/powercap")


@dataclass(eq=False)
class Span:
    """A piece of work under way, and the joules that are its part so far."""

    joules: float = 0.0


class Counter:
    """Joules of pieces of work: by the processor's own meter where it can be read, else by this process's
    processor time at the rated power of a core. Pieces that are under way at once share what is spent
    meanwhile, so that nothing is counted twice.

    ``measured`` says which. Source of the meter: Linux's powercap interface, ``energy_uj`` and
    ``max_energy_range_uj`` of each package.
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
    """Watts of a core at work, and where the figure is from. codecarbon's table is read by a process of its
    own: it takes 80 MB to load.
    """
    program = "from codecarbon.core.cpu import TDP; found = TDP(); print(found.tdp or 0, found.model)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
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
