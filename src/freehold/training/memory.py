"""How much memory a tuning run takes, said before it starts, and the recipe that fits a limit.

The terms count what the code of :mod:`decoder`, :mod:`lora` and :mod:`attention` keeps; the three constants
were fitted to measured peaks with ``benchmarks/memory_plan.py`` (see docs/log.md for the errors left).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from freehold.core.device import CARD_TOKENS, Device
from freehold.core.errors import DoesNotFit
from freehold.models.formats.decoders import DecoderConfig
from freehold.training.decoder import CARD_CHUNK, CHUNK, ROUND
from freehold.training.loop import shared_prefix
from freehold.training.recipe import Recipe
from freehold.training.training_rows import Row

#: A process with torch, llama.cpp's library and the kernels built for the shapes seen, before any model.
PROCESS_BYTES = 500_000_000
#: Share of what is counted as living within a step that is there at the peak.
LIVING = 0.9
#: What passes through a layer and what the allocator holds between passes, as values of the MLP's width per
#: token.
PASSING = 48
_MICRO = (CARD_TOKENS, 8192, 4096, 2048, 1536, 1024, 768, 512, 384, 256, 128)


@dataclass(frozen=True)
class Rows:
    """Shape of the training rows, tokens.

    ``longest`` and ``mean`` own part, ``batch`` own parts of the longest batch, ``prefix`` they share,
    ``answer`` mean, ``total`` in all.
    """

    longest: int
    mean: float
    batch: int
    prefix: int
    answer: float
    total: int


def shape_of(rows: Sequence[Row], recipe: Recipe) -> Rows:
    """Lengths of ``rows`` that the plan rests on."""
    prefix = len(shared_prefix(rows)) if recipe.share_prefix and len(rows) > 1 else 0
    lengths = sorted(len(prompt) + len(answer) - prefix for prompt, answer in rows)
    answer = sum(len(answer) for _, answer in rows) / len(rows)
    mean, piece = sum(lengths) / len(lengths), max(1, recipe.batch_rows // 4)
    # batches are dealt out evenly, so only one that holds the longest piece can be longer than the mean
    batch = max(
        round(mean * recipe.batch_rows), sum(lengths[-piece:]) + lengths[0] * (recipe.batch_rows - piece)
    )
    return Rows(lengths[-1], mean, batch, prefix, answer, sum(lengths))


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes by part; ``total`` is the predicted peak."""

    process: int
    frozen: int
    adapter: int
    activations: int
    logits: int
    kept: int

    @property
    def total(self) -> int:
        """What a step holds: reading and merging go by pieces of a matrix and need less."""
        return (
            self.process
            + self.frozen
            + self.adapter
            + self.kept
            + int(LIVING * (self.activations + self.logits))
        )


def matrices(config: DecoderConfig) -> list[tuple[int, int, int]]:
    """(out, in, matrices sharing the input) of a layer's adapted groups."""
    query, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return [
        (query + 2 * keys, config.hidden, 3),
        (config.hidden, query, 1),
        (2 * config.feed_forward, config.hidden, 2),
        (config.hidden, config.feed_forward, 1),
    ]


