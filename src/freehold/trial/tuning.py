"""Tuning the models that the plan holds, quantizing what was tuned, measuring and storing it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import atomic_files, machine
from freehold.core.errors import BadModel, DoesNotFit
from freehold.models.answer_form import AnswerForm
from freehold.models.intake import made_here
from freehold.models.lineage import Lineage, QuantizedStep, TunedStep
from freehold.trial import keeping, planner, served_check
from freehold.trial.arguments import ShrinkArguments, TuneArguments
from freehold.trial.candidates import TriedModel
from freehold.trial.options import Options
from freehold.trial.results import TuningResult
from freehold.trial.steps import step_name
from freehold.trial.variant import Variant

if TYPE_CHECKING:
    from freehold.trial.run import Trial

#: A larger budget is worth another tuning only if that may take this many times longer.
WORTH_ANOTHER = 1.5
#: Seconds that a tuned variant is measured for at least: tuning it was for nothing otherwise.
LEAST_MEASURING_S = 5.0


def types_of(options: Options) -> tuple[str, ...]:
    """Quantization types to make, the usual choice first."""
    return tuple(sorted(options.types, key=lambda kind: kind != "Q4_K_M"))


def tune(trial: Trial) -> list[TriedModel]:
    """Tune the models that the plan holds; those that were tuned."""
    assert trial.plan is not None
    for name, tried in trial.tried.items():
        if trial.options.tune and tried.paced.untunable:
            trial.notes.append(f"{name} was not tuned: {tried.paced.untunable}")
    rows = len(trial.task.splits.train)
    if trial.options.tune and rows < planner.FEWEST_TRAINING_ROWS:
        trial.skip(
            f"{planner.TUNING}: {rows} training rows are too few", "a model would learn nothing from them"
        )
    tuned: list[TriedModel] = []
    for name in trial.plan.tuned:
        with trial.clock.part("tune", name, stretch=True) as seconds:
            if _tune_model(trial, trial.tried[name], seconds):
                tuned.append(trial.tried[name])
            else:
                trial.clock.drop("tuned", name)
    return tuned


def _tune_model(trial: Trial, tried: TriedModel, seconds: float) -> bool:
    """Settle the seconds once, keep them, and tune; whether it was."""
    model, file = tried.model, _plan_file(trial, tried)
    known = json.loads(file.read_text()) if file.exists() else None
    budget_s = trial.options.budget_s
    if known is None or (budget_s > known["budget_s"] and seconds > WORTH_ANOTHER * known["seconds"]):
        if not seconds:
            trial.skip(f"tuning of {model.name}", "earlier parts of the trial used up its time")
            return False
        atomic_files.write_atomically(file, json.dumps({"seconds": round(seconds, 1), "budget_s": budget_s}))
    try:
        trained = trial.steps.run(step_name("tune", tried.model.name), _arguments(trial, tried))
    except DoesNotFit as error:
        file.unlink()
        trial.skip(f"tuning of {model.name}", error.message)
        trial.not_tuned.append(error.message)
        return False
    trial.notes.append(f"plan for {model.name}: {trained.reason}")
    return True


def _plan_file(trial: Trial, tried: TriedModel) -> Path:
    """Where the seconds of a model's tuning are kept."""
    return trial.folder / f"{step_name('plan', tried.model.name)}.json"


def _arguments(trial: Trial, tried: TriedModel) -> TuneArguments:
    """What the step is given that tunes this model."""
    assert tried.recipe is not None
    return TuneArguments(
        trial.subject(tried.model),
        task=str(trial.task_file),
        recipe=tried.recipe.as_dict(),
        longest_row=tried.look.longest_row,
        country=trial.options.country,
        tuning_s=json.loads(_plan_file(trial, tried).read_text())["seconds"],
        merging_s=planner.TUNE_FIXED_S / 2 * tried.model.info.parameters,
    )


