"""The training loop: batches of even length, validation, best step kept, checkpoints, exact resume.

A checkpoint is one safetensors file with adapter, optimizer moments and, in its metadata, the
loop's state. Batches follow from the seed and the step alone, so a resumed run walks the same path
as an unbroken one.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from freehold.core import atomic_files
from freehold.core import device as devices
from freehold.core.device import Device
from freehold.core.errors import BadData
from freehold.core.progress import Sink, spark, task
from freehold.inference.interface import common_prefix
from freehold.training.decoder import Decoder, Packed, pack
from freehold.training.lora import Factor
from freehold.training.optimizer import AdamW
from freehold.training.recipe import Recipe
from freehold.training.weights import load_weights

Row = tuple[list[int], list[int]]  # prompt tokens, answer tokens
Factors = dict[str, Factor]


@dataclass
class History:
    """What happened: (step, mean loss per answer token) of training, (step, loss, exact share) of validation."""

    train: list[tuple[int, float]] = field(default_factory=list)
    valid: list[tuple[int, float, float]] = field(default_factory=list)
    best_step: int = 0
    best: float = -math.inf
    stopped: str = ""
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True)
class Tuned:
    """The best step's adapter factors by module, and the history."""

    factors: Factors
    recipe: Recipe
    history: History


def shared_prefix(rows: Sequence[Row]) -> list[int]:
    """What every prompt begins with, short of the shortest prompt's last token."""
    prompts = [prompt for prompt, _ in rows]
    return common_prefix(prompts)[: min(map(len, prompts)) - 1]


def check_rows(rows: Sequence[Row], limit: int) -> tuple[list[Row], list[int]]:
    """Rows that fit ``limit`` tokens, and indexes of those that do not. Raises BadData when nothing would be learnt from."""
    long = [index for index, (prompt, answer) in enumerate(rows) if len(prompt) + len(answer) > limit]
    left_out = set(long)
    kept = [row for index, row in enumerate(rows) if index not in left_out and row[1]]
    if not kept:
        raise BadData(
            f"no training row would teach anything: {len(long)} of {len(rows)} rows exceed {limit} tokens and the others have empty answers",
            "raise --context, or shorten the rows",
        )
    return kept, long


