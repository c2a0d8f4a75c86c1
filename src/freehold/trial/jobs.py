"""What the steps' processes do: look, measure, probe, tune, shrink, time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from freehold import durable, machine, statistics
from freehold.data.templates import Messages
from freehold.engines.interface import Engine, Prompting, Request
from freehold.engines.loading import open_engine, open_vocabulary, predict_memory, prompting
from freehold.evals import measure
from freehold.evals.measure import Ask
from freehold.hub.card import Card
from freehold.progress import Sink, task
from freehold.trial import task as tasks
from freehold.trial.task import Task

Arguments = dict[str, Any]

#: One user's waiting time is taken over at least so many requests, and no longer than about so many seconds.
FEWEST_WAITS, MOST_WAITING_S = 10, 15.0
#: File that the step ``convert`` leaves.
CONVERTED = "converted.gguf"


def _common(a: Arguments) -> tuple[Task, Path, Card]:
    return tasks.read(Path(a["task"])), Path(a["weights"]), Card.from_dict(a["card"])


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
    with task(sink, f"looking at the rows with {a['model']}", len(every), "rows") as progress:
        for part, example in every:
            prompt, answer = asking.row(example.messages)
            rows.setdefault(part, []).append((len(prompt), len(answer)))
            progress.more(1)
    known = sorted(answer for part in ("train", "valid") for _, answer in rows.get(part, []))
    longest_answer = min(known[int(0.99 * (len(known) - 1))] * 5 // 4 + 8, 1024) if known else 256
    longest = max(prompt for part in rows.values() for prompt, _ in part)
    over = [e.id for (part, e), size in zip(every, (s for p in rows.values() for s in p), strict=True) if sum(size) > card.context_length > 0]
    sample = task_.test[0]
    return {
        "template": asking.template.origin,
        "prompt_tokens": _spread([prompt for part in rows.values() for prompt, _ in part]),
        "answer_tokens": _spread([answer for part in rows.values() for _, answer in part]),
        "longest_prompt": longest,
        "max_tokens": longest_answer,
        "over_context": over[:20],
        "over_context_count": len(over),
        "sample_prompt": asking.template.prompt(sample.prompt)[:2000],
    }


def _spread(values: list[int]) -> dict[str, float]:
    ordered = sorted(values)
    return {"mean": sum(values) / len(values), "p50": ordered[len(ordered) // 2], "p95": ordered[int(0.95 * (len(ordered) - 1))], "max": ordered[-1]}


def convert(a: Arguments, sink: Sink) -> dict[str, Any]:
    """A model as GGUF (see :mod:`freehold.trial.forms`), its tokens checked on the task's own texts."""
    from freehold.hub.store import Store
    from freehold.trial.forms import write_gguf

    store = Store(Path(a["store"]))
    texts = [text for example in tasks.read(Path(a["task"])).splits.train[:200] for _, text in example.messages]
    model = store.find(f"{a['model']}@{a['revision']}")
    return {"record": write_gguf(store, model, Path(a["place"]) / CONVERTED, texts, sink)}


