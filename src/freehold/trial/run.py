"""The trial from end to end: look, plan, measure as it stands, tune, shrink, measure again, time, judge,
decide.

Read :meth:`Trial.run` to follow the main job. Each step runs in a process of its own (:mod:`steps`,
:mod:`jobs`) and is done once. The plan (:mod:`planner`) says how long each part may take, and the clock
(:mod:`clock`) keeps to it. The parts that this file calls are beside it: :mod:`candidates` (which models
are tried), :mod:`tuning`, :mod:`timing`, :mod:`judging`, :mod:`trust_tests` and :mod:`renting` (the API
beside them).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, extras, machine, settings, statistics
from freehold.core.errors import DoesNotFit
from freehold.core.json_types import JsonObject
from freehold.core.progress import Sink, duration
from freehold.data.examples import Example
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Answer
from freehold.evaluation.metrics import figure_names
from freehold.inference.loading import predict_memory
from freehold.models.info import ModelInfo
from freehold.models.store import Model, Store
from freehold.runtime.cluster import Cluster, weakest
from freehold.trial import (
    candidates,
    costs,
    jobs,
    judging,
    planner,
    renting,
    served_check,
    timing,
    trust_tests,
    tuning,
)
from freehold.trial import cluster as on_cluster
from freehold.trial import task as tasks
from freehold.trial.arguments import BaselinesArguments, MeasureArguments, PaceArguments, Subject
from freehold.trial.baselines import Baseline
from freehold.trial.candidates import TriedModel, choose_models
from freehold.trial.choice import FEWEST_CHOICE_ROWS, TEST, VALIDATION, Choice
from freehold.trial.clock import Clock
from freehold.trial.engine_hold import hold_engine
from freehold.trial.looks import Look
from freehold.trial.options import ADDED, FREE, Options
from freehold.trial.planner import Plan, Work
from freehold.trial.report_record import Report
from freehold.trial.requirements import Requirement, Terms, check_names, parse_need, terms_of
from freehold.trial.results import LookResult, MeasureResult, PartialResult
from freehold.trial.steps import Call, OutOfTime, Steps, end_s, step_name
from freehold.trial.task import Task
from freehold.trial.variant import Rows, Selection, Variant
from freehold.trust.gate import Say, permit_models, permit_rows, quiet

__all__ = ["Options", "Trial", "choose_models", "too_little"]

#: Training rows that are tried for what comes out of a tuned model.
PRIVACY_ROWS = 128
#: Is shown the plan before anything is measured, and returns the budget to go by. Raises DoesNotFit to stop.
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
    """One trial: its folder, its clock, its steps, and what has been measured so far."""

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
        cluster: Cluster | None = None,
    ):
        """``override``: the reason for going against the policy. ``cluster``: does the steps. Raises
        PolicyDenied where the policy does not allow tuning.
        """
        if options.tune:
            extras.need("torch", "tuning (which --no-tune leaves out)")
            permit_models(store, "tune", models, override, say)
            permit_rows(task.splits.train, "mask them first (freehold mask), or pass --no-tune")
        self.store, self.task, self.models, self.options = store, task, models, options
        self.id = _id(task, models, options)
        self.folder = settings.home() / "trials" / self.id
        self.folder.mkdir(parents=True, exist_ok=True)
        self.task_file = self.folder / "task.json"
        self.clock = Clock(options.budget_s, sink)
        self.cluster = cluster
        self.steps = self.make_steps()
        self.sink = self.clock.relay
        self.needs = [parse_need(text) for text in options.needs]
        check_names(self.needs, figure_names(task.metric))
        self.machine = machine.look() if cluster is None else weakest([n.machine for n in cluster.nodes()])
        #: bytes of memory that a model may take
        self.memory = options.memory_bytes or self.machine.usable_bytes
        self.plan: Plan | None = None
        #: the models that can take the task, by name, the smallest first
        self.tried: dict[str, TriedModel] = {}
        #: what was measured, in this order; see :meth:`update`
        self.variants: list[Variant] = []
        #: answers to test rows, by variant
        self.answers: dict[str, list[Answer]] = {}
        #: answers to validation rows, by variant
        self.chosen_by: dict[str, list[Answer]] = {}
        self.choice = Choice((), TEST)
        self.look, self.terms = Look(1), Terms()
        self.served: served_check.ServedCheck | None = None
        self.baselines: tuple[Baseline, ...] = ()
        #: sentences on what was decided on the way
        self.notes: list[str] = []
        #: what was not done for lack of time or memory, as phrases for the verdict
        self.left_out: list[str] = []
        #: ids of rows that are too long for a model, by its name
        self.left_out_rows: dict[str, tuple[str, ...]] = {}
        #: why a model that the plan would tune was not
        self.not_tuned: list[str] = []
        #: weights that the store holds too, or that can be made from what it holds: removed at the end
        self.spare: list[Path] = []

    # -- the job ----------------------------------------------------------------------------

    def run(self, agree: Agree = _agreed) -> Report:
        """The report, which is written into the trial's folder too. Raises FreeholdError; finished steps
        stay.
        """
        from freehold.trial.report import write_reports
        from freehold.trial.summary import summarise

        with atomic_files.locked(self.folder / "lock", f"this trial ({self.id})"):
            if held := hold_engine(self.folder):
                self.notes.append(held)
            if not self.task_file.exists():
                tasks.save(self.task, self.task_file)
            self.models = [candidates.as_gguf(self, model) for model in self.models]
            self.tried = candidates.look_at_rows(self)
            self.baselines = self._baselines()
            self._make_plan(agree)
            if self.cluster is not None:
                on_cluster.work_ahead(self)
            self.measure_as_is()
            for tuned in tuning.tune(self):
                tuning.shrink_and_measure(self, tuned)
            if self.cluster is not None:
                on_cluster.time_ahead(self)
            timing.time_variants(self)
            self.choice = judging.choice_of(self)
            self.look, self.terms = judging.judge(self)
            self.served = served_check.check(self, self.variant(self.choice.variant))
            if self.served is not None and planner.SERVED_CHECK in self.left_out:
                self.left_out.remove(planner.SERVED_CHECK)  # there was time for it after all
            if self.options.rival_file or self.options.rival_endpoint:
                renting.measure_rival(self)
            self._count_costs()
            trust_tests.test(self)
            if late := self.clock.late():
                self.notes.append(late)
            if self.cluster is not None and (left := self.cluster.forget(self.id)):
                self.notes.append(
                    f"rows and models may still be on {', '.join(left)}, where they could not be removed; "
                    f"remove the folder cluster/{self.id} of the home there"
                )
            report = write_reports(self.folder, summarise(self))
            for path in self.spare:
                path.unlink(missing_ok=True)
            return report

    def make_steps(self) -> Steps:
        """The steps of this trial, by its clock: in processes here, or on the cluster."""
        if self.cluster is None:
            return Steps(self.folder / "steps", self.clock.relay, self.clock.replay)
        return on_cluster.ClusterSteps(self.folder / "steps", self.clock, self.cluster, self.id)

    def _baselines(self) -> tuple[Baseline, ...]:
        """What a person would try first, measured in seconds before any model."""
        task = self.task
        arguments = BaselinesArguments(
            task.files,
            task.metric_name,
            task.mapping,
            task.labels,
            task.unknown_label,
            self.options.tune,
            self._rows_left_out,
            task=str(self.task_file),
        )
        return self.steps.run("baselines", arguments).baselines

    def _count_costs(self) -> None:
        """What each timed variant costs beside the API, by its answers to test rows, else to the rows that
        it was chosen by.
        """
        rival = next((variant for variant in self.variants if variant.rival), None)
        hidden = rival.mean_reasoning_tokens if rival else None
        for variant in list(self.variants):
            if variant.running:
                answers = self.answers.get(variant.id) or self.chosen_by[variant.id]
                self.update(variant, money=costs.money_of(self.options.costs, variant, answers, hidden))

    # -- the plan ---------------------------------------------------------------------------

    def _make_plan(self, agree: Agree) -> None:
        """Measure how fast the models are here, and lay out what the budget holds."""
        plan = self._earlier_plan()
        self._measure_paces(again=plan is None)
        if plan is None:
            speeds, work = [tried.paced for tried in self.tried.values()], self._work()
            plan = planner.plan(self.options.budget_s, self.clock.spent(), speeds, work)
            budget = agree(plan)
            if budget != plan.budget_s:
                plan = planner.plan(budget, self.clock.spent(), speeds, work)
            atomic_files.write_atomically(self.folder / "plan.json", json.dumps(plan.as_dict()))
        self.options = replace(self.options, budget_s=plan.budget_s)
        self.plan = plan
        self.clock.follow(plan)
        self.left_out += plan.left_out

    def _measure_paces(self, *, again: bool) -> None:
        """Measure each model's speeds; ``again`` though an earlier run did: speeds of a moment long past
        say little.
        """
        fits = {name: candidates.tuning_fit(self, tried) for name, tried in self.tried.items()}
        calls = [
            Call(
                step_name("pace", name),
                PaceArguments(
                    self.subject(tried.model),
                    task=str(self.task_file),
                    tuned=self.options.tune and not fits[name].untunable,
                ),
                again=(lambda _: True) if again else None,
            )
            for name, tried in self.tried.items()
        ]
        for (name, tried), measured in zip(list(self.tried.items()), self.steps.run_all(calls), strict=True):
            fit = fits[name]
            if measured.note:
                self.notes.append(f"{name}: {measured.note}; the plan rests on these speeds")
            speed = candidates.speed_of(self, tried, measured.pace, fit.untunable)
            self.tried[name] = replace(tried, tuning=fit, speed=speed)

    def _work(self) -> Work:
        """What is to be done, for the plan."""
        splits, needs = self.task.splits, self.effective_needs()[0]
        first = terms_of(needs, statistics.alpha_of_look(1), statistics.alpha_of_look(2))
        return Work(
            train_rows=len(splits.train),
            choice_rows=len(self.rows_of(self.chosen_on)),
            test_rows=0 if self.chosen_on == TEST else len(self.task.test),
            tune=self.options.tune,
            types=tuning.types_of(self.options),
            safety_prompts=len(trust_tests.prompts(self.options)),
            privacy_rows=PRIVACY_ROWS,
            latency_rows=min(self.options.latency_rows, len(splits.test)),
            waits=judging.waits_for(needs, first),
            search_s=self.options.search_s,
            mix=self.options.mix,
        )

    def _earlier_plan(self) -> Plan | None:
        """The plan that an earlier run of the same command made, so that this one goes on by it."""
        file = self.folder / "plan.json"
        plan = Plan.from_dict(json.loads(file.read_text())) if file.exists() else None
        return plan if plan and plan.budget_s == self.options.budget_s else None

    # -- what is known and what is asked ------------------------------------------------------

    @cached_property
    def chosen_on(self) -> Rows:
        """The rows that a variant is chosen on: validation, or test where there are too few of them."""
        return VALIDATION if len(self.rows_of(VALIDATION)) >= FEWEST_CHOICE_ROWS else TEST

    def rows_of(self, split: Rows) -> tuple[Example, ...]:
        """The rows that choose, as many as are enough, or those that judge."""
        return jobs.rows_of(self.task, split, tuned=self.options.tune, shots=self.options.shots)

    @property
    def _rows_left_out(self) -> tuple[str, ...]:
        """Ids of the rows that are too long for a model, in order."""
        return tuple(sorted({row for rows in self.left_out_rows.values() for row in rows}))

    def subject(self, model: Model, weights: Path | None = None) -> Subject:
        """The task and a model, for a step; ``weights`` where they are not the model's own."""
        return Subject(
            self.task.files,
            self.task.metric_name,
            self.task.mapping,
            model.revision,
            model.name,
            self.options.plain_template,
            self._rows_left_out,
            weights=str(weights or self.store.weights(model)),
            card=model.info.as_dict(),
        )

    def variant(self, name: str) -> Variant:
        """The variant with this id, as it is now known."""
        return next(variant for variant in self.variants if variant.id == name)

    def update(self, variant: Variant, **changes: Any) -> Variant:
        """Replace what is known of a variant; ``changes``: fields of it, the others stay as they are now
        known.
        """
        number = next(n for n, known in enumerate(self.variants) if known.id == variant.id)
        self.variants[number] = replace(self.variants[number], **changes)
        return self.variants[number]

    def model_of(self, variant: Variant) -> TriedModel:
        """The model that a variant stands on."""
        return self.tried[variant.model]

    def effective_needs(self) -> tuple[list[Requirement], str]:
        """The needs that decide, and a sentence where they are defaults."""
        if self.needs:
            return self.needs, ""
        texts = [f"{self.task.metric.name}>=0.8", f"memory<={self.memory / 2**30:.2f}GiB"]
        return [parse_need(text) for text in texts], "no --need was given, so these defaults decide"

    def skip(self, what: str, why: str) -> None:
        """Say that something was left out."""
        if what not in self.left_out:  # the plan may have left it out, and said so
            self.left_out.append(what)
        self.notes.append(f"{what} was skipped: {why}")

    def grown(self, result: PartialResult) -> bool:
        """Whether a part that its time cut short goes on: the budget is larger now."""
        return not result.complete and self.options.budget_s > result.budget_s

    # -- measuring --------------------------------------------------------------------------

    def measure_as_is(self) -> None:
        """Zero-shot and few-shot of every model that the plan holds."""
        for tried in self.tried.values():
            name = tried.model.name
            shots = self.shots(tried.model, tried.look)
            if not shots:
                self.notes.append(
                    f"{name} few-shot was not measured: no room for a worked example in its context"
                )
            for how, examples in (("zero-shot", ()), ("few-shot", shots)):
                planned = self.clock.waits(how, name)
                with self.clock.part(how, name, ends=True) as seconds:
                    if seconds:
                        self.measure(self._as_is_variant(tried, how, examples), seconds)
                    elif planned:
                        self.skip(f"{name} {how}", "earlier parts of the trial used up its time")

    def _as_is_variant(self, tried: TriedModel, how: str, shots: tuple[str, ...]) -> Variant:
        size, weights = tried.model.info.size_bytes, self.store.weights(tried.model)
        variant = tried.variant(how, "as is", weights, size)
        return replace(variant, shots=shots, stored_as=tried.model.name)

    def shots(self, model: Model, look: LookResult) -> tuple[str, ...]:
        """Ids of the worked examples that this model has room for."""
        row = max(look.long_row, 1)
        room = int((model.info.context_length - look.longest_prompt - look.max_tokens) // row) - 1
        count = max(0, min(self.options.shots, room, int(1024 // row) or 1))
        examples = measurement.pick_shots(self.task.splits.train, self.task.labels, count)
        return tuple(example.id for example in examples)

    def measure(self, variant: Variant, limit_s: float) -> Variant | None:
        """Measure a new variant on the rows that choose; None, with a note, where no answer came in
        ``limit_s`` seconds.
        """
        result = self._answer(variant, self.chosen_on, limit_s)
        if result is None:
            return None
        if self.chosen_on == VALIDATION:
            variant = replace(variant, selection=Selection(result.figures, result.rows, result.of_rows))
        self.variants.append(variant)
        return self.update(variant, **_measured(result, self.chosen_on))

    def measure_on_test(self, variant: Variant, limit_s: float) -> Variant:
        """Measure a variant on the test rows for at most ``limit_s`` seconds, as far as that is not done;
        what is known of it then.
        """
        if variant.on_test and variant.rows == variant.of_rows:
            return variant
        result = self._answer(variant, TEST, limit_s)
        return variant if result is None else self.update(variant, **_measured(result, TEST))

    def _answer(self, variant: Variant, split: Rows, limit_s: float) -> MeasureResult | None:
        """Have a variant answer the rows of ``split`` and keep the answers; None, with a note, where no row
        was answered.
        """
        arguments = self._measuring(variant, split, limit_s)
        name = f"{step_name('measure', variant.id)}-{split}"
        try:
            result = self.steps.run(name, arguments, end_s=end_s(limit_s), again=self.grown)
        except OutOfTime:
            answers = jobs.read_answers(self.steps.place(name, arguments))
            if not answers:
                why = f"no row was answered within {duration(limit_s)}"
                self.skip(f"measuring {arguments.title}", why)
                return None
            partial = jobs.measured(
                self.task, self.rows_of(split), answers, budget_s=self.options.budget_s, digest=variant.digest
            )
            result = self.steps.keep(name, arguments, partial)
        entries = self.answers if split == TEST else self.chosen_by
        entries[variant.id] = jobs.read_answers(self.steps.place(name, arguments))
        return result

    def _measuring(self, variant: Variant, split: Rows, limit_s: float) -> MeasureArguments:
        """What the step is given that has a variant answer rows."""
        tried = self.model_of(variant)
        # a worked example is about as long as a row
        shown = int(tried.look.long_row * len(variant.shots))
        parallel, context = self.room(tried.model.info, tried.look, shown)
        on_validation = split == VALIDATION
        return MeasureArguments(
            self.subject(tried.model, Path(variant.weights)),
            task=str(self.task_file),
            weights_digest=variant.digest,
            shots=variant.shots,
            max_tokens=tried.look.max_tokens,
            split=split,
            parallel=parallel,
            context=context,
            most_shots=self.options.shots if on_validation else None,
            tune=self.options.tune if on_validation else None,
            title=variant.title + (", test rows" if split == TEST != self.chosen_on else ""),
            limit_s=limit_s,
            budget_s=self.options.budget_s,
            row_s=tried.paced.row_s(shots=bool(variant.shots), tuned=variant.kind == "tuned"),
            prefix_s=(tried.paced.prefix_tokens + shown) / tried.paced.pace.prompt_tokens_per_s,
        )

    def room(self, info: ModelInfo, look: LookResult, shots_tokens: int = 0) -> tuple[int, int]:
        """(parallel answers, tokens of context) that fit the memory allowed. Raises DoesNotFit."""
        row = look.longest_prompt + look.max_tokens + 8
        for parallel in (32, 16, 8, 4, 2, 1):
            context = min(shots_tokens + row * min(parallel, 16), 32768)
            context = max(-(-context // 256) * 256, shots_tokens + row)
            if predict_memory(info, context, parallel).total <= self.memory:
                return parallel, context
        raise DoesNotFit(
            f"the task's longest row does not fit {self.memory / 2**30:.2f} GiB with {info.parameters:,} "
            "parameters",
            "raise --memory",
        )


def _id(task: Task, models: list[Model], options: Options) -> str:
    """The digest of what decides a trial, so that the same command finds its own finished steps."""
    decisive = {key: value for key, value in asdict(options).items() if key not in FREE}
    for key in ADDED:
        if decisive[key] == getattr(Options(), key):
            del decisive[key]
    return atomic_files.digest_of(
        {
            "task_version": tasks.VERSION,
            "files": task.files,
            "models": [model.revision for model in models],
            "options": decisive,
            "metric": task.metric_name,
            "columns": task.mapping,
            "labels": task.labels,
            "unknown_label": task.unknown_label,
        }
    )[:12]


def _measured(result: MeasureResult, split: Rows) -> JsonObject:
    """The fields of a variant that a measurement fills."""
    return {
        "figures": result.figures,
        "measured_on": split,
        "rows": result.rows,
        "of_rows": result.of_rows,
        "rows_per_second": result.rows_per_second,
        "mean_prompt_tokens": result.mean_prompt_tokens,
        "mean_answer_tokens": result.mean_answer_tokens,
        "measuring_seconds": result.seconds,
    }
