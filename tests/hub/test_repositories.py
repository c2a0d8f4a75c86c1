import hashlib
import os
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from freehold.core.errors import BadData, NotFound, PolicyDenied, UsageError
from freehold.hub import front_matter, repository_checks
from freehold.hub.commits import Change, Exists, File, Repository, Stale, git_oid
from freehold.hub.repositories import Repositories
from freehold.hub.search_index import SearchQuery
from freehold.hub.users import Users
from freehold.models import catalogue as tables
from freehold.models.names import check_path
from freehold.models.store import Store

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(Store(tmp_path))


@pytest.fixture
def repo(repositories: Repositories) -> Repository:
    return repositories.create("model", "ada/first")


def file_of(repositories: Repositories, data: bytes) -> File:
    return File(repositories.contents.put(data), len(data), False, git_oid("blob", data))


def put(repositories: Repositories, repo: Repository, path: str, data: bytes, parent: str = "") -> str:
    return repositories.apply(
        repo, "main", Change(f"put {path}", parent=parent, put={path: file_of(repositories, data)}), "ada"
    ).id


def test_object_ids_are_gits_own() -> None:
    assert git_oid("blob", b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_commit_is_named_by_what_it_holds(repositories: Repositories, repo: Repository) -> None:
    done = put(repositories, repo, "a.txt", b"a")
    commit = repositories.commit(repo, "main")
    assert commit.id == done
    assert set(commit.files) == {".gitattributes", "a.txt"}
    assert repositories.commit(repo, done[:10]).id == done
    assert [one.title for one in repositories.history(repo, "main")] == ["put a.txt", "initial commit"]


def test_of_two_commits_on_one_parent_one_wins_and_nothing_is_lost(
    repositories: Repositories, repo: Repository
) -> None:
    parent = repositories.resolve(repo, "main")
    results: list[object] = []

    def work(number: int) -> None:
        own = Repositories(Store(repositories.store.folder))
        try:
            results.append(put(own, repo, f"{number}.txt", str(number).encode(), parent))
        except Stale as error:
            results.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [one for one in results if isinstance(one, str)]
    assert len(won) == 1
    assert len(results) == 4
    assert repositories.resolve(repo, "main") == won[0]
    assert repository_checks.check(repositories) == []


def test_commits_without_a_parent_queue_up(repositories: Repositories, repo: Repository) -> None:
    threads = [
        threading.Thread(
            target=lambda number=number: put(
                Repositories(Store(repositories.store.folder)), repo, f"{number}.txt", b"x"
            )
        )
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(repositories.commit(repo, "main").files) == 9


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a//b",
        "a\\b",
        "a\0b",
        ".git/config",
        "a\nb",
        "x" * 300,
        "./a",
        ".GIT/config",
        ".git /config",
        "GIT~1/config",
        ".g\u200cit/config",
        "\uff0egit/config",
        "cat\u202egpj.exe",
        "a\u200b.bin",
        "C:/x",
        "a\u2028b",
    ],
)
def test_paths_that_leave_the_repository_are_refused(path: str) -> None:
    with pytest.raises(UsageError, match="cannot be a file's path"):
        check_path(path)


def test_files_that_a_disk_could_not_hold_side_by_side_are_refused(
    repositories: Repositories, repo: Repository
) -> None:
    put(repositories, repo, "Read.me", b"1")
    with pytest.raises(UsageError, match="differ only in case"):
        put(repositories, repo, "read.ME", b"2")
    with pytest.raises(UsageError, match="a file and a folder"):
        put(repositories, repo, "Read.me/inside", b"3")


def test_a_commit_needs_its_contents(repositories: Repositories, repo: Repository) -> None:
    with pytest.raises(BadData, match=r"content of 'a\.bin' was not uploaded"):
        repositories.apply(repo, "main", Change("t", put={"a.bin": File("0" * 64, 3, True, "")}), "ada")


def test_names_differ_by_more_than_case_and_old_names_lead_on(
    repositories: Repositories, repo: Repository
) -> None:
    with pytest.raises(Exists):
        repositories.create("model", "ada/FIRST")
    repositories.create("dataset", "ada/first")
    repositories.move(repo, "ada/second")
    assert repositories.find("model", "ada/first").name == "ada/second"
    repositories.create("model", "ada/first")
    assert repositories.find("model", "ada/first").name == "ada/first"
    with pytest.raises(UsageError):
        repositories.create("model", "ada/a--b")


def test_collection_keeps_what_any_commit_holds(repositories: Repositories, repo: Repository) -> None:
    put(repositories, repo, "a.txt", b"first")
    put(repositories, repo, "a.txt", b"second")
    stray = repositories.contents.put(b"nobody's")
    old = time.time() - 9000
    for path in repositories.store.blobs.rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))
    assert repositories.collect() == (1, len(b"nobody's"))
    assert not repositories.store.blob(stray).exists()
    assert repository_checks.check(repositories) == []
    repositories.delete(repo)
    assert repositories.collect()[0] == 3


