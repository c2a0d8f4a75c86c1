"""A LoRA adapter as PEFT keeps it, and as llama.cpp does: read, checked against its base, and written for
llama.cpp.

Sources: PEFT's adapter_config.json and tensor names; llama.cpp's adapter GGUF (general.type ``adapter``,
tensors NAME.lora_a and NAME.lora_b).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core import atomic_files
from freehold.core.errors import BadModel, Unsupported
from freehold.models.formats import gguf, safetensors
from freehold.models.formats.decoders import ARCHITECTURES, config_of, gguf_name, rope_heads, to_interleaved

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
#: The name under which a GGUF adapter lies among a stored model's files.
GGUF_ADAPTER = "adapter.lora"
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<part>A|B|magnitude_vector)(?:\.default)?(?:\.weight)?")
_GGUF_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<part>a|b)")

#: No rank and no alpha is larger.
_MOST_RANK = 1 << 20


@dataclass(frozen=True)
class AdapterFacts:
    """What an adapter says of itself. ``base``: the base's name as its author wrote it; ``target_modules``:
    last parts of the matrices' names; ``fan_in_fan_out``: the base keeps its matrices as (inputs, outputs).
    """

    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    base: str
    rslora: bool = False
    dora: bool = False
    fan_in_fan_out: bool = False

    @property
    def scale(self) -> float:
        """What the product of both factors is multiplied by."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    @staticmethod
    def from_dict(value: dict[str, Any]) -> AdapterFacts:
        """Inverse of ``dataclasses.asdict``."""
        return AdapterFacts(**{**value, "target_modules": tuple(value["target_modules"])})


@dataclass(frozen=True)
class Pair:
    """Shapes of one matrix's factors: (rank, inputs) and (outputs, rank)."""

    first: tuple[int, ...]
    second: tuple[int, ...]

    @property
    def matrix(self) -> tuple[int, int]:
        """(outputs, inputs) of the matrix the factors belong to."""
        return self.second[0], self.first[1]


def is_peft(names: set[str]) -> bool:
    """Whether file names are those of an adapter alone."""
    weights = {name for name in names if name.endswith((".safetensors", ".gguf"))}
    return CONFIG in names and weights <= {WEIGHTS}


def is_gguf_adapter(header: gguf.Header) -> bool:
    """Whether a GGUF file holds an adapter and not a model."""
    return header.fields.get("general.type") == "adapter"


# -- what an adapter says of itself -----------------------------------------------------------------


def peft_facts(config: Path, weights: Path) -> AdapterFacts:
    """Facts of a PEFT adapter. Raises BadModel for a damaged one, Unsupported for a kind that is not LoRA on
    matrices alone.
    """
    value = _config(config)
    kind = str(value.get("peft_type", ""))[:60]
    if "lora_parameters" in value or "fine_tune_type" in value:
        raise Unsupported(
            f"{config.name} belongs to an MLX adapter",
            "convert it to PEFT, or merge it with its base and pull the result",
        )
    if kind.upper() != "LORA":
        raise Unsupported(
            f"the adapter is of the type {kind or 'unnamed'}; only LoRA adapters can be used",
            "merge it with its base and pull the result",
        )
    _refuse_extras(value)
    rank, alpha = value.get("r"), value.get("lora_alpha")
    if (
        type(rank) is not int
        or not 0 < rank <= _MOST_RANK
        or not isinstance(alpha, int | float)
        or alpha is True
    ):
        raise BadModel(f"{config.name} has no rank (r) or no lora_alpha", "fetch it again")
    if not -_MOST_RANK <= alpha <= _MOST_RANK:  # nor a number at all: no comparison holds for NaN
        raise BadModel(f"{config.name}: lora_alpha must be a number up to {_MOST_RANK:,}", "fetch it again")
    modules = sorted({name.rpartition(".")[2] for name in peft_pairs(weights)})
    base = value.get("base_model_name_or_path")
    named = base if isinstance(base, str) else ""
    flags = [bool(value.get(key)) for key in ("use_rslora", "use_dora", "fan_in_fan_out")]
    return AdapterFacts(rank, float(alpha), tuple(modules), named, *flags)


