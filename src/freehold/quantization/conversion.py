"""A safetensors folder as a 16-bit GGUF file, so that llama.cpp can run and quantize it.

llama.cpp's own converter does it (:mod:`freehold.quantization.converter_process`), for every architecture
that it knows. Here its work is checked: the engine must load what it wrote, and settings that a GGUF of the
architecture cannot say are refused, as llama.cpp would compute something else without any error.

The tokenizer is the delicate part: GGUF names the rule by which text is cut before merging, and a
wrong name cuts otherwise without any error. So the name is found by trial: the first under which
llama.cpp's tokens equal the original tokenizer's on a sample made to tell the rules apart. The texts
a caller gives must then come out equal too, or the model is refused.

Source: the GGUF specification (keys, token types) and llama.cpp's list of pre-tokenizer names.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, settings
from freehold.core.errors import BadModel, Unsupported
from freehold.core.progress import Sink, silent, task
from freehold.inference import load_check
from freehold.inference.transformers_engine import HfTokenizer
from freehold.models.formats import gguf
from freehold.models.formats.safetensors import read_header
from freehold.models.info import ModelInfo
from freehold.quantization import pack_converter
from freehold.quantization.converter_process import Job

#: The way out where a model cannot be converted here.
OTHERWISE = "use a ready GGUF of the model: freehold pull file:MODEL.gguf"

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
#: Types of tensors that the converter reads as numbers; others are blocks of some quantization.
_PLAIN = ("F16", "BF16", "F32", "F64")
#: What the converter and transformers read beside the weights. No code.
_BESIDE = (
    "tokenizer.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "model.safetensors.index.json",
)


@dataclass(frozen=True)
class _TokenizerTables:
    """A byte-level BPE tokenizer as a GGUF file describes it; empty for another kind."""

    #: text of each token, by its number, and its type
    tokens: list[str]
    types: list[int]
    #: pairs of tokens that are merged, first to last
    merges: list[str]


class ConverterProcess:
    """llama.cpp's converter, waiting for jobs. It starts at the first one: that takes seconds."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def write(self, job: Job) -> None:
        """Write a GGUF file. Raises Unsupported where the converter cannot, with its reason, and MissingPart
        where it is not installed.
        """
        if self._process is None:
            pack_converter.require()
            command = [sys.executable, "-P", "-m", "freehold.quantization.converter_process"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**settings.without_secrets(), "HF_HUB_OFFLINE": "1"},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: then there is no answer either
            print(job.to_json(), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline() or '{"error": "the converter has ended"}')
        if "error" in answer:
            reason = str(answer["error"]).strip().splitlines()[0][:200]
            raise Unsupported(f"llama.cpp's converter cannot convert this model ({reason})", OTHERWISE)

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(BrokenPipeError):
            process.communicate(timeout=60)


_shared: list[ConverterProcess] = []


@contextlib.contextmanager
def converter() -> Iterator[ConverterProcess]:
    """The converter; conversions inside the ``with`` share one process."""
    if _shared:
        yield _shared[0]
        return
    _shared.append(ConverterProcess())
    try:
        yield _shared[0]
    finally:
        _shared.pop().close()


def to_gguf(
    source: Path, target: Path, card: ModelInfo, texts: Sequence[str] = (), sink: Sink = silent
) -> str:
    """Write the folder ``source`` as GGUF and return the pre-tokenizer's name. bfloat16 stays as it is; other
    types become float16.

    ``texts``: further texts on which both tokenizers must agree. Raises Unsupported for an unknown
    architecture or tokenizer, or for what the GGUF of this architecture cannot say; then nothing is left.
    """
    raw = json.loads((source / "config.json").read_text())
    _refuse_not_carried(raw)
    kind = _kind(source)
    tables, original = _tables(source, raw), HfTokenizer(source)
    with (
        tempfile.TemporaryDirectory(prefix="convert-", dir=target.parent) as scratch,
        atomic_files.replacing(target) as temporary,
        converter() as process,
        _loads(),
        task(sink, f"converting {target.stem.lstrip('.')} to GGUF"),
    ):
        folder = _without_code(source, Path(scratch) / target.stem.lstrip("."), raw, card)
        job = Job(
            str(folder),
            str(temporary),
            kind,
            **vars(tables),
            special=original.special,
            adds_start=bool(original.bos_token),
            chat_template=card.chat_template or "",
            licence=card.licence,
        )
        job = replace(job, rule=_rule(process, job, original, Path(scratch), source.name))
        process.write(job)
        load_check.try_out({"model.gguf": temporary}, Path(scratch))
        check_tokens(source, temporary, SAMPLE)
        check_tokens(source, temporary, texts)
        return str(gguf.read_header(temporary).fields.get("tokenizer.ggml.pre") or "default")


