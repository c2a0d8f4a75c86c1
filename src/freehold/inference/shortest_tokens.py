"""How few tokens a text can possibly be, from the lengths of a vocabulary's tokens alone.

A token that covers a byte of a text also covers the byte before or after it, unless it is that byte alone. So
it is no longer than the longest token that holds one of these two pairs of bytes, and each byte of the text
stands for at least one part in so many of a token. The sum over all bytes is never more than the text's
tokens, and takes time in proportion to the text's length, whatever the text is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

_AT_ONCE = 1 << 18
#: A character of up to four bytes that a vocabulary does not have may become one token.
_UNKNOWN = 4
_SPACE = np.isin(np.arange(256), list(b" \t\n\r\v\f"))


class Shortest:
    """A bound for one vocabulary, given the bytes of each of its tokens.

    ``spaces``: whether white space becomes tokens like all else; where a tokenizer drops some of it, it
    counts for nothing.
    """

    def __init__(self, tokens: Iterable[bytes], *, spaces: bool):
        pieces = [token for token in tokens if len(token) > 1]
        data = np.frombuffer(b"".join(pieces), dtype=np.uint8).astype(np.int64)
        lengths = np.array([len(token) for token in pieces], dtype=np.int64)
        inside = np.ones(len(data), dtype=bool)  # where a pair begins: not at a token's last byte
        inside[np.cumsum(lengths) - 1] = False
        begins = np.flatnonzero(inside)
        self._longest = np.full(1 << 16, 1, dtype=np.float32)
        self._longest.reshape(256, 256)[128:, 128:] = _UNKNOWN
        np.maximum.at(
            self._longest,
            data[begins] * 256 + data[begins + 1],
            np.repeat(lengths, lengths)[begins].astype(np.float32),
        )
        self._nothing = np.zeros(256, dtype=bool) if spaces else _SPACE

    def tokens(self, text: bytes) -> int:
        """Tokens that a text has at least."""
        data = np.frombuffer(text, dtype=np.uint8)
        total = 0.0
        for start in range(0, len(data), _AT_ONCE):
            total += self._part(data[max(0, start - 1) : start + _AT_ONCE + 1], bool(start))
        return math.floor(total * (1 - 1e-6))

    def _part(self, data: np.ndarray, before: bool) -> float:
        """The sum over ``data`` without its first byte, if that is one ``before`` the part, and the one after
        it.
        """
        pairs = self._longest[data[:-1].astype(np.int64) * 256 + data[1:]]
        most = np.ones(len(data), dtype=np.float32)
        most[:-1] = np.maximum(most[:-1], pairs)
        most[1:] = np.maximum(most[1:], pairs)
        parts = np.where(self._nothing[data], 0, 1 / most)
        return float(parts[int(before) : int(before) + _AT_ONCE].sum(dtype=np.float64))
