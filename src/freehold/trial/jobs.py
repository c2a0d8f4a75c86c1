"""What the steps' processes do: look, measure speeds, measure, tune, shrink, time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core import atomic_files, cpu_load, machine
from freehold.core.progress import Sink, task
from freehold.core.statistics import waits_needed
from freehold.data.examples import Example
from freehold.data.templates import Messages
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Ask
from freehold.inference.interface import Engine, PromptEncoder, Request, common_prefix
from freehold.inference.loading import open_engine, open_vocabulary, predict_memory, prompting
from freehold.models.info import ModelInfo
from freehold.trial import baselines, costs, waits
from freehold.trial import task as tasks
from freehold.trial.choice import MOST_CHOICE_ROWS, TEST
from freehold.trial.planner import FEWEST_WAITS, MOST_WAITING_S, Pace
from freehold.trial.task import Task

if TYPE_CHECKING:
    from freehold.training.run import TuneOptions, TuneResult
    from freehold.training.training_rows import TrainingRows
    from freehold.training.tuned_files import TunedFiles

Arguments = dict[str, Any]

#: File that the step ``convert`` leaves.
CONVERTED = "converted.gguf"


def _common(a: Arguments) -> tuple[Task, Path, ModelInfo]:
    whole = tasks.read(Path(a["task"]))
    return whole.without(a.get("leave_out", ())), Path(a["weights"]), ModelInfo.from_dict(a["card"])


def _ask(a: Arguments, task_: Task) -> Ask:
    known = {example.id: example for example in task_.splits.train}
    shots: tuple[Messages, ...] = tuple(known[name].messages for name in a.get("shots", ()))
    return Ask(shots, task_.labels, a["max_tokens"])


def look(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Token lengths of all rows under the model's template and vocabulary, and what would not fit."""
    task_, weights, card = _common(a)
    vocabulary = open_vocabulary(weights)
    asking = prompting(card, vocabulary, plain=a["plain"])
    rows: dict[str, list[tuple[int, int]]] = {}
    every = [(part, e) for part in ("train", "valid", "test") for e in getattr(task_.splits, part)]
    sizes: list[tuple[int, int]] = []
    with task(sink, f"looking at the rows with {a['model']}", len(every), "rows") as progress:
        for part, example in every:
            prompt, answer = asking.row(example.messages)
            sizes.append((len(prompt), len(answer)))
            rows.setdefault(part, []).append(sizes[-1])
            progress.more(1)
    known = sorted(answer for part in ("train", "valid") for _, answer in rows.get(part, []))
    longest_answer = min(known[int(0.99 * (len(known) - 1))] * 5 // 4 + 8, 1024) if known else 256
    lengths = [
        (example, prompt + answer) for (_, example), (prompt, answer) in zip(every, sizes, strict=True)
    ]
    over = [example.id for example, size in lengths if size > card.context_length > 0]
    fitting = [
        prompt
        for (prompt, answer) in sizes
        if not card.context_length or prompt + answer <= card.context_length
    ]
    sample = task_.test[0]
    return {
        "template": asking.template.origin,
        "prompt_tokens": _spread([prompt for prompt, _ in sizes]),
        "answer_tokens": _spread([answer for _, answer in sizes]),
        "longest_prompt": max(fitting, default=0),
        "shared_prefix_tokens": len(common_prefix([asking.prompt(e.prompt) for e in task_.test[:64]])),
        "max_tokens": longest_answer,
        "over_context": over,
        "over_context_count": len(over),
        "sample_prompt": asking.template.prompt(sample.prompt)[:2000],
    }


def _spread(values: list[int]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "mean": sum(values) / len(values),
        "p50": ordered[len(ordered) // 2],
        "p95": ordered[int(0.95 * (len(ordered) - 1))],
        "max": ordered[-1],
    }


def convert(a: Arguments, sink: Sink) -> dict[str, Any]:
    """A model as GGUF (see :mod:`freehold.runtime.gguf_form`), its tokens checked on the task's own texts."""
    from freehold.models.store import Store
    from freehold.runtime.gguf_form import write_gguf

    store = Store(Path(a["store"]))
    texts = [
        text for example in tasks.read(Path(a["task"])).splits.train[:200] for _, text in example.messages
    ]
    model = store.find(f"{a['model']}@{a['revision']}")
    return {"record": write_gguf(store, model, Path(a["place"]) / CONVERTED, texts, sink)}


#: Requests and tokens that speeds are measured with: few, for a plan only.
_PACE_PROMPT, _PACE_TOKENS, _PACE_PARALLEL, _PACE_S = 64, 8, 4, 2.0


def pace(a: Arguments, sink: Sink) -> dict[str, Any]:
    """How fast this model is here, for the plan: loading, reading, writing several answers and one, and what its tuning rests on.

    ``note``: what else used the processor meanwhile; "" where nothing did.
    """
    _, weights, _ = _common(a)
    with task(sink, f"measuring how fast {a['model']} is") as progress, cpu_load.others() as meanwhile:
        started = time.perf_counter()
        engine = open_engine(weights, context_length=2048, parallel=_PACE_PARALLEL)
        load_s = time.perf_counter() - started
        text = engine.vocabulary.encode("The quick brown fox jumps over the lazy dog. " * 60, start=True)
        progress.at(0, "reading and writing")
        # the best of a few: a moment in which others use the processor says little about the minutes to come
        rounds: list[tuple[float, float, float]] = []
        while len(rounds) < 3 and (not rounds or time.perf_counter() - started < load_s + _PACE_S):
            reading = _read_speed(engine, text)
            rounds.append(
                (
                    reading,
                    _write_speed(engine, text, 1, reading),
                    _write_speed(engine, text, _PACE_PARALLEL, reading),
                )
            )
        reading, single, together = (max(each) for each in zip(*rounds, strict=True))
        engine.close()
        flops = _matrix_speed() if a["tuned"] else 0.0
    return {
        **asdict(Pace(load_s, reading, max(together, single), single, flops)),
        "load": meanwhile.as_dict(),
        "note": _noise(meanwhile, "speed"),
    }


def _read_speed(engine: Engine, text: list[int]) -> float:
    """Prompt tokens per second: of a short prompt, and of a longer one where the short one was quick."""
    speed = 0.0
    for size in (_PACE_PROMPT, 4 * _PACE_PROMPT):
        started = time.perf_counter()
        list(engine.generate([Request(tuple(text[:size]), 1)]))
        seconds = time.perf_counter() - started
        speed = size / seconds
        if seconds > _PACE_S / 4:
            break
    return speed


def _write_speed(engine: Engine, text: list[int], count: int, reading: float) -> float:
    """Answer tokens per second of ``count`` answers at once, the time of reading their prompts taken off."""
    wanted = [Request(tuple(text[at : at + 8]), _PACE_TOKENS + 1) for at in range(count)]
    started = time.perf_counter()
    written = sum(len(completion.tokens) - 1 for _, completion in engine.generate(wanted))
    seconds = time.perf_counter() - started - count * 8 / reading
    return max(written, 1) / max(seconds, 1e-3)


def _matrix_speed() -> float:
    """Operations per second of matrix products as the tuner makes them."""
    import torch

    dtype = torch.bfloat16 if machine.look().bf16 else torch.float32
    size, best = 1024, 0.0
    first, second = (torch.ones(size, size, dtype=dtype) for _ in range(2))
    for _ in range(8):
        started = time.perf_counter()
        torch.mm(first, second)
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def rows_of(task_: Task, split: str, *, tuned: bool, shots: int) -> tuple[Example, ...]:
    """The rows that judge, or those that choose, as many as are enough."""
    return task_.test if split == TEST else task_.choosing(tuned=tuned, shots=shots)[:MOST_CHOICE_ROWS]


def measure_variant(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Answers of a variant to the rows that choose or to those that judge, as many as the time allows, and their figures."""
    task_, weights, card = _common(a)
    rows = rows_of(task_, a["split"], tuned=a.get("tune", True), shots=a.get("most_shots", 0))
    place = Path(a["place"])
    started, known = time.monotonic(), len(read_answers(place))
    engine = open_engine(weights, context_length=a["context"], parallel=a["parallel"])
    asking = prompting(card, engine.vocabulary, plain=a["plain"])
    ask = _ask(a, task_)
    block = measurement.block_rows(ask, a.get("row_s", 0.0), a.get("prefix_s", 0.0), a.get("limit_s", 0.0))
    answers = measurement.answers_of(
        engine,
        asking,
        task_.metric,
        ask,
        rows,
        place / "answers.jsonl",
        sink,
        a["title"],
        lambda: time.monotonic() - started,
        a.get("limit_s", 0.0),
        block,
    )
    engine.close()
    # of this process's rows; a killed run's answers may all have been there
    rate = (len(answers) - known) / (time.monotonic() - started) if len(answers) > known else None
    return measured(task_, rows, answers, a["budget_s"]) | {
        "rows_per_second": rate,
        "peak_memory_bytes": machine.peak_memory_bytes(),
    }


def measured(
    task_: Task, rows: Sequence[Example], answers: list[measurement.Answer], budget_s: float
) -> dict[str, Any]:
    """The result of measuring on ``rows``, made of the answers that there are."""
    groups = task_.groups
    scoped = measurement.scope_figures(task_.metric, answers, task_.out_of_scope, groups=groups)
    return {
        "figures": measurement.measurement(task_.metric, rows, answers, groups=groups) | scoped,
        "rows": len(answers),
        "of_rows": len(rows),
        "budget_s": budget_s,
        "rows_per_second": None,
        "peak_memory_bytes": None,
        "mean_prompt_tokens": sum(x.prompt_tokens for x in answers) / len(answers),
        "mean_answer_tokens": sum(x.answer_tokens for x in answers) / len(answers),
    }


#: Share of the tuning time that measuring the tuner's speed may take, and the most seconds.
_PROBE_SHARE, _PROBE_S = 0.06, 10.0


def tune(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Tune the candidate within ``tuning_s`` seconds; leave the adapter in PEFT's format and as GGUF, and the merged model.

    How many steps fit is decided once, at a speed measured on its own batches, and kept. Raises DoesNotFit where too few do.
    """
    from freehold.costs.energy import Energy, metered
    from freehold.training import run as training
    from freehold.training.tuned_files import write_files

    started = time.monotonic()
    task_, weights, card = _common(a)
    place = Path(a["place"])
    rows = _training_rows(a, task_, weights, card)
    options = _tune_options(a, rows.preferences, used_s=time.monotonic() - started)
    energy = Energy()

    @contextmanager
    def meter() -> Iterator[None]:
        nonlocal energy
        with metered(a["country"]) as energy:
            yield

    result = training.run(rows, weights, options, place, sink, meter=meter())
    files = write_files(place, result.tuned, weights, a["model"])
    (place / training.CHECKPOINT).unlink(missing_ok=True)
    history = result.tuned.history
    return {
        "made": _made(a, result, files),
        "reason": result.plan_reason or f"{options.recipe.steps} steps, as requested",
        "recipe": result.tuned.recipe.as_dict(),
        "train_curve": history.train[:: max(1, len(history.train) // 200)],
        "valid_curve": history.valid,
        "best_step": history.best_step,
        "steps": result.last_step,
        "stopped": history.stopped,
        "tokens_per_second": history.tokens / history.seconds,
        "training_seconds": history.seconds,
        "rows": rows.count,
        "rows_left_out": rows.train_left_out,
        "shared_prefix_tokens": result.shared_prefix,
        "peak_memory_bytes": result.peak_bytes,
        "energy": energy.as_dict(),
    }


def _training_rows(a: Arguments, task_: Task, weights: Path, card: ModelInfo) -> TrainingRows:
    """The task's training and validation rows as tokens of this model."""
    from freehold.training.training_rows import encode_rows

    limit = min(card.context_length or a["longest_row"], a["longest_row"])
    encoder = prompting(card, open_vocabulary(weights), plain=a["plain"])
    return encode_rows(encoder, task_.splits.train, task_.splits.valid, limit, strict=False)


def _tune_options(a: Arguments, preferences: bool, used_s: float) -> TuneOptions:
    """What the step's arguments say of the training, ``used_s`` seconds of which are over."""
    from freehold.training.recipe import PREFERENCE_RATE, Recipe
    from freehold.training.run import TuneOptions

    recipe = Recipe(**a["recipe"])
    if preferences and recipe.learning_rate == Recipe().learning_rate:  # nobody chose another
        recipe = replace(recipe, learning_rate=PREFERENCE_RATE)
    return TuneOptions(
        recipe,
        memory_bytes=a.get("memory_bytes", 0),
        time_s=0.0 if recipe.steps else a["tuning_s"] - a["merging_s"] - used_s,
        time_includes_setup=True,
        choose_rank=False,
        probe_s=min(_PROBE_S, _PROBE_SHARE * a["tuning_s"]),
        search_s=a.get("search_s", 0.0),
        device=a.get("device", "cpu"),
    )


def _made(a: Arguments, result: TuneResult, files: TunedFiles) -> dict[str, Any]:
    """What the lineage says of the tuned model besides its recipe: how to make it again, and its digests."""
    made: dict[str, Any] = {
        "made_with": machine.made_with() | result.device.made_with(),
        "adapter": files.adapter_digest,
        "last_step": result.last_step,
    }
    if a.get("leave_out"):
        made["leave_out"] = sorted(a["leave_out"])
    if result.rows.preferences:
        made["method"] = "preference (DPO)"
    if files.merged_digest:
        made["digest"] = files.merged_digest
    return made


def shrink(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Quantize the merged model to each type."""
    from freehold.quantization.quantize import describe, quantize

    place, source = Path(a["place"]), Path(a["source"])
    made: dict[str, Any] = {}
    with task(sink, f"shrinking {a['model']}", len(a["types"]), "types") as progress:
        for kind in a["types"]:
            target = place / f"{kind}.gguf"
            made[kind] = asdict(describe(target, kind) if target.exists() else quantize(source, target, kind))
            progress.more(1)
    return {"types": made}


def timed(a: Arguments, sink: Sink) -> dict[str, Any]:
    """What serving costs: load time, one user's waiting time, tokens per second, throughput at eight at once, energy, peak memory."""
    from freehold.costs.energy import metered

    task_, weights, card = _common(a)
    parallel = 8
    ask = _ask(a, task_)
    context = min(
        parallel * (a["longest_prompt"] + a["max_tokens"] + 8),
        max(a["context"], a["longest_prompt"] + a["max_tokens"] + 8),
    )
    engine = open_engine(weights, context_length=context, parallel=parallel)
    asking = prompting(card, engine.vocabulary, plain=a["plain"])
    rows = task_.test[: a["latency_rows"]]
    wanted = measurement.requests(asking, ask, rows)
    # so many waits are asked for where a need on p95 rests on them; else a few seconds of them will do
    all_waits = a["latency_rows"] >= waits_needed(waits.P95)
    # the rest of the time is kept for the same requests at once and for token speeds
    limit_s = (a.get("limit_s") or 1e9) * (0.75 if all_waits else 0.5)
    enough_s = math.inf if all_waits else MOST_WAITING_S
    terms = waits.Terms(a["latency_rows"], FEWEST_WAITS, limit_s, enough_s)

    def answer(number: int) -> None:
        for _ in engine.generate([wanted[number]]):
            pass

    with metered(a["country"]) as energy, cpu_load.others() as whole:
        with task(sink, f"timing {a['title']}", terms.count, "waits") as progress:
            taken = waits.take(answer, len(wanted), terms, progress)
        wanted = wanted[: taken.rows]
        with (
            task(sink, f"timing {a['title']}, {parallel} at once", len(wanted), "requests") as progress,
            cpu_load.others() as meanwhile,
        ):
            started, waits_at_once = time.perf_counter(), list[float]()
            for _, completion in engine.generate(wanted):
                waits_at_once.append(completion.total_s)
                progress.more(1)
            together = time.perf_counter() - started
    requests = len(taken.every) + len(wanted)
    prompt_speed, answer_speed = token_speeds(engine, asking, wanted[0])
    engine.close()
    return {
        "load_s": float(getattr(engine, "load_s", 0.0)),
        "p50_ms": taken.figure(0.5),
        "p95_ms": taken.figure(waits.P95),
        "slowest_ms": max(taken.counted) * 1000,
        "waits_ms": [1000 * seconds for seconds in taken.counted],
        "waits": taken.as_dict(),
        "quiet": taken.quiet and meanwhile.quiet and whole.quiet,
        "load": {
            "waits": taken.note,
            "throughput": _noise(meanwhile, "throughput"),
            "energy": _noise(whole, "energy"),
        },
        "prompt_tokens_per_second": prompt_speed,
        "answer_tokens_per_second": answer_speed,
        "requests_per_second": len(wanted) / together,
        "requests_per_second_alone": len(taken.counted) / sum(taken.counted),
        "at_once": costs.at_once(waits_at_once, together, getattr(engine, "parallel", 1)),
        "parallel": parallel,
        "requests": requests,
        "energy": energy.as_dict(),
        "kwh_per_1000_requests": energy.kwh / requests * 1000,
        "watts": energy.kwh * 3.6e6 / energy.seconds if energy.seconds else 0.0,
        "peak_memory_bytes": machine.peak_memory_bytes(),
        "predicted_memory_bytes": predict_memory(
            replace(card, size_bytes=_size(weights)), context, parallel
        ).total,
        "context": context,
    }


def safety(a: Arguments, sink: Sink) -> dict[str, Any]:
    """How the variant answers harmful prompts and harmless ones that only sound so: ``most`` of them, or as many as the time allows."""
    from freehold.trust.evaluator import by_wording
    from freehold.trust.hazards import read_prompts
    from freehold.trust.safety import answers_of, in_turn, judge, read_given

    _, weights, card = _common(a)
    started = time.monotonic()
    every = in_turn(read_prompts(Path(a["prompts"])))
    engine = open_engine(weights, context_length=8192, parallel=8)
    asking = prompting(card, engine.vocabulary, plain=a["plain"])
    kept = Path(a["place"]) / "answers.jsonl"
    before, asked_at = len(read_given(kept)), time.monotonic()
    answers = answers_of(
        engine,
        asking,
        every[: a["most"]],
        kept,
        sink,
        f"asking {a['title']} for harm",
        lambda: time.monotonic() - started,
        a.get("limit_s", 0.0),
    )
    engine.close()
    new = len(read_given(kept)) - before
    speed = (time.monotonic() - asked_at) / new if new else None
    asked = every[: len(answers)]
    found = judge(
        asked, answers, by_wording(), a["weights_digest"], {Path(a["prompts"]).name: a["prompts_digest"]}
    )
    counts = {
        "asked": len(answers),
        "of_prompts": len(every),
        "budget_s": a["budget_s"],
        "seconds_per_prompt": speed,
    }
    return {**found.as_dict(), **counts, "answers": found.answers}


def extraction(a: Arguments, sink: Sink) -> dict[str, Any]:
    """What can be learnt about training rows from the tuned variant, and what personal data the rows hold."""
    from freehold.trust import personal, privacy

    task_, weights, card = _common(a)
    started = time.monotonic()

    def load(path: Path) -> tuple[Engine, PromptEncoder]:
        engine = open_engine(path, context_length=8192, parallel=8)
        return engine, prompting(card, engine.vocabulary, plain=a["plain"])

    unseen = [row for row in task_.test if row.id not in task_.splits.leaked_test_ids]
    rows = privacy.choose(task_.splits.train, unseen, task_.labels, a["rows"])
    limits = privacy.Limits(Path(a["place"]), lambda: time.monotonic() - started, a.get("limit_s", 0.0), sink)
    found = privacy.tried(rows, lambda: load(weights), lambda: load(Path(a["untuned"])), limits)
    return {**found, "personal": personal.summary(task_.splits.train), "budget_s": a.get("budget_s", 0.0)}


def served(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Rows asked through a running server (see :mod:`freehold.trial.served_check`)."""
    from freehold.trial import served_check

    return served_check.job(a, sink)


def _size(weights: Path) -> int:
    return sum(f.stat().st_size for f in weights.iterdir()) if weights.is_dir() else weights.stat().st_size


def _noise(span: cpu_load.Load, what: str) -> str:
    """What disturbed the measuring of a figure; "" where nothing did."""
    return "" if span.quiet else span.sentence(f"while {what} was measured")


def token_speeds(engine: Engine, asking: PromptEncoder, request: Request) -> tuple[float, float]:
    """Tokens per second of reading a prompt and of writing an answer, one request alone, best of three."""
    text = asking.vocabulary.encode("The quick brown fox jumps over the lazy dog. " * 60, start=True)
    size = min(256, engine.context_length - 40)
    one = Request(tuple(text[:size]), 1)
    many = Request(tuple(text[:16]), 33)
    reads, writes = list[float](), list[float]()
    for _ in range(3):
        started = time.perf_counter()
        list(engine.generate([one]))
        reads.append(size / (time.perf_counter() - started))
        ((_, completion),) = engine.generate([many])
        written = len(completion.tokens) - 1
        if written > 0:
            writes.append(written / (completion.total_s - completion.first_token_s))
    return max(reads), max(writes, default=0.0)


def read_answers(place: Path) -> list[measurement.Answer]:
    """The answers a measuring step kept."""
    return [
        measurement.Answer(**answer)
        for line in atomic_files.read_lines(place / "answers.jsonl")
        for answer in json.loads(line)
    ]


JOBS: dict[str, Callable[[Arguments, Sink], dict[str, Any]]] = {
    "baselines": baselines.job,
    "convert": convert,
    "look": look,
    "pace": pace,
    "measure": measure_variant,
    "tune": tune,
    "shrink": shrink,
    "timed": timed,
    "served": served,
    "safety": safety,
    "extraction": extraction,
}
