"""What a second attack on the hub broke: rights that outlived what they were given for, and small requests
that cost much."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.core.errors import UsageError
from freehold.hub import xet
from freehold.hub.commits import Change, File
from freehold.hub.repositories import Repositories
from freehold.hub.storage_backends import Folder
from freehold.models.names import check_together
from tests.hub.models import gguf
from tests.hub.people import People, Person, hub_with_people, shard, small_line

HEADER = {"key": "header", "value": {"summary": "a change"}}
BROWSER = {"accept": "text/html"}


@pytest.fixture
def people(tmp_path: Path) -> People:
    """Ada's open repository, and Bob's."""
    made = hub_with_people(tmp_path)
    made.ada.create("ada/open")
    made.bob.create("bob/own")
    return made


def slow_commit(people: People, repo: str, meanwhile: Any) -> Any:
    """Bob's commit, during whose body something happens."""

    def body() -> Iterator[bytes]:
        yield json.dumps(HEADER).encode() + b"\n"
        meanwhile()
        yield json.dumps(small_line("late.txt", b"late")).encode()

    client = people.bob.client
    return client.post(f"/api/models/{repo}/commit/main", content=body(), headers=people.bob.headers)


def files(people: People, repo: str) -> set[str]:
    return {one["rfilename"] for one in people.ada.get(f"/api/models/{repo}").json()["siblings"]}


# -- rights that end --------------------------------------------------------------------------------


@pytest.mark.usefixtures("each_database")
def test_a_commit_to_a_repository_that_is_deleted_meanwhile_reaches_no_other(people: People) -> None:
    def meanwhile() -> None:
        people.bob.delete("bob/own")
        people.ada.create("ada/next")

    done = slow_commit(people, "bob/own", meanwhile)
    assert done.status_code == 404
    assert files(people, "ada/next") == {".gitattributes"}


@pytest.mark.usefixtures("each_database")
def test_a_repository_never_has_the_number_of_a_deleted_one(people: People) -> None:
    repositories = Repositories(people.store)
    gone = repositories.find("model", "bob/own")
    people.bob.delete("bob/own")
    people.accounts.decide(gone.id, "bob", "accepted")  # a request for access that was under way
    people.ada.create("ada/next")
    people.ada.push("ada/next", "w.bin", b"secret" * 20)
    people.ada.gate("ada/next")
    assert repositories.find("model", "ada/next").id > gone.id
    assert people.bob.get("/ada/next/resolve/main/w.bin").status_code == 403
    late = Change("late", put={"late.txt": File(repositories.contents.put(b"x"), 1, False, "0" * 40)})
    with pytest.raises(Exception, match="no revision|has no branch"):
        repositories.apply(gone, "main", late, "bob")


def test_a_commit_whose_token_is_revoked_while_its_body_comes_changes_nothing(people: People) -> None:
    def meanwhile() -> None:
        for one in people.accounts.tokens():
            if one.user == "bob":
                people.accounts.revoke(one.digest)

    assert slow_commit(people, "bob/own", meanwhile).status_code == 401
    assert files(people, "bob/own") == {".gitattributes"}


def test_a_token_that_may_only_read_writes_in_no_discussion(people: People) -> None:
    token = people.accounts.create_token("ada", role="read")
    reader = Person(people.ada.client, {"Authorization": f"Bearer {token}"})
    at = "/api/models/ada/open/discussions"
    number = people.ada.post(at, json={"title": "a", "description": "b"}).json()["num"]
    comment = reader.get(f"{at}/{number}").json()["events"][0]["id"]
    for path, body in (
        (at, {"title": "x"}),
        (at, {"title": "x", "pullRequest": True}),
        (f"{at}/{number}/comment", {"comment": "x"}),
        (f"{at}/{number}/title", {"title": "x"}),
        (f"{at}/{number}/status", {"status": "closed"}),
        (f"{at}/{number}/comment/{comment}/edit", {"content": "x"}),
        (f"{at}/{number}/comment/{comment}/hide", {}),
    ):
        assert reader.post(path, json=body).status_code == 403, path
    assert people.bob.post(f"{at}/{number}/comment", json={"comment": "x"}).status_code == 200


def test_changes_to_a_gated_repository_are_proposed_by_those_who_may_read_it(people: People) -> None:
    people.ada.gate("ada/open")
    at = "/api/models/ada/open/discussions"
    assert people.bob.post(at, json={"title": "x", "pullRequest": True}).status_code == 403
    assert people.bob.post(at, json={"title": "may I?"}).status_code == 200


@pytest.mark.parametrize("name", ["Ada", "ADA"])
def test_names_of_people_differ_by_more_than_case(people: People, name: str) -> None:
    with pytest.raises(UsageError, match="only in case"):
        people.accounts.create_token(name)
    with pytest.raises(UsageError, match="only in case"):
        people.accounts.add(name, organisation=True)


