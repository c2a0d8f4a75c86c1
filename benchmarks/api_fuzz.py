"""A hundred thousand broken requests to the server and to hubs: each is answered, or refused with a sentence,
and nobody else notices.

Run: python benchmarks/api_fuzz.py [--requests 100000] [--seed 0] [--first 0] [--only server,hub,keyed]
Three processes: a server with a tiny random model and a tiny embedding model, an open hub, and a hub that
needs tokens. Nine of ten requests begin as valid ones of each API (``fuzz_requests.py``), of which hypothesis
breaks one to three places; one of ten is made by schemathesis out of the application's own OpenAPI document,
half of them to fit it, half not to.

A fault is: a status of 500 or more, a refusal without a sentence in its API's own shape, a stream that ends
in a fault of the engine's, an answer that takes over 10 seconds, a normal answer beside them that is not to
the letter what it is alone, and at the end a server that is not ready or whose memory has grown by more than
a tenth since the first tenth of the requests. Every batch of requests follows from the seed and its number:
``--first`` goes on from one. Faults are printed with what was sent; the exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import runpy
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from fuzz_requests import ANYTHING, BASES, WORDS, Breaking, Sent, fitting
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable
from processes import started

#: Requests made together, and sent at once; seconds that an answer may take.
BATCH, AT_ONCE, LONGEST_S = 400, 16, 10.0
#: What memory may have grown by since the first tenth of the requests.
GROWTH = 0.10
KNOWN = {"model": "tiny", "messages": [{"role": "user", "content": "Hello world"}], "max_tokens": 12}
TINY = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "tiny.py"))


@dataclass
class Target:
    """A process that is asked. ``document``: its API's OpenAPI document; ``token``: what it is asked with."""

    kind: str
    address: str
    process: psutil.Process
    document: dict[str, Any]
    token: str = ""
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    normal: int = 0

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return self.process.memory_info().rss


def made(strategy: Any, count: int, number: int) -> list[Any]:
    """So many values of a strategy, always the same for a number."""
    values: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @seed(number)
    @given(strategy)
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    return values


def batches(target: Target, number: int, first: int) -> Iterator[list[Sent]]:
    """Batches of requests to a target without end; every tenth is of the API's own document."""
    strategies, bases = list(fitting(target.document)), BASES[target.kind]
    for batch in itertools.count(first):
        there = number * 1_000_003 + batch
        if batch % 10 == 9:
            yield list(fitted(strategies, batch, there))
        else:
            breaking = Breaking(random.Random(there), made(ANYTHING, 60, there), made(WORDS, 30, there))
            yield [breaking.request(bases) for _ in range(BATCH)]


