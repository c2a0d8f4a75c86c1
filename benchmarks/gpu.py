"""Our tuning on a card beside TRL and PEFT: the same random models, rows, rank, batch and precision, one
after the other in one call.

Run: PYTHONPATH=src python benchmarks/gpu.py --out gpu.json [--limit 440]
On a processor, to see that it runs: PYTHONPATH=src python benchmarks/gpu.py --out gpu.json --tiny --device
cpu

Needs torch, transformers, peft, trl, datasets, scipy and psutil; nothing is downloaded. The models have the
shapes of Llama-3.2-1B and SmolLM2-135M and weights drawn at random: speed and memory depend on shapes alone,
and nothing is said about quality. Two processes stay open, one for each side, and take turns, so that imports
are paid once and each side's peak is its own. What fails or is left out for want of time stands in the result
as such. See ``PARTS`` for what each figure means.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

RANK, RATE = 16, 1e-3
PARTS = {
    "look": "the card, the versions, and what freehold.core.device chose and why",
    "kernels": "relative error of our card's paths against plain formulas in 32 bit; bf16 rounds to 4e-3",
    "loss": (
        "loss of one batch before any step, ours and transformers + PEFT; in f32 they differ by rounding"
        " alone"
    ),
    "curve": "loss of one batch, trained on again and again, at each step of ours and of TRL",
    "speed": (
        "tokens of the rows (no padding) per second after the warm-up, and the most memory that tensors took"
    ),
    "merged": "share of greedy tokens of the merged model in transformers that our decoder would have chosen",
    "resume": (
        "killed by signal 9 and started again: whether every adapter value and loss equals those of an"
        " unbroken run"
    ),
    "profile": "kernels of a step and where its time goes",
}
SHAPES: dict[str, dict[str, Any]] = {
    "llama-1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "rope_theta": 500000.0,
        "max_position_embeddings": 8192,
    },
    "smollm2-135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "rope_theta": 100000.0,
        "max_position_embeddings": 8192,
    },
}
TINY = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
#: How the rows are: labels after an instruction that all rows share, and answers of some length to prompts
#: that share nothing.
ROWS = {"labels after one instruction": "labels", "long answers": "answers"}
#: Of TRL: what it does if left alone, and what is faster.
TRL: dict[str, dict[str, Any]] = {
    "trl default": {},
    "trl fast": {"gradient_checkpointing": False},
    "trl fast by length": {"gradient_checkpointing": False, "train_sampling_strategy": "group_by_length"},
}
OURS: dict[str, dict[str, Any]] = {
    "freehold": {},
    "freehold rows in full": {"share_prefix": False},
    "freehold least memory": {"checkpointing": True, "micro_tokens": 2048},
    "freehold base in 4 bit": {"base_bits": 4},
}
Row = tuple[list[int], list[int]]
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}


def rows_of(kind: str, count: int, vocabulary: int, seed: int = 0) -> list[Row]:
    """(prompt, answer) of random tokens; lengths are those of banking77 after a long instruction, and of
    gsm8k, roughly."""
    chance = random.Random(f"{kind}-{seed}")

    def some(length: int) -> list[int]:
        return [chance.randrange(3, vocabulary) for _ in range(length)]

    if kind == "labels":
        shared = some(112)
        labels = [some(chance.randint(3, 9)) for _ in range(77)]
        lengths = [min(90, max(12, round(chance.lognormvariate(3.0, 0.4)))) for _ in range(count)]
        return [(shared + some(length), [*chance.choice(labels), 1]) for length in lengths]
    prompts = [min(300, max(30, round(chance.lognormvariate(4.5, 0.4)))) for _ in range(count)]
    answers = [min(400, max(30, round(chance.lognormvariate(4.9, 0.45)))) for _ in range(count)]
    return [(some(p), [*some(a), 1]) for p, a in zip(prompts, answers, strict=True)]


def make_model(folder: Path, shape: dict[str, Any], device: str) -> None:
    """A Llama of random weights in bf16 as a folder that both sides load."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        **shape, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, pad_token_id=2, rms_norm_eps=1e-5
    )
    with torch.device(device):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)  # noqa: SLF001
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)