@contextlib.contextmanager
def _loads() -> Iterator[None]:
    """The original is whole: where llama.cpp cannot load what was made of it, the conversion is at fault."""
    try:
        yield
    except BadModel as error:
        raise Unsupported(
            f"llama.cpp's converter cannot convert this model ({error.message})", OTHERWISE
        ) from error


def check_tokens(source: Path, converted: Path, texts: Sequence[str]) -> None:
    """Raises Unsupported where llama.cpp splits a text differently from the tokenizer of ``source``."""
    wrong = _differs(HfTokenizer(source), converted, texts)
    if wrong is not None:
        raise Unsupported(
            f"llama.cpp's tokens differ from the original tokenizer's on {wrong[:60]!r}", OTHERWISE
        )


def _kind(source: Path) -> str:
    """The type that matrices get. Raises Unsupported for weights in blocks."""
    kinds: set[str] = set()
    for file in source.glob("*.safetensors"):
        for name, record in read_header(file).items():
            kind = str(record["dtype"])
            if kind not in _PLAIN:
                raise Unsupported(
                    f"the tensor {name} has the type {kind}; only floats of 16 to 64 bits can be converted",
                    OTHERWISE,
                )
            kinds.add(kind)
    return "BF16" if "BF16" in kinds and "F16" not in kinds else "F16"


def _without_code(source: Path, folder: Path, raw: dict[str, Any], card: ModelInfo) -> Path:
    """A folder of links to the model's weights and tokenizer, and its settings without what names code."""
    folder.mkdir()
    for file in [*source.glob("*.safetensors"), *(source / name for name in _BESIDE)]:
        if file.exists():
            (folder / file.name).symlink_to(file.absolute())
    text = {**raw, "max_position_embeddings": context_of(source, card)} if card.context_length else raw
    (folder / "config.json").write_text(json.dumps(_named(text)))
    tokenizer = source / "tokenizer_config.json"
    described = json.loads(tokenizer.read_text()) if tokenizer.exists() else {}
    described = {"tokenizer_class": "PreTrainedTokenizerFast", **described, "chat_template": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(_named(described)))
    return folder


