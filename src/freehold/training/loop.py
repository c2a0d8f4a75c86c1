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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from freehold.core import atomic_files
from freehold.core import device as devices
from freehold.core.device import Device
from freehold.core.progress import Sink, spark, task
from freehold.inference.interface import common_prefix
from freehold.models.formats.decoders import config_of
from freehold.training.backends import OURS
from freehold.training.decoder import Decoder, Packed, pack
from freehold.training.library_backend import LibraryDecoder
from freehold.training.lora import Factor
from freehold.training.optimizer import AdamW
from freehold.training.recipe import Recipe
from freehold.training.training_rows import Row
from freehold.training.weights import load_weights

Factors = dict[str, Factor]


@dataclass
class History:
    """What happened in a run."""

    #: (step, mean loss per answer token) of training
    train: list[tuple[int, float]] = field(default_factory=list)
    #: (step, mean loss per answer token, share of rows answered exactly) of validation
    valid: list[tuple[int, float, float]] = field(default_factory=list)
    #: step of least validation loss, and that loss, negated
    best_step: int = 0
    best: float = -math.inf
    #: why it stopped before its last step; "" if it did not
    stopped: str = ""
    #: seconds of training and tokens computed, over all parts of a resumed run
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True)
class Tuned:
    """The best step's adapter factors by module, and the history."""

    factors: Factors
    recipe: Recipe
    history: History


@dataclass
class _Run:
    """State of a run in progress."""

    #: steps done
    step: int
    #: adapter of the best step so far; empty before the first validation
    best: Factors
    history: History
    #: steps in one epoch
    per_epoch: int
    #: steps in all
    steps: int
    #: steps between two validations
    every: int
    #: epoch that ``batches`` belong to
    epoch: int = -1
    batches: list[list[int]] = field(default_factory=list)

    @property
    def validates(self) -> bool:
        """Whether the adapter is validated after this step."""
        return self.step % self.every == 0 or self.step == self.steps


def shared_prefix(rows: Sequence[Row]) -> list[int]:
    """What every prompt begins with, short of the shortest prompt's last token."""
    prompts = [prompt for prompt, _ in rows]
    return common_prefix(prompts)[: min(map(len, prompts)) - 1]


