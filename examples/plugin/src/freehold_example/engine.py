"""An engine that repeats the prompt. It reads no weights: its tokens are the bytes of the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from freehold.core.errors import DoesNotFit, Unsupported
from freehold.inference.interface import Completion, Engine, EngineKind, OpenOptions, Tokenizer
from freehold.inference.request import GenerationRequest

#: Ends an answer; the numbers below it are bytes.
_END = 256


class ByteTokenizer:
    """A token for each byte of the text in UTF-8, and one that ends an answer."""

    bos_token = ""
    eos_token = ""
    size = _END + 1
    end = _END

    def encode(self, text: str, *, start: bool) -> list[int]:
        """The bytes; there is no start token."""
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of bytes."""
        return bytes(token for token in tokens if token < _END).decode("utf-8", "replace")

    def least(self, text: str) -> int:
        """Each character has at least a byte."""
        return len(text)

    def is_end(self, token: int) -> bool:
        """Whether the token ends an answer."""
        return token == _END


class EchoEngine:
    """Answers with the prompt, cut at the longest answer."""

    def __init__(self, context_length: int):
        self.context_length = context_length
        self.vocabulary: Tokenizer = ByteTokenizer()

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion]]:
        """The answers in order. Raises DoesNotFit for a prompt over the context length, Unsupported
        for answers that must be one of some labels or follow a grammar.
        """
        for index, request in enumerate(requests):
            if request.choices or request.grammar or request.matcher:
                raise Unsupported("the engine echo cannot bind answers", "use llama.cpp, or --no-form")
            if len(request.tokens) > self.context_length:
                raise DoesNotFit(
                    f"a prompt of {len(request.tokens)} tokens exceeds the context of {self.context_length}",
                    "shorten it",
                )
            tokens = tuple(request.tokens[: request.max_tokens])
            finish = "stop" if len(tokens) == len(request.tokens) else "length"
            text = self.vocabulary.decode(tokens)
            yield index, Completion(text, tokens, finish, len(request.tokens), 0.0, 0.0)

    def score(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Not here: nothing is predicted. Raises Unsupported."""
        raise Unsupported("the engine echo has no probabilities", "use llama.cpp")

    def close(self) -> None:
        """Nothing is held."""


class Echo:
    """What is registered. It opens any GGUF file."""

    formats = frozenset({"gguf"})

    def open(self, weights: Path, options: OpenOptions) -> Engine:
        """The engine. Raises Unsupported for an adapter."""
        if options.adapter is not None:
            raise Unsupported("the engine echo has no adapters", "use llama.cpp")
        return EchoEngine(options.context_length)

    def tokenizer(self, weights: Path) -> Tokenizer:
        """A tokenizer of bytes."""
        return ByteTokenizer()


ENGINE: EngineKind = Echo()