def _named(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the key that names classes in the model's own code."""
    return {key: value for key, value in raw.items() if key != "auto_map"}


def _refuse_not_carried(raw: Mapping[str, Any]) -> None:
    """Raises Unsupported where llama.cpp would compute something else, and says why."""
    if faults := [text for is_fault, text in _not_carried(raw) if is_fault]:
        raise Unsupported(
            f"llama.cpp cannot run {raw.get('model_type')} with {' and '.join(faults)}", OTHERWISE
        )


#: Activations of the architectures whose converter does not look at them; others have one only.
_SILU, _GELU = ("silu", "swish"), ("gelu_pytorch_tanh", "gelu")
_ACTIVATIONS = {
    **dict.fromkeys(("llama", "mistral", "ministral3", "mixtral", "qwen2", "qwen3", "qwen3_moe"), _SILU),
    **dict.fromkeys(("phi3", "granite", "olmo2", "smollm3", "deepseek_v3", "glm4", "falcon_h1"), _SILU),
    **dict.fromkeys(("gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text"), _GELU[:1]),
    "starcoder2": _GELU,
}
#: Where each pair of rotary positions may be scaled by its own factor.
_EACH_PAIR = ("llama", "mistral", "mixtral", "granite", "smollm3", "deepseek_v3")


def _not_carried(raw: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Settings that a GGUF of the architecture has no key for: (whether this model uses it, its name)."""
    kind = str(raw.get("model_type"))
    raw = raw.get("text_config") or raw
    gemma = kind.startswith("gemma3")
    activation = raw.get("hidden_activation") or raw.get("hidden_act")
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    whole = kind in ("llama", "mistral", "qwen2", "qwen3", "gemma3", "gemma3_text")
    heads = int(raw.get("num_attention_heads") or 1)
    head_dim = int(raw.get("head_dim") or int(raw.get("hidden_size") or 0) // heads)
    scalar = float(raw.get("query_pre_attn_scalar") or head_dim)
    local = [kind == "sliding_attention" for kind in raw.get("layer_types") or []]
    pattern = int(raw.get("sliding_window_pattern") or 6)
    return [
        (activation not in (None, *_ACTIVATIONS.get(kind, (activation,))), f"the activation {activation!r}"),
        (
            whole and float(rope.get("partial_rotary_factor") or 1.0) != 1.0,
            "rotary positions on only a part of each head",
        ),
        (
            rope.get("rope_type", rope.get("type")) == "llama3" and kind not in _EACH_PAIR,
            "rotary positions scaled as in Llama 3",
        ),
        ((kind == "qwen3" or gemma) and bool(raw.get("attention_bias")), "biases in its attention"),
        (
            kind == "qwen3_moe" and not raw.get("norm_topk_prob"),
            "experts whose shares are not made to sum to one",
        ),
        (gemma and scalar != head_dim, "a query scale other than that of the head's size"),
        (
            gemma and (pattern != 6 or local != [(at + 1) % 6 != 0 for at in range(len(local))]),
            "this order of sliding and full attention",
        ),
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
    slides = raw.get("model_type") in ("mistral", "mixtral", "phi3", "starcoder2") or bool(
        raw.get("use_sliding_window")
    )
    window = int(raw.get("sliding_window") or 0) if slides else 0
    return min(card.context_length, window) if window else card.context_length


def _tables(source: Path, config: Mapping[str, Any]) -> _TokenizerTables:
    """Tokens, types and merges of a byte-level BPE tokenizer.json; empty for any other kind."""
    path = source / "tokenizer.json"
    raw = json.loads(path.read_text()) if path.exists() else {}
    model = raw.get("model", {})
    stages = json.dumps([raw.get("pre_tokenizer"), raw.get("decoder")])
    if model.get("type") != "BPE" or "ByteLevel" not in stages:
        return _TokenizerTables([], [], [])
    tokens = {int(number): (token, _NORMAL) for token, number in model["vocab"].items()}
    for added in raw.get("added_tokens", []):
        tokens[int(added["id"])] = (added["content"], _CONTROL if added["special"] else _USER)
    vocabulary = int((config.get("text_config") or config).get("vocab_size") or 0)
    size = max(vocabulary, max(tokens) + 1)
    every = [tokens.get(number, (f"[PAD{number}]", _UNUSED)) for number in range(size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return _TokenizerTables([text for text, _ in every], [kind for _, kind in every], merges)


def _rule(process: ConverterProcess, job: Job, original: HfTokenizer, scratch: Path, name: str) -> str:
    """The rule by which llama.cpp splits text as the tokenizer does; "" for a tokenizer without one."""
    if not job.tokens:
        return ""
    file = scratch / "vocabulary.gguf"
    for rule in RULES:
        process.write(replace(job, rule=rule, target=str(file), vocabulary_only=True))
        if _differs(original, file, SAMPLE) is None:
            return rule
    raise Unsupported(f"no pre-tokenizer of llama.cpp splits text as the tokenizer of {name} does", OTHERWISE)


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
