"""Who may read which bytes: two people and nobody, over HTTP. Digests, links and old revisions open nothing
by themselves."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.hub import repository_checks
from freehold.hub.repositories import Repositories
from tests.hub.people import People, Person, hub_with_people, lfs_line, sha256, small_line

pytestmark = pytest.mark.usefixtures("each_database")

OPEN, PRIVATE, GATED, GONE = (name * 50 for name in (b"open", b"private", b"gated", b"gone"))
BROWSER = {"accept": "text/html"}


@pytest.fixture
def people(tmp_path: Path) -> People:
    """Ada has an open, a private and a gated repository, and had one that she deleted; Bob has one of his
    own."""
    made = hub_with_people(tmp_path)
    for name, data in (("open", OPEN), ("private", PRIVATE), ("gated", GATED), ("gone", GONE)):
        made.ada.create(f"ada/{name}", private=name == "private")
        made.ada.push(f"ada/{name}", "w.bin", data)
    made.ada.gate("ada/gated")
    made.ada.delete("ada/gone")
    made.bob.create("bob/own")
    return made


# -- LFS download ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [PRIVATE, GATED, GONE], ids=["private", "gated", "deleted"])
def test_lfs_links_open_only_what_the_named_repository_holds(people: People, data: bytes) -> None:
    for asker in (people.bob, people.nobody):
        entry = asker.batch("ada/open", "download", data)
        assert entry["error"] == {"code": 404, "message": "the object is not here"}
        assert "actions" not in entry
    assert people.bob.batch("bob/own", "download", data)["error"]["code"] == 404


def test_lfs_downloads_of_a_repository_go_to_those_who_may_read_it(people: People) -> None:
    for asker, repo, data in (
        (people.nobody, "ada/open", OPEN),
        (people.ada, "ada/private", PRIVATE),
        (people.ada, "ada/gated", GATED),
    ):
        link = asker.batch(repo, "download", data)["actions"]["download"]["href"]
        assert people.nobody.get(link).content == data
        part = people.nobody.get(link, headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, data[1:4])
    for asker in (people.bob, people.nobody):
        assert asker.batch("ada/private", "download", PRIVATE) == {"status": 404}
        assert asker.batch("ada/gated", "download", GATED) == {"status": 403}


def test_a_link_opens_nothing_but_what_it_was_given_for(people: People) -> None:
    link = people.nobody.batch("ada/open", "download", OPEN)["actions"]["download"]["href"]
    other = people.ada.batch("ada/private", "download", PRIVATE)["actions"]["download"]["href"]
    numbers = dict(re.findall(r"(repository|created|expires)=(\d+)", other))
    for changed in (
        link.replace(sha256(OPEN), sha256(PRIVATE)),
        link.replace(f"size={len(OPEN)}", f"size={len(PRIVATE)}"),
        *(re.sub(rf"{name}=\d+", f"{name}={int(number) + 1}", link) for name, number in numbers.items()),
        re.sub(r"who=[^&]*", "who=open", link),
        link.replace("signature=", "signature=0"),
    ):
        assert people.nobody.get(changed).status_code == 403, changed
    expires = int(numbers["expires"])
    assert expires <= time.time() + 3600


@pytest.mark.parametrize("loss", ["deleted", "revoked", "private", "gated"])
def test_a_link_ends_with_the_right_it_was_given_for(people: People, loss: str) -> None:
    mine, everyones = (
        asker.batch("ada/open", "download", OPEN)["actions"]["download"]["href"]
        for asker in (people.bob, people.nobody)
    )
    change: dict[str, Callable[[], object]] = {
        "deleted": lambda: people.ada.delete("ada/open"),
        "revoked": lambda: [
            people.accounts.revoke(one.digest) for one in people.accounts.tokens() if one.user == "bob"
        ],
        "private": lambda: people.ada.set("ada/open", private=True),
        "gated": lambda: people.ada.gate("ada/open"),
    }
    change[loss]()
    assert people.nobody.get(mine).status_code == 403
    assert people.nobody.get(everyones).status_code == (200 if loss == "revoked" else 403)


# -- what an upload is told -----------------------------------------------------------------------


def test_an_upload_is_not_told_whether_others_have_the_bytes(people: People) -> None:
    def told(data: bytes) -> str:
        entry = people.bob.batch("bob/own", "upload", data)
        text = str(sorted(entry["actions"]))
        links = [entry["actions"]["upload"]["href"], entry["actions"]["verify"]["href"]]
        for value in (entry["oid"], *re.findall(r"(?:signature|expires|size)=\w+", " ".join(links))):
            links = [link.replace(value, "*") for link in links]
        return text + str(links)

    assert told(PRIVATE) == told(GATED) == told(GONE) == told(os.urandom(350))
    for data in (PRIVATE, GATED, GONE, os.urandom(350)):
        body = {"oid": sha256(data), "size": len(data)}
        verified = people.bob.post("/api/models/bob/own/lfs-verify", json=body)
        assert (verified.status_code, verified.json()["error"]) == (404, "the object is not here")
    assert "actions" not in people.bob.batch(
        "bob/own", "upload", OPEN
    )  # he may read it, and so need not send it
    assert people.bob.post(
        "/api/models/bob/own/lfs-verify", json={"oid": sha256(OPEN), "size": len(OPEN)}
    ).is_success


def test_bytes_that_others_have_can_be_uploaded_and_are_kept_once(people: People) -> None:
    people.bob.push("bob/own", "mine.bin", PRIVATE)
    assert people.nobody.get("/bob/own/resolve/main/mine.bin").content == PRIVATE
    blobs = [path for path in people.store.blobs.rglob(sha256(PRIVATE)) if path.is_file()]
    assert len(blobs) == 1
    assert repository_checks.check(Repositories(people.store)) == []


# -- commits that name bytes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [PRIVATE, GATED, GONE, b"never sent"], ids=["private", "gated", "deleted", "none"]
)
def test_a_commit_gains_no_access_by_a_digest(people: People, data: bytes) -> None:
    for repo, query in (("bob/own", {}), ("ada/open", {"create_pr": "1"})):
        done = people.bob.commit(repo, lfs_line("stolen.bin", data), **query)
        assert done.status_code == 400
        assert done.json()["error"] == "the content of 'stolen.bin' was not uploaded, or has another size"
    assert people.bob.get("/bob/own/resolve/main/stolen.bin").status_code == 404


def test_a_commit_may_name_what_its_committer_may_read_or_sent(people: People) -> None:
    assert people.bob.commit("bob/own", lfs_line("copy.bin", OPEN)).is_success
    assert people.ada.commit("ada/open", lfs_line("copy.bin", PRIVATE)).is_success
    sent = os.urandom(100)
    people.bob.upload("bob/own", sent)
    assert people.bob.commit("bob/own", lfs_line("sent.bin", sent)).is_success
    assert people.bob.commit("bob/own", lfs_line("again.bin", sent)).is_success
    assert people.nobody.get("/bob/own/resolve/main/again.bin").content == sent


def test_an_upload_counts_for_who_sent_it_and_where(people: People) -> None:
    sent = os.urandom(100)
    people.ada.upload("ada/private", sent)
    people.bob.create("bob/other", private=True)
    people.bob.upload("bob/other", mine := os.urandom(100))
    assert people.bob.commit("bob/own", lfs_line("x.bin", sent)).status_code == 400
    assert people.bob.commit("bob/own", lfs_line("x.bin", mine)).status_code == 400
    assert people.bob.commit("bob/other", lfs_line("x.bin", mine)).is_success


def test_parts_that_another_has_sent_are_not_joined_for_who_knows_the_digest(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.servers.hub.lfs_parts.PART_BYTES", 1000)
    data = os.urandom(2500)
    body = {
        "operation": "upload",
        "transfers": ["multipart"],
        "objects": [{"oid": sha256(data), "size": len(data)}],
    }
    done = {"oid": sha256(data), "parts": [{"partNumber": 1, "etag": "x"}]}
    ada, bob = (
        who.post(f"/{repo}.git/info/lfs/objects/batch", json=body).json()["objects"][0]["actions"]["upload"]
        for who, repo in ((people.ada, "ada/private"), (people.bob, "bob/own"))
    )
    for number in (1, 2, 3):
        part = data[(number - 1) * 1000 : number * 1000]
        assert people.nobody.client.put(ada["header"][str(number)], content=part).is_success
    assert "part 1 of 3 was not uploaded" in people.nobody.post(bob["href"], json=done).json()["error"]
    assert people.nobody.post(ada["href"], json=done).is_success
    assert "part 1 of 3 was not uploaded" in people.nobody.post(bob["href"], json=done).json()["error"]
    assert people.bob.commit("bob/own", lfs_line("x.bin", data)).status_code == 400


def test_the_answer_to_a_huge_object_stays_small(people: People) -> None:
    objects = [{"oid": sha256(b"%d" % number), "size": 1 << 44} for number in range(1000)]
    body = {"operation": "upload", "transfers": ["multipart"], "objects": objects}
    done = people.bob.post("/bob/own.git/info/lfs/objects/batch", json=body)
    assert done.is_success
    assert len(done.content) < 1000 * 500
    assert {entry["error"]["code"] for entry in done.json()["objects"]} == {507}


def test_files_are_copied_between_repositories_by_who_may_read_the_first(people: People) -> None:
    def ask(who: Person, source: str, target: str, data: bytes) -> tuple[int, list[str]]:
        body = {
            "target": {"type": "model", "name": target},
            "files": [{"sha256": sha256(data), "filename": "w.bin"}],
        }
        done = who.post(f"/api/models/{source}/lfs-files/duplicate", json=body)
        return done.status_code, [one["sha256"] for one in done.json().get("failed", [])]

    assert ask(people.ada, "ada/private", "ada/open", PRIVATE) == (200, [])
    assert people.ada.commit("ada/open", lfs_line("copied.bin", PRIVATE)).is_success
    assert ask(people.bob, "ada/open", "bob/own", GATED) == (200, [sha256(GATED)])
    assert ask(people.bob, "ada/private", "bob/own", PRIVATE)[0] == 404
    assert ask(people.bob, "ada/gated", "bob/own", GATED)[0] == 403
    assert ask(people.bob, "bob/own", "ada/private", OPEN)[0] == 404


# -- gated repositories ---------------------------------------------------------------------------


def _digests(people: People) -> list[str]:
    """Everything that tells what a gated file holds."""
    entry = people.ada.get("/api/models/ada/gated/tree/main").json()
    return [value for one in entry for value in (one["oid"], one.get("lfs", {}).get("oid", "")) if value]


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/ada/gated/tree/main?expand=true&recursive=true",
        "/api/models/ada/gated?blobs=true&securityStatus=true",
        "/api/models/ada/gated/revision/main?blobs=true",
        "/api/models?full=true",
        "/ada/gated/tree/main",
        "/ada/gated",
        "/api/models/ada/gated/discussions/1?diff=1",
        "/ada/gated/discussions/1",
        "/api/models/ada/gated/refs",
        "/api/models/ada/gated/commits/main",
    ],
)
def test_what_is_said_of_a_gated_repository_names_no_digest_to_outsiders(people: People, path: str) -> None:
    people.ada.commit("ada/gated", small_line("docs/notes.txt", b"within"))
    people.ada.commit("ada/gated", lfs_line("two.bin", GATED), create_pr="1")
    digests = _digests(people)
    assert len(digests) == 4
    browser = BROWSER if not path.startswith("/api/") else {}
    for asker in (people.bob, people.nobody):
        said = asker.get(path, headers=browser)
        assert said.status_code == 200, said.text
        assert not [one for one in digests if one in said.text or one[:12] in said.text]
        assert "lastCommit" not in said.text
        assert '"within"' not in said.text


def test_paths_of_a_gated_repository_are_named_without_digests(people: People) -> None:
    asked = {"paths": ["w.bin", ".gitattributes"], "expand": True}
    for asker in (people.bob, people.nobody):
        entries = asker.post("/api/models/ada/gated/paths-info/main", json=asked).json()
        assert [(one["path"], one["oid"]) for one in entries] == [("w.bin", ""), (".gitattributes", "")]
        assert all(one.keys() == {"type", "oid", "size", "path"} for one in entries)
    people.accounts.decide(Repositories(people.store).find("model", "ada/gated").id, "bob", "accepted")
    entries = people.bob.post("/api/models/ada/gated/paths-info/main", json=asked).json()
    assert entries[0]["lfs"]["oid"] == sha256(GATED)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("more", [{}, {"Range": "bytes=0-3"}, {"If-None-Match": f'"{sha256(GATED)}"'}])
def test_a_refused_file_tells_nothing_in_its_headers(
    people: People, method: str, more: dict[str, str]
) -> None:
    for asker in (people.bob, people.nobody):
        for path in ("w.bin", "never.bin"):
            said = asker.client.request(
                method, f"/ada/gated/resolve/main/{path}", headers=asker.headers | more
            )
            assert said.status_code == 403
            assert (
                not {"etag", "x-linked-etag", "x-xet-hash", "x-linked-size", "x-repo-commit"}
                & said.headers.keys()
            )


def test_a_private_repository_answers_as_one_that_is_not_there(people: People) -> None:
    paths = [
        "/api/models/{}",
        "/api/models/{}/tree/main",
        "/api/models/{}/refs",
        "/api/models/{}/commits/main",
        "/{}/resolve/main/w.bin",
        "/{}",
        "/{}/tree/main",
        "/{}/blob/main/w.bin",
        "/{}/lineage",
        "/api/models/{}/discussions",
        "/api/models/{}/xet-read-token/main",
        "/api/models/{}/xet-write-token/main",
        "/api/models/{}/auth-check",
        "/{}/commit/main",
    ]
    for asker in (people.bob, people.nobody):
        for path in paths:
            there, never = (asker.get(path.format(name)) for name in ("ada/private", "ada/nothing"))
            assert (there.status_code, there.text.replace("private", "nothing")) == (
                never.status_code,
                never.text,
            )
            assert there.status_code in (401, 404)
    for query in ("search=private", "author=ada", "full=true"):
        assert "ada/private" not in people.bob.get(f"/api/models?{query}").text


def _paths(people: People, repo: str) -> list[str]:
    """Every address that can be read of a repository, as the application lists its routes."""
    values = {
        "plural": "models",
        "repo": repo,
        "where": repo,
        "revision": "main",
        "path": "w.bin",
        "folder": "",
        "number": "1",
        "role": "read",
        "status": "pending",
        "oid": sha256(PRIVATE),
        "store": "0" * 16,
        "prefix": "default",
        "chunk": "0" * 64,
        "name": "0" * 64,
    }
    description = people.ada.get("/openapi.json").json()["paths"]
    return [
        re.sub(r"\{(\w+)\}", lambda part: values[part[1]], path)
        for path, ways in description.items()
        if "get" in ways
    ]


@pytest.mark.parametrize("repo", ["ada/private", "ada/gated"])
def test_no_address_tells_outsiders_what_is_in_a_closed_repository(people: People, repo: str) -> None:
    """Also those that are made after this test: the list is the application's own."""
    data = PRIVATE if repo == "ada/private" else GATED
    for line in (small_line("w.txt", data), lfs_line("w2.bin", data)):
        assert people.ada.commit(repo, line, create_pr="1").is_success
    entries = people.ada.get(f"/api/models/{repo}/tree/main").json()
    secrets = [data[:40].decode(), *(one["oid"] for one in entries), sha256(data), sha256(data)[:12]]
    paths = _paths(people, repo)
    assert len(paths) > 30
    query = "expand=true&recursive=true&blobs=true&diff=1&full=true&search=ada&securityStatus=true"
    for path in paths:
        for asker in (people.bob, people.nobody):
            for browser in ({}, BROWSER):
                said = asker.get(f"{path}?{query}" if "?" not in path else path, headers=browser)
                told = said.text + str(said.headers)
                asked = sha256(PRIVATE) in path
                assert not [one for one in secrets if one in told and not (asked and one in path)], path


