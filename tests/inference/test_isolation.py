"""A fault of one answer ends that answer alone, wherever it arises; the others are what they are alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.core.errors import Busy, DoesNotFit, FreeholdError, Unsupported, UsageError
from freehold.inference import grammar
from freehold.inference.batch_engine import BatchingEngine, Ended
from freehold.inference.engine_options import EngineOptions
from freehold.inference.reproducible import ReproducibleEngine
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Sampling
from tests.servers.inference.conftest import tiny_original, tiny_weights  # noqa: F401

GOOD = GenerationRequest((40, 90, 33), 24, Sampling(bias=((1, -100.0),)))
#: What the engines below cannot compute.
CURSED = 77


class Fragile(BatchingEngine):
    """Fails, as llama.cpp does, in each call that has a certain token; or in all."""

    broken = False

    def _run(self, batch: Any, count: int) -> None:
        if self.broken or CURSED in self._batch.tokens[:count]:
            raise DoesNotFit("llama.cpp could not decode a batch", "ask for less")
        super()._run(batch, count)


class FragileReproducible(ReproducibleEngine):
    """The same for answers that depend on nothing else."""

    def _run(self, batch: Any, count: int) -> None:
        if CURSED in self._batch.tokens[:count]:
            raise DoesNotFit("llama.cpp could not decode a batch", "ask for less")
        super()._run(batch, count)


@pytest.fixture(params=[Fragile, FragileReproducible])
def engine(request: pytest.FixtureRequest, tiny_weights: Path) -> Iterator[BatchingEngine]:
    made = request.param(tiny_weights, EngineOptions(context_length=1024, parallel=4, batch=128, threads=1))
    yield made
    made.close()


def ended(engine: BatchingEngine, asks: list[GenerationRequest]) -> dict[int, Ended]:
    for number, ask in enumerate(asks):
        engine.submit(number, ask)
    found: dict[int, Ended] = {}
    while engine.busy:
        found |= {one.number: one for one in engine.ended()}
    return found


def broken(logits: np.ndarray, prompt: object, answer: object) -> np.ndarray:
    raise RuntimeError("a hook of the operator's")


def no_numbers(logits: np.ndarray, prompt: object, answer: object) -> np.ndarray:
    return np.full_like(logits, np.nan)


def nothing_left(logits: np.ndarray, prompt: object, answer: object) -> np.ndarray:
    return np.full_like(logits, -np.inf)


BAD = {
    "a hook that fails": GenerationRequest((40, 91), 8, Sampling(processors=(broken,))),
    "logits that are no numbers": GenerationRequest((40, 91), 8, Sampling(processors=(no_numbers,))),
    "no numbers, drawn": GenerationRequest(
        (40, 91), 8, Sampling(temperature=1.0, top_p=0.5, processors=(no_numbers,))
    ),
    "nothing to draw": GenerationRequest((40, 91), 8, Sampling(processors=(nothing_left,))),
    "nothing to draw, drawn": GenerationRequest(
        (40, 91), 8, Sampling(temperature=1.0, processors=(nothing_left,))
    ),
    "a grammar that is none": GenerationRequest((40, 91), 8, grammar="{not a grammar"),
    "a call that fails": GenerationRequest((40, CURSED, 91), 8),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_others_are_answered_as_if_it_had_not_been_asked(
    engine: BatchingEngine, bad: GenerationRequest
) -> None:
    alone = ended(engine, [GOOD])[0].completion
    beside = ended(engine, [GOOD, bad, GOOD])
    assert isinstance(beside[1].error, FreeholdError)
    assert [beside[number].error for number in (0, 2)] == [None, None]
    assert [beside[number].completion.text for number in (0, 2)] == [alone.text, alone.text]
    assert ended(engine, [GOOD])[0].completion.text == alone.text
    assert len(engine._running) == 0


@pytest.mark.parametrize("how", ["it has failed", "it costs too much"])
def test_a_grammar_that_fails_on_the_way_ends_its_answer_alone(engine: BatchingEngine, how: str) -> None:
    alone = ended(engine, [GOOD])[0].completion
    matcher = grammar.matcher(engine, grammar.of_gbnf('root ::= "yes" | "no"'))
    if how == "it has failed":
        assert not matcher.inner.consume_token(CURSED)  # llguidance never leaves this state
    else:
        matcher.spent_s = 2 * grammar.MASKS_S
    beside = ended(engine, [GOOD, GenerationRequest((40, 91), 8, matcher=matcher), GOOD])
    assert isinstance(beside[1].error, Unsupported)
    assert [beside[number].completion.text for number in (0, 2)] == [alone.text, alone.text]


def test_waiting_for_a_processor_costs_an_answer_nothing(engine: BatchingEngine) -> None:
    matcher = grammar.matcher(engine, grammar.of_gbnf('root ::= "yes" | "no"'))
    inner = matcher.inner

    class Waiting:
        """Gives its masks late, as on a busy machine."""

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def compute_bitmask(self) -> bytes:
            time.sleep(0.2)
            return inner.compute_bitmask()

    matcher.inner, matcher.spent_s = Waiting(), grammar.MASKS_S - 0.05
    assert ended(engine, [GenerationRequest((40, 91), 8, matcher=matcher)])[0].error is None


def test_where_every_call_fails_the_engine_says_so(tiny_weights: Path) -> None:
    engine = Fragile(tiny_weights, EngineOptions(context_length=512, parallel=2, batch=128, threads=1))
    alone = ended(engine, [GOOD])[0].completion
    engine.broken = True
    with pytest.raises(DoesNotFit):
        ended(engine, [GOOD, GOOD])
    engine.broken = False
    engine.forget()
    assert ended(engine, [GOOD])[0].completion.text == alone.text
    engine.close()


@pytest.mark.parametrize(
    "ask",
    [
        GenerationRequest((2147483648,), 4),
        GenerationRequest((-1,), 4),
        GenerationRequest((384,), 4),
        GenerationRequest((1 << 70,), 4),
        GenerationRequest((1.5,), 4),  # type: ignore[arg-type]
        GenerationRequest((5,), 0),
        GenerationRequest((5,), 4, Sampling(temperature=float("nan"))),
        GenerationRequest((5,), 4, Sampling(temperature=-1.0)),
        GenerationRequest((5,), 4, Sampling(top_p=float("inf"))),
        GenerationRequest((5,), 4, Sampling(repeat=0.0)),
        GenerationRequest((5,), 4, Sampling(seed=-1)),
        GenerationRequest((5,), 4, Sampling(bias=((384, 1.0),))),
        GenerationRequest((5,), 4, Sampling(bias=((5, float("inf")),))),
        GenerationRequest((5,), 4, stops=("",)),
        GenerationRequest((5,), 4, stops=(5,)),  # type: ignore[arg-type]
        GenerationRequest((5,), 4, stops=("\ud800",)),
        GenerationRequest((5,), 4, stops=("a" * 20_000,)),
        GenerationRequest((5,), 4, likelihoods=-1),
    ],
)
def test_what_an_engine_cannot_be_asked_is_refused_before_it_is_taken_in(
    tiny_weights: Path, ask: GenerationRequest
) -> None:
    engine = BatchingEngine(tiny_weights, EngineOptions(context_length=512, parallel=2, batch=128, threads=1))
    with pytest.raises(UsageError):
        engine.submit(0, ask)
    assert not engine.busy
    engine.close()


def test_what_was_computed_is_known_of_an_answer_that_is_cancelled(engine: BatchingEngine) -> None:
    engine.submit(7, GOOD)
    while not engine.partial(7):
        engine.ended()
    done = engine.cancel(7)
    assert done is not None
    assert (done.finish, done.prompt_tokens) == ("cancelled", 3)
    assert 0 < len(done.tokens) < 24
    assert engine.cancel(7) is None


@pytest.mark.parametrize("kind", [BatchingEngine, ReproducibleEngine])
def test_what_one_scope_has_computed_another_does_not_use(
    kind: type[BatchingEngine],
    tiny_weights: Path,
) -> None:
    engine = kind(tiny_weights, EngineOptions(context_length=1024, parallel=1, batch=128, threads=1))
    tokens = tuple(40 + number % 90 for number in range(300))
    scopes = ["a", "a", "b", "b", "a", ""]
    reused = [
        ended(engine, [GenerationRequest(tokens, 2, scope=scope)])[0].completion.reused for scope in scopes
    ]
    assert reused[0] == reused[2] == reused[5] == 0
    assert reused[1] > 100
    assert reused[3] > 100
    engine.close()


def test_requests_of_two_scopes_do_not_wait_for_each_other(tiny_weights: Path) -> None:
    engine = BatchingEngine(
        tiny_weights, EngineOptions(context_length=2048, parallel=4, batch=128, threads=1)
    )
    tokens = tuple(40 + number % 90 for number in range(300))
    found = ended(engine, [GenerationRequest(tokens, 2, scope=scope) for scope in ("a", "b", "a")])
    assert [found[number].completion.reused > 100 for number in range(3)] == [False, False, True]
    engine.close()


def test_a_number_that_is_no_token_has_no_text_and_a_closed_model_has_none(tiny_weights: Path) -> None:
    engine = BatchingEngine(tiny_weights, EngineOptions(context_length=512, parallel=1, batch=128, threads=1))
    for token in (-1, 384, 1 << 31):  # llama.cpp ends the process for these
        with pytest.raises(UsageError):
            engine.vocabulary.piece(token)
    engine.close()
    with pytest.raises(Busy):
        engine.vocabulary.piece(50)
