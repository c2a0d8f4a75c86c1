"""Guesses at the next tokens from what a text has said before: prompt look-up (Saxena 2023), for answers that quote their input.

A guess costs a few tokens of one decode call and is checked by the model itself, so answers are what they would be without. Whoever
guesses wrong is asked less.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Tokens that must be the same for what followed them to be guessed at.
SAME = 3
#: A guess's first and greatest length, and how many tokens one who was wrong waits at most.
FIRST, MOST, WAIT = 3, 16, 48


class PromptLookup:
    """The text of one request, by its runs of :data:`SAME` tokens."""

    def __init__(self, tokens: Sequence[int]):
        self._tokens: list[int] = []
        self._follows: dict[tuple[int, ...], int] = {}
        self._length, self._wrong, self._waits = FIRST, 0, 0
        #: The share of guessed tokens that were right, lately.
        self.rate = 0.7
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Append a token."""
        tokens = self._tokens
        if len(tokens) >= SAME:
            self._follows[tuple(tokens[-SAME:])] = len(tokens)
        tokens.append(token)

    def guess(self, most: int) -> list[int]:
        """What probably follows: at most ``most`` tokens, often none."""
        if self._waits:
            self._waits -= 1
            return []
        at = self._follows.get(tuple(self._tokens[-SAME:])) if len(self._tokens) >= SAME else None
        if at is None:
            return []
        return self._tokens[at : at + min(self._length, most)]

    def pays(self, price: float) -> bool:
        """Whether a guess is worth ``price``, the cost of a guessed token as a share of an ordinary one's: whether so many are right."""
        if self.rate > price:
            return True
        self.rate += 0.01  # what did not pay once may later
        return False

    def judged(self, guessed: int, right: int) -> None:
        """Learn from a guess: longer after one that was right to its end, shorter or later after others."""
        self.rate += 0.3 * (right / guessed - self.rate)
        if right == guessed:
            self._length, self._wrong = min(2 * self._length, MOST), 0
        elif right:
            self._length, self._wrong = max(2, right + 1), 0
        else:
            self._length = max(2, self._length // 2)
            self._wrong += 1
            self._waits = min(2**self._wrong, WAIT)
