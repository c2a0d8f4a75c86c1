"""A model's card: what its own files say of it, and where each fact was read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from freehold.core import yaml_text
from freehold.core.errors import BadData, BadModel
from freehold.core.json_types import JsonObject
from freehold.models.formats import architectures, gguf, peft, safetensors
from freehold.models.formats.peft import AdapterFacts
from freehold.models.lineage import Lineage

#: No number of a model's shape is larger; larger ones could not be kept.
_MOST_COUNT = 1 << 40


@dataclass(frozen=True)
class ModelInfo:
    """Facts about a model. ``licence_from`` names the place the licence was read from; both empty if it
    states none.

    ``adapter``: what an adapter without its base says of itself; None for a model. An adapter's architecture
    and shape are its base's.
    """

    format: str
    architecture: str
    parameters: int
    context_length: int
    quantization: str
    chat_template: str | None
    licence: str
    licence_from: str
    size_bytes: int
    layers: int = 0
    hidden: int = 0
    kv_width: int = 0
    vocabulary: int = 0
    provenance: JsonObject = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage)
    adapter: AdapterFacts | None = None

    def as_dict(self) -> JsonObject:
        """JSON form, with its format version."""
        values = asdict(replace(self, lineage=Lineage()))
        return {"card_version": 1, **values, "lineage": self.lineage.as_list()}

    @staticmethod
    def from_dict(value: JsonObject) -> ModelInfo:
        """Inverse of :meth:`as_dict`.

        Raises BadModel for a version this program does not know, ValueError.
        """
        value = dict(value)
        version = value.pop("card_version", None)
        if version != 1:
            raise BadModel(f"the card has version {version!r}; version 1 is read", "update Freehold")
        facts = value.pop("adapter", None)
        lineage = Lineage.read(value.pop("lineage", []))
        return ModelInfo(**value, lineage=lineage, adapter=AdapterFacts.from_dict(facts) if facts else None)


def read_info(files: dict[str, Path], *, licence: str = "", licence_from: str = "") -> ModelInfo:
    """Card of a model given its files by name. Raises BadModel if they are no model or are damaged.

    A licence in the weights' own metadata comes first; ``licence`` is what the source states.
    """
    ggufs = [name for name in files if name.endswith(".gguf")]
    if peft.is_peft(set(files)) or (
        peft.GGUF_ADAPTER in files and not ggufs and not any(name.endswith(".safetensors") for name in files)
    ):
        return _adapter_card(files, licence, licence_from)
    if len(ggufs) == 1:
        return _gguf_card(ggufs[0], files[ggufs[0]], licence, licence_from)
    if len(ggufs) > 1:
        raise BadModel(
            f"there are {len(ggufs)} GGUF files ({', '.join(sorted(ggufs)[:4])} ...) and a model has"
            " only one",
            "pull one of them by file:PATH",
        )
    weights = [name for name in files if name.endswith(".safetensors")]
    if weights and "config.json" in files:
        return _safetensors_card(files, weights, licence, licence_from)
    pickles = [name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))]
    if pickles:
        raise BadModel(
            f"{pickles[0]} is a pickle, which can run code when loaded; it is never read",
            "ask for the model as safetensors or GGUF",
        )
    names = ", ".join(sorted(files)[:5]) or "nothing"
    raise BadModel(
        f"no model found: neither a .gguf nor config.json with .safetensors among {names}",
        "pass a GGUF file, or a folder with config.json and .safetensors files",
    )


def _gguf_card(name: str, path: Path, licence: str, licence_from: str) -> ModelInfo:
    header = gguf.read_header(path)
    fields = header.fields
    stated = fields.get("general.license")
    if isinstance(stated, str) and stated:
        licence, licence_from = stated, f"general.license in {name}"
    file_type = fields.get("general.file_type")
    template = fields.get("tokenizer.chat_template")
    heads = header.number("attention.head_count", 1) or 1
    head_dim = header.number("attention.key_length", header.number("embedding_length") // heads)
    return ModelInfo(
        format="gguf",
        architecture=str(fields.get("general.architecture", "")),
        parameters=sum(tensor.elements for tensor in header.tensors),
        context_length=header.number("context_length"),
        quantization=gguf.FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else "",
        chat_template=template if isinstance(template, str) else None,
        licence=licence,
        licence_from=licence_from,
        size_bytes=path.stat().st_size,
        layers=header.number("block_count"),
        hidden=header.number("embedding_length"),
        kv_width=header.number("attention.head_count_kv", heads) * head_dim,
        vocabulary=header.array_lengths.get("tokenizer.ggml.tokens", 0),
    )


def _adapter_card(files: dict[str, Path], licence: str, licence_from: str) -> ModelInfo:
    """Card of an adapter alone; its base's shape is filled in where the base is known (:func:`on_base`)."""
    if peft.WEIGHTS in files:
        facts, pairs = (
            peft.peft_facts(files[peft.CONFIG], files[peft.WEIGHTS]),
            peft.peft_pairs(files[peft.WEIGHTS]),
        )
        architecture = ""
        kinds = {str(record["dtype"]) for record in safetensors.read_header(files[peft.WEIGHTS]).values()}
    elif peft.GGUF_ADAPTER in files:
        header = gguf.read_header(files[peft.GGUF_ADAPTER])
        facts, pairs = peft.gguf_facts(header, peft.GGUF_ADAPTER), peft.gguf_pairs(header, peft.GGUF_ADAPTER)
        architecture = str(header.fields.get("general.architecture", ""))
        kinds = {tensor.kind for tensor in header.tensors}
    else:
        raise BadModel(
            f"the folder has {peft.CONFIG} but no {peft.WEIGHTS}: an adapter without its weights",
            "fetch the whole folder again",
        )
    if not licence and "README.md" in files:
        licence, licence_from = _licence_in_readme(files["README.md"])
    return ModelInfo(
        format="adapter",
        architecture=architecture,
        parameters=sum(math.prod(pair.first) + math.prod(pair.second) for pair in pairs.values()),
        context_length=0,
        quantization="+".join(sorted(kinds)),
        chat_template=None,
        licence=licence,
        licence_from=licence_from,
        size_bytes=sum(path.stat().st_size for path in files.values()),
        adapter=facts,
    )


