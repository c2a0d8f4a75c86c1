"""A text as words to compare: without case, accents, punctuation, and with numbers and dates in one form."""

from __future__ import annotations

import html
import re
import unicodedata
from decimal import Decimal, InvalidOperation

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SIGN = (
    r"[^\w\s\x00-\xbf\u2000-\u2039\u203b-\u2048\u204a-\u206f\u3000-\u303f\ufe00-\ufe0f\uff00-\uff0f"
    r"\u0600-\u06ff\u0900-\u0dff\U0001f3fb-\U0001f3ff\u02b0-\u036f]"
)
#: A number with its separators, a word, a character of a script without spaces, an operator, a sign.
_LETTER = rf"[^\W\d_{_UNSPACED}]"
_TOKEN = re.compile(
    rf"#\d[\d.:-]*|#-[\d-]+|\d+(?:[.,'’\u00a0\u202f]\d+)*|[{_UNSPACED}]"
    rf"|{_LETTER}(?:{_LETTER}|[\u0900-\u0dff\u200c\u200d])*"
    rf"|[+=<>^%|~\\×÷]|(?<=[\d)])\s?[-*/](?=\s?[\d(])|(?<!\S)-(?=\d)|[$€£¥&]|{_SIGN}"
)
#: Marks that change no word: accents, Arabic vowel signs and the stretching line, Hebrew points.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0640\u064b-\u0652\u0670\u200b-\u200f\u00ad\ufeff]")
_FOLDED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "þ": "th", "ð": "d"}
    | dict.fromkeys("أإآٱ", "ا")
    | {"ى": "ي", "ة": "ه", "ؤ": "و", "ئ": "ي", "ک": "ك", "ی": "ي", "’": "'", "‘": "'", "`": "'", "´": "'"}
    | {"−": "-", "–": "-", "—": "-"}
)
_MONTHS = {
    name: month
    for month, several in enumerate(
        (
            "jan january januar janvier enero gennaio januari janeiro",
            "feb february februar fevrier febrero febbraio februari fevereiro",
            "mar march marz maerz mars marzo maart marco",
            "apr april avril abril aprile",
            "may mai mayo maggio mei maio",
            "jun june juni juin junio giugno junho",
            "jul july juli juillet julio luglio julho",
            "aug august aout agosto augustus",
            "sep sept september septembre septiembre settembre setembro",
            "oct okt october oktober octobre octubre ottobre outubro",
            "nov november novembre noviembre novembro",
            "dec dez december dezember decembre diciembre dicembre dezembro",
        ),
        1,
    )
    for name in several.split()
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY = r"(\d{1,2})(?:st|nd|rd|th|\.)?"
_DATES = (
    (re.compile(r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b"), "ymd"),
    (re.compile(rf"\b{_DAY}[ -](?:of )?({_MONTH})\b\.?,?(?:[ -](\d{{4}})\b)?"), "dmy"),
    (re.compile(rf"\b({_MONTH})\.? {_DAY}\b,?(?: (\d{{4}})\b)?"), "mdy"),
    (re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})\b"), "dmy"),
    (re.compile(r"\b(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})\b"), "mdy"),
    (re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日"), "ymd"),
)
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_SPACED_THOUSANDS = re.compile(r"\b(\d{1,3})((?:[ \u00a0\u202f]\d{3})+)\b(?![.,]?\d)")
_HOURS = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)\b")
_CLOCK = re.compile(r"\b(\d{1,2})(?:[:.](\d{2}))? ?([ap])\.?m\b\.?")
_CONTRACTED = (
    (re.compile(r"\b(ca)n't\b|\bcannot\b|\bcant\b"), "can not"),
    (re.compile(r"\bwon't\b|\bwont\b"), "will not"),
    (re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|would|could|should)n'?t\b"), r"\1 not"),
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"\b(i|you|we|they)'ve\b"), r"\1 have"),
    (re.compile(r"\b(you|we|they)'re\b"), r"\1 are"),
    (re.compile(r"\b(i|you|he|she|it|we|they|that)'ll\b"), r"\1 will"),
    (re.compile(r"\b(i|you|he|she|we|they)'d\b"), r"\1 would"),
    (re.compile(r"\b(it|that|what|where|who|how|there|here|he|she)'s\b"), r"\1 is"),
    (re.compile(r"\b(\w+)'s\b"), r"\1s"),
)
_SAME = {
    "&": "and",
    "$": "dollar",
    "usd": "dollar",
    "dollars": "dollar",
    "€": "euro",
    "eur": "euro",
    "euros": "euro",
    "£": "pound",
    "gbp": "pound",
    "pounds": "pound",
    "¥": "yen",
    "jpy": "yen",
}


