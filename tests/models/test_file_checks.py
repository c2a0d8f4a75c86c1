"""What `pull` takes in and what it refuses: folders and files as people have them, each with the phrase of
its sentence.
"""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from freehold.core.errors import BadModel, FreeholdError, NotFound, Unsupported, UsageError
from freehold.inference import load_check
from freehold.models.formats import gguf as ggufs
from freehold.models.lineage import AdapterStep, BaseStep
from freehold.models.store import Model, Store
from freehold.sources import fetch
from freehold.trust.gate import Gate
from tests.hub.models import (
    adapter,
    copied,
    cut,
    decoder,
    edit,
    gguf,
    gguf_adapter,
    other,
    save,
    tensors,
    tokenizer,
)

ANSWER = (
    "llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "granite", "olmo2", "gpt2", "gpt_neox", "falcon",
    "starcoder2", "deepseek_v3", "bloom", "opt", "stablelm", "cohere",
)  # fmt: skip


class InThisProcess(Gate):
    """The gate of the command line, which asks the engine in this process instead of one of its own."""

    def try_out(self, files: Mapping[str, Path], folder: Path) -> None:
        """Load the model without its weights."""
        load_check.load(load_check.linked(files, folder / "model"))


def take(store: Store, path: Path, name: str = "m", base: str = "", notes: list[str] | None = None) -> Model:
    """Pull a folder or file, scanned and tried out as the command line does."""
    say = notes.append if notes is not None else lambda _: None
    return fetch.pull(store, f"file:{path}", name, InThisProcess(store), base=base, say=say)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder(tmp_path_factory.mktemp("llama") / "tiny-llama")


# -- what is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ANSWER)
def test_every_architecture_that_answers_is_taken(kind: str, store: Store, tmp_path: Path) -> None:
    model = take(store, decoder(tmp_path / kind, kind))
    assert (model.info.format, model.info.architecture) == ("safetensors", kind)


def test_a_gguf_is_taken_under_any_name(store: Store, tmp_path: Path) -> None:
    path = gguf(tmp_path / "tiny.gguf").rename(tmp_path / "sha256-0123")
    assert take(store, path).info.architecture == "llama"


def test_a_gguf_in_several_files_becomes_one_that_loads(store: Store, tmp_path: Path) -> None:
    whole = {tensor.name for tensor in ggufs.read_header(gguf(tmp_path / "tiny.gguf")).tensors}
    first, *_ = cut(tmp_path / "tiny.gguf", 3)
    for source in (tmp_path, first):
        model = take(store, source)
        assert list(model.manifest) == ["tiny.gguf"]
        header = ggufs.read_header(store.weights(model))
        assert {tensor.name for tensor in header.tensors} == whole
        assert not [key for key in header.fields if key.startswith("split.")]


def test_a_pickle_beside_safetensors_is_left_and_said(store: Store, llama: Path, tmp_path: Path) -> None:
    folder = copied(llama, tmp_path / "m")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    (folder / "model.onnx").write_bytes(b"\x08\x07")
    save(folder, tensors(folder), "consolidated.safetensors")
    notes: list[str] = []
    assert "pytorch_model.bin" not in take(store, folder, notes=notes).manifest
    assert [note for note in notes if "pytorch_model.bin" in note and "can run code" in note]
    assert [note for note in notes if "consolidated.safetensors" in note and "second copy" in note]
    assert [note for note in notes if "model.onnx (an ONNX graph)" in note]


