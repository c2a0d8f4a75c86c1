"""A model tuned two and three times, and one stored again: every reader of its lineage takes the same
base."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.core.errors import Unsupported
from freehold.core.progress import silent
from freehold.models.answer_form import AnswerForm
from freehold.models.store import Store
from freehold.servers.inference import vllm
from freehold.servers.inference.model_pool import ModelPool
from freehold.servers.inference.options import PoolOptions
from freehold.servers.inference.scheduler import Scheduler
from freehold.trial.keeping import keep_as_is
from freehold.trust import obligations, provenance
from freehold.workflows.certify import _base as certified_base
from freehold.workflows.export import ExportOptions, export
from freehold.workflows.model_card import model_card
from tests import tiny
from tests.runtime.test_gguf_form import files_in
from tests.workflows.test_export_paths import made_here, tuned

pytestmark = pytest.mark.slow

#: Each model and what its adapter belongs to.
BASES = {"first": "org/tiny-gguf", "second": "first", "third": "second", "task/second-zero-shot": "first"}
#: What a card names: the repository where the base was not changed.
NAMED = BASES | {"first": "org/tiny"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Three generations of a tiny base, and the second stored again with the form it was measured in."""
    folder = tmp_path_factory.mktemp("generations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FREEHOLD_HOME", str(folder / "home"))
        store = Store(folder / "home")
        base = store.add(
            "org/tiny",
            made_here(files_in(tiny.model("llama", folder / "folder"))),
            {"source": "hf:org/tiny", "repository": "org/tiny"},
        )
        second = tuned(store, tuned(store, base, "first"), "second")
        tuned(store, second, "third")
        keep_as_is(
            store, second, AnswerForm(labels=("lamp",)), task="task", how="zero-shot", trial="1", data={}
        )
        yield store


@pytest.mark.parametrize("name", BASES)
def test_the_pool_serves_an_adapter_on_what_it_was_tuned_on(store: Store, name: str) -> None:
    pool = ModelPool(store, list(set(BASES.values())), [name], Scheduler(), PoolOptions())
    assert pool.bases == {name: BASES[name]}


@pytest.mark.parametrize("name", BASES)
def test_vllm_refuses_another_base_by_the_right_name(store: Store, name: str) -> None:
    options = vllm.VllmOptions("127.0.0.1", 8601, context=64, parallel=1)
    with pytest.raises(Unsupported, match=f"was tuned on {BASES[name]}, not on org/tiny"):
        vllm.command(store, ["org/tiny"], [name], options)


@pytest.mark.parametrize("name", BASES)
def test_an_exported_adapter_leads_back_to_its_base(store: Store, name: str, tmp_path: Path) -> None:
    exported = export(store, name, ExportOptions("peft", tmp_path / "out"), silent)
    assert f"the base {BASES[name]} with the exported adapter" in exported.proof
    config = json.loads((exported.files[0] / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == NAMED[name]


@pytest.mark.parametrize("name", BASES)
def test_the_card_names_the_same_base(store: Store, name: str) -> None:
    model = store.find(name)
    owed = obligations.compute(provenance.components(store, model, ""), name)
    assert f"base_model: {NAMED[name]}\n" in model_card(store, model, owed, "", "")


@pytest.mark.parametrize("name", BASES)
def test_a_certificate_compares_with_what_was_tuned(store: Store, name: str) -> None:
    base = certified_base(store, store.find(name))
    assert base is not None
    assert base.name == BASES[name]
