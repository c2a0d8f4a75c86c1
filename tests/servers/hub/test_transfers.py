"""Parts of files by Range, as RFC 9110 has them."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.transfers import ByteRange, requested_range

SIZE = 100
WHOLE = ByteRange(0, SIZE, SIZE, partial=False)


def asking(header: str) -> Request:
    return Request({"type": "http", "headers": [(b"range", header.encode())] if header else []})


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=90-", 90, 100), ("bytes=-7", 93, 100), ("bytes=95-200", 95, 100)],
)
def test_a_range_is_cut_to_the_file(header: str, start: int, end: int) -> None:
    part = requested_range(asking(header), SIZE)
    assert part == ByteRange(start, end, SIZE, partial=True)
    assert part.status == 206
    assert part.headers == {
        "Content-Range": f"bytes {start}-{end - 1}/{SIZE}",
        "Content-Length": str(end - start),
    }


@pytest.mark.parametrize("header", ["", "lines=1-2", "bytes=0-1,5-6", "bytes=x-y", "bytes=1"])
def test_what_is_not_one_range_of_bytes_means_the_whole_file(header: str) -> None:
    part = requested_range(asking(header), SIZE)
    assert part == WHOLE
    assert part.status == 200
    assert part.headers == {"Content-Length": str(SIZE)}


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=9-2", "bytes=-0"])
def test_a_range_without_bytes_is_416_with_the_size(header: str) -> None:
    with pytest.raises(ApiError) as error:
        requested_range(asking(header), SIZE)
    assert error.value.status == 416
    assert error.value.headers == {"Content-Range": "bytes */100"}
