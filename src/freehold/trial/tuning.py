"""Tuning the models that the plan holds, quantizing what was tuned, measuring and storing it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import atomic_files, machine
from freehold.core.errors import BadData, BadModel, DoesNotFit, StepFailed
from freehold.core.progress import duration
from freehold.inference.loading import predict_memory
from freehold.models.answer_form import AnswerForm
from freehold.models.intake import made_here
from freehold.models.lineage import Lineage, QuantizedStep, ShrunkStep, TunedStep
from freehold.quantization.allocation import PROBED_FILE
from freehold.quantization.quantize import Quantized
from freehold.training.tuned_files import MERGED_FILE, MERGED_FOLDER
from freehold.trial import jobs, keeping, planner, served_check
from freehold.trial.arguments import MixArguments, ShrinkArguments, TuneArguments
from freehold.trial.candidates import TriedModel
from freehold.trial.json_form import JsonObject
from freehold.trial.options import Options
from freehold.trial.results import MixResult, TuningResult
from freehold.trial.steps import OutOfTime, end_s, step_name
from freehold.trial.tuning_jobs import MIXED_FILE
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
    assert tried.tuning is not None
    return TuneArguments(
        trial.subject(tried.model),
        task=str(trial.task_file),
        recipe=tried.tuning.recipe.as_dict(),
        longest_row=tried.look.longest_row,
        country=trial.options.country,
        tuning_s=json.loads(_plan_file(trial, tried).read_text())["seconds"],
        search_s=trial.options.search_s,
        memory_bytes=tried.tuning.memory_bytes,
        merging_s=planner.TUNE_FIXED_S / 2 * tried.model.info.parameters,
    )


@dataclass(frozen=True)
class _Tuned:
    """A tuned model: how it was trained, the step's folder, and the digest of what decided it."""

    trained: TuningResult
    folder: Path
    digest: str

    @property
    def merged(self) -> Path:
        """The model in 16 bit."""
        return self.folder / MERGED_FILE


def shrink_and_measure(trial: Trial, tried: TriedModel) -> None:
    """Quantize the tuned model to each size that the plan holds, and measure each."""
    name, arguments = step_name("tune", tried.model.name), _arguments(trial, tried)
    trained = trial.steps.run(name, arguments)
    tuned = _Tuned(trained, trial.steps.place(name, arguments), atomic_files.digest_of(arguments.inputs()))
    if tried.model.info.format != "gguf":  # it could not be converted, and the report says so
        with trial.clock.part("tuned", tried.model.name, ends=True):
            _measure_folder(trial, tried, tuned)
        return
    usual = _shrink(trial, tried, tuned)
    if trial.clock.waits("mix", tried.model.name):
        _mix(trial, tried, tuned, usual.size_bytes)
    elif trial.options.mix and not tried.paced.can_be_mixed:
        why = tried.paced.unmixable or "an earlier run of this trial did not measure the speed of rounding"
        trial.notes.append(f"{tried.model.name} got no mix of types: {why}")
    trial.spare.append(tuned.merged)


def _shrink(trial: Trial, tried: TriedModel, tuned: _Tuned) -> Quantized:
    """Quantize to llama.cpp's types and measure each; the file of the usual type."""
    planned = trial.plan.part("tuned", tried.model.name) if trial.plan else None
    with trial.clock.part("tuned", tried.model.name, ends=True):
        types = types_of(trial.options)
        types = types[: int(planned.amount)] if planned else types
        arguments = ShrinkArguments(
            trial.subject(tried.model),
            task=str(trial.task_file),
            tuned=tuned.digest,
            types=types,
            source=str(tuned.merged),
        )
        name = step_name("shrink", tried.model.name)
        files = trial.steps.run(name, arguments).types
        folder = trial.steps.place(name, arguments)
        for done, kind in enumerate(types):
            limit_s = max(trial.clock.part_left() / (len(types) - done), LEAST_MEASURING_S)
            variant = _variant(tried, f"tuned, {kind}", folder / f"{kind}.gguf", files[kind], tuned)
            if (measured := trial.measure(variant, limit_s)) is not None:
                _keep(trial, tried, measured, tuned, QuantizedStep(type=kind, **_made(variant)))
        trial.spare += folder.glob("*.gguf")
        return files[types[0]]


