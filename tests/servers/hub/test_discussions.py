import base64
import json
from pathlib import Path
from typing import Any

import pytest

from freehold.hub.repositories import Repositories
from freehold.hub.users import Users
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from tests.hub.client import Client

pytestmark = pytest.mark.usefixtures("each_database")

HERE = "/api/models/ada/first"


@pytest.fixture
def client(tmp_path: Path) -> Client:
    made = Client(make_app(Store(tmp_path)))
    assert made.post("/api/repos/create", json={"name": "first", "organization": "ada"}).status_code == 200
    return made


def commit(
    client: Client, path: str, text: str | None, *, to: str = "main", proposed: bool = False
) -> dict[str, Any]:
    """Commit one file's text; None removes the file."""
    value = {"path": path, "content": base64.b64encode((text or "").encode()).decode(), "encoding": "base64"}
    change = (
        {"key": "deletedFile", "value": {"path": path}} if text is None else {"key": "file", "value": value}
    )
    body = "\n".join(
        json.dumps(line) for line in ({"key": "header", "value": {"summary": f"write {path}"}}, change)
    )
    done = client.post(
        f"{HERE}/commit/{to.replace('/', '%2F')}", content=body, params={"create_pr": "1"} if proposed else {}
    )
    assert done.status_code == 200, done.text
    return done.json()


def details(client: Client, number: int) -> dict[str, Any]:
    return client.get(f"{HERE}/discussions/{number}", params={"diff": "1"}).json()


def test_discussions_and_requests_are_numbered_together(client: Client) -> None:
    assert (
        client.post(f"{HERE}/discussions", json={"title": " A question ", "description": "why?"}).json()[
            "num"
        ]
        == 1
    )
    assert commit(client, "a.txt", "a", proposed=True)["pullRequestUrl"].endswith("/discussions/2")
    assert (
        client.post(f"{HERE}/discussions", json={"title": "A change", "pullRequest": True}).json()["num"] == 3
    )
    listed = client.get(f"{HERE}/discussions").json()
    assert [
        (one["num"], one["title"], one["isPullRequest"], one["status"]) for one in listed["discussions"]
    ] == [
        (3, "A change", True, "draft"),
        (2, "write a.txt", True, "open"),
        (1, "A question", False, "open"),
    ]
    assert [
        one["num"]
        for one in client.get(f"{HERE}/discussions", params={"type": "pull_request"}).json()["discussions"]
    ] == [3, 2]
    assert client.get(f"{HERE}/refs").json()["pullRequests"][0]["ref"] == "refs/pr/2"


def test_a_request_is_merged_as_one_commit_and_the_branch_keeps_what_came_meanwhile(
    client: Client,
) -> None:
    commit(client, "old.txt", "old")
    commit(client, "new.txt", "one\n", proposed=True)
    commit(client, "new.txt", "two\n", to="refs/pr/1")
    commit(client, "old.txt", None, to="refs/pr/1")
    commit(client, "beside.txt", "beside")
    shown = details(client, 1)
    assert "+two" in shown["diff"]
    assert "-old" in shown["diff"]
    assert "beside" not in shown["diff"]
    assert shown["filesWithConflicts"] == []
    assert [event["type"] for event in shown["events"]] == ["comment", "commit", "commit", "commit"]
    done = client.post(f"{HERE}/discussions/1/merge")
    assert done.status_code == 200, done.text
    assert {one["path"] for one in client.get(f"{HERE}/tree/main").json()} == {
        ".gitattributes",
        "beside.txt",
        "new.txt",
    }
    after = details(client, 1)
    assert (after["status"], after["changes"]["mergeCommitId"]) == ("merged", done.json()["commitOid"])
    assert "+two" in after["diff"]
    assert client.post(f"{HERE}/discussions/1/merge").status_code == 409
    assert client.post(f"{HERE}/discussions/1/status", json={"status": "open"}).status_code == 409


def test_files_changed_on_both_sides_are_named_and_nothing_is_merged(client: Client) -> None:
    commit(client, "a.txt", "first")
    commit(client, "a.txt", "mine", proposed=True)
    commit(client, "a.txt", "theirs")
    before = client.get(HERE).json()["sha"]
    assert details(client, 1)["filesWithConflicts"] == ["a.txt"]
    refused = client.post(f"{HERE}/discussions/1/merge")
    assert refused.status_code == 409
    assert "a.txt was changed on main too" in refused.json()["error"]
    assert client.get(HERE).json()["sha"] == before


