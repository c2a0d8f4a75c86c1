"""What is measured is what is served: few-shot with labels bound, asked by every client, and the way out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx
import ollama
import openai
import psutil
import pytest

import freehold
from freehold.core.progress import silent
from freehold.data.templates import PLAIN, PLAIN_STOP
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Answer, Ask
from freehold.inference.loading import open_engine, prompting
from freehold.models import answer_form, archive_runtime
from freehold.models.answer_form import of_model
from freehold.models.store import Model, Store
from freehold.trial import keeping, report, served_check
from freehold.trial.task import Task
from freehold.workflows.export import ExportOptions, export
from tests.conftest import FREEHOLD
from tests.servers.inference.serving import own_home, server
from tests.trial.rows import labelled, task_of

pytestmark = pytest.mark.slow

#: What people write, and the topic.
SENTENCES = {
    "lost card": (
        "My card is gone.",
        "I cannot find my card.",
        "I left my card on the train.",
        "Card missing since noon.",
    ),
    "exchange rate": (
        "What rate do I get for euros?",
        "Your dollar rate looks wrong.",
        "Is the rate today's?",
        "Rate for yen?",
    ),
    "top up": (
        "My top up has not come.",
        "How do I add money?",
        "Adding money failed.",
        "Can I top up by cheque?",
    ),
    "refund": (
        "I want my money back.",
        "Where is my refund?",
        "The shop owes me a refund.",
        "Please return what I paid.",
    ),
}
TALK = ("Hello, ", "Good morning. ", "Please help: ", "", "Urgent! ")
PAIRS = [
    (f"{opening}{text} ({number})", label)
    for number, opening in enumerate(TALK)
    for label, texts in SENTENCES.items()
    for text in texts
]


@dataclass(frozen=True)
class Measured:
    """A stored few-shot variant, its task, and the answers that were measured."""

    store: Store
    task: Task
    model: Model
    answers: list[Answer]


@pytest.fixture(scope="module")
def measured(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """SmolLM2 few-shot with four labels bound, measured as the trial measures, and stored."""
    folder = tmp_path_factory.mktemp("served")
    store = Store(own_home(home, folder, "smollm2"))
    task = task_of(labelled("a", PAIRS[:48]), labelled("t", PAIRS[48:]))
    base = store.find("smollm2")
    shots = [example.id for example in measurement.pick_shots(task.splits.train, task.labels, 4)]
    form = keeping.form_of(task, plain=False, max_tokens=12, shots=shots)
    known = {example.id: example for example in task.splits.train}
    ask = Ask(tuple(known[name].messages for name in shots), task.labels, 12)
    engine = open_engine(store.weights(base), context_length=4096, parallel=16)
    answers = measurement.answers_of(
        engine,
        prompting(base.info, engine.vocabulary),
        task.metric,
        ask,
        task.test,
        measurement.AnswerOptions(folder / "answers.jsonl", "few-shot"),
        silent,
    )
    engine.close()
    kept = keeping.keep_as_is(store, base, form, task="topics", how="few-shot", trial="abc", data={})
    return Measured(store, task, kept, answers)


@pytest.fixture(scope="module")
def address(measured: Measured) -> Iterator[str]:
    with server(measured.store.folder, "--states", "0B", names=(measured.model.name, "smollm2")) as running:
        yield running


@pytest.fixture(scope="module")
def sure(measured: Measured, address: str) -> list[tuple[str, str]]:
    """Questions with their measured answers, of rows where no other label is near: rounding turns none of
    these.
    """
    found: list[tuple[float, str, str]] = []
    for example, answer in zip(measured.task.test[:16], measured.answers, strict=False):
        body = {
            "model": measured.model.name,
            "messages": said(example.question),
            "logprobs": True,
            "top_logprobs": 20,
        }
        choice = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=120).json()["choices"][0]
        first = choice["logprobs"]["content"][0]
        near = [
            top["logprob"]
            for top in first["top_logprobs"]
            if top["token"] != first["token"]
            and any(label.startswith(top["token"]) for label in measured.task.labels)
        ]
        if choice["message"]["content"] == answer.text:
            found.append((first["logprob"] - max(near, default=-99.0), example.question, answer.text))
    return [(text, label) for _, text, label in sorted(found, reverse=True)[:3]]


def question(measured: Measured, number: int = 0) -> str:
    return measured.task.test[number].question


def chat(address: str, model: str, messages: list[dict[str, Any]], **more: Any) -> str:
    body = {"model": model, "messages": messages, **more}
    answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_nearly_every_row_is_answered_through_the_server_as_it_was_measured(
    measured: Measured, address: str
) -> None:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    name, rows = measured.model.name, measured.task.test
    served: list[Answer] = []
    for example in rows:
        messages: Any = said(example.question)
        choice = client.chat.completions.create(model=name, messages=messages).choices[0]
        text = choice.message.content or ""
        score = measured.task.metric.grade(example, text)
        served.append(Answer(example.id, text, score, choice.finish_reason, 0, 0))
    found = served_check.compare(
        measured.task.metric, rows, measured.answers, served, model=name, revision="", command=""
    )
    assert found.equal >= 0.9 * found.rows, found.sentence
    assert found.within
    assert len({answer.text for answer in served}) > 1
    # the base's weights are there once, and asked by its own name it answers freely
    free = [chat(address, "smollm2", said(example.question), max_tokens=12) for example in rows[:6]]
    assert not set(free) & set(measured.task.labels)


def test_every_client_gets_the_label(measured: Measured, address: str, sure: list[tuple[str, str]]) -> None:
    name = measured.model.name
    lengths = {e.question: a.prompt_tokens for e, a in zip(measured.task.test, measured.answers, strict=True)}
    for text, label in sure:
        anthropics = anthropic.Anthropic(base_url=address, api_key="none", max_retries=0)
        told = anthropics.messages.create(model=name, max_tokens=50, messages=said(text))  # type: ignore[arg-type]
        assert told.content[0].text == label
        counted = anthropics.messages.count_tokens(model=name, messages=said(text))  # type: ignore[arg-type]
        assert counted.input_tokens == lengths[text]
        ollamas = ollama.Client(host=address)
        assert ollamas.chat(model=name, messages=said(text)).message.content == label
        assert ollamas.generate(model=name, prompt=text).response == label
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        assert client.responses.create(model=name, input=text).output_text == label
        messages: Any = said(text)
        chunks = list(client.chat.completions.create(model=name, messages=messages, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == label
        assert chunks[-1].choices[0].finish_reason == "stop"


def test_what_a_model_is_asked_in_is_told(measured: Measured, address: str) -> None:
    rows = {row["id"]: row["answer_form"] for row in httpx.get(f"{address}/v1/models").json()["data"]}
    told = rows[measured.model.name]
    assert (told["labels"], told["worked_examples"], told["sampling"]) == (4, 4, "greedy")
    assert rows["smollm2"] is None
    shown = httpx.post(f"{address}/api/show", json={"model": measured.model.name}).json()
    assert shown["model_info"]["freehold.answer_form"] == told


def test_a_request_can_go_its_own_way(measured: Measured, address: str) -> None:
    name, text, labels = measured.model.name, question(measured), set(measured.task.labels)
    bare = chat(address, "smollm2", said(text), max_tokens=12)
    assert chat(address, name, said(text), max_tokens=12, answer_form=False) == bare
    assert (
        ollama.Client(host=address)
        .chat(model=name, messages=said(text), options={"answer_form": False, "num_predict": 12})
        .message.content
        == bare
    )
    assert chat(address, name, said(text), grammar='root ::= "yes" | "no"') in ("yes", "no")
    talk = [*said(text), {"role": "assistant", "content": "Yes?"}, *said("Tell me a story.")]
    assert chat(address, name, talk, max_tokens=12) not in labels
    assert chat(address, name, [{"role": "system", "content": "Be brief."}, *said(text)]) in labels
    with server(measured.store.folder, "--no-form", "--states", "0B", names=(name,)) as plain:
        assert chat(plain, name, said(text), max_tokens=12) == bare


def run(measured: Measured, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FREEHOLD_HOME": str(measured.store.folder)}
    return subprocess.run(
        [*FREEHOLD, *words], capture_output=True, text=True, env=environment, check=True, **more
    )


@pytest.mark.slow
def test_run_chat_and_load_ask_in_the_same_form(measured: Measured, sure: list[tuple[str, str]]) -> None:
    name, texts, labels = measured.model.name, [text for text, _ in sure], [label for _, label in sure]
    done = run(measured, "run", name, texts[0])
    assert done.stdout.strip() == labels[0]
    assert "4 labels, 4 worked examples" in done.stderr
    chatted = run(measured, "chat", name, input="\n".join(texts) + "\n")
    assert chatted.stdout.split("\n")[:3] == labels
    assert "each line is a separate question" in chatted.stderr
    with freehold.load(name, store=measured.store) as model:
        assert [model.generate(text) for text in texts] == labels
        assert model.form.labels == measured.task.labels
    with freehold.load(name, store=measured.store, form=False) as model:
        assert model.generate(texts[0], max_tokens=12) not in labels


def test_exports_carry_what_their_format_can_and_say_what_it_cannot(
    measured: Measured, tmp_path: Path
) -> None:
    made = export(measured.store, measured.model.name, ExportOptions("ollama", tmp_path / "out"), silent)
    assert "answers equal" in made.proof
    modelfile = (tmp_path / "out" / "Modelfile").read_text()
    shown = of_model(measured.store, measured.model).shown  # type: ignore[union-attr]
    assert [line for line in modelfile.splitlines() if line.startswith("MESSAGE")] == [
        f'MESSAGE {role} """{text}"""' for role, text in shown
    ]
    note = (tmp_path / "out" / "HOW-TO-ASK.md").read_text()
    assert "cannot limit answers to the 4 labels" in note
    assert (tmp_path / "out" / "labels.gbnf").read_text().count('"') == 8
    again = run(measured, "pull", f"file:{tmp_path / 'out'}", "--as", "back")
    assert again.returncode == 0
    assert of_model(measured.store, measured.store.find("back")) == of_model(measured.store, measured.model)


def test_the_program_of_an_archive_asks_in_the_same_form(
    measured: Measured, sure: list[tuple[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "runtime").mkdir()
    for file in measured.model.manifest:
        (tmp_path / "files" / file).symlink_to(measured.store.file(measured.model, file))
    program = tmp_path / "runtime" / "run.py"
    program.write_text(archive_runtime.program(PLAIN, PLAIN_STOP))
    done = subprocess.run([sys.executable, program, sure[0][0]], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sure[0][1]


@pytest.mark.slow
def test_the_server_of_a_check_ends_with_the_check_and_with_the_process_that_checks(
    measured: Measured,
) -> None:
    with served_check.server(measured.store.folder, measured.model.name) as (base, key):
        assert base.startswith("http://127.0.0.1:")
        assert httpx.get(f"{base}/models").status_code == 401  # others on this machine may not ask
        assert httpx.get(f"{base}/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base}/models")
    program = (
        "import sys, time; from pathlib import Path; from freehold.trial import served_check\nwith"
        f" served_check.server(Path({str(measured.store.folder)!r}), {measured.model.name!r}):\n"
        "    print('up', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as checking:
        assert checking.stdout is not None
        assert checking.stdout.readline().strip() == "up"
        (serving,) = psutil.Process(checking.pid).children()
        checking.kill()
    serving.wait(60)  # raises where it still runs
    assert not serving.is_running()


@pytest.mark.minutes
@pytest.mark.slow
def test_a_trial_ends_with_a_check_through_a_running_server(home: Path, tmp_path: Path) -> None:
    store = Store(own_home(home, tmp_path, "smollm2"))
    rows = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in PAIRS)
    (tmp_path / "topics.jsonl").write_text(rows)
    environment = {**os.environ, "FREEHOLD_HOME": str(store.folder)}
    words = [
        "trial",
        "topics.jsonl",
        "--model",
        "smollm2",
        "--no-tune",
        "--safety",
        "none",
        "--budget",
        "4m",
        "--json",
    ]
    for _ in range(2):  # the second time from what the first kept
        began = time.monotonic()
        done = subprocess.run(
            [*FREEHOLD, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        taken = time.monotonic() - began
        assert done.returncode in (0, 3, 4), done.stderr
        (path,) = (store.folder / "trials").glob("*/report.json")
        value = report.read(path)
        served = value.served
        assert served is not None, value.notes
        assert served.rows >= 10
        assert served.equal >= 0.9 * served.rows, served.sentence
        assert served.within
        stored_as = value.winner.stored_as
        assert stored_as.startswith("topics/smollm2-")
        assert served.command == value.verdict.command == f"freehold serve {stored_as} --port 8601"
        kept = store.find(stored_as)
        assert kept.digest == store.find("smollm2").digest
        assert answer_form.FILE in kept.manifest
        assert "The same rows through a running server" in path.with_name("report.html").read_text()
    assert taken < 60
