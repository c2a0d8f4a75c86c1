"""A loaded model answers, chats or makes vectors, and opens no socket while it does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import freehold
from freehold.core.errors import Unsupported, UsageError
from freehold.models.store import Store
from tests.servers.inference.tiny_server import store_tiny


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("loading")
    return store_tiny(folder / "home", folder)


@pytest.mark.slow
def test_generate_takes_a_text_or_messages_and_is_greedy(store: Store) -> None:
    with freehold.load("tiny", store=store) as model:
        text = model.generate("Hello world", max_tokens=8)
        assert text
        assert model.generate([{"role": "user", "content": "Hello world"}], max_tokens=8) == text
        assert model.generate([("user", "Hello world")], max_tokens=8) == text
        with_system = model.generate("Hello world", system="See the lamp", max_tokens=8)
        told = [("system", "See the lamp"), ("user", "Hello world")]
        assert model.generate(told, max_tokens=8) == with_system
        assert repr(model) == f"<freehold.Loaded {model.name}: a language model>"


def test_chat_reads_the_earlier_turns(store: Store) -> None:
    turns = [("user", "Hello world"), ("assistant", "a lamp"), ("user", "again")]
    with freehold.load("tiny", store=store) as model:
        answers = {model.chat(turns[n:], max_tokens=8, temperature=0.0) for n in (0, 2)}
        assert len(answers) == 2


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "the last message must be the user's"),
        ([("user", "a"), ("assistant", "b")], "the last message must be the user's"),
        ([{"role": "robot", "content": "a"}], "message 1 must have a role"),
        ([{"role": "user"}], "message 1 must have a role"),
        ([("user", "a", "b")], "message 1 must have a role"),
    ],
)
def test_what_is_not_a_conversation_is_refused(
    store: Store, messages: list[tuple[str, str]], message: str
) -> None:
    with freehold.load("tiny", store=store) as model, pytest.raises(UsageError, match=message):
        model.chat(messages)


def test_embed_gives_a_vector_for_each_text(store: Store) -> None:
    with freehold.load("vectors", store=store) as model:
        vectors = model.embed(["Hello world", "a broken lamp"])
        assert (vectors.shape, vectors.dtype) == ((2, 32), np.dtype("float32"))
        assert np.allclose(model.embed("a broken lamp")[0], vectors[1], atol=1e-5)
        with pytest.raises(Unsupported, match="makes vectors and does not answer"):
            model.generate("Hello")


def test_a_language_model_makes_no_vectors(store: Store) -> None:
    with freehold.load("tiny", store=store) as model, pytest.raises(Unsupported, match="does not make vec"):
        model.embed("Hello")


#: Ends the process where anything but a local socket would be opened.
WATCHED = """
import socket, sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("OPENED", event, arguments[-1], flush=True)
sys.addaudithook(hook)
"""
LOADS = """
import freehold
for name in ("tiny", "vectors"):
    with freehold.load(name) as model:
        print(model.embed("lamp").shape if name == "vectors" else len(model.generate("lamp", max_tokens=4)))
import os
print(os.environ["HF_HUB_OFFLINE"], os.environ["HF_HUB_DISABLE_TELEMETRY"])
"""


def watched(store: Store, program: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", WATCHED + program],
        env={**environment, "FREEHOLD_HOME": str(store.folder)},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.slow
def test_loading_and_asking_opens_no_socket(store: Store) -> None:
    done = watched(store, LOADS)
    assert "OPENED" not in done.stdout
    assert done.stdout.splitlines()[1:] == ["(1, 32)", "1 1"]


def test_the_watch_sees_a_socket(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = watched(store, f"socket.create_connection(('127.0.0.1', {port})).close()")
    assert "OPENED" in done.stdout
