"""The hub's web pages: lists, cards, files, revisions and discussions, rendered here and readable without a script.

Cards are Markdown of strangers (`markdown.py`), and the pages' policy lets nothing from elsewhere load.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi import Query as Parameter
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from freehold.hub.commits import KINDS, File, Repository
from freehold.hub.discussions import Discussion, Event
from freehold.hub.mirror import mirrors
from freehold.hub.scans import Danger, worst
from freehold.hub.search_index import SearchQuery
from freehold.hub.users import User
from freehold.hub.variants import variants
from freehold.models.figures import stated
from freehold.models.info import stated_licence
from freehold.servers.hub.diff import unified
from freehold.servers.hub.lineage_graph import Graph, graph
from freehold.servers.hub.markdown import rendered
from freehold.servers.hub.session import PLURALS, ApiError, Hub, base_of, page_path, plain, whose

_PAGE = 30
#: Files larger than this are offered for download, not shown.
_SHOWN_BYTES = 512 << 10
#: Longest difference that is shown, in lines.
_SHOWN_LINES = 2000
#: The last so many events of a discussion are shown, and so many characters of their comments are read as Markdown.
_SHOWN_EVENTS, _READ_CHARACTERS = 500, 200_000
_POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS = {"Content-Security-Policy": _POLICY}
_SORTS = (("modified", "last change"), ("downloads", "downloads"), ("created", "age"))
_FACETS = {
    "model": (("Task", ("text-", "image-", "automatic-", "feature-", "token-", "fill-")), ("Licence", ("license:",)), ("Format", ("gguf", "safetensors", "onnx"))),
    "dataset": (("Task", ("task_categories:",)), ("Licence", ("license:",)), ("Size", ("size_categories:",))),
    "space": (("Licence", ("license:",)),),
}  # fmt: skip


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("freehold.servers.hub"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


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
    page = (
        _templates()
        .get_template("refused.html")
        .render(title=title, message=message, kinds=KINDS, kind="", q="")
    )
    asking = (
        {"WWW-Authenticate": 'Basic realm="a token of this hub as the password"'} if status == 401 else {}
    )
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
        text = resources.files("freehold.servers.hub").joinpath("templates/hub.css").read_text()
        return Response(text, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    # -- lists ------------------------------------------------------------------------------------

    @router.get("/")
    def listed(request: Request, kind: str = "model", q: str = "", tag: Annotated[list[str] | None, Parameter()] = None, author: str = "",
               sort: str = "modified", cursor: str = "") -> HTMLResponse:  # fmt: skip
        names = hub.visible(hub.reader(request))
        if kind not in KINDS or sort not in dict(_SORTS):
            raise ApiError(400, f"lists are of {', '.join(KINDS)}, sorted by {', '.join(dict(_SORTS))}")
        tags = list(dict.fromkeys(tag or []))
        asked = SearchQuery(kind, text=q, author=author, tags=tuple(tags), names=names, sort=sort)
        rows, following = repositories.list(asked, cursor, _PAGE)

        def here(**changes: Any) -> str:
            values = {"kind": kind, "q": q, "tag": tags, "author": author, "sort": sort} | changes
            return "/?" + urlencode({key: value for key, value in values.items() if value}, doseq=True)

        counted = repositories.index.facets(
            asked, [prefix for _, prefixes in _FACETS[kind] for prefix in prefixes], limit=1000
        )
        facets: list[tuple[str, list[tuple[str, int, str]]]] = []
        for name, prefixes in _FACETS[kind]:
            found = [(one, count) for one, count in counted.counts.items() if one.startswith(prefixes)][:12]
            more = [
                (one.removeprefix(prefixes[0]) if len(prefixes) == 1 else one, count, here(tag=[*tags, one]))
                for one, count in found
                if one not in tags
            ]
            if more:
                facets.append((name, more))
        chosen = [(one, here(tag=[other for other in tags if other != one])) for one in tags] + (
            [(author, here(author=""))] if author else []
        )
        return page(
            "list.html", title=f"{kind}s", heading=f"{kind.capitalize()}s" + (f" for \u201c{q}\u201d" if q else ""), q=q, kind=kind, chosen=chosen,
            facets=facets, of=counted.of, complete=counted.complete, sorts=[(name, label, here(sort=name)) for name, label in _SORTS], sort=sort, base=base_of(request),
            rows=[_row(one) for one in rows], following=here(cursor=following) if following else "",
        )  # fmt: skip

    def part(found: Repository, tab: str, template: str, **values: Any) -> HTMLResponse:
        names = (
            ("Card", ()), ("Files", ("tree", "main")), ("Revisions", ("commits", "main")), ("Lineage", ("lineage",)), ("Discussions", ("discussions",)),
        )  # fmt: skip
        return page(
            template, title=found.name, name=found.name, kind=found.kind, private=found.private, gated=found.gated, tab=tab,
            tabs=[(name, page_path(found.kind, found.name, *more)) for name, more in names], **values,
        )  # fmt: skip

    # -- files and revisions ------------------------------------------------------------------------

    @router.get("/{where:where}/tree/{revision}")
    @router.get("/{where:where}/tree/{revision}/{folder:path}")
    def files(where: str, revision: str, request: Request, folder: str = "") -> HTMLResponse:
        found = hub.readable(request, *whose(where))
        commit = repositories.commit(found, hub.revision(found, plain(revision)))
        inside = plain(folder).strip("/")
        start = inside + "/" if inside else ""
        below = {path[len(start) :]: file for path, file in commit.files.items() if path.startswith(start)}
        if inside and not below:
            raise ApiError(404, f"{inside[:120]} does not exist on {revision[:80]}")
        opened = hub.opened(request, found)
        there = {start + path: file for path, file in below.items()} if opened else {}
        dangers = hub.dangers(found, there)
        rows: dict[str, dict[str, Any]] = {}
        for path, file in sorted(below.items(), key=lambda one: ("/" not in one[0], one[0])):
            name, slash, _ = path.partition("/")
            where = page_path(found.kind, found.name, "tree" if slash else "blob", revision, start + name)
            row = rows.setdefault(
                name,
                {
                    "name": name,
                    "folder": bool(slash),
                    "bytes": 0,
                    "address": where,
                    "digest": "" if slash or not opened else file.sha256[:12],
                    "dangers": list[Danger](),
                },
            )
            row["bytes"] += file.size
            row["dangers"] += dangers.get(start + path, [])
        crumbs = inside.split("/") if inside else []
        return part(
            found, "Files", "files.html", revision=plain(revision), count=len(below), total=size(sum(file.size for file in below.values())),
            rows=[row | {"size": size(row["bytes"]), "status": worst(row["dangers"])} for row in rows.values()],
            crumbs=[(one, page_path(found.kind, found.name, "tree", revision, "/".join(crumbs[: at + 1]))) for at, one in enumerate(crumbs)],
        )  # fmt: skip

    @router.get("/{where:where}/blob/{revision}/{path:path}")
    def shown(where: str, revision: str, path: str, request: Request) -> HTMLResponse:
        found = hub.readable(request, *whose(where), files=True)
        commit = repositories.commit(found, hub.revision(found, plain(revision)))
        file = commit.files.get(plain(path))
        if file is None:
            raise ApiError(404, f"{path[:120]} does not exist on {revision[:80]}")
        text = _text(hub, file)
        why = "This file is binary." if file.size <= _SHOWN_BYTES else "This file is too large to be shown."
        raw = page_path(found.kind, found.name, "resolve", revision, plain(path))
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
            dangers=hub.dangers(found, {plain(path): file}).get(plain(path), []),
        )

    @router.get("/{where:where}/commits/{revision}")
    def revisions(
        where: str, revision: str, request: Request, after: Annotated[int, Parameter(ge=0)] = 0
    ) -> HTMLResponse:
        found = hub.readable(request, *whose(where))
        line = repositories.history(found, hub.revision(found, plain(revision)))
        rows = [
            {"title": one.title, "author": one.author, "when": day(one.created), "short": one.id[:10],
             "address": page_path(found.kind, found.name, "commit", one.id), "tree": page_path(found.kind, found.name, "tree", one.id)}
            for one in line[after : after + _PAGE]
        ]  # fmt: skip
        more = (
            page_path(found.kind, found.name, "commits", revision) + f"?after={after + _PAGE}"
            if len(line) > after + _PAGE
            else ""
        )
        return part(found, "Revisions", "revisions.html", rows=rows, following=more)

    @router.get("/{where:where}/commit/{revision}")
    def difference(where: str, revision: str, request: Request, since: str = "") -> HTMLResponse:
        found = hub.readable(request, *whose(where), files=True)
        new = repositories.commit(found, hub.revision(found, plain(revision)))
        earlier = hub.revision(found, since) if since else new.parent
        old = repositories.commit(found, earlier).files if earlier else {}
        return part(
            found, "Revisions", "difference.html", heading=new.title, message=new.message, files=_changes(old, new.files),
            about=f"{new.author}, {day(new.created)}: {new.id[:10]}" + (f" against {earlier[:10]}" if earlier else ", the first"),
            difference=_difference(hub, old, new.files),
        )  # fmt: skip

    # -- discussions ----------------------------------------------------------------------------------

    @router.get("/{where:where}/discussions")
    def discussions(where: str, request: Request) -> HTMLResponse:
        found = hub.readable(request, *whose(where))
        rows = hub.discussions.list(found.id, limit=500)[0]
        return part(
            found, "Discussions", "discussions.html", rows=[_discussion_row(found, one) for one in rows]
        )

    @router.get("/{where:where}/discussions/{number}")
    def discussion(where: str, number: int, request: Request) -> HTMLResponse:
        found = hub.readable(request, *whose(where))
        one = hub.discussions.find(found.id, number)
        lines: list[tuple[str, str]] = []
        if one.request and hub.opened(request, found):
            proposal = repositories.proposed(found, one)
            lines = _difference(hub, proposal.base.files, proposal.head.files)
        files = page_path(found.kind, found.name, "resolve", "main")
        events = hub.discussions.events(one)
        return part(
            found,
            "Discussions",
            "discussion.html",
            heading=f"{one.title} (#{number})",
            status=one.status,
            earlier=len(events[:-_SHOWN_EVENTS]),
            events=_events(events[-_SHOWN_EVENTS:], files),
            difference=lines,
        )

    # -- lineage --------------------------------------------------------------------------------------

    @router.get("/{where:where}/lineage")
    def lineage(where: str, request: Request) -> HTMLResponse:
        found = hub.readable(request, *whose(where))
        asker = hub.reader(request)
        made = graph(repositories, found, lambda one: hub.rights.sees(asker, one), hub.visible(asker))
        return part(found, "Lineage", "lineage.html", complete=made.complete, **_drawn(made))

    # -- cards ----------------------------------------------------------------------------------------

    # last, since a repository's own address fits what comes above
    @router.get("/{where:where}")
    def card(where: str, request: Request) -> HTMLResponse:
        if where in PLURALS:
            return listed(request, kind=PLURALS[where])
        found = hub.readable(request, *whose(where))
        head = repositories.commit(found, "main")
        opened = hub.opened(request, found)
        readme = head.files.get("README.md")
        text = _text(hub, readme) if readme is not None else None
        unsafe = [
            (path, page_path(found.kind, found.name, "blob", "main", path), found_there[0].why)
            for path, found_there in sorted(hub.dangers(found, head.files if opened else {}).items())
            if worst(found_there) == "unsafe"
        ]
        body = (
            rendered(_without_front_matter(text), page_path(found.kind, found.name, "resolve", "main"))
            if text
            else ""
        )
        facts = [
            ("Owner", found.author), ("Licence", stated_licence(found.card) or "none stated"), ("Last change", day(head.created)),
            ("Revision", head.id[:10]), ("Size", size(sum({file.sha256: file.size for file in head.files.values()}.values()))),
            ("Downloads", f"{found.downloads:,}"),
        ]  # fmt: skip
        return part(
            found, "Card", "card.html", card=body, asking=None if opened else _asking(found, hub.reader(request)), facts=facts, base=base_of(request),
            runs=_runs(hub, found, head.files) if opened else [], stated=stated(found.card), copy=_copy(hub, found), duties=hub.known.duties(stated_licence(found.card)),
            unsafe=unsafe, tags=[(tag, "/?" + urlencode({"kind": found.kind, "tag": tag})) for tag in found.tags],
        )  # fmt: skip

    def _asking(found: Repository, asker: User) -> dict[str, str]:
        """Where to ask for access to a gated repository, and how that stands."""
        return {
            "status": hub.accounts.access(found.id, asker.name),
            "address": page_path(found.kind, found.name, "ask-access"),
        }

    return router


def _row(one: Repository) -> dict[str, Any]:
    task = one.card.get("pipeline_tag") or ""
    return {
        "name": one.name, "address": page_path(one.kind, one.name), "private": one.private, "gated": one.gated, "downloads": one.downloads,
        "modified": day(one.modified), "task": task, "licence": stated_licence(one.card),
    }  # fmt: skip


def _runs(hub: Hub, found: Repository, files: dict[str, File]) -> list[dict[str, str]]:
    """What a model's repository can be run as."""
    if found.kind != "model":
        return []
    return [
        {"name": one.name, "type": one.info.quantization or "not said", "size": size(one.info.size_bytes), "parameters": f"{one.info.parameters / 1e6:,.0f} million",
         "context": f"{one.info.context_length:,} tokens" if one.info.context_length else "not said",
         "measured": "; ".join(hub.known.measured(one.digest))}
        for one in variants(hub.contents, files)
    ]  # fmt: skip


