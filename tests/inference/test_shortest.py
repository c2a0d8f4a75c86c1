"""A bound on a text's tokens that is never more than the text's tokens, and is known at once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from freehold.core.errors import DoesNotFit
from freehold.data.templates import choose
from freehold.inference.interface import PromptEncoder
from freehold.inference.llama import LlamaTokenizer
from freehold.inference.shortest_tokens import Shortest
from freehold.models.intake import made_here
from freehold.models.store import Store
from freehold.runtime.gguf_form import as_gguf
from tests import tiny

PARTS = (
    " ",
    "\n",
    "\t\t",
    "hello",
    " world",
    "<",
    "<|",
    "<|end|>",
    "é",
    "世界",
    "\U0001f600",
    "1234",
    "!!!!",
    "a" * 31,
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> LlamaTokenizer:
    folder = tmp_path_factory.mktemp("tiny")
    files = {path.name: path for path in tiny.model("llama", folder / "model").iterdir()}
    store = Store(folder / "home")
    model = as_gguf(store, store.add("tiny", made_here(files), {"source": "test"}))
    return LlamaTokenizer(store.weights(model))


def test_it_is_never_more_than_the_tokens(vocabulary: LlamaTokenizer) -> None:
    drawn = random.Random(7)
    for _ in range(300):
        text = "".join(drawn.choices(PARTS, k=drawn.randrange(1, 60)))
        assert vocabulary.least(text) <= len(vocabulary.encode(text, start=False)), text


def test_it_is_near_enough_to_refuse_what_is_far_too_long(vocabulary: LlamaTokenizer) -> None:
    text = "Please send another one! " * 1000
    tokens = len(vocabulary.encode(text, start=False))
    assert tokens / 8 < vocabulary.least(text) <= tokens


def test_a_long_text_counts_the_same_in_parts() -> None:
    shortest = Shortest([b"abcd", b"ab", b"x" * 40], spaces=True)
    assert shortest.tokens(b"abcd" * 300_000) == pytest.approx(300_000, abs=3)
    assert shortest.tokens(b"x" * 400_000) == pytest.approx(10_000, abs=3)
    assert shortest.tokens(b"zyzy" * 100_000) == pytest.approx(400_000, abs=3)
    assert shortest.tokens(b"") == 0


def test_white_space_counts_for_nothing_where_a_tokenizer_drops_it() -> None:
    assert Shortest([b"ab"], spaces=False).tokens(b" " * 1000) == 0
    assert Shortest([b"ab"], spaces=True).tokens(b" " * 1000) == pytest.approx(1000, abs=1)


def test_a_prompt_that_cannot_fit_is_refused_before_it_is_made_tokens(vocabulary: LlamaTokenizer) -> None:
    class Untouched(LlamaTokenizer):
        def __init__(self) -> None:
            self.__dict__.update(vocabulary.__dict__)

        def encode(self, text: str, *, start: bool) -> list[int]:
            raise AssertionError("the text was made tokens")

    template = choose(None, bos_token="", eos_token="")
    with pytest.raises(DoesNotFit, match="at least .* tokens, exceeds the context of 100 tokens"):
        PromptEncoder(template, Untouched(), 100).chat([{"role": "user", "content": "<|" * 100_000}])
    assert PromptEncoder(template, vocabulary, 100).text("Hello", start=False)


def test_a_very_long_token_counts_with_its_own_bytes() -> None:
    class Library:
        def llama_token_to_piece(self, _: int, token: int, buffer: Any, room: int, *rest: Any) -> int:
            written = (b"ab" * 1000, b"a", b"b")[token]
            if len(written) > room:
                return -len(written)
            buffer[: len(written)] = written
            return len(written)

        def llama_vocab_type(self, _: int) -> int:
            return 1

    vocabulary = LlamaTokenizer.__new__(LlamaTokenizer)
    vocabulary._lib, vocabulary._vocab, vocabulary.size, vocabulary._shortest = Library(), 0, 3, None
    assert vocabulary.least("ab" * 1000) <= 1
