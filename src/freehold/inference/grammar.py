"""Answers bound to a form: JSON schemas, regular expressions and grammars, checked token by token by
llguidance.

A grammar comes from a client, so its cost has limits: of text (:data:`MOST_CHARACTERS`), of llguidance's work
on it and at each token (:func:`limits`), and of an answer's masks altogether (:data:`MASKS_S`). llguidance
ends its process where it finds no memory; a server therefore compiles a grammar in a process with limits
first (:mod:`freehold.inference.grammar_process`).
"""

from __future__ import annotations

import functools
import json
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from freehold.core.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from freehold.inference.llama import LlamaContext, LlamaTokenizer

#: Characters of a schema's or grammar's text; of several functions' schemas together.
MOST_CHARACTERS = 1 << 20
#: Seconds of processor time that the masks of one answer may take in all, and for each of its tokens beside.
#: Other answers wait for them.
MASKS_S, MASK_S = 1.0, 0.02
#: What llguidance takes for the beginning of a token that no text may bring about.
_CONTROL_MARK = b"\xff"

_tokenizers: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_reading = threading.Lock()


@dataclass(frozen=True)
class Source:
    """A form as a client wrote it, not compiled: a JSON schema, one between two texts, or a GBNF grammar."""

    kind: Literal["schema", "wrapped", "gbnf"]
    text: str
    before: str = ""
    after: str = ""

    @classmethod
    def of_schema(cls, schema: Any, before: str = "", after: str = "") -> Source:
        """A JSON schema, which may stand between two texts. Raises UsageError."""
        try:
            text = json.dumps(schema)
        except (RecursionError, ValueError, TypeError) as error:
            raise UsageError(
                f"the JSON schema cannot be written as JSON ({type(error).__name__})", "correct the schema"
            ) from None
        return cls("wrapped" if before or after else "schema", text, before, after)

    @classmethod
    def any_json(cls) -> Source:
        """Any JSON object."""
        return cls("schema", '{"type": "object"}')

    def compiled(self) -> str:
        """llguidance's form, checked. May take seconds and much memory. Raises UsageError."""
        if self.kind == "gbnf":
            return of_gbnf(self.text)
        if self.kind == "wrapped":
            return _wrapped(self.before, self.text, self.after)
        return _of_schema_text(self.text)


def limits() -> Any:
    """What llguidance may spend on a grammar, and on the mask of one token: a tenth of a second at the most
    on a slow core.
    """
    from llguidance import LLParserLimits

    return LLParserLimits(
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=100_000,
        step_max_items=30_000,
        max_lexer_states=50_000,
        max_grammar_size=200_000,
        precompute_large_lexemes=False,
        verbose_errors=False,
    )


def check_size(text: str) -> None:
    """Raises UsageError for a schema or grammar that is too long."""
    if len(text) > MOST_CHARACTERS:
        raise UsageError(
            f"the schema or grammar has {len(text):,} characters; at most {MOST_CHARACTERS:,} are allowed",
            "make it shorter",
        )


@functools.lru_cache(32)
def _checked(grammar: str) -> str:
    from llguidance import LLMatcher

    fault = LLMatcher.validate_grammar(grammar, limits=limits())
    if fault and not fault.startswith("WARNING"):
        raise UsageError(
            f"the answer's form is not understood: {fault.strip().splitlines()[0][:300]}",
            "correct the schema or grammar",
        )
    return grammar


def of_schema(schema: dict[str, Any]) -> str:
    """A JSON schema as a grammar. Raises UsageError."""
    return _of_schema_text(Source.of_schema(schema).text)


def _of_schema_text(text: str) -> str:
    from llguidance import LLMatcher

    check_size(text)
    try:
        return _checked(LLMatcher.grammar_from_json_schema(text, {"whitespace_flexible": False}))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the JSON schema is not understood: {str(error).splitlines()[0][:300]}", "correct the schema"
        ) from None


def of_wrapped_schema(before: str, schema: dict[str, Any], after: str) -> str:
    """A JSON schema between two texts. Raises UsageError."""
    return _wrapped(before, Source.of_schema(schema).text, after)


def _wrapped(before: str, schema: str, after: str) -> str:
    from llguidance import LLMatcher

    check_size(schema)
    lark = f"start: {json.dumps(before)} value {json.dumps(after)}\nvalue: %json {schema}\n"
    return _checked(LLMatcher.grammar_from_lark(lark))


