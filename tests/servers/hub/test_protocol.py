import base64
import hashlib
import json
from pathlib import Path

import pytest

from freehold.hub.users import Users
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from tests.hub.client import ADDRESS, Client

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    made = Client(make_app(Store(tmp_path)))
    assert made.post("/api/repos/create", json={"name": "first", "organization": "ada"}).status_code == 200
    return made


def commit(
    client: Client, *lines: object, repo: str = "ada/first", **headers: str
) -> tuple[int, dict[str, str]]:
    head = {"key": "header", "value": {"summary": "a change"}}
    body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in (head, *lines))
    done = client.post(f"/api/models/{repo}/commit/main", content=body, headers=headers)
    return done.status_code, done.json()


def small(path: str, data: bytes) -> dict[str, object]:
    return {
        "key": "file",
        "value": {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"},
    }


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("not json", "line 2 of the commit cannot be read"),
        ({"key": "file", "value": {"path": "a"}}, "line 2"),
        ({"key": "file", "value": {"path": "a", "content": "%%", "encoding": "base64"}}, "line 2"),
        (small("../../etc/passwd", b""), "cannot be a file's path"),
        ({"key": "unheard", "value": {}}, "no operation 'unheard'"),
        ({"key": "lfsFile", "value": {"path": "a", "oid": "0" * 64, "size": 3}}, "was not uploaded"),
        (
            {"key": "lfsFile", "value": {"path": "a", "oid": "../../../etc/passwd", "size": 3}},
            "was not uploaded",
        ),
        ("[" * 100_000, "line 2"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_committed(client: Client, line: object, told: str) -> None:
    before = client.get("/api/models/ada/first").json()["sha"]
    status, body = commit(client, small("good.txt", b"good"), line)
    assert status == 400
    assert told.replace("line 2", "line 3") in body["error"]
    assert client.get("/api/models/ada/first").json()["sha"] == before


@pytest.mark.long
@pytest.mark.slow
def test_ten_thousand_files_in_one_commit(client: Client) -> None:
    status, _ = commit(
        client, *(small(f"{number // 100}/{number}.txt", b"%d" % number) for number in range(10_000))
    )
    assert status == 200
    first = client.get("/api/models/ada/first/tree/main", params={"recursive": True, "limit": 10_000})
    second = client.get(first.links["next"]["url"])
    assert len(first.json()) + len(second.json()) == 10_000 + 100 + 1
    assert client.get("/ada/first/resolve/main/99/9999.txt").text == "9999"


def lfs(client: Client, data: bytes, **changes: object) -> dict[str, dict[str, dict[str, str]]]:
    one = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)} | changes
    answer = client.post(
        "/ada/first.git/info/lfs/objects/batch", json={"operation": "upload", "objects": [one]}
    )
    assert answer.status_code == 200
    return answer.json()["objects"][0]


def test_an_upload_that_is_not_what_it_says_leaves_nothing(client: Client, tmp_path: Path) -> None:
    url = lfs(client, b"right")["actions"]["upload"]["href"]
    assert client.put(url, content=b"wrong").status_code == 400
    assert client.put(url, content=b"righ").status_code == 400
    assert client.put(url, content=b"right and more").status_code == 413
    assert client.put(url.replace("signature=", "signature=0"), content=b"right").status_code == 403
    assert not [path for path in tmp_path.rglob("*.part")]
    assert client.put(url, content=b"right").status_code == 200
    assert "actions" not in lfs(client, b"right")


def test_a_large_upload_comes_in_parts_and_can_be_taken_up_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.servers.hub.lfs_parts.PART_BYTES", 1000)
    data = bytes(range(256)) * 10
    one = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    batch = {"operation": "upload", "objects": [one], "transfers": ["basic", "multipart"]}
    upload = client.post("/ada/first.git/info/lfs/objects/batch", json=batch).json()["objects"][0]["actions"][
        "upload"
    ]
    tags = {
        number: client.put(
            upload["header"][str(number)], content=data[(number - 1) * 1000 : number * 1000]
        ).headers["etag"]
        for number in (1, 3)
    }
    whole = {"oid": one["oid"], "parts": [{"partNumber": number, "etag": "x"} for number in (1, 2, 3)]}
    assert "part 2 of 3 was not uploaded" in client.post(upload["href"], json=whole).json()["error"]
    assert client.put(upload["header"]["2"], content=data[:999]).status_code == 400
    tags[2] = client.put(upload["header"]["2"], content=data[1000:2000]).headers["etag"]
    assert client.post(upload["href"], json=whole).status_code == 200
    status, _ = commit(
        client,
        {
            "key": "lfsFile",
            "value": {"path": "big.bin", "oid": one["oid"], "size": len(data), "algo": "sha256"},
        },
    )
    assert status == 200
    assert client.get("/ada/first/resolve/main/big.bin").content == data
    assert len(set(tags.values())) == 3


