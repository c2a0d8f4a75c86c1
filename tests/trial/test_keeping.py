"""The form of a task's rows, and a model as it stands that is stored with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freehold.core.errors import BadModel
from freehold.data.examples import Example
from freehold.data.splits import Splits
from freehold.data.templates import Messages
from freehold.evaluation.measurement import Ask
from freehold.models import answer_form
from freehold.models.answer_form import AnswerForm, of_model
from freehold.models.store import Store
from freehold.trial import keeping
from freehold.trial.run import choose_models
from freehold.trial.task import Task
from tests.entry import pull
from tests.hub.models import gguf
from tests.trial.rows import labelled, row, task_of

PAIRS = [("card is lost", "card"), ("pin is wrong", "pin")] * 4


def with_system(rows: tuple[Example, ...], *systems: str) -> tuple[Example, ...]:
    """Rows with these system messages by turns."""
    return tuple(
        replace(example, messages=(("system", systems[number % len(systems)]), *example.messages))
        for number, example in enumerate(rows)
    )


def question(example: Example) -> Messages:
    """What a client sends of a row: its question alone."""
    return tuple(message for message in example.prompt if message[0] != "system")


def test_the_model_reads_of_a_bare_question_what_it_read_when_the_row_was_measured() -> None:
    rows = labelled("a", PAIRS), labelled("t", PAIRS)
    for train, test in (
        rows,
        (with_system(rows[0], "Name the topic."), with_system(rows[1], "Name the topic.")),
    ):
        task = task_of(train, test)
        shots = [train[0].id, train[1].id]
        form = keeping.form_of(task, plain=False, max_tokens=7, shots=shots)
        ask = Ask((train[0].messages, train[1].messages), task.labels, 7)
        assert [form.messages(question(e)) for e in test] == [ask.messages(e) for e in test]
        assert [form.messages(e.prompt) for e in test] == [ask.messages(e) for e in test]
        assert (form.labels, form.max_tokens, form.conversations) == (("card", "pin"), 7, False)


def test_system_messages_that_differ_are_the_rows_own() -> None:
    rows = with_system(labelled("a", PAIRS), "Be brief.", "Be kind.")
    form = keeping.form_of(task_of(rows, rows), plain=True, max_tokens=7, shots=[rows[0].id])
    ask = Ask((rows[0].messages,), form.labels, 7)
    assert (form.system, form.plain) == ("", True)
    assert [form.messages(e.prompt) for e in rows] == [ask.messages(e) for e in rows]


def test_rows_that_are_conversations_are_said_to_be() -> None:
    talk = Example(
        "t",
        (("user", "Hi"), ("assistant", "Yes?"), ("user", "Lost it"), ("assistant", "card")),
        {"label": "card"},
    )
    task = task_of([talk, row("u", "x", "pin")], [talk])
    assert keeping.form_of(task, plain=False, max_tokens=7).conversations


def test_a_form_that_cannot_be_read_again_is_not_written() -> None:
    task = Task(
        "t", Splits(labelled("a", PAIRS), (), labelled("t", PAIRS), (), 0), None, ("a" * 3000, "b"), "", {}
    )
    with pytest.raises(BadModel, match="a label has 3,000 characters"):
        keeping.form_of(task, plain=False, max_tokens=7)


def test_a_model_as_it_stands_is_stored_under_the_task_without_a_copy_of_its_weights(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    base = pull(store, f"file:{gguf(tmp_path / 'model.gguf')}", "org/base")
    form = AnswerForm(labels=("card", "pin"), shots=((("user", "q"), ("assistant", "card")),))
    told = {"task": "tickets", "how": "few-shot", "trial": "abc", "data": {"train": "ab"}}
    kept = keeping.keep_as_is(store, base, form, **told)
    assert kept.name == "tickets/org-base-few-shot"
    assert kept.digest == base.digest
    assert of_model(store, kept) == form
    assert len([path for path in store.blobs.rglob("*") if path.is_file()]) == 2  # the weights and the form
    assert store.base_of(kept) == base
    assert kept.info.licence == base.info.licence
    assert choose_models(store, []) == [base]  # it is no candidate of a later trial

    assert keeping.keep_as_is(store, base, form, **told) == kept  # once
    other = keeping.keep_as_is(store, base, replace(form, shots=()), **told)
    assert (other.name, other.revision == kept.revision) == (kept.name, False)
    assert keeping.stored(store, kept.name, base.digest, form) == kept
    assert keeping.stored(store, kept.name, base.digest, AnswerForm()) is None

    again = keeping.keep_as_is(store, kept, replace(form, max_tokens=3), **told)  # its own form is not kept
    assert of_model(store, again).max_tokens == 3  # type: ignore[union-attr]
    assert answer_form.FILE in again.manifest