# -- one side's jobs ------------------------------------------------------------------------------


class Clock:
    """Seconds from after the ``warm``-th step to the last one."""

    def __init__(self, warm: int, device: str):
        self.warm, self.device, self.began, self.ended, self.steps = warm, device, 0.0, 0.0, 0

    def step(self) -> None:
        """A step ended."""
        self.steps += 1
        if self.steps == self.warm:
            self.began = self._now()

    def end(self) -> None:
        """All steps ended."""
        self.ended = self._now()

    def _now(self) -> float:
        import torch

        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    def figures(self, tokens: float) -> dict[str, float]:
        """Tokens per second, and seconds a step; ``tokens`` a step."""
        counted = self.steps - self.warm
        seconds = self.ended - self.began
        return {"tokens_per_second": tokens * counted / seconds, "seconds_per_step": seconds / counted}


@contextmanager
def peak(device: str) -> Iterator[dict[str, int]]:
    """The most memory of tensors, and of the allocator, within; on a processor resident memory so far."""
    import gc

    import torch

    found: dict[str, int] = {}
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield found
    if device.startswith("cuda"):
        found |= {
            "peak_bytes": torch.cuda.max_memory_allocated(),
            "reserved_bytes": torch.cuda.max_memory_reserved(),
        }
    else:
        from freehold.core import machine

        found |= {"peak_bytes": machine.peak_memory_bytes()}


def token_count(rows: list[Row]) -> int:
    """Tokens of rows."""
    return sum(len(prompt) + len(answer) for prompt, answer in rows)


def our_trainer(job: dict[str, Any], rows: list[Row], valid: list[Row], **more: Any) -> Any:
    """A trainer of ours for a job."""
    from freehold.core import device as devices
    from freehold.training.loop import Trainer
    from freehold.training.recipe import Recipe

    device = devices.choose(job["device"])
    options = {**job.get("options", {}), **more}
    flat = options.pop("flat", None)
    recipe = Recipe(
        rank=RANK,
        alpha=2.0 * RANK,
        learning_rate=RATE,
        batch_rows=job["batch"],
        steps=job["steps"],
        validations=1,
        checkpoint_s=1e9,
        **options,
    )
    return Trainer(
        Path(job["folder"]),
        rows,
        valid,
        recipe.on(device) if "micro_tokens" not in options else recipe,
        device=device,
        flat=flat,
    )


def our_speed(job: dict[str, Any]) -> dict[str, Any]:
    """Speed and memory of ours, and the memory that the plan foretold."""
    from freehold.models.formats.decoders import config_of
    from freehold.training import memory

    rows = rows_of(job["rows"], job["steps"] * job["batch"], job["vocabulary"])
    clock = Clock(job["warm"], job["device"])
    with peak(job["device"]) as took:
        trainer = our_trainer(job, rows, [])
        gradients = trainer.update

        def update(step: int, steps: int) -> None:
            gradients(step, steps)
            clock.step()

        trainer.update = update
        tuned = trainer.run(lambda _: None)
        clock.end()
    shape = memory.shape_of(rows, trainer.recipe)
    need = memory.predict(
        config_of(Path(job["folder"])), trainer.recipe, shape, tied=True, device=trainer.device
    )
    losses = [loss for _, loss in tuned.history.train]
    return {
        **clock.figures(token_count(rows) / job["steps"]),
        **took,
        "predicted_bytes": need.total,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "computed_tokens": tuned.history.tokens,
        "row_tokens": token_count(rows),
        "prefix": len(trainer.prefix),
        "flat": trainer.flat,
    }


def their_model(job: dict[str, Any], dtype: str) -> Any:
    """The model with PEFT's adapter, where it is to be trained."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=getattr(torch, dtype)).to(job["device"])
    return get_peft_model(model, their_adapter())


def their_adapter() -> Any:
    """PEFT's configuration of the same adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
    )


