"""A catalogue that was lost, cut or overwritten: said by every verb, and rebuilt from the manifests beside
the models."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from freehold.core.errors import DamagedStore, NotFound
from freehold.hub import repository_checks
from freehold.hub.commits import Change, File, git_oid
from freehold.hub.rebuild import repair
from freehold.hub.repositories import Repositories
from freehold.models.intake import made_here
from freehold.models.integrity import check
from freehold.models.lineage import Lineage
from freehold.models.store import Model, Store
from tests.entry import pull
from tests.hub.models import gguf
from tests.hub.serving import freehold

LINEAGE = [{"step": "base", "model": "tiny", "revision": "0" * 64, "digest": "1" * 64}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "home")
    path = gguf(tmp_path / "tiny.gguf")
    pull(made, f"file:{path}", "tiny")
    licensed = {"general.license": "mit", "general.name": "Tiny Two"}
    second = gguf(tmp_path / "second.gguf", fields=licensed)
    made.add(
        "org/tuned", made_here({"model.gguf": second}), {"source": "tune:tiny"}, lineage=Lineage.read(LINEAGE)
    )
    return made


def database(store: Store) -> Path:
    """The catalogue's file, with everything in it and nothing beside it."""
    with closing(sqlite3.connect(store.folder / "freehold.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.engine.dispose()
    return store.folder / "freehold.db"


def removed(path: Path) -> None:
    for file in path.parent.glob("freehold.db*"):
        file.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbled(path: Path) -> None:
    path.write_bytes(b"\x07not a database" * 4096)


def garbled_inside(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def without_rows(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM models")


def without_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE models")


def unreadable_row(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE models SET card = '{' WHERE name = 'tiny'")


DAMAGES = (removed, emptied, cut, garbled, garbled_inside, without_rows, without_table, unreadable_row)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_lost_catalogue_is_said_and_comes_back_with_all_that_was_known(
    store: Store, damage: Callable[[Path], None]
) -> None:
    before = {model.name: model for model in store.models()}
    damage(database(store))
    done = freehold(store.folder, "models")
    assert done.returncode == 15
    assert "freehold store repair" in done.stderr
    assert [fault for fault in check(store.folder) if fault.what == "catalogue"]
    told = repair(store.folder)
    again = {model.name: model for model in Store(store.folder).models()}
    assert again == before
    assert again["org/tuned"].info.licence == "mit"
    assert again["org/tuned"].info.lineage.as_list() == LINEAGE
    assert told.left == []
    assert check(store.folder) == []


@pytest.mark.parametrize("damage", [removed, garbled, without_rows])
@pytest.mark.parametrize("verb", [("models",), ("gc",), ("show", "tiny"), ("rm", "tiny"), ("store", "check")])
def test_no_verb_takes_a_lost_catalogue_for_an_empty_one(
    store: Store, damage: Callable[[Path], None], verb: tuple[str, ...]
) -> None:
    damage(database(store))
    done = freehold(store.folder, *verb)
    assert done.returncode == 15, done.stdout + done.stderr
    assert "freehold store repair" in done.stdout + done.stderr
    assert "none yet" not in done.stderr
    assert "Traceback" not in done.stderr
    assert len([path for path in store.blobs.rglob("*") if path.is_file()]) == 2


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
@pytest.mark.parametrize("how", ["removed", "garbled"])
def test_what_lies_beside_the_database_may_be_damaged_too(store: Store, ending: str, how: str) -> None:
    before = {model.name: model for model in store.models()}
    beside = store.folder / f"freehold.db{ending}"
    copies = shutil.copytree(store.folder, store.folder.with_name("copy"))
    store = Store.__new__(Store)
    target = copies / beside.name
    if how == "removed":
        target.unlink(missing_ok=True)
    else:
        target.write_bytes(b"\x55" * 40_000)
    repair(copies)
    assert {model.name: model for model in Store(copies).models()} == before


def test_a_restored_old_catalogue_names_what_it_lacks(store: Store) -> None:
    with closing(sqlite3.connect(database(store))) as connection, connection:
        connection.execute("DELETE FROM models WHERE name = 'tiny'")
    again = Store(store.folder)
    with pytest.raises(DamagedStore, match="does not name the model tiny"):
        again.find("tiny")
    with pytest.raises(NotFound):
        again.find("other")
    assert any("does not list tiny@" in fault.why for fault in check(store.folder))
    assert again.collect(grace_s=0)[0] == 0
    repair(store.folder)
    assert again.find("tiny").info.provenance["source"].startswith("file:")


def test_a_removed_model_does_not_come_back(store: Store) -> None:
    store.remove("tiny")
    assert repair(store.folder).done == []
    assert [model.name for model in store.models()] == ["org/tuned"]
    store.remove("org/tuned")
    assert Store(store.folder).models() == []


@pytest.mark.parametrize("how", ["removed", "garbled", "changed"])
def test_a_damaged_manifest_is_written_again(store: Store, how: str) -> None:
    model = store.find("org/tuned")
    path = store.manifests.path(model.name, model.revision)
    if how == "removed":
        path.unlink()
    elif how == "garbled":
        path.write_bytes(b"{")
    else:
        path.write_text(path.read_text().replace('"mit"', '"gpl-3.0"'))
    assert [fault.what for fault in check(store.folder)][:1] == ["manifest"]
    repair(store.folder)
    assert check(store.folder) == []
    assert Store(store.folder).find("org/tuned").info.licence == "mit"


def test_without_manifests_gguf_files_are_named_by_their_headers(store: Store) -> None:
    removed(database(store))
    shutil.rmtree(store.folder / "manifests")
    with pytest.raises(DamagedStore):
        Store(store.folder)
    told = repair(store.folder)
    names = sorted(model.name for model in Store(store.folder).models())
    assert [name[:18] for name in names] == ["recovered/Tiny-Two", "recovered/llama-" + names[1][16:18]]
    assert any("named after its header" in sentence for sentence in told.done)


def test_a_home_from_before_manifests_gets_them_when_it_is_opened(store: Store) -> None:
    before = store.models()
    shutil.rmtree(store.folder / "manifests")
    assert Store(store.folder).models() == before
    assert len(list(Store(store.folder).manifests.paths())) == 2


def test_repositories_of_the_hub_that_can_be_read_are_kept(store: Store) -> None:
    repositories = Repositories(store)
    repo = repositories.create("model", "ada/one", owner="ada")
    data = b"# One\n"
    readme = File(repositories.contents.put(data), len(data), False, git_oid("blob", data))
    repositories.apply(repo, "main", Change("card", put={"README.md": readme}), "ada")
    unreadable_row(database(store))
    told = repair(store.folder)
    again = Repositories(Store(store.folder))
    assert again.commit(again.find("model", "ada/one"), "main").files["README.md"] == readme
    assert repository_checks.check(again) == []
    assert told.left == []


def test_blobs_that_nothing_names_any_more_are_told_before_they_are_collected(store: Store) -> None:
    repositories = Repositories(store)
    repositories.create("model", "ada/one", owner="ada")
    removed(database(store))
    done = freehold(store.folder, "store", "repair", "--json")
    assert done.returncode == 15
    told = json.loads(done.stdout)
    assert "named by no model and no repository" in " ".join(told["left"])


def test_repairing_what_is_whole_changes_nothing(store: Store) -> None:
    before = {path: path.read_bytes() for path in (store.folder / "manifests").rglob("*.json")}
    done = freehold(store.folder, "store", "repair")
    assert (done.returncode, done.stdout.strip()) == (0, "the store is complete; nothing was changed")
    assert {path: path.read_bytes() for path in before} == before


def test_a_clock_that_was_set_back_does_not_hide_the_newest_revision(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    newer: Model = pull(store, f"file:{gguf(tmp_path / 'tiny2.gguf', fields={'general.name': 'x'})}", "tiny")
    assert store.find("tiny").revision == newer.revision