class Trainer:
    """A decoder, its rows and its optimizer. ``device``: the processor if left out; ``flat``: how batches are packed, if not as suits it."""

    def __init__(
        self,
        weights: Path,
        train: Sequence[Row],
        valid: Sequence[Row],
        recipe: Recipe,
        *,
        threads: int = 0,
        device: Device | None = None,
        flat: bool | None = None,
    ):
        # a kernel kept takes about a megabyte and building one a third of a millisecond: those of one pass are kept, with room to spare
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        torch.manual_seed(recipe.seed)
        if threads:
            torch.set_num_threads(threads)
        self.device = device or devices.choose("cpu")
        self.device.repeatable()
        self.recipe = recipe
        self.flat = self.device.flash and recipe.precision == "bf16" if flat is None else flat
        self.prefix = shared_prefix([*train, *valid]) if recipe.share_prefix else []
        self._kept: dict[
            int, torch.Tensor
        ] = {}  # row -> what left the layers without adapters; -1: the prefix
        self.train = [self._own(row) for row in train]
        self.valid = [self._own(row) for row in list(valid)[: recipe.valid_rows]]
        dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
        self.model = Decoder(
            load_weights(weights, dtype, self.device.torch), recipe.rank, recipe.alpha, recipe.seed, scale=recipe.scale, bits=recipe.base_bits, dora=recipe.dora,
            frozen_layers=recipe.frozen_layers, checkpointing=recipe.checkpointing,
        )  # fmt: skip
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = AdamW(self.parameters, weight_decay=recipe.weight_decay)

    def _own(self, row: Row) -> tuple[list[int], int]:
        prompt, answer = row
        return prompt[len(self.prefix) :] + answer, len(answer)

    # -- batches ----------------------------------------------------------------------------

    def batches(self, epoch: int) -> list[list[int]]:
        """Row indexes by batch, each row once: shuffled, then dealt out within windows so that all batches are about equally long.

        Then few kernels are built and no batch needs much more memory than another. Rows are dealt out in pieces of like length, so that
        attention pads little; the longest piece goes first, each to the batch that is shortest so far. The batch of the largest part
        comes first: what follows finds its memory already there, and a run that does not fit ends at once.
        """
        chance = random.Random(f"{self.recipe.seed}-{epoch}")
        order = list(range(self.units))
        chance.shuffle(order)
        size = self.recipe.batch_rows
        found: list[list[int]] = []
        for start in range(0, len(order), size * 64):
            found += self._dealt(order[start : start + size * 64])
        chance.shuffle(found)
        largest = max(
            range(len(found)),
            key=lambda at: max(sum(map(self.length, part)) for part in self._micro(found[at])),
        )
        return [found[largest], *found[:largest], *found[largest + 1 :]]

    def _dealt(self, rows: list[int]) -> list[list[int]]:
        """Full batches of rows, about equally long; the shortest rows that fill none are one of their own."""
        size = self.recipe.batch_rows
        ordered = sorted(rows, key=self.length, reverse=True)
        count = len(ordered) // size
        piece = next(width for width in (size // 4, size // 2, size) if width and size % width == 0)
        batches: list[list[int]] = [[] for _ in range(count)]
        lengths = [(0, at) for at in range(count)]
        for start in range(0, count * size, piece):
            own = ordered[start : start + piece]
            used, at = heapq.heappop(lengths)
            batches[at] += own
            if len(batches[at]) < size:
                heapq.heappush(lengths, (used + sum(map(self.length, own)), at))
        rest = ordered[count * size :]
        return [*batches, rest] if rest else batches

    @property
    def units(self) -> int:
        """What an epoch counts: rows."""
        return len(self.train)

    def length(self, index: int) -> int:
        """Tokens of a unit beside the shared prefix."""
        return len(self.train[index][0])

    def _micro(self, indexes: list[int]) -> list[list[int]]:
        """Split a batch evenly so that no forward pass sees more than ``micro_tokens`` tokens, one row at least."""
        limit = self.recipe.micro_tokens
        whole = sum(map(self.length, indexes))
        even = whole / math.ceil(whole / limit)
        parts: list[list[int]] = [[]]
        before, used = 0, 0
        for index in indexes:
            size = self.length(index)
            if parts[-1] and (used + size > limit or before + used + size / 2 > even * len(parts)):
                parts.append([])
                before, used = before + used, 0
            parts[-1].append(index)
            used += size
        return parts

    def packed(self, rows: list[tuple[list[int], int]]) -> Packed:
        """Rows as a batch on the device."""
        return pack(self.prefix, rows, flat=self.flat).to(self.device.torch)

    def gradients(self, indexes: list[int]) -> tuple[torch.Tensor, int]:
        """Accumulate gradients of one batch; (mean loss per answer token, tokens computed). Does not wait for a card to be done."""
        answers = sum(self.train[i][1] for i in indexes)
        total, tokens = torch.zeros((), device=self.device.torch), 0
        for part in self._micro(indexes):
            batch = self.packed([self.train[i] for i in part])
            loss = self.model.answer_loss(batch, lower=self._lower(part, batch)) / answers
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            tokens += batch.count
        return total, tokens

    def _lower(self, part: list[int], batch: Packed) -> torch.Tensor | None:
        """What left the layers without adapters: computed when a row is first seen, then kept."""
        if not self.recipe.frozen_layers:
            return None
        ordered = [part[place] for place in batch.order]
        if not all(index in self._kept for index in (-1, *ordered)):
            whole = self.model.lower(batch)
            self._kept[-1] = whole[: batch.prefix].clone()
            for index, start in zip(ordered, batch.starts, strict=True):
                self._kept[index] = whole[start : start + len(self.train[index][0])].clone()
            return whole
        whole = self._kept[-1].new_zeros((len(batch.tokens), self._kept[-1].shape[1]))
        for index, start in zip((-1, *ordered), (0, *batch.starts), strict=True):
            whole[start : start + len(self._kept[index])] = self._kept[index]
        return whole

    def probe(self, seconds: float = 10.0) -> float:
        """Rows per second of forward and backward, from tokens per second measured on real batches; changes nothing.

        Batches hold rows of like length, so a few of them say little about rows; tokens cost alike. It takes about ``seconds``, or one
        batch if that takes longer.
        """
        batches = self.batches(0)
        measured: list[tuple[int, float]] = []  # tokens and seconds of each batch
        while sum(took for _, took in measured) < seconds and len(measured) < len(batches):
            started = time.perf_counter()
            loss, count = self.gradients(batches[len(measured)])
            float(loss)  # waits until a card is done
            measured.append((count, time.perf_counter() - started))
        self.optimizer.clear()
        # each new shape is slow once, so the first batches count only where there are no others
        counted = measured[3:] if len(measured) > 5 else measured[1:] or measured
        speed = sum(count for count, _ in counted) / sum(took for _, took in counted)
        tokens = sum(
            len(self.prefix) * len(self._micro(part)) + sum(map(self.length, part)) for part in batches
        )
        return speed * self.units / tokens

    def validate(self) -> tuple[float, float]:
        """(mean loss per answer token, share of rows whose every answer token is the likeliest)."""
        total, answers, exact = 0.0, 0, 0
        ordered = sorted(self.valid, key=lambda row: len(row[0]))
        with torch.no_grad():
            for start in range(0, len(ordered), self.recipe.batch_rows):
                rows = ordered[start : start + self.recipe.batch_rows]
                batch = self.packed(rows)
                losses, hits = self.model.answer_check(batch)
                total += float(losses.sum())
                answers += len(hits)
                at = 0
                for _, count in rows:
                    exact += bool(hits[at : at + count].all())
                    at += count
        return total / answers, exact / len(ordered)

    # -- state ------------------------------------------------------------------------------

    def factors(self) -> Factors:
        """Adapter factors by module, copied."""
        return {
            name: factor.copied() for group in self.model.groups() for name, factor in group.factors().items()
        }

    def _result(self) -> Factors:
        """Adapter factors by module once nothing changes them any more: copied only from a card."""
        self.optimizer.release()
        return {
            name: factor.at_home()
            for group in self.model.groups()
            for name, factor in group.factors().items()
        }

    def save(self, path: Path, step: int, best: Factors, history: History) -> None:
        """Write a checkpoint, whole or not at all."""
        from safetensors.torch import save_file

        tensors = {f"p{i}": p.detach() for i, p in enumerate(self.parameters)}
        tensors |= {f"first{i}": moment for i, moment in enumerate(self.optimizer.first)}
        tensors |= {f"second{i}": moment for i, moment in enumerate(self.optimizer.second)}
        for name, factor in best.items():
            tensors |= {
                f"best.{name}.{part}": value for part, value in factor._asdict().items() if value is not None
            }
        state = {"step": step, "recipe": self.recipe.as_dict(), "history": history.__dict__}
        with atomic_files.replacing(path) as temporary:
            save_file(
                {key: value.contiguous() for key, value in tensors.items()},
                temporary,
                metadata={"state": json.dumps(state)},
            )

    def restore(self, path: Path) -> tuple[int, Factors, History, Recipe]:
        """Take up a checkpoint: (step, best factors, history, recipe)."""
        from safetensors import safe_open

        with safe_open(str(path), framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            keys = set(file.keys())
            with torch.no_grad():
                for i, p in enumerate(self.parameters):
                    p.copy_(file.get_tensor(f"p{i}"))
            if "first0" in keys:
                self.optimizer.first, self.optimizer.second = (
                    [file.get_tensor(f"{moment}{i}").to(p.device) for i, p in enumerate(self.parameters)]
                    for moment in ("first", "second")
                )
                self.optimizer.steps = int(state["step"])
            names = {key[5:-2] for key in keys if key.startswith("best.") and key.endswith(".a")}
            best: Factors = {}
            for name in names:
                a, b = (file.get_tensor(f"best.{name}.{part}") for part in ("a", "b"))
                magnitude = f"best.{name}.magnitude"
                best[name] = Factor(a, b, file.get_tensor(magnitude) if magnitude in keys else None)
        history = History(**state["history"])
        history.train = [(int(at), float(loss)) for at, loss in history.train]
        history.valid = [(int(at), float(loss), float(exact)) for at, loss, exact in history.valid]
        return int(state["step"]), best, history, Recipe(**state["recipe"])

    # -- the loop ---------------------------------------------------------------------------

    def run(
        self,
        sink: Sink,
        checkpoint: Path | None = None,
        on_point: Callable[[dict[str, Any]], None] | None = None,
    ) -> Tuned:
        """Train to the recipe's end, its deadline, or until validation has stopped improving.

        The best step is the one of least validation loss: the share of rows answered exactly wavers more than steps differ.
        """
        step, history = 0, History()
        best: Factors = {}  # of the best step, once one was judged
        if checkpoint is not None and checkpoint.exists():
            step, best, history, self.recipe = self.restore(checkpoint)
        recipe = self.recipe
        per_epoch = math.ceil(self.units / recipe.batch_rows)
        steps = recipe.steps or max(1, round(recipe.epochs * per_epoch))
        every = max(1, steps // recipe.validations)
        saved = time.monotonic()
        before, started = history.seconds, time.perf_counter()
        epoch, order = -1, list[list[int]]()
        misses = _misses(history)
        with task(sink, "tuning", steps, "steps") as progress:
            progress.resume(step)
            while step < steps and not history.stopped:
                if step // per_epoch != epoch:
                    epoch = step // per_epoch
                    order = self.batches(epoch)
                lost, tokens = self.gradients(order[step % per_epoch])
                self.update(step, steps)
                loss = float(lost)  # only now: a card gets the update's work before it is waited for
                step += 1
                history.tokens += tokens
                history.seconds = before + time.perf_counter() - started
                history.train.append((step, loss))
                recent = [value for _, value in history.train[-20:]]
                curve = spark([value for _, value in history.train], 12)
                progress.at(
                    step,
                    f"loss {sum(recent) / len(recent):.3f} {curve}, {history.tokens / history.seconds:.0f} tokens/s",
                )
                if step % every == 0 or step == steps:
                    score, better = self._judge(step, history)
                    if better:
                        best = {}  # so that never two copies exist beside the adapter
                        best = self.factors()
                    misses = 0 if better else misses + 1
                    if on_point:
                        on_point({"step": step, "loss": score[0], "exact": score[1]})
                    if misses >= recipe.patience:
                        history.stopped = f"validation had not improved for {misses} checks"
                if recipe.deadline_s and history.seconds > recipe.deadline_s and step < steps:
                    history.stopped = f"the time for tuning ended at step {step} of {steps}"
                    if history.valid and history.valid[-1][0] != step and self._judge(step, history)[1]:
                        best = {}
                        best = self.factors()
                if checkpoint is not None and (
                    time.monotonic() - saved > recipe.checkpoint_s or step % every == 0
                ):
                    self.save(checkpoint, step, best, history)
                    saved = time.monotonic()
        return Tuned(best or self._result(), recipe, history)

    def update(self, step: int, steps: int) -> None:
        """Move the adapter once by the gradients accumulated, in step ``step`` of ``steps``."""
        recipe = self.recipe
        warm = max(1, round(recipe.warmup * steps))
        falling = 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
        share = (step + 1) / warm if step < warm else falling
        self.optimizer.step(recipe.learning_rate * share, recipe.clip)

    def _judge(self, step: int, history: History) -> tuple[tuple[float, float], bool]:
        loss, exact = self.validate() if self.valid else (-float(step), 0.0)
        if self.valid:
            history.valid.append((step, loss, exact))
        better = -loss > history.best
        if better:
            history.best, history.best_step = -loss, step
        return (loss, exact), better


def _misses(history: History) -> int:
    return sum(1 for step, *_ in history.valid if step > history.best_step)
