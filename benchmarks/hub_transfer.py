"""Upload and download of a repository through the hub on loopback, beside a plain copy of the same bytes.

Run: python benchmarks/hub_transfer.py [--megabytes 2000] [--rounds 2]
Random bytes, so nothing is saved by equal chunks. Uploads through Xet and through LFS, downloads by the
client with and without hf-xet, and with one plain GET. The hub is a process of its own; its resident memory
is read while it works. The client's own limit is taken from what it needs to hash and chunk the file without
sending it (Xet) and to hash it (LFS).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import hf_xet
import httpx
import psutil
from processes import client_environment, start_hub

_CLIENT = """
import os, sys, time
from huggingface_hub import HfApi, snapshot_download
what, repo, folder = sys.argv[1:]
api = HfApi()
if what == "up":
    api.create_repo(repo)
started = time.perf_counter()
if what == "up":
    api.upload_folder(folder_path=folder, repo_id=repo)
else:
    snapshot_download(repo, local_dir=folder)
print(time.perf_counter() - started)
"""


def watched(server: psutil.Process, work: Callable[[], float]) -> tuple[float, int]:
    """(seconds, most resident bytes of the server meanwhile)."""
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.1):
            most = max(most, server.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    seconds = work()
    done.set()
    thread.join()
    return seconds, most


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        server, address = start_hub(work / "home")
        process = psutil.Process(server.pid)
        print(f"{options.megabytes} MB; the hub idle: {process.memory_info().rss / 1e6:.0f} MB resident")

        def client(what: str, repo: str, folder: Path, xet: bool) -> Callable[[], float]:
            own = client_environment(address, work / "client") | ({} if xet else {"HF_HUB_DISABLE_XET": "1"})

            def go() -> float:
                done = subprocess.run(
                    [sys.executable, "-c", _CLIENT, what, repo, str(folder)],
                    env=own,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                return float(done.stdout.splitlines()[-1])

            return go

        for round_ in range(options.rounds):
            folder = work / f"data{round_}"
            folder.mkdir()
            for number in range(4):
                with (folder / f"{number}.safetensors").open("wb") as file:
                    for _ in range(options.megabytes // 4):
                        file.write(os.urandom(1_000_000))
            rows = [
                ("plain copy", timed(lambda folder=folder: shutil.copytree(folder, work / "copy")), 0),
                (
                    "sha256 of it",
                    timed(
                        lambda folder=folder: [
                            hashlib.file_digest(path.open("rb"), "sha256") for path in folder.iterdir()
                        ]
                    ),
                    0,
                ),
                (
                    "the client's chunks and hashes alone",
                    timed(lambda folder=folder: hf_xet.hash_files([str(path) for path in folder.iterdir()])),
                    0,
                ),
                ("upload, Xet", *watched(process, client("up", f"freehold/xet{round_}", folder, True))),
                (
                    "download, Xet",
                    *watched(process, client("down", f"freehold/xet{round_}", work / "down", True)),
                ),
            ]
            shutil.rmtree(work / "copy")
            shutil.rmtree(work / "down")
            url = f"{address}/freehold/xet{round_}/resolve/main/0.safetensors"

            def get(url: str = url) -> None:
                with httpx.stream("GET", url, timeout=60) as answer:
                    for _ in answer.iter_raw():
                        pass

            quarter = watched(process, lambda get=get: timed(get))
            rows.append(("one GET of a chunked file (a quarter)", quarter[0] * 4, quarter[1]))
            shutil.rmtree(work / "home" / "xorbs")
            (work / "home" / "xorbs").mkdir()
            for path in folder.iterdir():  # other bytes, so that LFS has them to send
                with path.open("r+b") as file:
                    file.write(os.urandom(1000))
            rows.append(
                ("upload, LFS", *watched(process, client("up", f"freehold/lfs{round_}", folder, False)))
            )
            rows.append(
                (
                    "download, LFS",
                    *watched(process, client("down", f"freehold/lfs{round_}", work / "down", False)),
                )
            )
            shutil.rmtree(work / "down")
            for what, seconds, memory in rows:
                told = f", hub at most {memory / 1e6:.0f} MB" if memory else ""
                print(
                    f"  {what:38} {seconds:6.1f} s {options.megabytes / seconds:6.0f} MB/s{told}", flush=True
                )
            shutil.rmtree(folder)
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