def _copy(hub: Hub, found: Repository) -> dict[str, str] | None:
    """Where a repository was copied from; None for one that is no copy."""
    made = next((one for one in mirrors(hub.store, found.id)), None)
    return (
        None
        if made is None
        else {"source": str(made.source), "commit": made.commit[:12], "when": day(made.at)}
    )


#: Nodes of a drawn lineage, and the room between them, in pixels.
_WIDE, _TALL, _ACROSS, _DOWN = 230, 46, 110, 22
_SHORT = 30


def _drawn(made: Graph) -> dict[str, Any]:
    """A lineage's nodes and edges with their places."""
    nodes = [
        {"kind": node.kind, "name": node.name, "address": node.address, "here": at == 0, "x": 2 + node.column * (_WIDE + _ACROSS), "y": 2 + node.row * (_TALL + _DOWN),
         "width": _WIDE, "height": _TALL, "short": node.name if len(node.name) <= _SHORT else node.name[: _SHORT - 1] + "\u2026"}
        for at, node in enumerate(made.nodes)
    ]  # fmt: skip
    drawn: list[dict[str, Any]] = []
    for edge in made.edges:
        source, target = nodes[edge.source], nodes[edge.target]
        x1, y1, x2, y2 = source["x"] + _WIDE, source["y"] + _TALL // 2, target["x"], target["y"] + _TALL // 2
        bend = (x2 - x1) // 2
        drawn.append(
            {
                "path": f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}",
                "how": edge.how,
                "x": x1 + bend,
                "y": (y1 + y2) // 2 - 5,
            }
        )
    return {
        "nodes": nodes, "drawn": drawn, "edges": [(nodes[edge.source], edge.how, nodes[edge.target]) for edge in made.edges],
        "width": made.columns * (_WIDE + _ACROSS) - _ACROSS + 4, "height": made.rows * (_TALL + _DOWN) - _DOWN + 4,
    }  # fmt: skip