# -- revisions ------------------------------------------------------------------------------------


def test_what_only_a_removed_branch_held_is_read_by_nobody(people: People) -> None:
    secret = b"on a branch" * 20
    assert people.ada.post("/api/models/ada/open/branch/work", json={}).is_success
    commit = people.ada.push("ada/open", "secret.bin", secret, branch="work")
    link = people.nobody.batch("ada/open", "download", secret)["actions"]["download"]["href"]
    assert people.nobody.get(f"/ada/open/resolve/{commit}/secret.bin").content == secret
    people.ada.client.delete("/api/models/ada/open/branch/work", headers=people.ada.headers)
    for asker in (people.ada, people.bob, people.nobody):
        for revision in (commit, commit[:10], "work"):
            assert asker.get(f"/ada/open/resolve/{revision}/secret.bin").status_code == 404
            assert asker.get(f"/api/models/ada/open/revision/{revision}").status_code == 404
            assert asker.get(f"/api/models/ada/open/xet-read-token/{revision}").status_code == 404
            assert asker.get(f"/ada/open/commit/{revision}").status_code == 404
        assert asker.batch("ada/open", "download", secret)["error"]["code"] == 404
    assert people.nobody.get(link).status_code == 404
    assert people.bob.commit("bob/own", lfs_line("x.bin", secret)).status_code == 400
    back = people.ada.post("/api/models/ada/open/branch/back", json={"startingPoint": commit})
    assert back.is_success  # who may write can bring it back
    assert people.nobody.get("/ada/open/resolve/back/secret.bin").content == secret


