"""What the steps' processes do to make tuned variants: tune, quantize with llama.cpp's types, quantize with
our own mix of types.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core import machine
from freehold.core.progress import Sink, task
from freehold.inference.interface import PromptEncoder
from freehold.inference.loading import open_vocabulary, prompting
from freehold.trial import task as tasks
from freehold.trial.arguments import MixArguments, ModelArguments, ShrinkArguments, TuneArguments
from freehold.trial.json_form import JsonObject
from freehold.trial.results import MixResult, ShrinkResult, TuningResult
from freehold.trial.task import Task

if TYPE_CHECKING:
    from freehold.training.run import TuneOptions, TuneResult
    from freehold.training.training_rows import TrainingRows
    from freehold.training.tuned_files import TunedFiles

#: Share of the tuning time that measuring the tuner's speed may take, and the most seconds.
_PROBE_SHARE, _PROBE_S = 0.06, 10.0
#: What a mix of types is called: where the name of one of llama.cpp's types would be.
MIXED = "mixed"
#: File that the step ``mix`` leaves.
MIXED_FILE = "mixed.gguf"


def _task(a: ModelArguments[Any]) -> Task:
    return tasks.read(Path(a.task)).without(a.subject.leave_out)


def tune(a: TuneArguments, sink: Sink) -> TuningResult:
    """Tune the candidate within ``tuning_s`` seconds; leave the adapter in PEFT's format and as GGUF, and
    the merged model.

    How many steps fit is decided once, at a speed measured on its own batches, and kept. Raises DoesNotFit
    where too few do.
    """
    from freehold.costs.energy import Energy, metered
    from freehold.training import run as training
    from freehold.training.tuned_files import write_files

    started = time.monotonic()
    folder, weights = Path(a.place), a.weights
    rows = _training_rows(a)
    options = _tune_options(a, rows.preferences, used_s=time.monotonic() - started)
    energy = Energy()

    @contextmanager
    def meter() -> Iterator[None]:
        nonlocal energy
        with metered(a.country) as energy:
            yield

    result = training.run(rows, weights, options, folder, sink, meter=meter())
    files = write_files(folder, result.tuned, weights, a.model)
    (folder / training.CHECKPOINT).unlink(missing_ok=True)
    history = result.tuned.history
    return TuningResult(
        recipe=result.tuned.recipe.as_dict(),
        rows=rows.count,
        steps=result.last_step,
        best_step=history.best_step,
        stopped=history.stopped,
        training_seconds=history.seconds,
        tokens_per_second=history.tokens / history.seconds,
        peak_memory_bytes=result.peak_bytes,
        energy=energy,
        train_curve=tuple(history.train[:: max(1, len(history.train) // 200)]),
        valid_curve=tuple(history.valid),
        reason=_reason(a, result, options),
        rows_left_out=rows.train_left_out,
        shared_prefix_tokens=result.shared_prefix,
        made=_made(a, result, files),
    )


def _reason(a: TuneArguments, result: TuneResult, options: TuneOptions) -> str:
    """Why this recipe and so many steps."""
    reasons = [result.memory_reason] if a.memory_bytes else []
    reasons += result.decided
    if options.recipe.steps:
        reasons.append(f"{options.recipe.steps} steps, as requested")
    return "; ".join(reasons)


def _training_rows(a: TuneArguments) -> TrainingRows:
    """The task's training and validation rows as tokens of this model."""
    from freehold.training.training_rows import encode_rows

    splits = _task(a).splits
    limit = min(a.info.context_length or a.longest_row, a.longest_row)
    encoder = prompting(a.info, open_vocabulary(a.weights), plain=a.plain)
    return encode_rows(encoder, splits.train, splits.valid, limit, strict=False)


