"""The request that every engine takes, and the one check of it: what passes cannot end the process or disturb
other answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from freehold.core.errors import DoesNotFit, UsageError
from freehold.inference.grammar import Matcher, Source
from freehold.inference.interface import Choices
from freehold.inference.sampling import GREEDY, Sampling

#: Bytes of all stop texts of a request, which are looked for at every token.
STOP_BYTES = 16 << 10


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt, and how to answer it. ``grammar``, ``matcher`` or ``choices`` bind the answer."""

    tokens: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = GREEDY
    stops: tuple[str, ...] = ()
    #: Compiled (:func:`freehold.inference.grammar.of_schema` and its like), or still to be.
    grammar: str | Source | None = None
    #: How many of the likeliest tokens to report beside each drawn one; None for no report.
    likelihoods: int | None = None
    #: Name of one of the engine's adapters; '' for none.
    adapter: str = ""
    #: Whether prompt lookup may offer tokens.
    draft: bool = True
    #: The answers of which it must be one.
    choices: Choices | None = None
    #: Whose prompt it is: what was computed in one scope is not used in another.
    scope: str = ""
    #: A grammar that is ready to use.
    matcher: Matcher | None = None


def checked(request: GenerationRequest, vocabulary: int, longest: int) -> np.ndarray:
    """The prompt's tokens as an array, of a request that this engine can answer.

    ``vocabulary``: how many tokens there are; ``longest``: how many a prompt and its answer may have.

    Raises DoesNotFit, UsageError with the field that is wrong.
    """
    if not len(request.tokens):
        raise DoesNotFit("the prompt is empty", "give it at least one token")
    if not _is_count(request.max_tokens, 1):
        raise UsageError(f"max_tokens is {request.max_tokens!r}", "give a number of at least 1")
    if len(request.tokens) + request.max_tokens > longest:
        raise DoesNotFit(
            f"a prompt of {len(request.tokens)} tokens and an answer of up to {request.max_tokens} "
            f"exceed the context of {longest} tokens",
            "shorten the prompt, ask for fewer tokens, or use a larger context",
        )
    tokens = _tokens(request.tokens, vocabulary, "the prompt")
    _check_sampling(request.sampling, vocabulary)
    _check_stops(request.stops)
    if request.likelihoods is not None and not _is_count(request.likelihoods, 0):
        raise UsageError(f"logprobs is {request.likelihoods!r}", "give a number of tokens")
    return tokens


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 1 << 31


def _tokens(values: Any, vocabulary: int, name: str) -> np.ndarray:
    """Numbers of tokens as an array. Raises UsageError where a number is not a token."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind != "i":
        raise UsageError(
            f"{name} has something that is not a token", f"tokens are numbers from 0 to {vocabulary - 1}"
        )
    if len(array) and not (int(array.min()) >= 0 and int(array.max()) < vocabulary):
        wrong = int(array[(array < 0) | (array >= vocabulary)][0])
        raise UsageError(
            f"{name} has {wrong}, which is not a token", f"tokens are numbers from 0 to {vocabulary - 1}"
        )
    return array.astype(np.int32)


def _check_sampling(sampling: Sampling, vocabulary: int) -> None:
    numbers = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "presence_penalty": sampling.presence,
        "frequency_penalty": sampling.frequency,
        "repeat_penalty": sampling.repeat,
    }
    for name, value in numbers.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise UsageError(f"{name} is {value!r}", "give a finite number")
    for name in ("temperature", "top_p", "min_p"):
        if numbers[name] < 0:
            raise UsageError(f"{name} is {numbers[name]!r}", "give a number of at least 0")
    if sampling.repeat <= 0:
        raise UsageError(f"repeat_penalty is {sampling.repeat!r}", "give a number above 0")
    for name, value in (
        ("top_k", sampling.top_k),
        ("seed", sampling.seed),
        ("repeat_last", sampling.repeat_last),
    ):
        if not isinstance(value, int) or value < 0:
            raise UsageError(f"{name} is {value!r}", "give a whole number of at least 0")
    if sampling.bias:
        _tokens([token for token, _ in sampling.bias], vocabulary, "logit_bias")
        if not all(isinstance(amount, int | float) and math.isfinite(amount) for _, amount in sampling.bias):
            raise UsageError(
                "logit_bias has an amount that is not a finite number", "give numbers from -100 to 100"
            )


def _check_stops(stops: tuple[str, ...]) -> None:
    for stop in stops:
        if not isinstance(stop, str) or not stop:
            raise UsageError("a stop text is empty or not a text", "leave it out")
        try:
            stop.encode()
        except UnicodeEncodeError:
            raise UsageError(
                "a stop text has half a character (a lone surrogate)", "send valid Unicode"
            ) from None
    if sum(map(len, stops)) > STOP_BYTES:
        raise UsageError(f"the stop texts have more than {STOP_BYTES:,} characters", "give shorter ones")
