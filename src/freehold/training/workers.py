# pyright: reportPrivateImportUsage=false
"""One training run by several workers: processes on this machine, each with a share of every batch's rows.

Each worker holds the whole model. It computes the gradients of its rows, then all add theirs up, so a step
is the same as one worker's step with the whole batch, but for the order of sums. This is torch.distributed,
which comes with torch: NCCL between cards, gloo between processors. Ray Train would wrap the same calls and
add a package to every tuning.

Workers meet through a file and talk over the loopback interface: nothing is reachable from outside.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.distributed as dist

from freehold.core import device as devices
from freehold.core import machine
from freehold.core.device import Device
from freehold.core.errors import StepFailed, UsageError
from freehold.core.progress import Sink, silent
from freehold.training.loop import Factors, History, Trainer, Tuned, _Run
from freehold.training.recipe import Recipe
from freehold.training.training_rows import Row, TrainingRows

#: Workers that one machine may have.
MOST_WORKERS = 64


@dataclass(frozen=True)
class TrainingJob:
    """What every worker is given."""

    weights: Path
    train: list[Row]
    valid: list[Row]
    recipe: Recipe
    #: kind of device; worker n takes the n-th card
    device: str
    #: a checkpoint to continue from and to write to
    checkpoint: Path | None
    #: stop after this step; 0 for the recipe's end
    last_step: int
    workers: int

    def device_of(self, rank: int) -> Device:
        """The device of a worker. Raises MissingPart where there are fewer cards than workers."""
        return devices.choose(f"{self.device}:{rank}" if self.device in ("cuda", "xpu") else self.device)


@dataclass(frozen=True)
class WorkersResult:
    """What several workers trained."""

    tuned: Tuned
    #: peak memory in bytes, summed over the workers
    peak_bytes: int
    #: tokens that all prompts begin with
    shared_prefix: int


class WorkerTrainer(Trainer):
    """A trainer that does its share of every batch. All of a group's call the same methods in one order."""

    def __init__(self, job: TrainingJob, rank: int, *, threads: int = 0):
        super().__init__(
            job.weights, job.train, job.valid, job.recipe, threads=threads, device=job.device_of(rank)
        )
        self.rank, self.workers = rank, job.workers

    def gradients(self, indexes: list[int]) -> tuple[torch.Tensor, int]:
        """Accumulate the gradients of the whole batch; (its mean loss per answer token, tokens computed)."""
        own = indexes[self.rank :: self.workers]
        answers = sum(self.train[index][1] for index in indexes)
        loss, tokens = super().gradients(own) if own else (torch.zeros((), device=self.device.torch), 0)
        # the mean of the own rows, as a part of the mean of all
        share = sum(self.train[index][1] for index in own) / answers
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.mul_(share) for p in self.parameters]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        at = 0
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = flat[at : at + gradient.numel()].view_as(gradient)
            at += gradient.numel()
        totals = self._summed(float(loss) * share, tokens)
        return torch.tensor(totals[0]), round(totals[1])

    def validate(self) -> tuple[float, float]:
        """(mean loss per answer token, share of rows answered exactly); each worker takes some rows."""
        rows, self.valid = self.valid, self.valid[self.rank :: self.workers]
        try:
            loss, exact = super().validate() if self.valid else (0.0, 0.0)
            answers = sum(count for _, count in self.valid)
            totals = self._summed(loss * answers, answers, exact * len(self.valid))
        finally:
            self.valid = rows
        return totals[0] / totals[1], totals[2] / len(rows)

    def _time_is_up(self, run: _Run, last_step: int) -> bool:
        """The first worker's clock decides for all."""
        return self._summed(float(self.rank == 0 and super()._time_is_up(run, last_step)))[0] > 0

    def save(self, path: Path, step: int, best: Factors, history: History) -> None:
        """Write a checkpoint: the first worker, for all."""
        if self.rank == 0:
            super().save(path, step, best, history)

    def peak_bytes(self) -> int:
        """Peak memory, summed over the workers."""
        return round(self._summed(float(self.device.peak_bytes()))[0])

    def _summed(self, *values: float) -> list[float]:
        """Each value, summed over the workers."""
        kind = torch.float32 if self.device.kind == "mps" else torch.float64
        tensor = torch.tensor(values, dtype=kind, device=self.device.torch)
        dist.all_reduce(tensor)
        return tensor.tolist()


def check(workers: int, rows: TrainingRows, recipe: Recipe) -> None:
    """Raises UsageError where so many workers cannot train these rows by this recipe."""
    if rows.preferences:
        raise UsageError("--workers does not train on preferences", "leave out --workers")
    if not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"--workers {workers}: must be from 1 to {MOST_WORKERS}", "pass another number")
    if workers > recipe.batch_rows:
        raise UsageError(
            f"--workers {workers}: a batch has {recipe.batch_rows} rows only", "pass fewer workers"
        )


def train(
    weights: Path,
    rows: TrainingRows,
    recipe: Recipe,
    workers: int,
    checkpoint: Path | None,
    sink: Sink = silent,
    *,
    device: str = "cpu",
    last_step: int = 0,
) -> WorkersResult:
    """Train with ``workers`` workers on this machine, the first of them this process.

    Raises UsageError where the rows or the number do not allow it, MissingPart where there are fewer cards
    than workers, StepFailed where a worker dies.
    """
    check(workers, rows, recipe)
    job = TrainingJob(
        weights, list(rows.train), list(rows.valid), recipe, device, checkpoint, last_step, workers
    )
    job.device_of(workers - 1)  # before anything is loaded
    with tempfile.TemporaryDirectory(prefix="freehold-workers-") as folder:
        meeting = Path(folder) / "meeting"
        with _others(job, meeting) as processes:
            try:
                return _work(job, 0, meeting, sink)
            except RuntimeError as error:  # torch's, when a connection is closed
                dead = [process for process in processes if process.exitcode]
                if not dead:
                    raise
                raise StepFailed(
                    f"worker {processes.index(dead[0]) + 1} of {workers} ended with exit status "
                    f"{dead[0].exitcode}",
                    "check the machine's memory, then run the same command again: it continues",
                ) from error


@contextmanager
def _others(job: TrainingJob, meeting: Path) -> Iterator[list[BaseProcess]]:
    """The workers that are not this process; they are ended with the block."""
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = [
        context.Process(target=_work, args=(job, rank, meeting), daemon=True)
        for rank in range(1, job.workers)
    ]
    for process in processes:
        process.start()
    try:
        yield processes
        for process in processes:
            process.join(timeout=60)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()


def _work(job: TrainingJob, rank: int, meeting: Path, sink: Sink = silent) -> WorkersResult:
    """Be one worker, from meeting the others to the end."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    device = job.device_of(rank)
    dist.init_process_group(
        "nccl" if device.kind == "cuda" else "gloo",
        store=dist.FileStore(str(meeting), job.workers),
        rank=rank,
        world_size=job.workers,
    )
    before = torch.get_num_threads()
    try:
        trainer = WorkerTrainer(job, rank, threads=_threads(job, device))
        tuned = trainer.run(sink, job.checkpoint, last_step=job.last_step)
        return WorkersResult(tuned, trainer.peak_bytes(), len(trainer.prefix))
    finally:
        torch.set_num_threads(before)
        dist.destroy_process_group()


def _threads(job: TrainingJob, device: Device) -> int:
    """Threads of a worker: on a processor the workers share its cores."""
    return 0 if device.is_card else max(1, machine.look().cores // job.workers)
