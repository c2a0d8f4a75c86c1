"""The memory plan against measured peaks: a whole ``freehold tune`` in six settings, from reading the rows to
the stored model.

Run: python benchmarks/memory_plan.py --data ../shared/data/banking77 [--models smollm2 gemma3] [--only "bf16,
16 rows"] Each setting is a process of its own that tunes on all training rows for a few steps; its peak is
what the system counted. What it stores goes into a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "bf16, 16 rows": {"batch_rows": 16},
    "bf16, 64 rows": {"batch_rows": 64},
    "bf16, 64 rows, layers again": {"batch_rows": 64, "checkpointing": True},
    "base in 4 bit, 16 rows": {"batch_rows": 16, "base_bits": 4},
    "f32, 16 rows": {"batch_rows": 16, "precision": "f32"},
    "rank 64, upper half, 32 rows": {"batch_rows": 32, "rank": 64, "alpha": 128.0, "frozen_layers": -1},
    "two minutes, planned": {"batch_rows": 16},
}
STEPS = 16


def one(name: str, data: Path, model: str) -> dict[str, float]:
    """Predicted and measured peak of a tuning in this process, bytes."""
    import freehold.cli.main  # noqa: F401  (what the command line holds counts)
    from freehold.core import progress
    from freehold.data.examples import read_dataset
    from freehold.models.formats.decoders import config_of
    from freehold.models.store import Store
    from freehold.training.recipe import Recipe
    from freehold.training.run import TuneOptions
    from freehold.workflows.tune import tune

    store = Store()
    found = store.find(model)
    setting = dict(SETTINGS[name])
    if setting.get("frozen_layers"):
        setting["frozen_layers"] = config_of(store.weights(found)).layers // 2
    planned = name.endswith("planned")
    options = TuneOptions(
        Recipe(**setting) if planned else Recipe(steps=STEPS, validations=2, valid_rows=64, **setting),
        time_s=120.0 if planned else 0.0,
    )
    train, valid = (list(read_dataset(data / f"{part}.jsonl").examples) for part in ("train", "valid"))
    done = tune(store, found, train, valid, options, "planned", sink=progress.silent).result
    return {"predicted": done.predicted_bytes, "measured": done.peak_bytes}


def _shown(source: str, target: str) -> None:
    """Files of models are read where they are; the rest is copied."""
    if f"{os.sep}blobs{os.sep}" in source:
        os.symlink(os.path.realpath(source), target)
    else:
        shutil.copy2(source, target)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["smollm2", "gemma3"])
    parser.add_argument("--only", default="")
    parser.add_argument("--one", default="")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.data, options.models[0])))
        return
    from freehold.core import settings

    errors: list[float] = []
    for model in options.models:
        for name in [n for n in SETTINGS if options.only in n]:
            with tempfile.TemporaryDirectory() as thrown:
                home = Path(thrown) / "home"
                shutil.copytree(
                    settings.home(),
                    home,
                    copy_function=_shown,
                    ignore=shutil.ignore_patterns("tunings", "trials", "*.lock"),
                )
                done = subprocess.run(
                    [sys.executable, __file__, "--data", str(options.data), "--models", model, "--one", name],
                    env={**os.environ, "FREEHOLD_HOME": str(home)},
                    capture_output=True,
                    text=True,
                    check=False,
                )
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
            value = json.loads(done.stdout.splitlines()[-1])
            errors.append(value["predicted"] / value["measured"] - 1)
            print(
                f"{model:10} {name:30} predicted {value['predicted'] / 1e9:.2f} GB, measured"
                f" {value['measured'] / 1e9:.2f} GB, {errors[-1]:+.0%}",
                flush=True,
            )
    print(f"largest error {max(map(abs, errors)):.0%}")


if __name__ == "__main__":
    main()
