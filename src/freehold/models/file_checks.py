"""What is looked at before a model is taken in: that its files are what their names say, whole, and of a kind
that runs here.

Headers and texts are read, nothing is loaded. What only an engine can tell is asked of it afterwards
(``inference/load_check.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from freehold.core.errors import BadModel, Unsupported
from freehold.core.json_types import JsonObject
from freehold.models import answer_form, file_selection
from freehold.models.formats import architectures, gguf, peft, safetensors

_AGAIN = "fetch it again"
_UNQUANTIZED = "get the unquantized safetensors, or a GGUF of it"
_POINTER = b"version https://git-lfs.github.com/spec/v1"
_PAGE = re.compile(
    rb"\s*(<!doctype html|<html|<head|<\?xml[^>]*>\s*<(?:!doctype )?(?:html|error))", re.IGNORECASE
)
_TITLE = re.compile(rb"<title[^>]*>([^<]{1,200})</title>", re.IGNORECASE)
_REFUSALS = re.compile(
    rb"\s*(entry not found|repository not found|not found|access to|invalid |unauthorized|forbidden|internal"
    rb" server|access denied)",
    re.IGNORECASE,
)
#: First bytes of llama.cpp's files before GGUF.
_OLD_FORMS = (b"lmgg", b"fmgg", b"tjgg", b"algg", b"ggml", b"ggmf", b"ggjt", b"ggla")
_PACKED = re.compile(
    r"\.(qweight|qzeros|absmax|quant_map|quant_state\.\w+|weight_packed|weight_scale(_inv)?|g_idx|SCB|\w+_blocks)$"
)
_LORA = re.compile(r"\.lora_(A|B|magnitude_vector)\b")
_IMAGE_LORA = re.compile(r"^(lora_unet|lora_te|unet\.|transformer\.transformer_blocks)|lora[._](down|up)\b")
#: How archives begin.
_ARCHIVES = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"7z\xbc\xaf",
    b"\x28\xb5\x2f\xfd",
    b"Rar!",
)
_IMAGE = ("model.diffusion_model.", "first_stage_model.", "double_blocks.", "cond_stage_model.")


def check(files: Mapping[str, Path]) -> None:
    """Raises BadModel or Unsupported with one sentence and a way out for files, named as they will be stored,
    that cannot be used.
    """
    for name, path in files.items():
        check_bytes(name, path)
    answer_form.check(files)
    ggufs = [name for name in files if name.endswith(".gguf") or name == peft.GGUF_ADAPTER]
    for name in ggufs:
        _check_gguf(name, gguf.read_header(files[name]))
    if not ggufs:
        _check_folder(files)


def notes(files: Mapping[str, Path]) -> list[str]:
    """What the user should know of files that may be used, a sentence each."""
    config = _config(files["config.json"]) if "config.json" in files else {}
    if not config.get("auto_map"):
        return []
    return [
        f"config.json names code that comes with the model (auto_map); it is not run, {config['model_type']} "
        "is built in"
    ]


def check_bytes(name: str, path: Path) -> None:
    """Raises BadModel for what stands in place of a file: nothing, a pointer to it, a page or an error."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head and name != "README.md":
        raise BadModel(f"{name} is empty (0 bytes)", _AGAIN)
    if head.startswith(_POINTER):
        raise BadModel(
            f"{name} is a Git LFS pointer, not the file itself",
            "run 'git lfs pull' in its folder, or download it from its hub",
        )
    if _PAGE.match(head):
        title = _TITLE.search(head)
        title_shown = f" ({title[1].decode('utf-8', 'replace').strip()[:80]})" if title else ""
        raise BadModel(
            f"{name} is a web page{title_shown}, not the file itself",
            "use the file's download link; a gated model needs its hub's token",
        )
    if name.endswith((".safetensors", ".gguf")):
        _check_not_text(name, head)


def _check_not_text(name: str, head: bytes) -> None:
    """Raises BadModel for an error message, JSON, an archive or another form in place of weights."""
    start = head.lstrip()
    if _REFUSALS.match(head) or (start[:1] in (b"{", b"[") and b"\0" not in head):
        said = start[:80].decode("utf-8", "replace").splitlines()[0]
        raise BadModel(
            f"{name} is a server's message ({said}), not the file itself",
            f"{_AGAIN}; a gated model needs its hub's token",
        )
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        raise BadModel(f"{name} is an archive, not the file itself", "unpack it and pull what is in it")
    if name.endswith(".gguf") and head[:4] in _OLD_FORMS:
        raise Unsupported(
            f"{name} is in the old llama.cpp format from before GGUF",
            "get a GGUF of the model, or convert this file with a llama.cpp release from mid 2023",
        )
    if name.endswith(".safetensors") and head[:4] == gguf.MAGIC:
        raise BadModel(
            f"{name} is a GGUF file with the name of a safetensors file",
            "rename it to .gguf and pull that file",
        )


