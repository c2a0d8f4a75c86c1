"""Answers bound to a form: JSON schemas, regular expressions and grammars, checked token by token by llguidance."""

from __future__ import annotations

import functools
import json
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from freehold.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from freehold.engines.llama import LlamaContext

_tokenizers: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


@functools.lru_cache(256)
def _checked(grammar: str) -> str:
    from llguidance import LLMatcher

    fault = LLMatcher.validate_grammar(grammar)
    if fault and not fault.startswith("WARNING"):
        raise UsageError(
            f"the answer's form is not understood: {fault.strip().splitlines()[0][:300]}",
            "correct the schema or grammar",
        )
    return grammar


def of_schema(schema: dict[str, Any]) -> str:
    """A JSON schema as a grammar. Raises UsageError."""
    from llguidance import LLMatcher

    try:
        return _checked(
            LLMatcher.grammar_from_json_schema(json.dumps(schema), {"whitespace_flexible": False})
        )
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the JSON schema is not understood: {str(error).splitlines()[0][:300]}", "correct the schema"
        ) from None


def of_wrapped_schema(before: str, schema: dict[str, Any], after: str) -> str:
    """A JSON schema between two texts. Raises UsageError."""
    from llguidance import LLMatcher

    lark = f"start: {json.dumps(before)} value {json.dumps(after)}\nvalue: %json {json.dumps(schema)}\n"
    return _checked(LLMatcher.grammar_from_lark(lark))


def of_any_json() -> str:
    """Any JSON object."""
    return of_schema({"type": "object"})


def of_gbnf(text: str) -> str:
    """A GBNF grammar, as llama.cpp takes it. Raises UsageError."""
    from llguidance import LLMatcher
    from llguidance.gbnf_to_lark import gbnf_to_lark

    try:
        return _checked(LLMatcher.grammar_from_lark(gbnf_to_lark(text)))
    except UsageError:
        raise
    except Exception as error:  # the converter raises whatever it meets
        raise UsageError(
            f"the grammar is no valid GBNF: {str(error).splitlines()[0][:300] if str(error) else type(error).__name__}",
            "correct it",
        ) from None


def matcher(engine: LlamaContext, grammar: str) -> Any:
    """What follows an answer through a grammar. The first one of an engine reads its vocabulary, which takes about a second."""
    from llguidance import LLMatcher
    from llguidance.llamacpp import lltokenizer_from_vocab

    vocabulary = engine.vocabulary
    if vocabulary not in _tokenizers:
        _tokenizers[vocabulary] = lltokenizer_from_vocab(vocabulary._vocab, eos_token=vocabulary.end)  # noqa: SLF001
    return LLMatcher(_tokenizers[vocabulary], grammar)


def bound(matcher: Any, logits: np.ndarray) -> np.ndarray:
    """Logits of the tokens that a grammar allows next, the others out of reach. Raises Unsupported where none is allowed."""
    mask = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
    allowed = np.unpackbits(mask, bitorder="little")[: len(logits)].astype(bool)
    if not allowed.any():
        raise Unsupported(
            f"the answer's form cannot be kept to ({matcher.get_error() or 'no token fits'})",
            "simplify the schema or grammar",
        )
    return np.where(allowed, logits, -np.inf)
