"""The mixes written without llama.cpp's quantizer are those that it writes."""

from pathlib import Path

import numpy as np
import pytest

from freehold.core.errors import Unsupported
from freehold.inference.llama import library
from freehold.models.formats import gguf
from freehold.models.info import read_info
from freehold.quantization import mixes
from freehold.quantization.conversion import to_gguf
from freehold.quantization.quantize import quantize
from tests import tiny

#: Name -> model type and what its configuration says: rows that fill blocks of 256, and rows that do not;
#: values shared by one, two and four heads; one table for tokens and logits, or two.
MODELS = {
    "llama": ("llama", {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 9}),
    "llama, small rows": ("llama", {"num_hidden_layers": 5}),
    "qwen2, one table": ("qwen2", {"hidden_size": 256, "num_hidden_layers": 8, "tie_word_embeddings": True}),
    "llama, four heads a value": (
        "llama",
        {"hidden_size": 256, "num_attention_heads": 8, "num_key_value_heads": 2, "num_hidden_layers": 3},
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16-bit GGUF of random weights."""
    kind, changes = MODELS[request.param]
    folder = tmp_path_factory.mktemp("mixes")
    tiny.model(kind, folder / "model", **changes)
    to_gguf(
        folder / "model", folder / "model.gguf", read_info({f.name: f for f in (folder / "model").iterdir()})
    )
    return folder / "model.gguf"


def _tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    data = path.read_bytes()
    return {t.name: (t.kind, data[t.offset : t.offset + t.size]) for t in gguf.read_header(path).tensors}


@pytest.mark.slow
@pytest.mark.parametrize("mix", mixes.MIXES)
def test_every_tensor_is_as_llama_cpp_writes_it(mix: str, source: Path, tmp_path: Path) -> None:
    if not library().holds("llama_model_quantize"):
        pytest.skip("this engine has no quantizer to compare with")
    quantize(source, tmp_path / "theirs.gguf", mix)
    mixes.write(source, tmp_path / "ours.gguf", mix)
    ours, theirs = _tensors(tmp_path / "ours.gguf"), _tensors(tmp_path / "theirs.gguf")
    assert {name: kind for name, (kind, _) in ours.items()} == {
        name: kind for name, (kind, _) in theirs.items()
    }
    assert ours == theirs
    assert (
        gguf.read_header(tmp_path / "ours.gguf").fields["general.file_type"]
        == (gguf.read_header(tmp_path / "theirs.gguf").fields["general.file_type"])
    )


def test_importance_is_used_as_llama_cpp_uses_it(source: Path, tmp_path: Path) -> None:
    if not library().holds("llama_model_quantize"):
        pytest.skip("this engine has no quantizer to compare with")
    rng = np.random.default_rng(0)
    importance = {
        tensor.name: rng.uniform(0.1, 4, tensor.shape[0]).astype(np.float32)
        for tensor in gguf.read_header(source).tensors
        if len(tensor.shape) > 1 and tensor.name.startswith("blk")
    }
    quantize(source, tmp_path / "theirs.gguf", "Q4_K_M", importance=importance)
    mixes.write(source, tmp_path / "ours.gguf", "Q4_K_M", importance=importance)
    assert _tensors(tmp_path / "ours.gguf") == _tensors(tmp_path / "theirs.gguf")


def test_models_with_experts_and_quantized_ones_are_left_to_llama_cpp(source: Path, tmp_path: Path) -> None:
    header = gguf.read_header(source)
    architecture = header.fields["general.architecture"]
    header.fields[f"{architecture}.expert_count"] = 8
    with pytest.raises(Unsupported, match="cannot write Q4_K_M.*freehold engine build"):
        mixes.kinds_of(header, "Q4_K_M")
    mixes.write(source, tmp_path / "q8.gguf", "Q8_0")
    with pytest.raises(Unsupported, match="freehold engine build"):
        mixes.kinds_of(gguf.read_header(tmp_path / "q8.gguf"), "Q4_K_M")
