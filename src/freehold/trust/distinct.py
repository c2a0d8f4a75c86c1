"""Which training answers hold content of their own: text that neither their prompt nor many other rows hold.

Only such answers can give a row away. A label, a standard sentence or a copy of the prompt says nothing about
one row, however
faithfully a model repeats it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from freehold.data.examples import Example

#: Words of its own that an answer needs; fewer come about by chance.
FEWEST_WORDS = 8
#: Words that are compared together: single words are in every text.
_TOGETHER = 4
#: A stretch of words is an answer's own where at most this many rows hold it, or this share of the rows: a
#: secret may be in several rows.
_FEW_ROWS, _FEW_SHARE = 3, 0.01
#: Answers are labels where this share of the rows has an answer that other rows have too.
_LABELS = 0.8
#: A word, or one character of a writing without spaces.
_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\w+")
#: A word that can be a code, an account or a number: five characters or more, four of them digits or more.
_CODE = re.compile(r"(?=\w{5,})(?:\D*\d){4}\w*")

Words = tuple[str, ...]


def words_of(text: str) -> Words:
    """The words of a text in lower case, without punctuation."""
    return tuple(_WORD.findall(text.lower()))


def _stretches(words: Words) -> list[Words]:
    """Every stretch of four words; the whole text where it is shorter."""
    size = min(_TOGETHER, len(words))
    return [words[at : at + size] for at in range(len(words) - size + 1)] if words else []


def _codes(words: Words) -> list[Words]:
    return [(word,) for word in words if _CODE.fullmatch(word)]


@dataclass(frozen=True)
class Answers:
    """What the answers of some rows are. ``different``: how many different ones. ``shared``: share of rows
    whose answer others have.
    """

    different: int
    shared: float

    @property
    def are_labels(self) -> bool:
        """Whether they look like a closed set."""
        return self.shared >= _LABELS


def answers_of(rows: Sequence[Example]) -> Answers:
    """How different the answers are."""
    counts = Counter(row.answer.strip().lower() for row in rows)
    shared = sum(count for count in counts.values() if count > 1)
    return Answers(len(counts), shared / len(rows) if rows else 0.0)


class Distinct:
    """Knows how many of the training rows hold each stretch of words that ``candidates`` hold.

    Rows with the same prompt and answer count once: a row that is repeated is learnt best, and its content is
    still its own.
    """

    def __init__(self, training: Iterable[Example], candidates: Iterable[Example]):
        self._counts: Counter[Words] = Counter()
        needed = {part for row in candidates for part in _parts(words_of(row.answer))}
        rows = {row.messages for row in training}
        for messages in rows:
            held = {part for _, text in messages for part in _parts(words_of(text))}
            self._counts.update(held & needed)
        self._most = max(_FEW_ROWS, int(_FEW_SHARE * len(rows)))

    def _own(self, part: Words, prompt: frozenset[Words]) -> bool:
        return part not in prompt and self._counts[part] <= self._most

    def words(self, row: Example) -> int:
        """How many words of the row's answer stand in a stretch of its own."""
        words = words_of(row.answer)
        prompt = frozenset(part for _, text in row.prompt for part in _parts(words_of(text)))
        covered: set[int] = set()
        for at, part in enumerate(_stretches(words)):
            if self._own(part, prompt):
                covered.update(range(at, at + len(part)))
        return len(covered)

    def has_code(self, row: Example) -> bool:
        """Whether the answer holds a code or number of its own."""
        prompt = frozenset(_codes(words_of(" ".join(text for _, text in row.prompt))))
        return any(self._own(part, prompt) for part in _codes(words_of(row.answer)))

    def counts(self, row: Example) -> bool:
        """Whether the answer holds enough of its own to give the row away."""
        return self.has_code(row) or self.words(row) >= FEWEST_WORDS


def _parts(words: Words) -> set[Words]:
    return {*_stretches(words), *_codes(words)}
