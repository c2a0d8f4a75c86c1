"""llama.cpp on real weights, and transformers beside it on the same float model."""

from pathlib import Path

import numpy as np
import pytest

from freehold.core.errors import BadModel, DoesNotFit
from freehold.data.templates import choose
from freehold.inference.grammar import Source
from freehold.inference.interface import PromptEncoder
from freehold.inference.llama_engine import LlamaEngine
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Sampling
from freehold.models.formats import gguf

pytestmark = pytest.mark.slow

QUESTIONS = [
    "What is the capital of France?",
    "Name three colours.",
    "Say hello.",
    "What is 2 plus 2?",
    "Who wrote Hamlet?",
    "Why is the sky blue?",
]


@pytest.fixture(scope="module")
def float_model(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In 32 bit, where batches of other shapes do not round otherwise."""
    from freehold.quantization.quantize import quantize

    target = tmp_path_factory.mktemp("float") / "f32.gguf"
    quantize(smollm2, target, "F32")
    return target


@pytest.fixture(scope="module")
def engine(float_model: Path):
    with LlamaEngine(float_model, context_length=2048, parallel=4, batch=64) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def asking(engine: LlamaEngine, smollm2: Path) -> PromptEncoder:
    own = gguf.read_header(smollm2).fields["tokenizer.chat_template"]
    return PromptEncoder(
        choose(own, bos_token=engine.vocabulary.bos_token, eos_token=engine.vocabulary.eos_token),
        engine.vocabulary,
    )


def prompt(asking: PromptEncoder, question: str) -> tuple[int, ...]:
    return tuple(asking.prompt((("user", question),)))


@pytest.mark.slow
def test_many_at_once_answer_as_each_alone(engine: LlamaEngine, asking: PromptEncoder) -> None:
    requests = [GenerationRequest(prompt(asking, question), 16) for question in QUESTIONS]
    together = {index: c.text for index, c in engine.generate(requests)}
    again = {index: c.text for index, c in engine.generate(requests)}
    alone = [next(iter(engine.generate([request])))[1].text for request in requests]
    assert together == again
    assert (
        sum(together[i] == alone[i] for i in range(len(alone))) >= len(alone) - 1
    )  # a near-tie may fall otherwise in another batch
    assert "Paris" in alone[0]


def test_choices_bind_the_answer(engine: LlamaEngine, asking: PromptEncoder) -> None:
    asked = (("user", "Is fire hot or cold?"),)
    choices = asking.choices(asked, ["hot", "cold", "lukewarm water"])
    ((_, completion),) = engine.generate([GenerationRequest(prompt(asking, asked[0][1]), 8, choices=choices)])
    assert completion.text in choices.answers
    assert completion.finish == "choice"
    assert completion.tokens == choices.tokens[choices.answers.index(completion.text)]


def test_a_grammar_binds_the_answer(engine: LlamaEngine, asking: PromptEncoder) -> None:
    ((_, completion),) = engine.generate(
        [
            GenerationRequest(
                prompt(asking, "Count."), 24, grammar=Source("gbnf", 'root ::= [0-9] "-" [0-9] "!"')
            )
        ]
    )
    assert completion.text[1::2] == "-!"
    assert completion.finish == "stop"


def test_sampling_follows_the_seed(engine: LlamaEngine, asking: PromptEncoder) -> None:
    def draw(seed: int) -> str:
        return next(
            iter(
                engine.generate(
                    [
                        GenerationRequest(
                            prompt(asking, "Tell me a story."), 20, Sampling(temperature=1.0, seed=seed)
                        )
                    ]
                )
            )
        )[1].text

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(4)}) > 1


def test_the_greedy_answer_scores_best(engine: LlamaEngine, asking: PromptEncoder) -> None:
    tokens = prompt(asking, QUESTIONS[0])
    ((_, completion),) = engine.generate([GenerationRequest(tokens, 8)])
    own, other = engine.score([(tokens, completion.tokens), (tokens, completion.tokens[::-1])])
    assert sum(own) > sum(other)
    assert all(value <= 0 for value in own)


def test_what_exceeds_the_context_is_refused(engine: LlamaEngine) -> None:
    with pytest.raises(DoesNotFit, match="exceed the context of 2048 tokens"):
        list(engine.generate([GenerationRequest(tuple([100] * 2100), 10)]))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + b"\0" * 200)
    with pytest.raises(BadModel, match="cannot load a.gguf"):
        LlamaEngine(tmp_path / "a.gguf")


def test_prompt_and_answer_tokens_are_those_of_the_whole_chat(asking: PromptEncoder) -> None:
    before, after = asking.row(
        (("system", "Classify."), ("user", "My card is lost"), ("assistant", "lost_card"))
    )
    text = asking.template.pair(
        (("system", "Classify."), ("user", "My card is lost"), ("assistant", "lost_card"))
    )
    assert before + after == asking.vocabulary.encode("".join(text), start=True)[: len(before) + len(after)]
    assert asking.vocabulary.is_end(after[-1])


def test_both_engines_give_the_same_greedy_text_on_a_float_model(
    smollm2: Path, float_model: Path, smollm2_folder: Path
) -> None:
    from freehold.inference.transformers_engine import TransformersEngine

    theirs = TransformersEngine(smollm2_folder, context_length=512)
    with LlamaEngine(float_model, context_length=512, exact=True) as ours:
        template = choose(
            gguf.read_header(smollm2).fields["tokenizer.chat_template"], bos_token="", eos_token="<|im_end|>"
        )
        for question in QUESTIONS[:3]:
            tokens = PromptEncoder(template, ours.vocabulary).prompt((("user", question),))
            assert tokens == PromptEncoder(template, theirs.vocabulary).prompt((("user", question),))
            ((_, first),) = ours.generate([GenerationRequest(tuple(tokens), 24)])
            ((_, second),) = theirs.generate([GenerationRequest(tuple(tokens), 24)])
            assert first.text == second.text
        row = (tokens, first.tokens[:5])
        assert np.allclose(ours.score([row]), theirs.score([row]), atol=1e-2)
