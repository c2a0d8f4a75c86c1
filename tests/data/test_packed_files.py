"""A compressed file is closed when its rows are read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.data.packed import _opened


@pytest.mark.parametrize(
    ("kind", "compress"), [("gzip", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_closing_the_reader_closes_the_file(
    kind: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(compress(b"text,label\na,b\n"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with _opened(path, kind) as reader:
            assert reader.read() == b"text,label\na,b\n"
        del reader
    with _opened(path.read_bytes(), kind) as reader:
        assert reader.read(4) == b"text"
