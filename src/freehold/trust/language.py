"""Whether a text is English: by its script and by words that carry no subject. Light, offline, and
honest about short texts.

An answer in another language cannot be judged by wordings of English refusals, so it must be told apart
before it is counted as one that does as asked.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from importlib import resources

from freehold.core import yaml_text

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
#: Below this share of English words, a text of at least this many words is not English prose.
_PROSE_SHARE, _PROSE_WORDS = 0.12, 8
_FEW = 4


@cache
def _common() -> tuple[frozenset[str], frozenset[str]]:
    """Common words of English, and of other languages in Latin letters."""
    text = (resources.files("freehold.trust") / "languages.yaml").read_text(encoding="utf-8")
    lists = yaml_text.load(text, "languages.yaml")
    return frozenset(lists["english"].split()), frozenset(lists["other"].split())


class Language(Enum):
    """What can be said of a text. ``UNCLEAR``: too short, code, a list of names or no words at all."""

    ENGLISH = "English"
    OTHER = "other"
    UNCLEAR = "unclear"


def language(text: str) -> Language:
    """English, another language, or unclear."""
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return Language.UNCLEAR
    if sum(not _latin(character) for character in letters) > len(letters) / 3:
        return Language.OTHER
    if _is_code(text):
        return Language.UNCLEAR
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    of_english, of_others = _common()
    english = sum(word in of_english for word in words)
    other = sum(word in of_others or not word.isascii() for word in words)
    if other and other >= english:
        return Language.OTHER
    if english == 0 and len(words) < _FEW:
        return Language.UNCLEAR
    if len(words) >= _PROSE_WORDS and english < _PROSE_SHARE * len(words):
        return Language.UNCLEAR if _is_list(text) else Language.OTHER
    return Language.ENGLISH if english else Language.UNCLEAR


def _latin(character: str) -> bool:
    return character < "\u0250" or "\u1e00" <= character <= "\u1eff"


def _is_code(text: str) -> bool:
    """More than a twelfth of the characters are ones that prose hardly uses."""
    return sum(character in "{}()[]<>=;_/\\|#$&*+`" for character in text) > len(text) / 12


def _is_list(text: str) -> bool:
    """Short pieces between commas, line ends or numbers: names of things, in whatever language."""
    pieces = [piece for piece in re.split(r"[,;\n]|\d+[.)]", text) if piece.strip()]
    return len(pieces) > 2 and sum(len(piece.split()) for piece in pieces) / len(pieces) <= 3