# -- small requests that cost much --------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/?q={}", "/?{tags}", "/api/models?search={}", "/api/models?filter={list}"])
def test_a_search_of_very_many_words_is_refused(people: People, path: str) -> None:
    many = [f"w{number}" for number in range(2000)]
    asked = path.format("+".join(many), tags="&".join(f"tag={one}" for one in many), list=",".join(many))
    assert people.nobody.get(asked).status_code == 400


def test_texts_of_commits_have_an_end(people: People) -> None:
    for value in ({"summary": "t" * 1001}, {"summary": "t", "description": "d" * 100_001}):
        header = {"key": "header", "value": value}
        for query in ({}, {"create_pr": "1"}):
            done = people.ada.commit("ada/open", header, small_line("a.txt", b"x"), **query)
            assert done.status_code == 400
            assert "send at most" in done.json()["error"]
    squash = people.ada.post("/api/models/ada/open/super-squash/main", json={"message": "t" * 1001})
    assert squash.status_code == 400


def test_files_and_folders_of_a_repository_are_not_without_number() -> None:
    deep = "/".join("f" * 10 for _ in range(60))
    with pytest.raises(UsageError, match="files and folders"):
        check_together(f"{number}/{deep}/x" for number in range(5000))
    check_together(f"{number % 1000}/{number}" for number in range(100_000))


def test_tags_that_a_card_states_have_an_end(people: People) -> None:
    card = "---\ntags:\n" + "".join(f"- t{number}\n" for number in range(5000)) + "---\n"
    assert people.ada.commit("ada/open", small_line("README.md", card.encode())).status_code == 200
    assert len(people.nobody.get("/api/models/ada/open").json()["tags"]) == 1000


@pytest.mark.parametrize("path", ["/ada/open/commit/main", "/api/models/ada/open/discussions/1?diff=1"])
def test_a_difference_of_many_alike_lines_is_shown(people: People, path: str) -> None:
    """Python's difflib takes hours for it."""
    lines = [f"{number % 150}\n" for number in range(100_000)]
    first = "".join(lines).encode()
    then = "".join(sorted(lines)).encode()
    people.ada.commit("ada/open", small_line("a.txt", first))
    people.ada.commit("ada/open", small_line("a.txt", then), create_pr="1")
    people.ada.commit("ada/open", small_line("a.txt", then))
    done = people.nobody.get(path, headers=BROWSER if "/api/" not in path else {})
    assert done.status_code == 200
    assert "a.txt" in done.text


