"""A request under way: what was computed of it, how its tokens are drawn, and the answer that it becomes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from freehold.core.errors import FreeholdError, StepFailed
from freehold.inference.grammar import Matcher
from freehold.inference.interface import Choices, Completion
from freehold.inference.llama import LlamaTokenizer
from freehold.inference.prompt_lookup import PromptLookup
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Likelihood, likelihood
from freehold.inference.sequences import KvSequence


@dataclass
class Running:
    """A request under way."""

    #: The caller's number of it.
    number: int
    request: GenerationRequest
    sequence: KvSequence
    #: Tokens to be computed next.
    pending: list[int]
    #: Prompt tokens that had been computed before.
    reused: int
    #: When it was admitted, on the performance counter.
    started: float
    rng: np.random.Generator
    #: Drafts of its next tokens; None for no drafts.
    lookup: PromptLookup | None
    #: The prompt's tokens as an array.
    prompt: np.ndarray
    #: What binds the answer to a grammar.
    matcher: Matcher | None = None
    #: Tokens of the call under way that nobody has drawn yet.
    draft: list[int] = field(default_factory=list)
    #: The answer so far.
    tokens: list[int] = field(default_factory=list)
    #: The answer's text so far.
    data: bytearray = field(default_factory=bytearray)
    likelihoods: list[Likelihood] = field(default_factory=list)
    first_token_s: float = 0.0
    #: Tokens offered by drafts, and how many of them the model drew itself.
    drafted: int = 0
    accepted: int = 0
    #: The stop text that ended it.
    stopped_by: str = ""
    #: Its part of the energy of the calls so far.
    joules: float = 0.0

    @property
    def answering(self) -> bool:
        """Whether its prompt has been read."""
        return bool(self.tokens)

    @property
    def prompt_read(self) -> int:
        """Tokens of its prompt that have been computed or taken over."""
        return len(self.prompt) if self.answering else min(len(self.prompt), len(self.sequence.tokens))

    @property
    def cells_left(self) -> int:
        """Cells that it may still take."""
        return len(self.pending) + self.request.max_tokens - len(self.tokens)

    def extend(self, logits: np.ndarray, vocabulary: LlamaTokenizer) -> str:
        """Draw the next token; why the answer ends with it, or ''. Raises StepFailed, Unsupported."""
        request = self.request
        if not self.first_token_s:
            self.first_token_s = time.perf_counter() - self.started
        if not np.isfinite(logits).all():
            raise StepFailed(
                "the model computed logits that are not finite numbers", "check the model's file"
            )
        changed = request.sampling.applied(logits, request.tokens, self.tokens)
        if request.choices is not None:
            return self._choose(request.choices, logits, changed)
        if self.matcher is not None:
            changed = self.matcher.bound(changed)
        token = request.sampling.pick(changed, self.rng)
        self._report(logits, token)
        if self.matcher is not None:
            self.matcher.take(token)
        if vocabulary.is_end(token):
            return "stop"
        piece = vocabulary.piece(token)
        self._append(token)
        self.data += piece
        if self.lookup is not None:
            self.lookup.add(token)
        self.stopped_by = first_stop(self.data, len(piece), request.stops)
        if self.stopped_by or (self.matcher is not None and self.matcher.over):
            return "stop"
        return "length" if len(self.tokens) >= request.max_tokens else ""

    def _choose(self, choices: Choices, logits: np.ndarray, changed: np.ndarray) -> str:
        """Draw the next token among those that continue one of the choices; the reason why the answer ends,
        or ''.
        """
        allowed = choices.allowed(self.tokens)
        token = allowed[self.request.sampling.pick(changed[allowed], self.rng)]
        self._report(logits, token)
        self._append(token)
        if choices.settled(self.tokens) is not None:
            return "choice"
        return "length" if len(self.tokens) >= self.request.max_tokens else ""

    def _append(self, token: int) -> None:
        self.tokens.append(token)
        self.pending = [token]

    def _report(self, logits: np.ndarray, token: int) -> None:
        if self.request.likelihoods is not None:
            self.likelihoods.append(likelihood(logits, token, self.request.likelihoods))

    def completion(self, finish: str, vocabulary: LlamaTokenizer, *, metered: bool) -> Completion:
        """The answer so far, as one that ended by ``finish``. ``metered``: whether its energy was counted."""
        text, tokens = self._text(vocabulary)
        if self.stopped_by:
            text = text.partition(self.stopped_by.encode())[0]
        return Completion(
            text.decode("utf-8", "replace"),
            tokens,
            finish,
            self.prompt_read,
            self.first_token_s,
            time.perf_counter() - self.started,
            stopped_by=self.stopped_by,
            reused=self.reused,
            drafted=self.drafted,
            accepted=self.accepted,
            likelihoods=tuple(self.likelihoods),
            joules=self.joules if metered else None,
        )

    def _text(self, vocabulary: LlamaTokenizer) -> tuple[bytes, tuple[int, ...]]:
        choices = self.request.choices
        if choices is None:
            return bytes(self.data), tuple(self.tokens)
        index = choices.settled(self.tokens)
        if index is None:
            return vocabulary.decode(self.tokens).encode(), tuple(self.tokens)
        return choices.answers[index].encode(), choices.tokens[index]


@dataclass
class Part:
    """What one text adds to a call: tokens to be computed after those of ``sequence``."""

    #: Whose they are; None for tokens that nobody asked for, which are forgotten after the call.
    running: Running | None
    sequence: KvSequence
    tokens: list[int]
    #: How many of the last tokens need logits.
    outputs: int


@dataclass(frozen=True)
class Ended:
    """A request that is over: its completion, or what was computed of it until ``error`` ended it."""

    number: int
    completion: Completion
    error: FreeholdError | None = None


def first_stop(data: bytes | bytearray, last: int, stops: Sequence[str]) -> str:
    """The stop text that begins first in ``data`` and ends in its ``last`` bytes; '' for none."""
    earliest, start = "", len(data)
    for stop in stops:
        text = stop.encode()
        begins = data.find(text, max(0, len(data) - last - len(text)))
        if 0 <= begins < start:
            earliest, start = stop, begins
    return earliest


def settled(data: bytes, stops: Sequence[str]) -> str:
    """The text of ``data`` short of what may become a stop text, and of a character whose last bytes have not
    come.
    """
    end = len(data)
    for stop in stops:
        text = stop.encode()
        at = data.find(text[:1], max(0, len(data) - len(text) + 1), end)
        while at >= 0 and not text.startswith(data[at:]):
            at = data.find(text[:1], at + 1, end)
        end = at if at >= 0 else end
    return data[: _whole_characters(data[:end])].decode("utf-8", "replace")


def _whole_characters(data: bytes) -> int:
    """How many bytes of ``data`` are not the beginning of a character that lacks its last bytes."""
    for back in range(1, min(4, len(data)) + 1):
        first = data[-back]
        if first < 0x80:
            break
        if first >= 0xC0:
            size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            return len(data) - back if size > back else len(data)
    return len(data)
