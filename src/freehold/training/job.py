"""Tune a stored model on rows and store the result: what ``freehold tune`` does."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, machine, progress, settings
from freehold.core import device as devices
from freehold.core.device import Device
from freehold.core.errors import BadData, Unsupported
from freehold.core.progress import Sink
from freehold.data.examples import Example
from freehold.inference.interface import PromptEncoder
from freehold.inference.loading import open_vocabulary, prompting
from freehold.models.formats import gguf
from freehold.models.formats.decoders import ARCHITECTURES, config_of
from freehold.models.intake import made_here
from freehold.models.lineage import TunedStep
from freehold.models.store import Model, Store
from freehold.training import adapter, memory
from freehold.training.loop import Row, Trainer, Tuned, check_rows
from freehold.training.preference import Pair, PreferenceTrainer
from freehold.training.recipe import Recipe, plan
from freehold.training.recipe_search import RecipeScore, search


@dataclass(frozen=True)
class TuneOptions:
    """What decides a run besides model and rows. Seconds, bytes; 0: no limit."""

    recipe: Recipe
    memory_bytes: int = 0
    time_s: float = 0.0
    search_s: float = 0.0
    resume: bool = True
    #: sha256 of the files the rows came from, by their part: train, valid
    files: dict[str, str] = field(default_factory=dict)
    #: made-up codes among the rows, how many and from which seed; and whether personal data in the rows was masked
    canaries: dict[str, int] = field(default_factory=dict)
    masked: bool = False
    #: what to train on, as ``freehold.core.device.choose`` takes it
    device: str = ""


@dataclass(frozen=True)
class TuneResult:
    """The stored model, how it was trained, and what was said before against what was measured (bytes)."""

    model: Model
    tuned: Tuned
    reasons: list[str]
    tried: list[RecipeScore]
    predicted_bytes: int
    peak_bytes: int
    rows: int
    rows_left_out: int
    valid_rows_left_out: int = 0
    device: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        history = self.tuned.history
        return {
            "name": self.model.name, "revision": self.model.revision, "digest": self.model.digest, "recipe": self.tuned.recipe.as_dict(),
            "reasons": self.reasons, "rows": self.rows, "rows_left_out": self.rows_left_out,
            "valid_rows_left_out": self.valid_rows_left_out, "train_curve": history.train,
            "valid_curve": history.valid, "best_step": history.best_step, "stopped": history.stopped, "seconds": history.seconds,
            "tokens_per_second": history.tokens / history.seconds if history.seconds else None, "predicted_memory_bytes": self.predicted_bytes,
            "peak_memory_bytes": self.peak_bytes, "device": self.device, "searched": [asdict(t) for t in self.tried],
        }  # fmt: skip


def tune(store: Store, model: Model, train: Sequence[Example], valid: Sequence[Example], asked: TuneOptions, name: str, sink: Sink = progress.silent,
         say: Any = None) -> TuneResult:  # fmt: skip
    """Train an adapter, merge it and store both as ``name``. The same call after a kill goes on from the last checkpoint.

    Raises BadData, DoesNotFit, Unsupported before anything is trained.
    """
    say = say or (lambda _: None)
    if model.info.format != "gguf" or model.info.architecture not in ARCHITECTURES:
        raise Unsupported(
            f"{model.name} is {model.info.format} of architecture {model.info.architecture!r}; GGUF of {', '.join(ARCHITECTURES)} is tuned",
            "choose another model; 'freehold tune' turns safetensors and adapters into GGUF where it can",
        )
    weights = store.weights(model)
    asking = prompting(model.info, open_vocabulary(weights))
    data = _lessons(weights, asking, train, valid, model.info.context_length or 1 << 20)
    recipe, reasons = asked.recipe, data.too_long(len(train), len(valid), model.info.context_length)
    for reason in reasons:
        say(reason)
    if data.preferences:
        reasons.append("preference tuning (DPO): the rows hold rejected answers")
        say(reasons[-1])
    device = devices.choose(asked.device)
    recipe = recipe.on(device)
    reasons.append(device.reason)
    say(device.reason)
    tied = all(tensor.name != "output.weight" for tensor in gguf.read_header(weights).tensors)
    recipe, need, why = memory.fit(
        config_of(weights),
        recipe,
        memory.shape_of(data.rows, recipe),
        asked.memory_bytes or device.usable_bytes,
        tied=tied,
        device=device,
    )
    reasons.append(f"memory: about {need.total / 2**30:.2f} GiB at its peak, {why}")
    say(reasons[-1])
    place = _place(store, model, train, valid, recipe, asked)
    data = replace(data, device=device)
    with atomic_files.locked(place / "lock", f"this tuning ({place.name})"):
        recipe, tried, more = _settle(place, data, recipe, asked, sink)
        for reason in more:
            say(reason)
        tuned = data.trainer(recipe).run(sink, place / "checkpoint.safetensors")
        stored = _store(store, model, name, place, tuned, weights, asked, data)
    shutil.rmtree(place)  # all of it is in the store now
    return TuneResult(
        stored,
        tuned,
        reasons + more,
        tried,
        need.total,
        device.peak_bytes(),
        data.count,
        data.left_out,
        data.valid_left_out,
        device.where,
    )


@dataclass(frozen=True)
class _Lessons:
    """What is learnt from: rows, or pairs of a chosen and a rejected answer."""

    weights: Path
    train: list[Row]
    valid: list[Row]
    pairs: list[Pair]
    valid_pairs: list[Pair]
    left_out: int
    valid_left_out: int
    device: Device | None = None

    def too_long(self, train: int, valid: int, limit: int) -> list[str]:
        """A sentence for each part that has rows longer than the model's context of ``limit`` tokens."""
        parts = (("training", self.left_out, train), ("validation", self.valid_left_out, valid))
        long = f"longer than the model's context of {limit} tokens"
        return [f"{left} of {rows} {part} rows are left out: {long}" for part, left, rows in parts if left]

    @property
    def preferences(self) -> bool:
        """Whether these are pairs."""
        return bool(self.pairs)

    @property
    def count(self) -> int:
        """What an epoch counts."""
        return len(self.pairs) or len(self.train)

    @property
    def rows(self) -> list[Row]:
        """Every row there is, both answers of a pair as two."""
        every = [*self.pairs, *self.valid_pairs]
        return [
            *self.train,
            *self.valid,
            *((prompt, answer) for prompt, *answers in every for answer in answers),
        ]

    def trainer(self, recipe: Recipe) -> Trainer:
        """A fresh trainer. What one before it held in cycles is let go first: its frozen weights would lie in memory twice."""
        gc.collect()
        if self.preferences:
            return PreferenceTrainer(self.weights, self.pairs, self.valid_pairs, recipe, device=self.device)
        return Trainer(self.weights, self.train, self.valid, recipe, device=self.device)


