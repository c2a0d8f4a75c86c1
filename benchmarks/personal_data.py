"""How much personal data is found in the lists of tests/trust, how many false alarms are given, and how many
rows a second.

Run it with: python benchmarks/personal_data.py [--rows 100000] [--presidio]
With --presidio the peer runs on the same lists: presidio-analyzer's own recognizers over an empty English
spaCy pipeline, since its language models are not on PyPI. It must be installed, and asks for a list of
domains on the network when it first reads an address of mail.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from freehold.trust import personal

LISTS = Path(__file__).parents[1] / "tests" / "trust"
Finder = Callable[[str], bool]


def cases(name: str) -> list[tuple[str, str]]:
    """(kind, text) of a list; the kind ``none`` says that there is nothing personal."""
    lines = (LISTS / name).read_text("utf-8").splitlines()
    return [tuple(line.split("\t", 1)) for line in lines if "\t" in line and line[0] != "#"]  # type: ignore[misc]


def ours(text: str) -> bool:
    """Whether we find anything."""
    return bool(personal.find(text))


def presidio(threshold: float) -> Finder:
    """presidio-analyzer with everything it can do without a language model."""
    import spacy  # pyright: ignore[reportMissingImports]
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # pyright: ignore[reportMissingImports]
    from presidio_analyzer.nlp_engine import SpacyNlpEngine  # pyright: ignore[reportMissingImports]

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__()
            self.nlp = {"en": spacy.blank("en")}

        def load(self) -> None:
            pass

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])
    return lambda text: bool(analyzer.analyze(text=text, language="en", score_threshold=threshold))


def table(name: str, finders: dict[str, Finder]) -> None:
    """Print recall by kind and false alarms."""
    listed = cases(name)
    totals = Counter(kind for kind, _ in listed)
    hits = {who: Counter(kind for kind, text in listed if find(text)) for who, find in finders.items()}
    print(f"{name:24} {'texts':>6} " + " ".join(f"{who:>14}" for who in finders))
    for kind in [*(kind for kind in totals if kind != "none"), "none"]:
        print(f"{kind:24} {totals[kind]:6} " + " ".join(f"{hits[who][kind]:14}" for who in finders))
    found = {who: sum(count for kind, count in seen.items() if kind != "none") for who, seen in hits.items()}
    print(
        f"{'found in all':24} {len(listed) - totals['none']:6} "
        + " ".join(f"{found[who]:14}" for who in finders)
    )


def speed(rows: int) -> None:
    """Print rows a second, by the processor's time of one thread."""
    texts = [text for name in ("personal.tsv", "personal_later.tsv") for _, text in cases(name)]
    plain = [
        " ".join(text for _, text in cases("personal_later.tsv")[at : at + 3] if len(text) < 60)
        for at in range(90)
    ]
    every = [*texts, *plain]
    started = time.process_time()
    for number in range(rows):
        personal.find(every[number % len(every)])
    seconds = time.process_time() - started
    mean = sum(map(len, every)) / len(every)
    print(
        f"{rows:,} rows of {mean:.0f} characters: {rows / seconds:,.0f} rows a second, {seconds:.1f} s of one"
        " core"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--presidio", action="store_true")
    options = parser.parse_args()
    finders: dict[str, Finder] = {"freehold": ours}
    if options.presidio:
        finders |= {"presidio": presidio(0.0), "presidio at 0.4": presidio(0.4)}
    for name in ("personal.tsv", "personal_later.tsv"):
        table(name, finders)
    speed(options.rows)


if __name__ == "__main__":
    main()
