"""What the steps' processes do: look, measure speeds, measure, time; :mod:`tuning_jobs` has those that make
tuned variants.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core import cpu_load, machine
from freehold.core.progress import Sink, task
from freehold.core.statistics import waits_needed
from freehold.data.examples import Example
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Answer, Ask
from freehold.inference.interface import Engine, PromptEncoder, common_prefix
from freehold.inference.loading import open_engine, open_vocabulary, predict_memory, prompting
from freehold.inference.request import GenerationRequest
from freehold.models.info import ModelInfo
from freehold.trial import baselines, costs, tuning_jobs, waits
from freehold.trial import task as tasks
from freehold.trial.arguments import (
    Arguments,
    BaselinesArguments,
    ConvertArguments,
    LookArguments,
    MeasureArguments,
    MixArguments,
    ModelArguments,
    PaceArguments,
    PrivacyArguments,
    SafetyArguments,
    ServedArguments,
    ShrinkArguments,
    TimedArguments,
    TuneArguments,
)
from freehold.trial.choice import MOST_CHOICE_ROWS, TEST
from freehold.trial.json_form import JsonObject
from freehold.trial.planner import FEWEST_WAITS, MOST_WAITING_S
from freehold.trial.results import (
    BaselinesResult,
    ConvertResult,
    LookResult,
    MeasureResult,
    PaceResult,
    PrivacyResult,
    SafetyResult,
    ServedResult,
    Spread,
    StepResult,
    TimingResult,
)
from freehold.trial.task import Task

if TYPE_CHECKING:
    from freehold.costs.energy import Energy

#: File that the step ``convert`` leaves.
CONVERTED = "converted.gguf"


def _task(a: ModelArguments[Any]) -> Task:
    return tasks.read(Path(a.task)).without(a.subject.leave_out)


def _ask(a: MeasureArguments | TimedArguments, task_: Task) -> Ask:
    known = {example.id: example for example in task_.splits.train}
    return Ask(tuple(known[name].messages for name in a.shots), task_.labels, a.max_tokens)


def measure_baselines(a: BaselinesArguments, sink: Sink) -> BaselinesResult:
    """What a person would try first, measured on the test rows."""
    task_ = tasks.read(Path(a.task)).without(a.leave_out)
    return BaselinesResult(tuple(baselines.measure_all(task_, sink)))


def look(a: LookArguments, sink: Sink) -> LookResult:
    """Token lengths of all rows under the model's template and tokenizer, and what would not fit."""
    task_ = _task(a)
    encoder = prompting(a.info, open_vocabulary(a.weights), plain=a.plain)
    splits, context = task_.splits, a.info.context_length
    known, every = (*splits.train, *splits.valid), (*splits.train, *splits.valid, *splits.test)
    sizes: list[tuple[int, int]] = []
    with task(sink, f"looking at the rows with {a.model}", len(every), "rows") as progress:
        for example in every:
            prompt, answer = encoder.row(example.messages)
            sizes.append((len(prompt), len(answer)))
            progress.more(1)
    rejected = _rejected(encoder, known)
    answers = sorted(answer for _, answer in sizes[: len(known)])
    over = [e.id for e, size in zip(every, sizes, strict=True) if sum(size) > context > 0]
    fitting = [prompt for prompt, answer in sizes if not context or prompt + answer <= context]
    return LookResult(
        template=encoder.template.origin,
        prompt_tokens=_spread([prompt for prompt, _ in sizes]),
        answer_tokens=_spread([answer for _, answer in sizes]),
        longest_rejected=max((answer for _, answer in rejected), default=0),
        longest_training_row=max(map(sum, [*sizes[: len(known)], *rejected]), default=0),
        longest_prompt=max(fitting, default=0),
        shared_prefix_tokens=len(common_prefix([encoder.prompt(e.prompt) for e in task_.test[:64]])),
        max_tokens=min(answers[int(0.99 * (len(answers) - 1))] * 5 // 4 + 8, 1024) if answers else 256,
        over_context=tuple(over),
        over_context_count=len(over),
        sample_prompt=encoder.template.prompt(task_.test[0].prompt)[:2000],
    )


def _rejected(encoder: PromptEncoder, rows: Sequence[Example]) -> list[tuple[int, int]]:
    """Tokens of prompt and rejected answer of each row that holds one."""
    pairs = [(e.prompt, e.reference["rejected"]) for e in rows if "rejected" in e.reference]
    encoded = (encoder.row((*prompt, ("assistant", text))) for prompt, text in pairs)
    return [(len(prompt), len(answer)) for prompt, answer in encoded]


def _spread(values: list[int]) -> Spread:
    ordered = sorted(values)
    return Spread(
        mean=sum(values) / len(values),
        p50=ordered[len(ordered) // 2],
        p95=ordered[int(0.95 * (len(ordered) - 1))],
        max=ordered[-1],
    )


def convert(a: ConvertArguments, sink: Sink) -> ConvertResult:
    """A model as GGUF (:mod:`freehold.runtime.gguf_form`), its tokens checked on the task's own texts."""
    from freehold.models.store import Store
    from freehold.runtime.gguf_form import write_gguf

    store = Store(Path(a.store))
    texts = [text for row in tasks.read(Path(a.task)).splits.train[:200] for _, text in row.messages]
    model = store.find(f"{a.model}@{a.subject.revision}")
    step = write_gguf(store, model, Path(a.place) / CONVERTED, texts, sink)
    return ConvertResult(step.as_dict())


#: Requests and tokens that speeds are measured with: few, for a plan only.
_PACE_PROMPT, _PACE_TOKENS, _PACE_PARALLEL, _PACE_S = 64, 8, 4, 2.0


def pace(a: PaceArguments, sink: Sink) -> PaceResult:
    """How fast this model is here, for the plan: loading, reading, writing several answers and one, and
    what its tuning rests on.

    ``note``: what else used the processor meanwhile; "" where nothing did.
    """
    with task(sink, f"measuring how fast {a.model} is") as progress, cpu_load.others() as meanwhile:
        started = time.perf_counter()
        engine = open_engine(a.weights, context_length=2048, parallel=_PACE_PARALLEL)
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
        flops, rounding = (_matrix_speed(), _rounding_speed()) if a.tuned else (0.0, 0.0)
    return PaceResult(
        load_s,
        reading,
        max(together, single),
        single,
        flops,
        rounding,
        load=meanwhile.as_dict(),
        note=_noise(meanwhile, "speed"),
    )


def _read_speed(engine: Engine, text: list[int]) -> float:
    """Prompt tokens per second: of a short prompt, and of a longer one where the short one was quick."""
    speed = 0.0
    for size in (_PACE_PROMPT, 4 * _PACE_PROMPT):
        started = time.perf_counter()
        list(engine.generate([GenerationRequest(tuple(text[:size]), 1)]))
        seconds = time.perf_counter() - started
        speed = size / seconds
        if seconds > _PACE_S / 4:
            break
    return speed


def _write_speed(engine: Engine, text: list[int], count: int, reading: float) -> float:
    """Answer tokens per second of ``count`` answers at once, the time of reading their prompts taken off."""
    requests = [GenerationRequest(tuple(text[at : at + 8]), _PACE_TOKENS + 1) for at in range(count)]
    started = time.perf_counter()
    written = sum(len(completion.tokens) - 1 for _, completion in engine.generate(requests))
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


def _rounding_speed() -> float:
    """Weights per second that are rounded to every type that a mix may hold, and opened again."""
    import numpy as np

    from freehold.inference import ggml
    from freehold.quantization.allocation import OFFERED

    rows, columns, best = 64, 1024, 0.0
    weights = np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)
    for _ in range(3):
        started = time.perf_counter()
        for kind in OFFERED:
            ggml.dequantize(ggml.quantize(weights, kind), kind, columns)
        best = max(best, weights.size / (time.perf_counter() - started))
    return best


def rows_of(task_: Task, split: str, *, tuned: bool, shots: int) -> tuple[Example, ...]:
    """The rows that judge, or those that choose, as many as are enough."""
    return task_.test if split == TEST else task_.choosing(tuned=tuned, shots=shots)[:MOST_CHOICE_ROWS]


def measure_variant(a: MeasureArguments, sink: Sink) -> MeasureResult:
    """Answers of a variant to the rows that choose or to those that judge, as many as the time allows, and
    their figures.
    """
    task_ = _task(a)
    tuned = True if a.tune is None else a.tune
    rows = rows_of(task_, a.split, tuned=tuned, shots=a.most_shots or 0)
    place = Path(a.place)
    started, known = time.monotonic(), len(read_answers(place))
    engine = open_engine(a.weights, context_length=a.context, parallel=a.parallel)
    ask = _ask(a, task_)
    answers = measurement.answers_of(
        engine,
        prompting(a.info, engine.vocabulary, plain=a.plain),
        task_.metric,
        ask,
        rows,
        measurement.AnswerOptions(
            place / "answers.jsonl",
            a.title,
            clock=lambda: time.monotonic() - started,
            limit_s=a.limit_s,
            block=measurement.block_rows(ask, a.row_s, a.prefix_s, a.limit_s),
        ),
        sink,
    )
    engine.close()
    # of this process's rows; a killed run's answers may all have been there
    rate = (len(answers) - known) / (time.monotonic() - started) if len(answers) > known else None
    result = measured(task_, rows, answers, budget_s=a.budget_s, digest=a.weights_digest)
    return replace(result, rows_per_second=rate, peak_memory_bytes=machine.peak_memory_bytes())


def measured(
    task_: Task, rows: Sequence[Example], answers: Sequence[Answer], *, budget_s: float, digest: str
) -> MeasureResult:
    """The result of measuring on ``rows``, made of the answers that there are. ``digest``: of the weights."""
    groups = task_.groups
    figures = measurement.measurement(task_.metric, rows, answers, groups=groups)
    figures |= measurement.scope_figures(task_.metric, answers, task_.out_of_scope, groups=groups)
    return MeasureResult(
        measurement.measured_of(figures, digest),
        rows=len(answers),
        of_rows=len(rows),
        mean_prompt_tokens=sum(x.prompt_tokens for x in answers) / len(answers),
        mean_answer_tokens=sum(x.answer_tokens for x in answers) / len(answers),
        budget_s=budget_s,
    )


#: Requests at once that a variant's capacity is measured with.
AT_ONCE = 8


@dataclass(frozen=True)
class _Timed:
    """What was taken of the waits and of the same requests at once. ``seconds``: of all at once."""

    alone: waits.Waits
    at_once: tuple[float, ...]
    seconds: float
    energy: Energy
    during_waits: str
    during_throughput: str
    during_all: str

    @property
    def requests(self) -> int:
        """All requests, which the energy was counted over."""
        return len(self.alone.every) + len(self.at_once)


def timed(a: TimedArguments, sink: Sink) -> TimingResult:
    """What serving takes: load time, one user's wait, tokens per second, throughput of eight at once,
    energy, peak memory.
    """
    task_, weights = _task(a), a.weights
    row = a.longest_prompt + a.max_tokens + 8
    context = min(AT_ONCE * row, max(a.context, row))
    engine = open_engine(weights, context_length=context, parallel=AT_ONCE)
    encoder = prompting(a.info, engine.vocabulary, plain=a.plain)
    requests = measurement.requests(encoder, _ask(a, task_), task_.test[: a.latency_rows])
    run = _take(a, engine, requests, sink)
    prompt_speed, answer_speed = token_speeds(engine, encoder, requests[0])
    engine.close()
    alone, energy = run.alone, run.energy
    return TimingResult(
        load_s=float(getattr(engine, "load_s", 0.0)),
        p50_ms=alone.figure(0.5),
        p95_ms=alone.figure(waits.P95),
        slowest_ms=max(alone.counted) * 1000,
        waits_ms=tuple(1000 * seconds for seconds in alone.counted),
        waits=alone.as_dict(),
        quiet=not (run.during_waits or run.during_throughput or run.during_all),
        load={"waits": run.during_waits, "throughput": run.during_throughput, "energy": run.during_all},
        prompt_tokens_per_second=prompt_speed,
        answer_tokens_per_second=answer_speed,
        requests_per_second=len(run.at_once) / run.seconds,
        requests_per_second_alone=len(alone.counted) / sum(alone.counted),
        at_once=costs.at_once(run.at_once, run.seconds, getattr(engine, "parallel", 1)),
        parallel=AT_ONCE,
        requests=run.requests,
        energy=energy,
        kwh_per_1000_requests=energy.kwh / run.requests * 1000,
        watts=energy.kwh * 3.6e6 / energy.seconds if energy.seconds else 0.0,
        peak_memory_bytes=machine.peak_memory_bytes(),
        predicted_memory_bytes=_predicted(a.info, weights, context),
        context=context,
    )


def _predicted(info: ModelInfo, weights: Path, context: int) -> int:
    """Bytes of memory that serving takes, as predicted beforehand."""
    return predict_memory(replace(info, size_bytes=_size(weights)), context, AT_ONCE).total


def _take(a: TimedArguments, engine: Engine, requests: Sequence[GenerationRequest], sink: Sink) -> _Timed:
    """One user's waits within the time there is, then the same requests at once."""
    from freehold.costs.energy import metered

    # a need on p95 rests on so many waits that all are taken; else a few seconds of them will do
    all_waits = a.latency_rows >= waits_needed(waits.P95)
    # the rest of the time is for the same requests at once and for token speeds
    limit_s = (a.limit_s or 1e9) * (0.75 if all_waits else 0.5)
    terms = waits.Terms(a.latency_rows, FEWEST_WAITS, limit_s, math.inf if all_waits else MOST_WAITING_S)

    def answer(number: int) -> None:
        for _ in engine.generate([requests[number]]):
            pass

    with metered(a.country) as energy, cpu_load.others() as whole:
        with task(sink, f"timing {a.title}", terms.count, "waits") as progress:
            alone = waits.take(answer, len(requests), terms, progress)
        asked = requests[: alone.rows]
        with (
            task(sink, f"timing {a.title}, {AT_ONCE} at once", len(asked), "requests") as progress,
            cpu_load.others() as meanwhile,
        ):
            started, at_once = time.perf_counter(), list[float]()
            for _, completion in engine.generate(list(asked)):
                at_once.append(completion.total_s)
                progress.more(1)
            seconds = time.perf_counter() - started
    noise = _noise(meanwhile, "throughput"), _noise(whole, "energy")
    return _Timed(alone, tuple(at_once), seconds, energy, alone.note, *noise)


def safety(a: SafetyArguments, sink: Sink) -> SafetyResult:
    """How the variant answers harmful prompts and harmless ones that only sound so: ``most`` of them, or as
    many as the time allows.
    """
    from freehold.trust.evaluator import by_wording
    from freehold.trust.hazards import read_prompts
    from freehold.trust.safety import answers_of, in_turn, judge, read_answers

    started = time.monotonic()
    every = in_turn(read_prompts(Path(a.prompts)))
    engine = open_engine(a.weights, context_length=8192, parallel=8)
    file = Path(a.place) / "answers.jsonl"
    before, asked_at = len(read_answers(file)), time.monotonic()
    answers = answers_of(
        engine,
        prompting(a.info, engine.vocabulary, plain=a.plain),
        every[: a.most],
        file,
        sink,
        f"asking {a.title} for harm",
        lambda: time.monotonic() - started,
        a.limit_s,
    )
    engine.close()
    new = len(read_answers(file)) - before
    asked = every[: len(answers)]
    judged = judge(asked, answers, by_wording(), a.weights_digest, {Path(a.prompts).name: a.prompts_digest})
    counts = {
        "asked": len(answers),
        "of_prompts": len(every),
        "seconds_per_prompt": (time.monotonic() - asked_at) / new if new else None,
    }
    finding = {**judged.as_dict(), **counts, "answers": judged.answers}
    return SafetyResult(finding, budget_s=a.budget_s)


def extraction(a: PrivacyArguments, sink: Sink) -> PrivacyResult:
    """What can be learnt about training rows from the tuned variant, and what personal data the rows hold."""
    from freehold.trust import personal, privacy

    task_, info = _task(a), a.info
    started = time.monotonic()

    def load(path: Path) -> tuple[Engine, PromptEncoder]:
        engine = open_engine(path, context_length=8192, parallel=8)
        return engine, prompting(info, engine.vocabulary, plain=a.plain)

    unseen = [row for row in task_.test if row.id not in task_.splits.leaked_test_ids]
    rows = privacy.choose(task_.splits.train, unseen, task_.labels, a.rows)
    limits = privacy.Limits(Path(a.place), lambda: time.monotonic() - started, a.limit_s, sink)
    found = privacy.tried(rows, lambda: load(a.weights), lambda: load(Path(a.untuned)), limits)
    return PrivacyResult(found | {"personal": personal.summary(task_.splits.train)}, budget_s=a.budget_s)


def served(a: ServedArguments, sink: Sink) -> ServedResult:
    """Rows asked through a running server (:mod:`freehold.trial.served_check`)."""
    from freehold.trial import served_check

    return served_check.job(a, sink)


def _size(weights: Path) -> int:
    return sum(f.stat().st_size for f in weights.iterdir()) if weights.is_dir() else weights.stat().st_size


def _noise(span: cpu_load.Load, what: str) -> str:
    """What disturbed the measuring of a figure; "" where nothing did."""
    return "" if span.quiet else span.sentence(f"while {what} was measured")


def token_speeds(engine: Engine, asking: PromptEncoder, request: GenerationRequest) -> tuple[float, float]:
    """Tokens per second of reading a prompt and of writing an answer, one request alone, best of three."""
    text = asking.vocabulary.encode("The quick brown fox jumps over the lazy dog. " * 60, start=True)
    size = min(256, engine.context_length - 40)
    reading = GenerationRequest(tuple(text[:size]), 1)
    writing = GenerationRequest(tuple(text[:16]), 33)
    reads, writes = list[float](), list[float]()
    for _ in range(3):
        started = time.perf_counter()
        list(engine.generate([reading]))
        reads.append(size / (time.perf_counter() - started))
        ((_, completion),) = engine.generate([writing])
        written = len(completion.tokens) - 1
        if written > 0:
            writes.append(written / (completion.total_s - completion.first_token_s))
    return max(reads), max(writes, default=0.0)


def read_answers(place: Path) -> list[Answer]:
    """The answers that a measuring step kept in its folder."""
    return measurement.read_answers(place / "answers.jsonl")


@dataclass(frozen=True)
class Job:
    """What a step's process does: a function, and the type of what it takes."""

    arguments: type[Arguments[Any]]
    function: Callable[[Any, Sink], StepResult]


_JOBS = (
    Job(BaselinesArguments, measure_baselines),
    Job(ConvertArguments, convert),
    Job(LookArguments, look),
    Job(PaceArguments, pace),
    Job(MeasureArguments, measure_variant),
    Job(TuneArguments, tuning_jobs.tune),
    Job(ShrinkArguments, tuning_jobs.shrink),
    Job(MixArguments, tuning_jobs.mix),
    Job(TimedArguments, timed),
    Job(ServedArguments, served),
    Job(SafetyArguments, safety),
    Job(PrivacyArguments, extraction),
)
JOBS = {job.arguments.job: job for job in _JOBS}


def run(name: str, arguments: JsonObject, sink: Sink) -> JsonObject:
    """Do the job of this name; its result in JSON form. For the step's process."""
    job = JOBS[name]
    return job.function(job.arguments.from_json(arguments), sink).as_json()
