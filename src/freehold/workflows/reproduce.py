"""Run the recorded steps of a tuned model again and compare digests: what ``freehold reproduce`` does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from freehold.core import atomic_files, extras, machine
from freehold.core.errors import BadData, NotFound, Unsupported
from freehold.core.progress import Sink, silent, task
from freehold.data.examples import Example, read_dataset
from freehold.data.splits import cut_validation
from freehold.inference.loading import open_vocabulary, prompting
from freehold.models.lineage import TunedStep, Tuning
from freehold.models.store import Model, Store
from freehold.training import run as training
from freehold.training.recipe import Recipe
from freehold.training.run import TuneOptions
from freehold.training.training_rows import encode_rows
from freehold.training.tuned_files import TunedFiles, write_files
from freehold.trial import task as tasks
from freehold.trust import personal
from freehold.trust.canaries import canaries
from freehold.workflows.tune import NO_LIMIT


@dataclass(frozen=True)
class ReproducedStep:
    """A step of the lineage: the sha256 of its file as recorded, '' where none was, and as computed now."""

    step: str
    recorded: str
    computed: str

    @property
    def same(self) -> bool | None:
        """Whether they are equal; None where none was recorded."""
        return self.recorded == self.computed if self.recorded else None

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        return {"step": self.step, "recorded": self.recorded, "found": self.computed, "same": self.same}


@dataclass(frozen=True)
class Reproduction:
    """The steps of a model, run again."""

    steps: tuple[ReproducedStep, ...]
    #: what is different here from where the model was made, a sentence each
    differences: tuple[str, ...]

    @property
    def wrong(self) -> list[str]:
        """Names of the steps whose digests differ."""
        return [step.step for step in self.steps if step.same is False]


def reproduce(
    store: Store, model: Model, data: Path | None, valid: Path | None, sink: Sink = silent
) -> Reproduction:
    """Run every recorded step of ``model`` again. ``data`` and ``valid``: its rows, where they are not kept
    with it.

    Raises BadData, NotFound, Unsupported where it cannot be run again.
    """
    extras.need("torch", "running a tuning again")
    tuning = model.info.lineage.tuning
    if tuning is None:
        raise Unsupported(
            f"{model.name} was not tuned here, so no steps of it were recorded",
            "name a model that 'freehold tune' or a trial made",
        )
    tuned, base = tuning.tuned, store.find(f"{tuning.base.model}@{tuning.base.revision}")
    weights = store.weights(base)
    rows = _rows_of(store, model, tuned, data, valid)
    encoder = prompting(base.info, open_vocabulary(weights), plain=rows.plain)
    preferences = (tuned.method or "").startswith("preference")
    limit = base.info.context_length or NO_LIMIT
    if rows.longest:
        limit = min(limit, rows.longest)
    encoded = encode_rows(encoder, rows.train, rows.valid, limit, strict=False, preferences=preferences)
    options = TuneOptions(
        Recipe(**(tuned.recipe or {})),
        device="auto" if "card" in (tuned.made_with or {}) else "cpu",
        exact=True,
        last_step=tuned.last_step or 0,
    )
    with (
        tempfile.TemporaryDirectory(prefix="freehold-again-", dir=store.incoming) as folder,
        task(sink, f"tuning {model.name} again") as progress,
    ):
        work = Path(folder)
        result = training.run(encoded, weights, options, work, sink)
        progress.at(0, "merging and comparing")
        files = write_files(work, result.tuned, weights, base.name)
        steps = _compare(tuning, files, work)
    here = machine.made_with() | result.device.made_with()
    there = tuned.made_with or {}
    return Reproduction(
        steps, tuple(f"{k} was {there[k]} and is {here.get(k)}" for k in there if there[k] != here.get(k))
    )


def _compare(tuning: Tuning, files: TunedFiles, work: Path) -> tuple[ReproducedStep, ...]:
    """The digests of this run's files beside the recorded ones; quantizes again where a trial did."""
    from freehold.quantization.quantize import quantize

    tuned, quantized = tuning.tuned, tuning.quantized
    steps = [ReproducedStep("adapter", tuned.adapter or "", files.adapter_digest)]
    if files.merged_digest:
        steps.append(ReproducedStep("merged", tuned.digest or "", files.merged_digest))
    if quantized is not None:
        again = work / "again.gguf"
        quantize(files.merged, again, quantized.type or "")
        recorded = quantized.digest or ""
        steps.append(ReproducedStep("quantized", recorded, atomic_files.sha256_file(again)))
    return tuple(steps)


@dataclass(frozen=True)
class _Rows:
    """The rows a model was tuned on, and how they were encoded."""

    train: list[Example]
    valid: list[Example]
    #: longest row in tokens that a trial allowed; 0: the base's context alone decides
    longest: int = 0
    #: whether the plain template was used instead of the model's own
    plain: bool = False


def _rows_of(store: Store, model: Model, tuned: TunedStep, data: Path | None, valid: Path | None) -> _Rows:
    """The rows as they were when the model was tuned. Raises NotFound, BadData."""
    if "task.json" in model.manifest and tuned.longest_row:  # a trial keeps its rows with the model
        splits = tasks.read(store.file(model, "task.json")).without(tuned.leave_out or ()).splits
        return _Rows(list(splits.train), list(splits.valid), tuned.longest_row, bool(tuned.plain))
    if data is None:
        raise NotFound(
            f"the rows {model.name} was trained on are not kept with it",
            "pass them with --data, and the validation rows with --valid if there were any",
        )
    for part, path in (("train", data), ("valid", valid)):
        recorded = (tuned.data or {}).get(part)
        if recorded and (path is None or atomic_files.sha256_file(path) != recorded):
            raise BadData(
                f"{path or 'no file'} is not the {part} file that was used (sha256 {recorded[:12]})",
                f"pass that file with --{'data' if part == 'train' else part}",
            )
    examples = list(read_dataset(data).examples)
    train, checks = (examples, list(read_dataset(valid).examples)) if valid else cut_validation(examples)
    if tuned.masked:
        train, checks = personal.masked(train), personal.masked(checks)
    if planted := tuned.canaries:
        train = [*train, *canaries(planted["count"], planted["seed"])]
    return _Rows(train, checks)