def fitted(strategies: list[Any], batch: int, number: int) -> Iterator[Sent]:
    """Requests of the API's own document, of some of its operations at a time; one that cannot be broken is
    left out."""
    each = max(10, -(-BATCH // len(strategies)))
    for at in range(min(len(strategies), BATCH // each)):
        with contextlib.suppress(Unsatisfiable):
            yield from made(strategies[(batch * 7 + at) % len(strategies)], each, number)


async def ask(client: httpx.AsyncClient, target: Target, sent: Sent) -> None:
    """Send a request, and look at what comes of it."""
    began = time.monotonic()
    headers = sent.sent_headers(target.token)
    try:
        async with asyncio.timeout(LONGEST_S):
            answer = await client.request(sent.method, sent.url, content=sent.content(), headers=headers)
    except (TimeoutError, httpx.HTTPError) as error:
        target.faults.append(f"{type(error).__name__} {error} after {time.monotonic() - began:.1f} s: {sent}")
        return
    except (httpx.InvalidURL, UnicodeError, ValueError):  # a client cannot send it
        return
    if (took := time.monotonic() - began) > target.slowest_s:
        target.slowest_s, target.slowest = took, str(sent)[:300]
    target.statuses[answer.status_code] += 1
    if why := fault_of(answer):
        target.faults.append(f"{why}: {sent} -> {answer.status_code} {answer.text[:300]}")


def fault_of(answer: httpx.Response) -> str:
    """What is wrong with an answer, or nothing."""
    if answer.status_code >= 500:
        return "a fault of the server's"
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        if "text/html" in answer.headers.get("content-type", ""):
            return ""
        try:
            body = answer.json()
        except ValueError:
            return "a refusal that is not JSON"
        error = body.get("error")
        sentence = error.get("message") if isinstance(error, dict) else error
        if "errors" not in body and (not isinstance(sentence, str) or not 8 <= len(sentence) <= 2000):
            return "a refusal without a sentence"
    if "the engine failed" in answer.text or "server_error" in answer.text:
        return "a stream that ends in a fault"
    return ""


async def normal(client: httpx.AsyncClient, target: Target, alone: str) -> None:
    """Ask what is known, again and again, until cancelled."""
    while True:
        if (text := await known(client)) != alone:
            target.faults.append(f"a normal answer beside others is {text!r} and alone {alone!r}")
        target.normal += 1
        await asyncio.sleep(0.2)


async def known(client: httpx.AsyncClient) -> str:
    """The known answer, or what came instead."""
    answer = await client.post("/v1/chat/completions", json=KNOWN, timeout=60)
    return answer.json()["choices"][0]["message"]["content"] if answer.status_code == 200 else answer.text


@asynccontextmanager
async def beside(client: httpx.AsyncClient, target: Target) -> AsyncIterator[None]:
    """Normal answers are asked for during the block, and once more after it."""
    if target.kind != "server":
        yield
        return
    alone = await known(client)
    vectors = {"model": "vectors", "input": "Hello"}
    (await client.post("/v1/embeddings", json=vectors, timeout=120)).raise_for_status()  # opened once
    task = asyncio.create_task(normal(client, target, alone))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if (text := await known(client)) != alone:
        target.faults.append(f"the known answer was {alone!r} and is {text!r}")
    ready = await client.get("/ready")
    if ready.status_code != 200 or ready.json()["status"] != "ok":
        target.faults.append(f"it is not ready at the end: {ready.text[:300]}")


async def fuzz(target: Target, count: int, number: int, first: int) -> dict[str, Any]:
    """Send the requests to a target; what came of them."""
    limits = httpx.Limits(max_connections=AT_ONCE + 4)
    began, done, warm = time.monotonic(), 0, 0
    asking = httpx.AsyncClient(base_url=target.address, timeout=None, limits=limits, trust_env=False)
    async with asking as client, beside(client, target):
        places = asyncio.Semaphore(AT_ONCE)

        async def send(sent: Sent) -> None:
            async with places:
                await ask(client, target, sent)

        coming, following_batch = batches(target, number, first), first
        making = asyncio.create_task(asyncio.to_thread(next, coming))
        while done < count:
            requests, following_batch = await making, following_batch + 1
            making = asyncio.create_task(asyncio.to_thread(next, coming))  # while these are sent
            await asyncio.gather(*map(send, requests))
            done += len(requests)
            warm = target.memory if not warm and done >= count / 10 else warm
            if sys.stderr.isatty():
                print(
                    f"\r{target.kind}: {done:,} of {count:,}, {len(target.faults)} faults",
                    end="",
                    file=sys.stderr,
                )
        await making
    grown = target.memory / warm - 1
    if grown > GROWTH and count >= 5000:
        target.faults.append(f"memory has grown by {grown:.0%} since the first tenth of the requests")
    return {
        "requests": done,
        "next_batch": following_batch,
        "seconds": round(time.monotonic() - began),
        "statuses": dict(sorted(target.statuses.items())),
        "slowest_s": round(target.slowest_s, 2),
        "slowest": target.slowest,
        "normal_answers_beside": target.normal,
        "memory_mb_warm": warm >> 20,
        "memory_mb_end": target.memory >> 20,
        "memory_growth": round(grown, 3),
        "faults": len(target.faults),
    }


# -- what is asked ----------------------------------------------------------------------------------


def fill_store(home: Path) -> None:
    """A store with a tiny random model that answers and one that embeds."""
    from freehold.models.intake import made_here
    from freehold.models.store import Store
    from freehold.runtime.gguf_form import as_gguf

    store = Store(home)
    for name, make in (("tiny", lambda at: TINY["model"]("llama", at)), ("vectors", TINY["embedder"])):
        folder = make(home / "made" / name)
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        model = store.add(name, made_here(files), {"source": "made for a test"})
        if name == "tiny":
            as_gguf(store, model)


def document_of(kind: str, home: Path) -> dict[str, Any]:
    """The OpenAPI document of the application, which the server itself need not publish."""
    from freehold.models.store import Store

    if kind == "server":
        from freehold.servers.inference.app import ServerOptions, make_app

        return make_app(Store(home), ["tiny", "vectors"], [], ServerOptions())[0].openapi()
    from freehold.servers.hub import app

    return app.make_app(Store(home)).openapi()


def begun(kind: str, home: Path) -> Target:
    """The process that is asked, ready, with something in it for requests to meet."""
    token = ""
    if kind == "server":
        fill_store(home)
        words = ["serve", "tiny", "vectors", "--context", "2048", "--waiting", "200"]
    else:
        words = ["hub", "serve"]
        if kind == "keyed":
            token = keyed(home)
    document = document_of(kind, home)
    process, started_as = started(home, *words)
    address = started_as["base_url"].removesuffix("/v1") if kind == "server" else started_as["address"]
    target = Target(kind, address, psutil.Process(process.pid), document, token)
    if kind != "server":
        fill_hub(target)
    return target


def keyed(home: Path) -> str:
    """Make a hub need tokens; one that may write."""
    from freehold.hub.users import Users
    from freehold.models.store import Store

    return Users(Store(home)).create_token("freehold", role="write")


def fill_hub(target: Target) -> None:
    """A repository with files and a discussion."""
    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    with httpx.Client(base_url=target.address, headers=headers, trust_env=False) as client:
        for name, base in (
            ("create", BASES["hub"][0]),
            ("commit", BASES["hub"][1]),
            ("discuss", BASES["hub"][2]),
        ):
            answer = client.request(
                base.method, base.url, content=base.content(), headers=base.sent_headers("")
            )
            assert answer.status_code == 200, (name, answer.text)


def main(
    requests: int, seed: int = 0, first: int = 0, only: tuple[str, ...] = ("server", "hub", "keyed")
) -> dict[str, Any]:
    """Fuzz each of ``only`` in turn, seven of ten requests to the server; what came of it, faults among
    it."""
    warnings.filterwarnings("ignore")
    shares = {"server": 0.7, "hub": 0.2, "keyed": 0.1}
    whole = sum(shares[kind] for kind in only)
    figures: dict[str, Any] = {}
    for kind in only:
        with tempfile.TemporaryDirectory() as home:
            target = begun(kind, Path(home))
            try:
                figures[kind] = asyncio.run(
                    fuzz(target, max(BATCH, int(requests * shares[kind] / whole)), seed, first)
                )
            finally:
                target.process.send_signal(signal.SIGTERM)
                target.process.wait(60)
        figures[kind]["examples"] = target.faults[:20]
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first batch")
    parser.add_argument("--only", default="server,hub,keyed")
    options = parser.parse_args()
    report = main(options.requests, options.seed, options.first, tuple(options.only.split(",")))
    print(json.dumps(report, indent=2))
    sys.exit(any(part["faults"] for part in report.values()))
