"""What this machine is: processor, memory, what it lacks."""

from __future__ import annotations

import functools
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

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
    flags = _cpu_flags()
    limit = _container_limit()
    total = min(memory.total, limit) if limit else memory.total
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=total,
        free_memory_bytes=min(memory.available, total),
        bf16=bool({"avx512_bf16", "amx_bf16", "bf16"} & flags),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


@functools.cache
def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return ""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")


def _cpu_flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _container_limit() -> int:
    """Memory limit of the control group in bytes; 0 if none."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(name)
        if path.exists():
            text = path.read_text().strip()
            return int(text) if text.isdigit() and int(text) < 1 << 60 else 0
    return 0


def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    import importlib.metadata

    names = ("freehold", "llama-cpp-python", "torch", "transformers", "codecarbon", "genai-prices")
    return {name: importlib.metadata.version(name) for name in names}


def made_with() -> dict[str, str]:
    """What a result's bytes depend on besides its inputs: versions, and the processor whose instructions the
    kernels chose.
    """
    return versions() | {"processor": _processor(), "system": platform.system()}


def peak_memory_bytes() -> int:
    """Highest resident memory of this process so far."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def require_engine() -> None:
    """Raises MissingPart naming what the llama.cpp engine lacks here, and the command that brings it."""
    import importlib.util

    if importlib.util.find_spec("llama_cpp") is not None:
        return
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        raise MissingPart(
            "the text engine is not installed, and building it needs a C++ compiler, which this machine "
            "lacks",
            "install one (Debian and Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: "
            "xcode-select --install), "
            "then: pip install llama-cpp-python==0.3.36",
        )
    raise MissingPart(
        "the text engine is not installed",
        "pip install llama-cpp-python==0.3.36 (builds for about five minutes)",
    )
