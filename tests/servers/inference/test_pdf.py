"""A PDF is read in a process with limits: however small it is, it may be made to take for ever."""

from __future__ import annotations

import zlib
from pathlib import Path

import httpx
import pytest

from freehold.core.errors import BadData
from freehold.servers.inference.documents import passages
from tests.servers.inference.tiny_shop import opened, stocked

pytestmark = pytest.mark.slow

WORDS = b"BT /F 9 Tf (Leave is thirty days) Tj ET\n"


def pdf(stream: bytes, pages: int = 1) -> bytes:
    """A PDF whose pages all show one compressed stream."""
    packed = zlib.compress(stream, 9)
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 3 0 R /Resources << /Font << /F 4 0 R >>"
        b" >> >>"
    )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>"
        % (b" ".join(b"%d 0 R" % (5 + n) for n in range(pages)), pages),
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        *[page] * pages,
    ]
    written, places = b"%PDF-1.4\n", list[int]()
    for number, each in enumerate(objects, start=1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, len(written))
    return written + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + end


def test_an_ordinary_pdf_is_read_by_page() -> None:
    read = passages.read("leave.pdf", pdf(WORDS, pages=3))
    assert [(passage.page, passage.text) for passage in read] == [
        (page, "Leave is thirty days") for page in (1, 2, 3)
    ]


def test_a_small_pdf_that_takes_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages, "PDF_S", 0.5)
    bomb = pdf(WORDS * 20_000, pages=200)
    assert len(bomb) < 100_000
    with pytest.raises(
        BadData, match=r"leave\.pdf cannot be read as PDF: it took more than .* s of processor time"
    ):
        passages.read("leave.pdf", bomb)


def test_a_pdf_that_swells_is_refused() -> None:
    with pytest.raises(BadData, match=r"leave\.pdf cannot be read as PDF"):
        passages.read("leave.pdf", pdf(b" " * 200_000_000))


def test_over_http_it_is_a_refusal_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages, "PDF_S", 0.5)
    with opened(stocked(tmp_path)) as shop:
        address = f"{shop.address}/v1/documents?name=leave.pdf"
        refused = httpx.post(address, content=pdf(WORDS * 20_000, pages=200), timeout=120)
        assert (refused.status_code, "processor time" in refused.text) == (400, True)
        assert httpx.post(address, content=pdf(WORDS), timeout=120).status_code == 200