def test_code_beside_a_built_in_architecture_stays_idle_and_is_said(
    store: Store, llama: Path, tmp_path: Path
) -> None:
    folder = copied(llama, tmp_path / "m")
    edit(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_evil.EvilForCausalLM"})
    (folder / "modeling_evil.py").write_text("open('mark', 'w')")
    notes: list[str] = []
    assert "modeling_evil.py" not in take(store, folder, notes=notes).manifest
    assert [note for note in notes if "auto_map" in note and "not run" in note]


def test_shards_with_their_list_are_taken(store: Store, llama: Path, tmp_path: Path) -> None:
    folder = shards(copied(llama, tmp_path / "m"))
    assert len([name for name in take(store, folder).manifest if name.endswith(".safetensors")]) == 2


def shards(folder: Path) -> Path:
    """The same weights in two files and a list."""
    values = tensors(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(values)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, some in parts.items():
        save(folder, {name: values[name] for name in some}, file)
    listed = {name: file for file, some in parts.items() for name in some}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    return folder


def test_a_cache_folder_is_taken_from_its_snapshot(store: Store, llama: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--org--name"
    (cache / "snapshots").mkdir(parents=True)
    copied(llama, cache / "snapshots" / "0123456789abcdef")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0123456789abcdef")
    notes: list[str] = []
    take(store, cache, notes=notes)
    assert "snapshot 0123456789ab" in notes[0]


# -- what is refused ------------------------------------------------------------------------------

Make = Callable[[Path, Path], Path]
#: name -> (what makes it out of a good folder's copy and an empty folder, the phrase of the refusal, its
#: class)
REFUSED: dict[str, tuple[Make, str, type[FreeholdError]]] = {}


DANGEROUS = ("disguised_pickle", "unknown_architecture_with_code")


def refused(phrase: str, kind: type[FreeholdError] = BadModel) -> Callable[[Make], Make]:
    """Put a maker into the table."""

    def put(make: Make) -> Make:
        REFUSED[make.__name__] = (make, phrase, kind)
        return make

    return put


@refused(r"1 of 2 weight files are missing|1 of the 2 files of model are missing \(number 00002\)")
def missing_shard(good: Path, _: Path) -> Path:
    (shards(good) / "model-00002-of-00002.safetensors").unlink()
    return good


@refused(r"lists its weight files .* but has none of them")
def all_shards_missing(good: Path, _: Path) -> Path:
    for path in shards(good).glob("model-*"):
        path.unlink()
    return good


@refused(r"1 of the 3 files of tiny are missing \(number 00002\)")
def missing_gguf_part(_: Path, empty: Path) -> Path:
    cut(gguf(empty / "tiny.gguf"), 3)[1].unlink()
    return empty


@refused("the folder has no tokenizer")
def no_tokenizer(good: Path, _: Path) -> Path:
    (good / "tokenizer.json").unlink()
    return good


@refused("has no tokenizer")
def gguf_without_tokenizer(_: Path, empty: Path) -> Path:
    return gguf(empty / "tiny.gguf", words=False)


@refused("an adapter .* is in the same folder as a model's weights")
def adapter_among_weights(good: Path, empty: Path) -> Path:
    adapter(empty / "a", good)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(empty / "a" / name, good / name)
    return good


@refused("has parts of an adapter among its weights")
def factors_among_weights(good: Path, _: Path) -> Path:
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    save(good, {**tensors(good), name: np.zeros((4, 32), np.float32)})
    return good


@refused("1 tensors are missing, such as model.layers.1.mlp.up_proj.weight")
def missing_tensor(good: Path, _: Path) -> Path:
    values = tensors(good)
    del values["model.layers.1.mlp.up_proj.weight"]
    save(good, values)
    return good


@refused("tensors are missing, such as model.layers.2")
def more_layers_declared(good: Path, _: Path) -> Path:
    edit(good / "config.json", num_hidden_layers=3)
    return good


@refused("tensors are not part of the model, such as model.layers.1")
def fewer_layers_declared(good: Path, _: Path) -> Path:
    edit(good / "config.json", num_hidden_layers=1)
    return good


@refused("have the wrong shape")
def other_hidden_size(good: Path, _: Path) -> Path:
    edit(good / "config.json", hidden_size=64, head_dim=16)
    return good


@refused("have the wrong shape")
def other_vocabulary(good: Path, _: Path) -> Path:
    edit(good / "config.json", vocab_size=128)
    return good


@refused("do not match its config.json")
def weights_of_another_architecture(good: Path, _: Path) -> Path:
    edit(good / "config.json", model_type="gpt2", architectures=["GPT2LMHeadModel"])
    return good


@refused("an encoder .*cannot write answers", Unsupported)
def bert(_: Path, empty: Path) -> Path:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 64,
    }
    return other(empty / "m", "bert", "AutoModel", **sizes)


@refused("an encoder .*cannot write answers", Unsupported)
def roberta(_: Path, empty: Path) -> Path:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 64,
    }
    return other(empty / "m", "roberta", "AutoModelForMaskedLM", **sizes)


@refused("do not match its config.json")
def bert_that_claims_to_answer(_: Path, empty: Path) -> Path:
    folder = bert(_, empty)
    edit(folder / "config.json", architectures=["BertLMHeadModel"])
    return folder


@refused("is an encoder-decoder", Unsupported)
def t5(_: Path, empty: Path) -> Path:
    return other(
        empty / "m",
        "t5",
        "AutoModelForSeq2SeqLM",
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        vocab_size=64,
    )


@refused("is a speech model", Unsupported)
def whisper(_: Path, empty: Path) -> Path:
    sizes = {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "vocab_size": 64,
    }
    ends = {
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "suppress_tokens": [],
        "begin_suppress_tokens": [],
    }
    return other(
        empty / "m",
        "whisper",
        "AutoModelForSpeechSeq2Seq",
        **sizes,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        **ends,
    )


@refused("is an image model", Unsupported)
def vit(_: Path, empty: Path) -> Path:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 16,
    }
    return other(empty / "m", "vit", "AutoModelForImageClassification", **sizes)


