"""What this machine is: processor, memory, what it lacks."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from freehold.core import engine_build
from freehold.core.cpu_facts import cpu_fact, cpu_flags
from freehold.core.errors import MissingPart

#: Left to the system and the caller when a plan says what fits.
RESERVE_BYTES = 1 << 30


@dataclass(frozen=True)
class Machine:
    """The facts that measurements depend on; memory in bytes."""

    processor: str
    cores: int
    memory_bytes: int
    free_memory_bytes: int
    bf16: bool
    system: str
    python: str

    @property
    def usable_bytes(self) -> int:
        """Memory that models may take: all but :data:`RESERVE_BYTES`, and a gibibyte on the smallest
        machine.
        """
        return max(self.memory_bytes - RESERVE_BYTES, 1 << 30)

    def as_dict(self) -> dict[str, object]:
        """For reports."""
        return asdict(self)


def look() -> Machine:
    """Read the machine's facts."""
    import psutil

    memory = psutil.virtual_memory()
    flags = cpu_flags()
    limit = _container_limit()
    total = min(memory.total, limit) if limit else memory.total
    return Machine(
        processor=_processor(),
        cores=cores(),
        memory_bytes=total,
        free_memory_bytes=min(memory.available, total),
        bf16=bool({"avx512_bf16", "amx_bf16", "bf16"} & flags),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def _processor() -> str:
    return cpu_fact("model name") or platform.processor() or platform.machine()


def _container_limit() -> int:
    """Memory limit of the control group in bytes; 0 if none."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(name)
        if path.exists():
            text = path.read_text().strip()
            return int(text) if text.isdigit() and int(text) < 1 << 60 else 0
    return 0


def cores() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere no process is bound to processors
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of what results depend on, as far as it is installed; ``engine``: the build of llama.cpp."""
    import importlib.metadata

    names = ("freehold", "torch", "transformers", "codecarbon", "genai-prices")
    known: dict[str, str] = {}
    for name in names:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        build = engine_build.choose()
    except MissingPart:
        return known
    return known | {build.package: build.version, "engine": f"{build.name} ({build.kind})"}


def made_with() -> dict[str, str]:
    """What a result's bytes depend on besides its inputs: versions, and the processor whose instructions the
    kernels chose.
    """
    return versions() | {"processor": _processor(), "system": platform.system()}


def peak_memory_bytes() -> int:
    """Highest resident memory of this process so far."""
    import sys

    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
