"""The libraries' decoder: any causal model that transformers loads, with adapters by PEFT.

It has the interface of :class:`freehold.training.decoder.Decoder`, so the same loop trains it on the same
batches, with the same masks, checkpoints and result. It computes every row with its prefix in full, and is
slower for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from freehold.core.device import Device
from freehold.core.errors import MissingPart, Unsupported
from freehold.training.decoder import Packed
from freehold.training.lora import Factor
from freehold.training.recipe import Recipe

#: What PEFT puts in front of a module's name.
_STEM = "base_model.model."


class LibraryGroup:
    """One adapted matrix, as the loop sees :class:`freehold.training.lora.LoraGroup`."""

    def __init__(self, name: str, layer: Any):
        self.name, self._layer = name, layer

    def factors(self) -> dict[str, Factor]:
        """Module name -> its adapter, as views of what is trained."""
        layer, magnitude = self._layer, None
        if "default" in layer.lora_magnitude_vector:
            magnitude = layer.lora_magnitude_vector["default"].weight.detach()
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        return {self.name: Factor(a.detach(), b.detach(), magnitude)}


class LibraryDecoder(torch.nn.Module):
    """A frozen model of transformers with PEFT's LoRA on every linear layer but the head."""

    #: The layers without adapters are computed in every step.
    keeps_lower = False

    def __init__(self, folder: Path, recipe: Recipe, device: Device):
        super().__init__()
        base = _load(folder, recipe, device)
        self.model = _adapted(base, recipe)
        self._keeps = "logits_to_keep" in inspect.signature(base.forward).parameters

    def lower(self, batch: Packed) -> torch.Tensor:
        """Not computed apart: see :attr:`keeps_lower`."""
        raise NotImplementedError

    def groups(self) -> list[LibraryGroup]:
        """All adapted matrices, bottom layer first."""
        from peft.tuners.lora import LoraLayer

        return [
            LibraryGroup(_short_name(name), layer)
            for name, layer in self.model.named_modules()
            if isinstance(layer, LoraLayer)
        ]

    def answer_losses(self, batch: Packed, chunk: int = 0, lower: torch.Tensor | None = None) -> torch.Tensor:
        """Cross-entropy (nats) of every answer token, in the order of ``batch.targets``."""
        return F.cross_entropy(self._logits(batch), batch.targets, reduction="none")

    def answer_loss(self, batch: Packed, chunk: int = 0, lower: torch.Tensor | None = None) -> torch.Tensor:
        """Summed cross-entropy (nats) over the batch's answer tokens."""
        return self.answer_losses(batch).sum()

    def answer_check(self, batch: Packed, chunk: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy of each answer token, and whether it is the likeliest."""
        logits = self._logits(batch)
        losses = F.cross_entropy(logits, batch.targets, reduction="none")
        return losses, logits.argmax(-1) == batch.targets

    def _logits(self, batch: Packed) -> torch.Tensor:
        """Logits (answer tokens, vocabulary) in 32 bit, in the order of ``batch.targets``."""
        parts: list[torch.Tensor] = []
        for tokens, row, column in _rows_by_group(batch):
            columns, place = column.unique(return_inverse=True)
            options = {"logits_to_keep": columns} if self._keeps else {}
            logits = self.model(input_ids=tokens, use_cache=False, **options).logits
            parts.append(logits[row, place if self._keeps else column].float())
        return torch.cat(parts)


def _rows_by_group(batch: Packed) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """A batch's rows of equal length, each with the prefix: tokens (rows, length), and the row and the column
    of each output that predicts an answer token.

    What fills a row up stands after its last token, where nothing that counts sees it.
    """
    prefix = batch.tokens[: batch.prefix]
    starts = [first for first, _, _ in batch.groups]
    # an output of the prefix itself belongs to the row that the next answer token is in
    owner = _owners(batch)
    for at, (first, rows, length) in enumerate(batch.groups):
        end = starts[at + 1] if at + 1 < len(starts) else first + rows * length
        chosen = (owner >= first) & (owner < end)
        where, row = batch.predict_at[chosen], (owner[chosen] - first) // length
        column = torch.where(where < batch.prefix, where, where - first - row * length + batch.prefix)
        own = batch.tokens[first : first + rows * length].view(rows, length)
        yield torch.cat([prefix.expand(rows, -1), own], dim=1), row, column


def _owners(batch: Packed) -> torch.Tensor:
    """For each answer token, a token of the row that it is in; rows' answers follow one another."""
    ends = [*batch.starts[1:], len(batch.tokens)]
    owner, row = batch.predict_at.clone(), -1
    for at, where in enumerate(batch.predict_at.tolist()):
        # only a row's first token can be predicted by the prefix, and each row has an answer
        if row < 0 or where < batch.prefix or where >= ends[row]:
            row += 1
        owner[at] = max(where, batch.starts[row])
    return owner


def _load(folder: Path, recipe: Recipe, device: Device) -> Any:
    """The frozen model. Raises Unsupported, BadModel."""
    import transformers

    from freehold.inference.transformers_engine import load

    transformers.utils.logging.disable_progress_bar()
    if not folder.is_dir():
        raise Unsupported(
            f"transformers trains from safetensors, and {folder.name} is a GGUF file",
            "tune the safetensors model that it was made of",
        )
    options: dict[str, Any] = {}
    if recipe.base_bits != 16:
        options["quantization_config"] = _in_blocks(recipe, device)
    model = load(transformers.AutoModelForCausalLM, folder, **options)
    model.requires_grad_(False)
    if recipe.base_bits == 16:
        model.to(device.torch, torch.bfloat16 if recipe.precision == "bf16" else torch.float32)
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    return model


def _in_blocks(recipe: Recipe, device: Device) -> Any:
    """bitsandbytes' settings for a base in 8 or 4 bit. Raises Unsupported, MissingPart."""
    import importlib.util

    if device.torch.type != "cuda":
        raise Unsupported(
            f"transformers holds a base in {recipe.base_bits} bit on CUDA cards only",
            "tune with the base in 16 bit, or with --trainer ours",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingPart("bitsandbytes is not installed", "pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    if recipe.base_bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def _adapted(base: Any, recipe: Recipe) -> Any:
    """The model with PEFT's adapters. Raises MissingPart."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingPart("peft is not installed", "pip install peft") from error
    layers = None
    if recipe.frozen_layers:
        layers = list(range(recipe.frozen_layers, base.config.get_text_config().num_hidden_layers))
    settings = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,  # type: ignore[arg-type]  # PEFT takes any number
        lora_dropout=0.0,
        target_modules=_linear_modules(base),
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, settings)


def _linear_modules(base: Any) -> list[str]:
    """Names of the linear layers but the head. What a state-space layer's own kernel multiplies has none.

    Raises Unsupported for GPT-2's layers, whose matrices lie the other way round.
    """
    from transformers.pytorch_utils import Conv1D

    if any(isinstance(module, Conv1D) for module in base.modules()):
        raise Unsupported(
            f"the architecture {base.config.model_type!r} keeps its matrices transposed and cannot be tuned",
            "choose a model of another architecture (docs/architectures.md)",
        )
    head = base.get_output_embeddings()
    return [
        name
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and not name.endswith("mamba.out_proj")
    ]


def _short_name(name: str) -> str:
    """A module's name in :data:`freehold.training.loop.Factors`: below ``model.``, or whole after a dot."""
    whole = name.removeprefix(_STEM)
    return whole.removeprefix("model.") if whole.startswith("model.") else f".{whole}"
