"""What an engine is: it turns prompts into answers, many at once, and says what answers are worth."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from freehold.core.errors import DoesNotFit
from freehold.data.templates import ChatTemplate, Messages
from freehold.inference.sampling import Likelihood

if TYPE_CHECKING:
    from freehold.inference.request import GenerationRequest


@dataclass(frozen=True)
class Choices:
    """A closed set of answers as token sequences, each ending with the end-of-turn token."""

    answers: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        tree: dict[int, dict[int, object]] = {}
        only: dict[tuple[int, ...], int | None] = {}
        for index, sequence in enumerate(self.tokens):
            node: dict[int, object] = tree  # type: ignore[assignment]
            for size, token in enumerate(sequence, 1):
                node = node.setdefault(token, {})  # type: ignore[assignment]
                beginning = sequence[:size]
                only[beginning] = None if beginning in only else index
        only[()] = 0 if len(self.tokens) == 1 else None
        object.__setattr__(self, "tree", tree)
        object.__setattr__(self, "only", only)

    def allowed(self, so_far: Sequence[int]) -> list[int]:
        """Tokens that may follow ``so_far``; one or none when the answer is settled."""
        node: dict[int, object] = self.tree  # type: ignore[attr-defined]
        for token in so_far:
            node = node[token]  # type: ignore[assignment]
        return list(node)

    def settled(self, so_far: Sequence[int]) -> int | None:
        """Index of the only answer that begins with ``so_far``; None while there are several."""
        return self.only.get(tuple(so_far))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Completion:
    """An answer. ``tokens`` of a chosen answer are the whole answer's, end of turn included."""

    text: str
    tokens: tuple[int, ...]
    #: ``stop`` (ended itself, or a stop text), ``choice``, or ``length`` (cut at max_tokens).
    finish: str
    prompt_tokens: int
    #: Seconds from the request's admission to its first token and to its end.
    first_token_s: float
    total_s: float
    #: The stop text that ended it, if one did.
    stopped_by: str = ""
    #: Prompt tokens that had been computed before.
    reused: int = 0
    #: Tokens offered by prompt lookup, and how many of them the model drew itself.
    drafted: int = 0
    accepted: int = 0
    #: Of each token, where the request asks for them.
    likelihoods: tuple[Likelihood, ...] = ()
    #: Its part of the energy that the engine's steps took; None where nothing counts.
    joules: float | None = None


def common_prefix(rows: Sequence[Sequence[int]]) -> list[int]:
    """Tokens that all rows begin with. Raises ValueError for no rows."""
    low, high = min(map(list, rows)), max(map(list, rows))
    size = next(
        (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
    )
    return low[:size]


class Tokenizer(Protocol):
    """Text to tokens and back. ``bos_token`` is '' for a model without a start token."""

    bos_token: str
    eos_token: str
    #: Tokens that there are, numbered from 0.
    size: int

    def encode(self, text: str, *, start: bool) -> list[int]:
        """Tokens of ``text``, control tokens recognised; ``start`` puts the start token first, if the model
        has one.
        """
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, control tokens left out."""
        ...

    def least(self, text: str) -> int:
        """Tokens that ``text`` has at least, known without making them tokens."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the token ends a turn."""
        ...

    @property
    def end(self) -> int:
        """The token appended to an answer whose template ends it with none."""
        ...


class Engine(Protocol):
    """A loaded model."""

    context_length: int

    @property
    def vocabulary(self) -> Tokenizer:
        """Its tokens."""
        ...

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion]]:
        """Answers as they end, each with its request's index.

        Raises DoesNotFit for a prompt over the context length.
        """
        ...

    def score(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities (nats) of the answer tokens of each (prompt, answer)."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


@dataclass(frozen=True)
class OpenOptions:
    """How a model is opened."""

    #: tokens of context, for all answers at once
    context_length: int
    #: answers at once
    parallel: int = 1
    #: an adapter: a GGUF file for a GGUF model, the folder of a PEFT adapter for a safetensors folder
    adapter: Path | None = None
    #: threads; 0: as many as this process may use
    threads: int = 0


class EngineKind(Protocol):
    """What a package registers under ``freehold.engines``: a way to run models."""

    @property
    def formats(self) -> Collection[str]:
        """The formats of weights that it reads: ``gguf`` (a file), ``safetensors`` (a folder)."""
        ...

    def open(self, weights: Path, options: OpenOptions, /) -> Engine:
        """The loaded model. Raises BadModel, DoesNotFit, and Unsupported for an option that it does not
        have.
        """
        ...

    def tokenizer(self, weights: Path, /) -> Tokenizer:
        """The tokenizer of the weights, which are not loaded. Raises BadModel."""
        ...


@dataclass(frozen=True)
class PromptEncoder:
    """A template bound to a vocabulary: the one place where messages become tokens, in tuning and in serving
    alike.

    ``room``: tokens that a prompt may have, 0 for no limit. A text that cannot have so few is refused before
    it is made tokens, which takes a processor for minutes where the text is long and made for that.
    """

    template: ChatTemplate
    vocabulary: Tokenizer = field(repr=False)
    room: int = 0

    def prompt(self, messages: Messages) -> list[int]:
        """Tokens after which the model answers."""
        return self._open(self.template.prompt(messages))

    def chat(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """Tokens after which the model answers messages in the form of OpenAI's API."""
        return self._open(self.template.chat(messages, tools))

    def row(self, messages: Messages) -> tuple[list[int], list[int]]:
        """(prompt tokens, answer tokens): the answer up to and with its end-of-turn token."""
        before, after = self.template.pair(messages)
        return self._open(before), self._closing(after)

    def choices(self, asked: Messages, answers: Sequence[str]) -> Choices:
        """The answers as token sequences after the prompt of ``asked``."""
        # the prompt is the same for all, and may hold worked examples: only the answers become tokens
        texts = [self.template.pair((*asked, ("assistant", answer)))[1] for answer in answers]
        return Choices(tuple(answers), tuple(tuple(self._closing(text)) for text in texts))

    def _closing(self, after: str) -> list[int]:
        """Tokens of an answer up to and with its end of turn."""
        tokens = self.vocabulary.encode(after, start=False)
        for index, token in enumerate(tokens):
            if self.vocabulary.is_end(token):
                return tokens[: index + 1]
        return [*self.vocabulary.encode(after.rstrip(), start=False), self.vocabulary.end]

    def text(self, text: str, *, start: bool) -> list[int]:
        """Tokens of a text as it stands. Raises DoesNotFit for one that cannot fit into ``room``."""
        if self.room and len(text) > self.room and (least := self.vocabulary.least(text)) > self.room:
            raise DoesNotFit(
                f"a text of {len(text):,} characters, which is at least {least:,} tokens, "
                f"exceeds the context of {self.room:,} tokens",
                "shorten it",
            )
        return self.vocabulary.encode(text, start=start)

    def _open(self, text: str) -> list[int]:
        bos = self.vocabulary.bos_token
        return self.text(text.removeprefix(bos) if bos else text, start=True)
