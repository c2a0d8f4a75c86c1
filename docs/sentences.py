"""List every sentence a user can meet, with the place it comes from. Run: python docs/sentences.py

Four kinds: ``help`` (every verb, argument and option), ``error`` (the texts of every error that is created),
``text`` (every other text of the code that reads like a sentence: progress, notes, reports, pages) and
``page`` (the visible text of templates). Values are shown as {name}. It is for reading the sentences one
after the other; tests/docs/test_sentences.py keeps some words out of them.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "freehold"
#: Classes whose first arguments a user reads, beside the tree of ``core/errors.py``.
OTHER_ERRORS = {"ApiError", "HTTPException", "Rejected", "RowFault", "ValueError", "BadParameter"}
#: What a text needs to count as a sentence: three words in a row.
_WORDS = re.compile(r"[A-Za-z]{2,}[,;:]? [A-Za-z{][A-Za-z'}]*[,;:]? [a-z{]")
#: Texts for programs: SQL, code for child processes, patterns.
_PROGRAM = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|WITH|PRAGMA|FROM|AND|WHERE|import"
    r" )|\(\?[:P<!=]|\\[sbdw]"
)


@dataclass(frozen=True)
class Sentence:
    """A text that a user can meet."""

    kind: str  # help, error, text or page
    source: str  # a verb, or a file with its line
    text: str


def help_texts() -> Iterator[Sentence]:
    """The help of every verb, and of each of its arguments and options."""
    from freehold.cli.main import app

    yield from _help_of(typer.main.get_command(app), "freehold")


def _help_of(command: Any, name: str) -> Iterator[Sentence]:
    """``command``: as typer makes it for click."""
    for text in (command.help, command.epilog):
        if text:
            yield Sentence("help", name, text)
    for parameter in command.params:
        if getattr(parameter, "help", None):
            yield Sentence("help", f"{name} {parameter.opts[0]}", parameter.help)
    for inner, each in getattr(command, "commands", {}).items():
        yield from _help_of(each, f"{name} {inner}")


def code_texts() -> Iterator[Sentence]:
    """Texts of errors, and the other texts of the code that read like sentences."""
    files = [(path, ast.parse(path.read_text())) for path in sorted(SOURCE.rglob("*.py"))]
    errors = error_classes([tree for _, tree in files])
    for path, tree in files:
        messages = _nodes_in_calls(tree, errors)
        skipped = _docstrings(tree)
        for node in _texts(tree):
            if id(node) in skipped:
                continue
            text = shown(node)
            kind = "error" if id(node) in messages else "text"
            if (kind == "error" and " " in text) or (_WORDS.search(text) and not _PROGRAM.search(text)):
                yield Sentence(kind, f"{path.relative_to(ROOT)}:{node.lineno}", text)


def error_classes(trees: list[ast.Module]) -> set[str]:
    """Names of all classes that derive from FreeholdError, and the others whose texts are shown."""
    names = {"FreeholdError"} | OTHER_ERRORS
    bases = {
        node.name: {ast.unparse(base).split(".")[-1] for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    while more := {name for name, above in bases.items() if above & names} - names:
        names |= more
    return names


def _nodes_in_calls(tree: ast.Module, names: set[str]) -> set[int]:
    """Ids of all nodes within the arguments of calls of ``names``."""
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in names
    ]
    return {id(inner) for call in calls for inner in ast.walk(call)}


def _docstrings(tree: ast.Module) -> set[int]:
    """Ids of the texts that stand alone: docstrings, and texts below a field."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def _texts(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Every text below ``node``, an f-string as a whole."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node
        inner = [part.value for part in getattr(node, "values", []) if isinstance(part, ast.FormattedValue)]
    else:
        inner = list(ast.iter_child_nodes(node))
    for each in inner:
        yield from _texts(each)


def shown(node: ast.Constant | ast.JoinedStr) -> str:
    """The text, with values as {name}."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = (
        str(part.value)
        if isinstance(part, ast.Constant)
        else "{" + ast.unparse(getattr(part, "value", part)) + "}"
        for part in node.values
    )
    return "".join(parts)


class _Visible(HTMLParser):
    """Collects the text between tags, and what ``title``, ``placeholder`` and ``aria-label`` say."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[int, str]] = []
        self.silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent = tag in ("style", "script")
        for name, value in attrs:
            if name in ("title", "placeholder", "aria-label", "alt") and value:
                self.texts.append((self.getpos()[0], value))

    def handle_endtag(self, tag: str) -> None:
        self.silent = False

    def handle_data(self, data: str) -> None:
        if not self.silent and re.search("[A-Za-z]{2}", data):
            self.texts.append((self.getpos()[0], data))


def page_texts() -> Iterator[Sentence]:
    """The visible text of the templates, and the texts of the chat page's program."""
    for path in sorted(SOURCE.rglob("*.html")):
        page = _Visible()
        page.feed(re.sub(r"\{%.*?%\}|\{#.*?#\}", " ", path.read_text(), flags=re.DOTALL))
        for line, text in page.texts:
            yield Sentence("page", f"{path.relative_to(ROOT)}:{line}", text)
    for path in sorted(SOURCE.rglob("*.js")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for text in re.findall(r"\"([^\"]* [^\"]*)\"|`([^`]* [^`]*)`", line):
                yield Sentence("page", f"{path.relative_to(ROOT)}:{number}", "".join(text))


def sentences() -> list[Sentence]:
    """Everything, blanks and line ends made one blank."""
    every = [*help_texts(), *code_texts(), *page_texts()]
    return [Sentence(each.kind, each.source, " ".join(each.text.split())) for each in every]


if __name__ == "__main__":
    listed = sentences()
    for each in listed:
        print(f"{each.kind}\t{each.source}\t{each.text}")
    counts = Counter(each.kind for each in listed)
    print(f"{len(listed)} texts: {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