def test_check_names_what_is_wrong(repositories: Repositories, repo: Repository) -> None:
    put(repositories, repo, "a.txt", b"right")
    put(repositories, repo, "b.txt", b"there")
    blob = repositories.store.blob(hashlib.sha256(b"right").hexdigest())
    blob.write_bytes(b"wrong")
    repositories.store.blob(hashlib.sha256(b"there").hexdigest()).unlink()
    faults = "\n".join(repository_checks.check(repositories))
    assert "model ada/first at" in faults
    assert "a.txt" in faults
    assert "was changed; its bytes no longer match" in faults
    assert "b.txt is missing" in faults


def test_branches_and_tags(repositories: Repositories, repo: Repository) -> None:
    done = put(repositories, repo, "a.txt", b"a")
    repositories.add_ref(repo, "tag", "v1", done)
    put(repositories, repo, "a.txt", b"b")
    assert repositories.resolve(repo, "v1") == done
    with pytest.raises(Exists):
        repositories.add_ref(repo, "tag", "v1", done)
    with pytest.raises(UsageError, match="cannot name a branch"):
        repositories.add_ref(repo, "branch", "../x", done)
    with pytest.raises(PolicyDenied, match="main cannot be removed"):
        repositories.remove_ref(repo, "branch", "main")
    repositories.remove_ref(repo, "tag", "v1")
    with pytest.raises(NotFound):
        repositories.resolve(repo, "v1")


def test_a_cards_metadata_becomes_tags(repositories: Repositories, repo: Repository) -> None:
    put(
        repositories,
        repo,
        "README.md",
        b"---\nlicense: mit\ntags: [a]\nlanguage: de\ndatasets: [x/y]\n---\n# hi\n",
    )
    assert repositories.find("model", "ada/first").tags == ["a", "de", "dataset:x/y", "license:mit"]
    assert [one.name for one in repositories.list(SearchQuery("model", tags=("license:mit",)))[0]] == [
        "ada/first"
    ]
    assert repositories.list(SearchQuery("model", tags=("license:mi",))) == ([], "")
    with pytest.raises(BadData, match="not valid YAML"):
        front_matter.read("---\na: [\n---\n")
    put(
        repositories, repo, "README.md", b"---\na: [\n---\n"
    )  # a card that cannot be read does not stop a push


def test_tokens_are_kept_as_digests_expire_and_are_taken_back(tmp_path: Path) -> None:
    accounts = Users(Store(tmp_path))
    assert accounts.open
    token = accounts.create_token("ada", role="write")
    assert not accounts.open
    assert len(token) >= 37
    assert token.startswith("hf_")
    assert token.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    actor = accounts.actor(token)
    assert actor is not None
    assert (actor.may_write("ada"), actor.may_write("bob")) == (True, False)
    assert accounts.actor(accounts.create_token("ada", days=-1)) is None
    assert accounts.actor(token + "x") is None
    accounts.revoke(hashlib.sha256(token.encode()).hexdigest()[:12])
    assert accounts.actor(token) is None


@pytest.mark.parametrize("harm", ["edit", "remove"])
def test_an_edited_audit_log_shows(tmp_path: Path, harm: str) -> None:
    accounts = Users(Store(tmp_path))
    for number in range(5):
        accounts.record("ada", "pull", f"model {number}")
    assert accounts.audit_faults() == []
    with accounts.engine.begin() as connection:
        third = tables.audit.c.id == 3
        connection.execute(
            tables.audit.update().where(third).values(actor="bob")
            if harm == "edit"
            else sa.delete(tables.audit).where(third)
        )
    assert "the audit log was changed" in accounts.audit_faults()[0]


def test_what_an_upload_found_here_survives_a_collection_until_its_commit(
    repositories: Repositories, repo: Repository
) -> None:
    digest = repositories.contents.put(b"left by another")
    old = time.time() - 9000
    os.utime(repositories.store.blob(digest), (old, old))
    assert repositories.contents.put(b"left by another") == digest
    assert repositories.collect() == (0, 0)
    put(repositories, repo, "a.txt", b"left by another")
    assert repository_checks.check(repositories) == []


def test_a_proposal_that_fails_leaves_no_line_of_commits(
    repositories: Repositories, repo: Repository
) -> None:
    head = repositories.resolve(repo, "main")
    with pytest.raises(NotFound):
        repositories.propose(repo, head, Change("t", removed=["never.txt"]), "ada")
    assert [kind for kind, _, _ in repositories.refs(repo)] == ["branch"]
    made, name = repositories.propose(
        repo, head, Change("t", put={"a.txt": file_of(repositories, b"a")}), "ada"
    )
    assert (name, repositories.resolve(repo, name)) == ("refs/pr/1", made.id)
