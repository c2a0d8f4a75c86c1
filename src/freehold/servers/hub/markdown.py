"""Markdown of strangers as HTML that is safe to show and loads nothing from elsewhere.

HTML in it is shown as text. Links keep to http, https and mailto. Pictures come from the repository itself or
are written in the text; one from elsewhere would tell its owner who reads a card and when, and becomes a link
that says so.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup

_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]*)\s*:", re.IGNORECASE)
_LINKED = frozenset({"http", "https", "mailto"})
#: Characters of a text that are read as Markdown; the rest is left out, and the page says so.
MOST_CHARACTERS = 100_000
#: What reading the lines of one text may cost: each bracket, backtick and angle looks for its other end to
#: the end of its paragraph. Without a limit 100,000 characters take minutes.
_MOST_LOOKED_AT = 100_000_000
#: Cells of tables in one text; with more, tables are shown as they were written.
_MOST_CELLS = 50_000
_LOOKS = re.compile(r"[\[<`*_]")
_WRITTEN_OUT = re.compile(r"data:image/(gif|png|jpeg|webp);base64,[A-Za-z0-9+/=]*")


class _Markdown(MarkdownIt):
    """CommonMark with tables, whose links are of few kinds."""

    def validateLink(self, url: str) -> bool:
        """Whether a link or picture may lead there; what may not is shown as it was written."""
        scheme = _SCHEME.match(url)
        return scheme is None or scheme[1].lower() in _LINKED or bool(_WRITTEN_OUT.fullmatch(url))


@cache
def _markdown(tables: bool) -> MarkdownIt:
    markdown = _Markdown("commonmark", {"html": False})
    if tables:
        markdown.enable("table")
    markdown.core.ruler.before("inline", "costly_lines", _show_costly_lines)
    return markdown


def _show_costly_lines(state: StateCore) -> None:
    """Show paragraphs as they were written from where reading them would cost too much."""
    left = _MOST_LOOKED_AT
    for part in state.tokens:
        if part.type == "inline":
            left -= len(part.content) * len(_LOOKS.findall(part.content))
            if left < 0:
                part.type, part.children = "text", []


@lru_cache(64)
def rendered(text: str, files: str) -> Markup:
    """Markdown as HTML, under a page's own heading. ``files``: where relative links lead."""
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}\n\n*Only the beginning of this text is shown.*\n"
    reader = _markdown(_cells(text) <= _MOST_CELLS)
    parts = reader.parse(text)
    for part in parts:
        if part.type in ("heading_open", "heading_close"):
            part.tag = f"h{min(6, int(part.tag[1]) + 1)}"
        if part.children:
            part.children = _inline(part.children, files)
    return Markup(reader.renderer.render(parts, reader.options, {}))


def _cells(text: str) -> int:
    """The most cells that the tables of a text can come to: short rows are filled up to the longest."""
    count = lines = widest = 0
    for line in [*text.splitlines(), ""]:
        if line.strip():
            lines, widest = lines + 1, max(widest, line.count("|"))
        else:
            count, lines, widest = count + lines * widest, 0, 0
    return count


def _inline(parts: list[Token], files: str) -> list[Token]:
    """The parts of a line of text, with their addresses made ours."""
    shown: list[Token] = []
    links = 0
    for part in parts:
        links += part.nesting if part.type in ("link_open", "link_close") else 0
        if part.type == "link_open":
            _lead(part, str(part.attrGet("href") or ""), files)
            shown.append(part)
        elif part.type == "image" and not _is_local(str(part.attrGet("src") or "")):
            shown += _link_to_image(part, linked=links > 0)
        elif part.type == "image":
            source = str(part.attrGet("src") or "")
            part.attrSet("src", source if source.startswith("data:") else f"{files}/{source}")
            shown.append(part)
        else:
            shown.append(part)
    return shown


def _lead(link: Token, target: str, files: str) -> None:
    if target and _SCHEME.match(target) is None and not target.startswith(("/", "#")):
        link.attrSet("href", f"{files}/{target}")
    link.attrSet("rel", "nofollow noreferrer")


def _is_local(source: str) -> bool:
    """Whether a picture's address stays below the repository's own files, or holds the picture itself."""
    if _WRITTEN_OUT.fullmatch(source):
        return True
    plain = unquote(source).replace("\\", "/")
    return (
        bool(plain)
        and _SCHEME.match(plain) is None
        and not plain.startswith(("/", "#", "?"))
        and ".." not in plain.split("/")
    )


def _link_to_image(picture: Token, *, linked: bool) -> list[Token]:
    """A picture that is not loaded, as a link to it; as text within a link."""
    source = str(picture.attrGet("src") or "")
    text = Token("text", "", 0, content=f"[image on another site: {picture.content or source}]")
    if linked or not source:
        return [text]
    opened = Token("link_open", "a", 1, attrs={"href": source, "rel": "nofollow noreferrer"})
    return [opened, text, Token("link_close", "a", -1)]