def of_gbnf(text: str) -> str:
    """A GBNF grammar, as llama.cpp takes it. Raises UsageError."""
    from llguidance import LLMatcher
    from llguidance.gbnf_to_lark import gbnf_to_lark

    check_size(text)
    try:
        return _checked(LLMatcher.grammar_from_lark(gbnf_to_lark(text)))
    except UsageError:
        raise
    except Exception as error:  # the converter raises whatever it meets
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise UsageError(f"the grammar is not valid GBNF: {reason}", "correct it") from None


@dataclass
class Matcher:
    """Follows an answer through a grammar, and counts what its masks cost: :attr:`spent_s` of processor time
    for so many :attr:`masks`.
    """

    inner: Any
    spent_s: float = 0.0
    masks: int = 0

    def bound(self, logits: np.ndarray) -> np.ndarray:
        """Logits of the tokens that may come next, the others out of reach.

        Raises Unsupported where none may, or they cost too much.
        """
        began = time.thread_time()  # a busy machine must not end an answer
        mask = np.frombuffer(self.inner.compute_bitmask(), dtype=np.uint8)
        self.spent_s += time.thread_time() - began
        self.masks += 1
        allowed = np.unpackbits(mask, bitorder="little")[: len(logits)].astype(bool)
        # a grammar that has failed allows the end, as if it were kept to
        if self.inner.is_error() or not allowed.any():
            raise Unsupported(
                f"the answer's form cannot be followed ({self._fault() or 'no token fits'})",
                "simplify the schema or grammar",
            )
        if self.spent_s > MASKS_S + MASK_S * self.masks:
            raise Unsupported(
                f"the answer's form took {self.spent_s:.1f} s of processor time for {self.masks} tokens, "
                "which delays other answers",
                "simplify the schema or grammar",
            )
        return np.where(allowed, logits, -np.inf)

    def take(self, token: int) -> None:
        """Go on by a token. Raises Unsupported for one that does not fit."""
        if not self.inner.consume_token(token):
            raise Unsupported(
                f"the answer left its form ({self._fault() or 'the token does not fit'})",
                "simplify the schema or grammar",
            )

    def fits(self, tokens: list[int]) -> int:
        """How many of these tokens may come next, one after the other."""
        return self.inner.validate_tokens(tokens)

    @property
    def over(self) -> bool:
        """Whether nothing but the end may follow. Raises Unsupported where the grammar has failed."""
        if self.inner.is_error():
            raise Unsupported(
                f"the answer's form cannot be followed ({self._fault()})", "simplify the schema or grammar"
            )
        return self.inner.is_stopped()

    def _fault(self) -> str:
        return self.inner.get_error().partition("\n")[0][:300]


def _tokenizer_of(vocabulary: LlamaTokenizer) -> Any:
    """llguidance's view of a vocabulary, whose texts it has llama.cpp's own function turn into tokens.

    Its own reader of vocabularies (``llguidance.llamacpp``) needs llama-cpp-python's bindings, which the
    prebuilt engine comes without and which would have llama.cpp log to the terminal.
    """
    from llguidance import _lib

    of_library: Any = _lib.LLTokenizer  # its types leave this function out
    return of_library.from_llamacpp(
        tokens=vocabulary.marked_pieces(_CONTROL_MARK),
        vocab_ptr=vocabulary.address,
        tokenize_fptr=vocabulary.tokenize_address,
        eos_token=vocabulary.end,
        slices=None,
    )


def matcher(engine: LlamaContext, grammar: str) -> Matcher:
    """What follows an answer through a grammar.

    The first one of an engine reads its vocabulary, which takes about a second.

    Raises UsageError where the grammar is beyond the limits.
    """
    from llguidance import LLMatcher

    vocabulary = engine.vocabulary
    with _reading:
        if vocabulary not in _tokenizers:
            _tokenizers[vocabulary] = _tokenizer_of(vocabulary)
    inner = LLMatcher(_tokenizers[vocabulary], grammar, log_level=0, limits=limits())
    if inner.is_error():
        raise UsageError(
            f"the answer's form is not understood: {inner.get_error().strip().partition(chr(10))[0][:300]}",
            "correct or simplify the schema or grammar",
        )
    return Matcher(inner)
