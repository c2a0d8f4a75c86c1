"""The server's engine on real weights, in 32 bit, beside the plain engine that answers one after the
other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from freehold.core import file_permissions
from freehold.core.errors import DoesNotFit, NotFound, UsageError
from freehold.inference import grammar
from freehold.inference.batch_engine import BatchingEngine
from freehold.inference.engine_options import EngineOptions
from freehold.inference.interface import Completion, PromptEncoder
from freehold.inference.llama_engine import LlamaEngine
from freehold.inference.prompt_cache import PromptCache
from freehold.inference.prompt_lookup import PromptLookup
from freehold.inference.request import GenerationRequest
from freehold.inference.running import settled
from freehold.inference.sampling import Sampling
from freehold.inference.sequences import Cells
from tests.inference.test_engines import QUESTIONS, asking, engine, float_model, prompt  # noqa: F401

STORY = "The harbour master of Lindholm kept a ledger of every ship. " * 10


@pytest.fixture(scope="module")
def batching(float_model: Path) -> Iterator[BatchingEngine]:
    made = BatchingEngine(float_model, EngineOptions(context_length=768, parallel=4, batch=128))
    yield made
    made.close()


def answers(engine: BatchingEngine, asks: list[GenerationRequest]) -> list[Completion]:
    for number, ask in enumerate(asks):
        engine.submit(number, ask)
    found: dict[int, Completion] = {}
    while engine.busy:
        found |= dict(engine.step())
    return [found[number] for number in range(len(asks))]


@pytest.fixture(scope="module")
def plain(engine: LlamaEngine, asking: PromptEncoder) -> dict[str, str]:
    """What each question is answered when it is asked alone."""
    found = {}
    for question in [*QUESTIONS, f"{STORY}\nRepeat the first sentence three times."]:
        ((_, completion),) = engine.generate([GenerationRequest(prompt(asking, question), 32)])
        found[question] = completion.text
    return found


@pytest.mark.slow
def test_answers_are_those_of_one_asked_alone_however_they_are_batched(
    batching: BatchingEngine, asking: PromptEncoder, plain: dict[str, str]
) -> None:
    for _ in range(2):  # the second time from what is held
        found = answers(batching, [GenerationRequest(prompt(asking, question), 32) for question in plain])
        assert [one.text for one in found] == list(plain.values())
    assert all(one.reused == one.prompt_tokens - 1 for one in found)
    without = answers(
        batching, [GenerationRequest(prompt(asking, question), 32, draft=False) for question in plain]
    )
    assert [one.text for one in without] == list(plain.values())
    quoting = found[-1]
    assert quoting.accepted > 8  # it quotes its prompt
    assert quoting.drafted >= quoting.accepted


@pytest.mark.slow
def test_cells_are_all_given_back(batching: BatchingEngine, asking: PromptEncoder) -> None:
    answers(batching, [GenerationRequest(prompt(asking, question), 16) for question in QUESTIONS])
    batching.submit(99, GenerationRequest(prompt(asking, STORY), 100))
    batching.step()
    batching.cancel(99)
    assert not batching.busy
    for line in list(batching._cached):
        batching._drop(line)
    assert batching._cells.free == batching.context_length
    assert not batching._cells.holders.any()


@pytest.mark.slow
def test_more_is_asked_than_fits_at_once(
    batching: BatchingEngine, asking: PromptEncoder, plain: dict[str, str]
) -> None:
    # each takes a third of the cache, so they wait for each other and push out what is held
    asks = [
        GenerationRequest(tuple([*prompt(asking, question), *([100] * 200)]), 16) for question in QUESTIONS
    ]
    assert sum(len(ask.tokens) + ask.max_tokens for ask in asks) > batching.context_length
    crowded = answers(batching, asks)
    for ask, answer in zip(asks, crowded, strict=True):
        assert answer.finish in ("stop", "length")
        assert (len(answer.tokens) == 16) == (answer.finish == "length")
        batching.forget()
        assert answer.text == answers(batching, [ask])[0].text
    found = answers(batching, [GenerationRequest(prompt(asking, question), 32) for question in QUESTIONS])
    assert [one.text for one in found] == [plain[question] for question in QUESTIONS]


def test_what_many_begin_with_is_computed_once_though_they_come_together(
    batching: BatchingEngine, asking: PromptEncoder
) -> None:
    for line in list(batching._cached):
        batching._drop(line)
    found = answers(
        batching,
        [
            GenerationRequest(prompt(asking, f"{STORY}\nQuestion {number}: who kept a ledger?"), 4)
            for number in range(4)
        ],
    )
    assert [one.reused > 100 for one in found] == [False, True, True, True]


def test_what_can_never_fit_is_refused(batching: BatchingEngine) -> None:
    with pytest.raises(DoesNotFit, match="exceed the context"):
        batching.submit(0, GenerationRequest((1,) * 700, 100))
    with pytest.raises(DoesNotFit, match="empty"):
        batching.submit(0, GenerationRequest((), 100))
    with pytest.raises(NotFound):
        batching.submit(0, GenerationRequest((1,), 1, adapter="none"))
    assert not batching.busy


def test_a_schema_binds_the_answer(batching: BatchingEngine, asking: PromptEncoder) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "large": {"type": "boolean"}},
        "required": ["city", "large"],
        "additionalProperties": False,
    }
    asks = [
        GenerationRequest(prompt(asking, "Describe Paris as JSON."), 64, grammar=grammar.of_schema(schema))
        for _ in range(2)
    ]
    asks.append(
        GenerationRequest(prompt(asking, "Yes or no?"), 8, grammar=grammar.of_gbnf('root ::= "yes" | "no"'))
    )
    first, second, third = answers(batching, asks)
    assert set(json.loads(first.text)) == {"city", "large"}
    assert first.text == second.text
    assert third.text in ("yes", "no")
    with pytest.raises(UsageError, match="not understood"):
        grammar.of_schema({"type": "no such type"})
    with pytest.raises(UsageError, match="GBNF"):
        grammar.of_gbnf('root ::= other "x')


@pytest.mark.slow
def test_sampling_follows_its_seed_its_penalties_and_its_hooks(
    batching: BatchingEngine, asking: PromptEncoder
) -> None:
    def told(**values: object) -> Completion:
        return answers(
            batching,
            [GenerationRequest(prompt(asking, "Tell me a story."), 24, Sampling(**values), draft=False)],
        )[0]  # type: ignore[arg-type]

    told()  # from here on the prompt is held, so that every answer is computed in the same steps
    assert told(temperature=1.0, seed=4).text == told(temperature=1.0, seed=4).text
    assert told(temperature=1.0, seed=4).text != told(temperature=1.0, seed=5).text
    assert told(temperature=1.0, seed=5, top_k=1).text == told().text
    greedy = told().tokens
    assert greedy[0] not in told(bias=((greedy[0], -100.0),)).tokens
    assert len(set(told(presence=2.0, frequency=2.0).tokens)) >= len(set(greedy))
    seen: list[int] = []

    def only(logits: np.ndarray, prompt_tokens: object, answer: object) -> np.ndarray:
        seen.append(len(answer))  # type: ignore[arg-type]
        logits[:] = -np.inf
        logits[greedy[0]] = 0.0
        return logits

    assert set(told(processors=(only,)).tokens) == {greedy[0]}
    assert seen == list(range(24))


def test_likelihoods_are_the_models_own(
    batching: BatchingEngine, engine: LlamaEngine, asking: PromptEncoder
) -> None:
    tokens = prompt(asking, QUESTIONS[0])
    (found,) = answers(batching, [GenerationRequest(tokens, 8, likelihoods=3)])
    (scores,) = engine.score([(tokens, found.tokens)])
    assert np.allclose([one.logprob for one in found.likelihoods[: len(scores)]], scores, atol=2e-2)
    for one in found.likelihoods:
        assert one.top[0] == (one.token, one.logprob)
        assert len(one.top) == 3


@pytest.mark.slow
def test_stop_texts_end_the_answer_and_are_not_shown(
    batching: BatchingEngine, asking: PromptEncoder, plain: dict[str, str]
) -> None:
    whole = plain[QUESTIONS[0]]
    stop = whole[5:9]
    batching.submit(0, GenerationRequest(prompt(asking, QUESTIONS[0]), 32, stops=(stop,)))
    shown, ended = [""], []
    while batching.busy:
        ended += batching.step()
        shown.append(batching.partial(0))
    assert ended[0][1].text == whole.partition(stop)[0]
    assert ended[0][1].stopped_by == stop
    assert all(whole.partition(stop)[0].startswith(text) for text in shown)


@pytest.mark.slow
def test_states_come_back_after_a_restart(float_model: Path, asking: PromptEncoder, tmp_path: Path) -> None:
    ask = GenerationRequest(prompt(asking, f"{STORY * 3}\nWho kept a ledger?"), 16)
    file_permissions.make_home(tmp_path)

    def once() -> Completion:
        made = BatchingEngine(
            float_model,
            EngineOptions(context_length=2048, parallel=2),
            prompt_cache=PromptCache(tmp_path / "states", 1 << 30),
        )
        (found,) = answers(made, [ask])
        made.close()
        return found

    first, second = once(), once()
    assert (first.reused, second.reused) == (0, first.prompt_tokens - 1)
    assert first.text == second.text
    assert (tmp_path / "states").stat().st_mode & 0o077 == 0
    state = next((tmp_path / "states").glob("*.state"))
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)
    third = once()  # a state that was changed is not believed, and is written anew
    assert (third.reused, third.text) == (0, first.text)
    assert once().reused == first.prompt_tokens - 1
    (tmp_path / "states" / "left.state.part").write_bytes(b"half")
    assert once().text == first.text
    assert not (tmp_path / "states" / "left.state.part").exists()


def test_states_stay_within_their_room(tmp_path: Path) -> None:
    states = PromptCache(tmp_path, 2500)
    for number in range(4):
        tokens = np.arange(500, dtype=np.int32) + number
        place = states.path_for(tokens)
        place.write_bytes(bytes(1000))
        states.keep(tokens, place)
    assert len(list(tmp_path.glob("*.state"))) == len(list(tmp_path.glob("*.json"))) == 2
    again = PromptCache(tmp_path, 2500)
    assert again.best(np.arange(500, dtype=np.int32) + 3)[1] == 500
    assert again.best(np.arange(500, dtype=np.int32))[1] == 0


def test_cells_count_their_holders() -> None:
    cells = Cells(4)
    first = cells.take(3)
    second = cells.share(first[:2])
    cells.release(first)
    assert cells.free == 2
    cells.release(second)
    assert cells.free == 4


def test_look_up_guesses_what_followed_and_learns() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 6, 1, 2, 3])
    assert lookup.draft(3) == [4, 5, 6]
    lookup.learn(3, 0)
    assert lookup.draft(3) == []  # it waits
    assert lookup.pays(0.4)
    assert not lookup.pays(0.9)
    assert PromptLookup([1, 2]).draft(4) == []
    assert PromptLookup([1, 2, 3, 9]).draft(4) == []


@pytest.mark.parametrize(
    ("data", "stops", "text"),
    [
        (b"abc", (), "abc"),
        (b"abc<", ("<end>",), "abc"),
        (b"abc<en", ("<end>", "\n"), "abc"),
        (b"abc<x", ("<end>",), "abc<x"),
        ("é".encode()[:1], (), ""),
        ("a€".encode()[:3], (), "a"),
        ("a😀".encode(), (), "a😀"),
        (b"a\xff", (), "a"),
        (b"a\xffb", (), "a\ufffdb"),
    ],
)
def test_only_what_is_settled_is_shown(data: bytes, stops: tuple[str, ...], text: str) -> None:
    assert settled(data, stops) == text


def test_bound_answers_are_those_of_the_plain_engine_and_end_where_one_is_left(
    batching: BatchingEngine, engine: LlamaEngine, asking: PromptEncoder
) -> None:
    labels = ("card lost", "card stolen", "pin forgotten", "pin", "refund")
    choices = asking.choices((("user", "-"),), labels)
    longest = max(map(len, choices.tokens))
    prompts = [prompt(asking, f"Name the topic of: {question}") for question in QUESTIONS]
    asks = [GenerationRequest(tokens, longest, choices=choices, likelihoods=2) for tokens in prompts]
    bound = answers(batching, asks)
    plain = dict(engine.generate([GenerationRequest(tokens, longest, choices=choices) for tokens in prompts]))
    assert [one.text for one in bound] == [plain[number].text for number in range(len(prompts))]
    assert {one.finish for one in bound} == {"choice"}
    assert all(one.text in labels for one in bound)
    assert [one.tokens for one in bound] == [plain[number].tokens for number in range(len(prompts))]
    drawn = answers(
        batching,
        [
            GenerationRequest(prompts[0], longest, Sampling(temperature=2.0, seed=s), choices=choices)
            for s in range(8)
        ],
    )
    assert {one.text for one in drawn} <= set(labels)
    (cut,) = answers(
        batching, [GenerationRequest(prompts[0], 1, choices=asking.choices((("user", "-"),), labels[:2]))]
    )
    assert (cut.finish, cut.text) == ("length", "card")


def test_one_of_many_states_of_different_lengths_is_used_again(tmp_path: Path) -> None:
    states = PromptCache(tmp_path, 1 << 20)
    kept = [np.arange(length, dtype=np.int32) + length for length in (430, 384, 741)]
    for tokens in kept:
        written = states.path_for(tokens)
        written.write_bytes(tokens.tobytes())
        states.keep(tokens, written)
    for tokens in reversed(kept):
        state, shared_tokens = states.best(tokens)
        assert state is not None
        assert shared_tokens == len(tokens)
        assert states.whole(state)
