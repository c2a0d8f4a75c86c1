"""Task files for a rented card: what leaves the machine, what it costs, and the files' form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from freehold.cli.rent import spellings
from freehold.core.errors import NotFound, UsageError
from freehold.core.yaml_text import load
from freehold.models.store import Store
from freehold.workflows import rent
from tests.entry import pull
from tests.hub.models import gguf

#: The keys of a SkyPilot task that these files use, after ``sky.utils.schemas.get_task_schema`` of 0.14.1.
SKYPILOT_TASK = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "resources": {"type": "object", "properties": {"accelerators": {"type": "string"}}},
        "file_mounts": {"type": "object", "additionalProperties": {"type": "string"}},
        "setup": {"type": "string"},
        "run": {"type": "string"},
    },
}
#: Likewise of a dstack task, after ``dstack._internal.core.models.configurations`` of 0.22.5.
DSTACK_TASK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "commands"],
    "properties": {
        "type": {"const": "task"},
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9-]{1,40}$"},
        "python": {"enum": ["3.9", "3.10", "3.11", "3.12", "3.13"]},
        "files": {"type": "array", "items": {"type": "string"}},
        "commands": {"type": "array", "items": {"type": "string"}},
        "ports": {"type": "array", "items": {"type": "string"}},
        "resources": {"type": "object", "properties": {"gpu": {"type": "string"}}},
    },
}
CATALOGUE = """InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,SpotPrice,Region
g6.xlarge,L4,1.0,4,16,0.80,0.30,near
g6.2xlarge,L4,1.0,8,32,0.97,0.40,near
g6.12xlarge,L4,4.0,48,192,4.60,1.90,near
spot-only,L4,1.0,4,16,,0.10,far
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with one model; rows beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"text": "card", "label": "a"}\n')
    store = Store(tmp_path / "home")
    pull(store, f"file:{gguf(tmp_path / 'model.gguf')}", "org/tiny")
    return store


def planned(
    store: Store, *arguments: str, card: str = "L4", catalogue: Path = Path("/nowhere")
) -> rent.RentPlan:
    """A plan without a catalogue, unless one is named."""
    known = spellings(arguments[0] if arguments else "")
    return rent.plan(store, arguments, rent.parse_card(card), catalogue=catalogue, spellings=known)


TRIAL = ("trial", "rows.jsonl", "--model", "org/tiny", "--need", "accuracy>=0.9")


def test_what_leaves_the_machine_is_said_with_its_size_for_every_file(store: Store) -> None:
    lines = rent.leaving(planned(store, *TRIAL))
    assert "leave this machine" in lines[0]
    assert lines[1].startswith("  rows: rows.jsonl (0.0 MB)")
    assert "model: org-tiny.tar" in lines[2]
    assert lines[2].endswith("make it with: freehold archive org/tiny -o org-tiny.tar")


def test_the_files_say_it_too_and_follow_the_documented_schemas(store: Store, tmp_path: Path) -> None:
    plan = planned(store, *TRIAL)
    files = rent.write(plan, tmp_path / "out")
    for file, schema in zip(files, (SKYPILOT_TASK, DSTACK_TASK), strict=True):
        text = file.read_text()
        Draft202012Validator(schema).validate(load(text, file.name))
        assert "# When you start this task, these files leave this machine" in text
        assert "#   rows: rows.jsonl" in text


def test_the_command_there_is_the_command_here_with_the_paths_there(store: Store) -> None:
    task = load(rent.skypilot(planned(store, *TRIAL)), "task")
    assert task["file_mounts"] == {
        "~/freehold-files/rows.jsonl": "./rows.jsonl",
        "~/freehold-files/org-tiny.tar": "./org-tiny.tar",
    }
    assert "freehold restore ~/freehold-files/org-tiny.tar" in task["setup"]
    assert task["run"] == (
        "freehold trial ~/freehold-files/rows.jsonl --model org/tiny --need 'accuracy>=0.9' --yes "
        "--out ~/freehold-report"
    )
    assert task["resources"] == {"accelerators": "L4:1"}


def test_a_server_opens_no_port_to_the_world(store: Store) -> None:
    plan = planned(store, "serve", "org/tiny", card="H100:2")
    task = load(rent.skypilot(plan), "task")
    assert task["run"] == "freehold serve org/tiny --port 8601"
    assert "ports" not in task["resources"]
    assert load(rent.dstack(plan), "task")["ports"] == ["8601"]
    assert load(rent.dstack(plan), "task")["resources"] == {"gpu": "H100:2"}


def test_an_option_without_a_value_takes_none_from_what_follows(store: Store) -> None:
    plan = planned(store, "trial", "rows.jsonl", "--no-mix", "--model", "org/tiny", "--out", "report")
    assert [sent.kind for sent in plan.sent] == ["rows", "model"]


def test_no_price_is_invented(store: Store) -> None:
    plan = planned(store, *TRIAL)
    assert plan.price is None
    assert rent.PRICE_OPTION in rent.price_sentence(plan)
    assert rent.PRICE_OPTION not in plan.command


def test_the_cheapest_price_of_the_catalogue_goes_into_the_break_even(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "catalogs" / "v8" / "aws" / "vms.csv"
    file.parent.mkdir(parents=True)
    file.write_text(CATALOGUE)
    os.utime(file, (1_790_000_000, 1_790_000_000))
    plan = planned(store, *TRIAL, catalogue=tmp_path / "catalogs")
    assert plan.command[-2:] == ("--hardware-per-hour", "0.8")
    sentence = rent.price_sentence(plan)
    assert "catalogue of 2026-09-21" in sentence
    assert "aws, g6.xlarge, near" in sentence


def test_a_price_of_ones_own_goes_before_the_catalogue(store: Store) -> None:
    plan = planned(store, *TRIAL, "--hardware-per-hour", "1.5")
    assert plan.price == rent.Price(1.5, "set by --hardware-per-hour")
    assert plan.command.count("--hardware-per-hour") == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("tune", "rows.jsonl"), UsageError, "cannot be rented"),
        ((), UsageError, "cannot be rented"),
        (("trial",), UsageError, "needs an argument"),
        (("trial", "rows.jsonl"), UsageError, "no model is named"),
        (("trial", "missing.jsonl", "--model", "org/tiny"), UsageError, "is not a file"),
        (("serve", "org/other"), NotFound, "org/other"),
        (("trial", "rows.jsonl", "--model"), UsageError, "has no value"),
        (
            ("trial", "rows.jsonl", "--modle", "org/tiny"),
            UsageError,
            "did you mean --model",
        ),
    ],
)
def test_what_cannot_be_rented_for_is_refused_before_anything_is_written(
    store: Store, arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        planned(store, *arguments)


def test_two_files_of_one_name_are_refused_since_they_go_to_one_folder(store: Store, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "rows.jsonl").write_text('{"text": "pin", "label": "b"}\n')
    with pytest.raises(UsageError, match=r"rows\.jsonl"):
        planned(store, *TRIAL, "--test", "more/rows.jsonl")


@pytest.mark.parametrize("text", ["", "L4:0", "L4:x", "2", "L4 H100"])
def test_a_card_has_a_name_and_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="is not a card"):
        rent.parse_card(text)
