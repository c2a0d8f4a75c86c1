"""Mixed load on the server at twice what it can do: only 429 may be refused, what is taken in is answered,
memory stays flat.

Run: python benchmarks/serve_load.py [--minutes 60] [--seed 0] [--reproducible]
Needs the store's smollm2. A server process answers as many at once as it can for a while: that is its
capacity. Then requests of the same mix arrive at random times (a Poisson process) at twice that rate, whoever
still waits, and every half minute sixty more in one moment, which are more than may wait at any speed: chats
and completions, streamed and whole, of all three APIs, short and long prompts, some bound to a JSON schema;
some clients leave in the midst; some send what must be refused (no such model, a broken body, a field that is
unknown, a prompt longer than the context, invalid UTF-8, a wrong method).

Every answer is looked at: a whole one must hold text and say why it ended, a stream must come to its end, a
refusal must be a 4xx for what deserves one and 429 with Retry-After for the rest. Resident memory is read
every five seconds; of the readings after the first tenth, the median of the last quarter is compared with
that of the first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from processes import started

from freehold.costs.usage import UsageLog
from freehold.models.intake import made_here
from freehold.models.store import Store

THINGS = (
    "rivers",
    "bread",
    "chess",
    "glass",
    "bees",
    "trains",
    "salt",
    "paper",
    "clocks",
    "wool",
    "maps",
    "tea",
)
NOTICE = " ".join(
    f"Clause {n}: whoever borrows {thing} brings it back within {n + 2} days."
    for n, thing in enumerate(THINGS * 4)
)
SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "maxLength": 12}},
    "required": ["word"],
    "additionalProperties": False,
}
#: Seconds between readings of memory.
READ_EVERY = 5.0
#: Requests that come in one moment, and seconds between such moments.
BURST, BURST_EVERY = 60, 30.0


class Mix:
    """Draws requests, sends them, and counts how they ended."""

    def __init__(self, client: httpx.AsyncClient, chance: random.Random):
        self.client, self.chance = client, chance
        self.ended: Counter[str] = Counter()
        self.faults: list[str] = []

    def draw(self) -> Callable[[], Awaitable[None]]:
        """A request of the mix."""
        kinds = [
            (6, self.chat),
            (4, self.streamed),
            (2, self.long),
            (2, self.completion),
            (2, self.anthropic),
            (2, self.ollama),
            (1, self.bound),
            (2, self.leaving),
            (2, self.wrong),
        ]
        kind = self.chance.choices([one for _, one in kinds], [weight for weight, _ in kinds])[0]
        draws = random.Random(self.chance.random())
        return lambda: self._counted(kind, draws)

    async def _counted(self, kind: Callable[[random.Random], Awaitable[str]], draws: random.Random) -> None:
        try:
            self.ended[await kind(draws)] += 1
        except Exception as error:  # whatever it is, it is a fault, and told at the end
            self.faults.append(f"{kind.__name__}: {type(error).__name__}: {str(error)[:300]}")

    @staticmethod
    def _question(draws: random.Random) -> list[dict[str, str]]:
        return [
            {"role": "user", "content": f"Tell me {draws.randint(1, 9)} things about {draws.choice(THINGS)}."}
        ]

    async def _whole(self, path: str, body: dict[str, Any]) -> Any:
        """The answer's JSON, or None for a proper 429."""
        answer = await self.client.post(path, json=body)
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            return None
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        return answer.json()

    async def chat(self, draws: random.Random, **more: Any) -> str:
        body = {
            "model": "smollm2",
            "messages": self._question(draws),
            "max_tokens": draws.randint(4, 48),
            "temperature": draws.choice([0, 0.8]),
        }
        value = await self._whole("/v1/chat/completions", body | more)
        if value is None:
            return "429"
        assert value["choices"][0]["finish_reason"] in ("stop", "length"), value
        assert value["usage"]["completion_tokens"] > 0, value
        return "answered"

    async def long(self, draws: random.Random) -> str:
        return await self.chat(
            draws, messages=[{"role": "system", "content": NOTICE}, *self._question(draws)]
        )

    async def bound(self, draws: random.Random) -> str:
        form = {"type": "json_schema", "json_schema": {"name": "word", "schema": SCHEMA}}
        body = {
            "model": "smollm2",
            "messages": self._question(draws),
            "max_tokens": 60,
            "response_format": form,
        }
        value = await self._whole("/v1/chat/completions", body)
        if value is None:
            return "429"
        choice = value["choices"][0]
        if choice["finish_reason"] == "stop":
            assert set(json.loads(choice["message"]["content"])) == {"word"}, choice
        return "answered"

    async def completion(self, draws: random.Random) -> str:
        value = await self._whole(
            "/v1/completions",
            {"model": "smollm2", "prompt": f"About {draws.choice(THINGS)}:", "max_tokens": 24},
        )
        if value is None:
            return "429"
        assert value["choices"][0]["finish_reason"] in ("stop", "length"), value
        return "answered"

    async def anthropic(self, draws: random.Random) -> str:
        value = await self._whole(
            "/v1/messages", {"model": "smollm2", "messages": self._question(draws), "max_tokens": 24}
        )
        if value is None:
            return "429"
        assert value["stop_reason"] in ("end_turn", "max_tokens"), value
        return "answered"

    async def ollama(self, draws: random.Random) -> str:
        body = {
            "model": "smollm2",
            "messages": self._question(draws),
            "stream": False,
            "options": {"num_predict": 24},
        }
        value = await self._whole("/api/chat", body)
        if value is None:
            return "429"
        assert value["done"] is True, value
        return "answered"

    async def _stream(self, draws: random.Random, most: int, leave_after: float) -> str:
        body = {"model": "smollm2", "messages": self._question(draws), "max_tokens": most, "stream": True}
        finish, over, began = "", False, time.monotonic()
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code == 429:
                return "429"
            assert answer.status_code == 200, answer.status_code
            async for line in answer.aiter_lines():
                if time.monotonic() - began > leave_after:
                    return "left"
                if line == "data: [DONE]":
                    over = True
                elif line.startswith("data: "):
                    value = json.loads(line[6:])
                    assert "error" not in value, value
                    finish = value["choices"][0]["finish_reason"] or finish
        assert over, "the stream broke off"
        assert finish in ("stop", "length"), finish
        return "answered"

    async def streamed(self, draws: random.Random) -> str:
        return await self._stream(draws, draws.randint(4, 48), float("inf"))

    async def leaving(self, draws: random.Random) -> str:
        try:
            async with asyncio.timeout(draws.uniform(0.01, 2.0)):
                return await self._stream(draws, 400, draws.uniform(0.0, 2.0))
        except TimeoutError:
            return "left"

    async def wrong(self, draws: random.Random) -> str:
        good = {"model": "smollm2", "messages": self._question(draws), "max_tokens": 4}
        sent: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/v1/chat/completions", {"json": good | {"model": "none"}}),
            ("POST", "/v1/chat/completions", {"json": good | {"colour": "red"}}),
            ("POST", "/v1/chat/completions", {"json": good | {"temperature": 9}}),
            ("POST", "/v1/chat/completions", {"json": good | {"messages": []}}),
            (
                "POST",
                "/v1/chat/completions",
                {"json": good | {"messages": [{"role": "user", "content": "over and " * 9000}]}},
            ),
            ("POST", "/v1/chat/completions", {"content": b'{"model": '}),
            (
                "POST",
                "/v1/chat/completions",
                {"content": b'{"model": "\xff\xfe"}', "headers": {"content-type": "application/json"}},
            ),
            ("POST", "/v1/completions", {"json": {"model": "smollm2", "prompt": 7.5}}),
            ("GET", "/v1/chat/completions", {}),
            ("POST", "/v1/messages", {"json": {"model": "smollm2", "messages": self._question(draws)}}),
            ("GET", "/nowhere", {}),
        ]
        method, path, what = draws.choice(sent)
        answer = await self.client.request(method, path, **what)
        assert 400 <= answer.status_code < 500, f"{answer.status_code} to {method} {path} {str(what)[:80]}"
        assert answer.json(), "an empty refusal"
        return "429" if answer.status_code == 429 else "refused"


