"""The one way to train: rows and options in, an adapter and its history out.

The trial, ``freehold tune`` and ``freehold reproduce`` all call :func:`run`. It chooses the device, fits the
recipe into memory, searches a recipe and plans the steps where asked, and trains. What it decided is kept in
the working folder, so the same call after a kill continues from its last checkpoint.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from freehold.core import atomic_files
from freehold.core import device as devices
from freehold.core.device import Device
from freehold.core.errors import UsageError
from freehold.core.progress import Sink, silent, task
from freehold.models.formats import gguf, safetensors
from freehold.models.formats.decoders import config_of
from freehold.training import backends, memory, workers
from freehold.training.backends import Backend
from freehold.training.loop import Trainer, Tuned
from freehold.training.preference import PreferenceTrainer
from freehold.training.recipe import Recipe, plan
from freehold.training.recipe_search import RecipeScore, search
from freehold.training.training_rows import TrainingRows
from freehold.training.workers import WorkersResult

#: File in the working folder with the recipe that was decided on.
DECISION = "settled.json"
#: File in the working folder that a killed run continues from.
CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class TuneOptions:
    """What decides a training run besides model and rows."""

    recipe: Recipe
    #: most memory the run may take, bytes; 0: what is free on a card, no limit on a processor
    memory_bytes: int = 0
    #: seconds to fill with training; 0: the recipe's steps or epochs decide
    time_s: float = 0.0
    #: whether loading the model and measuring its speed count as part of ``time_s``
    time_includes_setup: bool = False
    #: whether a plan for ``time_s`` or a search may change the adapter's rank; not where a person chose it
    choose_rank: bool = True
    #: seconds that measuring the speed takes, about
    probe_s: float = 10.0
    #: seconds for finding learning rate and rank; 0: no search
    search_s: float = 0.0
    #: what to train on, as ``freehold.core.device.choose`` takes it
    device: str = ""
    #: processes that share each batch, on this machine (``freehold.training.workers``)
    workers: int = 1
    #: what trains: "ours", "transformers", or "" to choose
    trainer: str = ""
    #: use the recipe exactly as it is, because a run is repeated
    exact: bool = False
    #: whether ``freehold tune`` goes on where the same run was stopped; False starts again
    resume: bool = True
    #: stop after this step, where a repeated run was stopped by its deadline; 0: the deadline decides
    last_step: int = 0


@dataclass(frozen=True)
class TuneResult:
    """A trained adapter and how it came about."""

    #: factors of the best step, recipe and history
    tuned: Tuned
    #: the rows it was trained on
    rows: TrainingRows
    #: what it was trained on
    device: Device
    #: why this device, this much memory, this trainer, this recipe and these steps, in that order
    reasons: tuple[str, ...]
    #: why so much memory, one of ``reasons``
    memory_reason: str
    #: why this recipe and these steps, the last of ``reasons``
    decided: tuple[str, ...]
    #: every recipe that a search tried
    searched: tuple[RecipeScore, ...]
    #: predicted and measured peak of memory, bytes
    predicted_bytes: int
    peak_bytes: int
    #: tokens that all prompts begin with
    shared_prefix: int

    @property
    def plan_reason(self) -> str:
        """Why these steps; "" where that was not decided here."""
        return self.decided[-1] if self.decided else ""

    @property
    def last_step(self) -> int:
        """The last step that was trained."""
        history = self.tuned.history
        return history.train[-1][0] if history.train else 0


def run(
    rows: TrainingRows,
    weights: Path,
    options: TuneOptions,
    work: Path,
    sink: Sink = silent,
    say: Callable[[str], None] = lambda _: None,
    meter: AbstractContextManager[object] | None = None,
) -> TuneResult:
    """Train an adapter for ``weights`` (a GGUF file or a safetensors folder) on ``rows``.

    ``work`` keeps decision and checkpoint. ``meter`` is entered while steps are trained, and only then.
    Raises DoesNotFit and Unsupported before anything is trained.
    """
    started = time.monotonic()
    device = devices.choose(options.device)
    reasons = ["preference tuning (DPO): the rows hold rejected answers"] if rows.preferences else []
    reasons.append(device.reason)
    backend = backends.choose(weights, options.trainer)
    if options.workers > 1:
        _check_workers(rows, options, backend)
    recipe, memory_need, memory_reason = _fit_memory(rows, weights, options, device, backend)
    reasons += [memory_reason, backend.reason]
    for reason in reasons:
        say(reason)
    makers = _Trainers(rows, weights, device, backend.name)
    resumed = (work / DECISION).exists()
    decision = _decide(makers, recipe, options, work / DECISION, started, sink)
    for reason in decision.reasons:
        say(reason)
    if resumed:
        say("continuing the run that was stopped")
    with meter or nullcontext():
        trained = _train(makers, decision.recipe, options, device, work, sink)
    return TuneResult(
        trained.tuned,
        rows,
        device,
        (*reasons, *decision.reasons),
        memory_reason,
        decision.reasons,
        decision.searched,
        memory_need,
        trained.peak_bytes,
        trained.shared_prefix,
    )


def _check_workers(rows: TrainingRows, options: TuneOptions, backend: Backend) -> None:
    """Raises UsageError where several workers cannot do this run."""
    workers.check(options.workers, rows, options.recipe)
    if options.time_s or options.search_s:
        raise UsageError(
            "--workers needs a number of steps or epochs: its speed is not measured beforehand",
            "pass --steps or --epochs instead of --time and --search",
        )
    if backend.name != backends.OURS:
        raise UsageError(
            "--workers needs Freehold's own trainer, and this model is trained by transformers",
            "leave out --workers",
        )


def _train(
    makers: _Trainers, recipe: Recipe, options: TuneOptions, device: Device, work: Path, sink: Sink
) -> WorkersResult:
    """Train by this process, or by several that share each batch."""
    checkpoint, last_step = work / CHECKPOINT, options.last_step
    if options.workers > 1:
        return workers.train(
            makers.weights,
            makers.rows,
            recipe,
            options.workers,
            checkpoint,
            sink,
            device=device.kind,
            last_step=last_step,
        )
    trainer = makers.trainer(recipe)
    tuned = trainer.run(sink, checkpoint, last_step=last_step)
    return WorkersResult(tuned, device.peak_bytes(), len(trainer.prefix))


def _fit_memory(
    rows: TrainingRows, weights: Path, options: TuneOptions, device: Device, backend: Backend
) -> tuple[Recipe, int, str]:
    """(recipe for this device and memory, predicted bytes, why). Raises DoesNotFit."""
    recipe = options.recipe if options.exact else options.recipe.on(device)
    if backend.name == backends.LIBRARIES:
        unlimited = ", and --memory does not limit it" if options.memory_bytes else ""
        return recipe, 0, f"memory: not predicted for transformers{unlimited}"
    shape, tied = memory.shape_of(rows.all_rows, recipe), has_tied_head(weights)
    if options.exact:
        need, why = memory.predict(config_of(weights), recipe, shape, tied=tied, device=device), ""
    else:
        limit = options.memory_bytes or device.usable_bytes
        if not device.is_card:  # each worker holds the model, in the same memory; on cards each has its own
            limit //= options.workers
        recipe, need, why = memory.fit(config_of(weights), recipe, shape, limit, tied=tied, device=device)
    in_all = need.total * options.workers
    of = f" with {options.workers} workers" if options.workers > 1 else ""
    return recipe, in_all, f"memory: about {in_all / 2**30:.2f} GiB at its peak{of}{why and ', ' + why}"


def has_tied_head(weights: Path) -> bool:
    """Whether a decoder's output matrix is its embedding."""
    if weights.is_dir():
        names = {name for file in weights.glob("*.safetensors") for name in safetensors.read_header(file)}
        return "lm_head.weight" not in names
    return all(tensor.name != "output.weight" for tensor in gguf.read_header(weights).tensors)


