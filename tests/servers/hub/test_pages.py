import base64
import json
import re
from pathlib import Path

import pytest

from freehold.hub.users import Users
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from freehold.servers.hub.markdown import rendered
from tests.hub.client import Client
from tests.hub.people import commit_body, small_line

pytestmark = pytest.mark.usefixtures("each_database")

CARD = """---
license: mit
pipeline_tag: text-classification
base_model: ada/base
datasets: [ada/rows]
---
# Intents
For the *help desk* of a bank; see [notes](docs/notes.md) and ![a curve](curve.png).

<script>alert(1)</script>
[bad](javascript:alert(1))
"""
BROWSER = {"accept": "text/html"}


def push(
    client: Client, repo: str, files: dict[str, bytes], kind: str = "model", summary: str = "a change"
) -> None:
    client.post("/api/repos/create", json={"name": repo, "type": kind})
    body = commit_body(*(small_line(path, data) for path, data in files.items()), summary=summary)
    done = client.post(f"/api/{kind}s/{repo}/commit/main", content=body)
    assert done.status_code == 200, done.text


@pytest.fixture
def client(tmp_path: Path) -> Client:
    made = Client(make_app(Store(tmp_path)), headers=BROWSER)
    push(made, "ada/base", {"README.md": b"# Base"})
    push(made, "ada/rows", {"rows.jsonl": b"{}\n"}, "dataset")
    push(
        made,
        "ada/intents",
        {"README.md": CARD.encode(), "docs/notes.md": b"one\ntwo\n", "weights.safetensors": b"\0" * 20},
    )
    return made


def test_lists_are_searched_narrowed_and_sorted(client: Client) -> None:
    whole = client.get("/")
    assert whole.status_code == 200
    assert "default-src 'none'" in whole.headers["content-security-policy"]
    assert re.findall(r'<a href="/ada/(\w+)">', whole.text) == ["intents", "base"]
    assert "/ada/intents" in client.get("/", params={"q": "help desk"}).text
    narrowed = client.get("/", params={"tag": "license:mit", "sort": "downloads"}).text
    assert re.findall(r'<a href="/ada/(\w+)">', narrowed) == ["intents"]
    assert 'aria-label="remove filter license:mit"' in narrowed
    assert "No models found." in client.get("/", params={"q": "nowhere"}).text
    assert "/datasets/ada/rows" in client.get("/datasets").text
    assert client.get("/", params={"kind": "nonsense"}).status_code == 400


def test_a_card_is_rendered_and_made_harmless(client: Client) -> None:
    page = client.get("/ada/intents").text
    assert "<em>help desk</em>" in page
    assert 'src="/ada/intents/resolve/main/curve.png"' in page
    assert 'href="/ada/intents/resolve/main/docs/notes.md"' in page
    assert "<script" not in page
    assert 'href="javascript' not in page


def test_lineage_is_drawn_and_told_step_by_step(client: Client) -> None:
    push(
        client,
        "ada/small",
        {"README.md": b"---\nbase_model: ada/intents\nbase_model_relation: quantized\n---\n"},
    )
    push(client, "ada/hidden", {"README.md": b"---\nbase_model: ada/small\n---\n"})
    page = client.get("/ada/intents/lineage").text
    assert '<a href="/ada/base">ada/base</a>' in page
    assert '<a href="/datasets/ada/rows">ada/rows</a>' in page
    assert re.search(r'ada/intents</a></td><td>quantized</td><td><a href="/ada/small">', page)
    assert page.count("<rect") == 5
    assert "style=" not in page
    loop = client.get("/ada/base/lineage").text  # seen from the other end
    assert loop.count("<rect") == 3
    push(
        client, "ada/base", {"README.md": b"---\nbase_model: [ada/intents, gone/away]\n---\n"}
    )  # a circle ends
    circle = client.get("/ada/intents/lineage").text
    assert "gone/away" in circle
    assert "(not here)" in circle
    push(client, "ada/alone", {"README.md": b"# Alone"})
    assert "No card states what this was made from" in client.get("/ada/alone/lineage").text


