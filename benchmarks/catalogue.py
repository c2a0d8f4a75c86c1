"""Search, facets, lists and look-ups in a catalogue of 2.5 million repositories while writes go on.

Run: python benchmarks/catalogue.py [--models 2000000] [--datasets 500000] [--folder DIR] [--asks 300]
In SQLite, or where FREEHOLD_DATABASE names a PostgreSQL database, in that.
The entries are made up after the Hugging Face Hub's distribution: few authors and tags have most
repositories, cards are of 30 to 150 words whose frequencies fall by Zipf's law, downloads by a power law. A
second process changes random entries all the while. Every figure is the time of what the API's list does,
rows fetched, pages of 30; each kind of question is asked ``--asks`` times, in turn. The peer is what a
catalogue without an index does: LIKE over names, in the same run, a few times, since it is slow.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freehold.hub.repositories import Repositories
from freehold.hub.search_index import Entry, SearchQuery
from freehold.models import catalogue as tables
from freehold.models.store import Store

BATCH = 20_000
NOW = 1.76e9
FAMILIES = [
    "llama",
    "qwen",
    "mistral",
    "bert",
    "gemma",
    "phi",
    "smollm",
    "roberta",
    "t5",
    "whisper",
    "gpt2",
    "falcon",
    "deepseek",
    "bge",
    "vit",
    "stable-diffusion",
]
LIBRARIES = [
    "transformers",
    "peft",
    "diffusers",
    "gguf",
    "sentence-transformers",
    "timm",
    "adapters",
    "onnx",
    "mlx",
    "keras",
]
TASKS = [
    "text-generation",
    "text-classification",
    "text-to-image",
    "feature-extraction",
    "automatic-speech-recognition",
    "token-classification",
    "question-answering",
    "translation",
    "summarization",
    "image-classification",
    "reinforcement-learning",
    "fill-mask",
    "object-detection",
]
LICENCES = [
    "apache-2.0",
    "mit",
    "openrail",
    "llama3",
    "gemma",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "other",
    "bsd-3-clause",
    "gpl-3.0",
]
LANGUAGES = ["en", "zh", "fr", "de", "es", "ja", "ko", "pt", "ru", "ar", "it", "hi"]


class Zipf:
    """Draws 0 to ``count - 1``, the n-th with a frequency of 1 / n."""

    def __init__(self, count: int):
        self.sums = list(itertools.accumulate(1 / (n + 1) for n in range(count)))

    def draw(self, chance: random.Random) -> int:
        """One number."""
        return bisect.bisect(self.sums, chance.random() * self.sums[-1])


class World:
    """What entries are made of."""

    def __init__(self) -> None:
        chance = random.Random(1)
        parts = ["".join(pair) for pair in itertools.product("bcdfgklmnprstvz", "aeiou")]
        self.words = [
            "".join(chance.choice(parts) for _ in range(chance.randint(1, 4))) for _ in range(40_000)
        ]
        self.authors = [f"{chance.choice(self.words)}{number}" for number in range(250_000)]
        self.word, self.author, self.some = Zipf(len(self.words)), Zipf(len(self.authors)), Zipf(13)

    def one(self, values: list[str], chance: random.Random) -> str:
        """One value, the first ones most often."""
        return values[self.some.draw(chance) % len(values)]

    def entry(self, number: int, kind: str, chance: random.Random) -> Entry:
        """A repository."""
        author = self.authors[self.author.draw(chance)]
        family = self.one(FAMILIES, chance)
        billions = chance.choice((1, 2, 3, 7, 8, 13, 70))
        name = f"{author}/{family}-{billions}b-{self.words[self.word.draw(chance)]}-{number}"
        tags = [f"license:{self.one(LICENCES, chance)}", self.one(LANGUAGES, chance), "region:us"]
        if kind == "model":
            tags += [
                self.one(LIBRARIES, chance),
                self.one(TASKS, chance),
                family,
                "safetensors",
                f"base_model:org/{family}-{self.some.draw(chance)}",
            ]
        else:
            tags += [
                f"task_categories:{self.one(TASKS, chance)}",
                f"size_categories:{self.one(['1K<n<10K', 'n<1K', '10K<n<100K', '100K<n<1M'], chance)}",
            ]
        if chance.random() < 0.2:
            tags.append(f"arxiv:{chance.randint(1000, 2500)}.{chance.randint(10000, 20000)}")
        card = " ".join(self.words[self.word.draw(chance)] for _ in range(chance.randint(30, 150)))
        downloads = int(chance.paretovariate(0.45)) - 1
        modified = NOW - 4 * 365 * 86_400 * chance.random() ** 1.5
        return Entry(
            number, kind, name, author, chance.random() < 0.02, modified, min(downloads, 10**9), tags, card
        )


def row_of(entry: Entry) -> dict[str, Any]:
    """The entry in the table of repositories."""
    return {
        "id": entry.id,
        "kind": entry.kind,
        "name": entry.name,
        "folded": entry.name.lower(),
        "author": entry.author,
        "private": entry.private,
        "gated": "",
        "created": float(entry.id),
        "modified": entry.modified,
        "downloads": entry.downloads,
        "tags": list(entry.tags),
        "card": {"license": entry.tags[0].partition(":")[2], "language": [entry.tags[1]]},
    }


def build(repositories: Repositories, world: World, models: int, datasets: int) -> None:
    """Fill an empty catalogue."""
    chance, started = random.Random(2), time.perf_counter()
    total = models + datasets
    for start in range(1, total + 1, BATCH):
        some = [
            world.entry(n, "dataset" if n % (total // max(1, datasets)) == 0 else "model", chance)
            for n in range(start, min(start + BATCH, total + 1))
        ]
        with repositories.engine.begin() as connection:
            connection.execute(tables.repositories.insert(), [row_of(entry) for entry in some])
            repositories.index.put(connection, some)
        if (start // BATCH) % 10 == 9:
            done = start + BATCH - 1
            print(f"  {done:,} entries, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    print(f"built {total:,} entries in {time.perf_counter() - started:.0f} s")


def size_of(repositories: Repositories, folder: Path) -> int:
    """Bytes on disk; a server that was just filled counts its rows first, as it would by itself in a
    while."""
    if repositories.engine.dialect.name == "sqlite":
        return sum(file.stat().st_size for file in folder.glob("freehold.db*"))
    with repositories.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
        return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())


def write(repositories: Repositories, total: int) -> None:
    """Change random entries until stopped; prints how many at the end."""
    world, chance, done = World(), random.Random(time.time_ns()), 0
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    rows = tables.repositories
    while not stopped:
        number = chance.randint(1, total)
        with repositories.engine.begin() as connection:
            connection.execute(rows.update().where(rows.c.id == number).values(modified=time.time()))
            there = connection.execute(sa.select(rows).where(rows.c.id == number)).one()
            card = world.entry(number, there.kind, chance).card
            entry = Entry(
                number,
                there.kind,
                there.name,
                there.author,
                there.private,
                there.modified,
                there.downloads,
                there.tags,
                card,
            )
            repositories.index.put(connection, [entry])
        done += 1
        time.sleep(0.02)
    print(done)


def questions(
    repositories: Repositories, world: World, total: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    """(kind of question, what asks it), the kinds in turn, for ever."""
    chance = random.Random(5)
    visitor = ("somebody",)
    cursors: dict[tuple[str, str], str] = {}

    def listed(query: SearchQuery, cursor: str = "") -> str:
        return repositories.list(query, cursor, 30)[1]

    def deeper(kind: str, sort: str) -> None:
        cursors[kind, sort] = listed(
            SearchQuery(kind, names=visitor, sort=sort), cursors.get((kind, sort), "")
        )

    with repositories.engine.connect() as connection:
        names = connection.execute(
            sa.select(tables.repositories.c.kind, tables.repositories.c.name).where(
                tables.repositories.c.id.in_([chance.randint(1, total) for _ in range(500)])
            )
        ).all()
    while True:
        kind, name = chance.choice(names)
        word, other = (world.words[world.word.draw(chance)] for _ in range(2))
        rare = world.words[chance.randrange(20_000, 40_000)]
        family, task, licence = (world.one(values, chance) for values in (FAMILIES, TASKS, LICENCES))
        sort = chance.choice(["modified", "downloads"])
        yield "one by its name", lambda k=kind, n=name: repositories.find(k, n)
        yield "next page of all", lambda s=sort: deeper("model", s)
        yield (
            "a family in names",
            lambda f=family, s=sort: listed(SearchQuery("model", words=f, names=visitor, sort=s)),
        )
        yield (
            "a start of names",
            lambda w=word, s=sort: listed(SearchQuery("model", words=w[:4], names=visitor, sort=s)),
        )
        yield (
            "words in cards",
            lambda w=word, o=other, s=sort: listed(
                SearchQuery("model", text=f"{w} {o}", names=visitor, sort=s)
            ),
        )
        yield (
            "a rare word in cards",
            lambda w=rare, s=sort: listed(SearchQuery("model", text=w, names=visitor, sort=s)),
        )
        yield "a tag", lambda t=task, s=sort: listed(SearchQuery("model", tags=(t,), names=visitor, sort=s))
        yield (
            "two tags and a name",
            lambda t=task, i=licence, f=family, s=sort: listed(
                SearchQuery("model", words=f, tags=(t, f"license:{i}"), names=visitor, sort=s)
            ),
        )
        yield (
            "an author",
            lambda n=name, s=sort: listed(
                SearchQuery("model", author=n.split("/")[0], names=visitor, sort=s)
            ),
        )
        yield (
            "facets of all",
            lambda k=kind: repositories.index.facets(SearchQuery(k, names=visitor), ["license:"]),
        )
        yield (
            "facets of a search",
            lambda f=family, i=licence: repositories.index.facets(
                SearchQuery("model", words=f, tags=(f"license:{i}",), names=visitor), limit=20
            ),
        )


def share(times: list[float], part: float) -> float:
    """The value below which ``part`` of the times lie, in milliseconds."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=2_000_000)
    parser.add_argument("--datasets", type=int, default=500_000)
    parser.add_argument("--folder", type=Path, help="keep the catalogue there, and use what is there")
    parser.add_argument("--asks", type=int, default=300)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    total = options.models + options.datasets
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        repositories = Repositories(Store(folder))
        if options.write:
            write(repositories, total)
            return
        world = World()
        with repositories.engine.connect() as connection:
            empty = connection.execute(sa.select(tables.repositories.c.id).limit(1)).first() is None
        if empty:
            build(repositories, world, options.models, options.datasets)
        size = size_of(repositories, folder)
        command = [
            sys.executable,
            __file__,
            "--write",
            "--folder",
            str(folder),
            "--models",
            str(options.models),
            "--datasets",
            str(options.datasets),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            times: dict[str, list[float]] = {}
            asking = questions(repositories, world, total)
            started = time.perf_counter()
            for kind, ask in asking:
                began = time.perf_counter()
                ask()
                times.setdefault(kind, []).append(time.perf_counter() - began)
                if len(times) == 11 and min(map(len, times.values())) == options.asks:
                    break
            asked = time.perf_counter() - started
            writer.terminate()
            written = int((writer.communicate()[0] or "0").strip() or 0)
        plain: list[float] = []
        for family in FAMILIES[:3]:
            began = time.perf_counter()
            with repositories.engine.connect() as connection:
                rows = tables.repositories.c
                connection.execute(
                    sa.select(rows.id)
                    .where(rows.kind == "model", rows.folded.contains(f"{family}-7b-k"))
                    .order_by(rows.downloads.desc())
                    .limit(30)
                ).all()
            plain.append(time.perf_counter() - began)
    every = [one for some in times.values() for one in some]
    print(
        f"{total:,} entries, {size / 1e9:.2f} GB on disk, {written} of them changed in the {asked:.0f} s of"
        " asking; milliseconds:"
    )
    table = {
        kind: {
            "p50": round(share(some, 0.5), 2),
            "p99": round(share(some, 0.99), 2),
            "most": round(share(some, 1), 2),
        }
        for kind, some in times.items()
    }
    for kind, row in table.items():
        print(f"  {kind:22} p50 {row['p50']:8.2f}  p99 {row['p99']:8.2f}  most {row['most']:8.2f}")
    print(
        f"  {'all questions':22} p50 {share(every, 0.5):8.2f}  p99 {share(every, 0.99):8.2f}  most"
        f" {share(every, 1):8.2f}"
    )
    print(
        f"  LIKE over names: {', '.join(f'{one * 1000:.0f}' for one in plain)}; resident memory"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
    )
    print(json.dumps({"entries": total, "bytes": size, "milliseconds": table}))


if __name__ == "__main__":
    main()