def _tune_options(a: TuneArguments, preferences: bool, used_s: float) -> TuneOptions:
    """What the step's arguments say of the training, ``used_s`` seconds of which are over."""
    from freehold.training.recipe import PREFERENCE_RATE, Recipe
    from freehold.training.run import TuneOptions

    recipe = Recipe(**a.recipe)
    if preferences and recipe.learning_rate == Recipe().learning_rate:  # nobody chose another
        recipe = replace(recipe, learning_rate=PREFERENCE_RATE)
    return TuneOptions(
        recipe,
        memory_bytes=a.memory_bytes,
        search_s=a.search_s,
        time_s=0.0 if recipe.steps else a.tuning_s - a.merging_s - used_s,
        time_includes_setup=True,
        choose_rank=bool(a.search_s) and recipe.rank == Recipe().rank,  # nobody chose another
        probe_s=min(_PROBE_S, _PROBE_SHARE * a.tuning_s),
        device=a.device,
    )


def _made(a: TuneArguments, result: TuneResult, files: TunedFiles) -> JsonObject:
    """What the lineage says of the tuned model besides its recipe: how to make it again, and its digests."""
    made: JsonObject = {
        "made_with": machine.made_with() | result.device.made_with(),
        "adapter": files.adapter_digest,
        "last_step": result.last_step,
    }
    if a.subject.leave_out:
        made["leave_out"] = sorted(a.subject.leave_out)
    if result.rows.preferences:
        made["method"] = "preference (DPO)"
    if files.merged_digest:
        made["digest"] = files.merged_digest
    return made


def shrink(a: ShrinkArguments, sink: Sink) -> ShrinkResult:
    """Quantize the merged model to each type."""
    from freehold.quantization.quantize import Quantized, describe, quantize

    source = _merged(a, Path(a.source))
    files: dict[str, Quantized] = {}
    with task(sink, f"shrinking {a.model}", len(a.types), "types") as progress:
        for kind in a.types:
            target = Path(a.place) / f"{kind}.gguf"
            files[kind] = describe(target, kind) if target.exists() else quantize(source, target, kind)
            progress.more(1)
    return ShrinkResult(files)


def mix(a: MixArguments, sink: Sink) -> MixResult:
    """Quantize the merged model with our own mix of types, calibrated on training rows alone.

    Raises DoesNotFit where the coarsest types take more than ``size_bytes``.
    """
    from freehold.quantization.mix import Mixer
    from freehold.quantization.quantize import describe

    source = _merged(a, Path(a.source))
    encoder = prompting(a.info, open_vocabulary(source), plain=a.plain)
    rows = calibration_rows(_task(a), encoder, a.calibration_tokens)
    target = Path(a.place) / MIXED_FILE
    mixer = Mixer(
        source,
        rows,
        a.info.vocabulary,
        Path(a.place),
        sink,
        tokens=a.calibration_tokens,
        positions=a.positions,
        bands=a.bands,
    )
    shares = mixer.within(a.size_bytes, target)
    return MixResult(describe(target, MIXED), shares, len(rows))


def calibration_rows(task_: Task, encoder: PromptEncoder, tokens: int) -> list[list[int]]:
    """Training rows of about so many tokens in all, each text once, in an order that does not depend on the
    file's. Rows that choose or judge a variant are never among them.
    """
    rows: list[list[int]] = []
    known: set[tuple[int, ...]] = set()
    read = 0
    for example in sorted(task_.splits.train, key=lambda example: example.digest):
        prompt, answer = encoder.row(example.messages)
        row = [*prompt, *answer]
        if tuple(row) in known:  # equal rows would share all they hold, and leave nothing to measure at
            continue
        known.add(tuple(row))
        read += len(row)
        if rows and read > tokens:
            break
        rows.append(row)
    return rows


def _merged(a: ShrinkArguments | MixArguments, source: Path) -> Path:
    """The tuned model in 16 bit. An earlier run that came to its end removed it: it is merged again then."""
    from freehold.training.adapter import load_peft, merge_gguf

    if not source.exists():
        merge_gguf(source, a.weights, *load_peft(source.parent / "adapter"))
    return source
