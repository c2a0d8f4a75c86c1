"""Our AdamW against torch's."""

import torch

from freehold.training.optimizer import AdamW


def parameters() -> list[torch.nn.Parameter]:
    chance = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=chance)) for shape in ((5, 3), (7,))]


def test_steps_equal_those_of_torch() -> None:
    mine, theirs = parameters(), parameters()
    ours = AdamW(mine, weight_decay=0.1)
    torchs = torch.optim.AdamW(theirs, lr=0.0, weight_decay=0.1)
    chance = torch.Generator().manual_seed(1)
    for rate in (0.01, 0.02, 0.005, 0.005):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = 3 * torch.randn(a.shape, generator=chance)
            b.grad = a.grad.clone()
        ours.step(rate, clip=1.0)
        torchs.param_groups[0]["lr"] = rate
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        torchs.step()
        torchs.zero_grad()
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)
        assert a.grad is None