def their_trainer(job: dict[str, Any], rows: list[Row], clock: Clock | None, logging: int) -> Any:
    """TRL's SFTTrainer over the same tokens."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    words = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<pad>": 2}, unk_token="<s>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", pad_token="<pad>")
    dataset = Dataset.from_dict(
        {
            "input_ids": [prompt + answer for prompt, answer in rows],
            "completion_mask": [[0] * len(prompt) + [1] * len(answer) for prompt, answer in rows],
        }
    )
    on_card = job["device"].startswith("cuda")
    model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.bfloat16)
    config = SFTConfig(
        output_dir=str(Path(job["folder"]).parent / "trainer"),
        per_device_train_batch_size=job["batch"],
        max_steps=job["steps"],
        learning_rate=RATE,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=max(1, round(0.06 * job["steps"])),
        report_to="none",
        save_strategy="no",
        logging_steps=logging,
        use_cpu=not on_card,
        seed=0,
        disable_tqdm=True,
        bf16=True,
        max_length=None,
        completion_only_loss=True,
        **job.get("options", {}),
    )

    class Timed(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if clock:
                clock.step()

    return SFTTrainer(
        model=model,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=their_adapter(),
        callbacks=[Timed()],
    )


def their_speed(job: dict[str, Any]) -> dict[str, Any]:
    """Speed and memory of TRL with PEFT."""
    rows = rows_of(job["rows"], job["steps"] * job["batch"], job["vocabulary"])
    clock = Clock(job["warm"], job["device"])
    with peak(job["device"]) as took:
        trainer = their_trainer(job, rows, clock, 1000)
        done = trainer.train()
        clock.end()
    adapters = {str(p.dtype) for p in trainer.model.parameters() if p.requires_grad}
    names = (
        "gradient_checkpointing",
        "bf16",
        "optim",
        "loss_type",
        "packing",
        "padding_free",
        "train_sampling_strategy",
    )
    settings: dict[str, Any] = {name: str(getattr(trainer.args, name, "not there")) for name in names}
    settings |= {"adapters": sorted(adapters), "attention": trainer.model.config._attn_implementation}  # noqa: SLF001
    return {
        **clock.figures(token_count(rows) / job["steps"]),
        **took,
        "mean_loss": done.training_loss,
        "settings": settings,
    }


def our_loss(job: dict[str, Any]) -> dict[str, Any]:
    """Loss of the first batch in 32 bit and in bf16, each way of packing."""
    rows = rows_of(job["rows"], job["batch"], job["vocabulary"])
    found: dict[str, float] = {}
    for name, more in {
        "f32": {"precision": "f32"},
        "f32 rows in full": {"precision": "f32", "share_prefix": False},
        "bf16": {},
        "bf16 grouped": {"flat": False},
        "bf16 flat": {"flat": True},
    }.items():
        trainer = our_trainer(job, rows, [], **more)
        found[name] = float(trainer.gradients(list(range(len(rows))))[0])
    return found


def their_loss(job: dict[str, Any]) -> dict[str, Any]:
    """The same of transformers with PEFT, a row at a time."""
    rows = rows_of(job["rows"], job["batch"], job["vocabulary"])
    found: dict[str, float] = {}
    for name, dtype in (("f32", "float32"), ("bf16", "bfloat16")):
        found[name] = answer_loss(their_model(job, dtype).eval(), rows, job["device"])
    return found


def answer_loss(model: Any, rows: Sequence[tuple[list[int], list[int]]], device: str) -> float:
    """Mean loss of an answer token of transformers' model, a row at a time."""
    import torch

    total = 0.0
    with torch.no_grad():
        for prompt, answer in rows:
            tokens = torch.tensor([prompt + answer], device=device)
            logits = model(tokens).logits[0, -len(answer) - 1 : -1].float()
            total += float(
                torch.nn.functional.cross_entropy(logits, tokens[0, -len(answer) :], reduction="sum")
            )
    return total / sum(len(answer) for _, answer in rows)


