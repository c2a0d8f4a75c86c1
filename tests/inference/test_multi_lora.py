"""Several adapters in one call, beside llama.cpp's own way of one adapter at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from freehold.core.errors import BadModel
from freehold.inference import multi_lora
from freehold.inference.batch_engine import BatchingEngine
from freehold.inference.engine_options import EngineOptions
from freehold.inference.interface import PromptEncoder
from freehold.inference.llama_engine import LlamaEngine
from freehold.inference.request import GenerationRequest
from freehold.models.formats import gguf
from tests.inference.test_batch_engine import answers
from tests.inference.test_engines import QUESTIONS, asking, engine, float_model, prompt  # noqa: F401


def write_adapter(
    target: Path, base: Path, rank: int, seed: int, kinds: tuple[str, ...], alpha: float = 16.0
) -> Path:
    """An adapter of random factors on the matrices of these kinds, strong enough to change answers."""
    chance = np.random.default_rng(seed)
    factors: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for tensor in gguf.read_header(base).tensors:
        if len(tensor.shape) == 2 and tensor.name.startswith("blk.") and tensor.name.split(".")[2] in kinds:
            first, second = (
                chance.normal(0, 0.02, shape).astype(np.float32)
                for shape in ((rank, tensor.shape[0]), (tensor.shape[1], rank))
            )
            factors[tensor.name] = first, second
    gguf.write_adapter(target, "llama", alpha, factors)
    return target


@pytest.fixture(scope="module")
def adapters(float_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three of different ranks, scales and matrices."""
    folder = tmp_path_factory.mktemp("adapters")
    return {
        "all": write_adapter(
            folder / "all.gguf",
            float_model,
            16,
            1,
            ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
        ),
        "attention": write_adapter(
            folder / "attention.gguf", float_model, 4, 2, ("attn_q", "attn_v"), alpha=40.0
        ),
        "rest": write_adapter(folder / "rest.gguf", float_model, 8, 3, ("ffn_down", "attn_output")),
    }


@pytest.fixture(scope="module")
def mixed(float_model: Path, adapters: dict[str, Path]) -> Iterator[BatchingEngine]:
    made = BatchingEngine(
        float_model, EngineOptions(context_length=2048, parallel=8, batch=128), adapters=adapters
    )
    yield made
    made.close()


@pytest.mark.slow
def test_each_of_a_mixed_batch_is_answered_as_by_its_adapter_alone(
    mixed: BatchingEngine,
    float_model: Path,
    adapters: dict[str, Path],
    asking: PromptEncoder,
) -> None:
    names = ["", *adapters]
    for turn in range(2):  # the second time prompts are held, and calls of one token each
        together = answers(
            mixed,
            [
                GenerationRequest(
                    prompt(asking, QUESTIONS[n % len(QUESTIONS)]), 24, likelihoods=0, adapter=names[n % 4]
                )
                for n in range(8)
            ],
        )
        assert all((one.reused > 0) == (turn == 1) for one in together)
        for number in range(8):
            (alone,) = answers(
                mixed,
                [
                    GenerationRequest(
                        prompt(asking, QUESTIONS[number % len(QUESTIONS)]),
                        24,
                        likelihoods=0,
                        adapter=names[number % 4],
                    )
                ],
            )
            assert alone.text == together[number].text
            values = [
                [likelihood.logprob for likelihood in one.likelihoods] for one in (alone, together[number])
            ]
            np.testing.assert_allclose(values[0], values[1], atol=2e-2)
    assert len({one.text for one in together[:4]}) == 4
    for name, path in adapters.items():
        single = LlamaEngine(float_model, context_length=512, adapter=path)
        tokens = prompt(asking, QUESTIONS[0])
        (own,) = answers(mixed, [GenerationRequest(tokens, 24, likelihoods=0, adapter=name)])
        ((scores,),) = [single.score([(tokens, own.tokens)])]
        single.close()
        np.testing.assert_allclose(
            [likelihood.logprob for likelihood in own.likelihoods][: len(scores)], scores, atol=5e-2
        )


@pytest.mark.slow
def test_prompts_of_several_adapters_are_read_in_pieces(mixed: BatchingEngine, asking: PromptEncoder) -> None:
    long = prompt(
        asking, "The keeper of the lighthouse writes down every ship that passes. " * 20 + "Who writes?"
    )
    assert len(long) > 200  # more than a call takes
    names = ["all", "rest", "", "attention"]
    together = answers(mixed, [GenerationRequest(long, 12, adapter=name) for name in names])
    for name, found in zip(names, together, strict=True):
        for line in [line for line in mixed._cached if line.adapter == name]:
            mixed._drop(line)
        assert answers(mixed, [GenerationRequest(long, 12, adapter=name)])[0].text == found.text


def test_an_adapter_without_pairs_is_refused(tmp_path: Path, float_model: Path) -> None:
    with pytest.raises(BadModel, match="no pairs"):
        multi_lora.join(
            {"none": write_adapter(tmp_path / "none.gguf", float_model, 4, 1, ("nothing",))},
            tmp_path / "all.gguf",
            "llama",
        )