def _discussion_row(found: Repository, one: Discussion) -> dict[str, Any]:
    return {
        "address": page_path(found.kind, found.name, "discussions", str(one.number)), "title": one.title, "status": one.status, "number": one.number,
        "request": one.request, "author": one.author, "when": day(one.created),
    }  # fmt: skip


def _events(events: list[Event], files: str) -> list[dict[str, Any]]:
    """The events as the page shows them; comments beyond :data:`_READ_CHARACTERS` as they were written."""
    rows: list[dict[str, Any]] = []
    left = _READ_CHARACTERS
    for event in events:
        left -= len(event.data["raw"]) if event.kind == "comment" else 0
        rows.append(_event(event, files, read=left >= 0))
    return rows


def _event(event: Event, files: str, *, read: bool) -> dict[str, Any]:
    data, text = event.data, Markup()
    if event.kind == "comment":
        what = "wrote something that is hidden" if data["hidden"] else "wrote"
        text = rendered(data["raw"], files) if read else Markup("<p>{}</p>").format(data["raw"])
    elif event.kind == "commit":
        what = f"added {data['oid'][:10]}: {data['subject']}"
    elif event.kind == "title-change":
        what = f"renamed it from {data['from']!r} to {data['to']!r}"
    else:
        what = f"made it {data['status']}"
    return {"author": event.author, "when": day(event.at), "what": what, "text": text}


def _text(hub: Hub, file: File) -> str | None:
    """A file's text; None for one that is large, binary or missing."""
    text = hub.contents.text(file.sha256, _SHOWN_BYTES)
    return None if text is None or "\0" in text else text


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
    for path, _ in _changes(old, new)[:_SHOWN_LINES]:
        before, after = (_text(hub, files[path]) if path in files else "" for files in (old, new))
        if before is None or after is None:
            continue
        for line in unified(before.splitlines(), after.splitlines(), path, path):
            lines.append(("added" if line.startswith("+") else "gone" if line.startswith("-") else "", line))
            if len(lines) == _SHOWN_LINES:
                return [*lines, ("", f"the first {_SHOWN_LINES} lines are shown")]
    return lines
