import random
from pathlib import Path

import pytest

from freehold.core.errors import BadModel
from freehold.models.formats import gguf


def test_a_real_header(smollm2: Path) -> None:
    header = gguf.read_header(smollm2)
    assert header.fields["general.architecture"] == "llama"
    assert header.number("context_length") == 8192
    assert sum(tensor.elements for tensor in header.tensors) == 134_515_008
    assert header.array_lengths["tokenizer.ggml.tokens"] == 49152
    assert gguf.FILE_TYPES[header.fields["general.file_type"]] == "Q4_1"


def test_a_truncated_file_is_refused_in_one_sentence(smollm2: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(smollm2.read_bytes()[:-1000])
    with pytest.raises(BadModel, match="cut.gguf is truncated: tensor"):
        gguf.read_header(cut)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(BadModel, match="does not start with 'GGUF'"):
        gguf.read_header(tmp_path / "a.gguf")


def test_mutated_headers_are_read_or_refused_never_anything_else(smollm2: Path, tmp_path: Path) -> None:
    data = smollm2.read_bytes()
    header = gguf.read_header(smollm2)
    head = bytearray(data[:6000])
    tail = data[header.metadata_end : header.metadata_end + 3000]
    chance = random.Random(5)
    file = tmp_path / "mutated.gguf"
    refused = 0
    for _ in range(1500):
        mutated = bytearray(head + tail)
        for _ in range(chance.randint(1, 6)):
            mutated[chance.randrange(4, len(mutated))] = chance.randrange(256)
        file.write_bytes(mutated)
        try:
            gguf.read_header(file)
        except BadModel:
            refused += 1
    assert refused == 1500  # the file has no tensor data, so none of them may pass


def test_a_rewritten_file_keeps_metadata_byte_for_byte(smollm2: Path, tmp_path: Path) -> None:
    header = gguf.read_header(smollm2)
    data = smollm2.read_bytes()
    target = tmp_path / "same.gguf"
    kinds = {tensor.name: tensor.kind for tensor in header.tensors}
    gguf.write_like(
        smollm2, header, target, kinds, 3, lambda tensor: [data[tensor.offset : tensor.offset + tensor.size]]
    )
    again = gguf.read_header(target)
    assert again.fields == header.fields
    assert target.read_bytes()[: header.metadata_end] == data[: header.metadata_end]
    first, second = header.tensors[7], again.tensors[7]
    assert (
        target.read_bytes()[second.offset : second.offset + second.size]
        == data[first.offset : first.offset + first.size]
    )
