"""The engine of trials: from empty memory, without prompt cache and drafts, so that the same requests give
the same answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freehold.core.errors import DoesNotFit, UsageError
from freehold.inference.grammar import Source
from freehold.inference.interface import Choices
from freehold.inference.llama_engine import LlamaEngine
from freehold.inference.observe import Observer
from freehold.inference.request import GenerationRequest
from freehold.inference.running import first_stop
from freehold.inference.sampling import Sampling
from tests.servers.inference.conftest import tiny_original, tiny_weights  # noqa: F401

SHARED = tuple(40 + at % 90 for at in range(150))
REQUESTS = [
    GenerationRequest(
        (*SHARED, *range(50, 53 + number)), 4 + number, Sampling(number / 2, seed=number), ("e",)
    )
    for number in range(7)
]


class Recorded(LlamaEngine):
    """Keeps a copy of all logits that were looked at, and counts the tokens that were computed."""

    def __init__(self, path: Path, **options: Any):
        super().__init__(path, threads=1, **options)
        self.seen: list[np.ndarray] = []
        self.computed = 0

    def _logits(self, row: int) -> np.ndarray:
        self.seen.append(super()._logits(row).copy())
        return self.seen[-1]

    def _run(self, batch: Any, count: int) -> None:
        self.computed += count
        super()._run(batch, count)


@pytest.fixture
def engine(tiny_weights: Path) -> Iterator[Recorded]:
    with Recorded(tiny_weights, context_length=1024, parallel=4, batch=64) as loaded:
        yield loaded


def test_the_same_requests_give_the_same_logits_whatever_ran_before(engine: Recorded) -> None:
    first = [(index, answer.tokens, answer.text) for index, answer in engine.generate(REQUESTS)]
    logits, engine.seen = engine.seen, []
    list(engine.generate([GenerationRequest(SHARED[:90], 30)]))
    next(engine.generate([GenerationRequest(SHARED, 8), GenerationRequest(SHARED[1:], 30)]))  # left half done
    engine.seen = []
    again = [(index, answer.tokens, answer.text) for index, answer in engine.generate(REQUESTS)]
    assert again == first
    assert len(engine.seen) == len(logits) > 20
    for before, after in zip(logits, engine.seen, strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_all_prompts_begin_with_is_computed_once(engine: Recorded) -> None:
    answers = dict(engine.generate(REQUESTS))
    prompts = len(SHARED) + 3 + sum(len(request.tokens) - len(SHARED) - 3 for request in REQUESTS)
    written = sum(len(answer.tokens) for answer in answers.values())
    assert prompts < engine.computed <= prompts + 3 * len(REQUESTS) + written
    assert len(answers) == len(REQUESTS)


def test_nothing_is_cached_and_nothing_is_drafted(engine: Recorded) -> None:
    answers = [answer for _, answer in engine.generate([GenerationRequest(SHARED, 24)] * 3)]
    assert {answer.drafted for answer in answers} == {0}
    assert not engine._cached
    assert engine._cells.free == engine.context_length - (len(SHARED) - 1)  # the shared beginning stays
    engine.reset()
    assert engine._cells.free == engine.context_length


def test_requests_wait_where_they_do_not_fit_at_once(engine: Recorded) -> None:
    requests = [GenerationRequest((40 + number, *SHARED), 200) for number in range(5)]
    answers = dict(engine.generate(requests))
    assert set(answers) == set(range(5))
    alone = next(engine.generate([requests[3]]))[1]
    assert answers[3].tokens[:3] == alone.tokens[:3]


def test_likelihoods_are_those_of_the_whole_text(engine: Recorded, tiny_weights: Path) -> None:
    prompt, answer = list(SHARED[:100]), [61, 70, 44, 90]
    (scores,) = engine.score([(prompt, answer)])
    with Observer(tiny_weights, threads=1) as observer:
        ((logits,),) = [group for group in observer.logits([[*prompt, *answer]])]
        rows = logits[len(prompt) - 1 : -1].astype(np.float64)
        expected = [row[token] - np.logaddexp.reduce(row) for row, token in zip(rows, answer, strict=True)]
    np.testing.assert_allclose(scores, expected, atol=2e-2)


def test_labels_are_answered_whole(engine: Recorded) -> None:
    choices = Choices(("card lost", "card stolen"), ((70, 71, 72, 2), (70, 71, 80, 2)))
    ((_, answer),) = engine.generate([GenerationRequest(SHARED, 4, choices=choices)])
    assert answer.text in choices.answers
    assert answer.finish == "choice"
    assert answer.tokens in choices.tokens


def test_what_cannot_be_answered_is_refused(engine: Recorded) -> None:
    with pytest.raises(DoesNotFit, match="exceed the context of 1024 tokens"):
        list(engine.generate([GenerationRequest((50,) * 1020, 10)]))
    with pytest.raises(DoesNotFit, match="empty"):
        list(engine.generate([GenerationRequest((), 10)]))
    with pytest.raises(DoesNotFit, match="exceeds the context"):
        engine.score([([50] * 1024, [60])])
    with pytest.raises(UsageError, match="GBNF"):
        list(engine.generate([GenerationRequest((50,), 4, grammar=Source("gbnf", 'root ::= other "x'))]))


def test_the_stop_text_that_begins_first_ends_the_answer() -> None:
    assert first_stop(b"one ab", 2, ("b", "a")) == "a"
    assert first_stop(b"one ab", 1, ("e", "b")) == "b"  # what an earlier token had is not looked for again
    assert first_stop(b"one", 1, ("x",)) == ""