def _mix(trial: Trial, tried: TriedModel, tuned: _Tuned, usual_bytes: int) -> None:
    """Quantize to our own mix of types, in a file no larger than the usual type's, and measure it."""
    what = f"mixed types of the tuned {tried.model.name}"
    arguments = MixArguments(
        trial.subject(tried.model),
        task=str(trial.task_file),
        tuned=tuned.digest,
        size_bytes=_mixed_bytes(trial, tried, usual_bytes),
        calibration_tokens=planner.MIX_CALIBRATION,
        positions=planner.MIX_POSITIONS,
        bands=planner.MIX_BANDS,
        source=str(tuned.merged),
    )
    name = step_name("mix", tried.model.name)
    folder = trial.steps.place(name, arguments)
    trial.spare += [folder / MIXED_FILE, folder / PROBED_FILE]
    with trial.clock.part("mix", tried.model.name) as seconds:
        if not seconds and not trial.steps.done(name, arguments):
            trial.skip(what, "earlier parts of the trial used up its time")
            return
        try:
            made = trial.steps.run(name, arguments, end_s=end_s(seconds))
        except OutOfTime:
            trial.skip(what, f"they were not made within {duration(seconds)}")
            return
        except (BadData, DoesNotFit, StepFailed) as error:
            trial.skip(what, error.message)
            return
        variant = _variant(tried, "tuned, mixed types", folder / MIXED_FILE, made.quantized, tuned)
        step = ShrunkStep(
            source=tried.model.name,
            revision=tried.model.revision,
            wish={"size_bytes": arguments.size_bytes, "calibration_rows": made.calibration_rows},
            types=made.shares,
            **_made(variant),
        )
        trial.notes.append(_mix_note(variant, made))
        limit_s = max(trial.clock.part_left(), LEAST_MEASURING_S)
        if (measured := trial.measure(variant, limit_s)) is not None:
            _keep(trial, tried, measured, tuned, step)


def _mixed_bytes(trial: Trial, tried: TriedModel, usual_bytes: int) -> int:
    """Bytes that our mix may have: those of the usual type, and fewer where a need on memory leaves less."""
    limits = [need.limit for need in trial.effective_needs()[0] if need.name == "memory"]
    _, context = trial.room(tried.model.info, tried.look)
    beside = predict_memory(replace(tried.model.info, size_bytes=0), context, jobs.AT_ONCE).total
    return max(0, min([usual_bytes, *(int(float(limit)) - beside for limit in limits)]))


def _mix_note(variant: Variant, made: MixResult) -> str:
    """What our mix holds, for the report."""
    shares = ", ".join(f"{share:.0%} {kind}" for kind, share in made.shares.items() if share >= 0.005)
    return (
        f"{variant.title}: chosen by what errors in each matrix cost on {made.calibration_rows} training "
        f"rows, {made.quantized.size_bytes / 1e6:.1f} MB; of the weights {shares}"
    )


def _made(variant: Variant) -> JsonObject:
    """What a step of the lineage says of the file and the machine that made it."""
    return {"digest": variant.digest, "made_with": machine.made_with()}


def _variant(tried: TriedModel, how: str, weights: Path, quantized: Quantized, tuned: _Tuned) -> Variant:
    variant = tried.variant(how, "tuned", weights, quantized.size_bytes)
    return replace(variant, trained=tuned.trained, digest=quantized.digest, quantized=quantized)


def _measure_folder(trial: Trial, tried: TriedModel, tuned: _Tuned) -> None:
    """Measure a tuned model that stays safetensors."""
    merged = tuned.folder / MERGED_FOLDER
    files = [file for file in sorted(merged.iterdir()) if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    digest = atomic_files.digest_of({file.name: atomic_files.sha256_file(file) for file in files})
    variant = tried.variant("tuned", "tuned", merged, size)
    trial.measure(replace(variant, trained=tuned.trained, digest=digest), trial.clock.part_left())


def _keep(
    trial: Trial, tried: TriedModel, variant: Variant, tuned: _Tuned, step: QuantizedStep | ShrunkStep
) -> None:
    """Put a tuned variant into the store, with its adapter and its lineage. ``step``: its quantization."""
    assert variant.quantized is not None
    file = Path(variant.weights)
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
        adapter = tuned.folder / "adapter"
        files = {
            f"{name.replace('/', '-')}.gguf": file,
            "adapter_config.json": adapter / "adapter_config.json",
            "adapter_model.safetensors": adapter / "adapter_model.safetensors",
            "adapter.lora": tuned.folder / "adapter.gguf",
            "task.json": trial.task_file,
        }
        stored = trial.store.add(
            name,
            made_here(files | keeping.write_form(tuned.folder, form)),
            {"source": f"trial:{trial.id}"},
            licence=tried.model.info.licence,
            licence_from=f"inherited from {tried.model.name}",
            lineage=_lineage(trial, tried, tuned.trained, step),
        )
    trial.update(variant, stored_as=name, weights=str(trial.store.weights(stored)))


def _lineage(
    trial: Trial, tried: TriedModel, trained: TuningResult, step: QuantizedStep | ShrunkStep
) -> Lineage:
    """What a tuned variant came from: its base, its tuning, its quantization."""
    tuned = TunedStep(
        trial=trial.id,
        data=trial.task.files,
        recipe=trained.recipe,
        best_step=trained.best_step,
        longest_row=tried.look.longest_row,
        plain=trial.options.plain_template,
        **trained.made,
    )
    return tried.model.made_into(tuned, step)


def _form(trial: Trial, variant: Variant) -> AnswerForm:
    """How the variant's rows were asked; an empty form, with a note, where none can hold it."""
    try:
        return served_check.form_of(trial, variant)
    except BadModel as error:
        trial.notes.append(f"{variant.title} is stored without its answer form: {error.message}")
        return AnswerForm()
