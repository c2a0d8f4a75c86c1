"""The GGUF form of a stored model: made once, and kept with where it comes from."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from freehold.core import atomic_files
from freehold.core.errors import NotFound, Unsupported
from freehold.inference.loading import open_engine
from freehold.models.catalogue import models
from freehold.models.info import ModelInfo
from freehold.models.intake import made_here
from freehold.models.lineage import AdapterStep, read_step
from freehold.models.store import Model, Store
from freehold.runtime.gguf_form import as_gguf, find_gguf, public_name, runnable
from freehold.training import adapter
from freehold.training.lora import Factor
from freehold.training.recipe import Recipe
from tests import tiny

pytestmark = pytest.mark.slow

TOKENS = [7, 40, 90, 33, 120, 61, 200, 15]
RECIPE = Recipe(rank=4, alpha=8.0)


def files_in(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return Store(tmp_path / "home")


@pytest.fixture
def folder_model(store: Store, tmp_path: Path) -> Model:
    return store.add(
        "org/tiny",
        made_here(files_in(tiny.model("llama", tmp_path / "folder"))),
        {"source": "hf:org/tiny", "repository": "org/tiny"},
    )


def factors(seed: int = 0, *, dora: bool = False) -> dict[str, Factor]:
    """An adapter of the query and down matrices of both layers, large enough to change what is said."""
    torch.manual_seed(seed)
    shapes = {"self_attn.q_proj": (64, 64), "mlp.down_proj": (64, 96)}
    return {
        f"layers.{layer}.{module}": Factor(
            torch.randn(4, into) * 0.2, torch.randn(out, 4) * 0.2, torch.rand(out) + 0.5 if dora else None
        )
        for layer in range(2)
        for module, (out, into) in shapes.items()
    }


def store_adapter(
    store: Store,
    base: Model,
    folder: Path,
    made: dict[str, Factor],
    *,
    recipe: Recipe = RECIPE,
    llama_cpp: bool = False,
) -> Model:
    """An adapter as a pull stores it: its files, the shape of its base, and its base in the lineage."""
    folder.mkdir(parents=True, exist_ok=True)
    if llama_cpp:
        adapter.save_gguf_adapter(folder / "adapter.lora", made, recipe, store.weights(base))
    else:
        adapter.save_peft(folder, made, recipe, base.name)
    manifest = {}
    for name, path in files_in(folder).items():
        manifest[name] = (atomic_files.sha256_file(path), path.stat().st_size)
        store._take(path, manifest[name][0], False)
    lineage = base.made_into(AdapterStep(rank=recipe.rank))
    card = ModelInfo(
        **{
            **vars(base.info),
            "format": "adapter",
            "quantization": "",
            "lineage": lineage,
            "provenance": {"source": "file:adapter"},
        }
    )
    with store.engine.begin() as connection:
        connection.execute(
            models.insert().values(
                name="adapted",
                revision=atomic_files.digest_of(manifest),
                card=card.as_dict(),
                manifest=manifest,
                created=time.time(),
            )
        )
    return store.find("adapted")


def scores(weights: Path, **more: Path) -> list[float]:
    engine = open_engine(weights, context_length=128, **more)
    try:
        return engine.score([(TOKENS[:3], TOKENS[3:])])[0]
    finally:
        engine.close()


def test_a_folder_is_converted_once_and_found_again(store: Store, folder_model: Model) -> None:
    assert find_gguf(store, folder_model) is None
    made = as_gguf(store, folder_model)
    assert (made.name, made.info.format) == ("org/tiny-gguf", "gguf")
    assert [step.name for step in made.info.lineage] == ["source", "converted"]
    assert as_gguf(store, folder_model) == made == find_gguf(store, folder_model) == as_gguf(store, made)
    assert len(store.models()) == 2
    assert scores(store.weights(made)) == pytest.approx(scores(store.weights(folder_model)), abs=0.01)
    assert public_name(store, made) == "org/tiny"
    assert not list(store.incoming.glob("form-*/*"))


def test_a_name_that_another_model_has_is_left_to_it(
    store: Store, folder_model: Model, tmp_path: Path
) -> None:
    other = as_gguf(
        store, store.add("other", made_here(files_in(tiny.model("qwen2", tmp_path / "other"))), {})
    )
    theirs = store.add("org/tiny-gguf", made_here({"x.gguf": store.weights(other)}), {"source": "file:x"})
    made = as_gguf(store, folder_model)
    assert made.name == f"org/tiny-gguf-{folder_model.revision[:8]}"
    assert store.find("org/tiny-gguf") == theirs
    assert as_gguf(store, folder_model) == made


def test_texts_that_were_not_seen_before_are_compared_too(
    store: Store, folder_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = as_gguf(store, folder_model)
    text = "a lamp"
    assert as_gguf(store, folder_model, [text]) == made
    other = json.loads((store.weights(folder_model) / "tokenizer.json").read_text())
    other["pre_tokenizer"]["add_prefix_space"] = True  # now the original would put a space before
    (store.weights(folder_model) / "tokenizer.json").write_text(json.dumps(other))
    store.checked.note(folder_model.manifest["tokenizer.json"][0])  # the store takes it for what it stored
    with pytest.raises(Unsupported, match="tokens differ from the original tokenizer's on 'a lamp'"):
        as_gguf(store, folder_model, [text])


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("on", ["folder", "gguf"])
def test_an_adapter_is_merged_into_its_base_once(
    store: Store, folder_model: Model, tmp_path: Path, on: str, dora: bool
) -> None:
    base = folder_model if on == "folder" else as_gguf(store, folder_model)
    recipe = Recipe(rank=4, alpha=8.0, dora=dora)
    adapted = store_adapter(store, base, tmp_path / "adapter", factors(dora=dora), recipe=recipe)
    made = as_gguf(store, adapted)
    assert as_gguf(store, adapted) == made
    assert [step.name for step in made.info.lineage][-3:] == ["adapter", "source", "merged"]
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    theirs = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(store.weights(folder_model), dtype=torch.float32),
        tmp_path / "adapter",
    ).eval()
    with torch.no_grad():
        chances = torch.log_softmax(theirs(torch.tensor([TOKENS])).logits[0], dim=-1)
    expected = [float(chances[place - 1, TOKENS[place]]) for place in range(3, len(TOKENS))]
    assert scores(store.weights(made)) == pytest.approx(expected, abs=0.02)
    untouched = scores(store.weights(as_gguf(store, folder_model)))
    assert max(abs(a - b) for a, b in zip(untouched, expected, strict=True)) > 0.2


def test_an_adapter_in_llama_cpps_form_is_merged_as_llama_cpp_applies_it(
    store: Store, folder_model: Model, tmp_path: Path
) -> None:
    base = as_gguf(store, folder_model)
    adapted = store_adapter(store, base, tmp_path / "adapter", factors(), llama_cpp=True)
    assert list(adapted.manifest) == ["adapter.lora"]
    beside = scores(store.weights(base), adapter=store.file(adapted, "adapter.lora"))
    assert scores(store.weights(as_gguf(store, adapted))) == pytest.approx(beside, abs=0.02)
    assert runnable(store, adapted, print) == adapted  # llama.cpp takes it beside its base


def test_what_a_merge_would_leave_out_is_refused(store: Store, folder_model: Model, tmp_path: Path) -> None:
    strange = {**factors(), "layers.7.mlp.down_proj": factors()["layers.0.mlp.down_proj"]}
    adapted = store_adapter(store, folder_model, tmp_path / "adapter", strange)
    with pytest.raises(Unsupported, match=r"the adapter changes layers\.7\.mlp\.down_proj"):
        as_gguf(store, adapted)
    assert find_gguf(store, adapted) is None


@pytest.mark.parametrize("what", ["head", "pattern"])
def test_an_adapter_that_is_more_than_lora_is_refused(tmp_path: Path, what: str) -> None:
    from safetensors.torch import load_file, save_file

    adapter.save_peft(tmp_path, factors(), RECIPE, "base")
    if what == "head":
        tensors = load_file(tmp_path / "adapter_model.safetensors")
        save_file(
            {**tensors, "base_model.model.lm_head.weight": torch.ones(4, 4)},
            tmp_path / "adapter_model.safetensors",
        )
        sentence = r"contains base_model\.model\.lm_head\.weight, which is not a LoRA matrix"
    else:
        config = json.loads((tmp_path / "adapter_config.json").read_text())
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "alpha_pattern": {"q_proj": 64}}))
        sentence = "different ranks or scales"
    with pytest.raises(Unsupported, match=sentence):
        adapter.load_peft(tmp_path)


def test_the_base_is_the_one_named_where_two_have_the_same_weights(store: Store, folder_model: Model) -> None:
    first = as_gguf(store, folder_model)
    second = store.add("copy", made_here({"copy.gguf": store.weights(first)}), {"source": "file:copy"})
    assert first.digest == second.digest
    for base in (first, second):
        files = made_here({f"{base.revision[:4]}.gguf": store.weights(first)})
        made = store.add("tuned", files, {}, lineage=base.made_into())
        assert store.base_of(made) == base


def test_an_adapter_whose_base_is_gone_names_it(store: Store, folder_model: Model, tmp_path: Path) -> None:
    adapted = store_adapter(store, folder_model, tmp_path / "adapter", factors())
    store.remove("org/tiny")
    with pytest.raises(NotFound, match="adapted was made from org/tiny, which is no longer in the store"):
        as_gguf(store, adapted)


def test_what_cannot_be_converted_is_run_by_transformers_and_said(store: Store, tmp_path: Path) -> None:
    model = store.add("other", made_here(files_in(tiny.model("opt", tmp_path / "other"))), {})
    said: list[str] = []
    assert runnable(store, model, said.append) == model
    (sentence,) = said
    assert sentence.startswith("run by transformers in 32 bits, because llama.cpp cannot run other: ")
    assert "cannot convert this model" in sentence


def test_what_is_run_by_llama_cpp_is_said(store: Store, folder_model: Model) -> None:
    said: list[str] = []
    made = runnable(store, folder_model, said.append)
    assert runnable(store, folder_model, said.append) == made
    assert said == [
        "run by llama.cpp as org/tiny-gguf (org/tiny converted, and kept in the store)",
        "run by llama.cpp as org/tiny-gguf (org/tiny converted)",
    ]


def test_a_trials_step_writes_the_same_form(store: Store, folder_model: Model, tmp_path: Path) -> None:
    from freehold.runtime.gguf_form import keep_gguf
    from freehold.trial import jobs
    from freehold.trial.arguments import ConvertArguments, Subject
    from freehold.trial.steps import Steps

    (tmp_path / "task.json").write_text(
        json.dumps(
            {
                "task_version": 1,
                "name": "t",
                "metric": "accuracy",
                "labels": [],
                "mapping": "",
                "files": {},
                "leaks": [],
                "repeats": 0,
                "train": [{"id": "a", "messages": [["user", "a lamp"]], "reference": {}}],
                "valid": [],
                "test": [],
            }
        )
    )
    steps = Steps(tmp_path / "steps", lambda _: None)
    subject = Subject({}, None, "", folder_model.revision, folder_model.name, plain=False)
    arguments = ConvertArguments(subject, task=str(tmp_path / "task.json"), store=str(store.folder))
    result = steps.run("convert-tiny", arguments, leaves=jobs.CONVERTED)
    file = steps.place("convert-tiny", arguments) / jobs.CONVERTED
    made = keep_gguf(store, folder_model, file, read_step(result.record), "trial:1")
    assert find_gguf(store, folder_model) == made
    assert made.info.lineage.steps[-1].as_dict()["pre_tokenizer"] == "gpt-2"
