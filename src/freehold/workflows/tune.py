"""Tune a stored model on rows and store the result: what ``freehold tune`` does.

A model that is not GGUF is tuned in its GGUF form, which is made and kept as a trial does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from freehold.core import atomic_files, extras, machine, settings
from freehold.core.errors import Unsupported
from freehold.core.progress import Sink, silent
from freehold.data.examples import Example
from freehold.inference.loading import open_vocabulary, prompting
from freehold.models.intake import made_here
from freehold.models.lineage import TunedStep
from freehold.models.store import Model, Store
from freehold.runtime.gguf_form import as_gguf
from freehold.training import backends
from freehold.training import run as training
from freehold.training.run import TuneOptions, TuneResult
from freehold.training.training_rows import TrainingRows, encode_rows
from freehold.training.tuned_files import TunedFiles, write_files
from freehold.trust import personal
from freehold.trust.canaries import canaries
from freehold.trust.gate import permit_models, permit_rows

#: Rows whose texts a converted tokenizer must split as the original does.
_CHECKED_ROWS = 200
#: Tokens of a row, where a model states no context length.
NO_LIMIT = 1 << 20


@dataclass(frozen=True)
class RowsOrigin:
    """Where the rows came from and what is done to them before they are learnt."""

    #: sha256 of the files the rows came from, by their part: train, valid
    files: dict[str, str] = field(default_factory=dict)
    #: invented codes to mix into the rows: "count", and the "seed" they are made from
    canaries: dict[str, int] = field(default_factory=dict)
    #: whether personal data in the rows is masked
    masked: bool = False


@dataclass(frozen=True)
class StoredTuning:
    """A stored model and the training run that made it."""

    #: the merged model with its adapter
    model: Model
    #: how it was trained
    result: TuneResult
    #: sentences about rows left out, device, memory, recipe and steps
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        result, history, rows = self.result, self.result.tuned.history, self.result.rows
        return {
            "name": self.model.name,
            "revision": self.model.revision,
            "digest": self.model.digest,
            "recipe": result.tuned.recipe.as_dict(),
            "reasons": self.reasons,
            "rows": rows.count,
            "rows_left_out": rows.train_left_out,
            "valid_rows_left_out": rows.valid_left_out,
            "train_curve": history.train,
            "valid_curve": history.valid,
            "best_step": history.best_step,
            "stopped": history.stopped,
            "seconds": history.seconds,
            "tokens_per_second": history.tokens / history.seconds if history.seconds else None,
            "predicted_memory_bytes": result.predicted_bytes,
            "peak_memory_bytes": result.peak_bytes,
            "device": result.device.where,
            "searched": [asdict(score) for score in result.searched],
        }


def tune(
    store: Store,
    model: Model,
    train: Sequence[Example],
    valid: Sequence[Example],
    options: TuneOptions,
    name: str,
    *,
    origin: RowsOrigin | None = None,
    sink: Sink = silent,
    say: Callable[[str], None] = lambda _: None,
    override: str = "",
) -> StoredTuning:
    """Train an adapter, merge it and store both as ``name``. The same call after a kill continues its run.

    Takes GGUF, safetensors and adapters. Personal data in the rows is masked where ``origin.masked`` says so,
    then its canaries are mixed in. ``say`` hears what was decided, and why. ``override``: the reason for
    going against the policy. Raises PolicyDenied where the policy says no, and BadData, DoesNotFit,
    Unsupported before anything is trained.
    """
    extras.need("torch", "tuning")
    origin = origin or RowsOrigin()
    permit_models(store, "tune", [model], override, say)
    train, valid = learnable(train, valid, say, masked=origin.masked)
    if origin.canaries.get("count"):
        train = [*train, *canaries(origin.canaries["count"], origin.canaries["seed"])]
    base = _trainable(store, model, train, options.trainer, sink)
    reasons: list[str] = []

    def tell(reason: str) -> None:
        reasons.append(reason)
        say(reason)

    if base is not model:
        tell(f"tuned as {base.name}, the GGUF form of {model.name}")
    weights = store.weights(base)
    encoder = prompting(base.info, open_vocabulary(weights))
    rows = encode_rows(encoder, train, valid, base.info.context_length or NO_LIMIT)
    for note in rows.notes():
        tell(note)
    folder = _work_folder(base, train, valid, options)
    with atomic_files.locked(folder / "lock", f"this tuning ({folder.name})"):
        if not options.resume:
            for file in [*folder.glob("*.safetensors"), *folder.glob("*.json")]:
                file.unlink()
        result = training.run(rows, weights, options, folder, sink, tell)
        shutil.rmtree(folder / "adapter", ignore_errors=True)  # a run killed here may have left half a file
        files = write_files(folder, result.tuned, weights, base.name)
        if files.merged.is_dir():
            tell("stored as merged safetensors; the adapter is not kept beside them")
        stored = _store(store, base, name, result, files, origin)
    shutil.rmtree(folder)  # all of it is in the store now
    return StoredTuning(stored, result, tuple(reasons))


def learnable(
    train: Sequence[Example], valid: Sequence[Example], say: Callable[[str], None], *, masked: bool
) -> tuple[Sequence[Example], Sequence[Example]]:
    """Training and validation rows, masked if asked for.

    Raises PolicyDenied where the policy allows no personal data.
    """
    kinds, numbers = personal.count(train)
    if kinds:
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        ending = "; masked" if masked else "; pass --mask to train without it"
        say(f"personal data in {len(numbers)} of {len(train)} rows ({counts}){ending}")
    if masked:
        return personal.masked(train), personal.masked(valid)
    permit_rows(train, "tune with --mask")
    return train, valid


def _trainable(store: Store, model: Model, train: Sequence[Example], trainer: str, sink: Sink) -> Model:
    """What is trained of a model: its GGUF form, or itself where only transformers can train it.

    Raises Unsupported where neither can be.
    """
    if trainer == backends.LIBRARIES:
        return model
    texts = [text for example in train[:_CHECKED_ROWS] for _, text in example.messages]
    try:
        base = as_gguf(store, model, texts, sink)
    except Unsupported:
        if model.info.format != "safetensors":
            raise
        base = model
    if model.info.format == "safetensors" and not backends.knows(store.weights(base)):
        base = model
    backends.choose(store.weights(base), trainer)
    return base


def _work_folder(
    base: Model, train: Sequence[Example], valid: Sequence[Example], options: TuneOptions
) -> Path:
    """The working folder of exactly this run."""
    identity: dict[str, object] = {
        "revision": base.revision,
        "train": [example.digest for example in train],
        "valid": [example.digest for example in valid],
        "recipe": options.recipe.as_dict(),
        "time": options.time_s,
        "search": options.search_s,
    }
    if options.memory_bytes:
        identity["memory"] = options.memory_bytes
    if options.device:
        identity["device"] = options.device
    if options.trainer:
        identity["trainer"] = options.trainer
    folder = settings.home() / "tunings" / atomic_files.digest_of(identity)[:12]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _store(
    store: Store, base: Model, name: str, result: TuneResult, files: TunedFiles, origin: RowsOrigin
) -> Model:
    """The merged model in 16 bit with its adapter, under ``name``."""
    if files.merged.is_dir():
        parts = {file.name: file for file in files.merged.iterdir()}
    else:
        parts = {f"{name.replace('/', '-')}.gguf": files.merged}
        parts |= {file.name: file for file in files.adapter.iterdir()}
    if files.gguf_adapter is not None:
        parts["adapter.lora"] = files.gguf_adapter
    rows, tuned = result.rows, result.tuned
    lineage = base.made_into(
        TunedStep(
            data=origin.files,
            rows=_row_counts(rows),
            method="preference (DPO)" if rows.preferences else "supervised",
            canaries=origin.canaries,
            masked=origin.masked,
            recipe=tuned.recipe.as_dict(),
            best_step=tuned.history.best_step,
            last_step=result.last_step,
            made_with=machine.made_with() | result.device.made_with(),
            adapter=files.adapter_digest,
            digest=files.merged_digest,
        )
    )
    return store.add(
        name,
        made_here(parts),
        {"source": f"tune:{base.name}"},
        licence=base.info.licence,
        licence_from=f"inherited from {base.name}",
        lineage=lineage,
    )


def _row_counts(rows: TrainingRows) -> dict[str, int]:
    return {"train": rows.count, "valid": rows.valid_count}
