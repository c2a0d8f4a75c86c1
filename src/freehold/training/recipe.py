"""All that decides a tuning run, and how a time budget becomes one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from freehold.core.device import CARD_TOKENS, Device
from freehold.core.errors import DoesNotFit


@dataclass(frozen=True)
class Recipe:
    """A LoRA run on all linear layers. Learning rate falls by a cosine to a tenth after a linear warm-up.

    ``steps`` 0: ``epochs`` decide. ``deadline_s``: seconds the training loop may take, 0 for no limit.
    ``base_bits`` 8 or 4: the frozen matrices are held in blocks of so many bits (QLoRA). ``frozen_layers``:
    so many layers from below get no adapter, and what they compute is kept after the first epoch.
    ``checkpointing``: a layer's inner values are computed again for the backward pass instead of kept.
    """

    rank: int = 16
    alpha: float = 32.0
    learning_rate: float = 1e-3
    batch_rows: int = 16
    epochs: float = 3.0
    steps: int = 0
    warmup: float = 0.06
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0
    precision: str = "bf16"
    micro_tokens: int = 1536
    validations: int = 8
    valid_rows: int = 256
    patience: int = 4
    checkpoint_s: float = 60.0
    deadline_s: float = 0.0
    base_bits: int = 16
    dora: bool = False
    rslora: bool = False
    frozen_layers: int = 0
    checkpointing: bool = False
    share_prefix: bool = True
    beta: float = (
        0.1  # preference tuning: how far the tuned model may leave the untuned one; smaller is farther
    )

    @property
    def scale(self) -> float:
        """What the adapter's product is multiplied with (rsLoRA: Kalajdzievski 2023, arXiv 2312.03732)."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    def on(self, device: Device) -> Recipe:
        """The same as ``device`` can do it: in 32 bit where it has no bf16, and with as many tokens at once
        as keep a card busy.
        """
        precision = "f32" if device.precision == "f32" else self.precision
        tokens = max(self.micro_tokens, CARD_TOKENS) if device.is_card else self.micro_tokens
        return replace(self, precision=precision, micro_tokens=tokens)

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        return asdict(self)


#: The usual learning rate for pairs of answers: they need much smaller steps than answers do.
PREFERENCE_RATE = 1e-4
#: An epoch beyond this many brings small models little and costs as much as the first.
MOST_EPOCHS = 6.0
#: Share of the tuning time left free for the optimizer, validation, checkpoints and slower steps; measured,
#: see docs/log.md.
RESERVE = 0.12


def plan(
    recipe: Recipe, *, rows: int, rows_per_second: float, seconds: float, choose_rank: bool = True
) -> tuple[Recipe, str]:
    """Fit epochs and steps into ``seconds`` at the measured speed; the recipe and the reason.

    Steps that the recipe states stay as they are, and so does its rank without ``choose_rank``. Raises
    DoesNotFit where the time is too short for that.
    """
    affordable = int(rows_per_second * seconds * (1 - RESERVE))
    if recipe.steps:
        return _stated_steps(recipe, affordable, rows_per_second, seconds)
    steps = min(affordable, int(MOST_EPOCHS * rows)) // recipe.batch_rows
    if steps < 8:
        raise DoesNotFit(
            f"{seconds:.0f} s of tuning at {rows_per_second:.1f} rows/s are {affordable} rows, too few to "
            "learn from",
            "allow more time: raise --time, or the --budget of a trial, or pass it --no-tune",
        )
    epochs = steps * recipe.batch_rows / rows
    rank = recipe.rank if not choose_rank else 16 if epochs >= 0.5 else 8
    bound = (
        "the time"
        if affordable < MOST_EPOCHS * rows
        else f"{MOST_EPOCHS:.0f} epochs, after which more brings little"
    )
    reason = (
        f"{rows_per_second:.1f} rows/s measured, {seconds:.0f} s to spend: {steps} steps of "
        f"{recipe.batch_rows} rows, {epochs:.2f} epochs of {rows} rows, rank {rank}; bound by {bound}"
    )
    return replace(
        recipe,
        steps=steps,
        epochs=epochs,
        rank=rank,
        alpha=recipe.alpha * rank / recipe.rank,
        deadline_s=seconds,
    ), reason


def _stated_steps(
    recipe: Recipe, affordable: int, rows_per_second: float, seconds: float
) -> tuple[Recipe, str]:
    """The recipe with its own number of steps. Raises DoesNotFit where these take longer than ``seconds``."""
    rows = recipe.steps * recipe.batch_rows
    if affordable < rows:
        needed = rows / (rows_per_second * (1 - RESERVE))
        raise DoesNotFit(
            f"{recipe.steps} steps of {recipe.batch_rows} rows take about {needed:.0f} s at "
            f"{rows_per_second:.1f} rows/s, but only {seconds:.0f} s are allowed",
            "raise --time, lower --steps, or leave one of them out",
        )
    reason = (
        f"{recipe.steps} steps, as requested; they fit {seconds:.0f} s at the {rows_per_second:.1f} rows/s "
        "measured"
    )
    return replace(recipe, deadline_s=seconds), reason