def test_a_base_that_was_renamed_is_one_box_in_the_lineage(client: Client) -> None:
    renamed = client.post("/api/repos/move", json={"fromRepo": "ada/base", "toRepo": "ada/ground"})
    assert renamed.status_code == 200
    page = client.get("/ada/intents/lineage")
    assert page.status_code == 200
    assert page.text.count("<rect") == 3
    assert '<a href="/ada/ground">ada/ground</a>' in page.text


def test_a_card_page_shows_the_licence_terms_and_the_figures_of_the_card(tmp_path: Path) -> None:
    client = Client(make_app(Store(tmp_path)), headers=BROWSER)
    index = (
        "model-index:\n- results:\n  - dataset: {name: banking77}\n"
        "    metrics: [{type: accuracy, value: 0.912}]\n"
    )
    push(client, "ada/one", {"README.md": f"---\nlicense: mit\n{index}---\n".encode()})
    page = client.get("/ada/one").text
    assert "<p>Commercial use is allowed; " in page
    assert "accuracy 0.912 on banking77" in page
    assert "These were not measured here." in page


def test_files_and_what_changed_between_revisions(client: Client) -> None:
    push(client, "ada/intents", {"docs/notes.md": b"one\nthree\n"}, summary="three instead")
    listing = client.get("/ada/intents/tree/main").text
    assert 'href="/ada/intents/tree/main/docs"' in listing
    assert "three" in client.get("/ada/intents/blob/main/docs/notes.md").text
    assert "This file is binary" in client.get("/ada/intents/blob/main/weights.safetensors").text
    line = client.get("/ada/intents/commits/main").text
    newest = re.findall(r'href="(/ada/intents/commit/\w+)"', line)[0]
    shown = client.get(newest).text
    assert '<span class="gone">-two</span>' in shown
    assert '<span class="added">+three</span>' in shown
    assert client.get("/ada/intents/tree/main/nowhere").status_code == 404


def test_discussions_are_shown_without_their_html(client: Client) -> None:
    client.post(
        "/api/models/ada/intents/discussions",
        json={"title": "<b>why</b>", "description": "<script>x</script> *because*"},
    )
    assert "&lt;b&gt;why&lt;/b&gt;" in client.get("/ada/intents/discussions").text
    page = client.get("/ada/intents/discussions/1").text
    assert "<em>because</em>" in page
    assert "<script" not in page


def test_browsers_are_refused_with_a_page_and_clients_with_json(client: Client, tmp_path: Path) -> None:
    missing = client.get("/ada/nowhere")
    assert missing.status_code == 404
    assert "Repository not found: ada/nowhere" in missing.text
    assert missing.headers["content-type"].startswith("text/html")
    assert client.get("/api/models/ada/nowhere").json()["error"] == "Repository not found: ada/nowhere"
    store = Store(tmp_path / "closed")
    token = Users(store).create_token("ada", role="admin")
    closed = Client(make_app(store, loopback=False), headers=BROWSER)
    asked = closed.get("/")
    assert asked.status_code == 401
    assert asked.headers["www-authenticate"].startswith("Basic")
    assert closed.get("/", auth=("ada", token)).status_code == 200


def test_private_and_gated_repositories_stay_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    accounts = Users(store)
    owner, other = ({"Authorization": f"Bearer {accounts.create_token(name)}"} for name in ("ada", "bob"))
    client = Client(make_app(store), headers=owner)
    push(client, "ada/hidden", {"README.md": b"# Hidden"})
    push(client, "ada/gated", {"README.md": b"# Gated", "a.txt": b"within"})
    client.put("/api/models/ada/hidden/settings", json={"private": True})
    client.put("/api/models/ada/gated/settings", json={"gated": "manual"})
    assert "ada/hidden" in client.get("/").text
    assert "ada/hidden" not in client.get("/", headers=other).text
    assert client.get("/ada/hidden", headers=other).status_code == 404
    assert client.get("/ada/gated/blob/main/a.txt", headers=other).status_code == 403
    assert client.get("/ada/gated/commit/main", headers=other).status_code == 403


