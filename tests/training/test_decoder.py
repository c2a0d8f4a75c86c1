"""The decoder against transformers on real weights, and a shared prefix against rows computed in full."""

from pathlib import Path

import pytest
import torch

from freehold.training.decoder import Decoder, pack
from freehold.training.weights import load_weights

PREFIX = [1, 9690, 198, 8530, 1282, 260]
ROWS = [([5461, 7742, 506, 3714], 2), ([30, 19842, 351], 1), ([4368, 805, 30, 2, 198], 3)]


@pytest.fixture(scope="module")
def decoder(smollm2: Path) -> Decoder:
    model = Decoder(load_weights(smollm2, torch.float32), rank=4, alpha=8.0, seed=0)
    with torch.no_grad():
        for group in model.groups():
            for factor in group.b:
                factor.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    return model


def gradients(model: Decoder) -> list[torch.Tensor]:
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found


def test_a_shared_prefix_gives_the_gradients_of_rows_computed_in_full(decoder: Decoder) -> None:
    shared = decoder.answer_loss(pack(PREFIX, ROWS))
    shared.backward()
    ours = gradients(decoder)
    plain = sum(decoder.answer_loss(pack([], [(PREFIX + tokens, answer)])) for tokens, answer in ROWS)
    assert isinstance(plain, torch.Tensor)
    plain.backward()
    assert shared.item() == pytest.approx(plain.item(), rel=1e-5)
    for mine, wanted in zip(ours, gradients(decoder), strict=True):
        assert float((mine - wanted).norm()) <= 1e-3 * float(wanted.norm())


@pytest.mark.slow
def test_losses_equal_those_of_transformers(smollm2: Path) -> None:
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(
        smollm2.parent, gguf_file=smollm2.name, dtype=torch.float32
    ).eval()
    ours = Decoder(load_weights(smollm2, torch.float32), rank=4, alpha=8.0, seed=0)
    tokens, answer = PREFIX + ROWS[2][0], ROWS[2][1]
    with torch.no_grad():
        logits = theirs(torch.tensor([tokens])).logits[0]
        wanted = torch.nn.functional.cross_entropy(
            logits[-answer - 1 : -1], torch.tensor(tokens[-answer:]), reduction="sum"
        )
        mine = ours.answer_loss(pack([], [(tokens, answer)]))
    assert mine.item() == pytest.approx(wanted.item(), rel=1e-4)
