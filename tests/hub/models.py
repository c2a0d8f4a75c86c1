"""Tiny models with random weights, in folders and files as people have them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["<s>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz .,"]
#: Settings that every architecture takes or leaves aside; in OWN, None is one that an architecture has not.
SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
OWN: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "falcon": {"head_dim": None},
    "gpt_neox": {"num_key_value_heads": 4},
    "bloom": {"n_layer": 2, "n_head": 4},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "deepseek_v3": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "n_group": 1,
        "topk_group": 1,
        "kv_lora_rank": 8,
        "q_lora_rank": 8,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4,
    },
}


def tokenizer(folder: Path) -> None:
    """A tokenizer of single letters that names its end."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})
    )


def decoder(folder: Path, kind: str = "llama", **settings: Any) -> Path:
    """A folder of safetensors that answers, of the architecture ``kind``."""
    from transformers import AutoConfig, AutoModelForCausalLM

    values = {**SMALL, **OWN.get(kind, {}), **settings}
    config = AutoConfig.for_model(kind, **{key: value for key, value in values.items() if value is not None})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer(folder)
    return folder


def other(folder: Path, kind: str, automatic: str, **settings: Any) -> Path:
    """A folder of a model that does not answer, made by one of transformers' automatic classes."""
    import transformers

    config = transformers.AutoConfig.for_model(kind, **settings)
    getattr(transformers, automatic).from_config(config).save_pretrained(folder)
    tokenizer(folder)
    return folder


def adapter(folder: Path, base: Path, *, named: str = "", **settings: Any) -> Path:
    """A PEFT adapter on a folder's model, its factors random. ``named``: the base's name in it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    tuned = get_peft_model(
        model,
        LoraConfig(
            **{"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False, **settings}
        ),
    )
    tuned.save_pretrained(folder)
    if named:
        edit(folder / "adapter_config.json", base_model_name_or_path=named)
    return folder


def edit(path: Path, **values: Any) -> None:
    """Set values of a JSON file; None removes one."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def tensors(folder: Path) -> dict[str, Any]:
    """The tensors of a folder's model.safetensors."""
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def save(folder: Path, values: dict[str, Any], name: str = "model.safetensors") -> None:
    """Write tensors as a folder's weights."""
    from safetensors.numpy import save_file

    save_file(values, folder / name, metadata={"format": "pt"})


def copied(source: Path, target: Path) -> Path:
    """A folder's copy, to be damaged."""
    return Path(shutil.copytree(source, target))


def gguf(
    path: Path,
    architecture: str = "llama",
    *,
    left_out: tuple[str, ...] = (),
    fields: dict[str, Any] | None = None,
    words: bool = True,
    weights: bool = True,
    bytes_too: bool = True,
) -> Path:
    """A GGUF decoder of two layers. ``left_out``: tensors; ``fields``: further keys (texts, truths and
    numbers); ``bytes_too``: its vocabulary has a token for each byte.
    """
    from gguf import GGUFWriter

    writer = GGUFWriter(str(path), architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    if words:
        writer.add_tokenizer_model("llama")
        single = (
            [f"<0x{number:02X}>" for number in range(256)]
            if bytes_too
            else [f"unused{number}" for number in range(256)]
        )
        writer.add_token_list([*WORDS, *single])
        writer.add_token_scores([0.0] * (len(WORDS) + 256))
        writer.add_token_types([3, 3, 2, *[1] * (len(WORDS) - 3), *[6 if bytes_too else 1] * 256])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
    for key, value in (fields or {}).items():
        {bool: writer.add_bool, str: writer.add_string, int: writer.add_uint32}[type(value)](key, value)
    for name, shape in _shapes().items() if weights else ():
        if name not in left_out:
            writer.add_tensor(
                name, np.random.default_rng(len(name)).normal(size=shape).astype(np.float32) * 0.1
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(WORDS) + 256, 32),
        "output_norm.weight": (32,),
        "output.weight": (len(WORDS) + 256, 32),
    }
    for layer in range(2):
        found |= {
            f"blk.{layer}.{name}.weight": shape
            for name, shape in {
                "attn_norm": (32,),
                "ffn_norm": (32,),
                "attn_q": (32, 32),
                "attn_k": (16, 32),
                "attn_v": (16, 32),
                "attn_output": (32, 32),
                "ffn_gate": (64, 32),
                "ffn_up": (64, 32),
                "ffn_down": (32, 64),
            }.items()
        }
    return found


def cut(path: Path, parts: int = 2) -> list[Path]:
    """A GGUF cut into files as llama.cpp's gguf-split does."""
    from gguf import GGUFReader, GGUFWriter

    reader = GGUFReader(str(path))
    every = list(reader.tensors)
    step = -(-len(every) // parts)
    made: list[Path] = []
    for number in range(parts):
        target = path.with_name(f"{path.stem}-{number + 1:05}-of-{parts:05}.gguf")
        writer = GGUFWriter(str(target), "llama")
        if number == 0:
            _copy_keys(reader, writer)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", parts)
        writer.add_int32("split.tensors.count", len(every))
        for tensor in every[number * step : (number + 1) * step]:
            writer.add_tensor(tensor.name, np.asarray(tensor.data))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        made.append(target)
    path.unlink()
    return made


def _copy_keys(reader: Any, writer: Any) -> None:
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(
                key, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None
            )


def gguf_adapter(folder: Path) -> Path:
    """A PEFT adapter on the model of :func:`gguf`."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(5)
    stem = "base_model.model.model.layers"
    shapes = {"0.self_attn.q_proj": (32, 32), "1.mlp.down_proj": (32, 64)}
    values = {}
    for name, (rows, columns) in shapes.items():
        values[f"{stem}.{name}.lora_A.weight"] = rng.normal(size=(4, columns)).astype(np.float32)
        values[f"{stem}.{name}.lora_B.weight"] = rng.normal(size=(rows, 4)).astype(np.float32)
    folder.mkdir()
    save_file(values, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "down_proj"],
        "base_model_name_or_path": "org/tiny",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
