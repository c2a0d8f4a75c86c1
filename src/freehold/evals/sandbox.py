"""Run a model's code against unit tests in a child process with limits.

A model's code is foreign code: it runs with an empty environment, in an empty folder, without
network where the system allows a network namespace, and under limits of time, memory, file size and
processes. That guards against accidents; it is no jail against an attacker.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT_S = 5
_MEMORY_BYTES = 1 << 30


def _limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT_S, TIMEOUT_S))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@functools.lru_cache(maxsize=1)
def _without_network() -> tuple[str, ...]:
    """The command in front that takes the network away, or nothing where the system allows none."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "--net") if os.geteuid() == 0 else (unshare, "--user", "--map-root-user", "--net")
    works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if works else ()


def passes(program: str) -> tuple[bool, str]:
    """Whether the program ends well within the limits, and the last line of its complaint."""
    with tempfile.TemporaryDirectory(prefix="freehold-code-") as folder:
        file = Path(folder) / "program.py"
        file.write_text(program)
        process = subprocess.Popen(
            [*_without_network(), sys.executable, "-I", "-S", str(file)], cwd=folder, env={"PATH": os.defpath}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=_limit, start_new_session=True, text=True, errors="replace",
        )  # fmt: skip
        try:
            _, complaint = process.communicate(timeout=TIMEOUT_S * 2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return False, f"ran longer than {TIMEOUT_S * 2} s"
    lines = complaint.strip().splitlines()
    return process.returncode == 0, lines[-1][:200] if lines else ""
