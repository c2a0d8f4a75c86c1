"""Freehold's server beside llama.cpp's own (in xllamacpp): the same weights, threads, requests, in turns.

Run: python benchmarks/serve.py [--rounds 3] [--only plain|prefix|quoting|states|adapters|keys|texts]
Needs the extra ``bench`` and the store's smollm2. Each server is a process of its own with two threads, the
same context and as many answers at once as are asked for; each round starts both anew, one after the other,
the order turned each round. What is told: answer tokens per second of all requests together, the time to the
first token and between tokens (median and 95th percentile over all answers), and whether the greedy texts are
the same. Mixes: ``plain`` (short questions at 1, 8 and 32 at once), ``prefix`` (half of the requests begin
with the same 1,200 tokens), ``quoting`` (answers that repeat their input), ``states`` (a document of about
3,000 tokens asked twice with a restart between), ``adapters`` (eight of rank 16 on one base, each request
naming one, beside all naming the same), and ``keys`` (``prefix`` asked by four keys in turn, which share what
was computed, or do not).

Sums in other kernels round otherwise and decide near-ties differently, and the peer's package has kernels for
AVX2 only. So texts are to be compared with llama.cpp's server built for this processor, from the very source
that llama-cpp-python's package holds: ``--llama-server PATH`` takes its place as the peer (docs/serve.md says
how it is built). ``texts`` asks both servers the same 64 questions one at a time, 8 and 32 at once, and
compares all with what llama.cpp's says one at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

FREEHOLD = [sys.executable, "-m", "freehold.cli.main"]
MODEL = "benchmark/serve"
#: llama.cpp's server as an executable, in place of the one in xllamacpp.
BUILT = ""
#: What Freehold's server is told besides, where speeds are compared.
OWN: list[str] = []
_PEER = """
import sys, time
import xllamacpp as x
path, parallel, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
p = x.CommonParams()
p.model.path = path
p.n_parallel = parallel
p.n_ctx = context
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 2
p.kv_unified = False  # what a slot has is its own: faster here than one cache for all
p.warmup = True
loras = []
for file in sys.argv[4:]:
    lora = x.CommonAdapterLoraInfo()
    lora.path, lora.scale = file, 0.0
    loras.append(lora)
if loras:
    p.lora_adapters = loras
s = x.Server(p)
print(s.listening_address, flush=True)
time.sleep(100000)
"""
SUBJECTS = [
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
    "bridges",
    "ink",
    "ships",
    "bells",
]
RULES = " ".join(
    f"Rule {n}: a request about {s} is answered in two plain sentences that name {s} first."
    for n, s in enumerate(SUBJECTS * 4)
)
RECORD = (
    "Patient 4471, born 1961-03-12, was admitted on 2026-02-03 with fever and a dry cough. The chest film"
    " showed a small shadow at the left base. Amoxicillin 500 mg was given three times a day for seven days."
    " On 2026-02-09 the temperature was normal and the patient was sent home. "
)


@dataclass
class Answers:
    """What a mix gave: texts in order, tokens, seconds of all, and each answer's times."""

    texts: list[str] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)


def questions(count: int) -> list[list[dict[str, str]]]:
    """Short questions, all different."""
    return [
        [
            {
                "role": "user",
                "content": f"Tell me {2 + n // len(SUBJECTS)} things about {SUBJECTS[n % len(SUBJECTS)]}.",
            }
        ]
        for n in range(count)
    ]


def with_prefix(count: int) -> list[list[dict[str, str]]]:
    """Half of them begin with the same rules."""
    return [
        [{"role": "system", "content": RULES}, *ask] if n % 2 == 0 else ask
        for n, ask in enumerate(questions(count))
    ]


def quoting(count: int) -> list[list[dict[str, str]]]:
    """Requests whose answers repeat what they were given."""
    return [
        [{"role": "user", "content": f"Repeat this text word for word, {n + 1} times:\n\n{RECORD}"}]
        for n in range(count)
    ]