class Trainer:
    """A decoder, its rows and its optimizer.

    ``device``: the processor if left out; ``flat``: how batches are packed, if not as suits it.
    """

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
        backend: str = OURS,
    ):
        # a kernel kept takes about a megabyte and building one a third of a millisecond: those of one pass
        # are kept, with room to spare
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        torch.manual_seed(recipe.seed)
        if threads:
            torch.set_num_threads(threads)
        self.device = device or devices.choose("cpu")
        self.device.repeatable()
        self.recipe = recipe
        flat = self.device.flash and recipe.precision == "bf16" if flat is None else flat
        # flash attention has no capped scores, and the libraries take no flat batches
        self.flat = flat and backend == OURS and not config_of(weights).attention_cap
        self.prefix = shared_prefix([*train, *valid]) if recipe.share_prefix else []
        self._lower_outputs: dict[
            int, torch.Tensor
        ] = {}  # row -> what left the layers without adapters; -1: the prefix
        self.train = [self._after_prefix(row) for row in train]
        self.valid = [self._after_prefix(row) for row in list(valid)[: recipe.valid_rows]]
        self.model = self._decoder(weights, backend)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = AdamW(self.parameters, weight_decay=recipe.weight_decay)

    def _decoder(self, weights: Path, backend: str) -> Decoder | LibraryDecoder:
        recipe = self.recipe
        if backend != OURS:
            return LibraryDecoder(weights, recipe, self.device)
        dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
        return Decoder(
            load_weights(weights, dtype, self.device.torch),
            recipe.rank,
            recipe.alpha,
            recipe.seed,
            scale=recipe.scale,
            bits=recipe.base_bits,
            dora=recipe.dora,
            frozen_layers=recipe.frozen_layers,
            checkpointing=recipe.checkpointing,
        )

    def _after_prefix(self, row: Row) -> tuple[list[int], int]:
        prompt, answer = row
        return prompt[len(self.prefix) :] + answer, len(answer)

    # -- batches ----------------------------------------------------------------------------

    def batches(self, epoch: int) -> list[list[int]]:
        """Row indexes by batch, each row once: shuffled, then dealt out within windows so that all batches
        are about equally long.

        Then few kernels are built and no batch needs much more memory than another. Rows are dealt out in
        pieces of like length, so that attention pads little; the longest piece goes first, each to the batch
        that is shortest so far. The batch of the largest part comes first: what follows finds its memory
        already there, and a run that does not fit ends at once.
        """
        rng = random.Random(f"{self.recipe.seed}-{epoch}")
        order = list(range(self.units))
        rng.shuffle(order)
        size = self.recipe.batch_rows
        batches: list[list[int]] = []
        for start in range(0, len(order), size * 64):
            batches += self._dealt(order[start : start + size * 64])
        rng.shuffle(batches)
        largest = max(
            range(len(batches)),
            key=lambda at: max(sum(map(self.length, part)) for part in self._micro(batches[at])),
        )
        return [batches[largest], *batches[:largest], *batches[largest + 1 :]]

    def _dealt(self, rows: list[int]) -> list[list[int]]:
        """Full batches of rows, about equally long; the shortest rows that fill none are one of their own."""
        size = self.recipe.batch_rows
        ordered = sorted(rows, key=self.length, reverse=True)
        count = len(ordered) // size
        piece = next(width for width in (size // 4, size // 2, size) if width and size % width == 0)
        batches: list[list[int]] = [[] for _ in range(count)]
        lengths = [(0, at) for at in range(count)]
        for start in range(0, count * size, piece):
            group = ordered[start : start + piece]
            used, at = heapq.heappop(lengths)
            batches[at] += group
            if len(batches[at]) < size:
                heapq.heappush(lengths, (used + sum(map(self.length, group)), at))
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
        """Split a batch evenly so that no forward pass sees more than ``micro_tokens`` tokens, one row at
        least.
        """
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
        """Accumulate gradients of one batch; (mean loss per answer token, tokens computed).

        Does not wait for a card to be done.
        """
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
        if not self.recipe.frozen_layers or not self.model.keeps_lower:
            return None
        ordered = [part[place] for place in batch.order]
        if not all(index in self._lower_outputs for index in (-1, *ordered)):
            whole = self.model.lower(batch)
            self._lower_outputs[-1] = whole[: batch.prefix].clone()
            for index, start in zip(ordered, batch.starts, strict=True):
                self._lower_outputs[index] = whole[start : start + len(self.train[index][0])].clone()
            return whole
        whole = self._lower_outputs[-1].new_zeros((len(batch.tokens), self._lower_outputs[-1].shape[1]))
        for index, start in zip((-1, *ordered), (0, *batch.starts), strict=True):
            whole[start : start + len(self._lower_outputs[index])] = self._lower_outputs[index]
        return whole

    def probe(self, seconds: float = 10.0) -> float:
        """Rows per second of forward and backward, from tokens per second measured on real batches; changes
        nothing.

        Batches hold rows of like length, so a few of them say little about rows; tokens cost alike. It takes
        about ``seconds``, or one batch if that takes longer.
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

    def run(self, sink: Sink, checkpoint: Path | None = None, *, last_step: int = 0) -> Tuned:
        """Train to the recipe's end, its deadline, or until validation has stopped improving.

        The best step is the one of least validation loss: the share of rows answered exactly wavers more than
        steps differ. ``last_step``: stop there instead of at the deadline, to repeat a run that was stopped.
        """
        run = self._begin(checkpoint)
        history = run.history
        saved, before, started = time.monotonic(), history.seconds, time.perf_counter()
        with task(sink, "tuning", run.steps, "steps") as progress:
            progress.resume(run.step)
            while run.step < run.steps and not history.stopped:
                loss = self._train_step(run)
                history.seconds = before + time.perf_counter() - started
                history.train.append((run.step, loss))
                progress.at(run.step, _status(history))
                if run.validates:
                    self._validate_step(run)
                if run.step < run.steps and self._time_is_up(run, last_step):
                    self._stop_early(run)
                if checkpoint is not None and (
                    time.monotonic() - saved > self.recipe.checkpoint_s or run.step % run.every == 0
                ):
                    self.save(checkpoint, run.step, run.best, history)
                    saved = time.monotonic()
        return Tuned(run.best or self._result(), self.recipe, history)

    def _begin(self, checkpoint: Path | None) -> _Run:
        """The state of a run at its first step, or as a checkpoint left it."""
        step, best, history = 0, Factors(), History()
        if checkpoint is not None and checkpoint.exists():
            step, best, history, self.recipe = self.restore(checkpoint)
        recipe = self.recipe
        per_epoch = math.ceil(self.units / recipe.batch_rows)
        steps = recipe.steps or max(1, round(recipe.epochs * per_epoch))
        return _Run(step, best, history, per_epoch, steps, max(1, steps // recipe.validations))

    def _train_step(self, run: _Run) -> float:
        """Train one step; its mean loss per answer token."""
        epoch, batch = divmod(run.step, run.per_epoch)
        if epoch != run.epoch:
            run.epoch, run.batches = epoch, self.batches(epoch)
        loss, tokens = self.gradients(run.batches[batch])
        self.update(run.step, run.steps)
        run.step += 1
        run.history.tokens += tokens
        return float(loss)  # only now: a card gets the update's work before it is waited for

    def _validate_step(self, run: _Run) -> None:
        """Validate; keep the adapter if it is the best so far, and stop a run that no longer improves."""
        if self._judge(run.step, run.history):
            self._keep_best(run)
        misses = _misses(run.history)
        if misses >= self.recipe.patience:
            run.history.stopped = f"validation had not improved for {misses} checks"

    def _time_is_up(self, run: _Run, last_step: int) -> bool:
        if last_step:
            return run.step == last_step
        return 0 < self.recipe.deadline_s < run.history.seconds

    def _stop_early(self, run: _Run) -> None:
        """Stop before the last step, once this one is validated."""
        history = run.history
        history.stopped = f"the time for tuning ended at step {run.step} of {run.steps}"
        if history.valid and history.valid[-1][0] != run.step and self._judge(run.step, history):
            self._keep_best(run)

    def _keep_best(self, run: _Run) -> None:
        run.best = {}  # so that never two copies exist beside the adapter
        run.best = self.factors()

    def update(self, step: int, steps: int) -> None:
        """Move the adapter once by the gradients accumulated, in step ``step`` of ``steps``."""
        recipe = self.recipe
        warm = max(1, round(recipe.warmup * steps))
        falling = 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
        share = (step + 1) / warm if step < warm else falling
        self.optimizer.step(recipe.learning_rate * share, recipe.clip)

    def _judge(self, step: int, history: History) -> bool:
        """Validate the adapter; whether it is the best so far.

        Without validation rows the last step is the best.
        """
        loss = -float(step)
        if self.valid:
            loss, exact = self.validate()
            history.valid.append((step, loss, exact))
        better = -loss > history.best
        if better:
            history.best, history.best_step = -loss, step
        return better


def _misses(history: History) -> int:
    """Validations since the best step."""
    return sum(1 for step, *_ in history.valid if step > history.best_step)


def _status(history: History) -> str:
    """Loss and speed so far, in a few words."""
    losses = [loss for _, loss in history.train]
    recent, speed = losses[-20:], history.tokens / history.seconds
    return f"loss {sum(recent) / len(recent):.3f} {spark(losses, 12)}, {speed:.0f} tokens/s"
