"""The batch engine without prompt cache and drafts beside the plain engine: the same texts, the same logits to the last digit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.core.errors import DoesNotFit, UsageError
from freehold.inference import llama, llama_engine
from freehold.inference.grammar import Source
from freehold.inference.interface import Choices, Completion, Request
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Sampling
from tests.inference.test_multi_lora import write_adapter
from tests.servers.inference.conftest import tiny_original, tiny_weights  # noqa: F401

SHAPES: list[dict[str, Any]] = [
    {"context_length": 2048, "parallel": 8},
    {"context_length": 700, "parallel": 4, "batch": 64},
    {"context_length": 2048, "parallel": 1},
]


@pytest.fixture(scope="module", params=["tiny", "smollm2"])
def weights(request: pytest.FixtureRequest) -> Path:
    if request.param == "smollm2":
        return request.getfixturevalue("smollm2")
    from freehold.models.store import Store

    store = Store(request.getfixturevalue("tiny_original"))
    return store.weights(store.find("org/tiny-gguf"))


class Pair:
    """Both engines on the same weights, each with the logits that it looked at."""

    def __init__(self, weights: Path, **shape: Any):
        self.old = llama.LlamaEngine(weights, **shape)
        self.new = llama_engine.LlamaEngine(weights, **shape)
        self.old_logits, self.new_logits = self._recorded(self.old), self._recorded(self.new)

    @staticmethod
    def _recorded(engine: Any) -> list[np.ndarray]:
        logits, record = engine._logits, list[np.ndarray]()

        def look(row: int) -> np.ndarray:
            record.append(logits(row).copy())
            return record[-1]

        engine._logits = look
        return record

    def same_logits(self) -> None:
        assert len(self.old_logits) == len(self.new_logits) > 0
        for first, second in zip(self.old_logits, self.new_logits, strict=True):
            np.testing.assert_array_equal(first, second)
        self.old_logits.clear()
        self.new_logits.clear()

    def close(self) -> None:
        self.old.close()
        self.new.close()


@pytest.fixture(params=range(len(SHAPES)), ids=["eight at once", "tight", "one at a time"])
def pair(weights: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(weights, **SHAPES[request.param])
    yield made
    made.close()


def facts(completion: Completion) -> tuple[object, ...]:
    return completion.text, completion.tokens, completion.finish, completion.prompt_tokens


def same(pair: Pair, asks: list[Request]) -> list[Completion]:
    """Ask both, and compare texts, tokens, ends, order and logits."""
    old = list(pair.old.generate(asks))
    new = list(pair.new.generate([as_generation(ask) for ask in asks]))
    assert [(index, facts(one)) for index, one in old] == [(index, facts(one)) for index, one in new]
    pair.same_logits()
    return [completion for _, completion in sorted(new, key=lambda pair: pair[0])]


def as_generation(ask: Request) -> GenerationRequest:
    source = Source("schema", ask.schema) if ask.schema else None
    if ask.grammar:
        source = Source("gbnf", ask.grammar)
    return GenerationRequest(
        ask.tokens,
        ask.max_tokens,
        Sampling(ask.temperature, ask.top_p, seed=ask.seed),
        ask.stops,
        source,
        choices=ask.choices,
    )


def encoder(pair: Pair) -> Callable[[str], tuple[int, ...]]:
    return lambda text: tuple(pair.old.vocabulary.encode(text, start=True))


WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "near",
    "an",
    "old",
    "stone",
    "harbour",
    "wall",
    "at",
    "noon",
]


def rows(count: int) -> list[str]:
    """Texts of several lengths."""
    return [" ".join(WORDS[(3 * n + at) % len(WORDS)] for at in range(2 + 5 * n % 23)) for n in range(count)]


def test_many_at_once(pair: Pair) -> None:
    same(pair, [Request(encoder(pair)(text), 4 + n % 9) for n, text in enumerate(rows(13))])


def test_a_shared_beginning(pair: Pair) -> None:
    shown = "Classify the line. " * 9
    for _ in range(2):  # whatever ran before
        same(pair, [Request(encoder(pair)(f"{shown}{text}"), 5) for text in rows(11)])
    same(pair, [Request(encoder(pair)("One alone."), 5)])
    same(pair, [Request(encoder(pair)("Twice the same."), 5)] * 3)


def test_labels(pair: Pair) -> None:
    encode = pair.old.vocabulary.encode
    labels = ("card lost", "card stolen", "pin", "pin forgotten", "refund")
    choices = Choices(
        labels, tuple((*encode(label, start=False), pair.old.vocabulary.end) for label in labels)
    )
    longest = max(map(len, choices.tokens))
    asks = [Request(encoder(pair)(f"Topic of: {text}"), longest, choices=choices) for text in rows(11)]
    assert {one.text for one in same(pair, asks)} <= set(labels)


def test_schemas_and_grammars(pair: Pair) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}, "b": {"type": "boolean"}},
              "required": ["n", "b"], "additionalProperties": False}  # fmt: skip
    # the batch engine ends an answer where only the end may follow; the plain one computes that end, too
    for ask in [
        Request(encoder(pair)("As JSON: "), 40, schema=json.dumps(schema)),
        Request(encoder(pair)("Count: "), 24, grammar='root ::= [0-9] "-" [0-9] "!"'),
    ]:
        ((_, old),) = pair.old.generate([ask])
        ((_, new),) = pair.new.generate([as_generation(ask)])
        assert facts(old) == facts(new)
        assert old.finish == "stop"
        assert len(pair.new_logits) == len(pair.old_logits) - 1
        pair.old_logits.pop()
        pair.same_logits()


def test_seeds(pair: Pair) -> None:
    asks = [
        Request(
            encoder(pair)("Tell me"), 8, temperature=0.5 + seed / 4, top_p=0.9 if seed % 2 else 1.0, seed=seed
        )
        for seed in range(9)
    ]
    assert len({one.text for one in same(pair, asks)}) > 1


def test_stop_texts(pair: Pair) -> None:
    first = same(pair, [Request(encoder(pair)(text), 16) for text in rows(7)])
    stops = [
        tuple(
            dict.fromkeys(
                one.text[at : at + 2]
                for at in (3, 5, 7)
                if one.text[at : at + 2].strip().isascii() and one.text[at : at + 2]
            )
        )
        for one in first
    ]
    asks = [Request(encoder(pair)(text), 16, stops=stop) for text, stop in zip(rows(7), stops, strict=True)]
    cut = same(pair, asks)
    assert any(len(one.text) < len(whole.text) for one, whole in zip(cut, first, strict=True))
    assert any(one.finish == "stop" for one in cut)


def test_prompts_longer_than_a_call(pair: Pair) -> None:
    same(pair, [Request(encoder(pair)(" ".join(rows(40)))[: 620 - 40 * n], 6) for n in range(3)])


def test_likelihoods(pair: Pair) -> None:
    encode = encoder(pair)
    long = encode(" ".join(rows(40)))[:650]
    pairs = [(list(encode(text)), list(encode(" the harbour"))) for text in rows(5)]
    pairs += [(list(long[:80]), list(long[80:])), (list(long[:600]), list(long[600:])), ([], [5, 6, 7])]
    assert pair.old.score(pairs) == pair.new.score(pairs)
    pair.same_logits()


def test_what_cannot_be_asked(pair: Pair) -> None:
    for engine, ask in ((pair.old, Request), (pair.new, GenerationRequest)):
        with pytest.raises(DoesNotFit, match="exceed the context of"):
            list(engine.generate([ask((5,) * 3000, 10)]))  # type: ignore[arg-type, operator]
        with pytest.raises(DoesNotFit, match="empty"):
            list(engine.generate([ask((), 10)]))  # type: ignore[arg-type, operator]
        with pytest.raises(DoesNotFit, match="exceeds the context"):
            engine.score([([5] * 3000, [6])])
    with pytest.raises(UsageError):
        list(pair.new.generate([GenerationRequest((5,), 4, grammar=Source("gbnf", 'root ::= other "x'))]))
    same(pair, [Request((5, 6), 4)])


def test_an_adapter_and_exact_sums(weights: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a.gguf", weights, 4, 1, ("attn_q", "ffn_down"))
    for shape in ({"adapter": adapter}, {"exact": True}):
        pair = Pair(weights, context_length=1024, parallel=4, **shape)
        same(pair, [Request(encoder(pair)(text), 6) for text in rows(6)])
        pair.close()
