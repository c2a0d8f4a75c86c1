"""Whether a text of Windows is in a language of Central Europe, Turkey or the Baltic, by its letters."""

from __future__ import annotations

_WESTERN = (
    "äöüß",
    "àâæçéèêëîïôœùûüÿ",
    "áéíóúüñ",
    "áâãàçéêíóôõúü",
    "àèéìîòóùú",
    "áéèëêïóöü",
    "åäöé",
    "æøåéèêóòôö",
    "áéíóúýþæðö",
    "àçèéíïòóúü",
)
#: Encoding -> the letters beyond a to z of languages that are written in it.
_OTHERS = {
    "cp1250": (
        "ąćęłńóśźż",
        "áčďéěíňóřšťúůýž",
        "áäčďéíĺľňóôŕšťúýž",
        "áéíóöőúüű",
        "čćđšž",
        "ăâîşţ",
    ),
    "cp1254": ("çğıöşüâî",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž"),
}
_NEARLY = 0.98
_FEWEST = 4


def other_alphabet(data: bytes) -> str:
    """The encoding in which nearly all letters beyond ASCII are those of one language, where read as cp1252
    they are of none; "" where there is none.
    """
    western = _covered(data, "cp1252", _WESTERN)
    if western >= _NEARLY:
        return ""
    shares = {encoding: _covered(data, encoding, alphabets) for encoding, alphabets in _OTHERS.items()}
    best = max(shares, key=lambda encoding: shares[encoding])
    return best if shares[best] >= _NEARLY else ""


def _covered(data: bytes, encoding: str, alphabets: tuple[str, ...]) -> float:
    """The largest share of the letters beyond ASCII that are in one alphabet; 0 for too few letters."""
    text = data.decode(encoding, "replace").lower()
    letters = [letter for letter in text if letter > "\x7f" and (letter.isalpha() or letter == "\ufffd")]
    if len(letters) < _FEWEST:
        return 0.0
    return max(sum(letter in alphabet for letter in letters) for alphabet in alphabets) / len(letters)
