"""From logits to a token: penalties, processors, and drawing; and the log-probabilities that a server
reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from freehold.core.errors import Unsupported

#: Changes logits before a token is drawn: (logits (vocabulary,), prompt tokens, answer tokens so far) ->
#: logits of the same shape. It runs after penalties and before grammar and temperature, once for every token
#: of an answer. It may change the array it is given; the sum of what it adds is its own affair. This is where
#: a watermark goes in.
Processor = Callable[[np.ndarray, Sequence[int], Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class Sampling:
    """How an answer's tokens are drawn. The defaults are greedy.

    ``top_k`` 0 and ``min_p`` 0: no limit. ``presence`` and ``frequency`` are subtracted from the logits of
    tokens that the answer has (once, and for each time), as OpenAI's API defines them; ``repeat`` divides
    positive and multiplies negative logits of the last ``repeat_last`` tokens of prompt and answer (Keskar et
    al. 2019, arXiv 1909.05858). ``bias``: token -> what is added to its logit.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    presence: float = 0.0
    frequency: float = 0.0
    repeat: float = 1.0
    repeat_last: int = 64
    bias: tuple[tuple[int, float], ...] = ()
    processors: tuple[Processor, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether logits are changed before a token is drawn."""
        return bool(self.presence or self.frequency or self.repeat != 1.0 or self.bias or self.processors)

    def applied(self, logits: np.ndarray, prompt: Sequence[int], answer: Sequence[int]) -> np.ndarray:
        """Logits after bias, penalties and processors; a new array where there are any.

        Never NaN or positive infinity.
        """
        if not self.changes:
            return logits
        logits = logits.copy()
        for token, amount in self.bias:
            logits[token] += amount
        if self.repeat != 1.0:
            recent = np.unique(
                np.asarray([*prompt[-self.repeat_last :], *answer][-self.repeat_last :], dtype=np.int64)
            )
            before, largest = logits[recent].astype(np.float64), np.finfo(logits.dtype).max
            with np.errstate(over="ignore"):
                after = np.where(before > 0, before / self.repeat, before * self.repeat)
            logits[recent] = np.clip(after, -largest, largest)
        if self.presence or self.frequency:
            for token, count in Counter(answer).items():
                logits[token] -= self.presence + self.frequency * count
        for process in self.processors:
            logits = process(logits, prompt, answer)
        return logits

    def pick(self, logits: np.ndarray, random: np.random.Generator) -> int:
        """A token. Raises Unsupported where bias, penalties and form leave none."""
        likeliest = int(np.argmax(logits))  # the place of a NaN where there is one
        if not np.isfinite(logits[likeliest]):
            raise Unsupported(
                "no token is left to draw from", "check logit_bias, penalties and the answer's form"
            )
        if self.temperature == 0:
            return likeliest
        return draw(logits, self.temperature, self.top_p, random, self.top_k, self.min_p)


GREEDY = Sampling()


@dataclass(frozen=True)
class Likelihood:
    """A token that was drawn, its log-probability (nats) under the model itself, and the likeliest tokens
    with theirs.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def likelihood(logits: np.ndarray, token: int, top: int) -> Likelihood:
    """Log-probabilities of a token and of the ``top`` likeliest."""
    top = min(top, len(logits) - 1)
    highest = float(logits.max())
    total = highest + float(np.log(np.exp(logits - highest, dtype=np.float64).sum()))
    best = np.argpartition(-logits, top)[:top] if top else np.empty(0, dtype=np.int64)
    best = best[np.argsort(-logits[best], kind="stable")]
    return Likelihood(
        token, float(logits[token]) - total, tuple((int(one), float(logits[one]) - total) for one in best)
    )


def draw(
    logits: np.ndarray,
    temperature: float,
    top_p: float,
    random: np.random.Generator,
    top_k: int = 0,
    min_p: float = 0.0,
) -> int:
    """A token by temperature and nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751), among the
    ``top_k`` likeliest and those of at least ``min_p`` of the likeliest's probability.
    """
    kept = np.argpartition(-logits, top_k - 1)[:top_k] if 0 < top_k < len(logits) else np.arange(len(logits))
    scaled = logits[kept].astype(np.float64)
    with np.errstate(
        over="ignore"
    ):  # the greatest is taken off first, so that a tiny temperature gives 0 and -inf, not NaN
        chance = np.exp((scaled - scaled.max()) / temperature)
    chance /= chance.sum()
    if min_p > 0.0:
        likely = chance >= min(min_p, 1.0) * chance.max()
        kept, chance = kept[likely], chance[likely]
        chance /= chance.sum()
    if top_p < 1.0:
        order = np.argsort(-chance)
        inside = order[: int(np.searchsorted(np.cumsum(chance[order]), top_p)) + 1]
        return int(random.choice(kept[inside], p=chance[inside] / chance[inside].sum()))
    return int(random.choice(kept, p=chance))
