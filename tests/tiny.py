"""Models of random weights, so small that loading takes no time: they are read and computed right, or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: What the tiny tokenizer learns its merges from.
_TEXT = (
    "Hello world, this is a small sentence about invoices, orders and broken lamps.",
    "I'll write it again: they don't count 12 or 1234 things, and we've seen three.",
    "The ticket says that the red coat has not come. Please send another one!",
)
#: Shape that every kind shares. Two key heads for four query heads, so that a wrong order of rows shows.
SHAPE: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer(folder: Path) -> None:
    """Write a byte-level BPE tokenizer of up to 384 tokens into ``folder``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    names = ["<|start|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"],
        special_tokens=names,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_TEXT, trainer)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "eos_token": "<|end|>",
                "pad_token": "<|end|>",
                "chat_template": TEMPLATE,
                "tokenizer_class": "PreTrainedTokenizerFast",
            }
        )
    )


def model(
    kind: str, folder: Path, *, seed: int = 0, dtype: str = "float16", tokens: bool = True, **changes: Any
) -> Path:
    """A safetensors folder of the transformers model type ``kind`` with random weights.

    ``changes`` go to its configuration. The weights are of a size that lets layers matter: with transformers'
    own small ones every logit is about the same.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **{**SHAPE, **changes})
    config.dtype = None
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.1)
            else:
                weight.normal_(0, 1.0 if "embed" in name else weight.shape[-1] ** -0.5)
    folder.mkdir(parents=True, exist_ok=True)
    made.to(getattr(torch, dtype)).save_pretrained(folder)
    if tokens:
        tokenizer(folder)
    return folder


def embedder(folder: Path) -> Path:
    """A folder of an embedding model with random weights, as Sentence Transformers writes them: vectors of 32
    numbers."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=SHAPE["vocab_size"],
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    (folder / "1_Pooling").mkdir(parents=True)
    BertModel(config).save_pretrained(folder)
    tokenizer(folder)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder
