"""AdamW for the adapters.

Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization" (arXiv 1711.05101), algorithm 2. Written here because
building torch's own loads its compiler, which takes 80 MB that a small machine wants for the model; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class AdamW:
    """One step at a time over ``parameters``; ``first`` and ``second`` moments exist from the first step on."""

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        *,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ):
        self.parameters = list(parameters)
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
        """Move every parameter once, its gradient scaled so that the norm of all of them is at most ``clip``; then let the gradients go."""
        if not self.first:
            self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
            self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps += 1
        grads = [
            parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            for parameter in self.parameters
        ]
        norm = torch.stack([torch.linalg.vector_norm(grad) for grad in grads]).norm()
        scale = float((clip / (norm + 1e-6)).clamp(max=1.0))
        fast, slow = self.betas
        rate = learning_rate / (1 - fast**self.steps)
        unbiased = (1 - slow**self.steps) ** 0.5
        for parameter, grad, first, second in zip(
            self.parameters, grads, self.first, self.second, strict=True
        ):
            grad.mul_(scale)
            parameter.mul_(1 - learning_rate * self.weight_decay)
            first.lerp_(grad, 1 - fast)
            second.mul_(slow).addcmul_(grad, grad, value=1 - slow)
            torch.sqrt(second, out=grad)
            parameter.addcdiv_(first, grad.div_(unbiased).add_(self.epsilon), value=-rate)
        self.clear()
