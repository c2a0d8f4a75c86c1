"""What Freehold can do with each architecture, measured on tiny random weights.

    python -m tests.docs.architectures

measures all again and writes docs/architectures.md, which test_architectures.py holds true.
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.core.errors import FreeholdError
from freehold.inference.interface import Engine
from freehold.inference.llama_engine import LlamaEngine
from freehold.inference.request import GenerationRequest
from freehold.inference.transformers_engine import TransformersEngine
from freehold.models.info import read_info
from freehold.quantization.conversion import converter, to_gguf
from freehold.quantization.quantize import quantize
from freehold.training import backends
from freehold.training.recipe import Recipe
from freehold.training.run import TuneOptions, run
from freehold.training.training_rows import TrainingRows
from freehold.training.tuned_files import write_files
from tests import tiny

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "architectures.md"
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "rope_theta": 5e5,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 128}
WINDOW = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16, "tie_word_embeddings": True}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "norm_topk_prob": True}
GRANITE = {
    "embedding_multiplier": 6.0,
    "attention_multiplier": 0.1,
    "residual_multiplier": 0.3,
    "logits_scaling": 4.0,
}
MINISTRAL = {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}
LINEAR = {
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
DEEPSEEK = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 64,
    "first_k_dense_replace": 1,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "num_key_value_heads": 4,
}
MAMBA = {
    "head_dim": 16,
    "mamba_d_ssm": 64,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 16,
}
LFM = {
    "num_hidden_layers": 4,
    "layer_types": ["conv", "full_attention"] * 2,
    "block_auto_adjust_ff_dim": False,
}
GEMMA4 = {
    "head_dim": 32,
    "global_head_dim": 64,
    "num_hidden_layers": 6,
    "sliding_window": 16,
    "tie_word_embeddings": True,
    "vocab_size_per_layer_input": 384,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
}
GPT_OSS = {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16}
GEMMA3_MULTIMODAL = {
    "text_config": {**tiny.SHAPE, **WINDOW, "num_hidden_layers": 7},
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    },
    "mm_tokens_per_image": 4,
    "tie_word_embeddings": True,
}
#: Name in the table: model type of transformers, and its configuration beside :data:`tests.tiny.SHAPE`.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, Llama 3 rope scaling": ("llama", {"rope_parameters": LLAMA3}),
    "llama, YaRN": ("llama", {"rope_parameters": YARN}),
    "mistral": ("mistral", {}),
    "ministral3": ("ministral3", {"head_dim": 16, "rope_parameters": MINISTRAL}),
    "mixtral": ("mixtral", {"num_local_experts": 4}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "qwen3-moe": ("qwen3_moe", {"head_dim": 32, **EXPERTS}),
    "qwen3.5": ("qwen3_5_text", {"head_dim": 32, "num_hidden_layers": 4, **LINEAR}),
    "gemma2": ("gemma2", WINDOW),
    "gemma3": ("gemma3_text", {**WINDOW, "num_hidden_layers": 7}),
    "gemma3, text of a multimodal checkpoint": ("gemma3", GEMMA3_MULTIMODAL),
    "gemma4": ("gemma4_text", GEMMA4),
    "phi3": ("phi3", {"sliding_window": None}),
    "granite": ("granite", GRANITE),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {"num_hidden_layers": 4}),
    "starcoder2": ("starcoder2", {}),
    "falcon-h1": ("falcon_h1", MAMBA),
    "lfm2": ("lfm2", LFM),
    "deepseek-v3": ("deepseek_v3", DEEPSEEK),
    "glm4": ("glm4", {"head_dim": 16}),
    "gpt-oss": ("gpt_oss", {**GPT_OSS, "rope_parameters": YARN}),
}
RECIPE = Recipe(rank=4, alpha=8.0, steps=20, batch_rows=8, validations=1, precision="f32", learning_rate=0.02)
ROWS = TrainingRows(
    512,
    train=tuple(([5, 9, 40 + n], [60 + n, 61 + n % 3, 1]) for n in range(8)),
    valid=tuple(([5, 9, 40 + n], [60 + n, 61 + n % 3, 1]) for n in range(2)),
)
_SPECIAL = re.compile(r"<\|\w+\|>")
PROMPTS = tuple(tuple(5 + (7 * n + 11 * at) % 370 for at in range(12)) for n in range(3))


@dataclass(frozen=True)
class Row:
    """A line of the table: "yes", or what happens instead."""

    converts: str
    loads: str
    answers: str
    tunes: str
    runs_tuned: str
    quantizes: str

    def line(self, name: str) -> str:
        """Markdown."""
        return f"| {name} | {' | '.join(vars(self).values())} |"


def measure(name: str, folder: Path) -> Row:
    """All that the table says of one architecture."""
    kind, changes = CASES[name]
    weights, file = tiny.model(kind, folder / "weights", **changes), folder / "model.gguf"
    reason = _converts(weights, file)
    tunes, tuned = _tunes(weights if reason else file, weights, folder / "work")
    if reason:
        return Row(reason, "no", "no", tunes, "no", "no")
    return Row(
        "yes",
        _works(lambda: _greedy(LlamaEngine(file, context_length=128))),
        _answers(weights, file),
        tunes,
        _works(lambda: _run_tuned(tuned, folder)) if tuned else "no",
        _works(lambda: _quantized(file, folder / "small.gguf")),
    )


def _works(step: Any) -> str:
    try:
        step()
    except FreeholdError as error:
        return f"no: {_short(error)}"
    return "yes"


def _short(error: FreeholdError) -> str:
    return error.message.replace("|", "/").replace("\n", " ")[:120]


def _converts(weights: Path, file: Path) -> str:
    """ "" or why not."""
    try:
        to_gguf(weights, file, read_info({part.name: part for part in weights.iterdir()}))
    except FreeholdError as error:
        unknown = "unknown model architecture" in error.message or "does not support" in error.message
        return "not in this llama.cpp" if unknown else f"no: {_short(error)}"
    return ""


def _greedy(engine: Engine) -> list[str]:
    requests = [GenerationRequest(prompt, 8) for prompt in PROMPTS]
    answers = {index: completion.text for index, completion in engine.generate(requests)}
    if isinstance(engine, LlamaEngine):
        engine.close()
    # one engine writes special tokens out, the other leaves them away
    return [_SPECIAL.sub("", answers[index]) for index in sorted(answers)]


def _answers(weights: Path, file: Path) -> str:
    ours = _greedy(LlamaEngine(file, context_length=128))
    theirs = _greedy(TransformersEngine(weights, context_length=128))
    equal = sum(mine == right for mine, right in zip(ours, theirs, strict=True))
    return "yes" if equal == len(PROMPTS) else f"no: {equal} of {len(PROMPTS)} equal"


def _tunes(preferred: Path, weights: Path, work: Path) -> tuple[str, Any]:
    """What trains it, and (the result, the weights it belongs to)."""
    known = preferred if backends.knows(preferred) else weights
    try:
        result = run(ROWS, known, TuneOptions(RECIPE, device="cpu"), work)
    except FreeholdError as error:
        return f"no: {_short(error)}", None
    trainer = next(reason for reason in result.reasons if reason.startswith("trainer: "))
    trainer = trainer.removeprefix("trainer: ").partition(",")[0]
    losses = [loss for _, loss in result.tuned.history.train]
    if losses[-1] > 0.95 * losses[0]:
        return f"no: the loss did not fall with {trainer}", None
    return trainer, (result, known)


def _run_tuned(tuned: Any, folder: Path) -> None:
    """The tuned model, merged, answers in llama.cpp."""
    result, weights = tuned
    merged = write_files(folder / "tuned", result.tuned, weights, "base").merged
    if merged.is_dir():
        target = folder / "tuned.gguf"
        to_gguf(merged, target, read_info({part.name: part for part in merged.iterdir()}))
        merged = target
    _greedy(LlamaEngine(merged, context_length=128))


def _quantized(file: Path, target: Path) -> None:
    quantize(file, target, "Q8_0", threads=1)
    _greedy(LlamaEngine(target, context_length=128))


HEAD = """# Architectures

