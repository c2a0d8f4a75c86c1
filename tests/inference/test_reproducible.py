"""Answers that depend on nothing but what is asked: digit for digit, on real weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.core.errors import DoesNotFit
from freehold.data.templates import choose
from freehold.inference.batch_engine import PIECE
from freehold.inference.engine_options import EngineOptions
from freehold.inference.interface import PromptEncoder
from freehold.inference.prompt_cache import PromptCache
from freehold.inference.reproducible import SPLIT, TILE, ReproducibleEngine
from freehold.inference.request import GenerationRequest
from freehold.models.formats import gguf
from freehold.quantization.quantize import quantize
from tests.inference.test_batch_engine import STORY, answers
from tests.inference.test_engines import QUESTIONS, prompt


@pytest.fixture(scope="module", params=["Q8_0", "Q4_K_M"])
def made(
    smollm2: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ReproducibleEngine]:
    folder = tmp_path_factory.mktemp("reproducible")
    quantize(smollm2, folder / "quantized.gguf", request.param)  # a last digit is felt
    engine = ReproducibleEngine(
        folder / "quantized.gguf",
        EngineOptions(context_length=4096, parallel=4),
        prompt_cache=PromptCache(folder / "states", 1 << 30),
    )
    yield engine
    engine.close()


@pytest.fixture
def asking(made: ReproducibleEngine, smollm2: Path) -> PromptEncoder:
    own = gguf.read_header(smollm2).fields["tokenizer.chat_template"]
    return PromptEncoder(
        choose(own, bos_token=made.vocabulary.bos_token, eos_token=made.vocabulary.eos_token), made.vocabulary
    )


def said(engine: ReproducibleEngine, asks: list[GenerationRequest]) -> list[tuple[object, object]]:
    """Tokens, and how likely the likeliest were at each."""
    return [(one.tokens, one.likelihoods) for one in answers(engine, asks)]


@pytest.mark.slow
def test_what_is_said_depends_on_nothing_else(
    made: ReproducibleEngine, asking: PromptEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        made, "_price", lambda answering, guessed: 0.0
    )  # whether a guess pays is a matter of time
    middle = f"{STORY}\nRepeat the first sentence."
    long = [
        f"{STORY * 3}\n{question}"
        for question in ("Who kept a ledger?", "Repeat the first sentence three times.")
    ]
    asks = [
        GenerationRequest(prompt(asking, question), 8, likelihoods=3)
        for question in [*QUESTIONS, middle, *long]
    ]
    assert (
        len(asks[0].tokens) < TILE < PIECE < len(asks[-3].tokens) < SPLIT < 3 * PIECE < len(asks[-1].tokens)
    )
    alone = []
    for ask in asks:
        alone += said(made, [ask])
        made.forget()
    for some in (
        asks[::-1],
        asks,
        [*asks[-2:], *asks[:3]],
    ):  # at once, in other orders, over what is held and on disk
        assert said(made, some) == [alone[asks.index(ask)] for ask in some]
    made.forget()
    assert said(made, asks[-2:]) == alone[-2:]  # copied, or from disk
    again = answers(made, [asks[-1]])[0]  # on from its like
    assert again.reused == (
        len(asks[-1].tokens) - TILE if made._all_alike else len(asks[-1].tokens) // PIECE * PIECE
    )
    assert (again.tokens, again.likelihoods) == alone[-1]
    assert again.accepted > 0


@pytest.mark.slow
def test_an_answer_that_outgrows_its_prompt_stays_the_same(
    made: ReproducibleEngine, asking: PromptEncoder
) -> None:
    # alone its attention would be split among threads from 257 tokens on
    one = GenerationRequest(
        prompt(asking, f"{STORY * 2}\nTell me a long story about it."), 24, likelihoods=3, draft=False
    )
    others = [
        GenerationRequest(prompt(asking, question), count, draft=False)
        for question, count in zip(QUESTIONS, (5, 11, 30, 17), strict=False)
    ]
    assert SPLIT < len(one.tokens) + 24 < SPLIT + 100
    made.forget()
    alone = said(made, [one])
    for some in (
        [one, *others],
        [*others, one],
        [others[2], one],
    ):  # some end before it, so that it is alone in the end, or a gap lies between
        made.forget()
        assert said(made, some)[some.index(one)] == alone[0]


def test_a_text_has_its_share_of_the_context(made: ReproducibleEngine) -> None:
    with pytest.raises(DoesNotFit, match="exceed the context of 1024 tokens"):  # a quarter of all
        made.submit(0, GenerationRequest((1,) * 1000, 100))
