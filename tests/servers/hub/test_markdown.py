"""Cards of strangers: what they show, and that nothing in them loads from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from freehold.servers.hub.markdown import rendered

FILES = "/ada/one/resolve/main"


class Loads(HTMLParser):
    """Every tag of a page that could load something or lead elsewhere, with its addresses."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("src", "srcset", "poster", "data", "style", "background"):
                self.loaded.append(value or "")
            if name == "href":
                self.links.append(value or "")


@pytest.mark.parametrize(
    "text",
    [
        "![a](http://tracker.example/x.png)",
        "![a](//tracker.example/x.png)",
        "![a](/\\tracker.example/x.png)",
        "![a][1]\n\n[1]: https://tracker.example/x.png 'title'",
        "[![badge](https://tracker.example/b.svg)](https://elsewhere.example)",
        "# ![a](http://tracker.example/x.png)",
        "| a |\n|---|\n| ![a](http://tracker.example/x.png) |",
        "![a](../../../../api/models)",
        "![a](%2e%2e/%2e%2e/x)",
        "![a](/api/whoami-v2)",
    ],
)
def test_a_picture_from_elsewhere_becomes_a_visible_link(text: str) -> None:
    page = Loads(rendered(text, FILES))
    assert page.loaded == []
    assert "[image on another site: " in rendered(text, FILES)
    assert len(page.links) == 1


@pytest.mark.parametrize(
    "text",
    [
        "<img src=http://t.example/x srcset='http://t.example/y 2x'>",
        "<svg onload=alert(1)><image href=http://t.example/x></svg>",
        "<base href=http://t.example/>",
        "<meta http-equiv=refresh content='0;url=http://t.example'>",
        "<iframe src=http://t.example></iframe>",
        "<video poster=http://t.example/x></video>",
        "<form action=http://t.example><input name=x></form>",
        "<link rel=stylesheet href=http://t.example/x.css>",
        "<p style='background:url(http://t.example/x)'>a</p>",
    ],
)
def test_html_is_text(text: str) -> None:
    for shown in (text, f"a\n\n{text}\n\nb", f"- {text}", f"> {text}"):
        page = Loads(rendered(shown, FILES))
        assert page.tags <= {"p", "ul", "li", "blockquote"}


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "javascript&#58;alert(1)",
        "vbscript:x",
        "data:text/html,x",
        "file:///etc/passwd",
        "ms-msdt:/id",
        "blob:x",
    ],
)
def test_links_are_of_few_kinds(target: str) -> None:
    for text in (f"[a]({target})", f"[a]: {target}\n\n[a]", f"![a]({target})"):
        page = Loads(rendered(text, FILES))
        assert (page.links, page.loaded) == ([], [])


def test_what_the_repository_holds_is_shown() -> None:
    page = Loads(
        rendered("![curve](curve.png) [notes](docs/notes.md) [web](https://example.org) [part](#part)", FILES)
    )
    assert page.loaded == [f"{FILES}/curve.png"]
    assert page.links == [f"{FILES}/docs/notes.md", "https://example.org", "#part"]
    written_out = "data:image/png;base64,iVBORw0KGgo="
    assert Loads(rendered(f"![dot]({written_out})", FILES)).loaded == [written_out]
    assert Loads(rendered("![drawing](data:image/svg+xml;base64,PHN2Zz4=)", FILES)).loaded == []


def test_links_tell_elsewhere_nothing() -> None:
    assert (
        re.findall(r'rel="([^"]*)"', rendered("[a](https://example.org) <https://example.org>", FILES))
        == ["nofollow noreferrer"] * 2
    )
