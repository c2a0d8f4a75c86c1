"""The chat page in a real browser, asking real weights."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.servers.inference.serving import own_home, server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(home: Path, minilm: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(
        own_home(home, tmp_path_factory.mktemp("page"), "smollm2", minilm), names=("smollm2", minilm)
    ) as running:
        yield running


def answered(page: Page) -> None:
    expect(page.locator("#status")).to_have_text("Done", timeout=60_000)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_conversation_by_keyboard_alone(
    browser: Browser, address: str, width: int, scheme: Any, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    elsewhere: list[str] = []
    complaints: list[str] = []
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url) if not request.url.startswith((address, "blob:")) else None
        ),
    )
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    expect(page.locator("#first")).to_have_value("smollm2")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the message"
    page.keyboard.press("Enter")
    page.keyboard.type("What is 2 plus 2? <b>bold</b>")
    page.keyboard.press("Enter")
    answered(page)
    assert "4" in page.locator(".answer").inner_text()
    assert "tokens/s" in page.locator(".figures").inner_text()
    assert re.search(r"· [\d.]+ J$", page.locator(".figures").inner_text())
    assert page.locator("#first option").all_inner_texts() == ["smollm2"]  # the other embeds
    assert page.locator(".mine").inner_text() == "What is 2 plus 2? <b>bold</b>"
    faults = [
        one
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical", "moderate")
    ]
    assert not faults, [
        (one["id"], one["help"], [node["html"][:120] for node in one["nodes"][:3]]) for one in faults
    ]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    first = page.locator(".answer p").first.inner_text()
    page.get_by_role("button", name="Regenerate").click()
    answered(page)
    assert page.locator(".answer p").first.inner_text() == first  # greedy
    assert page.locator(".answer").count() == 1
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save conversation").click()
    told = json.loads(Path(saved.value.path()).read_text())
    assert told["turns"][0]["answers"][0]["model"] == "smollm2"
    page.get_by_role("button", name="New conversation").click()
    assert page.locator(".mine").count() == 0
    assert elsewhere == []
    assert complaints == []
    context.close()


def test_an_answer_is_stopped(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    expect(page.locator("#first")).to_have_value("smollm2")
    page.locator("#prompt").fill("Tell me a very long story about a lighthouse.")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer p")
    page.get_by_role("button", name="Stop").click()
    answered(page)
    assert page.locator(".answer").count() == 1
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_document_is_asked_and_quoted(
    browser: Browser, address: str, width: int, scheme: Any, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.get_by_text("Documents", exact=True).click()
    wrong = tmp_path / "table.xlsx"
    wrong.write_bytes(b"PK")
    page.locator("#files").set_input_files(wrong)
    expect(page.locator("#reading")).to_contain_text("has a format that is not read here")
    (tmp_path / "house.txt").write_text(
        "Leave\n\nEveryone has thirty days of paid leave a year.\n\n"
        + "Nothing is said here. " * 60
        + "\n\nThe key to the cellar hangs behind the clock."
    )
    page.locator("#files").set_input_files(tmp_path / "house.txt")
    expect(page.locator("#reading")).to_contain_text("Added house.txt", timeout=60_000)
    # a second one is dropped
    handed = page.evaluate_handle(
        "() => { const held = new DataTransfer(); held.items.add(new File(['Mangoes are sold on Friday.'],"
        " 'shop.md')); return held; }"
    )
    page.dispatch_event("body", "drop", {"dataTransfer": handed})
    expect(page.locator("#documents li")).to_have_count(2, timeout=60_000)
    page.locator("#prompt").fill("Where is the key to the cellar?")
    page.keyboard.press("Enter")
    answered(page)
    quoted = page.locator(".sources blockquote")
    expect(quoted.first).to_contain_text("hangs behind the clock")
    expect(quoted.first.locator("cite")).to_contain_text("house.txt, lines")
    assert page.locator(".mine").inner_text() == "Where is the key to the cellar?"
    faults = [
        one
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical", "moderate")
    ]
    assert not faults, [
        (one["id"], one["help"], [node["html"][:120] for node in one["nodes"][:3]]) for one in faults
    ]
    wide = (
        "[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right >"
        " innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page.evaluate(wide)
    if folder := os.environ.get("FREEHOLD_PICTURES"):
        page.screenshot(path=f"{folder}/documents-{width}.png")
    for name in ("shop.md", "house.txt"):
        page.get_by_role("button", name=f"Remove {name}").click()
        expect(page.get_by_role("button", name=f"Remove {name}")).to_have_count(0)
    page.get_by_role("button", name="Regenerate").click()
    answered(page)
    assert page.locator(".sources").count() == 0
    context.close()