# -- GGUF -------------------------------------------------------------------------------------------


def _check_gguf(name: str, header: gguf.Header) -> None:
    """Raises Unsupported or BadModel for a GGUF that is no model which answers."""
    architecture = str(header.fields.get("general.architecture", ""))
    kind = str(header.fields.get("general.type", "model"))
    if kind == "adapter":
        return
    if kind == "imatrix" or "imatrix.datasets" in header.fields or "imatrix.chunk_count" in header.fields:
        raise Unsupported(
            f"{name} is an importance matrix (used for quantizing), not a model",
            "pull the model's own GGUF",
        )
    if kind == "mmproj" or architecture == "clip":
        raise Unsupported(
            f"{name} is a projector for images or sound: a part of a model, not a model",
            "pull the model's own GGUF",
        )
    if architecture == "controlvector":
        raise Unsupported(
            f"{name} is a control vector: an addition to a model, not a model", "pull the model's own GGUF"
        )
    if not header.tensors:
        raise BadModel(f"{name} has a vocabulary but no weights", "pull the model's own GGUF")
    if architecture in ("t5", "t5encoder"):
        raise Unsupported(
            f"{name} is an encoder-decoder ({architecture}), which no engine here runs",
            "choose a decoder, such as Qwen or Llama",
        )
    if header.fields.get(f"{architecture}.attention.causal") is False:
        raise Unsupported(
            f"{name} is an encoder ({architecture}), which cannot write answers",
            "for embeddings, pull the Sentence Transformers folder of the model",
        )
    tokens = header.array_lengths.get("tokenizer.ggml.tokens") or header.fields.get("tokenizer.ggml.tokens")
    if not tokens:
        raise BadModel(
            f"{name} has no tokenizer (tokenizer.ggml.tokens)",
            "convert the model again, with its tokenizer in the same folder",
        )


# -- safetensors ------------------------------------------------------------------------------------


def _check_folder(files: Mapping[str, Path]) -> None:
    weights = [name for name in files if name.endswith(".safetensors")]
    if peft.is_peft(set(files)):
        peft.peft_facts(files[peft.CONFIG], files[peft.WEIGHTS])
        return
    if "config.json" not in files:
        raise _without_config(files, weights)
    config = _config(files["config.json"])
    _check_quantization(config)
    _check_index(files, weights)
    names = _check_tensors(files, weights)
    embeds = "modules.json" in files and any(file_selection.MODULE.fullmatch(name) for name in files)
    _check_architecture(config, names, embeds=embeds)
    if not file_selection.has_tokenizer(files.keys()):
        raise BadModel(
            "the folder has no tokenizer (tokenizer.json, tokenizer.model or vocabulary files)",
            "fetch the whole folder again",
        )


def _without_config(files: Mapping[str, Path], weights: list[str]) -> BadModel | Unsupported:
    names = [tensor for name in weights for tensor in safetensors.read_header(files[name])]
    if any(_IMAGE_LORA.search(name) for name in names):
        return Unsupported(f"{weights[0]} is an adapter for an image model", "choose a language model")
    if peft.CONFIG in files:
        return Unsupported(
            f"{weights[0]} is not named {peft.WEIGHTS}, so it is not a PEFT adapter (MLX uses this name)",
            "convert it to PEFT, or merge it with its base and pull the result",
        )
    if any(_LORA.search(name) or ".lora_a" in name for name in names):
        return BadModel(
            f"{weights[0]} is an adapter, but {peft.CONFIG} is not in the same folder",
            "give the whole folder of the adapter",
        )
    if any(name.startswith(_IMAGE) for name in names):
        return Unsupported(f"{weights[0]} is an image model", "choose a language model")
    if "params.json" in files:
        return Unsupported(
            "the folder is in its publisher's own format (params.json)",
            "get the version for transformers, which has a config.json",
        )
    return BadModel(
        f"{weights[0]} has no config.json in its folder, so the kind of model is unknown",
        "pass the model's whole folder",
    )


