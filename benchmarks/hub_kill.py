"""Kill the hub with SIGKILL at random moments during commits, and see that nothing acknowledged is lost.

Run: python benchmarks/hub_kill.py [--rounds 1000]
Each round: a server process, commits sent to it one after another (small files and an LFS upload each), a
kill at a random moment of one of them: how many are answered first, and at what part of a commit's time the
kill comes, is drawn, so that a slow machine is killed in the same places as a fast one. Then every commit
that was answered with its id must be in the branch's history, and the hub's own check must find nothing.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from freehold.hub import repository_checks
from freehold.hub.repositories import Repositories
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from freehold.servers.web.connections import Server

# commits answered before the one that the kill is meant for, at most
_ANSWERED = 4
# the kill comes within this many commits' times of the last answer: before one, in the midst of it, or just
# after it was answered
_REACH = 1.5


def serve(home: str, listening: socket.socket) -> None:
    """The hub in a process of its own."""
    Server(make_app(Store(Path(home))), log_level="critical").run(sockets=[listening])


def commit(client: httpx.Client, number: int) -> str:
    """One commit with a small and an LFS file; its id."""
    data = f"content {number}".encode() * 50
    one = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    batch = client.post(
        "/ada/first.git/info/lfs/objects/batch", json={"operation": "upload", "objects": [one]}
    ).json()["objects"][0]
    if "actions" in batch:
        client.put(batch["actions"]["upload"]["href"], content=data).raise_for_status()
    lines = [
        {"key": "header", "value": {"summary": f"commit {number}"}},
        {
            "key": "file",
            "value": {
                "path": "number.txt",
                "content": base64.b64encode(str(number).encode()).decode(),
                "encoding": "base64",
            },
        },
        {"key": "lfsFile", "value": {"path": f"files/{number % 20}.bin", "algo": "sha256", **one}},
    ]
    answer = client.post("/api/models/ada/first/commit/main", content="\n".join(map(json.dumps, lines)))
    answer.raise_for_status()
    return answer.json()["commitOid"]


def main(rounds: int, seed: int = 0) -> dict[str, int]:
    """Run the rounds; counts of what happened. Raises AssertionError on a loss."""
    chance, acknowledged, unanswered = random.Random(seed), list[str](), 0
    # seconds that the last answered commit took; before the first, a guess
    takes = 0.05
    spawn = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as home:
        repositories = Repositories(Store(Path(home)))
        repo = repositories.create("model", "ada/first")
        repositories.engine.dispose()
        for number in range(rounds):
            with socket.socket() as listening:
                listening.bind(("127.0.0.1", 0))
                listening.listen()
                address = f"http://127.0.0.1:{listening.getsockname()[1]}"
                process = spawn.Process(target=serve, args=(home, listening))
                process.start()
            with httpx.Client(base_url=address, timeout=20) as client:
                client.get("/health")
                for _ in range(chance.randint(0, _ANSWERED)):
                    sent = time.monotonic()
                    acknowledged.append(commit(client, len(acknowledged) + unanswered))
                    takes = time.monotonic() - sent
                assert process.pid is not None
                killer = threading.Timer(
                    chance.random() * _REACH * takes, os.kill, (process.pid, signal.SIGKILL)
                )
                killer.start()
                try:
                    while True:
                        acknowledged.append(commit(client, len(acknowledged) + unanswered))
                except httpx.HTTPError:
                    unanswered += 1
            killer.join()
            process.join()
            if (number + 1) % 25 == 0 or number + 1 == rounds:
                history = {one.id for one in repositories.history(repo, "main")}
                lost = [one for one in acknowledged if one not in history]
                assert not lost, f"{len(lost)} acknowledged commits are not in the history, such as {lost[0]}"
                faults = repository_checks.check(repositories)
                assert not faults, faults[:5]
                repositories.engine.dispose()
                if sys.stderr.isatty():
                    print(
                        f"\r{number + 1} of {rounds} rounds, {len(acknowledged)} commits",
                        end="",
                        file=sys.stderr,
                    )
    return {"rounds": rounds, "acknowledged": len(acknowledged), "unanswered": unanswered}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000)
    started = time.monotonic()
    done = main(parser.parse_args().rounds)
    print(f"{done}; nothing lost, nothing dangling; {time.monotonic() - started:.0f} s")