async def asked(
    address: str,
    messages: list[list[dict[str, str]]],
    at_once: int,
    most: int,
    more: list[dict[str, Any]] | None = None,
    keys: list[str] | None = None,
) -> Answers:
    """Send requests, so many at once; streamed.

    ``more``: what each request says beside; ``keys``: who asks, in turn.
    """
    found = Answers(texts=[""] * len(messages))
    turn = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(
        timeout=600, limits=httpx.Limits(max_connections=at_once + 2, max_keepalive_connections=0)
    ) as client:

        async def one(number: int) -> None:
            async with turn:
                body = {
                    "model": MODEL,
                    "messages": messages[number],
                    "max_tokens": most,
                    "temperature": 0,
                    "stream": True,
                    "stream_options": {"include_usage": True},
                } | (more[number] if more else {})
                started, last, text = time.perf_counter(), 0.0, ""
                sender = {"authorization": f"Bearer {keys[number % len(keys)]}"} if keys else {}
                url = f"{address}/v1/chat/completions"
                async with client.stream("POST", url, json=body, headers=sender) as response:
                    response.raise_for_status()
                    async for line in response.aiter_lines():
                        if not line.startswith("data: ") or line == "data: [DONE]":
                            continue
                        value = json.loads(line[6:])
                        if value.get("usage"):
                            found.tokens += value["usage"]["completion_tokens"]
                        piece = value["choices"][0]["delta"].get("content") if value["choices"] else None
                        if piece:
                            now = time.perf_counter()
                            (found.between if last else found.first).append(now - (last or started))
                            last = now
                            text += piece
                found.texts[number] = text

        started = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(len(messages))))
        found.seconds = time.perf_counter() - started
    return found


