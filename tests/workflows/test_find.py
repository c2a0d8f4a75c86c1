import json
from collections import Counter
from pathlib import Path

import pytest

from freehold.core.errors import UsageError
from freehold.hub.commits import Change, lfs_file
from freehold.hub.repositories import Repositories
from freehold.models.store import Store
from freehold.trial.evidence import likeness, stated, words
from freehold.workflows.find import SearchOptions, find, parse_parameters
from tests.entry import pull
from tests.hub.serving import freehold, hub_at
from tests.hub.test_mirror import push


def trial(home: Path, name: str, digest: str, value: float, rows: list[str]) -> None:
    folder = home / "trials" / name
    folder.mkdir(parents=True)
    figure = {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 200, "method": "Wilson"}
    report = {
        "id": name,
        "task": {"name": name, "metric": "accuracy"},
        "variants": [{"digest": digest, "figures": {"accuracy": figure}}],
    }
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "task.json").write_text(
        json.dumps({"test": [{"messages": [["user", text], ["assistant", "yes"]]} for text in rows]})
    )


@pytest.fixture
def store(tmp_path: Path, smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    made = Store(tmp_path)
    stored = pull(made, f"file:{smollm2}", "smol")
    repositories = Repositories(made)
    push(
        repositories,
        "ada/words",
        {"README.md": b"---\nlicense: cc-by-nc-4.0\ntags: [legal]\n---\n# Summaries of legal texts\n"},
    )
    push(repositories, "ada/smol", {"README.md": b"---\nlicense: apache-2.0\n---\nFor a bank's tickets\n"})
    found = repositories.find("model", "ada/smol")
    repositories.apply(
        found,
        "main",
        Change("weights", put={"smol.gguf": lfs_file(stored.digest, stored.info.size_bytes)}),
        "ada",
    )
    return made


def test_words_narrow_in_the_store_and_its_hub(store: Store) -> None:
    assert [row.name for row in find(store, SearchOptions("smol")).hits] == [
        "smol"
    ]  # the same weights twice are one row
    assert find(store, SearchOptions("nowhere")).hits == []
    store.remove("smol")
    row = find(store, SearchOptions("bank tickets")).hits[0]
    assert (row.name, row.where, row.format) == ("ada/smol", "hub", "gguf")
    assert row.get == "freehold pull hub:ada/smol"


def test_limits_leave_out_what_does_not_meet_them_or_is_not_known(store: Store) -> None:
    assert find(store, SearchOptions("smol", memory_bytes=4 << 30)).hits[0].verdict == "ideal"
    assert find(store, SearchOptions("smol", memory_bytes=64 << 20)).hits == []
    assert find(store, SearchOptions("smol", max_parameters=100_000_000)).hits == []
    assert find(
        store, SearchOptions("smol", max_parameters=200_000_000, format="gguf", licence_policy="commercial")
    ).hits
    assert find(store, SearchOptions("smol", format="safetensors")).hits == []


def test_what_was_measured_on_a_task_like_it_comes_first(store: Store, tmp_path: Path) -> None:
    digest = store.find("smol").digest
    trial(tmp_path, "bank", digest, 0.8, ["my card was declined at the shop", "where is my card"])
    trial(tmp_path, "poems", digest, 0.3, ["the rose is red", "violets in spring"])
    answer = find(store, SearchOptions(like=Counter({"card": 3, "declined": 1, "shop": 1})))
    assert answer.task == "bank"
    assert str(answer.hits[0].evidence) == "accuracy 0.80 (0.75-0.85) on bank"
    answer = find(store, SearchOptions(like=words(["roses and violets", "violets in spring"])))
    assert str(answer.hits[0].evidence) == "accuracy 0.30 (0.25-0.35) on poems"
    assert find(store, SearchOptions("bank")).hits[0].name == "smol"  # found by the task that measured it


@pytest.mark.slow
def test_another_hub_is_asked_only_when_named(store: Store, tmp_path: Path) -> None:
    with hub_at(tmp_path) as address:
        done = freehold(tmp_path / "empty", "find", "smol", "--hub", address, "--memory", "4GiB", "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert [(row["name"], row["where"], row["format"], row["verdict"]) for row in said["found"]] == [
            ("ada/smol", address, "gguf", "ideal")
        ]
        assert said["found"][0]["parameters_from"] == "the hub"
        assert "context not counted" in said["found"][0]["reason"]
    gone = freehold(tmp_path / "empty", "find", "smol", "--hub", "http://127.0.0.1:9")
    assert gone.returncode == 7
    assert "Traceback" not in gone.stderr
    alone = freehold(tmp_path / "empty", "find", "smol")
    assert alone.returncode == 0
    assert "nothing found in the store, its hub" in alone.stdout


def test_likeness_and_stated_figures() -> None:
    assert likeness(words(["a card"]), words(["a card"])) == pytest.approx(1)
    assert likeness(words(["a card"]), words(["roses"])) == 0
    index = [
        {
            "results": [
                {
                    "dataset": {"name": "banking77"},
                    "metrics": [{"type": "accuracy", "value": 0.9}, {"type": "odd", "value": "x"}],
                },
                "junk",
            ]
        }
    ]
    assert str(stated({"model-index": index})) == "accuracy 0.90 on banking77, its card says"
    assert stated({"model-index": "junk"}) is None


def test_numbers_of_parameters() -> None:
    assert parse_parameters("3B") == 3_000_000_000
    assert parse_parameters("135m") == 135_000_000
    with pytest.raises(UsageError):
        parse_parameters("many")