def on_base(card: ModelInfo, base: ModelInfo) -> ModelInfo:
    """An adapter's card with its base's architecture, shape and template."""
    return replace(
        card,
        architecture=base.architecture,
        context_length=base.context_length,
        chat_template=base.chat_template,
        layers=base.layers,
        hidden=base.hidden,
        kv_width=base.kv_width,
        vocabulary=base.vocabulary,
    )


def _safetensors_card(
    files: dict[str, Path], weights: list[str], licence: str, licence_from: str
) -> ModelInfo:
    config = _json_file(files["config.json"])
    if config.get("auto_map") and not architectures.is_built_in(str(config.get("model_type", ""))):
        raise BadModel(
            "config.json asks to run code that comes with the model (auto_map); it is never run",
            "choose a model of a built-in architecture",
        )
    parameters, kinds = 0, set[str]()
    for name in weights:
        for record in safetensors.read_header(files[name]).values():
            parameters += math.prod(record["shape"])
            kinds.add(str(record["dtype"]))
    heads = _count(config, "num_attention_heads") or 1
    head_dim = _count(config, "head_dim") or _count(config, "hidden_size") // heads
    if not licence and "README.md" in files:
        licence, licence_from = _licence_in_readme(files["README.md"])
    return ModelInfo(
        format="safetensors",
        architecture=str(config.get("model_type", "")),
        parameters=parameters,
        context_length=_count(config, "max_position_embeddings"),
        quantization="+".join(sorted(kinds)),
        chat_template=_template_of(files),
        licence=licence,
        licence_from=licence_from,
        size_bytes=sum(path.stat().st_size for path in files.values()),
        layers=_count(config, "num_hidden_layers"),
        hidden=_count(config, "hidden_size"),
        kv_width=(_count(config, "num_key_value_heads") or heads) * head_dim,
        vocabulary=_count(config, "vocab_size"),
    )


def _count(config: JsonObject, key: str) -> int:
    """A whole number of config.json; 0 where it is not stated. Raises BadModel for anything else."""
    value = config.get(key)
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= _MOST_COUNT:
        raise BadModel(
            f"config.json: {key} must be a whole number from 0 to {_MOST_COUNT:,}, not {ascii(value)[:60]}",
            "fetch it again, or ask the publisher",
        )
    return value


def _json_file(path: Path) -> JsonObject:
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{path.name} is not valid JSON ({str(error)[:120]})", "fetch it again") from error
    if not isinstance(value, dict):
        raise BadModel(f"{path.name} is not a JSON object", "fetch it again")
    return value


def _template_of(files: dict[str, Path]) -> str | None:
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].read_text("utf-8", "replace")
    template = (
        _json_file(files["tokenizer_config.json"]).get("chat_template")
        if "tokenizer_config.json" in files
        else None
    )
    return template if isinstance(template, str) else None


def _licence_in_readme(path: Path) -> tuple[str, str]:
    """``license:`` of a model card's YAML head."""
    text = path.read_text(errors="replace")
    if not text.startswith("---"):
        return "", ""
    try:
        head = yaml_text.load(text.split("---", 2)[1], path.name)
    except BadData:
        return "", ""
    licence = stated_licence(head) if isinstance(head, dict) else ""
    return (licence, "license in README.md") if licence else ("", "")


def stated_licence(head: Mapping[str, Any]) -> str:
    """The licence that a card's head states: ``license``, several joined with AND, or ``license_name`` where
    ``license`` is ``other``.

    A card that lists several does not say that one may choose; all of them hold then.
    """
    value = head.get("license")
    names = [
        name.strip() for name in (value if isinstance(value, list) else [value]) if isinstance(name, str)
    ]
    own_name = head.get("license_name")
    if isinstance(own_name, str) and own_name.strip():
        names = [own_name.strip() if name.lower() == "other" else name for name in names]
    return " AND ".join(dict.fromkeys(name for name in names if name))