def test_comments_titles_and_statuses(client: Client) -> None:
    client.post(f"{HERE}/discussions", json={"title": "A question", "description": "why?"})
    at = f"{HERE}/discussions/1"
    said = client.post(f"{at}/comment", json={"comment": "because"}).json()["newMessage"]
    edited = client.post(f"{at}/comment/{said['id']}/edit", json={"content": "since"}).json()[
        "updatedComment"
    ]
    assert (edited["data"]["latest"]["raw"], edited["data"]["edited"]) == ("since", True)
    assert client.post(f"{at}/comment/{said['id']}/hide").json()["updatedComment"]["data"]["hidden"]
    assert client.post(f"{at}/comment/{said['id']}/edit", json={"content": "again"}).status_code == 409
    assert client.post(f"{at}/title", json={"title": "An answer"}).json()["newTitle"]["data"] == {
        "from": "A question",
        "to": "An answer",
    }
    assert client.post(f"{at}/status", json={"status": "closed", "comment": "done"}).json()["newStatus"][
        "data"
    ] == {"status": "closed"}
    assert client.get(f"{HERE}/discussions").json()["numClosedDiscussions"] == 1
    assert client.post(f"{at}/comment", json={"comment": "  "}).status_code == 400
    assert client.post(f"{at}/status", json={"status": "merged"}).status_code == 400
    assert client.get(f"{HERE}/discussions/2").status_code == 404
    assert "secret" not in client.get(at).text


def test_readers_propose_and_writers_decide(tmp_path: Path) -> None:
    store = Store(tmp_path)
    accounts = Users(store)
    ada, bob, eve = (
        {"Authorization": f"Bearer {accounts.create_token(name)}"} for name in ("ada", "bob", "eve")
    )
    client = Client(make_app(store))
    client.headers.update(ada)
    client.post("/api/repos/create", json={"name": "first"})
    client.headers.update(bob)
    assert client.post(f"{HERE}/preupload/main", json={"files": []}).status_code == 403
    assert (
        client.post(f"{HERE}/preupload/main", json={"files": []}, params={"create_pr": "1"}).status_code
        == 200
    )
    commit(client, "a.txt", "a", proposed=True)
    commit(client, "a.txt", "b", to="refs/pr/1")
    assert client.post(f"{HERE}/discussions/1/merge").status_code == 403
    body = json.dumps({"key": "header", "value": {"summary": "x"}})
    assert client.post(f"{HERE}/commit/refs%2Fpr%2F1", content=body, headers=eve).status_code == 403
    assert client.post(f"{HERE}/commit/main", content=body).status_code == 403
    client.post(f"{HERE}/branch/side", headers=ada)
    assert client.post(f"{HERE}/commit/side", content=body, params={"create_pr": "1"}).status_code == 404
    assert client.post(f"{HERE}/discussions/1/merge", headers=ada).status_code == 200
    assert client.get("/ada/first/resolve/main/a.txt").text == "b"


def test_only_authors_and_writers_steer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    accounts = Users(store)
    ada, bob = ({"Authorization": f"Bearer {accounts.create_token(name)}"} for name in ("ada", "bob"))
    client = Client(make_app(store))
    assert client.post("/api/repos/create", json={"name": "first"}, headers=ada).status_code == 200
    assert client.post(f"{HERE}/discussions", json={"title": "mine"}, headers=ada).json()["num"] == 1
    assert client.post(f"{HERE}/discussions", json={"title": "nobody's"}).status_code == 401
    assert client.post(f"{HERE}/discussions/1/title", json={"title": "yours"}, headers=bob).status_code == 403
    said = client.post(f"{HERE}/discussions/1/comment", json={"comment": "hello"}, headers=bob).json()[
        "newMessage"
    ]
    assert (
        client.post(
            f"{HERE}/discussions/1/comment/{said['id']}/edit", json={"content": "no"}, headers=ada
        ).status_code
        == 403
    )
    assert client.post(f"{HERE}/discussions/1/comment/{said['id']}/hide", headers=ada).status_code == 200
    assert client.post(f"{HERE}/discussions/1/merge", headers=bob).status_code == 403
    repositories = Repositories(store)
    repositories.delete(repositories.find("model", "ada/first"))
    assert client.post("/api/repos/create", json={"name": "first"}, headers=ada).status_code == 200
    assert client.get(f"{HERE}/discussions", headers=ada).json()["count"] == 0
