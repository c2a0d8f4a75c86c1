"""Whether two rows ask the same: how much of their words they share, and whether what differs could matter.

What differs is looked at, not only how much is shared. Another number, date, sign or operator, a negation, an
opposite, another question word, or names and things that change places make another row. Courtesy, spelling,
order and a cut-off end do not.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import OSA, Indel, LCSseq

from freehold.data.small_words import FILLERS, FUNCTION, NEGATIONS, QUESTIONS, opposed, without_courtesy

#: Two rows are near-duplicates from this similarity on.
SIMILAR = 0.8
#: What a word of grammar counts beside a word of content, which counts 1.
_LITTLE = 0.35
#: Below this weight of shared words nothing but an equal row is alike.
_LEAST_SHARED = 2.0
#: One replaced word, or two that are added, are allowed from so many words on (characters where a script has
#: no spaces), and one more for each so many.
_ONE_FROM, _ONE_FOR_EACH = 5, 6
_ONE_FROM_UNSPACED, _ONE_FOR_EACH_UNSPACED = 8, 8
#: A row that is a part of another has so many words at least, and this share of the other's.
_PART_WORDS, _PART_SHARE = 6, 0.5
#: From so many words on, a row is long: a few numbers of it may differ where this share stays.
_LONG, _LONG_SHARE = 60, 0.9
#: The share of a long row's words that must be in the row that it is a part of.
_LONG_PART = 0.95
#: Pairs of words whose spelling is compared at most: rows that differ in more are not copies.
_MOST_SPELT = 40_000
_OPERATORS = frozenset("+*/=<>^%|~\\×÷-")


@dataclass(frozen=True)
class Difference:
    """Words of either row that the other has not, spelling and order aside; the weight of those shared.

    ``cost``: words to replace in order to get from one row to the other, an added one counting half.
    ``words``: those of the longer row. Courtesy counts nowhere.
    """

    first: Counter[str]
    second: Counter[str]
    shared: float
    cost: float
    words: int

    @property
    def share(self) -> float:
        """The share of the words that stays."""
        return max(0.0, 1 - self.cost / max(self.words, 1))


#: Called with the words of content that only either row has: whether they make another row.
Tells = Callable[[list[str], list[str]], bool]


def likeness(first: Sequence[str], second: Sequence[str], tells: Tells | None = None) -> float:
    """From 0 to 1: 1 for equal words, at least :data:`SIMILAR` for rows that ask the same, else less.

    ``tells``: what else is known of rows that differ in words, such as that many rows fill this place.
    """
    if list(first) == list(second):
        return 1.0
    if "".join(first) == "".join(second):
        return 0.99
    difference = _difference(first, second)
    below = SIMILAR * 0.99 * difference.share
    if _matters(first, second, difference, tells):
        return below
    return (
        SIMILAR + (1 - SIMILAR) * min(difference.share, 0.99) if _little(first, second, difference) else below
    )


def _little(first: Sequence[str], second: Sequence[str], difference: Difference) -> bool:
    """Whether little enough differs for a copy that was edited."""
    if not difference.first and not difference.second:
        return True
    if difference.shared < _LEAST_SHARED:
        return not _weight(difference.first) and not _weight(difference.second)
    return difference.cost <= _allowed(first, difference.words) or _is_part(first, second)


def _allowed(words: Sequence[str], count: int) -> float:
    """How many words of so many may be replaced."""
    unspaced = 2 * sum(is_unspaced(word) for word in words) > len(words)
    least, each = (_ONE_FROM_UNSPACED, _ONE_FOR_EACH_UNSPACED) if unspaced else (_ONE_FROM, _ONE_FOR_EACH)
    return max(1.0, count / each) if count >= least else 0.0


def _is_part(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether one row is in the other as it is, and makes most of it."""
    short, long = sorted((without_courtesy(first), without_courtesy(second)), key=len)
    if len(short) < _PART_WORDS or len(short) < _PART_SHARE * len(long):
        return False
    if len(short) >= _LONG:
        return LCSseq.similarity(short, long) >= _LONG_PART * len(short)
    starts = (start for start in range(len(long) - len(short) + 1) if long[start] == short[0])
    return any(long[start : start + len(short)] == short for start in starts)


def weight(word: str) -> float:
    """What a word counts: nothing for courtesy, little for grammar, 1 for what a row is about."""
    return 0.0 if word in FILLERS else _LITTLE if word in FUNCTION or word in QUESTIONS else 1.0


def _weight(words: Counter[str]) -> float:
    return sum(weight(word) * count for word, count in words.items())


def is_unspaced(word: str) -> bool:
    """Whether a token is a character of a script without spaces."""
    return len(word) == 1 and word >= "\u0e00" and word.isalpha()


# -- what differs ---------------------------------------------------------------------------------


def _difference(first: Sequence[str], second: Sequence[str]) -> Difference:
    a, b = without_courtesy(first), without_courtesy(second)
    only_a, only_b = Counter(a) - Counter(b), Counter(b) - Counter(a)
    spelt: dict[str, str] = {}
    for word in list(only_a) if len(only_a) * len(only_b) <= _MOST_SPELT else ():
        match = next((other for other in only_b if spelt_alike(word, other)), None)
        if match is not None:
            spelt[match] = word
            both = min(only_a[word], only_b[match])
            only_a -= Counter({word: both})
            only_b -= Counter({match: both})
    b = [spelt.get(word, word) for word in b]
    cost = Indel.distance(a, b) / 2 if only_a or only_b else 0.0
    shared = _weight(Counter(a) & Counter(b))
    return Difference(only_a, only_b, shared, cost, max(len(a), len(b)))


