"""A tuned model leaves in every form, whatever made it: rows, pairs, a trial, shrinking, tuning twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from freehold.core import atomic_files
from freehold.core.errors import FreeholdError, StepFailed, Unsupported
from freehold.core.progress import silent
from freehold.data.examples import Example
from freehold.inference.loading import open_engine
from freehold.models.intake import made_here
from freehold.models.lineage import BaseStep, QuantizedStep, ShrunkStep
from freehold.models.store import Model, Store
from freehold.quantization.quantize import quantize
from freehold.runtime.gguf_form import as_gguf
from freehold.training.adapter import load_peft, merge_gguf
from freehold.training.recipe import Recipe
from freehold.training.run import TuneOptions
from freehold.workflows.export import FORMATS, ExportOptions, export
from freehold.workflows.tune import RowsOrigin, tune
from tests import tiny
from tests.runtime.test_gguf_form import factors, files_in, scores, store_adapter

pytestmark = pytest.mark.slow

RECIPE = Recipe(rank=4, alpha=8.0, steps=2, batch_rows=4, validations=1, learning_rate=1e-2)


def rows(count: int = 12, *, rejected: bool = False) -> list[Example]:
    """Rows about lamps and coats; with answers to avoid, where wished."""
    made: list[Example] = []
    for number in range(count):
        thing, other = ("lamp", "coat") if number % 2 else ("coat", "lamp")
        reference = {"rejected": other} if rejected else {"label": thing}
        made.append(
            Example(
                f"row{number}",
                (("user", f"The {thing} of order {number} has not come"), ("assistant", thing)),
                reference,
            )
        )
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a tiny base and one tuned model of every kind."""
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FREEHOLD_HOME", str(folder / "home"))
        store = Store(folder / "home")
        base = store.add(
            "org/tiny",
            made_here(files_in(tiny.model("llama", folder / "folder"))),
            {"source": "hf:org/tiny", "repository": "org/tiny"},
            licence="apache-2.0",
            licence_from="license in README.md",
        )
        made = {"rows": tuned(store, base, "rows"), "pairs": tuned(store, base, "pairs", rejected=True)}
        tuned(store, base, "dora", replace(RECIPE, dora=True))
        tuned(store, made["rows"], "twice")
        quantized = quantize(store.weights(made["rows"]), folder / "q8.gguf", "Q8_0")
        beside = {
            name: store.file(made["rows"], name)
            for name in ("adapter_config.json", "adapter_model.safetensors", "adapter.lora")
        }
        lineage = made["rows"].info.lineage
        store.add(
            "trial/tiny-q8_0",
            made_here({"trial-tiny-q8_0.gguf": folder / "q8.gguf", **beside}),
            {"source": "trial:1"},
            lineage=lineage.then(QuantizedStep(type="Q8_0", digest=quantized.digest)),
        )
        shrunk = quantize(store.weights(made["rows"]), folder / "small.gguf", "Q4_0")
        store.add(
            "small",
            made_here({"small.gguf": folder / "small.gguf", **beside}),
            {"source": "shrink:rows"},
            lineage=lineage.then(
                ShrunkStep(source="rows", revision=made["rows"].revision, digest=shrunk.digest)
            ),
        )
    return store


def tuned(store: Store, base: Model, name: str, recipe: Recipe = RECIPE, *, rejected: bool = False) -> Model:
    examples = rows(rejected=rejected)
    return tune(
        store,
        base,
        examples[:8],
        examples[8:],
        TuneOptions(recipe),
        name,
        origin=RowsOrigin({"train": "ab" * 32}),
    ).model


MADE = ("rows", "pairs", "dora", "twice", "trial/tiny-q8_0", "small")


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("name", MADE)
def test_every_tuned_model_leaves_in_every_form(store: Store, name: str, to: str, tmp_path: Path) -> None:
    made = export(store, name, ExportOptions(to, tmp_path / "out"), silent)
    assert made.proof
    assert all(path.exists() for path in made.files)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith("freehold-")]
    model = store.find(name)
    if to == "merged":
        merged = atomic_files.sha256_file(made.files[0])
        assert merged == store.find("rows" if "/" in name or name == "small" else name).digest
        assert "byte for byte" in made.proof
    if to == "peft":
        folder = made.files[0]
        weights = (folder / "adapter_model.safetensors").read_bytes()
        assert weights == store.file(model, "adapter_model.safetensors").read_bytes()
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == ("rows" if name == "twice" else "org/tiny")
        assert config["use_dora"] == (name == "dora")


def test_the_proof_says_what_was_done_after_tuning(store: Store, tmp_path: Path) -> None:
    assert (
        "quantized to Q8_0, byte for byte the file that was measured"
        in export(store, "trial/tiny-q8_0", ExportOptions("peft", tmp_path / "a"), silent).proof
    )
    assert (
        "small itself was shrunk after that"
        in export(store, "small", ExportOptions("peft", tmp_path / "b"), silent).proof
    )
    assert (
        "the base rows with the exported adapter"
        in export(store, "twice", ExportOptions("peft", tmp_path / "c"), silent).proof
    )