@pytest.mark.parametrize("unit", ["[", "![", "[a](", "[[a](", "<", "`` ` ", "**a *"])
def test_a_card_whose_markdown_costs_much_is_shown(people: People, unit: str) -> None:
    card = unit * (400_000 // len(unit))
    people.ada.commit("ada/open", small_line("README.md", card.encode()))
    page = people.nobody.get("/ada/open", headers=BROWSER)
    assert page.status_code == 200
    assert "Only the beginning of this text is shown" in page.text


def test_tables_that_fill_themselves_up_are_shown_as_they_were_written(people: People) -> None:
    table = "|" + "a|" * 200 + "\n|" + "-|" * 200 + "\n" + "a\n" * 327 + "\n"
    people.ada.commit("ada/open", small_line("README.md", (table * 60).encode()))
    page = people.nobody.get("/ada/open", headers=BROWSER)
    assert len(page.content) < 1_000_000


def test_what_a_folder_holds_is_found_without_looking_at_every_file(people: People) -> None:
    repositories = Repositories(people.store)
    blob = File(repositories.contents.put(b"x"), 1, False, "0" * 40)
    put = {f"d{number}/e/f.txt": blob for number in range(8000)}
    repositories.apply(repositories.find("model", "ada/open"), "main", Change("many", put=put), "ada")
    tree = people.nobody.get("/api/models/ada/open/tree/main?limit=10000&expand=true").json()
    assert len(tree) == 8001
    asked = {"paths": ["d1", "d1/e", "d1/e/f.txt", "d", "d1/"], "expand": True}
    told = people.nobody.post("/api/models/ada/open/paths-info/main", json=asked).json()
    assert [one["path"] for one in told] == ["d1", "d1/e", "d1/e/f.txt", "d1"]
    assert {one["lastCommit"]["title"] for one in told} == {"many"}


# -- what is told ------------------------------------------------------------------------------------


def test_pictures_in_a_discussion_load_nothing_but_files_of_its_repository(people: People) -> None:
    text = "![x](bob/own/resolve/main/secret.bin) ![y](/bob/own/resolve/main/secret.bin)"
    people.bob.post("/api/models/ada/open/discussions", json={"title": "t", "description": text})
    page = people.ada.get("/ada/open/discussions/1", headers=BROWSER).text
    assert 'src="/ada/open/resolve/main/bob/own/resolve/main/secret.bin"' in page
    assert page.count("<img") == 1


def test_a_long_discussion_says_how_much_of_it_is_not_shown(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.servers.hub.pages_repository._MOST_EVENTS", 2)
    at = "/api/models/ada/open/discussions"
    people.bob.post(at, json={"title": "t", "description": "the first"})
    for earlier, text in ((0, "the second"), (1, "the third")):
        people.bob.post(f"{at}/1/comment", json={"comment": text})
        page = people.nobody.get("/ada/open/discussions/1", headers=BROWSER).text
        assert ("the first" in page, f"{earlier} earlier event is not shown" in page) == (
            not earlier,
            bool(earlier),
        )


def test_the_audit_log_takes_of_settings_what_they_are(people: People) -> None:
    people.ada.set("ada/open", private=False, gated="manual", note="n" * 100_000)
    with people.store.engine.connect() as connection:
        told = connection.exec_driver_sql("SELECT detail FROM audit WHERE action = 'settings'").scalar()
    assert json.loads(str(told)) == {"private": False, "gated": "manual"}


def test_what_the_header_of_a_gated_file_says_is_told_to_those_who_may_read_it(
    people: People, tmp_path: Path
) -> None:
    made = gguf(tmp_path / "made.gguf")
    people.ada.push("ada/open", "w.gguf", made.read_bytes())
    everyone = people.nobody.get("/api/models/ada/open").json()
    assert everyone["gguf"]["total"] > 0
    people.ada.gate("ada/open")
    for path in ("/api/models/ada/open", "/api/models?expand=gguf&expand=safetensors"):
        assert "total" not in people.bob.get(path).text
        assert "total" in people.ada.get(path).text
    assert "Files that can be run" not in people.bob.get("/ada/open", headers=BROWSER).text
    assert "Files that can be run" in people.ada.get("/ada/open", headers=BROWSER).text


def test_spans_of_a_shard_are_counted_once(people: People) -> None:
    """A shard of 1.4 MB named 2,000,000,000 chunks, one after the other."""
    store = people.bob.chunk_store("bob/own", "write")
    missing = "a" * 64
    rows = [(xet.bytes_of(missing), 1, 0, 65_000)] * 30_000
    done = store.post("/v1/shards", shard(xet.bytes_of("b" * 64), rows, bytes(32)))
    assert done.status_code == 404


@pytest.mark.usefixtures("each_database")
def test_a_page_of_a_list_ends_where_cards_state_much(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.hub.repositories._PAGE_CHARACTERS", 3000)
    for number in range(5):
        people.ada.create(f"ada/m{number}")
        card = f"---\nnote: {'n' * 1000}\n---\n"
        people.ada.commit(f"ada/m{number}", small_line("README.md", card.encode()))
    names: list[str] = []
    asked, pages = "/api/models?author=ada", 0
    while asked:
        page = people.nobody.get(asked)
        names += [one["id"] for one in page.json()]
        asked, pages = page.links.get("next", {}).get("url", ""), pages + 1
    assert sorted(names) == [*(f"ada/m{number}" for number in range(5)), "ada/open"]
    assert pages == 3


@pytest.mark.parametrize("name", ["refs/pr/1", "refs/heads/main", "refs/x"])
def test_no_branch_or_tag_stands_for_a_request(people: People, name: str) -> None:
    path = name.replace("/", "%2F")
    assert people.ada.post(f"/api/models/ada/open/branch/{path}", json={}).status_code == 400
    assert people.ada.post("/api/models/ada/open/tag/main", json={"tag": name}).status_code == 400


def test_when_a_file_changed_last_is_looked_for_so_far_back(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        people.ada.commit("ada/open", small_line(f"d/{number}.txt", b"x"))
    at = "/api/models/ada/open/tree/main?recursive=true&expand=true"

    def known() -> dict[str, bool]:
        return {one["path"]: one["lastCommit"] is not None for one in people.nobody.get(at).json()}

    assert all(known().values())
    monkeypatch.setattr("freehold.servers.hub.tree_entries._MOST_COMPARED", 5)
    assert known() == {
        ".gitattributes": False,
        "d": True,
        "d/0.txt": False,
        "d/1.txt": False,
        "d/2.txt": True,
        "d/3.txt": True,
    }


def test_a_collection_spares_what_was_renewed_after_it_was_listed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    names = [f"{number}" * 64 for number in range(3)]
    for name in names:
        folder.put(name, b"x")
        os.utime(folder.path(name) or "", (1, 1))
    judged: list[str] = []

    def needed(name: str) -> bool:
        """A commit names each again, right after the collection has looked at it."""
        for one in judged:
            folder.renew(one)
        judged.append(name)
        return False

    assert folder.collect(needed, 1000.0) == (1, 1)
    assert [name for name in names if folder.path(name)] == sorted(judged[:2])


def test_a_line_of_a_commit_has_an_end(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.servers.hub.commit_body.MOST_LINE_BYTES", 10_000)
    assert people.ada.commit("ada/open", small_line("a.txt", b"x" * 9000)).status_code == 413
    assert people.ada.commit("ada/open", small_line("a.txt", b"x" * 5000)).status_code == 200