def test_access_is_asked_for_on_the_page_and_decided_by_the_owner(tmp_path: Path) -> None:
    store = Store(tmp_path)
    accounts = Users(store)
    owner, other = ({"Authorization": f"Bearer {accounts.create_token(name)}"} for name in ("ada", "bob"))
    client = Client(make_app(store))
    client.headers.update(owner)
    push(client, "ada/gated", {"README.md": b"# Gated", "a.txt": b"within"})
    client.put("/api/models/ada/gated/settings", json={"gated": "manual"})
    file, ask, api = (
        "/ada/gated/resolve/main/a.txt",
        "/ada/gated/ask-access",
        "/api/models/ada/gated/user-access-request",
    )
    refused = client.get(file, headers=other)
    assert (refused.status_code, refused.headers["x-error-code"]) == (403, "GatedRepo")
    assert "Ask for access" in client.get("/ada/gated", headers=BROWSER | other).text
    client.post("/api/models/ada/gated/discussions", json={"title": "a change", "pullRequest": True})
    lines = [
        {"key": "header", "value": {"summary": "x"}},
        {"key": "file", "value": {"path": "a.txt", "content": base64.b64encode(b"beyond").decode()}},
    ]
    assert (
        client.post(
            "/api/models/ada/gated/commit/refs%2Fpr%2F1", content="\n".join(map(json.dumps, lines))
        ).status_code
        == 200
    )
    details = "/api/models/ada/gated/discussions/1?diff=1"
    assert "within" not in client.get(details, headers=other).text
    assert "within" not in client.get("/ada/gated/discussions/1", headers=BROWSER | other).text
    assert client.post(ask, headers=other | {"origin": "http://elsewhere.example"}).status_code == 403
    assert "is pending" in client.post(ask, headers=BROWSER | other).text
    assert client.get(file, headers=other).status_code == 403
    assert (
        client.post(f"{api}/handle", json={"user": "bob", "status": "accepted"}, headers=other).status_code
        == 403
    )
    assert [one["user"]["user"] for one in client.get(f"{api}/pending").json()] == ["bob"]
    assert client.post(f"{api}/handle", json={"user": "bob", "status": "accepted"}).status_code == 200
    assert client.get(file, headers=other).text == "within"
    assert "-within" in client.get(details, headers=other).json()["diff"]
    assert "-within" in client.get("/ada/gated/discussions/1", headers=BROWSER | other).text
    assert client.post(f"{api}/handle", json={"user": "bob", "status": "accepted"}).status_code == 400
    assert client.post(f"{api}/grant", json={"user": "bob"}).status_code == 400
    assert client.post(f"{api}/grant", json={"user": "nobody"}).status_code == 404
    assert (
        client.post(
            f"{api}/handle", json={"user": "bob", "status": "rejected", "rejectionReason": "no"}
        ).status_code
        == 200
    )
    assert client.get(file, headers=other).status_code == 403
    client.put("/api/models/ada/gated/settings", json={"gated": "auto"})
    carol = {"Authorization": f"Bearer {accounts.create_token('carol')}"}
    assert client.post(ask, headers=BROWSER | carol).status_code == 200
    assert client.get(file, headers=carol).status_code == 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[a](https://example.org)", "https://example.org"),
        ("[a](#part)", '"#part"'),
        ("[a](data:text/html,x)", "[a](data:"),
        ("<img src=x onerror=y>", "&lt;img"),
    ],
)
def test_markdown_of_strangers(text: str, told: str) -> None:
    assert told in rendered(text, "/x")