@refused("LlamaForSequenceClassification, which does not write text", Unsupported)
def classifier(_: Path, empty: Path) -> Path:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "vocab_size": 64,
    }
    return other(empty / "m", "llama", "AutoModelForSequenceClassification", **sizes)


@refused("'orion9' is not supported by any engine here", Unsupported)
def unknown_architecture(good: Path, _: Path) -> Path:
    edit(good / "config.json", model_type="orion9", architectures=["OrionForCausalLM"])
    return good


@refused(r"refused as dangerous: config.json: it asks to run code that comes with the model \(auto_map\)")
def unknown_architecture_with_code(good: Path, _: Path) -> Path:
    edit(good / "config.json", model_type="orion9", auto_map={"AutoModelForCausalLM": "modeling_orion.Orion"})
    return good


def quantized(method: dict[str, object]) -> Make:
    """A folder whose configuration states a packed form."""

    def make(good: Path, _: Path) -> Path:
        edit(good / "config.json", quantization_config=method)
        return good

    return make


for _method in ("bitsandbytes", "gptq", "awq", "fp8", "compressed-tensors", "mxfp4", "hqq"):
    REFUSED[f"quantized by {_method}"] = (
        quantized({"quant_method": _method}),
        f"quantized by {_method}, which Freehold cannot read",
        Unsupported,
    )
REFUSED["quantized by an old bitsandbytes"] = (
    quantized({"load_in_4bit": True}),
    "quantized by bitsandbytes",
    Unsupported,
)


@refused("quantized by MLX", Unsupported)
def mlx(good: Path, _: Path) -> Path:
    edit(good / "config.json", quantization={"group_size": 64, "bits": 4})
    return good


@refused("has packed weights", Unsupported)
def packed_without_saying(good: Path, _: Path) -> Path:
    save(good, {**tensors(good), "model.layers.0.self_attn.q_proj.qweight": np.zeros((4, 32), np.int32)})
    return good


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 538090408\n"


@refused("model.safetensors is a Git LFS pointer")
def lfs_pointer(good: Path, _: Path) -> Path:
    (good / "model.safetensors").write_text(POINTER)
    return good


@refused("tokenizer.json is a Git LFS pointer")
def lfs_pointer_as_tokenizer(good: Path, _: Path) -> Path:
    (good / "tokenizer.json").write_text(POINTER)
    return good


@refused("tiny.gguf is a Git LFS pointer")
def lfs_pointer_as_gguf(_: Path, empty: Path) -> Path:
    (empty / "tiny.gguf").write_text(POINTER)
    return empty / "tiny.gguf"


PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in to continue</title></head><body></body></html>"


@refused(r"tiny.gguf is a web page \(Sign in to continue\)")
def web_page(_: Path, empty: Path) -> Path:
    (empty / "tiny.gguf").write_text(PAGE)
    return empty / "tiny.gguf"


