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

from rapidfuzz.distance import OSA

from freehold.data.small_words import FILLERS, FUNCTION, NEGATIONS, QUESTIONS, opposed

#: Two rows are near-duplicates from this similarity on.
SIMILAR = 0.8
#: What a word of grammar counts beside a word of content, which counts 1.
_LITTLE = 0.35
#: The least share of the words that stays the same where words are replaced, where they are added or cut off,
#: and where the rows are written without spaces.
_REPLACED, _ADDED, _UNSPACED_REPLACED = 0.72, 0.6, 0.86
#: Below this weight of shared words nothing but an equal row is alike.
_LEAST_SHARED = 2.0
#: From so many words on, a row is long: a few numbers or sentences of it may differ.
_LONG = 60
_LONG_REPLACED = 0.85
_OPERATORS = frozenset("+*/=<>^%|~\\×÷-")


@dataclass(frozen=True)
class Difference:
    """Words of either row that the other has not, spelling and order aside, and the weight of those shared."""

    first: Counter[str]
    second: Counter[str]
    shared: float


#: Called with the words of content that stand for each other: whether they make another row.
Tells = Callable[[list[str], list[str]], bool]


def likeness(first: Sequence[str], second: Sequence[str], tells: Tells | None = None) -> float:
    """From 0 to 1: 1 for equal words, at least :data:`SIMILAR` for rows that ask the same, else less.

    ``tells``: what else is known of words that are replaced, such as that many rows fill this place.
    """
    if list(first) == list(second):
        return 1.0
    if close_letters(first, second):
        return 0.98
    difference = _difference(first, second)
    share = _share(difference)
    if _matters(first, second, difference, tells):
        return min(share, 0.99) * SIMILAR * 0.99
    if share < _needed(first, second, difference):
        return share * SIMILAR * 0.99
    return SIMILAR + (1 - SIMILAR) * min(share, 0.999)


def _share(difference: Difference) -> float:
    apart = max(_weight(difference.first), _weight(difference.second))
    return difference.shared / max(difference.shared + apart, 1e-9)


def _needed(first: Sequence[str], second: Sequence[str], difference: Difference) -> float:
    """The share of the words that must be the same."""
    if difference.shared < _LEAST_SHARED and (difference.first or difference.second):
        return 1.1 if _weight(difference.first) or _weight(difference.second) else 0.0
    if not _weight(difference.first) or not _weight(difference.second):
        return _ADDED
    unspaced = sum(is_unspaced(word) for word in first)
    return _UNSPACED_REPLACED if 2 * unspaced > len(first) else _REPLACED


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
    a, b = Counter(first), Counter(second)
    only_a, only_b = a - b, b - a
    shared = _weight(a - only_a)
    for word in list(only_a.elements()):
        match = next((other for other in only_b if spelt_alike(word, other)), None)
        if match is not None:
            shared += max(weight(word), weight(match))
            only_a -= Counter([word])
            only_b -= Counter([match])
    shared += _rejoined(only_a, only_b) + _rejoined(only_b, only_a)
    return Difference(only_a, only_b, shared)


def _rejoined(pieces: Counter[str], whole: Counter[str]) -> float:
    """The weight of words of ``whole`` that are two of ``pieces`` written as one; both are taken out."""
    gained = 0.0
    for word in [word for word in whole if len(word) > 3]:
        for left in [piece for piece in pieces if word.startswith(piece)]:
            right = word[len(left) :]
            if pieces[left] and pieces[right]:
                pieces.subtract([left, right])
                whole.subtract([word])
                gained += 1.0
                break
    for counts in (pieces, whole):
        for word in [word for word, count in counts.items() if count <= 0]:
            del counts[word]
    return gained


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
    if long and _share(difference) >= _LONG_REPLACED:
        return False
    if (_signs(only_a) and _signs(only_b)) or (_codes(only_a) and _codes(only_b)):
        return True
    if _another_stretch(first, second, only_a, only_b):
        return True
    if _operators(first) != _operators(second) or _reversed_numbers(first, second):
        return True
    if _says_no(only_a) != _says_no(only_b) and not long:
        return True
    if _turned(only_a, only_b):
        return True
    if not only_a and not only_b:
        return _changed_places(first, second, difference.shared)
    replaced = _content(only_a), _content(only_b)
    return tells is not None and bool(replaced[0] and replaced[1]) and tells(*replaced)


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
    """Whether a word stands for its opposite, or a question word for another."""
    if any(word in QUESTIONS for word in only_a) and any(word in QUESTIONS for word in only_b):
        return True
    return any(opposed(a, b) for a in only_a for b in only_b)


def _changed_places(first: Sequence[str], second: Sequence[str], shared: float) -> bool:
    """Whether two words stand in each other's place, as in "from Rome to Paris"; in a row of next to nothing
    any other order counts.
    """
    a, b = ([word for word in words if word not in FILLERS] for words in (first, second))
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


def close_letters(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether the rows are the same letters with other spaces between them."""
    return "".join(first) == "".join(second)