def our_curve(job: dict[str, Any]) -> dict[str, Any]:
    """Loss at each step on the same batch again and again."""
    rows = rows_of(job["rows"], job["batch"], job["vocabulary"])
    tuned = our_trainer(job, rows, []).run(lambda _: None)
    return {"losses": [loss for _, loss in tuned.history.train]}


def their_curve(job: dict[str, Any]) -> dict[str, Any]:
    """The same of TRL."""
    rows = rows_of(job["rows"], job["batch"], job["vocabulary"])
    trainer = their_trainer({**job, "options": TRL["trl fast"]}, rows, None, 1)
    trainer.train()
    return {"losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]}


def our_merged(job: dict[str, Any]) -> dict[str, Any]:
    """Train a little, store as PEFT and merged."""
    from freehold.training import adapter

    rows = rows_of(job["rows"], job["steps"] * job["batch"], job["vocabulary"])
    tuned = our_trainer(job, rows, []).run(lambda _: None)
    folder = Path(job["folder"])
    adapter.save_peft(folder.parent / "adapter", tuned.factors, tuned.recipe, "base")
    adapter.merge_safetensors(folder.parent / "merged", folder, tuned.factors, tuned.recipe.scale)
    return {"losses": [loss for _, loss in tuned.history.train]}


def their_merged(job: dict[str, Any]) -> dict[str, Any]:
    """Greedy answers of the merged model in transformers, and the loss of the adapter in PEFT (32 bit)."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    rows = rows_of(job["rows"], job["batch"], job["vocabulary"], seed=1)[:16]
    folder = Path(job["folder"]).parent
    found: dict[str, Any] = {"answers": {}}
    for name in ("float32", "bfloat16"):
        model = (
            AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=getattr(torch, name))
            .to(job["device"])
            .eval()
        )
        answers: list[list[int]] = []
        for prompt, _ in rows:
            tokens = torch.tensor([prompt], device=job["device"])
            out: Any = model.generate(  # type: ignore[attr-defined]
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=24,
                do_sample=False,
                pad_token_id=2,
                eos_token_id=None,
            )
            answers.append(out[0, len(prompt) :].tolist())
        found["answers"][name] = answers
    base = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(folder / "adapter")).to(job["device"]).eval()
    return {**found, "adapter_loss": answer_loss(model, rows, job["device"])}


def our_check(job: dict[str, Any]) -> dict[str, Any]:
    """What our decoder says to the greedy answers of :func:`their_merged`, and to the adapter."""
    from freehold.training import adapter

    rows = rows_of(job["rows"], job["batch"], job["vocabulary"], seed=1)[:16]
    folder = Path(job["folder"]).parent
    found: dict[str, Any] = {}
    for name, precision in (("float32", "f32"), ("bfloat16", "bf16")):
        told = [(prompt, answer) for (prompt, _), answer in zip(rows, job["answers"][name], strict=True)]
        trainer = our_trainer({**job, "folder": str(folder / "merged")}, told, told, precision=precision)
        hits = trainer.model.answer_check(trainer.packed(trainer.valid))[1]
        found[name] = {
            "tokens_alike": float(hits.float().mean()),
            "rows_alike": trainer.validate()[1],
            "tokens": len(hits),
        }
    factors, _ = adapter.load_peft(folder / "adapter")
    trainer = our_trainer(job, rows, rows, precision="f32")
    for group in trainer.model.groups():
        group.load_factors(factors)
    return {**found, "adapter_loss": trainer.validate()[0]}


def our_kernels(job: dict[str, Any]) -> dict[str, Any]:
    """Our attention and norms on the device in bf16 against the plain formulas in 32 bit on the processor."""
    import torch

    from freehold.training.activations import Normed, RmsNorm, norm_weight
    from freehold.training.packed_batches import FlatAttention, sequences

    torch.manual_seed(0)
    device = torch.device(job["device"])
    found: dict[str, float] = {}

    def error(ours: torch.Tensor, wanted: torch.Tensor) -> float:
        return float((ours.float().cpu() - wanted).norm() / wanted.norm())

    for name, prefix, lengths, heads, kv, window in (
        ("prefix", 40, [17, 64, 1, 30], 8, 2, 0),
        ("no prefix", 0, [17, 200, 1], 9, 3, 0),
        ("window", 40, [17, 64, 90], 4, 4, 24),
    ):
        at, total = sequences(prefix, lengths), prefix + sum(lengths)
        leaves = [
            torch.randn(total, n, 64).to(torch.bfloat16).float().requires_grad_() for n in (heads, kv, kv)
        ]
        upstream = torch.randn(total, heads, 64).to(torch.bfloat16)
        wanted = FlatAttention.apply(*leaves, at, 0.125, window)
        grads = torch.autograd.grad(wanted, leaves, upstream.float())
        there = [leaf.detach().to(device, torch.bfloat16).requires_grad_() for leaf in leaves]
        ours = FlatAttention.apply(*there, at.to(device), 0.125, window)
        theirs = torch.autograd.grad(ours, there, upstream.to(device))
        found[f"attention, {name}: output"] = error(ours.detach(), wanted.detach())
        found |= {
            f"attention, {name}: d{part}": error(a, b)
            for part, a, b in zip("qkv", theirs, grads, strict=True)
        }
    x, weight = torch.randn(50, 576), torch.rand(576) + 0.5
    x, weight, upstream = (t.to(torch.bfloat16) for t in (x, weight, torch.randn(50, 576)))
    wide = x.float().requires_grad_()
    wanted = RmsNorm.apply(wide, weight.float(), 1e-5)
    (grad,) = torch.autograd.grad(wanted, wide, upstream.float())
    norm = Normed(norm_weight(weight.to(device)), 1e-5)
    whole, vjp = norm.recompute(x.to(device))
    found["norm: output"] = error(norm.forward(x.to(device)), wanted.detach())
    found["norm: recomputed"] = error(whole, wanted.detach())
    found["norm: gradient"] = error(vjp(upstream.to(device)), grad)
    return {"errors": found, "worst": max(found.values())}


def our_profile(job: dict[str, Any]) -> dict[str, Any]:
    """Kernels of a step of ours, and its costliest operations."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    rows = rows_of(job["rows"], 4 * job["batch"], job["vocabulary"])
    trainer = our_trainer(job, rows, [])
    batches = trainer.batches(0)
    for batch in batches[:3]:
        trainer.gradients(batch)
        trainer.update(0, 10)
    on_card = job["device"].startswith("cuda")
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_card else [])]
    with profile(activities=kinds) as seen:
        loss, _ = trainer.gradients(batches[3])
        trainer.update(1, 10)
        float(loss)
    events = seen.key_averages()
    launches = sum(e.count for e in events if "LaunchKernel" in e.key)
    by_card = events.table(
        sort_by="self_cuda_time_total" if on_card else "self_cpu_time_total",
        row_limit=18,
        max_name_column_width=60,
    )
    by_host = events.table(sort_by="self_cpu_time_total", row_limit=18, max_name_column_width=60)
    return {
        "kernel_launches": launches,
        "operations": sum(e.count for e in events),
        "tables": [by_card, by_host],
        "torch": torch.__version__,
    }


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    f.__name__: f
    for f in (
        our_speed,
        their_speed,
        our_loss,
        their_loss,
        our_curve,
        their_curve,
        our_merged,
        their_merged,
        our_check,
        our_kernels,
        our_profile,
    )
}