class _Trainers:
    """Builds trainers for the same rows and weights, never two at a time: each holds the weights."""

    def __init__(self, rows: TrainingRows, weights: Path, device: Device, backend: str):
        self.rows, self.weights, self._device, self._backend = rows, weights, device, backend
        self._last: Trainer | None = None

    def trainer(self, recipe: Recipe) -> Trainer:
        """The last trainer, if it differs in the steps only and has not trained; else a fresh one."""
        last, self._last = self._last, None
        if last is not None and _differ_in_length_only(last.recipe, recipe):
            last.recipe = recipe
            return last
        del last
        return self.fresh(recipe)

    def fresh(self, recipe: Recipe) -> Trainer:
        """A new trainer. Memory of one before it is released first, or its weights would exist twice."""
        self._last = None
        gc.collect()
        rows = self.rows
        if rows.preferences:
            return PreferenceTrainer(
                self.weights,
                rows.pairs,
                rows.valid_pairs,
                recipe,
                device=self._device,
                backend=self._backend,
            )
        return Trainer(
            self.weights, rows.train, rows.valid, recipe, device=self._device, backend=self._backend
        )

    def speed(self, recipe: Recipe, seconds: float) -> float:
        """Rows per second, measured on batches of these rows; the trainer is kept for the run itself."""
        self._last = self.fresh(recipe)
        return self._last.probe(seconds)


