"""The form in which a task's rows are asked, and how an untuned variant is stored with it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from freehold.core import atomic_files
from freehold.data.examples import Example
from freehold.models import answer_form
from freehold.models.answer_form import AnswerForm
from freehold.models.intake import made_here
from freehold.models.lineage import AskedStep
from freehold.models.store import Model, Store
from freehold.trial.task import Task

#: Characters of a model's name that a stored variant's name has room for.
_MOST_NAME = 80
#: Files of a model that belong to another task: how it was asked there, and its rows.
_OF_OTHERS = (answer_form.FILE, "task.json")


def form_of(task: Task, *, plain: bool, max_tokens: int, shots: Sequence[str] = ()) -> AnswerForm:
    """How the task's rows are asked when they are measured.

    ``shots``: ids of training rows. Raises BadModel for what no form can hold.
    """
    splits = task.splits
    by_id = {example.id: example for example in splits.train}
    rows = (*splits.train, *splits.valid, *splits.test)
    form = AnswerForm(
        labels=tuple(task.labels),
        system=_shared_system(rows),
        shots=tuple(
            tuple(message for message in by_id[name].messages if message[0] != "system") for name in shots
        ),
        plain=plain,
        conversations=any(role == "assistant" for row in rows for role, _ in row.prompt),
        max_tokens=max_tokens,
    )
    return answer_form.parse(form.as_text().encode())


def _shared_system(rows: Sequence[Example]) -> str:
    """The system message that all rows have; '' where they differ or have none."""
    messages = {row.prompt[0][1] if row.prompt[0][0] == "system" else "" for row in rows}
    return messages.pop() if len(messages) == 1 else ""


def write_form(folder: Path, form: AnswerForm) -> dict[str, Path]:
    """Write the form as a file for a model that will be stored; the path by its name there."""
    path = folder / answer_form.FILE
    atomic_files.write_atomically(path, form.as_text())
    return {answer_form.FILE: path}


def stored(store: Store, name: str, digest: str, form: AnswerForm) -> Model | None:
    """The newest revision of ``name`` with these weights and this form; None where there is none."""
    same = [
        model
        for model in store.models()
        if model.name == name and model.digest == digest and answer_form.of_model(store, model) == form
    ]
    return same[-1] if same else None


def keep_as_is(
    store: Store, model: Model, form: AnswerForm, *, task: str, how: str, trial: str, data: dict[str, str]
) -> Model:
    """Store an untuned model under a name of the task, with the form in which it was measured.

    The weights are already in the store: nothing is copied. ``how``: zero-shot or few-shot.
    """
    name = f"{task}/{model.name.replace('/', '-')[:_MOST_NAME]}-{how}"
    if model.info.format == "gguf" and (known := stored(store, name, model.digest, form)) is not None:
        return known
    files = {file: store.file(model, file) for file in model.manifest if file not in _OF_OTHERS}
    with tempfile.TemporaryDirectory(prefix="form-", dir=store.incoming) as folder:
        return store.add(
            name,
            made_here(files | write_form(Path(folder), form)),
            {"source": f"trial:{trial}"},
            licence=model.info.licence,
            licence_from=f"inherited from {model.name}",
            lineage=model.made_into(AskedStep(how=how, trial=trial, data=data, form=form.summary())),
        )