def _numbered(words: str, start: int = 2, step: int = 1) -> dict[str, str]:
    return {word: str(start + step * position) for position, word in enumerate(words.split())}


_NUMBER_WORDS = {
    **_numbered("two three four five six seven eight nine ten eleven twelve"),
    **_numbered("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10),
    **_numbered("zwei drei vier funf sechs sieben acht neun zehn elf zwolf"),
    **_numbered("deux trois quatre cinq"),
    **_numbered("dos tres cuatro cinco"),
    "hundred": "100",
    "thousand": "1000",
}


_TAG = re.compile(
    r"</?(?:p|div|br|span|b|i|u|em|strong|ul|ol|li|a|h[1-6]|table|tr|td|th|html|body|font|pre|blockquote)"
    r"(?:\s[^<>]{0,200})?/?>",
    re.I,
)
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{1,6});", re.I)
_GERMAN = frozenset(("der", "die", "das", "ist", "und", "ich", "nicht", "mein", "meine", "den", "dem", "ein"))
_NAME = re.compile(r"(?<=[^\W\d_] )[A-Z][^\W\d_]*[a-z]")


def names(text: str) -> frozenset[str]:
    """Words that begin with a capital letter inside a sentence; none in texts that write many words so."""
    matches = _NAME.findall(text)
    words = text.split()
    if not matches or 2 * len(matches) > len(words) or _GERMAN & set(text.lower().split()):
        return frozenset()
    return frozenset(plain(name) for name in matches)


def plain(text: str) -> str:
    """A text in lower case, without accents, vowel signs and zero-width characters."""
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = unicodedata.normalize("NFKC", text).translate(_FOLDED).casefold()
    if text.isascii():
        return text
    text = _MARKS.sub("", unicodedata.normalize("NFD", text).translate(_FOLDED))
    return unicodedata.normalize("NFC", text)


def tokens(text: str) -> list[str]:
    """The words of a text in order, numbers as ``#7`` and dates as ``#2026-5-8``; characters where a script
    has no spaces; a text of none of these as its own characters.
    """
    text = plain(text)
    if any(c.isdigit() for c in text):
        text = _with_numbers(text)
    if "'" in text or "n" in text:
        for pattern, written in _CONTRACTED:
            text = pattern.sub(written, text)
    found_tokens = [_token(token) for token in _TOKEN.findall(text)]
    return found_tokens or [character for character in text if not character.isspace()]


def _with_numbers(text: str) -> str:
    """Dates, times of day and numbers with spaces between thousands in one form."""
    for pattern, order in _DATES:
        text = pattern.sub(lambda match, order=order: _date(match, order), text)
    text = _CLOCK.sub(_time, text)
    text = _HOURS.sub(lambda match: f" #{int(match[1])}:{match[2]} ", text)
    text = _ORDINAL.sub(r"\1", text)
    return _SPACED_THOUSANDS.sub(lambda match: re.sub(r"\s", "", match[0]), text)


def _date(match: re.Match[str], order: str) -> str:
    parts = dict(zip(order, match.groups(), strict=True))
    month = _MONTHS.get(parts["m"]) or int(parts["m"])
    day, year = int(parts["d"]), parts["y"]
    if month > 12 >= day:
        day, month = month, day
    return f" #{int(year) + 2000 if year and len(year) == 2 else year or '-'}-{month}-{day} "


def _time(match: re.Match[str]) -> str:
    hour = int(match[1]) % 12 + (12 if match[3] == "p" else 0)
    return f" #{hour}:{match[2] or '00'} "


def _token(token: str) -> str:
    if token[0] == "#":
        return token
    if token[0].isdigit():
        return "#" + _number(token)
    if token in _NUMBER_WORDS:
        return "#" + _NUMBER_WORDS[token]
    return _SAME.get(token, token).strip()


def _number(text: str) -> str:
    """``1,000.50``, ``1.000,5`` and ``1000.5`` are the same number."""
    groups = re.split(r"[^\d]", text)
    if len(groups) > 1:
        thousands = all(len(group) == 3 for group in groups[1:]) and 0 < len(groups[0]) <= 3
        marks = set(re.findall(r"[^\d]", text))
        if thousands and len(marks) == 1 and groups[0] != "0":
            text = "".join(groups)
        elif len(groups) == 2 or (len(marks) == 2 and all(len(group) == 3 for group in groups[1:-1])):
            text = f"{''.join(groups[:-1])}.{groups[-1]}"
        else:
            return ".".join(groups)
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    return format(value.normalize(), "f") if len(text) < 20 else text