def test_parts_of_files(client: Client) -> None:
    commit(client, small("a.txt", b"0123456789"))
    url = "/ada/first/resolve/main/a.txt"

    def part(wanted: str) -> tuple[int, bytes, str]:
        got = client.get(url, headers={"Range": wanted})
        return got.status_code, got.content, got.headers.get("content-range", "")

    assert part("bytes=2-4") == (206, b"234", "bytes 2-4/10")
    assert part("bytes=-3") == (206, b"789", "bytes 7-9/10")
    assert part("bytes=8-99") == (206, b"89", "bytes 8-9/10")
    assert part("bytes=10-")[::2] == (416, "bytes */10")
    head = client.head(url)
    assert head.headers["content-length"] == "10"
    assert client.get(url, headers={"If-None-Match": head.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("path", "code"), [("nobody/there", "RepoNotFound"), ("ada/first/revision/never", "RevisionNotFound")]
)
def test_clients_are_told_by_code_what_is_missing(client: Client, path: str, code: str) -> None:
    missing = client.get(f"/api/models/{path}")
    assert (missing.status_code, missing.headers["X-Error-Code"]) == (404, code)


def test_a_foreign_host_name_is_refused(client: Client) -> None:
    assert client.get("/api/models", headers={"Host": "evil.example"}).status_code == 403


def test_with_people_a_token_decides(tmp_path: Path) -> None:
    store = Store(tmp_path)
    accounts = Users(store)
    ada, bob, reader = (
        accounts.create_token("ada"),
        accounts.create_token("bob"),
        accounts.create_token("ada", role="read"),
    )
    client = Client(make_app(store, loopback=False))

    def create(token: str) -> int:
        body = {"name": "secret", "organization": "ada", "private": True}
        return client.post(
            "/api/repos/create", json=body, headers={"Authorization": f"Bearer {token}"} if token else {}
        ).status_code

    assert [create(token) for token in ("", "hf_" + "x" * 36, bob, reader, ada)] == [401, 401, 403, 403, 200]

    def see(token: str) -> int:
        return client.get(
            "/api/models/ada/secret", headers={"Authorization": f"Bearer {token}"} if token else {}
        ).status_code

    assert [see(token) for token in ("", bob, reader, ada)] == [401, 404, 200, 200]
    assert client.get("/api/models", headers={"Authorization": f"Bearer {bob}"}).json() == []
    line = json.dumps({"key": "header", "value": {"summary": "s"}})
    assert (
        client.post(
            "/api/models/ada/secret/commit/main", content=line, headers={"Authorization": f"Bearer {reader}"}
        ).status_code
        == 403
    )
    answer = client.get(
        "/api/models/ada/secret/xet-write-token/main", headers={"Authorization": f"Bearer {reader}"}
    )
    assert answer.status_code == 403


def test_the_chunk_store_wants_its_own_token(client: Client) -> None:
    access = client.get("/api/models/ada/first/xet-read-token/main").json()
    path = access["casUrl"].replace(ADDRESS, "")
    bearer = {"Authorization": f"Bearer {access['accessToken']}"}
    assert client.post(f"{path}/v1/xorbs/default/{'0' * 64}", content=b"x", headers=bearer).status_code == 403
    assert client.get(f"{path}/v1/reconstructions/{'0' * 64}").status_code == 401
    assert client.get(f"{path}/v1/reconstructions/{'0' * 64}", headers=bearer).status_code == 404
    forged = {"Authorization": "Bearer " + access["accessToken"].replace("read", "write", 1)}
    assert client.post(f"{path}/v1/shards", content=b"x", headers=forged).status_code == 401


@pytest.mark.parametrize("name", ["%0D", "a%0B%00", "%C3%A9%20", "a/%20%7F", "%F0%9F%98%80"])
def test_refusals_name_what_was_asked_for_in_a_header_that_can_be_sent(client: Client, name: str) -> None:
    for path in (f"/api/models/{name}", f"/api/{name}", f"/{name}/resolve/main/x"):
        told = client.get(path).headers["x-error-message"]
        assert told == told.strip()
        assert told.isascii()
        assert told.isprintable()
