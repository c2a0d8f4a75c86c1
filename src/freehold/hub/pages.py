"""The hub's web pages: lists, cards, files, revisions and discussions, rendered here and readable without a script.

Cards are Markdown of strangers: HTML in them is shown as text, links keep to http, https and mailto, pictures come from the
repository itself, and the pages' policy lets nothing from elsewhere load.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from fastapi import Query as Parameter
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from freehold.hub.accounts import Actor
from freehold.hub.discussions import Discussion, Event
from freehold.hub.index import Query
from freehold.hub.repositories import KINDS, File, Repository
from freehold.hub.session import PLURALS, Answer, Hub, base_of, plain

_PAGE = 30
#: Files larger than this are offered for download, not shown.
_SHOWN_BYTES = 512 << 10
#: Longest difference that is shown, in lines.
_SHOWN_LINES = 2000
_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_SORTS = (("modified", "last change"), ("downloads", "downloads"), ("created", "age"))
_FACETS = {
    "model": (("Task", ("text-", "image-", "automatic-", "feature-", "token-", "fill-")), ("Licence", ("license:",)), ("Format", ("gguf", "safetensors", "onnx"))),
    "dataset": (("Task", ("task_categories:",)), ("Licence", ("license:",)), ("Size", ("size_categories:",))),
    "space": (("Licence", ("license:",)),),
}  # fmt: skip


@cache
def _templates() -> Environment:
    return Environment(loader=PackageLoader("freehold.hub"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def rendered(text: str, files: str) -> Markup:
    """Markdown as HTML that is safe to show; relative links and pictures lead below the address ``files``."""
    parts = _markdown().parse(text)
    for part in [inner for outer in parts for inner in (outer.children or [])]:
        for name in ("href", "src"):
            target = str(part.attrGet(name) or "")
            if target and ":" not in target.split("/", maxsplit=1)[0] and not target.startswith(("/", "#")):
                part.attrSet(name, f"{files}/{target}")
        if part.type == "link_open":
            part.attrSet("rel", "nofollow noreferrer")
    return Markup(_markdown().renderer.render(parts, _markdown().options, {}))


def address(kind: str, name: str, *more: str) -> str:
    """A repository's page, or one below it."""
    start = "" if kind == "model" else f"/{kind}s"
    return "/".join([f"{start}/{name}", *(quote(part, safe="/") for part in more if part)])


def day(seconds: float) -> str:
    """A date as pages show it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def size(count: int) -> str:
    """Bytes as pages show them."""
    value, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:,.0f} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A refusal as a page."""
    title = {401: "A token is needed", 403: "Not for you", 404: "Not found"}.get(status, "That did not work")
    page = _templates().get_template("refused.html").render(title=title, message=message, kinds=KINDS, kind="", q="")
    asking = {"WWW-Authenticate": 'Basic realm="a token of this hub as the password"'} if status == 401 else {}
    return HTMLResponse(page, status, {**_HEADERS, **(headers or {}), **asking})