def spelt_alike(first: str, second: str) -> bool:
    """Whether two words are one with a slip of the pen: not numbers, opposites, or words of grammar."""
    if first[0] == "#" or second[0] == "#" or is_unspaced(first):
        return False
    if "\uac00" <= first[0] <= "\ud7a3":
        first, second = (unicodedata.normalize("NFD", word) for word in (first, second))
    short = min(len(first), len(second))
    if short < 3:
        return False
    if short == 3:
        near = sorted(first) == sorted(second)
    else:
        near = OSA.distance(first, second, score_cutoff=2) <= (1 if short < 7 else 2)
    if not near or first in NEGATIONS or second in NEGATIONS:
        return False
    return not opposed(first, second) and not (first in QUESTIONS and second in QUESTIONS)


def _matters(
    first: Sequence[str],
    second: Sequence[str],
    difference: Difference,
    tells: Tells | None,
) -> bool:
    """Whether what differs makes another row of it."""
    only_a, only_b = difference.first, difference.second
    long = min(len(first), len(second)) >= _LONG
    if long and difference.share >= _LONG_SHARE and _numbers(only_a) <= 1 and _numbers(only_b) <= 1:
        return False
    if (_signs(only_a) and _signs(only_b)) or (_codes(only_a) and _codes(only_b)):
        return True
    if _another_stretch(first, second, only_a, only_b):
        return True
    if _operators(first) != _operators(second) or _reversed_numbers(first, second):
        return True
    if _says_no(only_a) != _says_no(only_b) and not long and not _is_part(first, second):
        return True
    if _turned(only_a, only_b):
        return True
    if not only_a and not only_b:
        return _changed_places(first, second, difference.shared)
    replaced = _content(only_a), _content(only_b)
    return tells is not None and tells(*replaced)


def _content(words: Counter[str]) -> list[str]:
    return [word for word in words.elements() if weight(word) == 1.0]


def _signs(words: Counter[str]) -> bool:
    """Whether there are numbers or signs such as emoji among the words."""
    return any(word[0] == "#" or not word[0].isalnum() for word in words)


def _codes(words: Counter[str]) -> bool:
    """Whether there are one or two letters that are no word, such as the B of plan B."""
    return any(len(word) <= 2 and word.isascii() and word.isalpha() and weight(word) == 1.0 for word in words)


def _another_stretch(
    first: Sequence[str], second: Sequence[str], only_a: Counter[str], only_b: Counter[str]
) -> bool:
    """Whether between what both rows begin and end with hardly a word is the same: an instruction with other
    content, a passage with another question.
    """
    if len(_content(only_a)) + len(_content(only_b)) < 3 or not only_a or not only_b:
        return False
    start = 0
    shortest = min(len(first), len(second))
    while start < shortest and first[start] == second[start]:
        start += 1
    end = 0
    while end < shortest - start and first[-1 - end] == second[-1 - end]:
        end += 1
    a, b = Counter(first[start : len(first) - end]), Counter(second[start : len(second) - end])
    apart = max(_weight(only_a), _weight(only_b))
    return start + end > 0 and _weight(a & b) < apart


def _numbers(words: Counter[str]) -> int:
    return sum(count for word, count in words.items() if word[0] == "#")


def _operators(words: Sequence[str]) -> Counter[str]:
    return Counter(word for word in words if word in _OPERATORS)


def _reversed_numbers(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether the same numbers stand in another order while the words do not."""
    a, b = ([word for word in words if word[0] == "#"] for words in (first, second))
    if a == b or Counter(a) != Counter(b):
        return False
    return [word for word in first if word[0] != "#"] == [word for word in second if word[0] != "#"]


def _says_no(words: Counter[str]) -> int:
    return sum(count for word, count in words.items() if word in NEGATIONS) % 2


def _turned(only_a: Counter[str], only_b: Counter[str]) -> bool:
    """Whether a word stands for its opposite, or a question word is another one or new."""
    if any(word in QUESTIONS for words in (only_a, only_b) for word in words):
        return True
    return any(opposed(a, b) for a in only_a for b in only_b)


def _changed_places(first: Sequence[str], second: Sequence[str], shared: float) -> bool:
    """Whether two words stand in each other's place, as in "from Rome to Paris"; in a row of next to nothing
    any other order counts.
    """
    a, b = without_courtesy(first), without_courtesy(second)
    if len(a) != len(b):
        return False
    moved = [n for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y and not spelt_alike(x, y)]
    if shared < _LEAST_SHARED:
        return bool(moved)
    return len(moved) == 2 and moved[1] - moved[0] > 1


def without_shared_lines(
    first: Sequence[tuple[str, ...]], second: Sequence[tuple[str, ...]]
) -> tuple[list[str], list[str]]:
    """The words of two rows without the lines that both begin with and both end with: an instruction. All
    words where nothing is left of a row.
    """
    a, b = list(first), list(second)
    while len(a) > 1 and len(b) > 1 and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return [word for line in a for word in line], [word for line in b for word in line]
