"""The hub's JSON API about discussions and requests to change a repository."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from freehold.hub.commits import Repository
from freehold.hub.discussions import TEXT, TITLE, Discussion, Event, check_text, line_of
from freehold.hub.users import User
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.differences import git_difference
from freehold.servers.hub.json_answers import JsonObject, UserName, timestamp
from freehold.servers.hub.session import CurrentSession, Session
from freehold.servers.web.bodies import JsonRoute

_PAGE = 50
#: Words of a query -> what they ask the list for.
_TYPES: dict[str, bool | None] = {"all": None, "discussion": False, "pull_request": True}
_STATUSES: dict[str, bool | None] = {"all": None, "open": False, "closed": True}

router = APIRouter(prefix="/api/{plural}/{repo:repo}/discussions", route_class=JsonRoute)


class Opened(BaseModel):
    """A new discussion, or with ``pullRequest`` a request."""

    model_config = ConfigDict(extra="allow")
    title: str
    description: str = ""
    pullRequest: bool = False


class Comment(BaseModel):
    """A comment."""

    comment: str


class Title(BaseModel):
    """Another title."""

    title: str


class Status(BaseModel):
    """Another status: ``open`` or ``closed``, with a comment about it."""

    status: str
    comment: str | None = None


class Merge(BaseModel):
    """A merge, with a comment about it."""

    comment: str | None = None


class Edit(BaseModel):
    """A comment's new text."""

    content: str


class DiscussionQuery(BaseModel):
    """Which discussions a list holds; ``p``: the page, from 0."""

    p: int = Field(0, ge=0, le=2**40)
    type: str = "all"
    status: str = "all"
    author: str = ""


class RepositoryName(BaseModel):
    """A repository; ``type``: its kind."""

    name: str
    type: str


class DiscussionEntry(BaseModel):
    """A discussion in a list."""

    num: int
    title: str
    status: str
    author: UserName
    createdAt: str
    isPullRequest: bool
    pinned: bool
    repo: RepositoryName
    repoOwner: UserName


class DiscussionList(BaseModel):
    """A page of discussions; ``count``: all that fit; ``numClosedDiscussions``: of the whole repository."""

    discussions: list[DiscussionEntry]
    count: int
    start: int
    numClosedDiscussions: int


class LatestText(BaseModel):
    """A comment's text, as it is now."""

    raw: str
    html: str = ""
    updatedAt: str
    author: UserName


class CommentData(BaseModel):
    """What an event of the kind ``comment`` says."""

    edited: bool
    hidden: bool
    latest: LatestText
    numEdits: int
    reactions: list[str] = []


class EventEntry(BaseModel):
    """Something that happened in a discussion."""

    id: str
    type: str
    createdAt: str
    author: UserName
    data: CommentData | JsonObject


class Changes(BaseModel):
    """The branch that a request changes, and the commit that took it in."""

    base: str
    mergeCommitId: str | None = None


class DiscussionDetails(DiscussionEntry):
    """A discussion and its events; of a request its changes too. A field that is not set is left out."""

    events: list[EventEntry] = []
    filesWithConflicts: list[str] | None = None
    changes: Changes | None = None
    #: in git's form
    diff: str | None = None


class OpenedAnswer(BaseModel):
    """A new discussion's number and page."""

    num: int
    url: str
    pullRequest: bool


class NewMessage(BaseModel):
    """A new comment."""

    newMessage: EventEntry


class NewTitle(BaseModel):
    """The event of a new title."""

    newTitle: EventEntry


class NewStatus(BaseModel):
    """The event of a new status."""

    newStatus: EventEntry


class Merged(BaseModel):
    """The commit that took a request in."""

    success: bool
    commitOid: str


class UpdatedComment(BaseModel):
    """A comment that was changed."""

    updatedComment: EventEntry


@router.get("")
def list_discussions(
    plural: str, repo: str, session: CurrentSession, query: Annotated[DiscussionQuery, Query()]
) -> DiscussionList:
    """The discussions of a repository, newest first, a page at a time."""
    repository = session.readable(plural, repo)
    if query.type not in _TYPES or query.status not in _STATUSES:
        message = f"type must be one of {', '.join(_TYPES)}, and status one of {', '.join(_STATUSES)}"
        raise ApiError(400, message)
    start = query.p * _PAGE
    rows, count = session.hub.discussions.list(
        repository.id,
        request=_TYPES[query.type],
        closed=_STATUSES[query.status],
        author=query.author,
        after=start,
        limit=_PAGE,
    )
    closed = session.hub.discussions.list(repository.id, closed=True, limit=1)[1]
    return DiscussionList(
        discussions=[DiscussionEntry(**_fields(repository, discussion)) for discussion in rows],
        count=count,
        start=start,
        numClosedDiscussions=closed,
    )


@router.post("")
def open_discussion(plural: str, repo: str, body: Opened, session: CurrentSession) -> OpenedAnswer:
    """Open a discussion or a request."""
    repository, user = (session.proposable if body.pullRequest else session.discussable)(plural, repo)
    title = check_text(body.title, TITLE, "title")
    text = check_text(body.description, TEXT, "description") if body.description.strip() else ""
    number = session.hub.repositories.discuss(
        repository, title, user.name, text=text, request=body.pullRequest
    )
    session.record(user, "discuss", repository, str(number))
    url = f"/{repository.name}/discussions/{number}"
    return OpenedAnswer(num=number, url=url, pullRequest=body.pullRequest)


