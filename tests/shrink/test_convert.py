import json
import shutil
from pathlib import Path

import pytest

from freehold.errors import Unsupported
from freehold.hub import gguf
from freehold.hub.card import read_card
from freehold.hub.decoders import read_tensor
from freehold.shrink.convert import to_gguf
from freehold.tune.adapter import merge_gguf


def card_of(folder: Path):
    return read_card({file.name: file for file in folder.iterdir()})


@pytest.fixture(scope="module")
def converted(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "model.gguf"
    assert to_gguf(smollm2_folder, target, card_of(smollm2_folder), ["And a row of the user's own, with 12,345 things."]) == "smollm"
    return target


def test_every_tensor_is_that_of_llama_cpps_own_file(converted: Path, smollm2: Path, tmp_path: Path) -> None:
    merge_gguf(tmp_path / "f16.gguf", smollm2, {}, 1.0)
    wanted, ours = gguf.read_header(tmp_path / "f16.gguf"), gguf.read_header(converted)
    theirs = {tensor.name: tensor for tensor in wanted.tensors}
    assert theirs.keys() == {tensor.name for tensor in ours.tensors}
    for tensor in ours.tensors:
        assert (read_tensor(converted, tensor) == read_tensor(tmp_path / "f16.gguf", theirs[tensor.name])).all(), tensor.name
    for key in ("context_length", "attention.head_count_kv", "block_count", "rope.freq_base", "feed_forward_length"):
        assert ours.fields[f"llama.{key}"] == wanted.fields[f"llama.{key}"]
    for key in ("tokenizer.ggml.pre", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.model"):
        assert ours.fields[key] == wanted.fields[key]


def test_llama_cpp_answers_from_it(converted: Path) -> None:
    from freehold.data.templates import choose
    from freehold.engines.interface import Prompting, Request
    from freehold.engines.llama import LlamaEngine

    with LlamaEngine(converted, context_length=256) as engine:
        own = gguf.read_header(converted).fields["tokenizer.chat_template"]
        asking = Prompting(choose(own, bos_token=engine.vocabulary.bos_token, eos_token=engine.vocabulary.eos_token), engine.vocabulary)
        ((_, completion),) = engine.generate([Request(tuple(asking.prompt((("user", "What is the capital of France?"),))), 16)])
    assert "Paris" in completion.text
    assert completion.finish == "stop"


@pytest.mark.parametrize(
    ("kind", "sentence"), [("WordPiece", "no byte-level BPE"), ("cut", "no pre-tokenizer of llama.cpp")],
)  # fmt: skip
def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(smollm2_folder: Path, tmp_path: Path, kind: str, sentence: str) -> None:
    folder = tmp_path / "other"
    shutil.copytree(smollm2_folder, folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    if kind == "WordPiece":
        raw["model"] = {"type": "WordPiece", "vocab": {}}
    else:
        raw["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"String": "e"}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ]}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(Unsupported, match=sentence):
        to_gguf(folder, tmp_path / "never.gguf", card_of(folder))
    assert not list(tmp_path.glob("*.gguf"))