def routes(hub: Hub) -> APIRouter:
    """All pages."""
    router = APIRouter(default_response_class=HTMLResponse)
    repositories = hub.repositories

    def page(template: str, **values: Any) -> HTMLResponse:
        values = {"q": "", "kind": "model", "kinds": KINDS} | values
        return HTMLResponse(_templates().get_template(template).render(**values), headers=_HEADERS)

    @router.get("/-/hub.css")
    def style() -> Response:
        text = resources.files("freehold.hub").joinpath("templates/hub.css").read_text()
        return Response(text, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    # -- lists ------------------------------------------------------------------------------------

    @router.get("/")
    def listed(request: Request, kind: str = "model", q: str = "", tag: Annotated[list[str] | None, Parameter()] = None, author: str = "",
               sort: str = "modified", cursor: str = "") -> HTMLResponse:  # fmt: skip
        names = hub.visible(hub.reader(request))
        if kind not in KINDS or sort not in dict(_SORTS):
            raise Answer(400, f"lists are of {', '.join(KINDS)}, sorted by {', '.join(dict(_SORTS))}")
        tags = list(dict.fromkeys(tag or []))
        asked = Query(kind, text=q, author=author, tags=tuple(tags), names=names, sort=sort)
        rows, following = repositories.list(asked, cursor, _PAGE)

        def here(**changes: Any) -> str:
            values = {"kind": kind, "q": q, "tag": tags, "author": author, "sort": sort} | changes
            return "/?" + urlencode({key: value for key, value in values.items() if value}, doseq=True)

        facets: list[tuple[str, list[tuple[str, int, str]]]] = []
        of, complete = 0, True
        for name, prefixes in _FACETS[kind]:
            found = repositories.index.facets(asked, prefixes, limit=12)
            of, complete = found.of, complete and found.complete
            more = [(one.removeprefix(prefixes[0]) if len(prefixes) == 1 else one, count, here(tag=[*tags, one])) for one, count in found.counts.items()
                    if one not in tags]  # fmt: skip
            if more:
                facets.append((name, more))
        chosen = [(one, here(tag=[other for other in tags if other != one])) for one in tags] + ([(author, here(author=""))] if author else [])
        return page(
            "list.html", title=f"{kind}s", heading=f"{kind.capitalize()}s" + (f" for \u201c{q}\u201d" if q else ""), q=q, kind=kind, chosen=chosen,
            facets=facets, of=of, complete=complete, sorts=[(name, label, here(sort=name)) for name, label in _SORTS], sort=sort, base=base_of(request),
            rows=[_row(one) for one in rows], following=here(cursor=following) if following else "",
        )  # fmt: skip

    def part(found: Repository, tab: str, template: str, **values: Any) -> HTMLResponse:
        names = ("Card", ()), ("Files", ("tree", "main")), ("Revisions", ("commits", "main")), ("Discussions", ("discussions",))
        return page(
            template, title=found.name, name=found.name, kind=found.kind, private=found.private, gated=found.gated, tab=tab,
            tabs=[(name, address(found.kind, found.name, *more)) for name, more in names], **values,
        )  # fmt: skip

    # -- files and revisions ------------------------------------------------------------------------

    def files(plural: str, repo: str, revision: str, folder: str, request: Request) -> HTMLResponse:
        found = hub.readable(request, plural, repo)
        commit = repositories.commit(found, hub.revision(found, plain(revision)))
        inside = plain(folder).strip("/")
        start = inside + "/" if inside else ""
        below = {path[len(start) :]: file for path, file in commit.files.items() if path.startswith(start)}
        if inside and not below:
            raise Answer(404, f"{inside[:120]} does not exist on {revision[:80]}")
        rows: dict[str, dict[str, Any]] = {}
        for path, file in sorted(below.items(), key=lambda one: ("/" not in one[0], one[0])):
            name, slash, _ = path.partition("/")
            where = address(found.kind, found.name, "tree" if slash else "blob", revision, start + name)
            row = rows.setdefault(
                name, {"name": name, "folder": bool(slash), "bytes": 0, "address": where, "digest": "" if slash else file.sha256[:12]}
            )
            row["bytes"] += file.size
        crumbs = inside.split("/") if inside else []
        return part(
            found, "Files", "files.html", revision=plain(revision), count=len(below), total=size(sum(file.size for file in below.values())),
            rows=[row | {"size": size(row["bytes"])} for row in rows.values()],
            crumbs=[(one, address(found.kind, found.name, "tree", revision, "/".join(crumbs[: at + 1]))) for at, one in enumerate(crumbs)],
        )  # fmt: skip

    def shown(plural: str, repo: str, revision: str, path: str, request: Request) -> HTMLResponse:
        found = hub.readable(request, plural, repo, files=True)
        commit = repositories.commit(found, hub.revision(found, plain(revision)))
        file = commit.files.get(plain(path))
        if file is None:
            raise Answer(404, f"{path[:120]} does not exist on {revision[:80]}")
        text = _text(hub, file)
        why = "This file is binary." if file.size <= _SHOWN_BYTES else "This file is too large to be shown."
        raw = address(found.kind, found.name, "resolve", revision, plain(path))
        return part(
            found,
            "Files",
            "file.html",
            revision=plain(revision),
            path=plain(path),
            size=size(file.size),
            digest=file.sha256,
            text=text,
            why=why,
            raw=raw,
        )

    def revisions(plural: str, repo: str, revision: str, request: Request, after: int) -> HTMLResponse:
        found = hub.readable(request, plural, repo)
        line = repositories.history(found, hub.revision(found, plain(revision)))
        rows = [
            {"title": one.title, "author": one.author, "when": day(one.created), "short": one.id[:10],
             "address": address(found.kind, found.name, "commit", one.id), "tree": address(found.kind, found.name, "tree", one.id)}
            for one in line[after : after + _PAGE]
        ]  # fmt: skip
        more = address(found.kind, found.name, "commits", revision) + f"?after={after + _PAGE}" if len(line) > after + _PAGE else ""
        return part(found, "Revisions", "revisions.html", rows=rows, following=more)

    def difference(plural: str, repo: str, revision: str, request: Request, since: str) -> HTMLResponse:
        found = hub.readable(request, plural, repo, files=True)
        new = repositories.commit(found, hub.revision(found, plain(revision)))
        earlier = hub.revision(found, since) if since else new.parent
        old = repositories.commit(found, earlier).files if earlier else {}
        return part(
            found, "Revisions", "difference.html", heading=new.title, message=new.message, files=_changes(old, new.files),
            about=f"{new.author}, {day(new.created)}: {new.id[:10]}" + (f" against {earlier[:10]}" if earlier else ", the first"),
            difference=_difference(hub, old, new.files),
        )  # fmt: skip

    # -- discussions ----------------------------------------------------------------------------------

    def discussions(plural: str, repo: str, request: Request) -> HTMLResponse:
        found = hub.readable(request, plural, repo)
        rows = hub.discussions.list(found.id, limit=500)[0]
        return part(found, "Discussions", "discussions.html", rows=[_discussion_row(found, one) for one in rows])

    def discussion(plural: str, repo: str, number: int, request: Request) -> HTMLResponse:
        found = hub.readable(request, plural, repo)
        one = hub.discussions.find(found.id, number)
        lines: list[tuple[str, str]] = []
        if one.request and not (found.gated and not hub.reader(request).belongs(found.author)):
            base, head, _ = repositories.proposed(found, one)
            lines = _difference(hub, base.files, head.files)
        events = [_event(event) for event in hub.discussions.events(one)]
        return part(found, "Discussions", "discussion.html", heading=f"{one.title} (#{number})", status=one.status, events=events, difference=lines)

    # -- cards ----------------------------------------------------------------------------------------

    def card(plural: str, repo: str, request: Request) -> HTMLResponse:
        found = hub.readable(request, plural, repo)
        head = repositories.commit(found, "main")
        asker = hub.reader(request)
        readme = head.files.get("README.md")
        text = _text(hub, readme) if readme is not None else None
        body = rendered(_without_front_matter(text), address(found.kind, found.name, "resolve", "main")) if text else ""
        names = hub.visible(asker)
        facts = [
            ("Owner", found.author), ("Licence", found.card.get("license") or "none stated"), ("Last change", day(head.created)),
            ("Revision", head.id[:10]), ("Size", size(sum({file.sha256: file.size for file in head.files.values()}.values()))),
            ("Downloads", f"{found.downloads:,}"),
        ]  # fmt: skip
        return part(
            found, "Card", "card.html", card=body, asking=_asking(found, asker), facts=facts, base=base_of(request), made_from=_parents(found), made_of_it=_children(found, names),
            tags=[(tag, "/?" + urlencode({"kind": found.kind, "tag": tag})) for tag in found.tags],
        )  # fmt: skip

    def _asking(found: Repository, asker: Actor) -> dict[str, str] | None:
        """Where to ask for access to a gated repository, or how that stands; None for who has it."""
        if not found.gated or asker.belongs(found.author):
            return None
        status = next((one.status for one in hub.accounts.accesses(found.id) if one.user == asker.name), "")
        return None if status == "accepted" else {"status": status, "address": address(found.kind, found.name, "ask-access")}

    def _parents(found: Repository) -> list[tuple[str, str, str]]:
        rows: list[tuple[str, str, str]] = []
        for key, kind, how in (("base_model", "model", "model"), ("datasets", "dataset", "dataset")):
            values = found.card.get(key) or []
            for name in values if isinstance(values, list) else [values]:
                there = repositories.list(Query(kind, words=str(name), names=()), limit=50)[0]
                rows.append((how, str(name), address(kind, str(name)) if str(name) in [one.name for one in there] else ""))
        return rows

    def _children(found: Repository, names: tuple[str, ...] | None) -> list[tuple[str, str]]:
        tag = {"model": "base_model:", "dataset": "dataset:"}.get(found.kind)
        if tag is None:
            return []
        rows = repositories.list(Query("model", tags=(tag + found.name,), names=names), limit=50)[0]
        return [(one.name, address(one.kind, one.name)) for one in rows]

    # a model's address has no kind before it, so each page has two
    @router.get("/{plural:kinds}/{repo:repo}/tree/{revision}")
    @router.get("/{plural:kinds}/{repo:repo}/tree/{revision}/{folder:path}")
    def files_of(plural: str, repo: str, revision: str, request: Request, folder: str = "") -> HTMLResponse:
        return files(plural, repo, revision, folder, request)

    @router.get("/{repo:repo}/tree/{revision}")
    @router.get("/{repo:repo}/tree/{revision}/{folder:path}")
    def files_of_model(repo: str, revision: str, request: Request, folder: str = "") -> HTMLResponse:
        return files("models", repo, revision, folder, request)

    @router.get("/{plural:kinds}/{repo:repo}/blob/{revision}/{path:path}")
    def file_of(plural: str, repo: str, revision: str, path: str, request: Request) -> HTMLResponse:
        return shown(plural, repo, revision, path, request)

    @router.get("/{repo:repo}/blob/{revision}/{path:path}")
    def file_of_model(repo: str, revision: str, path: str, request: Request) -> HTMLResponse:
        return shown("models", repo, revision, path, request)

    @router.get("/{plural:kinds}/{repo:repo}/commits/{revision}")
    def revisions_of(plural: str, repo: str, revision: str, request: Request, after: Annotated[int, Parameter(ge=0)] = 0) -> HTMLResponse:
        return revisions(plural, repo, revision, request, after)

    @router.get("/{repo:repo}/commits/{revision}")
    def revisions_of_model(repo: str, revision: str, request: Request, after: Annotated[int, Parameter(ge=0)] = 0) -> HTMLResponse:
        return revisions("models", repo, revision, request, after)

    @router.get("/{plural:kinds}/{repo:repo}/commit/{revision}")
    def difference_of(plural: str, repo: str, revision: str, request: Request, since: str = "") -> HTMLResponse:
        return difference(plural, repo, revision, request, since)

    @router.get("/{repo:repo}/commit/{revision}")
    def difference_of_model(repo: str, revision: str, request: Request, since: str = "") -> HTMLResponse:
        return difference("models", repo, revision, request, since)

    @router.get("/{plural:kinds}/{repo:repo}/discussions")
    def discussions_of(plural: str, repo: str, request: Request) -> HTMLResponse:
        return discussions(plural, repo, request)

    @router.get("/{repo:repo}/discussions")
    def discussions_of_model(repo: str, request: Request) -> HTMLResponse:
        return discussions("models", repo, request)

    @router.get("/{plural:kinds}/{repo:repo}/discussions/{number}")
    def discussion_of(plural: str, repo: str, number: int, request: Request) -> HTMLResponse:
        return discussion(plural, repo, number, request)

    @router.get("/{repo:repo}/discussions/{number}")
    def discussion_of_model(repo: str, number: int, request: Request) -> HTMLResponse:
        return discussion("models", repo, number, request)

    @router.get("/{plural:kinds}/{repo:repo}")
    def card_of(plural: str, repo: str, request: Request) -> HTMLResponse:
        return card(plural, repo, request)

    @router.get("/{repo:repo}")
    def card_of_model(repo: str, request: Request) -> HTMLResponse:
        if repo in PLURALS:
            return listed(request, kind=PLURALS[repo])
        return card("models", repo, request)

    return router


def _row(one: Repository) -> dict[str, Any]:
    task = one.card.get("pipeline_tag") or ""
    return {
        "name": one.name, "address": address(one.kind, one.name), "private": one.private, "gated": one.gated, "downloads": one.downloads,
        "modified": day(one.modified), "task": task, "licence": one.card.get("license") or "",
    }  # fmt: skip


def _discussion_row(found: Repository, one: Discussion) -> dict[str, Any]:
    return {
        "address": address(found.kind, found.name, "discussions", str(one.number)), "title": one.title, "status": one.status, "number": one.number,
        "request": one.request, "author": one.author, "when": day(one.created),
    }  # fmt: skip


def _event(event: Event) -> dict[str, Any]:
    data, text = event.data, Markup()
    if event.kind == "comment":
        what = "wrote something that is hidden" if data["hidden"] else "wrote"
        text = rendered(data["raw"], "")
    elif event.kind == "commit":
        what = f"added {data['oid'][:10]}: {data['subject']}"
    elif event.kind == "title-change":
        what = f"renamed it from {data['from']!r} to {data['to']!r}"
    else:
        what = f"made it {data['status']}"
    return {"author": event.author, "when": day(event.at), "what": what, "text": text}


def _text(hub: Hub, file: File) -> str | None:
    """A file's text; None for one that is large, binary or missing."""
    content = hub.contents.find(file.sha256) if file.size <= _SHOWN_BYTES else None
    if content is None:
        return None
    data = b"".join(hub.contents.read(content))
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def _without_front_matter(text: str) -> str:
    if not text.startswith("---"):
        return text
    _, found, rest = text[3:].partition("\n---")
    return rest.partition("\n")[2] if found else text


def _changes(old: dict[str, File], new: dict[str, File]) -> list[tuple[str, str]]:
    """(path, what happened to it) of every file that differs."""
    rows: list[tuple[str, str]] = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before != after:
            grown = f"changed, {size(before.size)} to {size(after.size)}" if before and after else ""
            rows.append((path, grown or (f"added, {size(after.size)}" if after else "removed")))
    return rows


def _difference(hub: Hub, old: dict[str, File], new: dict[str, File]) -> list[tuple[str, str]]:
    """(added, gone or nothing; line) of the text files that differ."""
    lines: list[tuple[str, str]] = []
    for path, _ in _changes(old, new):
        before, after = (_text(hub, files[path]) if path in files else "" for files in (old, new))
        if before is None or after is None:
            continue
        for line in _unified(before, after, path):
            lines.append(("added" if line.startswith("+") else "gone" if line.startswith("-") else "", line))
            if len(lines) == _SHOWN_LINES:
                return [*lines, ("", f"the first {_SHOWN_LINES} lines are shown")]
    return lines


def _unified(before: str, after: str, path: str) -> Iterable[str]:
    return difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, lineterm="")
