"""Which of the files that a source has are one model: decided by their names alone, before anything is
fetched or copied.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from freehold.core.errors import BadModel, NotFound, Unsupported, UsageError
from freehold.models import answer_form
from freehold.models.formats import peft

#: What follows an encoder in a folder of Sentence Transformers, e.g. ``1_Pooling/config.json``: the one kind
#: of file that is not at the top.
MODULE = re.compile(r"\d+_[A-Za-z]\w*/config\.json")
#: One file of weights that were cut into several: STEM-00001-of-00003.
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.(?P<kind>gguf|safetensors)")
_TEXTS = (".json", ".jinja", ".model", ".txt", ".tiktoken")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_PROJECTOR = re.compile(r"(^|[-_.])(mmproj|imatrix)", re.IGNORECASE)
_UNDER_WAY = (".incomplete", ".crdownload", ".part", ".download", ".aria2", ".tmp")
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "tekken.json",
)
_MODEL_HINTS = ("config.json", "model.safetensors", "pytorch_model.bin")
_WAY_OUT = "get the same model as safetensors or GGUF"

#: Other programs' files by the end of their name, and what they are.
_FOREIGN: tuple[tuple[tuple[str, ...], str], ...] = (
    ((".onnx", ".onnx_data", ".ort"), "an ONNX graph"),
    (("openvino_model.xml", "openvino_model.bin"), "an OpenVINO graph"),
    (("tf_model.h5", "saved_model.pb", ".pb", "variables.index"), "a TensorFlow model"),
    ((".h5", ".hdf5", ".keras"), "a Keras model"),
    (("flax_model.msgpack", ".msgpack"), "a Flax model"),
    ((".mlmodel", ".mlmodelc", "weights/weight.bin"), "a Core ML model"),
    (("weights.npz", "adapters.npz"), "an MLX model"),
    ((".tflite", ".task", ".litertlm"), "a LiteRT model"),
    ((".engine", ".plan"), "a TensorRT engine"),
    ((".nemo",), "a NeMo archive"),
    ((".pte",), "an ExecuTorch program"),
    ((".llamafile",), "a llamafile (a program that contains weights)"),
    ((".ggml",), "a file in the old llama.cpp format from before GGUF"),
    ((".exl2", ".exl3"), "an ExLlama model"),
)
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst", ".7z", ".rar", ".tar.xz", ".tar.bz2")


@dataclass(frozen=True)
class Selection:
    """``taken``: names of the files that are the model; ``notes``: what was left and why, a sentence each."""

    taken: tuple[str, ...]
    notes: tuple[str, ...] = ()


def select(names: Collection[str], where: str, chosen: str = "") -> Selection:
    """The files of one model. ``where``: how the source is written, for the way out; ``chosen``: one GGUF
    file of several.

    Raises Unsupported for what other programs use, BadModel for what is incomplete, UsageError where it is
    not clear which is meant, NotFound.
    """
    if "model_index.json" in names:
        raise Unsupported(
            f"{where} is a diffusers pipeline, which makes images or sound", "choose a language model"
        )
    ggufs = sorted(name for name in names if name.lower().endswith(".gguf"))
    if chosen:
        return _chosen(chosen, ggufs, names, where)
    top = sorted(name for name in names if "/" not in name)
    models = [name for name in ggufs if not _PROJECTOR.search(PurePosixPath(name).name)]
    safetensors = [name for name in top if name.endswith(".safetensors")]
    if models and not (safetensors and "config.json" in top):
        return _one_gguf(models, names, where)
    at_top = [name for name in models if "/" not in name]
    if len(at_top) == 1:  # a tuned model that was exported or pushed: its adapter lies beside its weights
        return Selection((*at_top, *_texts(names), *(name for name in safetensors if name == peft.WEIGHTS)))
    if at_top:
        return _one_gguf(at_top, names, where)
    if not safetensors:
        raise _unusable(set(names), where)
    weights, notes = _used(safetensors, names)
    check_shards(weights)
    pickles = [name for name in top if name.endswith(PICKLES)]
    if pickles:
        notes.append(
            f"not pulled: {_few(pickles)}, which can run code when loaded; the safetensors files are used "
            "instead"
        )
    foreign = [f"{name} ({what})" for name in top if (what := foreign_kind(name))]
    if foreign:
        notes.append(f"not pulled: {_few(foreign)}")
    return Selection((*weights, *_texts(names)), tuple(notes))


def _texts(names: Iterable[str]) -> list[str]:
    """Configurations, tokenizers, templates and the card."""
    return sorted(
        name
        for name in names
        if MODULE.fullmatch(name)
        or (
            "/" not in name
            and (name == "README.md" or (name.endswith(_TEXTS) and not name.endswith("requirements.txt")))
        )
    )


def _used(safetensors: list[str], names: Collection[str]) -> tuple[list[str], list[str]]:
    """The weights that the folder's own program would load, and what is said of the others."""
    if peft.CONFIG in names and peft.WEIGHTS in safetensors and len(safetensors) > 1:
        raise BadModel(
            f"an adapter ({peft.WEIGHTS}) is in the same folder as a model's weights",
            "put each in its own folder; pull the model first, then the adapter",
        )
    shards = [name for name in safetensors if SHARD.fullmatch(name)]
    used = safetensors
    if "model.safetensors.index.json" in names and shards:
        used = shards
    elif "model.safetensors" in safetensors:
        used = ["model.safetensors"]
    left = [name for name in safetensors if name not in used]
    return used, [f"not pulled: {_few(left)}, a second copy of the weights"] if left else []


