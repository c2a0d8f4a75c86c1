"""What is trained on, and that a card's way through the decoder computes what the processor's does.

No card is needed: the card's packing and attention run on the processor by the plain formulas, and torch's
device ``meta`` runs the very operators of a card for their shapes alone. What the kernels compute is for
benchmarks/gpu.py to say, where there is a card.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from freehold.core import device as devices
from freehold.core import progress
from freehold.core.device import Device
from freehold.core.errors import MissingPart, UsageError
from freehold.models.formats.decoders import config_of
from freehold.training import memory
from freehold.training.attention import PrefixAttention
from freehold.training.decoder import Decoder, pack
from freehold.training.loop import Trainer
from freehold.training.packed_batches import FlatAttention, sequences
from freehold.training.recipe import Recipe
from freehold.training.weights import load_weights
from tests import tiny

GIB = 1 << 30
CPU = Device("cpu", "a processor", "bf16", 16 * GIB, 8 * GIB)
OLD = Device("cuda:0", "an old card", "f32", 8 * GIB, 7 * GIB)
NEW = Device("cuda:1", "a new card", "bf16", 24 * GIB, 20 * GIB, flash=True)
APPLE = Device("mps", "an Apple", "bf16", 16 * GIB, 8 * GIB)
ROWS = [([3, 9, 19, 4, 30 + i] + [40 + i] * (i % 5), [20 + i, 50 + i, 1][: 1 + i % 3]) for i in range(24)]
RECIPE = Recipe(rank=2, alpha=4.0, batch_rows=8, steps=6, validations=3, precision="f32", checkpoint_s=0.0)


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma3_text"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = str(request.param)
    changes: dict[str, Any] = {"head_dim": 16, "intermediate_size": 128}
    if kind == "gemma3_text":
        changes |= {"sliding_window": 6, "num_hidden_layers": 6}
    return tiny.model(kind, tmp_path_factory.mktemp(kind), tokens=False, **changes)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads wait longer for each other than such small products take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# -- which device ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "known", "where", "said"),
    [
        ("", [CPU], "cpu", "on cpu (a processor), as"),
        ("", [OLD, CPU], "cuda:0", "the only GPU, in 32 bit, as it has no bf16"),
        ("", [OLD, NEW, CPU], "cuda:1", "the GPU with the most free memory, in 16 bit"),
        ("", [APPLE, CPU], "mps", "the only GPU"),
        ("auto", [NEW, CPU], "cuda:1", "20.0 of 24.0 GiB free"),
        ("cuda", [OLD, NEW, CPU], "cuda:1", "as asked"),
        ("CUDA:0", [OLD, NEW, CPU], "cuda:0", "as asked"),
        ("cpu", [NEW, CPU], "cpu", "as asked"),
    ],
)
def test_the_device_is_chosen_and_the_reason_said(
    asked: str, known: list[Device], where: str, said: str
) -> None:
    chosen = devices.choose(asked, known)
    assert chosen.where == where
    assert said in chosen.reason


def test_a_device_that_is_not_here_is_refused_with_those_that_are() -> None:
    with pytest.raises(MissingPart, match=r"--device cuda: torch.*available here: cpu"):
        devices.choose("cuda", [CPU])
    with pytest.raises(MissingPart, match="available here: cuda:0, cpu"):
        devices.choose("cuda:3", [OLD, CPU])
    with pytest.raises(UsageError, match="--device gpu: unknown kind of device"):
        devices.choose("gpu", [NEW, CPU])
    with pytest.raises(UsageError, match="--device cuda:x"):
        devices.choose("cuda:x", [NEW, CPU])


def test_this_machine_has_a_processor_at_least() -> None:
    here = devices.devices()
    assert here[-1].where == "cpu"
    assert devices.choose("cpu").torch == torch.device("cpu")
    assert here[-1].usable_bytes == 0
    assert devices.choose("cpu").peak_bytes() > 0


def test_a_recipe_follows_the_device() -> None:
    assert Recipe().on(OLD).precision == "f32"
    assert Recipe().on(NEW).precision == "bf16"
    assert Recipe().on(NEW).micro_tokens == devices.CARD_TOKENS
    assert Recipe().on(CPU) == Recipe()


def test_the_plan_for_a_card_is_made_from_its_memory(folder: Path) -> None:
    config, rows = config_of(folder), memory.shape_of(ROWS * 100, Recipe(batch_rows=256))
    recipe = Recipe(batch_rows=256).on(NEW)
    whole = memory.predict(config, recipe, rows, tied=True, device=NEW)
    assert whole.process == 0
    without = memory.predict(config, recipe, rows, tied=True, device=replace(NEW, flash=False))
    assert whole.activations < without.activations
    full = replace(NEW, free_bytes=devices.RESERVE_BYTES + int(whole.total * 0.8))
    fitted, need, reason = memory.fit(config, recipe, rows, full.usable_bytes, tied=True, device=full)
    assert need.total <= full.usable_bytes
    assert fitted != recipe
    assert "to fit" in reason


# -- the same result ------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize("window", [0, 3])
def test_flat_attention_equals_the_processors_own_kernel(prefix: int, window: int) -> None:
    torch.manual_seed(0)
    lengths, heads, kv, dim = [4, 1, 7], 6, 2, 8

    def leaf(count: int) -> torch.Tensor:
        return torch.randn(prefix + sum(lengths), count, dim, dtype=torch.double, requires_grad=True)

    q, k, v = leaf(heads), leaf(kv), leaf(kv)
    ours = FlatAttention.apply(q, k, v, sequences(prefix, lengths), 0.3, window)
    pieces, at = [], prefix
    if prefix:
        own = [t[None, :prefix] for t in (q, k, v)]
        pieces.append(PrefixAttention.apply(*own, k[:0], v[:0], 0.3, window)[0])
    for length in lengths:
        own = [t[None, at : at + length] for t in (q, k, v)]
        pieces.append(PrefixAttention.apply(*own, k[:prefix], v[:prefix], 0.3, window)[0])
        at += length
    theirs = torch.cat(pieces)
    assert torch.allclose(ours, theirs, atol=1e-12)
    upstream = torch.randn_like(theirs)
    for mine, wanted in zip(
        torch.autograd.grad(ours, (q, k, v), upstream),
        torch.autograd.grad(theirs, (q, k, v), upstream),
        strict=True,
    ):
        assert torch.allclose(mine, wanted, atol=1e-12)


def adapted(folder: Path, *, flat: bool, **options: object) -> Trainer:
    made = Trainer(folder, ROWS, ROWS, replace(RECIPE, **options), flat=flat)  # type: ignore[arg-type]
    with torch.no_grad():
        for group in made.model.groups():
            for factor in group.b:
                factor.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    return made


def gradients(made: Trainer) -> tuple[float, list[torch.Tensor]]:
    loss, tokens = made.gradients(list(range(8)))
    assert tokens > 0
    found = [p.grad.clone() for p in made.parameters if p.grad is not None]
    made.optimizer.clear()
    return float(loss), found


@pytest.mark.parametrize(
    "options", [{}, {"checkpointing": True}, {"share_prefix": False}, {"base_bits": 4}, {"dora": True}]
)
def test_a_flat_batch_gives_the_loss_and_gradients_of_a_grouped_one(
    folder: Path, options: dict[str, object]
) -> None:
    flat, grouped = (
        gradients(adapted(folder, flat=True, **options)),
        gradients(adapted(folder, flat=False, **options)),
    )
    assert flat[0] == pytest.approx(grouped[0], rel=1e-5)
    assert len(flat[1]) == len(grouped[1]) > 0
    for mine, wanted in zip(flat[1], grouped[1], strict=True):
        assert float((mine - wanted).norm()) <= 1e-4 * float(wanted.norm())


def test_a_flat_batch_has_no_filling(folder: Path) -> None:
    batch = pack([1, 2], [([3, 4, 5], 1), ([6], 1), ([7, 8], 1)], flat=True)
    assert batch.tokens.tolist() == [1, 2, 6, 7, 8, 3, 4, 5]
    assert batch.count == len(batch.tokens)
    assert batch.at is not None
    assert batch.at.starts.tolist() == [0, 2, 3, 5, 8]
    assert batch.at.key_starts.tolist() == [0, 2, 5, 9, 14]


def test_validation_of_flat_batches_is_that_of_grouped_ones(folder: Path) -> None:
    loss, exact = adapted(folder, flat=True).validate()
    wanted, share = adapted(folder, flat=False).validate()
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert exact == share


def test_a_flat_run_cut_off_and_resumed_ends_as_an_unbroken_one(folder: Path, tmp_path: Path) -> None:
    whole = Trainer(folder, ROWS, ROWS[:8], RECIPE, flat=True).run(progress.silent)

    class Cut(Exception):
        pass

    def cut(event: progress.Event) -> None:
        if event.done == 4:
            raise Cut

    with pytest.raises(Cut):
        Trainer(folder, ROWS, ROWS[:8], RECIPE, flat=True).run(cut, tmp_path / "c.safetensors")
    again = Trainer(folder, ROWS, ROWS[:8], RECIPE, flat=True).run(
        progress.silent, tmp_path / "c.safetensors"
    )
    assert again.history.train == whole.history.train
    for name, (a, b, _) in whole.factors.items():
        assert torch.equal(a, again.factors[name].a)
        assert torch.equal(b, again.factors[name].b)


# -- a card's own operators -----------------------------------------------------------------------


def test_a_cards_operators_take_what_they_are_given(folder: Path) -> None:
    """On ``meta`` nothing is computed, but every operator, its arguments, shapes, types and devices are those
    of a card.
    """
    meta = torch.device("meta")
    model = Decoder(load_weights(folder, torch.bfloat16, meta), rank=2, alpha=4.0, seed=0)
    prefix = [3, 9, 19, 4]
    batch = pack(prefix, [(prompt[4:] + answer, len(answer)) for prompt, answer in ROWS], flat=True).to(meta)
    loss = model.answer_loss(batch)
    loss.backward()  # type: ignore[no-untyped-call]
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert grads
    for name, grad in grads.items():
        assert grad is not None, name
        assert grad.device == meta
        assert grad.dtype == torch.float32
