"""Our per-matrix types against llama.cpp's own mixtures at the same file size, with the same importance data.

Run: python benchmarks/shrink_vs_llamacpp.py MODEL --data ../shared/data/banking77
MODEL: a GGUF in the store, taken to 16 bit first; for an accuracy worth reading one that was tuned on the
data (``freehold tune``). Importance and sensitivity come from validation rows; divergence and accuracy are
measured on test rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from freehold.core import progress, settings
from freehold.data.examples import read_dataset
from freehold.inference.loading import open_vocabulary, prompting
from freehold.models.store import Store
from freehold.quantization.sensitivity import Reference, choose_rows, positions_in_memory
from freehold.workflows.quantize import Sweep, tokens_of


def main() -> None:
    """Print a table and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kinds", default="Q2_K,Q3_K_M,Q4_K_M")
    parser.add_argument("--graded", type=int, default=1024)
    parser.add_argument("--probing", type=float, default=300.0, help="seconds for measuring sensitivity")
    options = parser.parse_args()
    settings.go_quiet()
    store = Store()
    model = store.find(options.model)
    fit, test = (list(read_dataset(options.data / name).examples) for name in ("valid.jsonl", "test.jsonl"))
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        frontier = Sweep(store, model, fit, Path(folder), progress.for_stream(), options.probing)
        asking = prompting(model.info, open_vocabulary(frontier.source))
        ordered = sorted(test, key=lambda example: example.digest)[: options.graded]
        frontier.held_out = ordered
        frontier.judged = Reference(
            frontier.source,
            choose_rows(
                [tokens_of(asking, e) for e in ordered], positions=positions_in_memory(model.info.vocabulary)
            ),
        )
        print(f"{'file':14} {'MB':>7} {'bits':>5} {'KL mean':>8} {'KL p99':>7} {'same':>6} accuracy")
        for kind in options.kinds.split(","):
            theirs = frontier.uniform(kind)
            file, kinds = frontier.within(theirs.stat().st_size, f"ours-{kind}")
            points = [frontier.point(kind, theirs), frontier.point(f"ours at {kind}", file, kinds)]
            for p in points:
                print(
                    f"{p.name:14} {p.size_bytes / 1e6:7.2f} {p.bits_per_weight:5.2f} {p.loss.kl_mean:8.5f}"
                    f" {p.loss.kl_p99:7.4f} {p.loss.same_top:6.3f} {p.score['value']:.3f}"
                    f" ({p.score['low']:.3f} to {p.score['high']:.3f})"
                )
            print(
                f"  KL {points[1].loss.kl_mean / points[0].loss.kl_mean:.2f}x theirs; "
                + ", ".join(f"{k} {s:.2f}" for k, s in kinds.items())
            )
        print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
