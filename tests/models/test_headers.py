"""Headers of model files that were made to mislead or to break a reader; the benchmark reads a million
damaged ones."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from freehold.core.errors import BadModel, Unsupported
from freehold.models.formats import gguf, peft, safetensors
from freehold.models.info import read_info
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
    assert told["folders_refused"] > 300


@pytest.mark.parametrize(
    "key", ["num_attention_heads", "hidden_size", "vocab_size", "max_position_embeddings"]
)
@pytest.mark.parametrize("value", [[1], "8x", -1, 1e400, 2**70, 1.5, {}])
def test_a_number_of_the_configuration_that_is_none_is_named(tmp_path: Path, key: str, value: object) -> None:
    files = {"config.json": tmp_path / "config.json", "model.safetensors": tmp_path / "model.safetensors"}
    files["config.json"].write_text(json.dumps({"model_type": "llama", key: value}))
    files["model.safetensors"].write_bytes(script("header_fuzz").small_safetensors())
    with pytest.raises(BadModel, match=f"{key} must be a whole number"):
        read_info(files)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"lora_alpha": 10**400}, "lora_alpha must be"),
        ({"lora_alpha": float("nan")}, "lora_alpha must be"),
        ({"r": 2**70}, "has no rank"),
        ({"r": True}, "has no rank"),
        ({"modules_to_save": 5}, "modules_to_save: 5"),
        ({"peft_type": "x" * 5000}, "only LoRA"),
    ],
)
def test_an_adapter_with_impossible_settings_is_refused_in_one_sentence(
    tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    config.write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8} | changed))
    weights.write_bytes(script("header_fuzz").small_adapter())
    with pytest.raises((BadModel, Unsupported), match=says) as refusal:
        peft.peft_facts(config, weights)
    assert len(str(refusal.value)) < 400
