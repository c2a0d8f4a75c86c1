"""The fused adapters against plain autograd, and the frozen matrices in blocks."""

from collections.abc import Callable

import pytest
import torch

from freehold.core.errors import Unsupported
from freehold.training.activations import Entry, Gated, Normed, Plain, RmsNorm
from freehold.training.frozen_weights import FrozenLinear, QuantizedLinear, Scratch, normal_values
from freehold.training.lora import LoraGroup

IN, OUT, RANK, SCALE = 64, (48, 32), 4, 2.0


def matrices() -> list[torch.Tensor]:
    chance = torch.Generator().manual_seed(3)
    return [torch.randn((out, IN), generator=chance) / 8 for out in OUT]


def group(**options: object) -> LoraGroup:
    made = LoraGroup(
        ["one", "two"],
        [m.clone() for m in matrices()],
        RANK,
        SCALE,
        torch.Generator().manual_seed(0),
        **options,
    )  # type: ignore[arg-type]
    with torch.no_grad():
        for factor in made.b:
            factor.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    return made


def plain(made: LoraGroup, x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """The same by autograd alone, every matrix formed."""
    outputs, start = [], 0
    for i, (weight, size) in enumerate(zip(weights, OUT, strict=True)):
        whole = weight + SCALE * made.b[i] @ made.a[i * RANK : (i + 1) * RANK]
        if made.magnitude is not None:
            whole = whole * (made.magnitude[start : start + size] / whole.norm(dim=1).detach())[:, None]
        outputs.append(x @ whole.t())
        start += size
    return torch.cat(outputs, dim=1)


def gradients(made: LoraGroup, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    toward = torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    y.backward(toward)
    wanted = [x, made.a, *made.b, *([made.magnitude] if made.magnitude is not None else [])]
    found = [t.grad.clone() for t in wanted if t.grad is not None]
    assert len(found) == len(wanted)
    for t in wanted:
        t.grad = None
    return found


@pytest.mark.parametrize("dora", [False, True])
def test_fused_adapters_give_the_gradients_of_plain_autograd(dora: bool) -> None:
    made = group(dora=dora)
    x = torch.randn((10, IN), generator=torch.Generator().manual_seed(4), requires_grad=True)
    ours = made(x, Plain())
    theirs = plain(made, x, matrices())
    assert torch.allclose(ours, theirs, atol=1e-5)
    for mine, wanted in zip(gradients(made, x, ours), gradients(made, x, theirs), strict=True):
        assert torch.allclose(mine, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("bits", "error"), [(8, 0.01), (4, 0.12)])
def test_a_base_in_blocks_gives_the_gradients_of_its_own_values(bits: int, error: float) -> None:
    made = group(bits=bits)
    opened = made.frozen.stacked(None)[: sum(OUT)].clone()
    exact = torch.cat(matrices())
    assert float((opened - exact).norm() / exact.norm()) < error
    x = torch.randn((10, IN), generator=torch.Generator().manual_seed(4), requires_grad=True)
    theirs = plain(made, x, [opened[: OUT[0]], opened[OUT[0] :]])
    for mine, wanted in zip(gradients(made, x, made(x, Plain())), gradients(made, x, theirs), strict=True):
        assert torch.allclose(mine, wanted, rtol=1e-4, atol=1e-5)


def test_blocks_share_their_room_and_hold_few_bytes() -> None:
    scratch = Scratch()
    first, second = (QuantizedLinear([torch.full((32, 128), value)], 2, 4, scratch) for value in (0.5, -0.25))
    assert torch.equal(first.stacked(None)[:32], torch.full((32, 128), 0.5))
    assert torch.equal(second.stacked(torch.ones((2, 128)))[:32], torch.full((32, 128), -0.25))
    assert torch.equal(second.stacked(torch.ones((2, 128)))[32:], torch.ones((2, 128)))
    assert first.codes.nbytes == 32 * 128 // 2
    assert len(scratch._rooms) == 1
    with pytest.raises(Unsupported, match="blocks of 64"):
        QuantizedLinear([torch.ones((4, 40))], 0, 4, scratch)


def test_the_sixteen_values_are_those_published_for_nf4() -> None:
    published = [
        -1.0,
        -0.6962,
        -0.5251,
        -0.3949,
        -0.2844,
        -0.1848,
        -0.0911,
        0.0,
        0.0796,
        0.1609,
        0.2461,
        0.3379,
        0.4407,
        0.5626,
        0.7230,
        1.0,
    ]
    assert normal_values().tolist() == pytest.approx(published, abs=1e-4)


def test_without_a_rank_nothing_is_learnt() -> None:
    made = LoraGroup(["one", "two"], matrices(), 0, 0.0, torch.Generator())
    assert list(made.parameters()) == []
    assert made.factors() == {}
    assert isinstance(made.frozen, FrozenLinear)
    x = torch.ones((3, IN))
    assert torch.allclose(made(x, Plain()), x @ torch.cat(matrices()).t())


@pytest.mark.parametrize("dora", [False, True])
def test_a_merged_factor_is_what_the_group_computes(dora: bool) -> None:
    made = group(dora=dora)
    x = torch.randn((5, IN), generator=torch.Generator().manual_seed(6))
    factors = made.factors()
    merged = torch.cat(
        [factors[name].merged(weight, SCALE) for name, weight in zip(("one", "two"), matrices(), strict=True)]
    )
    assert torch.allclose(made(x, Plain()), x @ merged.t(), atol=1e-5)


WEIGHT = torch.rand(IN, generator=torch.Generator().manual_seed(6)) + 0.5


def normed(raw: torch.Tensor) -> torch.Tensor:
    return raw * torch.rsqrt(raw.square().mean(-1, keepdim=True) + 1e-5) * WEIGHT


def silu_gated(raw: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(raw[:, :IN]) * raw[:, IN:]


def gelu_gated(raw: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(raw[:, :IN], approximate="tanh") * raw[:, IN:]


@pytest.mark.parametrize(
    ("entry", "plainly", "width"),
    [
        (Normed(WEIGHT, 1e-5), normed, IN),
        (Gated(False), silu_gated, 2 * IN),
        (Gated(True), gelu_gated, 2 * IN),
    ],
)
def test_what_stands_before_a_group_is_computed_again_for_the_same_gradients(
    entry: Entry, plainly: Callable[[torch.Tensor], torch.Tensor], width: int
) -> None:
    made = group()
    raw = torch.randn((10, width), generator=torch.Generator().manual_seed(4), requires_grad=True)
    ours, theirs = made(raw, entry), plain(made, plainly(raw), matrices())
    assert torch.allclose(ours, theirs, atol=1e-5)
    for mine, wanted in zip(gradients(made, raw, ours), gradients(made, raw, theirs), strict=True):
        assert torch.allclose(mine, wanted, rtol=1e-4, atol=1e-5)


def test_the_norm_by_itself_gives_the_gradient_of_plain_autograd() -> None:
    raw = torch.randn((10, IN), generator=torch.Generator().manual_seed(4), requires_grad=True)
    toward = torch.randn((10, IN), generator=torch.Generator().manual_seed(5))
    (mine,) = torch.autograd.grad(RmsNorm.apply(raw, WEIGHT, 1e-5), raw, toward)  # type: ignore[arg-type]
    (wanted,) = torch.autograd.grad(normed(raw), raw, toward)
    assert torch.allclose(mine, wanted, rtol=1e-4, atol=1e-5)
