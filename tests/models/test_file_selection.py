"""Which of the files that a source has are one model, by their names alone."""

from __future__ import annotations

import pytest

from freehold.core.errors import BadModel, NotFound, Unsupported, UsageError
from freehold.models.file_selection import check_shards, foreign_kind, has_tokenizer, is_archive, select

FOLDER = ["config.json", "tokenizer.json", "README.md"]
WHERE = "hf:org/model"


def test_one_gguf_is_taken_with_its_card() -> None:
    selected = select(["q4.gguf", "README.md", "notes.txt"], WHERE)
    assert selected.taken == ("q4.gguf", "README.md")
    assert selected.notes == ()


def test_of_several_ggufs_one_must_be_named() -> None:
    names = ["q4.gguf", "q8.gguf"]
    with pytest.raises(UsageError, match="has 2 GGUF files") as raised:
        select(names, WHERE)
    assert f"{WHERE}:q4.gguf" in raised.value.remedy
    with pytest.raises(UsageError) as raised:
        select(names, "file:models/")
    assert "file:models/q4.gguf" in raised.value.remedy
    assert select(names, WHERE, "q8.gguf").taken == ("q8.gguf",)
    with pytest.raises(NotFound, match="no GGUF file 'q2.gguf'"):
        select(names, WHERE, "q2.gguf")


@pytest.mark.parametrize("part", ["mmproj-f16.gguf", "model.mmproj.gguf", "imatrix.gguf"])
def test_a_part_of_a_model_is_no_model(part: str) -> None:
    assert select(["q4.gguf", part], WHERE).taken == ("q4.gguf",)
    with pytest.raises(Unsupported, match="a part of a model"):
        select([part], WHERE)


def test_parts_of_a_gguf_are_taken_together_and_must_all_be_there() -> None:
    parts = [f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert select(parts, WHERE).taken == tuple(parts)
    assert select([*parts, "other.gguf"], WHERE, parts[1]).taken == tuple(parts)
    with pytest.raises(BadModel, match=r"1 of the 3 files of big are missing \(number 00002\)"):
        select([parts[0], parts[2]], WHERE)


def test_a_folder_of_safetensors_is_taken_with_its_texts() -> None:
    names = [*FOLDER, "model.safetensors", "chat_template.jinja", "requirements.txt", "image.png"]
    assert select(names, WHERE).taken == (
        "model.safetensors",
        "README.md",
        "chat_template.jinja",
        "config.json",
        "tokenizer.json",
    )


def test_of_two_copies_of_the_weights_the_folders_own_program_would_load_one() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = "model.safetensors.index.json"
    selected = select([*FOLDER, index, *shards, "consolidated.safetensors"], WHERE)
    assert selected.taken[:2] == tuple(shards)
    assert selected.notes == ("not pulled: consolidated.safetensors, a second copy of the weights",)
    plain = select([*FOLDER, "model.safetensors", "model.fp16.safetensors"], WHERE)
    assert "model.fp16.safetensors" not in plain.taken
    with pytest.raises(BadModel, match="1 of the 2 files of model are missing"):
        select([*FOLDER, index, shards[0]], WHERE)


def test_a_pickle_is_left_and_said() -> None:
    selected = select([*FOLDER, "model.safetensors", "pytorch_model.bin", "optimizer.pt"], WHERE)
    assert not {"pytorch_model.bin", "optimizer.pt"} & set(selected.taken)
    assert "can run code when loaded" in selected.notes[0]
    assert "can run code when loaded" in select(["q4.gguf", "old.bin"], WHERE).notes[0]
    with pytest.raises(BadModel, match="is a pickle"):
        select([*FOLDER, "pytorch_model.bin"], WHERE)


def test_modules_of_sentence_transformers_come_along_and_other_folders_do_not() -> None:
    names = [*FOLDER, "model.safetensors", "1_Pooling/config.json", "onnx/config.json", "2_Dense/w.bin"]
    taken = select(names, WHERE).taken
    assert "1_Pooling/config.json" in taken
    assert not {"onnx/config.json", "2_Dense/w.bin"} & set(taken)


def test_a_tuned_model_is_its_gguf_with_the_adapter_beside_it() -> None:
    names = ["merged.gguf", "config.json", "adapter_model.safetensors", "adapter_config.json", "README.md"]
    taken = select(names, WHERE).taken
    assert taken[0] == "merged.gguf"
    assert {"adapter_model.safetensors", "adapter_config.json"} <= set(taken)


def test_an_adapter_beside_a_model_is_refused() -> None:
    names = [*FOLDER, "model.safetensors", "adapter_model.safetensors", "adapter_config.json"]
    with pytest.raises(BadModel, match="put each in its own folder") as raised:
        select(names, WHERE)
    assert "an adapter" in raised.value.message


@pytest.mark.parametrize(
    ("names", "error", "phrase"),
    [
        (["model_index.json", "unet/x.safetensors"], Unsupported, "diffusers pipeline"),
        (["model.onnx"], Unsupported, "an ONNX graph"),
        (["config.json", "tf_model.h5"], Unsupported, "a TensorFlow model"),
        (["model.bin", "config.json", "vocabulary.txt"], Unsupported, "CTranslate2"),
        (["m.mlpackage/Manifest.json"], Unsupported, "Core ML"),
        (["Modelfile"], Unsupported, "Modelfile"),
        (["model.tar.gz"], Unsupported, "is an archive"),
        (["q4.gguf.incomplete"], BadModel, "unfinished download"),
        (["adapter_config.json"], BadModel, "an adapter without its weights"),
        (["model.safetensors.index.json"], BadModel, "has none of them"),
        (["config.json"], BadModel, "no weights"),
        (["tokenizer.json"], BadModel, "only a tokenizer"),
        (["a/config.json", "b/config.json"], UsageError, "2 folders with a model"),
        (["photo.png"], BadModel, "no model found"),
        ([], BadModel, "among nothing"),
    ],
)
def test_what_is_no_model_is_said(names: list[str], error: type[Exception], phrase: str) -> None:
    with pytest.raises(error, match=phrase):
        select(names, WHERE)


def test_folders_that_each_hold_a_model_are_named_for_pulling() -> None:
    with pytest.raises(UsageError) as raised:
        select(["a/config.json", "b/config.json"], WHERE)
    assert f"{WHERE}/a" in raised.value.remedy


def test_shards_are_counted_for_each_set() -> None:
    check_shards(["a-00001-of-00001.gguf", "b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "other.gguf"])
    with pytest.raises(BadModel, match=r"\(number 00001\)"):
        check_shards(["a-00002-of-00002.gguf"])


def test_kinds_of_files_by_their_endings() -> None:
    assert foreign_kind("a/Model.ONNX") == "an ONNX graph"
    assert foreign_kind("model.safetensors") == ""
    assert is_archive("x.TAR.GZ")
    assert not is_archive("x.gguf")
    assert has_tokenizer(["qwen.tiktoken"])
    assert not has_tokenizer(["config.json"])