async def closed(mix: Mix, at_once: int, seconds: float) -> float:
    """Requests per second that end with so many at once."""
    began = time.monotonic()
    ends, done = began + seconds, 0

    async def one() -> None:
        nonlocal done
        while time.monotonic() < ends:
            await mix.draw()()
            done += 1

    await asyncio.gather(*(one() for _ in range(at_once)))
    return done / (time.monotonic() - began)


async def arriving(mix: Mix, rate: float, seconds: float, watch: Callable[[], None]) -> int:
    """Send requests at random times, ``rate`` per second; how many. All have ended when it returns."""
    began = time.monotonic()
    at, sent, looked, under_way, burst = 0.0, 0, -READ_EVERY, set[asyncio.Task[None]](), BURST_EVERY / 2

    def send() -> None:
        nonlocal sent
        task = asyncio.ensure_future(mix.draw()())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        sent += 1

    while at < seconds:
        now = time.monotonic() - began
        if now >= burst:
            burst += BURST_EVERY
            for _ in range(BURST):
                send()
        if now - looked >= READ_EVERY:
            looked = now
            watch()
        if at > now:
            await asyncio.sleep(min(at - now, READ_EVERY))
            continue
        send()
        at += mix.chance.expovariate(rate)
    while under_way:
        await asyncio.wait(set(under_way))
    return sent


