"""The hub's pages about a repository: its card, its lineage and its discussions.

Cards and comments are Markdown of strangers (``markdown.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from freehold.hub.commits import Commit, Repository
from freehold.hub.discussions import Discussion, Event
from freehold.hub.mirror import mirrors
from freehold.hub.scans import worst
from freehold.hub.variants import Variant, variants
from freehold.models.figures import stated
from freehold.models.info import stated_licence
from freehold.servers.hub.addresses import PLURALS, page_path, plural_and_name
from freehold.servers.hub.differences import DifferenceLine, shown_difference, shown_text
from freehold.servers.hub.lineage_graph import lineage_graph
from freehold.servers.hub.lineage_picture import lineage_picture
from freehold.servers.hub.markdown import rendered
from freehold.servers.hub.page_templates import day, format_bytes, render_tab
from freehold.servers.hub.pages_lists import ListQuery, render_list
from freehold.servers.hub.session import CurrentSession, Session
from freehold.servers.hub.state import Hub
from freehold.trial.evidence import measured
from freehold.trust.licence import duties

#: Events of a discussion on its page, the last ones, and characters of their comments that are read as
#: Markdown.
_MOST_EVENTS, _MOST_MARKDOWN = 500, 200_000
_MOST_DISCUSSIONS = 500

router = APIRouter(default_response_class=HTMLResponse)


@dataclass(frozen=True)
class DiscussionRow:
    """A discussion in a list; ``request``: it proposes a change."""

    address: str
    title: str
    status: str
    number: int
    request: bool
    author: str
    day: str


@dataclass(frozen=True)
class EventRow:
    """Something that happened in a discussion; ``text``: a comment's, as HTML."""

    author: str
    day: str
    what: str
    text: Markup


@dataclass(frozen=True)
class VariantRow:
    """Weights that can be run; ``measured``: what trials on this machine measured of them."""

    name: str
    quantization: str
    parameters: str
    context: str
    size: str
    measured: str


@dataclass(frozen=True)
class UnsafeFile:
    """A file that does harm when it is opened, and why."""

    path: str
    address: str
    why: str


@dataclass(frozen=True)
class MirrorSource:
    """Where a copy came from, and when."""

    source: str
    commit: str
    day: str


@dataclass(frozen=True)
class AccessForm:
    """The form that asks for access; ``status``: that of the user's request, "" where there is none."""

    status: str
    address: str


# -- discussions ----------------------------------------------------------------------------------


@router.get("/{where:where}/discussions")
def discussions_page(where: str, session: CurrentSession) -> HTMLResponse:
    """The discussions of a repository, newest first."""
    repository = session.readable(*plural_and_name(where))
    discussions = session.hub.discussions.list(repository.id, limit=_MOST_DISCUSSIONS)[0]
    rows = [_discussion_row(repository, discussion) for discussion in discussions]
    return render_tab(repository, "Discussions", "discussions.html", rows=rows)


def _discussion_row(repository: Repository, discussion: Discussion) -> DiscussionRow:
    return DiscussionRow(
        page_path(repository.kind, repository.name, "discussions", str(discussion.number)),
        discussion.title,
        discussion.status,
        discussion.number,
        discussion.request,
        discussion.author,
        day(discussion.created),
    )


@router.get("/{where:where}/discussions/{number}")
def discussion_page(where: str, number: int, session: CurrentSession) -> HTMLResponse:
    """A discussion's last events, and the lines that a request changes."""
    repository = session.readable(*plural_and_name(where))
    discussion = session.hub.discussions.find(repository.id, number)
    lines: list[DifferenceLine] = []
    if discussion.request and session.may_read_files(repository):
        proposal = session.hub.repositories.proposed(repository, discussion)
        lines = shown_difference(session.hub.blobs, proposal.base.files, proposal.head.files)
    events = session.hub.discussions.events(discussion)
    shown = events[-_MOST_EVENTS:]
    return render_tab(
        repository,
        "Discussions",
        "discussion.html",
        heading=f"{discussion.title} (#{number})",
        status=discussion.status,
        earlier=len(events) - len(shown),
        events=_event_rows(shown, _files_path(repository)),
        difference=lines,
    )


def _files_path(repository: Repository) -> str:
    """The address below which relative links of a card or a comment lead."""
    return page_path(repository.kind, repository.name, "resolve", "main")


def _event_rows(events: list[Event], files: str) -> list[EventRow]:
    """The events as the page shows them; comments beyond :data:`_MOST_MARKDOWN` as they were written."""
    rows: list[EventRow] = []
    left = _MOST_MARKDOWN
    for event in events:
        left -= len(event.data["raw"]) if event.kind == "comment" else 0
        text = _comment_html(event, files, as_markdown=left >= 0)
        rows.append(EventRow(event.author, day(event.at), _what_happened(event), text))
    return rows


