"""Recipe options on real weights: each against the plain run."""

from pathlib import Path

import pytest
import torch

from freehold.training.decoder import Decoder, pack
from freehold.training.loop import Trainer
from freehold.training.recipe import Recipe
from freehold.training.weights import load_weights

pytestmark = pytest.mark.slow

ROWS = [
    ([1, 9690, 198, 5461, 7742], [506, 3714]),
    ([1, 9690, 198, 30, 19842], [351]),
    ([1, 9690, 198, 4368], [805, 30, 2]),
]


def trainer(smollm2: Path, **options: object) -> Trainer:
    recipe = Recipe(rank=4, alpha=8.0, batch_rows=3, precision="f32", **options)  # type: ignore[arg-type]
    made = Trainer(smollm2, ROWS, ROWS, recipe)
    with torch.no_grad():
        for group in made.model.groups():
            if group.rank:
                for factor in group.b:
                    factor.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    return made


def gradients(made: Trainer) -> dict[str, torch.Tensor]:
    made.gradients([0, 1, 2])
    found = {name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None}
    made.optimizer.clear()
    return found


def near(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float = 1e-3) -> None:
    assert ours.keys() == theirs.keys()
    for name, mine in ours.items():
        assert float((mine - theirs[name]).norm()) <= tolerance * float(theirs[name].norm()), name


@pytest.fixture(scope="module")
def wanted(smollm2: Path) -> dict[str, torch.Tensor]:
    return gradients(trainer(smollm2))


def test_computing_layers_again_changes_nothing(smollm2: Path, wanted: dict[str, torch.Tensor]) -> None:
    near(gradients(trainer(smollm2, checkpointing=True)), wanted)


def test_rows_in_full_give_the_same_gradients(smollm2: Path, wanted: dict[str, torch.Tensor]) -> None:
    near(gradients(trainer(smollm2, share_prefix=False)), wanted)


def test_frozen_layers_are_computed_once(smollm2: Path) -> None:
    made = trainer(smollm2, frozen_layers=20)
    assert {name.split(".")[1] for name in made.factors()} == {str(i) for i in range(20, 30)}
    first = gradients(made)

    def refuse(_: object) -> torch.Tensor:
        raise AssertionError("the lower layers were computed a second time")

    made.model.lower = refuse  # type: ignore[method-assign]
    near(gradients(made), first, 1e-6)
    made.model.lower = Decoder.lower.__get__(made.model)  # type: ignore[method-assign]
    batch = pack(made.prefix, made.train)
    assert made.model.answer_loss(batch).item() == pytest.approx(
        made.model.answer_loss(batch, lower=made._lower([0, 1, 2], batch)).item(), rel=1e-5
    )


@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.05), (4, 0.35)])
def test_a_base_in_blocks_loses_little(smollm2: Path, bits: int, tolerance: float) -> None:
    batch = pack([], [(p + a, len(a)) for p, a in ROWS])
    plain = Decoder(load_weights(smollm2, torch.float32), 4, 8.0, 0).answer_loss(batch).item()
    coarse = Decoder(load_weights(smollm2, torch.float32), 4, 8.0, 0, bits=bits).answer_loss(batch).item()
    assert coarse == pytest.approx(plain, rel=tolerance)
    assert coarse != plain


def test_dora_and_rslora_adapters_load_in_peft(smollm2: Path, smollm2_folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from freehold.training import adapter

    made = trainer(smollm2_folder, dora=True, rslora=True)
    assert made.recipe.scale == 4.0
    with torch.no_grad():
        for group in made.model.groups():
            assert group.magnitude is not None
            group.magnitude.mul_(1.01)
    adapter.save_peft(tmp_path, made.factors(), made.recipe, "base")
    theirs = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32), tmp_path
    ).eval()
    tokens, answer = ROWS[0][0] + ROWS[0][1], len(ROWS[0][1])
    with torch.no_grad():
        logits = theirs(torch.tensor([tokens])).logits[0]
        expected = torch.nn.functional.cross_entropy(
            logits[-answer - 1 : -1], torch.tensor(tokens[-answer:]), reduction="sum"
        ).item()
        assert made.model.answer_loss(pack([], [(tokens, answer)])).item() == pytest.approx(
            expected, rel=1e-3
        )


def test_a_checkpoint_holds_magnitudes_too(smollm2: Path, tmp_path: Path) -> None:
    from freehold.training.loop import History

    made = trainer(smollm2, dora=True)
    made.gradients([0, 1, 2])
    made.update(0, 10)
    best = made.factors()
    made.save(tmp_path / "c.safetensors", 1, best, History(train=[(1, 2.0)]))
    again = trainer(smollm2, dora=True)
    step, kept, _, _ = again.restore(tmp_path / "c.safetensors")
    assert step == 1
    assert kept.keys() == best.keys()
    for name, factor in best.items():
        for mine, theirs in zip(kept[name], factor, strict=True):
            assert mine is not None
            assert theirs is not None
            assert torch.equal(mine, theirs)
