"""Our LoRA tuning against TRL's SFTTrainer: the same model, rows, rank, batch and number of steps.

Run: python benchmarks/tune_vs_trl.py --data ../shared/data/banking77 [--steps 24] [--rounds 1]
Needs the extra ``bench`` (trl, datasets). Each run is a process of its own, so that peak memory is its own;
the runs alternate. Tokens are those of the rows as TRL sees them (prompt and answer, no padding), for both.
TRL's best setting is sought first among bf16, with and without packing, without activation checkpointing.
Both adapters are then judged by one evaluator: our decoder in 32 bit on 256 validation rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SYSTEM = (
    "You sort questions that customers send to the help desk of a bank. Each question has exactly one intent,"
    " written in lower case with underscores, such as card_arrival, lost_or_stolen_card or exchange_rate."
    " Read the whole question before you decide; prefer the intent that names what the customer wants done"
    " over the one that names what has happened. Never explain, never greet, and do not add a full stop."
    " Answer with the intent only."
)
RANK, BATCH, RATE = 16, 8, 1e-3
OURS: dict[str, dict[str, Any]] = {
    "freehold": {},
    "freehold, least memory": {"checkpointing": True, "micro_tokens": 256},
    "freehold, rows in full": {"share_prefix": False},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "trl default": {},
    "trl bf16": {"bf16": True, "gradient_checkpointing": False, "dtype": "bfloat16"},
    "trl bf16 packed": {"bf16": True, "gradient_checkpointing": False, "dtype": "bfloat16", "packing": True},
    "trl bf16 by length": {
        "bf16": True,
        "gradient_checkpointing": False,
        "dtype": "bfloat16",
        "by_length": True,
    },
}


def rows_of(path: Path, count: int) -> list[tuple[str, str]]:
    """(question, intent) of the first rows."""
    rows = [json.loads(line) for line in path.read_text().splitlines()[:count]]
    return [(row["messages"][1]["content"], row["label"]) for row in rows]


def messages(question: str, intent: str) -> list[dict[str, str]]:
    """A row as chat."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": question},
        {"role": "assistant", "content": intent},
    ]