def _comment_html(event: Event, files: str, *, as_markdown: bool) -> Markup:
    if event.kind != "comment":
        return Markup()
    raw = event.data["raw"]
    return rendered(raw, files) if as_markdown else Markup("<p>{}</p>").format(raw)


def _what_happened(event: Event) -> str:
    data = event.data
    match event.kind:
        case "comment":
            return "wrote a comment that is hidden" if data["hidden"] else "wrote"
        case "commit":
            return f"added {data['oid'][:10]}: {data['subject']}"
        case "title-change":
            return f"changed the title from {data['from']!r} to {data['to']!r}"
        case _:
            return f"changed the status to {data['status']}"


# -- lineage --------------------------------------------------------------------------------------


@router.get("/{where:where}/lineage")
def lineage_page(where: str, session: CurrentSession) -> HTMLResponse:
    """What a repository was made from, and what was made of it."""
    repository = session.readable(*plural_and_name(where))
    hub, reader = session.hub, session.reader()

    def may_see(other: Repository) -> bool:
        return hub.permissions.sees(reader, other)

    graph = lineage_graph(hub.repositories, repository, may_see, session.listed_names())
    return render_tab(repository, "Lineage", "lineage.html", picture=lineage_picture(graph))


# -- cards ----------------------------------------------------------------------------------------


# last, since a repository's own address fits what comes above
@router.get("/{where:where}")
def card_page(where: str, session: CurrentSession) -> HTMLResponse:
    """A repository's card, and the facts about it; for ``/models`` and its like the list."""
    if where in PLURALS:
        return render_list(session, ListQuery(kind=PLURALS[where]))
    repository = session.readable(*plural_and_name(where))
    hub = session.hub
    head = hub.repositories.commit(repository, "main")
    readable = session.may_read_files(repository)
    return render_tab(
        repository,
        "Card",
        "card.html",
        card=_card_html(hub, repository, head),
        asking=None if readable else _access_form(session, repository),
        facts=_facts(repository, head),
        base=session.base,
        runs=_variant_rows(hub, repository, head) if readable else [],
        stated=stated(repository.card),
        copy=_mirror_source(hub, repository),
        duties=duties(stated_licence(repository.card)),
        unsafe=_unsafe_files(hub, repository, head) if readable else [],
        tags=[(tag, "/?" + urlencode({"kind": repository.kind, "tag": tag})) for tag in repository.tags],
    )


def _card_html(hub: Hub, repository: Repository, head: Commit) -> Markup | str:
    readme = head.files.get("README.md")
    text = shown_text(hub.blobs, readme) if readme is not None else None
    return rendered(_without_front_matter(text), _files_path(repository)) if text else ""


def _without_front_matter(text: str) -> str:
    if not text.startswith("---"):
        return text
    _, end, rest = text[3:].partition("\n---")
    return rest.partition("\n")[2] if end else text


def _facts(repository: Repository, head: Commit) -> list[tuple[str, str]]:
    """(label, value)"""
    stored_bytes = sum({file.sha256: file.size for file in head.files.values()}.values())
    return [
        ("Owner", repository.author),
        ("Licence", stated_licence(repository.card) or "none stated"),
        ("Last change", day(head.created)),
        ("Revision", head.id[:10]),
        ("Size", format_bytes(stored_bytes)),
        ("Downloads", f"{repository.downloads:,}"),
    ]


def _unsafe_files(hub: Hub, repository: Repository, head: Commit) -> list[UnsafeFile]:
    return [
        UnsafeFile(path, page_path(repository.kind, repository.name, "blob", "main", path), dangers[0].why)
        for path, dangers in sorted(hub.dangers(repository, head.files).items())
        if worst(dangers) == "unsafe"
    ]


def _variant_rows(hub: Hub, repository: Repository, head: Commit) -> list[VariantRow]:
    if repository.kind != "model":
        return []
    return [_variant_row(variant) for variant in variants(hub.blobs, head.files)]


def _variant_row(variant: Variant) -> VariantRow:
    info = variant.info
    return VariantRow(
        variant.name,
        info.quantization or "not stated",
        f"{info.parameters / 1e6:,.0f} million",
        f"{info.context_length:,} tokens" if info.context_length else "not stated",
        format_bytes(info.size_bytes),
        "; ".join(measured(variant.digest)),
    )


def _mirror_source(hub: Hub, repository: Repository) -> MirrorSource | None:
    """Where a repository was copied from; None for one that is no copy."""
    for mirror in mirrors(hub.store, repository.id):
        return MirrorSource(str(mirror.source), mirror.commit[:12], day(mirror.at))
    return None


def _access_form(session: Session, repository: Repository) -> AccessForm:
    status = session.hub.users.access(repository.id, session.reader().name)
    return AccessForm(status, page_path(repository.kind, repository.name, "ask-access"))