def test_a_squashed_history_is_gone_and_a_living_one_is_not(people: People) -> None:
    first = people.ada.push("ada/open", "old.bin", b"old" * 50)
    line = {"key": "deletedFile", "value": {"path": "old.bin"}}
    assert people.ada.commit("ada/open", line).is_success
    assert people.nobody.get(f"/ada/open/resolve/{first}/old.bin").content == b"old" * 50
    assert "actions" in people.nobody.batch("ada/open", "download", b"old" * 50)
    assert people.ada.post("/api/models/ada/open/super-squash/main", json={}).is_success
    assert people.nobody.get(f"/ada/open/resolve/{first}/old.bin").status_code == 404
    assert "actions" not in people.nobody.batch("ada/open", "download", b"old" * 50)
    assert people.nobody.get("/ada/open/resolve/main/w.bin").content == OPEN
    assert "actions" in people.nobody.batch("ada/open", "download", OPEN)


def test_a_merged_request_shows_nothing_of_a_squashed_history(people: People) -> None:
    people.ada.commit("ada/open", small_line("a.txt", b"before"))
    assert people.ada.commit("ada/open", small_line("a.txt", b"after"), create_pr="1").is_success
    assert people.ada.post("/api/models/ada/open/discussions/1/merge", json={}).is_success
    assert "-before" in people.nobody.get("/api/models/ada/open/discussions/1?diff=1").json()["diff"]
    assert people.ada.post("/api/models/ada/open/super-squash/main", json={}).is_success
    assert people.nobody.get("/api/models/ada/open/discussions/1?diff=1").json()["diff"] == ""
    assert people.nobody.get("/ada/open/discussions/1", headers=BROWSER).status_code == 200


# -- collection -----------------------------------------------------------------------------------


def test_a_collection_spares_uploads_whose_commit_is_to_come(people: People) -> None:
    sent, stray = os.urandom(100), Repositories(people.store).contents.put(os.urandom(100))
    people.bob.upload("bob/own", sent)
    for digest in (sha256(sent), stray):
        old = time.time() - 9000
        os.utime(people.store.blob(digest), (old, old))
    assert Repositories(people.store).collect() == (1, 100)
    assert people.store.blob(sha256(sent)).exists()
    assert people.bob.commit("bob/own", lfs_line("sent.bin", sent)).is_success
    assert repository_checks.check(Repositories(people.store)) == []