def tokenized(folder: Path, rows: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    """(prompt, answer) tokens as the model's own template renders them."""
    from freehold.data.templates import choose
    from freehold.inference.interface import PromptEncoder
    from freehold.inference.loading import open_vocabulary

    vocabulary = open_vocabulary(folder)
    template = choose(
        (folder / "chat_template.jinja").read_text(),
        bos_token=vocabulary.bos_token,
        eos_token=vocabulary.eos_token,
    )
    asking = PromptEncoder(template, vocabulary)
    return [asking.row(tuple((m["role"], m["content"]) for m in messages(*row))) for row in rows]


def ours(folder: Path, data: Path, steps: int, out: Path, **options: Any) -> dict[str, Any]:
    """Train with Freehold; ``options`` of the recipe."""
    from freehold.core import progress
    from freehold.training import adapter
    from freehold.training.loop import Trainer
    from freehold.training.recipe import Recipe

    rows = tokenized(folder, rows_of(data / "train.jsonl", steps * BATCH))
    recipe = Recipe(
        rank=RANK,
        alpha=2.0 * RANK,
        learning_rate=RATE,
        batch_rows=BATCH,
        steps=steps,
        validations=1,
        **options,
    )
    trainer = Trainer(folder, rows, [], recipe)
    started = time.perf_counter()
    tuned = trainer.run(progress.silent)
    seconds = time.perf_counter() - started
    adapter.save_peft(out, tuned.factors, tuned.recipe, "base")
    return {
        "seconds": seconds,
        "tokens": sum(len(p) + len(a) for p, a in rows),
        "computed_tokens": tuned.history.tokens,
    }


def trl(folder: Path, data: Path, steps: int, out: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Train with TRL's SFTTrainer."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    setting = dict(setting)
    rows = rows_of(data / "train.jsonl", steps * BATCH)
    chats = [messages(*row) for row in rows]
    dataset = Dataset.from_list([{"prompt": chat[:-1], "completion": chat[-1:]} for chat in chats])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dtype = getattr(torch, setting.pop("dtype", "float32"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    by_length, packing = setting.pop("by_length", False), setting.get("packing", False)
    tokens = sum(len(p) + len(a) for p, a in tokenized(folder, rows))
    if by_length:
        setting["train_sampling_strategy"] = "group_by_length"
    # packed: as many rows a step as unpacked, in one sequence
    length = {"max_length": max(tokens // steps, 256)} if packing else {}
    config = SFTConfig(
        output_dir=str(out / "trainer"),
        per_device_train_batch_size=1 if packing else BATCH,
        max_steps=steps,
        learning_rate=RATE,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=max(1, round(0.06 * steps)),
        report_to="none",
        save_strategy="no",
        logging_steps=1000,
        use_cpu=True,
        seed=0,
        disable_tqdm=True,
        **length,
        **setting,
    )
    lora = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=dataset, processing_class=tokenizer, peft_config=lora
    )
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    trainer.model.save_pretrained(out)
    return {"seconds": seconds, "tokens": tokens}


def one(kind: str, folder: Path, data: Path, steps: int, out: Path) -> dict[str, Any]:
    """A run in this process, with its peak memory."""
    out.mkdir(parents=True, exist_ok=True)
    result = (
        ours(folder, data, steps, out, **OURS[kind])
        if kind in OURS
        else trl(folder, data, steps, out, SETTINGS[kind])
    )
    return {
        **result,
        "tokens_per_second": result["tokens"] / result["seconds"],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def spawn(kind: str, folder: Path, data: Path, steps: int, out: Path) -> dict[str, Any]:
    """A run in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--one",
        kind,
        "--folder",
        str(folder),
        "--data",
        str(data),
        "--steps",
        str(steps),
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind} failed:\n{done.stderr[-3000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {kind}: {result['tokens_per_second']:.0f} tokens/s, {result['seconds']:.0f} s, peak"
        f" {result['peak_bytes'] / 1e9:.2f} GB",
        flush=True,
    )
    return result


def judged(folder: Path, adapter_folder: Path, rows: list[tuple[list[int], list[int]]]) -> float:
    """Mean loss per answer token of an adapter, in 32 bit."""
    from freehold.training import adapter
    from freehold.training.loop import Trainer
    from freehold.training.recipe import Recipe

    factors, scale = adapter.load_peft(adapter_folder)
    trainer = Trainer(
        folder, rows[:1], rows, Recipe(rank=RANK, alpha=scale * RANK, precision="f32", valid_rows=len(rows))
    )
    for group in trainer.model.groups():
        group.load_factors(factors)
    return trainer.validate()[0]


def matrix_rate() -> float:
    """Measured bf16 matrix products, operations per second."""
    import torch

    a, b = (torch.randn(2048, 2048, dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        best = max(best, 2 * 2048**3 / (time.perf_counter() - started))
    return best


def as_folder(target: Path) -> Path:
    """SmolLM2-135M as a 32-bit safetensors folder that both sides load, from the store's GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from freehold.models.store import Store

    store = Store()
    gguf = store.weights(store.find("smollm2"))
    link = target / "model.gguf"
    target.mkdir(parents=True, exist_ok=True)
    link.symlink_to(gguf)
    model = AutoModelForCausalLM.from_pretrained(target, gguf_file=link.name, dtype=torch.float32)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    plain = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(target)
    AutoTokenizer.from_pretrained(target, gguf_file=link.name).save_pretrained(target)
    link.unlink()
    if not (target / "chat_template.jinja").exists():
        raise SystemExit("transformers left no chat_template.jinja beside the tokenizer")
    return target


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", default="")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.folder, options.data, options.steps, options.out)))
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        # made in a process of its own, so that this one stays small
        make = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path;"
            f" import tune_vs_trl as b; b.as_folder(Path({str(work / 'model')!r}))"
        )
        subprocess.run([sys.executable, "-c", make], check=True, capture_output=True)
        folder = work / "model"
        print("TRL's best setting, sought over 4 steps:", flush=True)
        probes = {
            kind: spawn(kind, folder, options.data, 4, work / "probe")
            for kind in SETTINGS
            if kind != "trl default"
        }
        best = max(probes, key=lambda kind: probes[kind]["tokens_per_second"])
        kinds = [
            "freehold",
            "trl default",
            "freehold",
            best,
            "freehold, least memory",
            "freehold, rows in full",
        ]
        results: dict[str, list[dict[str, Any]]] = {}
        print(f"{options.steps} steps of {BATCH} rows:", flush=True)
        for _ in range(options.rounds):
            for kind in kinds:
                results.setdefault(kind, []).append(
                    spawn(kind, folder, options.data, options.steps, work / kind.replace(" ", "-"))
                )
        valid = tokenized(folder, rows_of(options.data / "valid.jsonl", 256))
        table = {
            kind: {
                "tokens_per_second": statistics.median(r["tokens_per_second"] for r in runs),
                "peak_gb": max(r["peak_bytes"] for r in runs) / 1e9,
                "validation_loss": judged(folder, work / kind.replace(" ", "-"), valid),
            }
            for kind, runs in results.items()
        }
        rate = matrix_rate()
        floor = rate / (4 * 106e6)
        print(json.dumps(table, indent=1))
        for own in ("freehold", "freehold, least memory"):
            for kind in ("trl default", best):
                mine, other = table[own], table[kind]
                print(
                    f"{own} against {kind}: {mine['tokens_per_second'] / other['tokens_per_second']:.2f}x"
                    f" tokens/s, {mine['peak_gb'] / other['peak_gb']:.2f}x peak memory, validation loss"
                    f" {mine['validation_loss'] / other['validation_loss']:.3f}x"
                )
        computed = results["freehold, rows in full"][0]
        print(
            f"floor {floor:.0f} tokens/s (4 x 106M matrix weights x tokens over {rate / 1e9:.0f} GFLOP/s"
            f" measured); rows in full reach {computed['tokens_per_second'] / floor:.2f} of it"
        )


if __name__ == "__main__":
    main()
