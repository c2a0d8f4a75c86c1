"""What is served is what was measured: rows asked through a running server, and the answers compared.

The chosen variant is served as the shown command serves it, by a process of its own on a free port of this
machine alone. It is asked over HTTP in the protocol of OpenAI's API, by httpx, which Freehold needs in any
case; a test asks the same rows with the package ``openai`` and gets the same answers. Only the question goes
out: the labels, the worked examples and the shared system message must come from the stored model.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core import atomic_files
from freehold.core.errors import FreeholdError, StepFailed
from freehold.core.progress import Sink, duration, task
from freehold.data.examples import Example
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Answer, Measurement
from freehold.evaluation.metrics import Metric
from freehold.models import answer_form
from freehold.models.store import Store
from freehold.runtime import server_process
from freehold.trial import json_form, keeping, steps
from freehold.trial import task as tasks
from freehold.trial.arguments import ServedArguments
from freehold.trial.json_form import JsonObject
from freehold.trial.results import ServedResult
from freehold.trial.variant import Variant

if TYPE_CHECKING:
    from freehold.trial.run import Trial

#: Rows that are asked: fewer say little, more say nothing new.
FEWEST_ROWS, MOST_ROWS = 20, 200
#: Seconds until a server process has loaded its libraries; and what its step may take beyond its time before
#: it is ended.
START_S, OVER_S = 6.0, 10.0
#: Answers that differ and are listed.
MOST_LISTED = 20
#: Environment variable that hands the server its key.
KEY = "FREEHOLD_SERVED_CHECK_KEY"
#: A row that the server refused to answer.
REFUSED = "refused"
CLIENT = "OpenAI's protocol over HTTP, by httpx"


@dataclass(frozen=True)
class Differing:
    """A row that the server answered otherwise than it was answered when the variant was measured."""

    id: str
    question: str
    expected: str
    measured: str
    served: str
    gain: float


@dataclass(frozen=True)
class ServedCheck:
    """The comparison. Figures are both on the same ``rows`` test rows.

    ``equal``: rows with exactly the same answer. ``within``: whether the served figure lies in the
    measured one's interval. ``refused``: rows that the server gave no answer to, which count as wrong;
    ``refusal``: why, for the first.
    """

    model: str
    revision: str
    command: str
    client: str
    metric: str
    rows: int
    of_rows: int
    equal: int
    equal_share: Measurement
    served: Measurement
    measured: Measurement
    within: bool
    refused: int
    refusal: str
    differing: tuple[Differing, ...]
    sentence: str

    def as_dict(self) -> JsonObject:
        """JSON form, for the report."""
        return json_form.write(self)


# -- in the trial -------------------------------------------------------------------------------------


def check(trial: Trial, variant: Variant) -> ServedCheck | None:
    """Store the variant where it is not, ask it through a server within the time there is, and compare; None,
    with a note, where it could not be."""
    what = "the check through a running server"
    with trial.clock.part("served") as planned:
        try:
            name = _stored(trial, variant)
            seconds = planned or trial.clock.spare()
            ids = _rows(trial, variant)
            least = need_s(_load_s(variant), _row_s(variant), min(FEWEST_ROWS, len(ids)))
            arguments = _arguments(trial, variant, name, ids)
            if seconds < least and not trial.steps.done("served", arguments):
                why = f"it takes about {duration(least)} and {duration(max(seconds, 0.0))} are left"
                trial.skip(what, why)
                return None
            return _compared(trial, variant, replace(arguments, limit_s=max(seconds, least)))
        except FreeholdError as error:
            trial.skip(what, error.message)
    return None


def need_s(load_s: float, row_s: float, rows: int) -> float:
    """Seconds that a check of so many rows takes, for a plan. ``row_s``: of one row, asked alone."""
    return START_S + load_s + rows * row_s


def _stored(trial: Trial, variant: Variant) -> str:
    """The name under which the variant is in the store; one that is not tuned is put there.

    Raises StepFailed.
    """
    if variant.kind == "tuned" and not variant.stored_as:
        raise StepFailed("the chosen variant is not in the store", "run the trial again")
    if variant.kind != "tuned":
        model = next(model for model in trial.models if model.name == variant.model)
        stored = keeping.keep_as_is(
            trial.store,
            model,
            form_of(trial, variant),
            task=trial.task.name,
            how="few-shot" if variant.shots else "zero-shot",
            trial=trial.id,
            data=trial.task.files,
        )
        trial.update(variant, stored_as=stored.name)
        return stored.name
    return variant.stored_as


def form_of(trial: Trial, variant: Variant) -> answer_form.AnswerForm:
    """How a variant's rows were asked. Raises BadModel."""
    return keeping.form_of(
        trial.task,
        plain=trial.options.plain_template,
        max_tokens=variant.max_tokens or 0,
        shots=variant.shots,
    )