def work() -> None:
    """Take jobs from the input, a line each, and answer each with a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    for line in sys.stdin:
        job = json.loads(line)
        try:
            result = JOBS[job["do"]](job)
        except Exception as error:
            result = {"failed": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-2500:]}
        answers.write(json.dumps(result) + "\n")
        answers.flush()


class Side:
    """A process that stays open for one side's jobs; started again where one of them ended it."""

    def __init__(self, name: str, log: IO[str]):
        self.name, self.log = name, log
        self.process: subprocess.Popen[str] | None = None

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """The result of a job, or ``failed``."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--work"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failed": f"the process ended with {self.process.wait()}"}

    def close(self) -> None:
        """End the process."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()


# -- resume ---------------------------------------------------------------------------------------


def train_for_resume(job: dict[str, Any], checkpoint: Path, out: Path, stop_at: int) -> None:
    """Train; at step ``stop_at`` wait to be killed."""
    from freehold.training import adapter

    rows = rows_of(job["rows"], job["steps"] * job["batch"], job["vocabulary"])
    trainer = our_trainer(job, rows, rows[:8])
    trainer.recipe = type(trainer.recipe)(
        **{**trainer.recipe.as_dict(), "checkpoint_s": 0.0, "validations": 3}
    )
    update = trainer.update

    def counted(step: int, steps: int) -> None:
        if step == stop_at:
            print("now", flush=True)
            time.sleep(600)
        update(step, steps)

    trainer.update = counted
    tuned = trainer.run(lambda _: None, checkpoint)
    adapter.save_peft(out, tuned.factors, tuned.recipe, "base")
    (out / "history.json").write_text(json.dumps([tuned.history.train, tuned.history.valid]))


