"""The hub's pages in a real browser: no serious fault for axe, in light and dark and at phone width; nothing
from elsewhere; by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from freehold.hub.commits import Change, lfs_file
from freehold.hub.discussions import Discussions
from freehold.hub.repositories import Repositories
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from tests.entry import pull
from tests.hub.client import Client
from tests.hub.serving import hub_at
from tests.servers.hub.test_pages import CARD, push

PAGES = {
    "list": "/",
    "search": "/?q=intents&tag=license:mit",
    "nothing found": "/?q=nowhere",
    "card": "/ada/intents",
    "weights": "/ada/smol",
    "files": "/ada/intents/tree/main",
    "file": "/ada/intents/blob/main/docs/notes.md",
    "revisions": "/ada/intents/commits/main",
    "difference": "/ada/intents/commit/main",
    "lineage": "/ada/intents/lineage",
    "discussions": "/ada/intents/discussions",
    "discussion": "/ada/intents/discussions/1",
    "missing": "/ada/none",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[str]:
    home = tmp_path_factory.mktemp("hub")
    store = Store(home)
    client = Client(make_app(store))
    push(client, "ada/base", {"README.md": b"# Base"})
    push(client, "ada/rows", {"rows.jsonl": b"{}\n"}, "dataset")
    push(
        client,
        "ada/intents",
        {"README.md": CARD.encode(), "docs/notes.md": b"one\ntwo\n", "weights.safetensors": b"\0" * 20},
    )
    push(
        client,
        "ada/intents",
        {
            "docs/notes.md": b"one\nthree, and a line that is longer than any telephone is wide: "
            + b"word " * 60
            + b"\n"
        },
    )
    push(
        client,
        "ada/small",
        {"README.md": b"---\nbase_model: ada/intents\nbase_model_relation: quantized\n---\n"},
    )
    repositories = Repositories(store)
    stored = pull(store, f"file:{smollm2}", "smol")
    found = repositories.create("model", "ada/smol")
    repositories.apply(
        found,
        "main",
        Change("weights", put={"smol.gguf": lfs_file(stored.digest, stored.info.size_bytes)}),
        "ada",
    )
    repositories.discuss(
        repositories.find("model", "ada/intents"), "Is this for cheques too?", "bob", text="It *seems* so."
    )
    assert Discussions(store.engine).list(repositories.find("model", "ada/intents").id)[0]
    with hub_at(home) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_sound_for_everyone(browser: Browser, address: str, width: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    elsewhere: list[str] = []
    complaints: list[str] = []
    page.on(
        "request",
        lambda request: elsewhere.append(request.url) if not request.url.startswith(address) else None,
    )
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error" and "status of 404" not in message.text
            else None
        ),
    )
    for name, path in PAGES.items():
        page.goto(address + path)
        assert page.locator("h1").count() == 1, name
        faults = [
            one
            for one in Axe().run(page).response["violations"]
            if one["impact"] in ("serious", "critical", "moderate")
        ]
        told = [(one["id"], one["help"], [node["html"][:120] for node in one["nodes"][:3]]) for one in faults]
        assert not told, f"{name} at {width} px, {scheme}: {told}"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            f"{name} is wider than {width} px"
        )
    assert elsewhere == []
    assert complaints == []
    context.close()


@pytest.mark.slow
def test_a_model_is_found_and_opened_by_keyboard_alone(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    while page.evaluate("document.activeElement.id") != "q":
        page.keyboard.press("Tab")
    page.keyboard.type("intents")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=intents**")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == "/ada/intents":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/ada/intents")
    assert page.locator("h1").inner_text() == "ada/intents"
    page.close()