def _config(path: Path) -> JsonObject:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{path.name} is not valid JSON ({str(error)[:120]})", _AGAIN) from error
    if not isinstance(value, dict):
        raise BadModel("config.json is not a JSON object", _AGAIN)
    if not value.get("model_type") and value.get("auto_map"):
        raise BadModel(
            "config.json asks to run code that comes with the model (auto_map); it is never run",
            "choose a model with a built-in architecture",
        )
    if not value.get("model_type"):
        said = "is an empty object" if not value else "has no model_type"
        raise BadModel(
            f"config.json {said}, so the kind of model is unknown",
            "fetch the model's whole folder again",
        )
    return value


def _check_quantization(config: JsonObject) -> None:
    """Raises Unsupported for weights in a packed form that no engine here reads."""
    packed = config.get("quantization_config") or config.get("compression_config")
    nested = config.get("text_config")
    if not packed and isinstance(nested, dict):
        packed = nested.get("quantization_config")
    if packed:
        settings = packed if isinstance(packed, dict) else {}
        method = str(
            settings.get("quant_method")
            or ("bitsandbytes" if settings.get("load_in_4bit") or settings.get("load_in_8bit") else "unnamed")
        )
        raise Unsupported(f"the weights are quantized by {method}, which Freehold cannot read", _UNQUANTIZED)
    mlx = config.get("quantization")
    if isinstance(mlx, dict) and "group_size" in mlx:
        raise Unsupported("the weights are quantized by MLX, which Freehold cannot read", _UNQUANTIZED)


def _check_index(files: Mapping[str, Path], weights: list[str]) -> None:
    """Raises BadModel where the list of shards names files that are not there, or the numbers have gaps."""
    file_selection.check_shards(weights)
    if "model.safetensors.index.json" not in files or weights == ["model.safetensors"]:
        return
    try:
        value = json.loads(files["model.safetensors.index.json"].read_text())
        listed = {str(name) for name in value["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadModel("model.safetensors.index.json does not list the files of weights", _AGAIN) from error
    missing = sorted(listed - set(weights))
    if missing:
        raise BadModel(
            f"{len(missing)} of {len(listed)} weight files are missing: {', '.join(missing[:4])}",
            "fetch the missing files, then pull again",
        )


def _check_tensors(files: Mapping[str, Path], weights: list[str]) -> set[str]:
    """Names of all tensors. Raises for packed weights, adapters among them, and names that come twice."""
    names: set[str] = set()
    for file in weights:
        for name, record in safetensors.read_header(files[file]).items():
            if name in names:
                raise BadModel(
                    f"the tensor {name[:80]} is in more than one weight file",
                    "keep one set of weights in the folder",
                )
            names.add(name)
            if _LORA.search(name):
                raise BadModel(
                    f"{file} has parts of an adapter among its weights ({name[:80]})",
                    "merge the adapter (PEFT's merge_and_unload) and save the model again",
                )
            if _PACKED.search(name) or str(record["dtype"]).startswith(("F8", "F4", "F6")):
                raise Unsupported(
                    f"{file} has packed weights ({name[:80]}), which Freehold cannot read",
                    _UNQUANTIZED,
                )
    if not names:
        raise BadModel(f"{weights[0]} has no tensors", _AGAIN)
    return names


def _check_architecture(config: JsonObject, names: set[str], *, embeds: bool) -> None:
    """Raises Unsupported for an architecture that no engine here runs."""
    kind = str(config["model_type"])
    if not architectures.is_built_in(kind):
        needs = (
            "; it needs code that comes with it (auto_map), which is never run"
            if config.get("auto_map")
            else ""
        )
        raise Unsupported(
            f"the architecture {kind[:60]!r} is not supported by any engine here{needs}",
            "choose a model with a built-in architecture, or a GGUF",
        )
    if embeds:
        return
    declared = config.get("architectures")
    declared = str(declared[0]) if isinstance(declared, list) and declared else ""
    answering = architectures.causal_class(kind)
    words = architectures.kind_of(kind)
    if declared == answering and answering:
        return
    if words == "an encoder" and answering != declared:
        raise Unsupported(
            f"the model is an encoder ({declared or kind}), which cannot write answers",
            "for embeddings, pull a Sentence Transformers folder (modules.json, 1_Pooling/config.json); for "
            "answers, choose a decoder",
        )
    if not answering or (words and declared):
        raise Unsupported(
            f"{declared or kind} is {words or 'a model that does not write text'}, which no engine here runs",
            "choose a language model",
        )
    if declared and not declared.endswith(("ForCausalLM", "LMHeadModel", "Model")):
        raise Unsupported(
            f"the model is a {declared}, which does not write text",
            f"choose a model of the class {answering}",
        )