@router.get("/{number}", response_model_exclude_unset=True)
def details(
    plural: str, repo: str, number: int, session: CurrentSession, diff: str = ""
) -> DiscussionDetails:
    """A discussion and its events, and with ``diff`` the changes that a request proposes."""
    hub = session.hub
    repository = session.readable(plural, repo)
    discussion = hub.discussions.find(repository.id, number)
    answer = DiscussionDetails(**_fields(repository, discussion))
    answer.events = [_event_entry(event) for event in hub.discussions.events(discussion)]
    if discussion.request:
        proposal = hub.repositories.proposed(repository, discussion)
        answer.filesWithConflicts = proposal.conflicts
        answer.changes = Changes(base=discussion.base)
        if discussion.merged_as:
            answer.changes.mergeCommitId = discussion.merged_as
        if diff and session.may_read_files(repository):
            answer.diff = git_difference(hub.blobs, proposal.base, proposal.head)
    return answer


@router.post("/{number}/comment")
def comment(plural: str, repo: str, number: int, body: Comment, session: CurrentSession) -> NewMessage:
    """Write a comment."""
    _, discussion, user = _discussable(session, plural, repo, number)
    event = session.hub.discussions.comment(discussion, user.name, body.comment)
    return NewMessage(newMessage=_event_entry(event))


@router.post("/{number}/title")
def title(plural: str, repo: str, number: int, body: Title, session: CurrentSession) -> NewTitle:
    """Give a discussion another title."""
    repository, discussion, user = _discussable(session, plural, repo, number)
    _need_moderator(repository, user, discussion.author)
    event = session.hub.discussions.rename(discussion, user.name, body.title)
    return NewTitle(newTitle=_event_entry(event))


@router.post("/{number}/status")
def status(plural: str, repo: str, number: int, body: Status, session: CurrentSession) -> NewStatus:
    """Close a discussion, or open it again."""
    repository, discussion, user = _discussable(session, plural, repo, number)
    _need_moderator(repository, user, discussion.author)
    event = session.hub.discussions.status(discussion, user.name, body.status, body.comment or "")
    return NewStatus(newStatus=_event_entry(event))


@router.post("/{number}/merge")
def merge(plural: str, repo: str, number: int, session: CurrentSession, body: Merge | None = None) -> Merged:
    """Take a request into its branch."""
    repository, user = session.writable(plural, repo)
    discussion = session.hub.discussions.find(repository.id, number)
    commit = session.hub.repositories.merge(repository, discussion, user.name)
    text = (body.comment if body is not None else None) or ""
    if text.strip():
        session.hub.discussions.comment(discussion, user.name, text)
    detail = f"{discussion.base} is {commit.id}, {line_of(number)} merged"
    session.record(user, "push", repository, detail)
    return Merged(success=True, commitOid=commit.id)


@router.post("/{number}/comment/{event}/edit")
def edit(
    plural: str, repo: str, number: int, event: str, body: Edit, session: CurrentSession
) -> UpdatedComment:
    """Change the text of one's own comment."""
    _, discussion, user = _discussable(session, plural, repo, number)
    discussions = session.hub.discussions
    current = discussions.find_comment(discussion, event)
    if user.name != current.author:
        raise ApiError(403, "only its author can change a comment")
    return UpdatedComment(updatedComment=_event_entry(discussions.edit(discussion, current, body.content)))


@router.post("/{number}/comment/{event}/hide")
def hide(plural: str, repo: str, number: int, event: str, session: CurrentSession) -> UpdatedComment:
    """Hide a comment for good."""
    repository, discussion, user = _discussable(session, plural, repo, number)
    discussions = session.hub.discussions
    current = discussions.find_comment(discussion, event)
    _need_moderator(repository, user, current.author)
    return UpdatedComment(updatedComment=_event_entry(discussions.edit(discussion, current, None)))


def _discussable(
    session: Session, plural: str, repo: str, number: int
) -> tuple[Repository, Discussion, User]:
    """A discussion that the user may write in. Raises ApiError, NotFound."""
    repository, user = session.discussable(plural, repo)
    return repository, session.hub.discussions.find(repository.id, number), user


def _need_moderator(repository: Repository, user: User, author: str) -> None:
    """Raises ApiError for a user who is neither the author nor may write to the repository."""
    if user.name != author and not user.may_write(repository.author):
        raise ApiError(403, f"only its author and those who may write to {repository.name} can do that")


def _fields(repository: Repository, discussion: Discussion) -> JsonObject:
    """The fields of a :class:`DiscussionEntry`."""
    return {
        "num": discussion.number,
        "title": discussion.title,
        "status": discussion.status,
        "author": UserName(name=discussion.author),
        "createdAt": timestamp(discussion.created),
        "isPullRequest": discussion.request,
        "pinned": False,
        "repo": RepositoryName(name=repository.name, type=repository.kind),
        "repoOwner": UserName(name=repository.author),
    }


def _event_entry(event: Event) -> EventEntry:
    author = UserName(name=event.author)
    at, data = timestamp(event.at), event.data
    if event.kind == "comment":
        data = CommentData(
            edited=data["edited"],
            hidden=data["hidden"],
            latest=LatestText(raw=data["raw"], html="", updatedAt=at, author=author),
            numEdits=int(data["edited"]),
            reactions=[],
        )
    return EventEntry(id=event.id, type=event.kind, createdAt=at, author=author, data=data)
