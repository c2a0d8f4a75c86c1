"""The memory plan against measured peaks, for six settings.

Run: python benchmarks/memory_plan.py --data ../shared/data/banking77 [--model smollm2]
Each setting is a process of its own that trains a few steps on real rows; its peak is what the system counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "bf16, 16 rows": {"batch_rows": 16},
    "bf16, 64 rows": {"batch_rows": 64},
    "bf16, 64 rows, layers again": {"batch_rows": 64, "checkpointing": True},
    "base in 4 bit, 16 rows": {"batch_rows": 16, "base_bits": 4},
    "f32, 16 rows": {"batch_rows": 16, "precision": "f32"},
    "rank 64, upper half, 32 rows": {"batch_rows": 32, "rank": 64, "alpha": 128.0, "frozen_layers": 15},
}
STEPS = 12


def one(setting: dict[str, Any], data: Path, model: str) -> dict[str, float]:
    """Predicted and measured peak of a run in this process, bytes."""
    from freehold import progress
    from freehold.data.examples import read_examples
    from freehold.engines.loading import open_vocabulary, prompting
    from freehold.hub.decoders import config_of
    from freehold.hub.store import Store
    from freehold.tune import memory
    from freehold.tune.job import shape_of
    from freehold.tune.recipe import Recipe
    from freehold.tune.train import Trainer

    store = Store()
    found = store.find(model)
    weights = store.weights(found)
    asking = prompting(found.card, open_vocabulary(weights))
    recipe = Recipe(steps=STEPS, validations=1, valid_rows=64, **setting)
    rows = [asking.row(e.messages) for e in read_examples(data / "train.jsonl").examples[: STEPS * recipe.batch_rows]]
    checks = [asking.row(e.messages) for e in read_examples(data / "valid.jsonl").examples[:64]]
    need = memory.predict(config_of(weights), recipe, shape_of([*rows, *checks], recipe), tied=True)
    Trainer(weights, rows, checks, recipe).run(progress.silent)
    return {"predicted": need.total, "measured": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, **{k: v for k, v in vars(need).items()}}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--one", default="")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(SETTINGS[options.one], options.data, options.model)))
        return
    errors: list[float] = []
    for name in SETTINGS:
        done = subprocess.run([sys.executable, __file__, "--data", str(options.data), "--model", options.model, "--one", name],
                              capture_output=True, text=True, check=False)  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
        value = json.loads(done.stdout.splitlines()[-1])
        errors.append(value["predicted"] / value["measured"] - 1)
        parts = ", ".join(f"{part} {value[part] / 1e6:.0f}" for part in ("process", "frozen", "adapter", "activations", "logits", "kept", "loading"))
        print(
            f"{name:30} predicted {value['predicted'] / 1e9:.2f} GB, measured {value['measured'] / 1e9:.2f} GB, {errors[-1]:+.0%}   (MB: {parts})",
            flush=True,
        )
    print(f"largest error {max(map(abs, errors)):.0%}")


if __name__ == "__main__":
    main()