def predict(
    config: DecoderConfig, recipe: Recipe, rows: Rows, *, tied: bool, device: Device | None = None
) -> MemoryNeed:
    """Predicted peak memory of a run, on a card that of its tensors. ``tied``: the head is the embedding.

    On a card, the process and the best adapter are in other memory, and flash attention keeps no
    probabilities. The constants were fitted on processors; benchmarks/gpu.py shows how far they are off on a
    card.
    """
    card = device is not None and device.is_card
    flash = card and device is not None and device.flash and recipe.precision == "bf16"
    size = 2 if recipe.precision == "bf16" else 4
    groups = matrices(config)
    tuned_layers = config.layers - recipe.frozen_layers
    per_layer = sum(out * inputs for out, inputs, _ in groups)
    bytes_per_weight = {16: size, 8: 1 + size / 64, 4: 0.5 + size / 64}[recipe.base_bits]
    table = config.vocabulary * config.hidden
    frozen = table * size * (1 if tied else 2) + per_layer * config.layers * bytes_per_weight
    if recipe.base_bits != 16:
        frozen += sum(out * inputs for out, inputs, _ in groups) * size  # one group of each shape, opened
    adapter = tuned_layers * sum(recipe.rank * (inputs * count + out) for out, inputs, count in groups)
    tokens = rows.prefix + max(rows.longest, min(rows.batch, recipe.micro_tokens)) + ROUND / 2
    kept_per_token, widest = _per_token(config, recipe, rows, size, flash=flash)
    layers = kept_per_token * tuned_layers
    if recipe.checkpointing:
        layers = size * config.hidden * tuned_layers + kept_per_token
    micro_rows = max(1.0, (tokens - rows.prefix) / rows.mean)
    chunk = min(CARD_CHUNK if card else CHUNK, micro_rows * rows.answer)
    seen = min(
        rows.total,
        recipe.steps * recipe.batch_rows * rows.mean if recipe.steps else recipe.epochs * rows.total,
    )
    return MemoryNeed(
        process=0 if card else PROCESS_BYTES + rows.total * 40,
        frozen=int(frozen),
        # itself, its gradient, two moments and, in the machine's memory, the best one kept; 4 bytes each
        adapter=int(adapter * (16 if card else 20)),
        activations=int(tokens * (layers + widest)),
        logits=int(chunk * config.vocabulary * 8),  # in 32 bit, and in 16 before and after
        kept=int((rows.prefix + seen) * config.hidden * size) if recipe.frozen_layers else 0,
    )


def _per_token(
    config: DecoderConfig, recipe: Recipe, rows: Rows, size: int, *, flash: bool
) -> tuple[float, float]:
    """Bytes a token keeps in one layer for the backward pass, and the widest passing values of a layer."""
    query, keys, wide = config.heads * config.head_dim, config.kv_heads * config.head_dim, config.feed_forward
    values = 2 * config.hidden + 2 * query + 2 * keys + 2 * wide + 7 * recipe.rank
    values += 0 if flash else config.heads * (rows.mean + rows.prefix)  # attention's probabilities
    values += 2 * config.hidden if config.sandwich_norms else 0
    values += query + keys if config.qk_norm else 0
    values += query + 2 * keys + 2 * config.hidden + 2 * wide if recipe.dora else 0
    return size * values + 8, size * PASSING * wide


def fit(
    config: DecoderConfig,
    recipe: Recipe,
    rows: Rows,
    limit_bytes: int,
    *,
    tied: bool,
    device: Device | None = None,
) -> tuple[Recipe, MemoryNeed, str]:
    """The recipe within ``limit_bytes`` (0: no limit) that costs least time, its need and the reason.

    In this order: smaller parts of a batch, recomputed layers, the base in 8 and in 4 bit. The first two
    change nothing in the result. Raises DoesNotFit, saying what would fit.
    """
    need = predict(config, recipe, rows, tied=tied, device=device)
    bits = recipe.base_bits
    if not limit_bytes or need.total <= limit_bytes:
        return recipe, need, f"as requested: {recipe.micro_tokens} tokens at once, base in {bits} bit"
    least, least_bits = need.total, bits
    for candidate in _smaller(recipe):
        need = predict(config, candidate, rows, tied=tied, device=device)
        if need.total < least:
            least, least_bits = need.total, candidate.base_bits
        if need.total <= limit_bytes:
            layers = "recomputed" if candidate.checkpointing else "kept"
            reason = (
                f"to fit {limit_bytes / 2**30:.2f} GiB: {candidate.micro_tokens} tokens at once, layers "
                f"{layers}, base in {candidate.base_bits} bit"
            )
            return candidate, need, reason
    longest = rows.longest + rows.prefix
    raise DoesNotFit(
        f"tuning needs at least {least / 2**30:.2f} GiB (rows of up to {longest} tokens, base in "
        f"{least_bits} bit, layers recomputed), but only {limit_bytes / 2**30:.2f} GiB are allowed",
        f"raise --memory to {least / 2**30 + 0.05:.1f}GiB, shorten the longest rows, or choose a smaller "
        "model",
    )


def _smaller(recipe: Recipe) -> Iterator[Recipe]:
    """Recipes that need less memory, in the order in which they are tried."""
    for bits in (b for b in (16, 8, 4) if b <= recipe.base_bits):
        for recompute in (False, True):
            for tokens in (m for m in _MICRO if m <= recipe.micro_tokens):
                yield replace(
                    recipe,
                    base_bits=bits,
                    checkpointing=recompute or recipe.checkpointing,
                    micro_tokens=tokens,
                )
