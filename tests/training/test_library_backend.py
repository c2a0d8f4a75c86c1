"""The libraries' trainer beside ours: the same rows, loss and gradients, and adapters that either loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from freehold.core import device as devices
from freehold.core.errors import Unsupported, UsageError
from freehold.training import adapter, backends
from freehold.training.decoder import Decoder, pack
from freehold.training.library_backend import LibraryDecoder
from freehold.training.lora import Factor
from freehold.training.recipe import Recipe
from freehold.training.run import TuneOptions, run
from freehold.training.training_rows import TrainingRows
from freehold.training.tuned_files import write_files
from freehold.training.weights import load_weights
from tests import tiny

RECIPE = Recipe(rank=2, alpha=4.0, steps=12, batch_rows=4, validations=2, precision="f32", learning_rate=0.02)
ROWS = TrainingRows(
    512,
    train=tuple(([5, 9, 40 + n], [60 + n, 61 + n % 3, 1]) for n in range(8)),
    valid=tuple(([5, 9, 40 + n], [60 + n, 61 + n % 3, 1]) for n in range(4)),
)
PREFIX = [5, 30, 41, 7, 200, 17]
#: (tokens after the prefix, how many of them are the answer); one is an answer from its first token on
BATCH = [([46, 77, 206, 114], 2), ([30, 98], 2), ([30, 98, 51], 1), ([36, 80, 30, 9, 98, 300, 12], 3)]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model("llama", tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture(scope="module")
def starcoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model("starcoder2", tmp_path_factory.mktemp("starcoder2") / "tiny")


def library(folder: Path) -> LibraryDecoder:
    model = LibraryDecoder(folder, RECIPE, devices.choose("cpu"))
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for group in model.groups():
            for factor in group.factors().values():
                factor.b.normal_(0, 0.05, generator=chance)
    return model


def factors_of(model: Decoder | LibraryDecoder) -> dict[str, Factor]:
    return {name: f.copied() for group in model.groups() for name, f in group.factors().items()}


def test_both_trainers_have_the_same_loss_on_the_same_batch(llama: Path) -> None:
    theirs = library(llama)
    factors = factors_of(theirs)
    ours = Decoder(load_weights(llama, torch.float32), RECIPE.rank, RECIPE.alpha, seed=0)
    for group in ours.groups():
        group.load_factors(factors)
    batch = pack(PREFIX, BATCH)
    assert factors_of(ours).keys() == factors.keys()
    assert torch.allclose(ours.answer_losses(batch), theirs.answer_losses(batch), rtol=1e-3, atol=1e-3)
    mine, right = ours.answer_check(batch), theirs.answer_check(batch)
    assert torch.equal(mine[1], right[1])


def test_an_adapter_of_the_libraries_loads_in_ours_and_in_peft(llama: Path, tmp_path: Path) -> None:
    result = run(ROWS, llama, TuneOptions(RECIPE, device="cpu", trainer="transformers"), tmp_path / "work")
    assert "trainer: transformers, as requested" in result.reasons
    losses = [loss for _, loss in result.tuned.history.train]
    assert losses[-1] < 0.7 * losses[0]
    files = write_files(tmp_path, result.tuned, llama, "base")
    factors, scale = adapter.load_peft(files.adapter)
    ours = Decoder(load_weights(llama, torch.float32), RECIPE.rank, RECIPE.alpha, seed=0, scale=scale)
    for group in ours.groups():
        group.load_factors(factors)
    batch = pack(PREFIX, BATCH)
    merged = Decoder(load_weights(files.merged, torch.float32), RECIPE.rank, RECIPE.alpha, seed=0)
    assert torch.allclose(ours.answer_losses(batch), merged.answer_losses(batch), rtol=1e-2, atol=1e-2)

    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, files.adapter)
    tokens = torch.tensor([PREFIX + BATCH[0][0]])
    logits = tuned(input_ids=tokens).logits[0, -3:-1]
    loss = torch.nn.functional.cross_entropy(logits, tokens[0, -2:], reduction="sum")
    assert float(ours.answer_loss(pack(PREFIX, BATCH[:1]))) == pytest.approx(float(loss), rel=1e-3)


def test_an_architecture_that_ours_does_not_know_is_trained_by_the_libraries(
    starcoder: Path, tmp_path: Path
) -> None:
    result = run(ROWS, starcoder, TuneOptions(RECIPE, device="cpu"), tmp_path / "work")
    assert "trainer: transformers, as Freehold's own does not know starcoder2" in result.reasons
    losses = [loss for _, loss in result.tuned.history.train]
    assert losses[-1] < 0.7 * losses[0]
    again = run(ROWS, starcoder, TuneOptions(RECIPE, device="cpu"), tmp_path / "work")
    assert again.tuned.factors.keys() == result.tuned.factors.keys()
    files = write_files(tmp_path, result.tuned, starcoder, "base")
    assert (files.merged / "model.safetensors").exists()


def test_what_trains_is_chosen_by_the_architecture(llama: Path, starcoder: Path, tmp_path: Path) -> None:
    assert backends.choose(llama).name == "ours"
    assert backends.choose(llama, "transformers").name == "transformers"
    with pytest.raises(Unsupported, match="does not know the architecture 'starcoder2'"):
        backends.choose(starcoder, "ours")
    with pytest.raises(UsageError, match="must be ours or transformers"):
        backends.choose(llama, "theirs")


def test_blocks_of_a_base_need_a_card(llama: Path) -> None:
    with pytest.raises(Unsupported, match="on CUDA cards only"):
        LibraryDecoder(llama, Recipe(base_bits=4), devices.choose("cpu"))