def _rows(trial: Trial, variant: Variant) -> list[str]:
    """Ids of the rows to ask, in their order: rows that were measured."""
    known = {answer.id for answer in trial.answers[variant.id]}
    return [example.id for example in trial.task.test if example.id in known][:MOST_ROWS]


def _load_s(variant: Variant) -> float:
    return variant.running.load_s if variant.running else 2.0


def _row_s(variant: Variant) -> float:
    """Seconds that a row takes one user, as timed; else those it took when it was measured, many at once."""
    wait = variant.wait("p50")
    if wait is not None:
        return wait.value / 1000
    return 4 * (variant.measuring_seconds or 0.0) / max(variant.rows, 1)


def _arguments(trial: Trial, variant: Variant, name: str, ids: Sequence[str]) -> ServedArguments:
    """What the step is given, but for the time it may take."""
    return ServedArguments(
        trial.task.files,
        trial.task.metric_name,
        name,
        trial.store.find(name).revision,
        variant.id,
        task=str(trial.task_file),
        store=str(trial.store.folder),
        rows=tuple(ids),
        title=variant.title,
        budget_s=trial.options.budget_s,
    )


def _compared(trial: Trial, variant: Variant, arguments: ServedArguments) -> ServedCheck:
    """Ask the rows, then compare the answers with those that were measured."""
    budget_s = trial.options.budget_s
    try:
        trial.steps.run(
            "served",
            arguments,
            end_s=arguments.limit_s * 1.1 + OVER_S,
            again=lambda known: not known.complete and budget_s > known.budget_s,
        )
    except steps.OutOfTime:  # what was answered by then counts
        if not _read(trial.steps.place("served", arguments)):
            raise StepFailed("the server did not answer in the time there was", "raise --budget") from None
    checked = compare(
        trial.task.metric,
        trial.task.test,
        trial.answers[variant.id],
        _read(trial.steps.place("served", arguments)),
        model=arguments.model,
        revision=arguments.revision,
        command=f"freehold serve {arguments.model} --port 8601",
    )
    if checked.equal < checked.rows:
        trial.notes.append(checked.sentence)
    return checked


# -- the comparison -----------------------------------------------------------------------------------


def compare(
    metric: Metric,
    examples: Sequence[Example],
    measured: Sequence[Answer],
    served: Sequence[Answer],
    *,
    model: str,
    revision: str,
    command: str,
) -> ServedCheck:
    """Answers through the server beside those measured, row by row.

    Raises StepFailed where no row has both.
    """
    before, rows = {answer.id: answer for answer in measured}, {example.id: example for example in examples}
    pairs = [(before[answer.id], answer) for answer in served if answer.id in before]
    if not pairs:
        raise StepFailed("the server answered no row that was measured", "raise --budget and run it again")
    alike = [float(same(old, new)) for old, new in pairs]
    now = measurement.mean_figure(
        [new.score for _, new in pairs], f"{metric.method}; through a running server"
    )
    then = measurement.mean_figure(
        [old.score for old, _ in pairs], f"{metric.method}; the same rows as measured"
    )
    refused = [new for _, new in pairs if new.finish == REFUSED]
    # the measured figure's own interval: a perfect one has room for a row that rounding turned, the served
    # one's would not
    within = _within(now, then)
    return ServedCheck(
        model=model,
        revision=revision,
        command=command,
        client=CLIENT,
        metric=metric.name,
        rows=len(pairs),
        of_rows=len(measured),
        equal=int(sum(alike)),
        equal_share=measurement.mean_figure(alike, "exactly the same answer"),
        served=now,
        measured=then,
        within=within,
        refused=len(refused),
        refusal=refused[0].text if refused else "",
        differing=tuple(
            Differing(
                new.id, rows[new.id].question, rows[new.id].answer, old.text, new.text, new.score - old.score
            )
            for old, new in pairs
            if not same(old, new)
        )[:MOST_LISTED],
        sentence=_sentence(metric.name, int(sum(alike)), now, then, within=within, refused=len(refused)),
    )


def same(old: Answer, new: Answer) -> bool:
    """Whether two answers to a row are exactly the same; a refusal never is."""
    return new.finish != REFUSED and old.text == new.text


