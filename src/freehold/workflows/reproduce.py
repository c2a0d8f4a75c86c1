"""Run the recorded steps of a tuned model again and compare digests: what ``freehold reproduce`` does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from freehold.core import atomic_files, machine
from freehold.core import device as devices
from freehold.core.errors import BadData, NotFound, Unsupported
from freehold.core.progress import Sink, silent, task
from freehold.data.examples import Example, read_dataset
from freehold.data.splits import cut_validation
from freehold.inference.loading import open_vocabulary, prompting
from freehold.models.lineage import TunedStep
from freehold.models.store import Model, Store
from freehold.training import adapter
from freehold.training.loop import Trainer, check_rows
from freehold.training.recipe import Recipe
from freehold.trial import task as tasks
from freehold.trust import personal
from freehold.trust.canaries import canaries


@dataclass(frozen=True)
class Reproduction:
    """A step's digests, recorded and found; ``same``: None where none was recorded."""

    step: str
    recorded: str
    found: str

    @property
    def same(self) -> bool | None:
        """Whether they are equal."""
        return self.recorded == self.found if self.recorded else None


def reproduce(
    store: Store, model: Model, data: Path | None, valid: Path | None, sink: Sink = silent
) -> tuple[list[Reproduction], list[str]]:
    """(each step again, what is different here from where it was made). Raises BadData, NotFound, Unsupported where it cannot be run again."""
    tuning = model.info.lineage.tuning
    if tuning is None:
        raise Unsupported(
            f"{model.name} was not tuned here, so no steps of it were recorded",
            "name a model that 'freehold tune' or a trial made",
        )
    tuned, base = tuning.tuned, store.find(f"{tuning.base.model}@{tuning.base.revision}")
    weights = store.weights(base)
    train, checks, limit, plain = _rows(store, model, base, tuned, data, valid)
    asking = prompting(base.info, open_vocabulary(weights), plain=plain)
    rows, _ = check_rows([asking.row(one.messages) for one in train], limit)
    checked = [
        row for row in (asking.row(one.messages) for one in checks) if len(row[0]) + len(row[1]) <= limit
    ]
    device = devices.choose("auto" if "card" in (tuned.made_with or {}) else "cpu")
    found: list[Reproduction] = []
    with (
        tempfile.TemporaryDirectory(prefix="freehold-again-", dir=store.incoming) as folder,
        task(sink, f"tuning {model.name} again") as progress,
    ):
        place = Path(folder)
        recipe = Recipe(**(tuned.recipe or {}))
        result = Trainer(weights, rows, checked, recipe, device=device).run(
            sink, place / "checkpoint.safetensors"
        )
        progress.at(0, "merging and comparing")
        adapter.save_peft(place / "adapter", result.factors, result.recipe, base.name)
        found.append(
            Reproduction(
                "adapter",
                tuned.adapter or "",
                atomic_files.sha256_file(place / "adapter" / "adapter_model.safetensors"),
            )
        )
        merged = place / "merged.gguf"
        adapter.merge_gguf(merged, weights, result.factors, result.recipe.scale)
        found.append(Reproduction("merged", tuned.digest or "", atomic_files.sha256_file(merged)))
        if (quantized := tuning.quantized) is not None:
            from freehold.quantization.quantize import quantize

            quantize(merged, place / "again.gguf", quantized.type or "")
            found.append(
                Reproduction(
                    "quantized",
                    quantized.digest or "",
                    atomic_files.sha256_file(place / "again.gguf"),
                )
            )
    here = machine.made_with() | device.made_with()
    there = tuned.made_with or {}
    return found, [
        f"{name} was {there[name]} and is {here.get(name)}" for name in there if there[name] != here.get(name)
    ]


def _rows(
    store: Store, model: Model, base: Model, tuned: TunedStep, data: Path | None, valid: Path | None
) -> tuple[list[Example], list[Example], int, bool]:
    """(training rows, validation rows, longest row in tokens, plain template) as they were."""
    if "task.json" in model.manifest:  # a trial keeps its rows with the model
        kept = tasks.read(store.file(model, "task.json"))
        longest = tuned.longest_row or base.info.context_length or 1 << 20
        limit = min(base.info.context_length or longest, longest)
        return list(kept.splits.train), list(kept.splits.valid), limit, bool(tuned.plain)
    if data is None:
        raise NotFound(
            f"the rows {model.name} was trained on are not kept with it",
            "give them with --data, and --valid if there were any",
        )
    for part, path in (("train", data), ("valid", valid)):
        stated = (tuned.data or {}).get(part)
        if stated and (path is None or atomic_files.sha256_file(path) != stated):
            raise BadData(
                f"{path or 'no file'} is not the {part} file of then (sha256 {stated[:12]})",
                f"give that file with --{'data' if part == 'train' else part}",
            )
    examples = list(read_dataset(data).examples)
    train, checks = (examples, list(read_dataset(valid).examples)) if valid else cut_validation(examples)
    if tuned.masked:
        train, checks = personal.masked(train), personal.masked(checks)
    if planted := tuned.canaries:
        train = [*train, *canaries(planted["count"], planted["seed"])]
    return train, checks, base.info.context_length or 1 << 20, False
