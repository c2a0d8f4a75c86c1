from pathlib import Path

import pytest

from freehold.hub.commits import Change, lfs_file
from freehold.hub.repositories import Repositories
from freehold.hub.variants import variants
from freehold.models.store import Store
from freehold.servers.hub import pages_repository
from freehold.servers.hub.app import make_app
from tests.entry import pull
from tests.hub.client import Client
from tests.hub.test_mirror import push
from tests.servers.hub.test_pages import BROWSER

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def repositories(tmp_path: Path, smollm2: Path) -> Repositories:
    made = Repositories(Store(tmp_path / "hub"))
    stored = pull(made.store, f"file:{smollm2}", "smol")
    found = made.create("model", "ada/smol")
    made.apply(
        found,
        "main",
        Change("weights", put={"smol-q4_1.gguf": lfs_file(stored.digest, stored.info.size_bytes)}),
        "ada",
    )
    return made


def test_a_gguf_tells_what_it_is(repositories: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    push(
        repositories,
        "ada/smol",
        {"README.md": b"---\nlicense: mit\n---\n", "broken.gguf": b"GGUF" + b"\xff" * 200},
    )
    files = repositories.commit(repositories.find("model", "ada/smol"), "main").files
    for _ in range(2):  # read, then from what is kept
        found = variants(repositories.contents, files, "mit")
        assert [(one.name, one.info.architecture, one.info.quantization) for one in found] == [
            ("smol-q4_1.gguf", "llama", "Q4_1")
        ]
        assert 130e6 < found[0].info.parameters < 140e6
        assert found[0].info.licence  # the file's own, or the card's
    monkeypatch.setattr(pages_repository, "measured", lambda digest: [f"accuracy 0.9 on {digest[:4]}"])
    page = Client(make_app(repositories.store)).get("/ada/smol", headers=BROWSER)
    assert f"accuracy 0.9 on {found[0].digest[:4]}" in page.text
    told = Client(make_app(repositories.store)).get("/api/models/ada/smol").json()
    assert told["gguf"]["total"] == found[0].info.parameters
    assert told["gguf"]["context_length"] == 8192


def test_a_repository_is_pulled_into_the_store(repositories: Repositories) -> None:
    model = pull(repositories.store, "hub:ada/smol", "again")
    assert model.digest == repositories.store.find("smol").digest
    assert model.info.provenance["repository"] == "ada/smol"
