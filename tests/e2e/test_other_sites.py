"""Pages of another site in a real browser: what they may not do to the hub of whoever opens them, and what a
card may not load."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from tests.servers.web import serving

pytestmark = pytest.mark.slow

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ASK = """async (hub) => {
  const seen = [], body = '{"name": "ada/fetched"}';
  for (const asked of [
    {method: "POST", mode: "no-cors", headers: {"content-type": "text/plain"}, body},
    {method: "GET"}, {method: "DELETE"},
    {method: "POST", headers: {"content-type": "application/json"}, body},
  ]) {
    try {
      const answer = await fetch(hub + "/api/repos/create", asked);
      seen.push(answer.type + await answer.text());
    } catch (error) { seen.push("refused"); }
  }
  return seen;
}"""
SEND_FORM = """(hub) => {
  const form = document.createElement("form"), field = document.createElement("input");
  form.method = "post"; form.enctype = "text/plain"; form.action = hub + "/api/repos/create";
  field.name = '{"name": "ada/sent", "x": "'; field.value = '"}';
  form.append(field); document.body.append(form); form.submit();
}"""
FOLLOW = """(hub) => {
  const link = document.createElement("a");
  link.href = hub + "/ada/first"; document.body.append(link); link.click();
}"""
ASK_ACCESS = """() => {
  const form = document.createElement("form");
  form.method = "post"; form.action = "/ada/first/ask-access";
  document.body.append(form); form.submit();
}"""


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>another site</h1>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://localhost:{site.server_port}"
        site.shutdown()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("sites")
    card = (
        f"# First\n![own](dot.png) ![far]({elsewhere}/tracker.png) ![written](data:image/png;base64,{DOT})\n"
    )
    files = {"README.md": base64.b64encode(card.encode()).decode(), "dot.png": DOT}
    with serving.running(serving.hub(folder)[0]) as address:
        httpx.post(f"{address}/api/repos/create", json={"name": "ada/first"}).raise_for_status()
        lines: list[object] = [{"key": "header", "value": {"summary": "a card"}}]
        lines += [
            {"key": "file", "value": {"path": path, "content": content}} for path, content in files.items()
        ]
        body = "\n".join(map(json.dumps, lines))
        httpx.post(f"{address}/api/models/ada/first/commit/main", content=body).raise_for_status()
        httpx.put(f"{address}/api/models/ada/first/settings", json={"gated": "manual"}).raise_for_status()
        yield address


def test_another_sites_page_neither_changes_nor_reads_anything(
    browser: Browser, hub: str, elsewhere: str
) -> None:
    page = browser.new_page()
    page.goto(elsewhere)
    assert set(page.evaluate(ASK, hub)) <= {"refused", "opaque"}
    with page.expect_navigation():
        page.evaluate(SEND_FORM, hub)
    assert "another site" in page.inner_text("body")
    for name in ("fetched", "sent"):
        assert httpx.get(f"{hub}/api/models/ada/{name}").status_code == 404
    page.close()


def test_a_link_from_another_site_is_followed(browser: Browser, hub: str, elsewhere: str) -> None:
    page = browser.new_page()
    page.goto(elsewhere)
    with page.expect_navigation():
        page.evaluate(FOLLOW, hub)
    assert page.title().startswith("ada/first")
    page.close()


def test_a_card_loads_nothing_from_elsewhere_and_shows_its_own_pictures(browser: Browser, hub: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{hub}/ada/first")
    assert all(address.startswith((hub, "data:")) for address in asked)
    assert page.evaluate("[...document.images].map(picture => picture.naturalWidth)") == [1, 1]
    assert page.get_by_text("image on another site: far").is_visible()
    page.close()


def test_a_form_of_the_hubs_own_page_is_taken(browser: Browser, hub: str) -> None:
    """On an open hub its keeper has access already, so the answer is the hub's own and not a refusal of the
    sender."""
    page = browser.new_page()
    page.goto(f"{hub}/ada/first")
    with page.expect_navigation():
        page.evaluate(ASK_ACCESS)
    assert "a page of another site" not in page.inner_text("body")
    page.close()