def resume(job: dict[str, Any], place: Path, log: IO[str]) -> dict[str, Any]:
    """Compare a run killed at its middle and started again with an unbroken one."""
    from safetensors.numpy import load_file

    def start(name: str, stop_at: int) -> subprocess.Popen[str]:
        told = json.dumps([job, str(place / f"{name}.safetensors"), str(place / name), stop_at])
        return subprocess.Popen(
            [sys.executable, __file__, "--resume", told], stdout=subprocess.PIPE, stderr=log, text=True
        )

    whole, cut = start("whole", -1), start("cut", job["steps"] // 2)
    assert cut.stdout is not None
    if not any(line.strip() == "now" for line in cut.stdout):
        return {"failed": f"the run to be killed ended by itself with {cut.wait()}"}
    cut.send_signal(signal.SIGKILL)
    cut.wait()
    checkpoint = place / "cut.safetensors"
    if not checkpoint.exists():
        return {"failed": "the killed run had left no checkpoint"}
    again = start("cut", -1)
    codes = [whole.wait(), again.wait()]
    if any(codes):
        return {"failed": f"the runs ended with {codes}"}
    first, second = (load_file(place / name / "adapter_model.safetensors") for name in ("whole", "cut"))
    histories = [json.loads((place / name / "history.json").read_text()) for name in ("whole", "cut")]
    return {
        "adapters_equal": all((first[key] == second[key]).all() for key in first)
        and first.keys() == second.keys(),
        "losses_equal": histories[0] == histories[1],
        "killed_at_step": job["steps"] // 2,
        "largest_difference": max(float(abs(first[key] - second[key]).max()) for key in first),
    }


# -- the whole ------------------------------------------------------------------------------------


def look(asked: str) -> dict[str, Any]:
    """The machine, in a process that ends, so that it holds no memory of the card."""
    code = (
        "import json, platform, torch, transformers, peft; from importlib.metadata import version as v; from"
        " freehold.core import device as d, machine as m;c ="
        f" d.choose({asked!r});print(json.dumps({{'device': c.where, 'name': c.name, 'precision':"
        " c.precision, 'flash': c.flash, 'reason': c.reason,'memory_bytes': c.memory_bytes, 'free_bytes':"
        " c.free_bytes, 'python': platform.python_version(), 'cuda': torch.version.cuda,'cores':"
        " m.look().cores, 'processor': m.look().processor,'versions': {n: v(n) for n in ('torch',"
        " 'transformers', 'peft', 'trl', 'datasets', 'accelerate', 'numpy')}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the machine could not be looked at:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ratios(results: list[dict[str, Any]]) -> list[str]:
    """A line for each model and kind of rows: ours against the faster and against the leaner of TRL's
    settings."""
    lines: list[str] = []
    for model, rows in sorted({(r["model"], r["rows"]) for r in results}):
        own = [r for r in results if (r["model"], r["rows"]) == (model, rows) and "failed" not in r]
        speeds = {
            name: statistics.median(r["tokens_per_second"] for r in own if r["run"] == name)
            for name in {r["run"] for r in own}
        }
        peaks = {name: max(r["peak_bytes"] for r in own if r["run"] == name) for name in speeds}
        theirs = [name for name in speeds if name in TRL]
        if "freehold" not in speeds or not theirs:
            lines.append(f"{model}, {rows}: not both sides ran")
            continue
        fast, lean = max(theirs, key=lambda n: speeds[n]), min(theirs, key=lambda n: peaks[n])
        lines.append(
            f"{model}, {rows}: {speeds['freehold']:.0f} tokens/s, {speeds['freehold'] / speeds[fast]:.2f}x of"
            f" {fast}; peak {peaks['freehold'] / 2**30:.2f} GiB, {peaks['freehold'] / peaks[fast]:.2f}x of"
            f" {fast}, {peaks['freehold'] / peaks[lean]:.2f}x of {lean}"
        )
    return lines


class Bench:
    """The parts in order, each written down as it is done."""

    def __init__(self, options: argparse.Namespace, place: Path):
        self.options, self.place, self.started = options, place, time.monotonic()
        self.log = (options.out.parent / f"{options.out.stem}.log").open("w")
        self.ours, self.theirs = Side("freehold", self.log), Side("trl", self.log)
        self.result: dict[str, Any] = {"parts": PARTS, "left_out": [], "speed": []}

    def left(self) -> float:
        """Seconds until the limit."""
        return self.options.limit - (time.monotonic() - self.started)

    def note(self, key: str, value: dict[str, Any], shown: str = "") -> None:
        """Keep a part's result and write all there is."""
        if key == "speed":
            self.result["speed"].append(value)
        else:
            self.result[key] = value
        self.result["seconds"] = round(time.monotonic() - self.started, 1)
        self.options.out.write_text(json.dumps(self.result, indent=1))
        print(
            f"[{self.result['seconds']:6.1f} s] {shown or key}: {value.get('failed') or shown_of(value)}",
            flush=True,
        )

    def part(self, key: str, make: Callable[[], dict[str, Any]], *, least: float = 10.0) -> dict[str, Any]:
        """Run a part unless the time is over, or others alone were asked for."""
        if self.options.only and key not in self.options.only.split(","):
            return {}
        if self.left() < least:
            self.result["left_out"].append(key)
            return {"failed": "left out: the time was over"}
        value = make()
        self.note(key, value)
        return value

    def job(self, model: str, rows: str, **more: Any) -> dict[str, Any]:
        """A job's common part; the model is made where it is not there."""
        o = self.options
        folder = self.place / model / "base"
        if not folder.exists():
            began = time.monotonic()
            make_model(folder, self.shape(model), "cpu" if o.tiny else o.device)
            release(o.device)
            print(f"made {model} in {time.monotonic() - began:.1f} s", flush=True)
        return {
            "device": o.device,
            "model": model,
            "folder": str(folder),
            "rows": rows,
            "batch": o.batch,
            "steps": o.steps,
            "warm": o.warm,
            "vocabulary": self.shape(model)["vocab_size"],
            **more,
        }

    def shape(self, model: str) -> dict[str, Any]:
        """A model's shape, or a tiny one in its place."""
        return {**SHAPES[model], **TINY} if self.options.tiny else SHAPES[model]

    def speed(self, model: str, rows: str, names: list[str]) -> None:
        """The runs by turns."""
        if self.options.only and "speed" not in self.options.only.split(","):
            return
        for name in names:
            if self.left() < 12:
                self.result["left_out"].append(f"speed: {name}, {model}, {rows}")
                continue
            side, do, options = (
                (self.theirs, "their_speed", TRL[name])
                if name in TRL
                else (self.ours, "our_speed", OURS[name])
            )
            result = side.ask(self.job(model, rows, do=do, options=options))
            self.note(
                "speed", {"run": name, "model": model, "rows": rows, **result}, f"{model}, {rows}, {name}"
            )

    def run(self) -> None:
        """Everything."""
        self.note("look", look(self.options.device))
        if not self.options.device:
            self.options.device = self.result["look"]["device"]
        small, large = "smollm2-135m", "llama-1b"
        self.part("kernels", lambda: self.ours.ask({"do": "our_kernels", "device": self.options.device}))
        one = self.job(small, "labels", steps=4)
        self.part(
            "loss",
            lambda: {
                "ours": self.ours.ask({**one, "do": "our_loss"}),
                "transformers + peft": self.theirs.ask({**one, "do": "their_loss"}),
            },
        )
        self.speed(
            large,
            "labels",
            ["freehold", "trl fast", "freehold", "trl fast", "trl default", "freehold rows in full"],
        )
        self.speed(small, "labels", ["freehold", "trl fast", "freehold", "trl fast", "trl default"])
        self.part(
            "resume", lambda: resume(self.job(small, "labels", steps=12), self.place, self.log), least=40
        )
        self.part("merged", lambda: self.merged(small))
        self.speed(
            large, "answers", ["freehold", "trl fast by length", "trl fast", "freehold", "trl default"]
        )
        self.speed(small, "answers", ["freehold", "trl fast by length", "trl fast", "trl default"])
        again = self.job(small, "labels", steps=30)
        self.part(
            "curve",
            lambda: {
                "ours": self.ours.ask({**again, "do": "our_curve"}),
                "trl": self.theirs.ask({**again, "do": "their_curve"}),
            },
        )
        self.part("profile", lambda: self.ours.ask(self.job(large, "labels", do="our_profile")))
        self.speed(large, "labels", ["freehold base in 4 bit", "freehold least memory", "trl fast by length"])
        self.ours.close()
        self.theirs.close()
        self.result["ratios"] = ratios(self.result["speed"])
        self.options.out.write_text(json.dumps(self.result, indent=1))
        print("\n".join(self.result["ratios"]))
        print(
            f"left out: {', '.join(self.result['left_out']) or 'nothing'};"
            f" {time.monotonic() - self.started:.0f} s in all"
        )

    def merged(self, model: str) -> dict[str, Any]:
        """Greedy answers of the merged model, theirs and what ours says to them."""
        job = self.job(model, "labels", steps=12)
        trained = self.ours.ask({**job, "do": "our_merged"})
        theirs = self.theirs.ask({**job, "do": "their_merged"})
        if "failed" in trained or "failed" in theirs:
            return {
                "failed": trained.get("failed") or theirs["failed"],
                "trace": [trained.get("trace"), theirs.get("trace")],
            }
        ours = self.ours.ask({**job, "do": "our_check", "answers": theirs["answers"]})
        return {**ours, "adapter_loss_in_peft": theirs["adapter_loss"]}


def release(device: str) -> None:
    """Let the card's memory go that making the models took."""
    if device.startswith("cuda"):
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()


def shown_of(value: dict[str, Any]) -> str:
    """A result in a line."""
    if "tokens_per_second" in value:
        foretold = f", {value['predicted_bytes'] / 2**30:.2f} foretold" if "predicted_bytes" in value else ""
        return (
            f"{value['tokens_per_second']:.0f} tokens/s, {1000 * value['seconds_per_step']:.1f} ms a step,"
            f" peak {value['peak_bytes'] / 2**30:.2f} GiB{foretold}"
        )
    text = (
        "\n".join(value["tables"])
        if "tables" in value
        else json.dumps({k: v for k, v in value.items() if k != "trace"})
    )
    return text[:6000]


def main() -> None:
    """Everything, or one of the processes of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", default="")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm", type=int, default=8)
    parser.add_argument(
        "--limit", type=float, default=440.0, help="seconds after which nothing more is begun"
    )
    parser.add_argument("--only", default="", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to see that the script runs")
    parser.add_argument("--work", action="store_true")
    parser.add_argument("--resume", default="")
    options = parser.parse_args()
    if options.work:
        work()
        return
    if options.resume:
        job, checkpoint, out, stop_at = json.loads(options.resume)
        train_for_resume(job, Path(checkpoint), Path(out), stop_at)
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="freehold-gpu-") as place:
        Bench(options, Path(place)).run()


if __name__ == "__main__":
    main()