def _one_gguf(models: list[str], names: Collection[str], where: str) -> Selection:
    stems = {match["stem"] if (match := SHARD.fullmatch(name)) else name for name in models}
    if len(stems) > 1:
        raise UsageError(
            f"{where} has {len(stems)} GGUF files ({_few(models)}), and only one can be pulled at a time",
            f"pull one of them: {_with_file(where, models[0])}",
        )
    return _chosen(models[0], models, names, where)


def _chosen(chosen: str, ggufs: list[str], names: Collection[str], where: str) -> Selection:
    if chosen not in ggufs:
        raise NotFound(f"{where} has no GGUF file {chosen!r}", f"choose one of {_few(ggufs) or 'none'}")
    match = SHARD.fullmatch(chosen)
    parts = [
        name
        for name in ggufs
        if match and (other := SHARD.fullmatch(name)) and other["stem"] == match["stem"]
    ] or [chosen]
    check_shards(parts)
    left = [name for name in names if name.endswith(PICKLES) and "/" not in name]
    notes = [f"not pulled: {_few(left)}, which can run code when loaded"] if left else []
    beside = [name for name in ("README.md", answer_form.FILE) if name in names]
    return Selection((*parts, *beside), tuple(notes))


def check_shards(names: Iterable[str]) -> None:
    """Raises BadModel where numbers of a set of shards are missing."""
    sets: dict[tuple[str, int], set[int]] = {}
    for name in names:
        if match := SHARD.fullmatch(name):
            sets.setdefault((match["stem"], int(match["total"])), set()).add(int(match["number"]))
    for (stem, total), numbers in sets.items():
        missing = [number for number in range(1, total + 1) if number not in numbers]
        if missing:
            some = ", ".join(f"{number:05}" for number in missing[:4])
            raise BadModel(
                f"{len(missing)} of the {total} files of {PurePosixPath(stem).name} are missing (number "
                f"{some})",
                "fetch the missing files, then pull again",
            )