def measure_variant(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Answers of a variant to the test rows, as many as the time allows, and their figures."""
    task_, weights, card = _common(a)
    place = Path(a["place"])
    started, known = time.monotonic(), len(read_answers(place))
    engine = open_engine(weights, context_length=a["context"], parallel=a["parallel"])
    asking = prompting(card, engine.vocabulary, plain=a["plain"])
    answers = measure.answers_of(
        engine, asking, task_.metric, _ask(a, task_), task_.test, place / "answers.jsonl", sink, a["title"],
        lambda: time.monotonic() - started, a.get("limit_s", 0.0),
    )  # fmt: skip
    engine.close()
    figures = measure.measurement(task_.metric, task_.test, answers)
    clean = [answer for answer in answers if answer.id not in task_.splits.leaked_test_ids]
    if len(clean) < len(answers):
        figures[f"{task_.metric.name}_without_leaks"] = measure.measurement(task_.metric, task_.test, clean)[task_.metric.name]
    return {
        "figures": figures,
        "rows": len(answers),
        "of_rows": len(task_.test),
        # of this process's rows; a killed run's answers may all have been there
        "rows_per_second": (len(answers) - known) / (time.monotonic() - started) if len(answers) > known else None,
        "peak_memory_bytes": machine.peak_memory_bytes(),
        "mean_prompt_tokens": sum(x.prompt_tokens for x in answers) / len(answers),
        "mean_answer_tokens": sum(x.answer_tokens for x in answers) / len(answers),
    }


def probe(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Speeds this trial's plan rests on: tuning rows per second, and test rows per second of each quantized type of the untuned base."""
    from freehold.shrink.quantize import quantize
    from freehold.tune.adapter import merge_gguf

    task_, weights, card = _common(a)
    trainer = _trainer(a, task_, weights, card)[0]
    result: dict[str, Any] = {"tuning_rows_per_second": trainer.probe(), "measuring": {}}
    del trainer
    place = Path(a["place"])
    ask = Ask((), task_.labels, a["max_tokens"])
    sample = task_.test[: measure.block_rows(ask)]

    def rate(file: Path) -> float:
        engine = open_engine(file, context_length=a["context"], parallel=a["parallel"])
        asking = prompting(card, engine.vocabulary, plain=a["plain"])
        started = time.monotonic()
        for _ in engine.generate(measure.requests(asking, ask, sample)):
            pass
        found = len(sample) / (time.monotonic() - started)
        engine.close()
        return found

    if weights.is_dir():
        sample = sample[:8]  # one answer at a time
        result["measuring"]["safetensors"] = rate(weights)
        return result
    merge_gguf(place / "base-f16.gguf", weights, {}, 1.0)
    with task(sink, f"timing {a['model']} at each size", len(a["types"]), "types") as progress:
        for kind in a["types"]:
            quantize(place / "base-f16.gguf", place / "probe.gguf", kind)
            result["measuring"][kind] = rate(place / "probe.gguf")
            progress.more(1)
    for file in ("base-f16.gguf", "probe.gguf"):
        (place / file).unlink(missing_ok=True)
    return result


def _trainer(a: Arguments, task_: Task, weights: Path, card: Card) -> tuple[Any, int]:
    from freehold.tune.recipe import Recipe
    from freehold.tune.train import Trainer, check_rows

    vocabulary = open_vocabulary(weights)
    asking = prompting(card, vocabulary, plain=a["plain"])
    limit = min(card.context_length or a["longest_row"], a["longest_row"])
    train, left_out = check_rows([asking.row(e.messages) for e in task_.splits.train], limit)
    valid = [asking.row(e.messages) for e in task_.splits.valid]
    valid = [row for row in valid if len(row[0]) + len(row[1]) <= limit]
    recipe = Recipe(**a["recipe"])
    if recipe.precision == "bf16" and not machine.look().bf16:
        recipe = replace(recipe, precision="f32")
    return Trainer(weights, train, valid, recipe), len(left_out)


def tune(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Tune the candidate; leave the adapter in PEFT's format and as GGUF, and the merged model."""
    from freehold.ledger.energy import metered
    from freehold.tune import adapter

    task_, weights, card = _common(a)
    place = Path(a["place"])
    trainer, left_out = _trainer(a, task_, weights, card)
    with metered(a["country"]) as energy:
        tuned = trainer.run(sink, place / "checkpoint.safetensors")
    scale = tuned.recipe.scale
    adapter.save_peft(place / "adapter", tuned.factors, tuned.recipe, a["model"])
    if weights.is_dir():
        adapter.merge_safetensors(place / "merged", weights, tuned.factors, scale)
    else:
        adapter.save_gguf_adapter(place / "adapter.gguf", tuned.factors, tuned.recipe, weights)
        adapter.merge_gguf(place / "merged-f16.gguf", weights, tuned.factors, scale)
    (place / "checkpoint.safetensors").unlink(missing_ok=True)
    history = tuned.history
    made: dict[str, Any] = {"made_with": machine.made_with(), "adapter": durable.sha256_file(place / "adapter" / "adapter_model.safetensors")}
    if not weights.is_dir():
        made["digest"] = durable.sha256_file(place / "merged-f16.gguf")
    return {
        "made": made,
        "recipe": tuned.recipe.as_dict(),
        "train_curve": history.train[:: max(1, len(history.train) // 200)],
        "valid_curve": history.valid,
        "best_step": history.best_step,
        "steps": history.train[-1][0] if history.train else 0,
        "stopped": history.stopped,
        "tokens_per_second": history.tokens / history.seconds,
        "training_seconds": history.seconds,
        "rows": len(trainer.train),
        "rows_left_out": left_out,
        "shared_prefix_tokens": len(trainer.prefix),
        "peak_memory_bytes": machine.peak_memory_bytes(),
        "energy": energy.as_dict(),
    }


def shrink(a: Arguments, sink: Sink) -> dict[str, Any]:
    """Quantize the merged model to each type."""
    from freehold.shrink.quantize import describe, quantize

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
    from freehold.ledger.energy import metered

    task_, weights, card = _common(a)
    parallel = 8
    ask = _ask(a, task_)
    context = min(parallel * (a["longest_prompt"] + a["max_tokens"] + 8), max(a["context"], a["longest_prompt"] + a["max_tokens"] + 8))
    engine = open_engine(weights, context_length=context, parallel=parallel)
    asking = prompting(card, engine.vocabulary, plain=a["plain"])
    rows = task_.test[: a["latency_rows"]]
    wanted = measure.requests(asking, ask, rows)
    waits: list[float] = []
    with metered(a["country"]) as energy, task(sink, f"timing {a['title']}", len(rows) * 2, "requests") as progress:
        for request in wanted:
            started = time.perf_counter()
            for _ in engine.generate([request]):
                pass
            waits.append(time.perf_counter() - started)
            progress.more(1)
            if len(waits) >= FEWEST_WAITS and sum(waits) > MOST_WAITING_S:
                break
        wanted = wanted[: len(waits)]
        progress.total = 2 * len(wanted)
        started = time.perf_counter()
        for _ in engine.generate(wanted):
            progress.more(1)
        together = time.perf_counter() - started
    prompt_speed, answer_speed = token_speeds(engine, asking, wanted[0])
    engine.close()
    ordered = sorted(waits)
    return {
        "load_s": float(getattr(engine, "load_s", 0.0)),
        "p50_ms": _quantile(waits, 0.5),
        "p95_ms": _quantile(waits, 0.95),
        "slowest_ms": ordered[-1] * 1000,
        "prompt_tokens_per_second": prompt_speed,
        "answer_tokens_per_second": answer_speed,
        "requests_per_second": len(wanted) / together,
        "parallel": parallel,
        "requests": len(wanted) * 2,
        "energy": energy.as_dict(),
        "kwh_per_1000_requests": energy.kwh / (2 * len(wanted)) * 1000,
        "watts": energy.kwh * 3.6e6 / energy.seconds if energy.seconds else 0.0,
        "peak_memory_bytes": machine.peak_memory_bytes(),
        "predicted_memory_bytes": predict_memory(replace(card, size_bytes=_size(weights)), context, parallel).total,
        "context": context,
    }


def safety(a: Arguments, sink: Sink) -> dict[str, Any]:
    """How the variant answers harmful prompts and harmless ones that only sound so."""
    from freehold.trust.evaluator import by_wording
    from freehold.trust.hazards import read_prompts
    from freehold.trust.safety import answers_of, judge

    _, weights, card = _common(a)
    prompts = read_prompts(Path(a["prompts"]))
    engine = open_engine(weights, context_length=8192, parallel=8)
    asking = prompting(card, engine.vocabulary, plain=a["plain"])
    answers = answers_of(engine, asking, prompts, Path(a["place"]) / "answers.jsonl", sink, f"asking {a['title']} for harm")
    engine.close()
    found = judge(prompts, answers, by_wording(), a["weights_digest"], {Path(a["prompts"]).name: a["prompts_digest"]})
    return {**found.as_dict(), "answers": found.answers}


def extraction(a: Arguments, sink: Sink) -> dict[str, Any]:
    """How many training rows come out of the tuned variant to the letter, and what personal data the rows hold."""
    from freehold.trust import personal
    from freehold.trust.extraction import extract

    task_, weights, card = _common(a)
    engine = open_engine(weights, context_length=8192, parallel=8)
    asking = prompting(card, engine.vocabulary, plain=a["plain"])
    found = extract(engine, asking, task_.splits.train, task_.test, rows=a["rows"], sink=sink)
    engine.close()
    return {**found.as_dict(), "personal": personal.summary(task_.splits.train)}


def _size(weights: Path) -> int:
    return sum(f.stat().st_size for f in weights.iterdir()) if weights.is_dir() else weights.stat().st_size


def _quantile(waits: list[float], share: float) -> dict[str, Any]:
    import numpy as np

    values = np.array(waits) * 1000
    low, high = statistics.bootstrap(len(values), lambda rows: float(np.quantile(values[rows], share)))
    how = "one request at a time, nothing reused between them; bootstrap interval"
    return measure.figure(float(np.quantile(values, share)), low, high, len(values), how)


def token_speeds(engine: Engine, asking: Prompting, request: Request) -> tuple[float, float]:
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


def read_answers(place: Path) -> list[measure.Answer]:
    """The answers a measuring step kept."""
    return [measure.Answer(**answer) for line in durable.read_lines(place / "answers.jsonl") for answer in json.loads(line)]


JOBS: dict[str, Callable[[Arguments, Sink], dict[str, Any]]] = {
    "convert": convert, "look": look, "measure": measure_variant, "probe": probe, "tune": tune, "shrink": shrink, "timed": timed, "safety": safety, "extraction": extraction,
}  # fmt: skip