Each line was measured on random weights of a few layers, 64 wide: `python -m tests.docs.architectures`
measures them again and writes this page; a slow test holds it true.

- **Converts**: llama.cpp's own converter writes a GGUF file, its tokens equal the original tokenizer's, and
  the engine accepts it. "not in this llama.cpp" where the engine does not know the architecture.
- **Loads**: the GGUF file answers in the engine that serves.
- **Same answers**: greedy answers to three prompts, 8 tokens each, equal those of transformers in 32 bit.
- **Tunes**: the loss falls in 20 steps, with Freehold's own trainer ("ours") or with transformers and PEFT.
  Gradients of "ours" equal transformers' (`tests/training/test_families.py`).
- **Tuned runs**: the tuned model, merged, becomes GGUF and answers.
- **Quantizes**: the GGUF in 8 bit (`Q8_0`) answers.

Architectures that are not in the list are converted where llama.cpp's converter knows them, and tuned by
transformers where it loads them as causal models; no test says so.

| Architecture | Converts | Loads | Same answers | Tunes | Tuned runs | Quantizes |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Write the page; names on the command line: measure these only."""
    known = DOCUMENT.read_text().splitlines() if DOCUMENT.exists() else []
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in known}
    with converter():
        for name in sys.argv[1:] or CASES:
            with tempfile.TemporaryDirectory() as folder:
                lines[name] = measure(name, Path(folder)).line(name)
                print(lines[name], flush=True)
    DOCUMENT.write_text(HEAD + "".join(f"{lines[name]}\n" for name in CASES if name in lines))


if __name__ == "__main__":
    main()