def _lessons(
    weights: Path, asking: PromptEncoder, train: Sequence[Example], valid: Sequence[Example], limit: int
) -> _Lessons:
    """Tokens of the rows. Raises BadData."""
    if not valid:
        raise BadData("no validation row", "give --valid, or more rows")
    rejecting = [example for example in (*train, *valid) if "rejected" in example.reference]
    if not rejecting:
        rows, left_out = check_rows([asking.row(e.messages) for e in train], limit)
        checks = [asking.row(e.messages) for e in valid]
        short = _short_enough([row for row in checks if len(row[0]) + len(row[1]) <= limit], checks, limit)
        return _Lessons(weights, rows, short, [], [], len(left_out), len(checks) - len(short))
    if len(rejecting) < len(train) + len(valid):
        raise BadData(
            f"{len(rejecting)} of {len(train) + len(valid)} rows have a field 'rejected'",
            "give all rows one, or none",
        )

    def pair(example: Example) -> Pair:
        prompt, chosen = asking.row(example.messages)
        again, rejected = asking.row((*example.prompt, ("assistant", example.reference["rejected"])))
        if again != prompt or chosen == rejected:
            raise BadData(
                f"row {example.id}: the chosen and the rejected answer do not differ",
                "correct or remove the row",
            )
        return prompt, chosen, rejected

    pairs, checks = ([pair(e) for e in part] for part in (train, valid))
    kept, short = (
        _short_enough([p for p in part if len(p[0]) + max(len(p[1]), len(p[2])) <= limit], part, limit, name)
        for part, name in ((pairs, "training"), (checks, "validation"))
    )
    return _Lessons(weights, [], [], kept, short, len(pairs) - len(kept), len(checks) - len(short))


