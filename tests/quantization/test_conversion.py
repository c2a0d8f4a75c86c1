import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from freehold.core.errors import Unsupported
from freehold.models.formats import gguf
from freehold.models.formats.decoders import read_tensor
from freehold.models.info import read_info
from freehold.quantization.conversion import converter, to_gguf
from freehold.training.adapter import merge_gguf
from tests import tiny

pytestmark = pytest.mark.slow

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "rope_theta": 5e5,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 128}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
GEMMA = {
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "num_hidden_layers": 7,
    "sliding_window": 16,
    "tie_word_embeddings": True,
}
#: Model type of transformers and what its configuration says beside :data:`tests.tiny.SHAPE`.
CONVERTED = {
    "llama": ("llama", {}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama with longer heads": ("llama", {"head_dim": 32}),
    "llama 3.1": ("llama", {"rope_parameters": LLAMA3}),
    "llama, scaled": ("llama", {"rope_parameters": LINEAR}),
    "llama in bfloat16": ("llama", {"dtype": "bfloat16"}),
    "mistral": ("mistral", {}),
    "qwen2": ("qwen2", {}),
    "qwen2, one table of tokens": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2, scaled": ("qwen2", {"rope_parameters": LINEAR}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "gemma3": ("gemma3_text", GEMMA),
    "llama, yarn": ("llama", {"rope_parameters": YARN}),
    "mixtral": ("mixtral", {"num_local_experts": 4}),
    "gemma2": ("gemma2", {**GEMMA, "num_hidden_layers": 2}),
    "phi3": ("phi3", {"sliding_window": None}),
    "granite": ("granite", {"residual_multiplier": 0.3, "logits_scaling": 2.0}),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {"num_hidden_layers": 4}),
    "stablelm": ("stablelm", {}),
    "bloom": ("bloom", {"n_layer": 2, "n_head": 4}),
    "cohere": ("cohere", {"tie_word_embeddings": True}),
    "starcoder2": ("starcoder2", {}),
    "lfm2": ("lfm2", {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}),
    "glm4": ("glm4", {"head_dim": 16}),
}
#: What is refused, and what the sentence must name.
REFUSED = {
    "opt": (
        "opt",
        {"ffn_dim": 96, "word_embed_proj_dim": 64},
        "Architecture 'OPTForCausalLM' not supported",
    ),
    "cohere with a head of its own": ("cohere", {}, "Can not map tensor 'lm_head.weight'"),
    "experts whose shares do not sum to one": (
        "qwen3_moe",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "norm_topk_prob": False},
        "experts whose shares are not made to sum to one",
    ),
    "another activation": (
        "llama",
        {"hidden_act": "gelu"},
        "cannot run llama with the activation 'gelu'",
    ),
    "llama 3.1 in qwen2": (
        "qwen2",
        {"rope_parameters": LLAMA3},
        "cannot run qwen2 with rotary positions scaled as in Llama 3",
    ),
    "qwen3 with biases": (
        "qwen3",
        {"attention_bias": True},
        "cannot run qwen3 with biases in its attention",
    ),
    "gemma3 of another scale": (
        "gemma3_text",
        {**GEMMA, "query_pre_attn_scalar": 64},
        "cannot run gemma3_text with a query scale",
    ),
    "gemma3 in another order": (
        "gemma3_text",
        {**GEMMA, "layer_types": ["full_attention"] * 7},
        "this order of sliding and full attention",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    """The converter takes seconds to start."""
    with converter():
        yield


def card_of(folder: Path):
    return read_info({file.name: file for file in folder.iterdir()})


@pytest.fixture(scope="module")
def converted(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "model.gguf"
    assert (
        to_gguf(
            smollm2_folder,
            target,
            card_of(smollm2_folder),
            ["And a row of the user's own, with 12,345 things."],
        )
        == "smollm"
    )
    return target


def test_every_tensor_is_that_of_llama_cpps_own_file(converted: Path, smollm2: Path, tmp_path: Path) -> None:
    merge_gguf(tmp_path / "f16.gguf", smollm2, {}, 1.0)
    wanted, ours = gguf.read_header(tmp_path / "f16.gguf"), gguf.read_header(converted)
    theirs = {tensor.name: tensor for tensor in wanted.tensors}
    assert theirs.keys() == {tensor.name for tensor in ours.tensors}
    for tensor in ours.tensors:
        assert (
            read_tensor(converted, tensor) == read_tensor(tmp_path / "f16.gguf", theirs[tensor.name])
        ).all(), tensor.name
    for key in (
        "context_length",
        "attention.head_count_kv",
        "block_count",
        "rope.freq_base",
        "feed_forward_length",
    ):
        assert ours.fields[f"llama.{key}"] == wanted.fields[f"llama.{key}"]
    for key in ("tokenizer.ggml.pre", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.model"):
        assert ours.fields[key] == wanted.fields[key]


def test_llama_cpp_answers_from_it(converted: Path) -> None:
    from freehold.data.templates import choose
    from freehold.inference.interface import PromptEncoder
    from freehold.inference.llama_engine import LlamaEngine
    from freehold.inference.request import GenerationRequest

    with LlamaEngine(converted, context_length=256) as engine:
        own = gguf.read_header(converted).fields["tokenizer.chat_template"]
        asking = PromptEncoder(
            choose(own, bos_token=engine.vocabulary.bos_token, eos_token=engine.vocabulary.eos_token),
            engine.vocabulary,
        )
        ((_, completion),) = engine.generate(
            [GenerationRequest(tuple(asking.prompt((("user", "What is the capital of France?"),))), 16)]
        )
    assert "Paris" in completion.text
    assert completion.finish == "stop"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("WordPiece", "llama.cpp's converter cannot convert"), ("cut", "no pre-tokenizer of llama.cpp")],
)
def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(
    smollm2_folder: Path, tmp_path: Path, kind: str, sentence: str
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(smollm2_folder, folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    if kind == "WordPiece":
        raw["model"] = {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "a": 1},
        }
    else:
        raw["pre_tokenizer"] = {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"String": "e"}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        }
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(Unsupported, match=sentence):
        to_gguf(folder, tmp_path / "never.gguf", card_of(folder))
    assert not list(tmp_path.glob("*.gguf"))


@pytest.mark.parametrize("case", CONVERTED)
def test_a_converted_model_computes_what_transformers_does(case: str, tmp_path: Path) -> None:
    from freehold.inference.llama_engine import LlamaEngine
    from freehold.inference.transformers_engine import TransformersEngine

    kind, changes = CONVERTED[case]
    folder = tiny.model(kind, tmp_path / "folder", **changes)
    assert to_gguf(folder, tmp_path / "model.gguf", card_of(folder), ["a row about 12 lamps"]) == "gpt-2"
    tokens = np.random.default_rng(0).integers(5, 380, 48).tolist()
    rows = [(tokens[:8], tokens[8:])]
    theirs = np.array(TransformersEngine(folder, context_length=256).score(rows)[0])
    with LlamaEngine(tmp_path / "model.gguf", context_length=256) as engine:
        ours = np.array(engine.score(rows)[0])
    assert theirs.std() > 0.3  # a model whose answers are all alike would prove nothing
    assert np.abs(ours - theirs).max() < 0.005 * max(1.0, float(np.abs(theirs).max()) / 10)


@pytest.mark.parametrize("case", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused_with_a_way_out(case: str, tmp_path: Path) -> None:
    kind, changes, sentence = REFUSED[case]
    folder = tiny.model(kind, tmp_path / "folder", **changes)
    with pytest.raises(Unsupported, match=re.escape(sentence)) as refused:
        to_gguf(folder, tmp_path / "never.gguf", card_of(folder))
    assert "freehold pull file:MODEL.gguf" in refused.value.remedy
    assert not list(tmp_path.glob("*.gguf"))


@pytest.mark.parametrize(
    ("kind", "changes"), [("mistral", {}), ("qwen2", {"use_sliding_window": True, "max_window_layers": 0})]
)
def test_a_window_that_llama_cpp_does_not_slide_bounds_the_context(
    kind: str, changes: dict[str, object], tmp_path: Path
) -> None:
    folder = tiny.model(kind, tmp_path / "folder", sliding_window=128, **changes)
    to_gguf(folder, tmp_path / "model.gguf", card_of(folder))
    assert read_info({"model.gguf": tmp_path / "model.gguf"}).context_length == 128


def test_weights_in_blocks_are_not_taken_for_floats(tmp_path: Path) -> None:
    folder = tiny.model("llama", tmp_path / "folder")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    save_file({**tensors, name: tensors[name].to(torch.int8)}, folder / "model.safetensors")
    with pytest.raises(Unsupported, match=r"up_proj\.weight has the type I8"):
        to_gguf(folder, tmp_path / "never.gguf", card_of(folder))


def test_what_old_files_hold_of_the_configuration_is_left_out(tmp_path: Path) -> None:
    folder = tiny.model("llama", tmp_path / "folder")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)},
        folder / "model.safetensors",
    )
    assert to_gguf(folder, tmp_path / "model.gguf", card_of(folder))
