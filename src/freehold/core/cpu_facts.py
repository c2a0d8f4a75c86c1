"""What the system says of the processor."""

from __future__ import annotations

import functools
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def cpu_fact(key: str) -> str:
    """A line of /proc/cpuinfo; empty where there is none, as outside Linux."""
    if not CPUINFO.exists():
        return ""
    lines = (line.partition(":") for line in CPUINFO.read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")


def cpu_flags() -> set[str]:
    """The processor's instruction sets, in the kernel's names; empty outside Linux."""
    return set((cpu_fact("flags") or cpu_fact("Features")).split())
