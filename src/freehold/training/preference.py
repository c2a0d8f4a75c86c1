"""Preference tuning: of two answers to one prompt the chosen one is made likelier than the rejected one.

Source: Rafailov et al. 2023, "Direct Preference Optimization" (arXiv 2305.18290). The reference model is the
untuned one. An adapter that has learnt nothing changes nothing, so its likelihoods are those of the fresh
adapter, taken once before the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from freehold.core.device import Device
from freehold.training.backends import OURS
from freehold.training.decoder import Packed
from freehold.training.loop import Trainer
from freehold.training.recipe import Recipe
from freehold.training.training_rows import Pair


class PreferenceTrainer(Trainer):
    """Like :class:`Trainer`, over pairs: pair i is the rows 2i (chosen) and 2i + 1 (rejected).

    ``history.valid`` then holds (step, loss, share of pairs whose chosen answer gained on the rejected one).
    """

    def __init__(
        self,
        weights: Path,
        train: Sequence[Pair],
        valid: Sequence[Pair],
        recipe: Recipe,
        *,
        threads: int = 0,
        device: Device | None = None,
        flat: bool | None = None,
        backend: str = OURS,
    ):
        checks = _flat(list(valid)[: recipe.valid_rows])
        super().__init__(
            weights,
            _flat(train),
            checks,
            recipe,
            threads=threads,
            device=device,
            flat=flat,
            backend=backend,
        )
        self._checks = self.valid = [self._after_prefix(row) for row in checks]
        self.reference = self._likelihoods(self.train)
        self._checked_reference = self._likelihoods(self._checks)

    @property
    def units(self) -> int:
        """Pairs."""
        return len(self.train) // 2

    def length(self, index: int) -> int:
        """Tokens of both answers of a pair, with their prompts."""
        return len(self.train[2 * index][0]) + len(self.train[2 * index + 1][0])

    def gradients(self, indexes: list[int]) -> tuple[torch.Tensor, int]:
        """Accumulate gradients of one batch of pairs; (mean loss per pair, tokens computed)."""
        total, tokens = torch.zeros((), device=self.device.torch), 0
        for part in self._micro(indexes):
            rows = [row for index in part for row in (2 * index, 2 * index + 1)]
            batch = self.packed([self.train[row] for row in rows])
            margins = self._margins(
                self._sums(batch, [self.train[row][1] for row in rows]), self.reference[rows]
            )
            loss = -torch.nn.functional.logsigmoid(margins).sum() / len(indexes)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            tokens += batch.count
        return total, tokens

    def validate(self) -> tuple[float, float]:
        """(mean loss per pair, share of pairs whose chosen answer gained on the rejected one)."""
        margins = self._margins(self._likelihoods(self._checks), self._checked_reference)
        return float(-torch.nn.functional.logsigmoid(margins).mean()), float((margins > 0).float().mean())

    def _margins(self, likelihoods: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        gained = likelihoods - reference
        return self.recipe.beta * (gained[0::2] - gained[1::2])

    def _sums(self, batch: Packed, answers: list[int]) -> torch.Tensor:
        """Log-likelihood (nats) of each row's answer, in the order the rows were given."""
        rows = torch.cat([torch.full((answers[index],), index) for index in batch.order])
        losses = self.model.answer_losses(batch)
        return losses.new_zeros(len(answers)).index_add(0, rows.to(losses.device), -losses)

    @torch.no_grad()
    def _likelihoods(self, rows: list[tuple[list[int], int]]) -> torch.Tensor:
        likelihoods = torch.zeros(len(rows), device=self.device.torch)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index][0]))
        for start in range(0, len(order), self.recipe.batch_rows):
            part = order[start : start + self.recipe.batch_rows]
            likelihoods[part] = self._sums(
                self.packed([rows[index] for index in part]), [rows[index][1] for index in part]
            )
        return likelihoods


def _flat(pairs: Sequence[Pair]) -> list[tuple[list[int], list[int]]]:
    return [(prompt, answer) for prompt, chosen, rejected in pairs for answer in (chosen, rejected)]
