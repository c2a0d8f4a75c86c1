"""Requests whose answers or costs grow with numbers and repetitions in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from freehold.servers.hub.lfs_parts import MOST_PARTS, MOST_PARTS_IN_ALL, PART_BYTES, parts_of
from tests.hub.client import Client
from tests.hub.people import commit_body, small_line

BOMB = (
    "---\na: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "---\n"
)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    made = Client(make_app(Store(tmp_path)))
    assert made.post("/api/repos/create", json={"name": "ada/first"}).status_code == 200
    return made


def commit(client: Client, files: dict[str, bytes]) -> tuple[int, str]:
    body = commit_body(*(small_line(path, data) for path, data in files.items()))
    done = client.post("/api/models/ada/first/commit/main", content=body)
    return done.status_code, done.text


def test_a_card_of_repeated_aliases_is_refused_and_kept_as_text(client: Client) -> None:
    checked = client.post("/api/validate-yaml", json={"content": BOMB})
    assert checked.status_code == 400
    assert "aliases written out" in checked.json()["errors"][0]["message"]
    assert commit(client, {"README.md": BOMB.encode()})[0] == 200
    described = client.get("/api/models/ada/first")
    assert described.json()["cardData"] == {}
    assert len(described.content) < 10_000
    assert client.get("/ada/first", headers={"accept": "text/html"}).status_code == 200


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e400", "99999999999999999999999999999"])
def test_numbers_that_json_has_not_do_not_break_a_description(client: Client, value: str) -> None:
    assert commit(client, {"README.md": f"---\nvalue: {value}\n---\n".encode()})[0] == 200
    assert client.get("/api/models/ada/first").status_code == 200
    assert client.get("/api/models", params={"full": True}).status_code == 200


def batch(client: Client, *sizes: int) -> dict[str, object]:
    objects = [{"oid": hashlib.sha256(b"%d" % at).hexdigest(), "size": size} for at, size in enumerate(sizes)]
    asked = {"operation": "upload", "transfers": ["basic", "multipart"], "objects": objects}
    answer = client.post("/ada/first.git/info/lfs/objects/batch", json=asked)
    assert len(answer.content) < 5 << 20
    return {"status": answer.status_code} | answer.json()


def test_an_object_larger_than_the_disk_is_refused_in_a_short_answer(client: Client) -> None:
    (told,) = batch(client, 1 << 44)["objects"]
    assert told["error"]["code"] == 507
    assert "actions" not in told


def test_a_batch_has_so_many_objects(client: Client) -> None:
    assert batch(client, *[1] * 256)["status"] == 200
    assert batch(client, *[1] * 1001)["status"] == 400


def test_so_many_paths_are_described_at_once(client: Client) -> None:
    asked = {"paths": ["none"] * 1001}
    assert client.post("/api/models/ada/first/paths-info/main", json=asked).status_code == 400
    assert client.post("/api/models/ada/first/paths-info/main", json={"paths": ["none"] * 1000}).json() == []


@pytest.mark.parametrize(
    ("size", "objects"),
    [(1, 1), (PART_BYTES + 1, 1), (1 << 40, 1), (1 << 50, 1), (1 << 40, 1000), (5 << 30, 256)],
)
def test_parts_are_as_many_as_an_answer_can_list(size: int, objects: int) -> None:
    plan = parts_of(size, objects)
    assert plan.count <= MOST_PARTS
    assert plan.count * objects <= max(MOST_PARTS_IN_ALL, objects)
    assert sum(plan.bytes_of(number) for number in range(1, plan.count + 1)) == size
    assert plan.part_bytes >= PART_BYTES


@pytest.mark.parametrize(
    "path",
    [
        ".GIT/config",
        "a/.Git/hooks/x",
        "GIT~1/x",
        ".git::$INDEX_ALLOCATION/x",
        ".git /x",
        "a\u202egnp.exe",
        "a\u200bb",
        "con\u200dfig.json",
        "a\u3164",
        "x\ufe0f",
        "CON",
        "aux.json",
        "data/nul.txt",
        "COM1",
        "lpt\u00b9.x",
        "ends.",
        "ends ",
        "a\u00a0",
        "data::$DATA",
        "/".join("a" * 65),
        "a\x07b",
    ],
)
def test_names_that_some_system_reads_otherwise_are_refused(client: Client, path: str) -> None:
    status, told = commit(client, {path: b"x"})
    assert status == 400
    assert "cannot be a file's path" in told


@pytest.mark.parametrize(
    "path",
    [
        "model-00001-of-00002.safetensors",
        "data/2020-01-01T00:00:00.parquet",
        "Screenshot 9.41\u202fPM.png",
        "\u0bb5\u0ba3.txt",
        "\u0645\u06cc\u200c\u062e.txt",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467.png",
        "\u2764\ufe0f.txt",
        "1\ufe0f\u20e3.txt",
        ".gitignore",
        "console.txt",
        "auxiliary.bin",
    ],
)
def test_names_that_people_give_are_taken(client: Client, path: str) -> None:
    assert commit(client, {path: b"x"})[0] == 200


@pytest.mark.parametrize(
    ("first", "second"),
    [("caf\u00e9", "cafe\u0301"), ("Stra\u00dfe", "STRASSE"), ("a/b", "A/c"), ("\u212a", "k")],
)
def test_names_that_some_disk_takes_for_one_are_refused_together(
    client: Client, first: str, second: str
) -> None:
    status, told = commit(client, {first: b"x", second: b"y"})
    assert status == 400
    assert "differ only in case" in told
