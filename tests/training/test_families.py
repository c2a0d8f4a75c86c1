"""Every family that Freehold tunes with its own code: loss and gradients are those of transformers with PEFT,
from safetensors and from the GGUF that llama.cpp's converter writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from freehold.models.info import read_info
from freehold.quantization.conversion import converter, to_gguf
from freehold.training.adapter import save_peft
from freehold.training.decoder import Decoder, pack
from freehold.training.lora import Factor
from freehold.training.recipe import Recipe
from freehold.training.weights import load_weights
from tests import tiny

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "rope_theta": 5e5,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "rope_theta": 1e4,
    "original_max_position_embeddings": 128,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0 + pair / 10 for pair in range(6)],
    "long_factor": [2.0 + pair for pair in range(6)],
    "partial_rotary_factor": 0.75,
}
WINDOW = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 5, "tie_word_embeddings": True}
#: What is tested: model type of transformers, and its configuration beside :data:`tests.tiny.SHAPE`.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama 3.1": ("llama", {"rope_parameters": LLAMA3}),
    "llama with yarn": ("llama", {"rope_parameters": YARN}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "qwen3 with yarn": ("qwen3", {"head_dim": 32, "rope_parameters": YARN}),
    "gemma2": ("gemma2", {**WINDOW, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 4.0}),
    "gemma3": ("gemma3_text", {**WINDOW, "num_hidden_layers": 7}),
    "phi3": ("phi3", {"sliding_window": None}),
    "phi4-mini": (
        "phi3",
        {
            "sliding_window": None,
            "rope_parameters": LONGROPE,
            "original_max_position_embeddings": 128,
        },
    ),
    "granite": (
        "granite",
        {
            "embedding_multiplier": 6.0,
            "attention_multiplier": 0.1,
            "residual_multiplier": 0.3,
            "logits_scaling": 4.0,
        },
    ),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {"num_hidden_layers": 4}),
}
PREFIX = [5, 30, 41, 7, 200, 17]
ROWS = [([46, 77, 206, 114], 2), ([30, 98, 51], 1), ([36, 80, 30, 9, 98, 300, 12, 250], 3)]
RECIPE = Recipe(rank=4, alpha=8.0)


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    """The converter takes seconds to start."""
    with converter():
        yield


def ours(weights: Path) -> Decoder:
    model = Decoder(load_weights(weights, torch.float32), RECIPE.rank, RECIPE.alpha, seed=0)
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for group in model.groups():
            for factor in group.b:
                factor.normal_(0, 0.05, generator=chance)
    return model


def gradients(model: Decoder) -> dict[str, Factor]:
    """Gradients of both factors by module."""
    by_module: dict[str, Factor] = {}
    for group in model.groups():
        assert group.a.grad is not None
        for at, (name, b) in enumerate(zip(group.names, group.b, strict=True)):
            assert b.grad is not None
            by_module[name] = Factor(group.a.grad[at * RECIPE.rank : (at + 1) * RECIPE.rank], b.grad)
    return by_module


def theirs(folder: Path, adapter: Path) -> tuple[float, dict[str, Factor]]:
    """Summed loss of the rows' answers, and gradients, of transformers with the adapter by PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, attn_implementation="eager"
    )
    model = PeftModel.from_pretrained(base, adapter, is_trainable=True).eval()
    total = torch.zeros(())
    for tokens, answer in ROWS:
        row = torch.tensor([PREFIX + tokens])
        logits = model(input_ids=row).logits[0, -answer - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(logits, row[0, -answer:], reduction="sum")
    total.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    names = {name.split(".lora_")[0] for name in found}
    return total.item(), {
        name.removeprefix("base_model.model.model."): Factor(
            *(found[f"{name}.lora_{part}.default.weight"] for part in "AB")
        )
        for name in names
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", FAMILIES)
def test_loss_and_gradients_are_those_of_transformers_with_peft(case: str, tmp_path: Path) -> None:
    kind, changes = FAMILIES[case]
    folder = tiny.model(kind, tmp_path / "folder", **changes)
    to_gguf(folder, tmp_path / "model.gguf", read_info({file.name: file for file in folder.iterdir()}))
    first = ours(folder)
    factors = {name: f.copied() for group in first.groups() for name, f in group.factors().items()}
    (tmp_path / "adapter").mkdir()
    save_peft(tmp_path / "adapter", factors, RECIPE, "base")
    loss, expected = theirs(folder, tmp_path / "adapter")
    for model in (first, ours(tmp_path / "model.gguf")):
        total = model.answer_loss(pack(PREFIX, ROWS))
        total.backward()
        assert total.item() == pytest.approx(loss, rel=1e-3)
        computed = gradients(model)
        assert computed.keys() == expected.keys()
        for name, factor in expected.items():
            for mine, right in zip(computed[name][:2], factor[:2], strict=True):
                assert float((mine - right).norm()) <= 5e-3 * float(right.norm()) + 1e-6, name
