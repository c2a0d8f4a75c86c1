"""Bytes become text: the encoding is read off the bytes, or it was given; anything else is refused with the
line.
"""

from __future__ import annotations

import codecs
import re

from freehold.core.errors import BadData, UsageError
from freehold.data.alphabets import other_alphabet

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Encodings that files still come in, besides UTF-8, UTF-16 and cp1252.
_OTHERS = (
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "cp874",
    "cp932",
    "gb18030",
    "big5",
    "cp949",
    "euc_jp",
    "koi8_r",
    "cp866",
    "cp850",
    "mac_roman",
)
_SAMPLE_BYTES = 1 << 16
_CONTROL = re.compile("[\x00-\x08\x0e-\x19\x1b-\x1f]")
#: Signs that Western text has between words and other encodings have in the places of letters.
_SIGN_IN_WORD = re.compile(r"[^\W\d_][¡¢£¤¥¦§¨©¬®¯±²³´¶¸¹¼½¾¿×÷‰†‡ˆ˜™][^\W\d_]")
_WORD = re.compile(r"[^\W\d_]*[^\x00-\x7f][^\W\d_]*")
#: What Windows and Latin letters look like between plain ones. A text in another script, decoded so, is all
#: such letters.
_LATIN_SHARE = 0.34


def decode(name: str, data: bytes, encoding: str = "") -> tuple[str, str]:
    """(text, a sentence on the encoding or nothing); ``name`` is for messages. Raises BadData, UsageError."""
    if encoding:
        return _given(name, data, encoding), ""
    for mark, known in _BOMS:
        if data.startswith(mark):
            note = "" if known == "utf-8" else f"The file's encoding is {known.upper()}."
            return _marked(name, data, known), note
    if wide := _without_mark(data):
        return _given(name, data, wide), f"The file's encoding is {wide.upper()}, without a byte order mark."
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return _not_utf8(name, data, error)


def _marked(name: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise _broken(
            name,
            data,
            error,
            f"is not valid {encoding.upper()}, although the file starts like {encoding.upper()}",
            "",
        ) from None


def _given(name: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise UsageError(
            f"{encoding!r} is not a known encoding",
            "Use a name such as utf-8, cp1252, utf-16, shift_jis or gb18030",
        ) from None
    except UnicodeError as error:
        if not isinstance(error, UnicodeDecodeError):
            raise BadData(
                f"{name} cannot be read as {encoding} ({error})", "Pass another --encoding"
            ) from None
        raise _broken(name, data, error, f"is not {encoding}", "Pass another --encoding") from None


def _broken(name: str, data: bytes, error: UnicodeDecodeError, what: str, remedy: str) -> BadData:
    return BadData(
        f"{name}, line {line_of(data, error.start)}: byte {error.start} {what}",
        remedy or "Save the file as UTF-8",
    )


def line_of(data: bytes, at: int) -> int:
    """The number of the line that a byte is on, in files whose line ends are single bytes."""
    return data[:at].count(b"\n") + 1


def _without_mark(data: bytes) -> str:
    """``utf-16-le`` or ``utf-16-be`` where every other byte of mostly Latin text is zero."""
    sample = data[:_SAMPLE_BYTES]
    sample = sample[: len(sample) // 2 * 2]
    if len(sample) < 4 or b"\0" not in sample:
        return ""
    even, odd, half = sample[::2].count(0), sample[1::2].count(0), len(sample) // 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else ""


def _not_utf8(name: str, data: bytes, error: UnicodeDecodeError) -> tuple[str, str]:
    """Western European text of Windows with a note, or a refusal with the line and the likeliest encoding."""
    valid, invalid = _sequences(data)
    if valid > invalid:
        raise BadData(
            f"{name}, line {line_of(data, error.start)}: byte {error.start} is not UTF-8, although {valid} "
            "other special characters in the file are",
            "Fix this line, or save the whole file as UTF-8",
        )
    text = _windows(data)
    if text and not other_alphabet(data[: 1 << 20]):
        words = list(dict.fromkeys(word[0] for word in _WORD.finditer(text[: 1 << 20]) if len(word[0]) > 2))
        sample = f' ("{words[0]}")' if words else ""
        return text, (
            f"The file is not UTF-8; it is read as cp1252, the Windows encoding of Western Europe{sample}. "
            "Pass --encoding if some letters look wrong."
        )
    raise BadData(
        f"{name}, line {line_of(data, error.start)}: byte {error.start} is not UTF-8",
        _offer(data, error.start),
    )


def _offer(data: bytes, at: int) -> str:
    """What to do, with the likeliest encoding and what it makes of the line in doubt."""
    guess = other_alphabet(data[: 1 << 20]) or likely_encoding(data)
    if not guess:
        return "Save the file as UTF-8, or pass --encoding"
    line = data[data.rfind(b"\n", 0, at) + 1 :].partition(b"\n")[0].decode(guess, "replace").strip()
    return f'Save the file as UTF-8, or pass --encoding {guess} if this looks right: "{line[:60]}"'


def _sequences(data: bytes) -> tuple[int, int]:
    """(characters of several bytes that are valid UTF-8, bytes above 127 that are not part of one)."""
    text = data.decode("utf-8", "surrogateescape")
    invalid = len(re.findall("[\udc80-\udcff]", text))
    return len(re.findall("[^\x00-\x7f\ud800-\udfff]", text)), invalid


def _windows(data: bytes) -> str:
    """The text in cp1252, or nothing where that is not plausible."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return text if _is_western(text[: 1 << 20]) else ""


def _is_western(text: str) -> bool:
    """Whether letters beyond ASCII are few, stand alone among plain ones, and no signs stand inside words."""
    foreign = len(re.findall("[^\x00-\x7f]", text))
    runs = 3 * len(re.findall(r"[À-ÿ]{3,}", text))
    signs = len(_SIGN_IN_WORD.findall(text))
    turkish = len(re.findall("[þðýÞÐÝ]", text)) if not re.search("[áíúóæÁÍÚÓÆ]", text) else 0
    odd = runs > 0.1 * foreign or signs > 0.05 * foreign or turkish > 0.2 * foreign
    letters = sum(map(str.isalpha, text))
    return not odd and foreign <= _LATIN_SHARE * max(letters, 1) and not _CONTROL.search(text)


def likely_encoding(data: bytes) -> str:
    """The likeliest of :data:`_OTHERS` by its letters' frequencies, or nothing."""
    from charset_normalizer import from_bytes

    lines = b"\n".join(line for line in data[: 1 << 22].splitlines() if not line.isascii())[:_SAMPLE_BYTES]
    best = from_bytes(lines, cp_isolation=list(_OTHERS), threshold=0.5).best()
    return best.encoding if best else ""
