"""The answer form: what it says, what is read of one, and that it stays with its model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.core.errors import BadModel
from freehold.models import answer_form, file_selection
from freehold.models.answer_form import FILE, AnswerForm, of_model, parse
from freehold.models.archive import archive
from freehold.models.intake import made_here
from freehold.models.store import Model, Store
from tests.entry import pull, restore
from tests.hub.models import gguf

FORM = AnswerForm(
    labels=("card lost", "pin \u00e9"),
    system="Name the topic.",
    shots=((("user", "Where is it?"), ("assistant", "card lost")),),
    plain=True,
    max_tokens=12,
)


def text(**changes: Any) -> bytes:
    """The form's file with fields changed; None takes one out."""
    value = FORM.as_dict() | changes
    return json.dumps({key: entry for key, entry in value.items() if entry is not ...}).encode()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small GGUF model and its form."""
    place = tmp_path / "model"
    place.mkdir()
    gguf(place / "model.gguf")
    (place / FILE).write_text(FORM.as_text())
    return place


def test_what_is_written_is_read_again() -> None:
    for form in (
        FORM,
        AnswerForm(),
        AnswerForm(schema='{"type": "object", "b": 1, "a": 2}', conversations=True),
    ):
        assert parse(form.as_text().encode()) == form


def test_a_question_gets_system_message_and_worked_examples_before_it() -> None:
    shown = (("user", "Where is it?"), ("assistant", "card lost"))
    assert FORM.messages((("user", "q"),)) == (("system", "Name the topic."), *shown, ("user", "q"))
    own = (("system", "Be brief."), ("user", "q"))
    assert FORM.messages(own) == (own[0], *shown, own[1])


@pytest.mark.parametrize(
    ("roles", "alone", "in_conversations"),
    [
        (("user",), True, True),
        (("system", "user"), True, True),
        (("user", "user"), True, True),
        (("user", "assistant", "user"), False, True),
        (("user", "assistant"), False, False),
        (("user", "assistant", "tool"), False, False),
        (("system",), False, False),
        ((), False, False),
    ],
)
def test_what_is_a_question_as_the_rows_are(
    roles: tuple[str, ...], alone: bool, in_conversations: bool
) -> None:
    assert FORM.asks(roles) is alone
    assert AnswerForm(conversations=True).asks(roles) is in_conversations


DEEP = '{"a":' * 100 + "1" + "}" * 100

HOSTILE: list[tuple[str, bytes, str]] = [
    ("not JSON", b"{", "not valid JSON"),
    ("not UTF-8", b"\xff\xfe{}", "not valid JSON"),
    ("a list", b"[]", "not a JSON object"),
    ("nested without end", b"[" * 200_000, "not valid JSON"),
    ("half a character", text().replace(b"Name the", rb"\ud800"), "not valid JSON"),
    ("no number", text().replace(b'"max_tokens": 12', b'"max_tokens": NaN'), "not valid JSON"),
    ("too large", b" " * (answer_form.MOST_BYTES + 1), "at most 4,194,304"),
    ("a later version", text(form_version=2), "version 2"),
    ("version true", text(form_version=True), "version True"),
    ("no version", text(form_version=...), "version None"),
    ("a field that is not known", text(run="rm -rf /"), "'run' is not known"),
    ("another sampling", text(sampling="hot"), "sampling must be 'greedy'"),
    ("labels as text", text(labels="ab"), "labels must be a list"),
    ("too many labels", text(labels=[str(n) for n in range(20_001)]), "at most 20,000"),
    ("a label that is no text", text(labels=[1, 2]), "a label must be text"),
    ("an empty label", text(labels=["a", " "]), "a label is empty"),
    ("a label twice", text(labels=["a", "a"]), "twice"),
    ("a long label", text(labels=["a" * 2_001, "b"]), "2,001 characters"),
    ("a null character", text(labels=["a\0", "b"]), "null character"),
    ("a system message that is none", text(system=["x"]), "system must be text"),
    ("plain as a number", text(plain=1), "plain must be true or false"),
    ("conversations as text", text(conversations="yes"), "conversations must be true or false"),
    ("max_tokens true", text(max_tokens=True), "max_tokens must be a whole number"),
    ("max_tokens below 0", text(max_tokens=-1), "max_tokens must be a whole number"),
    ("max_tokens without end", text(max_tokens=10**12), "max_tokens must be a whole number"),
    ("max_tokens as a fraction", text(max_tokens=1.5), "max_tokens must be a whole number"),
    ("labels and a schema", text(schema={"type": "object"}), "only one of them"),
    ("a schema that is none", text(labels=[], schema=["x"]), "schema must be a JSON schema"),
    ("a deep schema", text(labels=[], schema=json.loads(DEEP)), "deeper than 64"),
    ("shots that are none", text(shots={"a": 1}), "shots must be a list"),
    ("too many messages", text(shots=[[{"role": "user", "content": "x"}] * 513]), "more than 512"),
    ("a shot without an answer", text(shots=[[{"role": "user", "content": "x"}]]), "end with an answer"),
    (
        "a shot by a tool",
        text(shots=[[{"role": "tool", "content": "x"}, {"role": "assistant", "content": "y"}]]),
        "user and assistant",
    ),
    ("a shot with more", text(shots=[[{"role": "user", "content": "x", "run": 1}]]), "user and assistant"),
    (
        "a message that is no text",
        text(shots=[[{"role": "user", "content": 1}, {"role": "assistant", "content": "y"}]]),
        "a message must be text",
    ),
    ("an empty shot", text(shots=[[]]), "end with an answer"),
]


@pytest.mark.parametrize(("data", "phrase"), [entry[1:] for entry in HOSTILE], ids=[e[0] for e in HOSTILE])
def test_a_hostile_form_is_refused_in_a_sentence(data: bytes, phrase: str) -> None:
    with pytest.raises(BadModel, match=phrase.replace("(", r"\(")) as error:
        parse(data)
    assert FILE in error.value.message
    assert len(error.value.message) < 300
    assert error.value.remedy


def test_a_model_with_a_hostile_form_is_not_taken_in(store: Store, folder: Path) -> None:
    (folder / FILE).write_bytes(text(labels=[1]))
    with pytest.raises(BadModel, match="a label must be text"):
        pull(store, f"file:{folder}", "one")
    with pytest.raises(BadModel, match="a label must be text"):
        store.add(
            "one", made_here({"m.gguf": folder / "model.gguf", FILE: folder / FILE}), {"source": "test"}
        )
    assert store.models() == []


def pulled(store: Store, folder: Path, tmp_path: Path) -> Model:
    return pull(store, f"file:{folder}", "one")


def archived(store: Store, folder: Path, tmp_path: Path) -> Model:
    written = archive(store, pull(store, f"file:{folder}", "one"), tmp_path / "one.tar")
    return restore(Store(tmp_path / "elsewhere"), written, "two")


@pytest.mark.parametrize("way", [pulled, archived])
def test_a_form_travels_with_its_model(
    way: Callable[[Store, Path, Path], Model], store: Store, folder: Path, tmp_path: Path
) -> None:
    model = way(store, folder, tmp_path)
    there = Store(tmp_path / "elsewhere") if model.name == "two" else store
    assert of_model(there, model) == FORM
    assert FILE in model.manifest


def test_a_form_is_chosen_with_the_weights_from_a_hub() -> None:
    names = ["x-Q4_K_M.gguf", "x-Q8_0.gguf", FILE, "README.md", "config.json"]
    assert set(file_selection.select(names, "hf:a/b", "x-Q8_0.gguf").taken) == {
        "x-Q8_0.gguf",
        FILE,
        "README.md",
    }
    assert FILE in file_selection.select(["config.json", "model.safetensors", FILE], "hf:a/b").taken


def test_a_model_without_a_form_says_nothing_and_an_older_tuned_one_its_system_message(
    store: Store, folder: Path
) -> None:
    (folder / FILE).unlink()
    assert of_model(store, pull(store, f"file:{folder}", "bare")) is None
    rows = {"train": [{"messages": [["system", "Be brief."], ["user", "q"], ["assistant", "a"]]}] * 2}
    (folder / "task.json").write_text(json.dumps(rows))
    files = {"m.gguf": folder / "model.gguf", "task.json": folder / "task.json"}
    assert of_model(store, store.add("old", made_here(files), {"source": "test"})) == AnswerForm(
        system="Be brief."
    )