def _within(now: Measurement, then: Measurement) -> bool:
    """Whether a value lies in the other's interval. An end that so few rows do not give bounds nothing."""
    return (then.low is None or then.low <= now.value) and (then.high is None or now.value <= then.high)


def _shown(figure: Measurement) -> str:
    low, high = ("no bound" if end is None else f"{end:.3f}" for end in (figure.low, figure.high))
    return f"{figure.value:.3f} ({low} to {high})"


def _sentence(
    name: str, equal: int, now: Measurement, then: Measurement, *, within: bool, refused: int
) -> str:
    """What the check found, for a person."""
    rows = now.n
    figures = f"{name} {_shown(now)} served, {_shown(then)} measured"
    if equal == rows:
        return (
            f"Through a running server, all {rows} test rows got the same answers as when they were measured:"
            f" {figures}."
        )
    lost = f" {refused} of them {'was' if refused == 1 else 'were'} refused." if refused else ""
    if within:
        return (
            f"Through a running server, {rows - equal} of {rows} test rows were answered otherwise than they "
            "were "
            f"measured: {figures}, within the interval of what was measured.{lost}"
        )
    return (
        f"What is served is not what was measured: {rows - equal} of {rows} test rows were answered "
        "otherwise "
        f"through a running server, {figures}, outside the interval of what was measured.{lost} Do not rely "
        "on the measured figure."
    )


# -- in the step's process ------------------------------------------------------------------------------


def job(arguments: ServedArguments, sink: Sink) -> ServedResult:
    """Ask the rows through a server until the time is up, each answer kept as it comes.

    Raises StepFailed, NotFound.
    """
    import httpx

    started = time.monotonic()
    task_ = tasks.read(Path(arguments.task))
    store, folder = Store(Path(arguments.store)), Path(arguments.place)
    model = store.find(f"{arguments.model}@{arguments.revision}")
    form = answer_form.of_model(store, model) or answer_form.AnswerForm()
    by_id = {example.id: example for example in task_.test}
    rows = [by_id[name] for name in arguments.rows]
    known = len(_read(folder))
    with task(sink, f"asking {arguments.title} through a server", len(rows), "rows") as progress:
        progress.resume(known)
        if known < len(rows):
            with server(store.folder, model.name) as (address, key):
                headers = {"Authorization": f"Bearer {key}"}
                with httpx.Client(base_url=address, headers=headers, timeout=600, trust_env=False) as client:
                    for example in rows[known:]:
                        answer = _ask(client, model.name, form.system, example, task_.metric)
                        atomic_files.append_line(
                            folder / "answers.jsonl", json.dumps(asdict(answer), ensure_ascii=False)
                        )
                        progress.more(1)
                        if time.monotonic() - started > arguments.limit_s:
                            break
    return ServedResult(len(_read(folder)), len(rows), budget_s=arguments.budget_s)


def _read(folder: Path) -> list[Answer]:
    """The answers that the step kept, one a line."""
    return [Answer(**json.loads(line)) for line in atomic_files.read_lines(folder / "answers.jsonl")]


def _ask(client: Any, model: str, system: str, example: Example, metric: Metric) -> Answer:
    """A row's question without the system message that the form holds; its answer graded.

    Raises StepFailed where the server is gone.
    """
    import httpx

    prompt = example.prompt[1:] if system and example.prompt[0] == ("system", system) else example.prompt
    body = {"model": model, "messages": [{"role": role, "content": text} for role, text in prompt]}
    try:
        response = client.post("/chat/completions", json=body)
        value = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise StepFailed(
            f"the server of the check did not answer ({type(error).__name__}: {str(error)[:200]})",
            "run the same command again; answers so far are kept",
        ) from error
    if response.status_code != 200:
        message = str((value.get("error") or {}).get("message", ""))[:300] if isinstance(value, dict) else ""
        return Answer(example.id, message or f"status {response.status_code}", 0.0, REFUSED, 0, 0)
    choice, usage = value["choices"][0], value["usage"]
    text = choice["message"]["content"] or ""
    return Answer(
        example.id,
        text,
        metric.grade(example, text),
        choice["finish_reason"],
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


@contextlib.contextmanager
def server(home: Path, name: str) -> Iterator[tuple[str, str]]:
    """A server of this model on a free port of this machine alone, ended whatever happens: its base URL and
    its key. Raises StepFailed.
    """
    key = secrets.token_hex(16)
    options = ("--key-env", KEY, "--states", "0B")
    with server_process.start(home, [name], options=options, environment={KEY: key}) as running:
        yield running.base_url, key