def _config(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{path.name} is not valid JSON ({str(error)[:80]})", "fetch it again") from error
    if not isinstance(value, dict) or not value:
        raise BadModel(f"{path.name} has no settings", "fetch it again")
    return value


def _refuse_extras(value: dict[str, Any]) -> None:
    """Raises Unsupported for what goes beyond one rank and one scale on matrices that stay frozen."""
    way_out = "merge the adapter with its base (PEFT's merge_and_unload) and pull the result"
    if value.get("modules_to_save"):
        names = ascii(value["modules_to_save"])[:120]
        raise Unsupported(f"the adapter also replaces whole matrices (modules_to_save: {names})", way_out)
    for key in ("rank_pattern", "alpha_pattern"):
        if value.get(key):
            raise Unsupported(f"the adapter has more than one rank or scale ({key})", way_out)
    if value.get("bias", "none") != "none":
        raise Unsupported(f"the adapter also changes biases (bias: {ascii(value['bias'])[:60]})", way_out)


def peft_pairs(weights: Path) -> dict[str, Pair]:
    """Shapes of the factors by module, named as in the base's safetensors, e.g.
    ``model.layers.0.self_attn.q_proj``.

    Raises BadModel for a factor without its partner, Unsupported for tensors that are no factors.
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, record in safetensors.read_header(weights).items():
        match = _FACTOR.fullmatch(name)
        if match is None:
            raise Unsupported(
                f"the adapter contains {name[:80]!r}, which is not a LoRA factor of a matrix",
                "merge the adapter with its base and pull the result",
            )
        shapes.setdefault(_module(match["module"]), {})[match["part"]] = tuple(record["shape"])
    return _paired(weights.name, shapes, "A", "B")


def _module(name: str) -> str:
    return name.removeprefix("base_model.model.")


def _paired(
    file: str, shapes: dict[str, dict[str, tuple[int, ...]]], first: str, second: str
) -> dict[str, Pair]:
    if not shapes:
        raise BadModel(f"{file} has no LoRA factors", "fetch it again")
    pairs: dict[str, Pair] = {}
    for module, parts in shapes.items():
        if first not in parts or second not in parts:
            raise BadModel(f"{file} has only one of the two LoRA factors of {module[:80]}", "fetch it again")
        a, b = parts[first], parts[second]
        if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
            raise BadModel(
                f"{file}: the LoRA factors of {module[:80]} have the shapes {a} and {b}, which do not match",
                "fetch it again",
            )
        pairs[module] = Pair(a, b)
    return pairs


def gguf_facts(header: gguf.Header, file: str) -> AdapterFacts:
    """Facts of a GGUF adapter. Raises BadModel, Unsupported."""
    kind = str(header.fields.get("adapter.type", ""))
    if kind != "lora":
        raise Unsupported(
            f"{file} is an adapter of the type {kind or 'unnamed'}; only LoRA adapters can be used",
            "merge it with its base and pull the result",
        )
    pairs = gguf_pairs(header, file)
    rank = next(iter(pairs.values())).first[0]
    alpha = header.fields.get("adapter.lora.alpha", 0.0)
    modules = sorted({name.removesuffix(".weight").rpartition(".")[2] for name in pairs})
    base = str(header.fields.get("general.base_model.0.repo_url", "")).removeprefix("https://huggingface.co/")
    base = base or str(header.fields.get("general.base_model.0.name", ""))
    return AdapterFacts(
        rank, float(alpha) if isinstance(alpha, int | float) and alpha else float(rank), tuple(modules), base
    )


def gguf_pairs(header: gguf.Header, file: str) -> dict[str, Pair]:
    """Shapes of the factors by the base's GGUF tensor name, e.g. ``blk.0.attn_q.weight``. Raises BadModel,
    Unsupported.
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in header.tensors:
        match = _GGUF_FACTOR.fullmatch(tensor.name)
        if match is None:
            raise Unsupported(
                f"{file} contains {tensor.name[:80]!r}, which is not a LoRA factor",
                "merge the adapter with its base and pull the result",
            )
        shapes.setdefault(match["module"], {})[match["part"]] = tuple(reversed(tensor.shape))
    return _paired(file, shapes, "a", "b")


# -- against a base ---------------------------------------------------------------------------------


def misfit(pairs: dict[str, Pair], matrices: dict[str, tuple[int, ...]]) -> str:
    """Why factors do not belong to a base whose matrices have these shapes (outputs, inputs); '' where they
    do.
    """
    for name, pair in pairs.items():
        shape = matrices.get(name)
        if shape is None:
            return f"it changes {name}, which the base does not have"
        if shape != pair.matrix:
            return (
                f"it changes {name} as a matrix of {pair.matrix[0]} x {pair.matrix[1]}, but in the base it "
                f"is {' x '.join(map(str, shape))}"
            )
    return ""


def base_matrices(weights: Path, *, fan_in_fan_out: bool = False) -> dict[str, tuple[int, ...]]:
    """Shapes (outputs, inputs) of a base's matrices, named as PEFT names its modules.

    Raises Unsupported for a GGUF of an architecture whose names are not known here.
    """
    if weights.is_dir():
        shapes = {
            name.removesuffix(".weight"): tuple(int(axis) for axis in record["shape"])
            for file in sorted(weights.glob("*.safetensors"))
            for name, record in safetensors.read_header(file).items()
            if name.endswith(".weight") and len(record["shape"]) == 2
        }
        return {name: shape[::-1] if fan_in_fan_out else shape for name, shape in shapes.items()}
    matrices = gguf_matrices(weights)
    fused = any(".attn_qkv." in name for name in matrices)
    named = ((_peft_name(name, fused=fused), shape) for name, shape in matrices.items())
    return {module: shape for module, shape in named if module}


def _peft_name(name: str, *, fused: bool) -> str:
    """The PEFT module of a GGUF matrix of one of our decoders; '' where it has none.

    ``fused``: query, key and value are one matrix, gate and up another.
    """
    from freehold.models.formats.decoders import FUSED_MODULES, MODULES

    modules = FUSED_MODULES if fused else MODULES
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in modules:
        return ""
    return f"model.layers.{parts[1]}.{modules[parts[2]]}"


def gguf_matrices(weights: Path) -> dict[str, tuple[int, ...]]:
    """Shapes (outputs, inputs) of a GGUF base's matrices by tensor name."""
    return {t.name: tuple(reversed(t.shape)) for t in gguf.read_header(weights).tensors if len(t.shape) == 2}


# -- for llama.cpp ----------------------------------------------------------------------------------


def write_gguf_adapter(target: Path, weights: Path, facts: AdapterFacts, base: Path) -> None:
    """Write a PEFT adapter as llama.cpp loads it beside its GGUF base. Raises Unsupported for DoRA and for
    architectures not known here.
    """
    if facts.dora:
        raise Unsupported("llama.cpp's adapters have no magnitudes (DoRA)", "use the merged model")
    config = config_of(base)
    named: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for module, parts in read_factors(weights):
        name = gguf_name(config, f"{module.removeprefix('model.')}.weight")
        if name is None:
            raise Unsupported(
                f"the matrix {module} does not exist in a GGUF of {config.architecture}",
                "pull the base as safetensors",
            )
        heads = rope_heads(config, name.split(".")[2])
        named[name] = (parts["A"], to_interleaved(parts["B"], heads) if heads else parts["B"])
    with atomic_files.replacing(target) as temporary:
        gguf.write_adapter(temporary, config.architecture, facts.scale * facts.rank, named)


def can_be_named(architecture: str) -> bool:
    """Whether the matrices of a GGUF of this architecture are known by PEFT's names."""
    return architecture in ARCHITECTURES


def read_factors(weights: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each module and its factors in float32 by part: A (rank, inputs), B (outputs, rank) and, of DoRA,
    magnitude_vector (outputs).
    """
    tensors: dict[str, dict[str, np.ndarray]] = {}
    for name, values in safetensors.read_tensors(weights):
        match = _FACTOR.fullmatch(name)
        if match is not None:
            tensors.setdefault(_module(match["module"]), {})[match["part"]] = values
    yield from sorted(tensors.items())