@refused("model.safetensors is a web page")
def web_page_in_a_folder(good: Path, _: Path) -> Path:
    (good / "model.safetensors").write_text(PAGE)
    return good


@refused("tiny.gguf is a server's message")
def error_as_json(_: Path, empty: Path) -> Path:
    (empty / "tiny.gguf").write_text('{"error": "Repository not found"}')
    return empty / "tiny.gguf"


@refused("model.safetensors is a server's message .Entry not found")
def error_as_text(good: Path, _: Path) -> Path:
    (good / "model.safetensors").write_text("Entry not found")
    return good


@refused("is truncated")
def truncated_gguf(_: Path, empty: Path) -> Path:
    path = gguf(empty / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:-500])
    return path


@refused("is truncated")
def truncated_safetensors(good: Path, _: Path) -> Path:
    path = good / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-500])
    return good


@refused(r"model.safetensors is empty \(0 bytes\)")
def empty_file(good: Path, _: Path) -> Path:
    (good / "model.safetensors").write_bytes(b"")
    return good


@refused("pytorch_model.bin is a pickle, which can run code when loaded")
def only_a_pickle(good: Path, _: Path) -> Path:
    (good / "model.safetensors").unlink()
    (good / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    return good


@refused("adapter_model.bin is a pickle, which can run code when loaded")
def pickled_adapter(good: Path, empty: Path) -> Path:
    folder = adapter(empty / "a", good)
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"a": 1}))
    return folder


