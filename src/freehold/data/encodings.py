"""Bytes become text: the encoding is read off the bytes, or it was given; anything else is refused with the line."""

from __future__ import annotations

import codecs
import re

from freehold.errors import BadData, UsageError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_SAMPLE_BYTES = 1 << 16
_WORD = re.compile(r"[^\W\d_]*[^\x00-\x7f][^\W\d_]*")
#: What Windows and Latin letters look like between plain ones. A text in another script, decoded so, is all such letters.
_LATIN_SHARE = 0.34


def decode(name: str, data: bytes, encoding: str = "") -> tuple[str, str]:
    """(text, a sentence about the encoding or nothing). ``name`` is for messages. Raises BadData, UsageError."""
    if encoding:
        return _given(name, data, encoding), ""
    for mark, known in _BOMS:
        if data.startswith(mark):
            note = "" if known == "utf-8" else f"The file is in {known.upper()}."
            return _marked(name, data, known), note
    if wide := _without_mark(data):
        return _given(name, data, wide), f"The file is in {wide.upper()}, without a byte order mark."
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return _not_utf8(name, data, error)


def _marked(name: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise _broken(name, data, error, f"begins as {encoding.upper()} but is not", "") from None


def _given(name: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise UsageError(
            f"{encoding!r} is not an encoding",
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
    """Windows Western European text with a note, or a refusal that names the line and the likeliest encoding."""
    valid, invalid = _sequences(data)
    if valid > invalid:
        raise BadData(
            f"{name}, line {line_of(data, error.start)}: byte {error.start} is not UTF-8, although {valid} other "
            f"characters of the file are",
            "Correct this line, or save the whole file as UTF-8",
        )
    text = _windows(data)
    if text:
        words = list(dict.fromkeys(word[0] for word in _WORD.finditer(text[: 1 << 20]) if len(word[0]) > 2))
        sample = f' ("{words[0]}")' if words else ""
        return text, (
            f"The file is not UTF-8; it is read as cp1252, the Windows encoding of Western Europe{sample}. "
            "Pass --encoding if its letters look wrong."
        )
    guess = likely_encoding(data)
    offer = (
        f"Save the file as UTF-8, or pass --encoding {guess}"
        if guess
        else "Save the file as UTF-8, or pass --encoding"
    )
    raise BadData(f"{name}, line {line_of(data, error.start)}: byte {error.start} is not UTF-8", offer)


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
    letters = sum(map(str.isalpha, text[: 1 << 20]))
    foreign = re.findall("[^\x00-\x7f]", text[: 1 << 20])
    runs = len(re.findall(r"[À-ÿ]{3,}", text[: 1 << 20]))
    plain_share = len(foreign) / max(letters, 1)
    if re.search("[\x00-\x08\x0e-\x1f]", text) or plain_share > _LATIN_SHARE or runs * 3 > len(foreign) * 0.1:
        return ""
    return text


def likely_encoding(data: bytes) -> str:
    """The likeliest encoding's name by its letters' frequencies, or nothing."""
    from charset_normalizer import from_bytes

    lines = b"\n".join(line for line in data[: 1 << 22].splitlines() if not line.isascii())[:_SAMPLE_BYTES]
    best = from_bytes(lines).best()
    return best.encoding if best else ""