def test_peft_answers_from_the_exported_adapter_as_the_tuned_model_does(store: Store, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = export(store, "dora", ExportOptions("peft", tmp_path), silent).files[0]
    base = AutoModelForCausalLM.from_pretrained(store.weights(store.find("org/tiny")), dtype=torch.float32)
    with torch.no_grad():
        logits = PeftModel.from_pretrained(base, folder).eval()(torch.tensor([[7, 40, 90, 33]])).logits[0]
    expected = float(torch.log_softmax(logits, dim=-1)[2, 33])
    engine = open_engine(store.weights(store.find("dora")), context_length=64)
    assert engine.score([([7, 40, 90], [33])])[0][0] == pytest.approx(expected, abs=0.02)
    engine.close()


@pytest.mark.parametrize("to", ["peft", "merged"])
def test_an_adapter_that_does_not_lead_back_is_not_exported(store: Store, to: str, tmp_path: Path) -> None:
    model, other = store.find("rows"), store.find("pairs")
    files = {name: store.file(model, name) for name in ("rows.gguf", "adapter_config.json")}
    store.add(
        "mixed",
        made_here({**files, "adapter_model.safetensors": store.file(other, "adapter_model.safetensors")}),
        {},
        lineage=model.info.lineage,
    )
    with pytest.raises(StepFailed, match="do not lead back to mixed"):
        export(store, "mixed", ExportOptions(to, tmp_path / "out"), silent)
    assert list((tmp_path / "out").iterdir()) == []
    store.remove("mixed")


@pytest.mark.parametrize("to", ["peft", "merged"])
@pytest.mark.parametrize("name", ["org/tiny", "org/tiny-gguf"])
def test_what_was_not_tuned_says_what_works(store: Store, name: str, to: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="was not tuned here, so there is no adapter") as refused:
        export(store, name, ExportOptions(to, tmp_path / "out"), silent)
    assert "--to gguf" in refused.value.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["gguf", "ollama"])
def test_a_folder_leaves_in_its_gguf_form(store: Store, to: str, tmp_path: Path) -> None:
    made = export(store, "org/tiny", ExportOptions(to, tmp_path), silent)
    assert atomic_files.sha256_file(made.files[0]) == as_gguf(store, store.find("org/tiny")).digest
    assert "answers equal" in made.proof


@pytest.mark.parametrize("on", ["org/tiny", "org/tiny-gguf"])
def test_a_pulled_adapter_gives_its_files_back_and_merges(store: Store, on: str, tmp_path: Path) -> None:
    adapted = store_adapter(store, store.find(on), tmp_path / "adapter", factors(3))
    given = export(store, "adapted", ExportOptions("peft", tmp_path / "peft"), silent)
    assert {path.name: path.read_bytes() for path in given.files[0].iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()
    }
    merged = export(store, "adapted", ExportOptions("merged", tmp_path / "merged"), silent)
    assert scores(merged.files[0]) == pytest.approx(scores(store.weights(as_gguf(store, adapted))), abs=0.01)
    assert merged.files[0].is_dir() == (on == "org/tiny")
    if on == "org/tiny":
        ours, theirs = (
            load_file(merged.files[0] / "model.safetensors"),
            load_file(store.weights(store.find(on)) / "model.safetensors"),
        )
        assert {name for name in ours if not (ours[name] == theirs[name]).all()} == {
            f"model.{name}.weight" for name in factors()
        }
    assert export(store, "adapted", ExportOptions("gguf", tmp_path / "gguf"), silent).proof
    for name in ("adapted", "adapted-gguf"):
        store.remove(name)


def test_rows_longer_than_the_context_are_counted_on_both_sides(store: Store) -> None:
    long = Example("long", (("user", "The lamp " * 600), ("assistant", "lamp")), {"label": "lamp"})
    said: list[str] = []
    examples = rows()
    base = store.find("org/tiny")
    made = tune(
        store,
        base,
        [*examples[:8], long, long],
        [*examples[8:], long],
        TuneOptions(RECIPE),
        "some",
        say=said.append,
    )
    used = made.result.rows
    assert (used.count, used.train_left_out, used.valid_left_out) == (8, 2, 1)
    assert "left out 2 of 10 training rows: longer than the model's context of 512 tokens" in said
    assert "left out 1 of 5 validation rows: longer than the model's context of 512 tokens" in said
    assert made.model.info.lineage.steps[-1].as_dict()["rows"] == {"train": 8, "valid": 4}
    with pytest.raises(FreeholdError, match="all 1 validation rows are longer than the model's context"):
        tune(store, base, examples[:8], [long], TuneOptions(RECIPE), "none")


def test_a_model_tuned_twice_stands_on_the_first(store: Store, tmp_path: Path) -> None:
    first, second = store.find("rows"), store.find("twice")
    assert second.info.lineage.base == BaseStep(model="rows", revision=first.revision, digest=first.digest)
    adapter = export(store, "twice", ExportOptions("peft", tmp_path), silent).files[0]
    merge_gguf(tmp_path / "again.gguf", store.weights(first), *load_peft(adapter))
    assert atomic_files.sha256_file(tmp_path / "again.gguf") == second.digest


def test_a_model_tuned_twice_is_served_on_the_first(store: Store) -> None:
    from freehold.servers.inference.model_pool import ModelPool
    from freehold.servers.inference.options import PoolOptions
    from freehold.servers.inference.scheduler import Scheduler

    pool = ModelPool(store, ["org/tiny", "rows"], ["twice", "pairs"], Scheduler(), PoolOptions())
    assert pool.bases == {"twice": "rows", "pairs": "org/tiny"}
    with pytest.raises(Unsupported, match="the adapter twice was tuned on rows, which is not served"):
        ModelPool(store, ["org/tiny"], ["twice"], Scheduler(), PoolOptions())