@refused("refused as dangerous: model.safetensors: it is a pickle")
def disguised_pickle(good: Path, _: Path) -> Path:
    (good / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    return good


def named(
    phrase: str, *files: str, beside: tuple[str, ...] = ("config.json",)
) -> tuple[Make, str, type[FreeholdError]]:
    """A folder that holds only another program's files."""

    def make(_: Path, empty: Path) -> Path:
        for name in (*files, *beside):
            (empty / name).parent.mkdir(parents=True, exist_ok=True)
            (empty / name).write_text("{}")
        return empty

    return make, phrase, Unsupported


REFUSED |= {
    "ONNX": named("model.onnx is an ONNX graph", "model.onnx"),
    "Keras": named("model.keras is a Keras model", "model.keras"),
    "TensorFlow": named("tf_model.h5 is a TensorFlow model", "tf_model.h5"),
    "a saved model": named("saved_model.pb is a TensorFlow model", "saved_model.pb"),
    "Flax": named("flax_model.msgpack is a Flax model", "flax_model.msgpack"),
    "Core ML": named("is a Core ML model", "model.mlpackage/Data/model.mlmodel"),
    "OpenVINO": named("is an OpenVINO graph", "openvino_model.bin", "openvino_model.xml"),
    "CTranslate2": named("is a CTranslate2 model", "model.bin", "vocabulary.txt"),
    "diffusers": named(
        "is a diffusers pipeline",
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ),
    "a Modelfile": named("has an Ollama Modelfile", "Modelfile", beside=()),
    "an archive": named("model.zip is an archive", "model.zip", beside=()),
}


@refused("an archive", Unsupported)
def archive_file(_: Path, empty: Path) -> Path:
    (empty / "model.tar.gz").write_bytes(b"\x1f\x8b" + bytes(20))
    return empty / "model.tar.gz"


@refused("tiny.gguf is an archive, not the file itself")
def archive_as_gguf(_: Path, empty: Path) -> Path:
    with zipfile.ZipFile(empty / "tiny.gguf", "w") as archive:
        archive.writestr("readme.txt", "weights to come")
    return empty / "tiny.gguf"


@refused("is an unfinished download")
def download_under_way(good: Path, _: Path) -> Path:
    (good / "model.safetensors").rename(good / "model.safetensors.incomplete")
    return good


@refused("is not named adapter_model.safetensors", Unsupported)
def mlx_adapter(good: Path, empty: Path) -> Path:
    save(
        empty,
        {"model.layers.0.self_attn.q_proj.lora_a": np.zeros((32, 4), np.float32)},
        "adapters.safetensors",
    )
    (empty / "adapter_config.json").write_text(
        json.dumps({"fine_tune_type": "lora", "lora_parameters": {"rank": 4}})
    )
    return empty


@refused("an adapter for an image model", Unsupported)
def image_adapter(_: Path, empty: Path) -> Path:
    save(
        empty, {"lora_unet_down_blocks_0.lora_down.weight": np.zeros((4, 8), np.float32)}, "style.safetensors"
    )
    return empty


@refused("has only a tokenizer")
def tokenizer_only(_: Path, empty: Path) -> Path:
    tokenizer(empty)
    return empty


@refused("has a configuration but no weights")
def configuration_only(good: Path, _: Path) -> Path:
    (good / "model.safetensors").unlink()
    return good


@refused("no model found")
def nothing(_: Path, empty: Path) -> Path:
    return empty


@refused("has 2 folders with a model", UsageError)
def several_models(good: Path, empty: Path) -> Path:
    for name in ("first", "second"):
        copied(good, empty / name)
    return empty


@refused("has 2 GGUF files", UsageError)
def several_ggufs(_: Path, empty: Path) -> Path:
    for name in ("q4.gguf", "q8.gguf"):
        gguf(empty / name)
    return empty


@refused("is not valid JSON")
def broken_configuration(good: Path, _: Path) -> Path:
    (good / "config.json").write_text('{"model_type": "llama"')
    return good


@refused("config.json is an empty object")
def empty_configuration(good: Path, _: Path) -> Path:
    (good / "config.json").write_text("{}")
    return good


@refused("has no config.json in its folder")
def lone_safetensors(good: Path, _: Path) -> Path:
    return good / "model.safetensors"


@refused("is a projector", Unsupported)
def projector(_: Path, empty: Path) -> Path:
    return gguf(empty / "vision.gguf", "clip", fields={"general.type": "mmproj"})


@refused("a part of a model, not a model", Unsupported)
def projector_by_name(_: Path, empty: Path) -> Path:
    gguf(empty / "mmproj-model-f16.gguf", "clip")
    return empty


@refused("is an importance matrix", Unsupported)
def importance_matrix(_: Path, empty: Path) -> Path:
    return gguf(empty / "weights.gguf", fields={"general.type": "imatrix"})


@refused("has a vocabulary but no weights")
def vocabulary_only(_: Path, empty: Path) -> Path:
    return gguf(empty / "tiny.gguf", weights=False)


@refused("big-endian", Unsupported)
def big_endian(_: Path, empty: Path) -> Path:
    path = gguf(empty / "tiny.gguf")
    data = bytearray(path.read_bytes())
    data[4:8] = (3).to_bytes(4, "big")
    path.write_bytes(data)
    return path


@refused("is GGUF version 9")
def unknown_version(_: Path, empty: Path) -> Path:
    path = gguf(empty / "tiny.gguf")
    data = bytearray(path.read_bytes())
    data[4:8] = (9).to_bytes(4, "little")
    path.write_bytes(data)
    return path


@refused("format from before GGUF", Unsupported)
def old_ggml(_: Path, empty: Path) -> Path:
    (empty / "tiny.gguf").write_bytes(b"tjgg" + bytes(200))
    return empty / "tiny.gguf"


@refused("this version of llama.cpp does not support the architecture 'orion9'", Unsupported)
def unknown_gguf_architecture(_: Path, empty: Path) -> Path:
    return gguf(empty / "tiny.gguf", "orion9")


@refused("is an encoder .bert", Unsupported)
def gguf_encoder(_: Path, empty: Path) -> Path:
    return gguf(empty / "tiny.gguf", "bert", fields={"bert.attention.causal": False})


@refused("is an encoder-decoder", Unsupported)
def gguf_t5(_: Path, empty: Path) -> Path:
    return gguf(empty / "tiny.gguf", "t5")


@refused("llama.cpp cannot load tiny.gguf .*blk.1.ffn_up.weight")
def gguf_with_a_missing_tensor(_: Path, empty: Path) -> Path:
    return gguf(empty / "tiny.gguf", left_out=("blk.1.ffn_up.weight",))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_what_it_is(
    case: str, store: Store, llama: Path, tmp_path: Path
) -> None:
    make, phrase, kind = REFUSED[case]
    (tmp_path / "empty").mkdir()
    path = make(copied(llama, tmp_path / "good"), tmp_path / "empty")
    with pytest.raises(kind, match=phrase) as caught:
        take(store, path)
    assert type(caught.value) is kind
    assert caught.value.remedy
    assert ("dangerous" in caught.value.message) == (case in DANGEROUS)
    assert store.models() == []
    assert [file for file in store.blobs.rglob("*") if file.is_file()] == []


def test_there_are_enough_cases() -> None:
    assert len(REFUSED) >= 60
    assert len(ANSWER) >= 15


@pytest.mark.slow
def test_the_command_line_asks_an_engine_in_a_process_of_its_own(llama: Path, tmp_path: Path) -> None:
    files = {path.name: path for path in llama.iterdir()}
    load_check.try_out(files, tmp_path / "fine")
    config = shutil.copy(llama / "config.json", tmp_path / "config.json")
    edit(Path(config), num_hidden_layers=3)
    with pytest.raises(BadModel, match="tensors are missing"):
        load_check.try_out({**files, "config.json": Path(config)}, tmp_path / "wrong")
    with pytest.raises(Unsupported, match="orion9"):
        load_check.try_out({"tiny.gguf": gguf(tmp_path / "tiny.gguf", "orion9")}, tmp_path / "unknown")


def test_a_gguf_that_ends_the_engine_does_not_end_the_program(tmp_path: Path) -> None:
    path = gguf(tmp_path / "tiny.gguf", bytes_too=False)
    with pytest.raises(BadModel, match=r"the engine crashed while loading tiny\.gguf"):
        load_check.try_out({"tiny.gguf": path}, tmp_path / "place")


def test_an_engine_never_answers_from_weights_that_are_not_there(llama: Path, tmp_path: Path) -> None:
    from freehold.inference.loading import open_engine

    folder = copied(llama, tmp_path / "m")
    missing_tensor(folder, tmp_path)
    with pytest.raises(BadModel, match="1 tensors are missing, such as model.layers.1.mlp.up_proj.weight"):
        open_engine(folder, context_length=32)


# -- adapters -------------------------------------------------------------------------------------


def found_by(model: Model) -> str | None:
    """How the lineage of an adapter says that its base was found."""
    step = model.info.lineage.last(AdapterStep)
    return step.base_found_by if step else None


def test_an_adapter_finds_its_base_by_where_it_came_from(store: Store, llama: Path, tmp_path: Path) -> None:
    base = take(store, llama, "base")
    notes: list[str] = []
    model = take(store, adapter(tmp_path / "a", llama), "tuned", notes=notes)
    card = model.info
    assert (card.format, card.architecture, card.layers, card.vocabulary) == ("adapter", "llama", 2, 64)
    assert card.adapter is not None
    assert (card.adapter.rank, card.adapter.target_modules) == (4, ("down_proj", "q_proj"))
    assert card.lineage.base == BaseStep(model="base", revision=base.revision, digest=base.digest)
    assert store.base_of(model).revision == base.revision
    assert "found by its source" in notes[0]


@pytest.mark.parametrize(
    ("stored", "named", "found"),
    [
        ("tiny-llama", "org/Tiny-Llama", "by name"),
        ("tinyllama", "org/tiny-llama-instruct", "by name"),
        ("other", "/content/out", "by its shapes"),
    ],
)
def test_an_adapter_finds_its_base_by_name_and_by_shapes(
    store: Store, llama: Path, tmp_path: Path, stored: str, named: str, found: str
) -> None:
    take(store, copied(llama, tmp_path / "moved"), stored)
    model = take(store, adapter(tmp_path / "a", llama, named=named), "tuned")
    assert found_by(model) == found


def test_an_adapter_whose_base_is_not_here_says_what_to_pull(
    store: Store, llama: Path, tmp_path: Path
) -> None:
    folder = adapter(tmp_path / "a", llama, named="org/Strange-7B")
    with pytest.raises(NotFound, match=r"base org/Strange-7B is not in the store") as caught:
        take(store, folder, "tuned")
    assert "freehold pull hf:org/Strange-7B" in caught.value.remedy
    take(store, copied(llama, tmp_path / "moved"), "here")
    with pytest.raises(NotFound, match=r"base org/Strange-7B is not in the store") as caught:
        take(store, folder, "tuned")
    assert "--base here" in caught.value.remedy  # the same shape is no proof, but the user may know
    assert found_by(take(store, folder, "tuned", base="here")) == "named by you"


def test_an_adapter_of_another_model_is_refused(store: Store, llama: Path, tmp_path: Path) -> None:
    wide = decoder(tmp_path / "wide", intermediate_size=96)
    take(store, llama, "base")
    with pytest.raises(
        BadModel,
        match=r"does not fit base: it changes model\.layers\.0\.mlp\.down_proj as a matrix of 32 x 96",
    ):
        take(store, adapter(tmp_path / "a", wide), "tuned", base="base")
    gpt2 = decoder(tmp_path / "gpt2", "gpt2")
    with pytest.raises(BadModel, match="which the base does not have"):
        take(store, adapter(tmp_path / "g", gpt2, target_modules=["c_attn"]), "tuned", base="base")


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"peft_type": "IA3"}, "of the type IA3"),
        ({"modules_to_save": ["lm_head"]}, "replaces whole matrices"),
        ({"rank_pattern": {"q_proj": 8}}, "more than one rank"),
        ({"bias": "all"}, "changes biases"),
        ({"lora_parameters": {"rank": 8}}, "an MLX adapter"),
    ],
)
def test_adapters_of_other_kinds_are_refused(
    store: Store, llama: Path, tmp_path: Path, settings: dict[str, object], phrase: str
) -> None:
    take(store, llama, "base")
    folder = adapter(tmp_path / "a", llama)
    edit(folder / "adapter_config.json", **settings)
    with pytest.raises(Unsupported, match=phrase):
        take(store, folder, "tuned")


