import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freehold.core import progress
from freehold.core.errors import DoesNotFit
from freehold.models.formats.decoders import to_halves, to_interleaved
from freehold.training.adapter import load_peft, save_peft
from freehold.training.loop import Trainer
from freehold.training.recipe import Recipe, plan

ROWS = [([1, 9690, 198, 100 + i], [200 + i, 2]) for i in range(24)]
RECIPE = Recipe(rank=2, alpha=4.0, batch_rows=4, steps=6, validations=3, precision="f32", checkpoint_s=0.0)


@pytest.mark.slow
def test_a_run_cut_off_and_resumed_ends_as_an_unbroken_one(smollm2: Path, tmp_path: Path) -> None:
    whole = Trainer(smollm2, ROWS, ROWS[:8], RECIPE).run(progress.silent)

    class Cut(Exception):
        pass

    def cut(event: progress.Event) -> None:
        if event.done == 5:
            raise Cut

    with pytest.raises(Cut):
        Trainer(smollm2, ROWS, ROWS[:8], RECIPE).run(cut, tmp_path / "c.safetensors")
    resumed = Trainer(smollm2, ROWS, ROWS[:8], RECIPE).run(progress.silent, tmp_path / "c.safetensors")
    assert resumed.history.valid == whole.history.valid
    for name, (a, b, _) in whole.factors.items():
        assert torch.equal(a, resumed.factors[name][0])
        assert torch.equal(b, resumed.factors[name][1])
    assert whole.history.train[-1][1] < whole.history.train[0][1]


@pytest.mark.parametrize(("rows", "size"), [(64, 8), (61, 8), (10, 8), (20, 5), (1100, 8)])
def test_an_epoch_holds_every_row_once_in_full_batches_of_even_length(
    smollm2: Path, rows: int, size: int
) -> None:
    made = Trainer(smollm2, ROWS, [], RECIPE)
    made.recipe = replace(RECIPE, batch_rows=size)
    made.train = [([7] * (2 + 40 * row // rows), 1) for row in range(rows)]
    batches = made.batches(0)
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert len(batches) == math.ceil(rows / size)
    full = [sum(map(made.length, batch)) for batch in batches if len(batch) == size]
    assert len(full) == rows // size
    assert max(full) - min(full) <= 40
    assert made.batches(0) == batches
    if rows > 2 * size:  # two batches have one order: the full one first
        assert any(made.batches(epoch) != batches for epoch in range(1, 4))


def test_rows_that_fill_no_batch_are_one_batch(smollm2: Path) -> None:
    made = Trainer(smollm2, ROWS, [], RECIPE)
    made.recipe = replace(RECIPE, batch_rows=8)
    made.train = made.train[:3]
    assert [sorted(batch) for batch in made.batches(0)] == [[0, 1, 2]]


def test_the_plan_fits_the_time_and_says_why() -> None:
    recipe, reason = plan(Recipe(), rows=1000, rows_per_second=10.0, seconds=200.0)
    assert recipe.steps * recipe.batch_rows / 10.0 <= 200.0
    assert "10.0 rows/s measured" in reason
    assert plan(Recipe(), rows=100, rows_per_second=1000.0, seconds=1000.0)[0].epochs <= 6.0
    with pytest.raises(DoesNotFit, match="too few to learn from"):
        plan(Recipe(), rows=1000, rows_per_second=1.0, seconds=20.0)


def test_rotary_orders_are_each_others_inverse() -> None:
    import numpy as np

    rows = np.arange(24 * 5, dtype=np.float32).reshape(24, 5)
    assert (to_interleaved(to_halves(rows, 3), 3) == rows).all()


@pytest.mark.slow
def test_the_adapter_loads_in_peft(tmp_path: Path, smollm2: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    trainer = Trainer(smollm2, ROWS, ROWS[:8], RECIPE)
    with torch.no_grad():
        for group in trainer.model.groups():
            for factor in group.b:
                factor.normal_(0, 0.05, generator=torch.Generator().manual_seed(2))
    save_peft(tmp_path, trainer.factors(), RECIPE, "smollm2")
    factors, scale = load_peft(tmp_path)
    assert scale == 2.0
    assert set(factors) == set(trainer.factors())
    base = AutoModelForCausalLM.from_pretrained(smollm2.parent, gguf_file=smollm2.name, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    prompt, answer = ROWS[0]
    with torch.no_grad():
        logits = tuned(torch.tensor([prompt + answer])).logits[0]
        theirs = torch.nn.functional.cross_entropy(
            logits[-3:-1], torch.tensor(answer), reduction="sum"
        ).item()
        from freehold.training.decoder import pack

        ours = trainer.model.answer_loss(pack([], [(prompt + answer, 2)])).item()
    assert ours == pytest.approx(theirs, rel=1e-3)