def main(minutes: float, seed: int = 0, capacity_s: float = 30.0, *more: str) -> dict[str, Any]:
    """Run the load; what came of it.

    ``more``: what the server is told besides. Raises AssertionError where something was not as it must be.
    """
    there = Store()
    with tempfile.TemporaryDirectory() as folder:
        here = Store(Path(folder))
        model = there.find("smollm2")
        here.add(
            "smollm2",
            made_here({name: there.file(model, name) for name in model.manifest}),
            {"source": "benchmarks/serve_load.py"},
        )
        process, told = started(
            Path(folder),
            "serve",
            "smollm2",
            "--context",
            "8192",
            "--waiting",
            "16",
            "--states",
            "200MB",
            *more,
        )
        address = told["base_url"].removesuffix("/v1")
        watched = psutil.Process(process.pid)
        memory: list[tuple[float, float, int]] = []
        began = time.monotonic()

        def watch() -> None:
            memory.append((time.monotonic() - began, watched.memory_info().rss / 1e6, watched.num_fds()))
            if sys.stderr.isatty():
                left = max(0.0, minutes * 60 - memory[-1][0])
                print(f"\r{memory[-1][1]:.0f} MB, {left / 60:.1f} min left ", end="", file=sys.stderr)

        async def load() -> tuple[Mix, float, int, float]:
            nonlocal began
            chance = random.Random(seed)
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
            async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as client:
                capacity = await closed(Mix(client, chance), 12, capacity_s)
                mix, began = Mix(client, chance), time.monotonic()
                sent = await arriving(mix, 2 * capacity, minutes * 60, watch)
                took = time.monotonic() - began
                for _ in range(100):  # those who left are noticed within half a second
                    told = (await client.get("/metrics")).text
                    if "freehold_requests_under_way 0.0" in told:
                        break
                    await asyncio.sleep(0.1)
                else:
                    mix.faults.append("requests are still under way after every client has gone")
                return mix, capacity, sent, took

        try:
            mix, capacity, sent, took = asyncio.run(load())
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        accounted = sum(one.requests for one in UsageLog(here).sums())
    settled = memory[len(memory) // 10 :]
    quarter = max(1, len(settled) // 4)
    first, last = (
        statistics.median(one[1] for one in part) for part in (settled[:quarter], settled[-quarter:])
    )
    found = {
        "minutes": round(took / 60, 2),
        "capacity_per_s": round(capacity, 2),
        "sent": sent,
        **dict(sorted(mix.ended.items())),
        "faults": len(mix.faults),
        "memory_first_quarter_mb": round(first, 1),
        "memory_last_quarter_mb": round(last, 1),
        "memory_growth": round(last / first - 1, 4),
        "files_open": f"{settled[0][2]} to {settled[-1][2]}, at most {max(one[2] for one in memory)}",
        "accounted": accounted,
    }
    assert not mix.faults, (found, Counter(mix.faults).most_common(5))
    assert code == 0, f"the server ended with {code}"
    assert sum(mix.ended.values()) == sent, found
    assert accounted >= mix.ended["answered"], found
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--reproducible",
        action="store_true",
        help="on 'freehold serve --reproducible', with a context of 32768 tokens",
    )
    options = parser.parse_args()
    told = ["--reproducible", "--context", "32768"] if options.reproducible else []
    for name, value in main(options.minutes, options.seed, 30.0, *told).items():
        print(f"{name:26} {value}")