def _short_enough(kept: list[Any], rows: list[Any], limit: int, name: str = "validation") -> list[Any]:
    """``kept``. Raises BadData where none is left of ``rows``."""
    if not kept:
        raise BadData(
            f"all {len(rows)} {name} rows are longer than the model's context of {limit} tokens",
            "shorten the rows, or choose another model",
        )
    return kept


def _place(
    store: Store,
    model: Model,
    train: Sequence[Example],
    valid: Sequence[Example],
    recipe: Recipe,
    asked: TuneOptions,
) -> Path:
    """A folder that belongs to exactly this run."""
    identity = {"revision": model.revision, "train": [e.digest for e in train], "valid": [e.digest for e in valid], "recipe": recipe.as_dict(),
                "time": asked.time_s, "search": asked.search_s}  # fmt: skip
    place = settings.home() / "tunings" / atomic_files.digest_of(identity)[:12]
    place.mkdir(parents=True, exist_ok=True)
    if not asked.resume:
        for file in [*place.glob("*.safetensors"), *place.glob("*.json")]:
            file.unlink()
    return place


def _settle(
    place: Path, data: _Lessons, recipe: Recipe, asked: TuneOptions, sink: Sink
) -> tuple[Recipe, list[RecipeScore], list[str]]:
    """Search and plan once; a resumed run goes by what was settled."""
    settled = place / "settled.json"
    if settled.exists():
        kept = json.loads(settled.read_text())
        return (
            Recipe(**kept["recipe"]),
            [RecipeScore(**t) for t in kept["tried"]],
            [*kept["reasons"], "taken up where it was left"],
        )
    tried: list[RecipeScore] = []
    reasons: list[str] = []
    if asked.search_s or asked.time_s:
        speed = data.trainer(recipe).probe()
        if asked.search_s:
            recipe, tried, why = search(
                data.trainer, recipe, rows_per_second=speed, seconds=asked.search_s, sink=sink
            )
            reasons.append(f"recipe: {why}")
        if asked.time_s:
            recipe, why = plan(
                recipe,
                rows=data.count,
                rows_per_second=speed,
                seconds=asked.time_s,
                choose_rank=not asked.search_s,
            )
            reasons.append(f"plan: {why}")
    value = {"recipe": recipe.as_dict(), "tried": [asdict(t) for t in tried], "reasons": reasons}
    atomic_files.write_atomically(settled, json.dumps(value))
    return recipe, tried, reasons


def _store(
    store: Store,
    model: Model,
    name: str,
    place: Path,
    tuned: Tuned,
    weights: Path,
    asked: TuneOptions,
    data: _Lessons,
) -> Model:
    """The merged model in 16 bit with its adapter, under ``name``."""
    shutil.rmtree(place / "adapter", ignore_errors=True)  # a run killed here may have left half a file
    adapter.save_peft(place / "adapter", tuned.factors, tuned.recipe, model.name)
    merged = place / "merged.gguf"
    adapter.merge_gguf(merged, weights, tuned.factors, tuned.recipe.scale)
    files = {
        f"{name.replace('/', '-')}.gguf": merged,
        **{file.name: file for file in (place / "adapter").iterdir()},
    }
    if not tuned.recipe.dora:
        adapter.save_gguf_adapter(place / "adapter.gguf", tuned.factors, tuned.recipe, weights)
        files["adapter.lora"] = place / "adapter.gguf"
    lineage = model.made_into(
        TunedStep(
            data=asked.files,
            rows={"train": data.count, "valid": len(data.valid) or len(data.valid_pairs)},
            method="preference (DPO)" if data.preferences else "supervised",
            canaries=asked.canaries,
            masked=asked.masked,
            recipe=tuned.recipe.as_dict(),
            best_step=tuned.history.best_step,
            made_with=machine.made_with() | (data.device.made_with() if data.device else {}),
            adapter=atomic_files.sha256_file(place / "adapter" / "adapter_model.safetensors"),
            digest=atomic_files.sha256_file(merged),
        )
    )
    stored = store.add(name, made_here(files), {"source": f"tune:{model.name}"}, licence=model.info.licence, licence_from=f"inherited from {model.name}",
                       lineage=lineage)  # fmt: skip
    merged.unlink()
    return stored
