"""Recall and false alarms of the detector of near-duplicates, on pairs of rows that are labelled.

Run: python benchmarks/leaks.py [--data ../shared/data] [--show] [--methods ours jaccard grams ...]
Pairs are those of leak_pairs.txt, and rows of --data changed by rules (typos, case, accents, order, courtesy,
cut off, wrapped) or paired with rows that only look alike. A pair is tried in two ways: alone, and in a file,
with 300 rows of banking77 and the other pairs of its kind on both sides. Kinds with a star changed no rule
and no threshold. ``jaccard`` is word pairs, what Freehold had before; ``grams`` and ``grams80`` are the
Jaccard similarity of runs of four letters, at least 0.6 or 0.8 (what datasketch's MinHash estimates);
``minilm`` and ``minilm95`` are the cosine of all-MiniLM-L6-v2 from the store, at least 0.9 or 0.95.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freehold.data.duplicates import similar_pairs
from freehold.data.words import plain

HERE = Path(__file__).parent
INSTRUCTION = (
    "Read the message of the customer below carefully and answer with the name of the one team that should "
    "handle it, without any further words.\n"
)
#: Whether each pair (known, test) is said to leak, among further known rows.
Method = Callable[[Sequence[str], Sequence[tuple[str, str]]], list[bool]]


@dataclass(frozen=True)
class Pair:
    """``leaks``: whether knowing the first row gives the answer to the second away."""

    kind: str
    leaks: bool
    known: str
    test: str

    @property
    def held_out(self) -> bool:
        """Whether the kind was not looked at while rules were chosen."""
        return self.kind.startswith("*")


# -- the pairs ------------------------------------------------------------------------------------


def written() -> list[Pair]:
    """The pairs of leak_pairs.txt."""
    pairs: list[Pair] = []
    for line in (HERE / "leak_pairs.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            kind, verdict, texts = (piece.strip() for piece in line.split(" | ", 2))
            known, test = (
                text.strip().replace("\\n", "\n").replace("\\t", "\t") for text in texts.split("|||")
            )
            pairs.append(Pair(kind, verdict == "leak", known, test))
    return pairs


def banking(data: Path, part: str) -> list[tuple[str, str]]:
    """(text, label) of banking77."""
    rows = [
        json.loads(line) for line in (data / "banking77" / f"{part}.jsonl").read_text().split("\n") if line
    ]
    return [(row["messages"][1]["content"], row["label"]) for row in rows]


def prompts(path: Path) -> list[str]:
    """The questions of a file of prompts or chats."""
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    return [row["prompt"] if "prompt" in row else row["messages"][0]["content"] for row in rows]


def typo(rng: random.Random, text: str, count: int = 1) -> str:
    """A text with letters swapped, dropped, doubled or replaced inside longer words."""
    words = text.split(" ")
    places = [n for n, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    for place in rng.sample(places, min(count, len(places))):
        word, at = words[place], rng.randrange(1, len(words[place]) - 2)
        words[place] = rng.choice(
            [
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + rng.choice("aeiorstn") + word[at + 1 :],
            ]
        )
    return " ".join(words)


def changed(data: Path, rng: random.Random, each: int = 12) -> list[Pair]:
    """Rows of real files changed so that they still ask the same."""
    texts = [text for text, _ in banking(data, "train") if 6 <= len(text.split()) <= 20]
    ways: dict[str, Callable[[str], str]] = {
        "one typo, real rows": lambda text: typo(rng, text),
        "two typos, real rows": lambda text: typo(rng, text, 2),
        "upper case, real rows": str.upper,
        "no punctuation, real rows": lambda text: re.sub(r"[^\w\s]", "", text),
        "courtesy, real rows": lambda text: f"Hello, {text} Thanks a lot!",
        "cut off, real rows": lambda text: " ".join(text.split()[: int(0.75 * len(text.split())) + 1]),
        "instruction and typo, real rows": lambda text: INSTRUCTION + typo(rng, text),
        "*vowel dropped, real rows": lambda text: re.sub(r"(\w{3,})[aeiou](\w{2,})", r"\1\2", text, count=1),
        "in HTML, real rows": lambda text: f"<div><p>{text}</p></div>",
        "*two words swapped, real rows": lambda text: _swapped(rng, text),
    }
    pairs: list[Pair] = []
    for kind, way in ways.items():
        for text in rng.sample(texts, each):
            known = INSTRUCTION + text if "instruction" in kind else text
            pairs.append(Pair(kind, True, known, way(text)))
    stories = prompts(data / "gsm8k" / "train.jsonl")
    pairs += [
        Pair("*two typos in long rows", True, text, typo(rng, text, 2)) for text in rng.sample(stories, each)
    ]
    return pairs


def _swapped(rng: random.Random, text: str) -> str:
    words = text.split(" ")
    at = rng.randrange(0, len(words) - 1)
    words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def _renumbered(text: str) -> str:
    return re.sub(r"\d+", lambda match: str(int(match[0]) + 3), text)


def unlike(data: Path, rng: random.Random, each: int = 20) -> list[Pair]:
    """Rows of real files that look alike and ask for something else."""
    texts = [text for text, _ in banking(data, "train")]
    pairs = [
        Pair("same instruction, real rows", False, INSTRUCTION + a, INSTRUCTION + b)
        for a, b in zip(rng.sample(texts[:2000], each), rng.sample(texts[2000:], each), strict=True)
    ]
    orders = prompts(data / "tickets" / "orders.jsonl")
    pairs += [
        Pair("*filled templates, real rows", False, a, b)
        for a, b in zip(
            rng.sample(orders[: len(orders) // 2], each),
            rng.sample(orders[len(orders) // 2 :], each),
            strict=True,
        )
    ]
    stories = [text for text in prompts(data / "gsm8k" / "train.jsonl") if len(re.findall(r"\d+", text)) > 1]
    pairs += [
        Pair("other numbers, real rows", False, text, _renumbered(text)) for text in rng.sample(stories, each)
    ]
    with (data / "tickets" / "tickets.csv").open() as file:
        tickets = [" ".join(list(row.values())[:2]) for row in csv.DictReader(file)]
    half = len(tickets) // 2
    pairs += [
        Pair("*tickets, real rows", False, a, b)
        for a, b in zip(rng.sample(tickets[:half], each), rng.sample(tickets[half:], each), strict=True)
        if a != b
    ]
    return pairs + _one_word_apart(banking(data, "train"), each)


def _one_word_apart(rows: list[tuple[str, str]], most: int) -> list[Pair]:
    """Rows that differ in one word of at least five and have other labels."""
    frames: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for text, label in rows:
        words = re.findall(r"\w+", plain(text))
        for place in range(len(words) if len(words) >= 5 else 0):
            frames[(*words[:place], "", *words[place + 1 :])].append((text, label))
    pairs = [
        Pair("one word and label apart, real rows", False, first[0], other[0])
        for first, *others in frames.values()
        for other in others[:1]
        if other[1] != first[1] and _letters(other[0]) != _letters(first[0])
    ]
    return random.Random(5).sample(pairs, min(most, len(pairs)))


# -- the methods ----------------------------------------------------------------------------------


def ours(known: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """What Freehold does."""
    texts = [*known, *(pair[0] for pair in pairs), *(pair[1] for pair in pairs)]
    boundary = len(known) + len(pairs)
    said = [False] * len(pairs)
    for first, second, _ in similar_pairs(texts, boundary=boundary):
        number = second - boundary
        said[number] |= texts[first] == pairs[number][0] or _letters(texts[first]) == _letters(
            pairs[number][0]
        )
    return said


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", plain(text))


def by_similarity(least: float, similarity: Callable[[str, str], float]) -> Method:
    """Pairs of at least a similarity; other rows play no part."""

    def method(known: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[bool]:
        return [similarity(row, test) >= least for row, test in pairs]

    return method


def _jaccard(first: set[str], second: set[str]) -> float:
    return len(first & second) / max(len(first | second), 1)


def word_pairs(first: str, second: str) -> float:
    """Jaccard similarity of neighbouring words."""
    pairs = []
    for text in (first, second):
        words = re.findall(r"\w+|[^\w\s]", text.casefold())
        words = [word for word in words if word.isalnum()] or words
        pairs.append(set(map(" ".join, itertools.pairwise(words))) or set(words))
    return _jaccard(*pairs)


def letter_runs(first: str, second: str) -> float:
    """Jaccard similarity of runs of four letters."""
    runs = []
    for text in (first, second):
        letters = re.sub(r"\W+", " ", plain(text)) or text
        runs.append({letters[n : n + 4] for n in range(max(1, len(letters) - 3))})
    return _jaccard(*runs)


def minilm(least: float) -> Method:
    """The cosine of the vectors of all-MiniLM-L6-v2, which the store must hold."""
    from freehold.inference.embeddings import SentenceEmbedder
    from freehold.models.store import Store

    store = Store()
    model = store.find("minilm")
    engine = SentenceEmbedder(store.weights(model))
    known_vectors: dict[str, np.ndarray] = {}

    def vector(text: str) -> np.ndarray:
        if text not in known_vectors:
            known_vectors[text] = np.asarray(engine.embed([text]).vectors[0])
        return known_vectors[text]

    def cosine(first: str, second: str) -> float:
        a, b = vector(first), vector(second)
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    return by_similarity(least, cosine)


# -- the table ------------------------------------------------------------------------------------


def tried(method: Method, pairs: Sequence[Pair], background: Sequence[str]) -> list[tuple[Pair, bool, bool]]:
    """(pair, said to leak alone, said to leak in a file)."""
    alone = [method([], [(pair.known, pair.test)])[0] for pair in pairs]
    in_file: dict[int, bool] = {}
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        numbers = [n for n, pair in enumerate(pairs) if pair.kind == kind]
        wrapped = INSTRUCTION if "instruction" in kind else ""
        known = [wrapped + text for text in background]
        said = method(known, [(pairs[n].known, pairs[n].test) for n in numbers])
        in_file |= dict(zip(numbers, said, strict=True))
    return [(pair, alone[n], in_file[n]) for n, pair in enumerate(pairs)]


def table(name: str, results: Sequence[tuple[Pair, bool, bool]], show: bool) -> None:
    """Print recall and false alarms, for all kinds, those held out, and each."""
    for held, title in ((False, "kinds that rules were chosen on"), (True, "kinds held out")):
        for leaks, what in ((True, "recall"), (False, "false alarms")):
            rows = [row for row in results if row[0].held_out == held and row[0].leaks == leaks]
            alone, in_file = sum(row[1] for row in rows), sum(row[2] for row in rows)
            print(
                f"{name:10} {title:32} {what:13} alone {alone}/{len(rows)} = {alone / len(rows):.3f}, "
                f"in a file {in_file}/{len(rows)} = {in_file / len(rows):.3f}"
            )
    if not show:
        return
    for kind in dict.fromkeys(row[0].kind for row in results):
        rows = [row for row in results if row[0].kind == kind]
        print(
            f"  {kind:38} {'leak ' if rows[0][0].leaks else 'other'} of {len(rows):3}: "
            f"alone {sum(row[1] for row in rows):3}, in a file {sum(row[2] for row in rows):3}"
        )
        for pair, alone, in_file in rows:
            if not pair.held_out and (alone != pair.leaks or in_file != pair.leaks):
                print(
                    f"      {'alone' if alone != pair.leaks else '     '} "
                    f"{'file' if in_file != pair.leaks else '    '} {pair.known[-90:]!r} {pair.test[-90:]!r}"
                )


def speed(data: Path, rows: int) -> float:
    """Seconds that ``rows`` rows take on one core: those of banking77, with other words among them."""
    rng = random.Random(3)
    texts = [text for text, _ in banking(data, "train")]
    words = [word for text in texts for word in text.split()]
    many = [f"{rng.choice(texts)} {' '.join(rng.choices(words, k=6))}" for _ in range(rows)]
    started = time.process_time()
    similar_pairs(many, boundary=rows * 9 // 10)
    return time.process_time() - started


def main() -> None:
    """Print the table for each method, then the speed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--methods", nargs="+", default=["ours", "jaccard", "grams"])
    parser.add_argument(
        "--show", action="store_true", help="print each kind, and the pairs that were misjudged"
    )
    parser.add_argument("--rows", type=int, default=0, help="rows to measure the speed with")
    options = parser.parse_args()
    rng = random.Random(1)
    pairs = [*written(), *changed(options.data, rng), *unlike(options.data, rng)]
    background = [text for text, _ in banking(options.data, "test")[:300]]
    print(f"{len(pairs)} pairs, {sum(pair.leaks for pair in pairs)} of them leaks")
    for name in options.methods:
        methods: dict[str, Callable[[], Method]] = {
            "ours": lambda: ours,
            "jaccard": lambda: by_similarity(0.8, word_pairs),
            "grams": lambda: by_similarity(0.6, letter_runs),
            "grams80": lambda: by_similarity(0.8, letter_runs),
            "minilm": lambda: minilm(0.9),
            "minilm95": lambda: minilm(0.95),
        }
        table(name, tried(methods[name](), pairs, background), options.show)
    if options.rows:
        print(f"{options.rows:,} rows: {speed(options.data, options.rows):.1f} s of one core")


if __name__ == "__main__":
    main()
