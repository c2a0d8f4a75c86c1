# pyright: reportPrivateImportUsage=false
"""AdamW for the adapters.

Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization" (arXiv 1711.05101), algorithm 2.
Written here because building torch's own loads its compiler, which takes 80 MB that a small machine wants for
the model; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class AdamW:
    """Steps over ``parameters``; the ``first`` and ``second`` moments exist from the first step on."""

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        *,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ):
        self.parameters: list[torch.Tensor] = list(parameters)
        self.weight_decay, self.betas, self.epsilon = weight_decay, betas, epsilon
        self.first: list[torch.Tensor] = []
        self.second: list[torch.Tensor] = []
        self.steps = 0

    def clear(self) -> None:
        """Let the gradients go."""
        for parameter in self.parameters:
            parameter.grad = None

    def release(self) -> None:
        """Let gradients and moments go, once the last step is done."""
        self.clear()
        self.first, self.second = [], []

    @torch.no_grad()
    def step(self, learning_rate: float, clip: float) -> None:
        """Move every parameter once, its gradient scaled so that the norm of all of them is at most ``clip``;
        then let the gradients go.
        """
        if not self.first:
            self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
            self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps += 1
        grads = [
            parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            for parameter in self.parameters
        ]
        norm = torch.stack(torch._foreach_norm(grads)).norm()  # noqa: SLF001
        scale = (clip / (norm + 1e-6)).clamp(max=1.0)
        fast, slow = self.betas
        rate = learning_rate / (1 - fast**self.steps)
        unbiased = (1 - slow**self.steps) ** 0.5
        # over all parameters at once: a card would spend more time on being told than on the work; and in
        # place, so nothing is held twice
        torch._foreach_mul_(grads, scale)
        if self.weight_decay:
            torch._foreach_mul_(self.parameters, 1 - learning_rate * self.weight_decay)
        torch._foreach_lerp_(self.first, grads, 1 - fast)
        torch._foreach_mul_(self.second, slow)
        torch._foreach_addcmul_(self.second, grads, grads, 1 - slow)
        torch._foreach_copy_(grads, self.second)
        torch._foreach_sqrt_(grads)
        torch._foreach_div_(grads, unbiased)
        torch._foreach_add_(grads, self.epsilon)
        torch._foreach_addcdiv_(self.parameters, self.first, grads, -rate)
        self.clear()
