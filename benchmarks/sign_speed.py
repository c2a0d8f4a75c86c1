"""Signing and verifying a file of 1 GB beside sha256sum of the same file, in turns.

Run: python benchmarks/sign_speed.py [--size 1000000000] [--rounds 3]
Every way must read and hash the file once, so sha256sum is the floor (openssl's sha256 on one core); figures
are medians and ratios to it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from freehold.trust import signature
from freehold.trust.keys import Keyring


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1_000_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        model.mkdir()
        with (model / "weights.gguf").open("wb") as file:
            for start in range(0, options.size, 1 << 24):
                file.write(os.urandom(min(1 << 24, options.size - start)))
        ring = Keyring(Path(folder) / "keys")
        ring.create("benchmark")
        target = Path(folder) / "model.sig"
        ways: dict[str, Callable[[], object]] = {
            "sha256sum": lambda: subprocess.run(
                ["sha256sum", str(model / "weights.gguf")], check=True, capture_output=True
            ),
            "sign": lambda: signature.sign(model, target, ring, ""),
            "verify": lambda: signature.verify(model, target, ring),
        }
        for way in ways.values():
            way()  # imports, and the file into memory
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                taken[name].append(time.perf_counter() - started)
        floor = statistics.median(taken["sha256sum"])
        for name, times in taken.items():
            found = statistics.median(times)
            print(
                f"{name:10} {found:6.2f} s ({', '.join(f'{one:.2f}' for one in times)}),"
                f" {options.size / found / 1e6:,.0f} MB/s, {found / floor:.2f}x sha256sum"
            )


if __name__ == "__main__":
    main()
