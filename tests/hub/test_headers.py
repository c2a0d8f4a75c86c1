"""Headers of model files that were made to mislead or to break a reader; the benchmark reads a million damaged ones."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from freehold.errors import BadModel
from freehold.hub import gguf, safetensors
from tests.scripts import script

GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def written(path: Path, text: str, data: bytes = bytes(16)) -> Path:
    head = text.encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'{{"a": {json.dumps(GOOD)}, "a": {json.dumps(GOOD)}}}', "appears twice"),
        (
            '{"a": {"dtype": "F32", "dtype": "F16", "shape": [2, 2], "data_offsets": [0, 16]}}',
            "appears twice",
        ),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "no tensor table"),
        ("[1, 2]", "no tensor table"),
        ('{"a": 7}', "no tensor table"),
        (json.dumps({"a": GOOD | {"dtype": ["F32"]}}), "a dtype is no text"),
        (json.dumps({"a": GOOD | {"dtype": "Q4"}}), "claims to be Q4"),
        (json.dumps({"a": GOOD | {"shape": ["2", 2]}}), "claims to be F32"),
        (json.dumps({"a": GOOD | {"shape": [-2, -2]}}), "claims to be F32"),
        (json.dumps({"a": GOOD | {"shape": [True, 4]}}), "claims to be F32"),
        (json.dumps({"a": GOOD | {"shape": [2**70, 2]}}), "claims to be F32"),
        (json.dumps({"a": GOOD | {"shape": [1] * 40}}), "claims to be F32"),
        (json.dumps({"a": GOOD | {"data_offsets": [0.0, 16.0]}}), "no two whole numbers"),
        ('{"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 1e999]}}', "no two whole numbers"),
        (json.dumps({"a": GOOD, "b": GOOD}), "where 16 to 32 was due"),
        (json.dumps({"a": GOOD | {"data_offsets": [-16, 0]}}), "where 0 to 16 was due"),
        (json.dumps({"a": GOOD | {"data_offsets": [0, 16, 32]}}), "no tensor table"),
    ],
)
def test_a_misleading_table_of_tensors_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadModel, match=told):
        safetensors.read_header(written(tmp_path / "m.safetensors", text))
    assert list(safetensors.read_header(written(tmp_path / "good.safetensors", json.dumps({"a": GOOD})))) == [
        "a"
    ]


def test_a_text_that_claims_more_than_a_header_holds_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 40 << 30))
        file.truncate(48 << 30)  # holes: it takes no room
    with pytest.raises(BadModel, match="a text in its header claims 42,949,672,960 bytes"):
        gguf.read_header(path)


def test_damaged_headers_are_read_or_refused_in_one_sentence() -> None:
    told = script("header_fuzz").main(6000, seed=7)
    assert told["refused"] > 3000
    assert told["read"] > 100