def shrink_and_measure(trial: Trial, tried: TriedModel) -> None:
    """Quantize the tuned model to each type that the plan holds, and measure each."""
    name, arguments = step_name("tune", tried.model.name), _arguments(trial, tried)
    trained = trial.steps.run(name, arguments)
    tuned_folder = trial.steps.place(name, arguments)
    planned = trial.plan.part("tuned", tried.model.name) if trial.plan else None
    with trial.clock.part("tuned", tried.model.name):
        if tried.model.info.format != "gguf":  # it could not be converted, and the report says so
            _measure_folder(trial, tried, tuned_folder / "merged", trained)
            return
        types = types_of(trial.options)
        types = types[: int(planned.amount)] if planned else types
        shrinking = ShrinkArguments(
            trial.subject(tried.model),
            task=str(trial.task_file),
            tuned=atomic_files.digest_of(arguments.inputs()),
            types=types,
            source=str(tuned_folder / "merged-f16.gguf"),
        )
        files = trial.steps.run(step_name("shrink", tried.model.name), shrinking).types
        folder = trial.steps.place(step_name("shrink", tried.model.name), shrinking)
        for done, kind in enumerate(types):
            limit_s = max(trial.clock.part_left() / (len(types) - done), LEAST_MEASURING_S)
            quantized, file = files[kind], folder / f"{kind}.gguf"
            variant = replace(
                _variant(tried, f"tuned, {kind}", file, quantized.size_bytes, trained),
                digest=quantized.digest,
                quantized=quantized,
            )
            measured = trial.measure(variant, limit_s)
            if measured is not None:
                _keep(trial, tried, measured, file, tuned_folder)
        trial.spare += [tuned_folder / "merged-f16.gguf", *folder.glob("*.gguf")]


def _variant(tried: TriedModel, how: str, weights: Path, size_bytes: int, trained: TuningResult) -> Variant:
    variant = tried.variant(how, "tuned", weights, size_bytes)
    return replace(variant, trained=trained)


def _measure_folder(trial: Trial, tried: TriedModel, merged: Path, trained: TuningResult) -> None:
    """Measure a tuned model that stays safetensors."""
    files = [file for file in sorted(merged.iterdir()) if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    digest = atomic_files.digest_of({file.name: atomic_files.sha256_file(file) for file in files})
    variant = replace(_variant(tried, "tuned", merged, size, trained), digest=digest)
    trial.measure(variant, trial.clock.part_left())


def _keep(trial: Trial, tried: TriedModel, variant: Variant, file: Path, tuned_folder: Path) -> None:
    """Put a tuned variant into the store, with its adapter and its lineage."""
    assert variant.quantized is not None
    name = f"{trial.task.name}/{tried.model.name.replace('/', '-')}-{variant.quantized.type.lower()}"
    form = _form(trial, variant)
    stored = keeping.stored(trial.store, name, variant.digest, form)
    if not stored and not file.exists():
        trial.notes.append(
            f"{name} was removed from the store after this trial had ended; "
            f"to make it again, remove {trial.folder} and run the trial again"
        )
        return
    if not stored:
        adapter = tuned_folder / "adapter"
        files = {
            f"{name.replace('/', '-')}.gguf": file,
            "adapter_config.json": adapter / "adapter_config.json",
            "adapter_model.safetensors": adapter / "adapter_model.safetensors",
            "adapter.lora": tuned_folder / "adapter.gguf",
            "task.json": trial.task_file,
        }
        stored = trial.store.add(
            name,
            made_here(files | keeping.write_form(tuned_folder, form)),
            {"source": f"trial:{trial.id}"},
            licence=tried.model.info.licence,
            licence_from=f"inherited from {tried.model.name}",
            lineage=_lineage(trial, tried, variant),
        )
    trial.update(variant, stored_as=name, weights=str(trial.store.weights(stored)))


def _lineage(trial: Trial, tried: TriedModel, variant: Variant) -> Lineage:
    """What a tuned variant came from: its base, its tuning, its quantization."""
    model, trained, quantized = tried.model, variant.trained, variant.quantized
    assert trained is not None
    assert quantized is not None
    return model.made_into(
        TunedStep(
            trial=trial.id,
            data=trial.task.files,
            recipe=trained.recipe,
            best_step=trained.best_step,
            longest_row=tried.look.longest_row,
            plain=trial.options.plain_template,
            **trained.made,
        ),
        QuantizedStep(type=quantized.type, digest=variant.digest, made_with=machine.made_with()),
    )


def _form(trial: Trial, variant: Variant) -> AnswerForm:
    """How the variant's rows were asked; an empty form, with a note, where none can hold it."""
    try:
        return served_check.form_of(trial, variant)
    except BadModel as error:
        trial.notes.append(f"{variant.title} is stored without its answer form: {error.message}")
        return AnswerForm()