def _built(weights: Path, parallel: int, context: int, adapters: list[Path]) -> list[str]:
    """The words that start llama.cpp's own executable as ``_PEER`` starts the package's; it is told to say
    where it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        BUILT,
        "-m",
        str(weights),
        "--port",
        str(port),
        "-np",
        str(parallel),
        "-c",
        str(context),
        "-t",
        "2",
        "-tb",
        "2",
        "--no-kv-unified",
    ]
    for file in adapters:
        words += ["--lora-scaled", f"{file}:0.0"]
    return ["sh", "-c", f'echo http://127.0.0.1:{port}; exec "$@" >/dev/null', "sh", *words]


class Server:
    """Either server as a process."""

    def __init__(
        self,
        kind: str,
        weights: Path,
        parallel: int,
        context: int,
        *more: str,
        adapters: list[Path] | None = None,
    ):
        self.kind = kind
        if kind == "freehold":
            words = [
                *FREEHOLD,
                "serve",
                MODEL,
                "--port",
                "0",
                "--parallel",
                str(parallel),
                "--context",
                str(context),
                "--waiting",
                "1000",
                *more,
            ]
            self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
            stream = self.process.stderr
        else:
            package = [
                sys.executable,
                "-c",
                _PEER,
                str(weights),
                str(parallel),
                str(context),
                *map(str, adapters or []),
            ]
            self.process = subprocess.Popen(
                _built(weights, parallel, context, adapters or []) if BUILT else package,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stream = self.process.stdout
        assert stream is not None
        for line in stream:
            if found := re.search(r"https?://[\w.]+:\d+", line):
                self.address = found[0]
                break
        else:
            raise SystemExit(f"{kind} did not start")
        for _ in range(
            300
        ):  # llama.cpp's says where it listens before it is ready, and drops what comes then
            try:
                if httpx.get(f"{self.address}/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)

    def ask(
        self,
        messages: list[list[dict[str, str]]],
        at_once: int,
        most: int,
        more: list[dict[str, Any]] | None = None,
        keys: list[str] | None = None,
    ) -> Answers:
        """Send requests."""
        return asyncio.run(asked(self.address, messages, at_once, most, more, keys))

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def centile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000 if values else 0.0


def compare(
    title: str,
    weights: Path,
    messages: list[list[dict[str, str]]],
    at_once: int,
    most: int,
    context: int,
    rounds: int,
) -> None:
    """Both servers in turns."""
    speeds: dict[str, list[float]] = {"freehold": [], "llama.cpp": []}
    last: dict[str, Answers] = {}
    for number in range(rounds):
        for kind in list(speeds) if number % 2 == 0 else list(speeds)[::-1]:
            server = Server(kind, weights, at_once, context, "--states", "0B", *OWN)
            server.ask(questions(1), 1, 4)
            last[kind] = server.ask(messages, at_once, most)
            server.end()
            speeds[kind].append(last[kind].tokens / last[kind].seconds)
    same = sum(a == b for a, b in zip(last["freehold"].texts, last["llama.cpp"].texts, strict=True))
    for kind, found in last.items():
        print(
            f"{title:24} {kind:10} {statistics.median(speeds[kind]):7.1f} tok/s"
            f" ({', '.join(f'{one:.1f}' for one in speeds[kind])}), first token"
            f" {centile(found.first, 0.5):6.0f} / {centile(found.first, 0.95):6.0f} ms, between"
            f" {centile(found.between, 0.5):5.1f} / {centile(found.between, 0.95):6.1f} ms"
        )
    ratio = statistics.median(speeds["freehold"]) / statistics.median(speeds["llama.cpp"])
    print(f"{title:24} {ratio:.2f}x; {same} of {len(messages)} texts the same", flush=True)


def texts(weights: Path) -> None:
    """Greedy texts of both servers beside those that llama.cpp's gives when it is asked one thing at a time.

    Where they part, llama.cpp's server is asked how far apart it holds the two likeliest tokens: sums in
    another order round otherwise, and only what is closer than that rounding may differ.
    """
    messages, found = questions(64), dict[str, list[str]]()
    for at_once in (1, 8, 32):
        for kind, more in (("llama.cpp", []), ("freehold", ["--reproducible"]), ("freehold", [])):
            server = Server(kind, weights, at_once, 512 * at_once, "--states", "0B", *more)
            found[f"{at_once} at once, {' '.join([kind, *more])}"] = server.ask(messages, at_once, 64).texts
            server.end()
    wanted = next(iter(found.values()))
    judge = Server("llama.cpp", weights, 1, 512)
    for title, said in found.items():
        apart = [
            _apart(judge.address, ask, theirs, ours)
            for ask, theirs, ours in zip(messages, wanted, said, strict=True)
            if theirs != ours
        ]
        gaps = (
            f", parting where the likeliest two are {statistics.median(apart):.4f} nats apart, or up to"
            f" {max(apart):.4f}"
            if apart
            else ""
        )
        print(
            f"{f'texts, {title}':48} {len(messages) - len(apart)} of {len(messages)} as llama.cpp's one at a"
            f" time{gaps}",
            flush=True,
        )
    judge.end()


def _apart(address: str, messages: list[dict[str, str]], theirs: str, ours: str) -> float:
    """Nats between the two likeliest tokens where two texts part, in llama.cpp's server's answer; infinity
    where those two are not how they part, or the answer has parted from both before."""
    body = {"messages": messages, "max_tokens": 64, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=600).json()["choices"][0][
        "logprobs"
    ]["content"]
    same = next(
        (at for at, (one, other) in enumerate(zip(theirs, ours, strict=False)) if one != other),
        min(len(theirs), len(ours)),
    )
    before = ""
    for token in answer:
        if len(before) + len(token["token"]) > same:
            first, second = token["top_logprobs"]
            ways = {
                (theirs.startswith(before + one["token"]), ours.startswith(before + one["token"]))
                for one in (first, second)
            }
            return (
                first["logprob"] - second["logprob"]
                if ways == {(True, False), (False, True)}
                else float("inf")
            )
        before += token["token"]
    return float("inf")


def restarted(weights: Path) -> None:
    """A long document asked twice, the server ended between."""
    document = " ".join(f"Section {n}. {RECORD}" for n in range(22))
    messages = [[{"role": "user", "content": f"{document}\n\nWhat was given?"}]]
    for kind in ("freehold", "llama.cpp"):
        times = []
        for _ in range(2):
            server = Server(kind, weights, 1, 4096, *(["--states", "1GiB"] if kind == "freehold" else []))
            server.ask(questions(1), 1, 4)
            times.append(server.ask(messages, 1, 16).first[0])
            server.end()
        print(
            f"{'a document, restarted':24} {kind:10} first token {times[0] * 1000:.0f} ms, after the restart"
            f" {times[1] * 1000:.0f} ms ({times[0] / times[1]:.1f}x)"
        )


def write_adapter(target: Path, base: Path, seed: int, rank: int = 16) -> Path:
    """An adapter of small random factors on every matrix of the layers."""
    import numpy as np

    from freehold.models.formats import gguf

    chance = np.random.default_rng(seed)
    factors = {
        tensor.name: tuple(
            chance.normal(0, 0.01, shape).astype(np.float32)
            for shape in ((rank, tensor.shape[0]), (tensor.shape[1], rank))
        )
        for tensor in gguf.read_header(base).tensors
        if len(tensor.shape) == 2 and tensor.name.startswith("blk.")
    }
    gguf.write_adapter(target, "llama", float(rank), factors)  # type: ignore[arg-type]
    return target


def with_adapters(store: Any, weights: Path, rounds: int, count: int = 8) -> None:
    """Eight adapters at once beside one adapter, on both servers."""
    from freehold.models.intake import made_here

    base = store.find(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        files = [write_adapter(Path(folder) / f"{number}.gguf", weights, number) for number in range(count)]
        names = [f"benchmark/adapter{number}" for number in range(count)]
        for name, file in zip(names, files, strict=True):
            store.add(
                name,
                made_here({"serve.gguf": weights, "adapter.lora": file}),
                {"source": "benchmarks/serve.py"},
                lineage=base.made_into(),
            )
        messages = questions(32)
        told = {
            ("freehold", "one adapter"): [{"model": names[0]}] * len(messages),
            ("freehold", "eight"): [{"model": names[n % count]} for n in range(len(messages))],
            ("llama.cpp", "one adapter"): [{"lora": [{"id": 0, "scale": 1.0}]}] * len(messages),
            ("llama.cpp", "eight"): [
                {"lora": [{"id": n % count, "scale": 1.0}]} for n in range(len(messages))
            ],
        }
        speeds: dict[tuple[str, str], list[float]] = {key: [] for key in told}
        for number in range(rounds):
            for key in list(told) if number % 2 == 0 else list(told)[::-1]:
                own = [
                    "--states",
                    "0B",
                    "--no-guessing",
                    *(word for name in names for word in ("--adapter", name)),
                ]
                server = Server(key[0], weights, count, 8192, *own, adapters=files)
                server.ask(questions(1), 1, 4)
                found = server.ask(messages, count, 64, told[key])
                server.end()
                speeds[key].append(found.tokens / found.seconds)
        for (kind, what), some in speeds.items():
            print(
                f"{f'adapters: {what}, {count} at once':32} {kind:10} {statistics.median(some):7.1f} tok/s"
                f" ({', '.join(f'{one:.1f}' for one in some)})"
            )
        for kind in ("freehold", "llama.cpp"):
            ratio = statistics.median(speeds[kind, "eight"]) / statistics.median(speeds[kind, "one adapter"])
            print(f"eight adapters come to {ratio:.2f} of one adapter's throughput on {kind}", flush=True)
        for name in names:
            store.remove(name)


def with_keys(store: Any, rounds: int, count: int = 4) -> None:
    """Four keys whose requests begin with the same text, where they share what was computed of it, and where
    each has its own."""
    from freehold.servers.inference.api_keys import Keys

    known, names = Keys(store), [f"benchmark-{number}" for number in range(count)]
    keys = [known.create(name) for name in names]
    speeds: dict[str, list[float]] = {"all": [], "key": []}
    last: dict[str, Answers] = {}
    try:
        for number in range(rounds):
            for sharing in list(speeds) if number % 2 == 0 else list(speeds)[::-1]:
                server = Server("freehold", Path(), 8, 24576, "--states", "0B", "--share-prompts", sharing)
                server.ask(questions(1), 1, 4, None, keys)
                last[sharing] = server.ask(with_prefix(32), 8, 64, None, keys)
                server.end()
                speeds[sharing].append(last[sharing].tokens / last[sharing].seconds)
    finally:
        for name in names:
            known.revoke(name)
    for sharing, answers in last.items():
        print(
            f"{f'four keys, sharing: {sharing}':24} {statistics.median(speeds[sharing]):7.1f} tok/s "
            f"({', '.join(f'{speed:.1f}' for speed in speeds[sharing])}), first token "
            f"{centile(answers.first, 0.5):6.0f} / {centile(answers.first, 0.95):6.0f} ms",
            flush=True,
        )


def main() -> None:
    """Print a line for each mix and server."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument(
        "--type", default="Q8_0", help="the weights' type, made from the store's smollm2; Q4_1: as it is"
    )
    parser.add_argument(
        "--llama-server",
        type=Path,
        help="llama.cpp's server as an executable, in place of the one in xllamacpp",
    )
    parser.add_argument(
        "--reproducible", action="store_true", help="compare the speed of 'freehold serve --reproducible'"
    )
    options = parser.parse_args()
    global BUILT  # noqa: PLW0603
    OWN[:] = ["--reproducible"] if options.reproducible else []
    BUILT = str(options.llama_server.resolve()) if options.llama_server else ""
    from freehold.models.intake import made_here
    from freehold.models.store import Store

    store = Store()
    if options.type != "Q4_1":
        from freehold.quantization.quantize import quantize

        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "serve.gguf"
            quantize(store.weights(store.find("smollm2")), made, options.type)
            store.add(MODEL, made_here({made.name: made}), {"source": "benchmarks/serve.py"}, move=True)
    else:
        store.add(
            MODEL,
            made_here({"serve.gguf": store.weights(store.find("smollm2"))}),
            {"source": "benchmarks/serve.py"},
        )
    weights = store.weights(store.find(MODEL))
    print(f"SmolLM2-135M as {options.type}, {weights.stat().st_size / 1e6:.0f} MB; rounds: {options.rounds}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    mixes: list[tuple[str, str, list[Any], int, int, int]] = [
        ("plain", "1 at once", questions(6), 1, 64, 4096),
        ("plain", "8 at once", questions(32), 8, 64, 8192),
        ("plain", "32 at once", questions(64), 32, 64, 16384),
        ("prefix", "8, half share a prefix", with_prefix(32), 8, 64, 24576),
        ("prefix", "32, half share a prefix", with_prefix(64), 32, 64, 65536),
        ("quoting", "quoting, 1 at once", quoting(4), 1, 200, 4096),
        ("quoting", "quoting, 8 at once", quoting(8), 8, 200, 8192),
    ]
    for group, title, messages, at_once, most, context in mixes:
        if options.only in ("", group):
            compare(title, weights, messages, at_once, most, context, options.rounds)
    if options.only in ("", "adapters"):
        with_adapters(store, weights, options.rounds)
    if options.only in ("", "keys"):
        with_keys(store, options.rounds)
    if options.only in ("", "texts"):
        texts(weights)
    if options.only in ("", "states"):
        restarted(weights)


if __name__ == "__main__":
    main()