def _differ_in_length_only(one: Recipe, other: Recipe) -> bool:
    """Whether a trainer made for one recipe can train by the other."""
    return one == replace(other, steps=one.steps, epochs=one.epochs, deadline_s=one.deadline_s)


@dataclass(frozen=True)
class _Decision:
    """The recipe that is trained with, every recipe tried for it, and why."""

    recipe: Recipe
    searched: tuple[RecipeScore, ...] = ()
    reasons: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Keep it for a run that is resumed."""
        tried = [asdict(score) for score in self.searched]
        value = {"recipe": self.recipe.as_dict(), "tried": tried, "reasons": self.reasons}
        atomic_files.write_atomically(path, json.dumps(value))

    @classmethod
    def load(cls, path: Path) -> _Decision:
        """Read it, also as earlier versions wrote it for a trial."""
        value = json.loads(path.read_text())
        tried = tuple(RecipeScore(**score) for score in value.get("tried", ()))
        reasons = value["reasons"] if "reasons" in value else [value["reason"]]
        return cls(Recipe(**value["recipe"]), tried, tuple(reasons))


def _decide(
    makers: _Trainers, recipe: Recipe, options: TuneOptions, kept: Path, started: float, sink: Sink
) -> _Decision:
    """Search a recipe and plan the steps, once; a resumed run uses what was decided. Raises DoesNotFit."""
    if kept.exists():
        return _Decision.load(kept)
    searched: list[RecipeScore] = []
    reasons: list[str] = []
    if (options.search_s or options.time_s) and not options.exact:
        with task(sink, "measuring how fast this model learns"):
            speed = makers.speed(recipe, options.probe_s)
        if options.search_s:
            recipe, searched, why = search(
                makers.fresh,
                recipe,
                rows_per_second=speed,
                seconds=options.search_s,
                sink=sink,
                choose_rank=options.choose_rank,
            )
            reasons.append(why)
        if options.time_s:
            used = time.monotonic() - started if options.time_includes_setup else 0.0
            recipe, why = plan(
                recipe,
                rows=makers.rows.count,
                rows_per_second=speed,
                seconds=options.time_s - used,
                choose_rank=options.choose_rank and not options.search_s,
            )
            reasons.append(why)
    decision = _Decision(recipe, tuple(searched), tuple(reasons))
    decision.save(kept)
    return decision