def test_an_adapter_answers_as_peft_merges_it(store: Store, llama: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from freehold.inference.session import open_session

    take(store, llama, "base")
    folders = {
        "plain": adapter(tmp_path / "a", llama),
        "dora": adapter(tmp_path / "d", llama, use_dora=True),
        "rslora": adapter(tmp_path / "r", llama, use_rslora=True, lora_alpha=16),
    }
    prompt, answer = [3, 4, 5, 6], [7, 8, 9]
    for name, folder in folders.items():
        take(store, folder, name)
        session = open_session(store, name, context_length=32)
        ours = session.engine.score([(prompt, answer)])[0]
        session.close()
        merged = (
            PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), folder)
            .merge_and_unload()
            .eval()
        )
        logits = merged(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1].double()
        theirs = torch.log_softmax(logits, -1)[torch.arange(3), torch.tensor(answer)].tolist()
        assert ours == pytest.approx(theirs, abs=1e-5), name


def test_an_adapter_on_a_gguf_is_given_to_llama_cpp(store: Store, tmp_path: Path) -> None:
    from freehold.inference.session import open_session

    take(store, gguf(tmp_path / "tiny.gguf"), "base")
    model = take(store, gguf_adapter(tmp_path / "a"), "tuned", base="base")
    assert "adapter.lora" in model.manifest
    scores = []
    for name in ("base", "tuned"):
        session = open_session(store, name, context_length=32)
        scores.append(session.engine.score([([3, 4, 5], [6, 7])])[0])
        session.close()
    assert scores[0] != pytest.approx(scores[1], abs=1e-3)
    # the same adapter as llama.cpp's own file
    file = tmp_path / "own.gguf"
    shutil.copy(store.file(model, "adapter.lora"), file)
    again = take(store, file, "as-gguf", base="base")
    assert list(again.manifest) == ["adapter.lora"]
    assert again.info.adapter is not None
    assert again.info.adapter.rank == 4
    session = open_session(store, "as-gguf", context_length=32)
    assert session.engine.score([([3, 4, 5], [6, 7])])[0] == pytest.approx(scores[1], abs=1e-5)
    session.close()
