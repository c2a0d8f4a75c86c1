"""The limits that a process in the sandbox sets on itself before any foreign code runs."""

from __future__ import annotations

import os
import resource

CPU_SECONDS = 5
MEMORY_BYTES = 1 << 30
FILE_BYTES = 1 << 20
OPEN_FILES = 64
PROCESSES = 64


def take_line() -> tuple[int, int]:
    """(descriptor to read, descriptor to write) of the line; the standard ones lead nowhere afterwards."""
    line = os.dup(0), os.dup(1)
    nowhere = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    return line


def limit_self() -> None:
    """Bound processor time, memory, files and processes; hard limits, which cannot be raised again."""
    for what, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    # Where the filter of system calls forbids further processes, this bounds the threads beside it.
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