def foreign_kind(name: str) -> str:
    """What another program's file is; '' for one that may be ours."""
    low = name.lower()
    return next((what for ends, what in _FOREIGN if low.endswith(ends)), "")


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive."""
    return name.lower().endswith(_ARCHIVES)


def _unusable(names: set[str], where: str) -> BadModel | Unsupported | UsageError:
    """Why files without safetensors or a model's GGUF are no model."""
    if any(PurePosixPath(name).name.lower().startswith("modelfile") for name in names):
        return Unsupported(
            f"{where} has an Ollama Modelfile, which only names a model",
            "pull what its FROM line names: file:PATH or ollama:NAME",
        )
    if projectors := sorted(name for name in names if name.lower().endswith(".gguf")):
        return Unsupported(
            f"{where} has only {_few(projectors)}: a part of a model, not a model",
            "pull the model's own GGUF",
        )
    inner = sorted(
        {
            str(PurePosixPath(name).parent)
            for name in names
            if "/" in name and PurePosixPath(name).name in _MODEL_HINTS
        }
        - {"."}
    )
    if inner and not any(name in names for name in _MODEL_HINTS):
        return UsageError(
            f"{where} has {len(inner)} folders with a model ({_few(inner)}), but no model of its own",
            f"pull one of them: {where.rstrip('/')}/{inner[0]}",
        )
    return _of_another_program(names, where) or _incomplete(where, names)


def _of_another_program(names: set[str], where: str) -> BadModel | Unsupported | None:
    """Why files that belong to other programs, or are dangerous, are no model; None where there are none of
    these.
    """
    if {"model.bin", "config.json"} <= names and any(name.startswith("vocabulary.") for name in names):
        return Unsupported(f"{where} is a CTranslate2 model, which no engine here runs", _WAY_OUT)
    if any(".mlpackage/" in name for name in names):
        return Unsupported(f"{where} is a Core ML model, which no engine here runs", _WAY_OUT)
    if begun := sorted(name for name in names if name.endswith(_UNDER_WAY)):
        return BadModel(
            f"{begun[0]} is an unfinished download", "wait until it is done, or download the file again"
        )
    if kinds := {name: what for name in sorted(names) if (what := foreign_kind(name))}:
        name, what = next(iter(kinds.items()))
        return Unsupported(f"{name} is {what}, which no engine here runs", _WAY_OUT)
    if pickles := sorted(name for name in names if name.endswith(PICKLES)):
        return BadModel(
            f"{pickles[0]} is a pickle, which can run code when loaded; it is never read",
            "ask for the model as safetensors or GGUF",
        )
    if archives := sorted(filter(is_archive, names)):
        return Unsupported(f"{archives[0]} is an archive", "unpack it and pull the folder")
    return None


def _incomplete(where: str, names: set[str]) -> BadModel:
    """What files that could be part of a model lack."""
    if peft.CONFIG in names:
        return BadModel(
            f"{where} has {peft.CONFIG} but no {peft.WEIGHTS}: an adapter without its weights",
            "fetch the whole folder again",
        )
    if "model.safetensors.index.json" in names:
        return BadModel(
            f"{where} lists its weight files (model.safetensors.index.json) but has none of them",
            "fetch the whole folder again",
        )
    if "config.json" in names:
        return BadModel(f"{where} has a configuration but no weights", "fetch the whole folder again")
    if tokenizers := [name for name in _TOKENIZERS if name in names]:
        return BadModel(
            f"{where} has only a tokenizer ({tokenizers[0]}) and no weights",
            "fetch the model's whole folder",
        )
    shown = _few(sorted(names)) or "nothing"
    return BadModel(
        f"no model found: neither a .gguf nor config.json with .safetensors among {shown}",
        "pass a GGUF file, or a folder with config.json and .safetensors files",
    )


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _with_file(where: str, name: str) -> str:
    return f"{where.rstrip('/')}/{name}" if where.startswith("file:") else f"{where}:{name}"


def has_tokenizer(names: Collection[str]) -> bool:
    """Whether one of the files is a tokenizer."""
    return any(name in names for name in _TOKENIZERS) or any(name.endswith(".tiktoken") for name in names)
