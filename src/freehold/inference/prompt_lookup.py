"""Prompt lookup (Saxena 2023): drafts of the next tokens from what a text has said before, for answers that
quote their input.

A draft costs a few tokens of one decode call and is checked by the model itself, so answers are what they
would be without. A text whose drafts are not accepted gets fewer of them.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Tokens that must be the same for what followed them to become a draft.
SAME = 3
#: A draft's first and greatest length, and how many tokens a text waits at most after drafts that were not
#: accepted.
FIRST, MOST, WAIT = 3, 16, 48


class PromptLookup:
    """The text of one request, by its runs of :data:`SAME` tokens."""

    def __init__(self, tokens: Sequence[int]):
        self._tokens: list[int] = []
        self._follows: dict[tuple[int, ...], int] = {}
        self._length, self._rejected, self._waits = FIRST, 0, 0
        #: The share of drafted tokens that were accepted, lately.
        self.rate = 0.7
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Append a token."""
        tokens = self._tokens
        if len(tokens) >= SAME:
            self._follows[tuple(tokens[-SAME:])] = len(tokens)
        tokens.append(token)

    def draft(self, most: int) -> list[int]:
        """What probably follows: at most ``most`` tokens, often none."""
        if self._waits:
            self._waits -= 1
            return []
        at = self._follows.get(tuple(self._tokens[-SAME:])) if len(self._tokens) >= SAME else None
        if at is None:
            return []
        return self._tokens[at : at + min(self._length, most)]

    def pays(self, price: float) -> bool:
        """Whether enough tokens are accepted for a drafted token to cost ``price``, a share of an ordinary
        token's cost.
        """
        if self.rate > price:
            return True
        self.rate += 0.01  # what did not pay once may later
        return False

    def learn(self, drafted: int, accepted: int) -> None:
        """Learn from a draft: longer after one that was accepted whole, shorter or later after others."""
        self.rate += 0.3 * (accepted / drafted - self.rate)
        if accepted == drafted:
            self._length, self._rejected = min(2 * self._length, MOST), 0
        elif accepted:
            self._length, self._rejected = max(2, accepted + 1), 0
        else:
            self._length = max(2, self._length // 2)
            self._rejected += 1
            self._waits = min(2**self._rejected, WAIT)
