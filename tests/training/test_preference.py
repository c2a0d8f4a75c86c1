"""Preference tuning on real weights."""

from pathlib import Path

import pytest
import torch

from freehold.core import progress
from freehold.inference.llama import vocabulary
from freehold.training.decoder import pack
from freehold.training.preference import PreferenceTrainer
from freehold.training.recipe import Recipe


@pytest.fixture(scope="module")
def pairs(smollm2: Path) -> list[tuple[list[int], list[int], list[int]]]:
    with vocabulary(smollm2) as tokens:

        def of(text: str) -> list[int]:
            return tokens.encode(text, start=False)

        names = (
            "the card",
            "the fee",
            "the loan",
            "my account",
            "a transfer",
            "the rate",
            "the branch",
            "a cheque",
        )
        return [
            (
                of(f"Question: what about {name}? Answer:"),
                of(" Certainly, please wait."),
                of(" No idea, go away."),
            )
            for name in names
        ]


@pytest.mark.slow
def test_the_loss_is_that_of_the_paper(
    smollm2: Path, pairs: list[tuple[list[int], list[int], list[int]]]
) -> None:
    made = PreferenceTrainer(smollm2, pairs, pairs, Recipe(rank=4, alpha=8.0, batch_rows=4, precision="f32"))
    assert made.units == len(pairs)
    # nothing learnt yet: both answers gained nothing, so the loss is log 2
    assert made.gradients([0, 1, 2])[0] == pytest.approx(0.6931, abs=1e-3)
    made.optimizer.clear()
    with torch.no_grad():
        for group in made.model.groups():
            for factor in group.b:
                factor.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    prompt, chosen, rejected = pairs[3]
    with torch.no_grad():
        now = [
            -made.model.answer_loss(pack([], [(prompt + answer, len(answer))])).item()
            for answer in (chosen, rejected)
        ]
    margin = 0.1 * ((now[0] - made.reference[6].item()) - (now[1] - made.reference[7].item()))
    expected = -torch.nn.functional.logsigmoid(torch.tensor(margin)).item()
    assert made.gradients([3])[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_the_chosen_answers_gain(smollm2: Path, pairs: list[tuple[list[int], list[int], list[int]]]) -> None:
    made = PreferenceTrainer(
        smollm2,
        pairs[:6],
        pairs[6:],
        Recipe(rank=4, alpha=8.0, batch_rows=3, steps=8, validations=2, precision="f32"),
    )
    tuned = made.run(progress.silent)
    assert tuned.history.valid[-1][1] < 0.6
    assert tuned.history.valid[-1][2] == 1.0
