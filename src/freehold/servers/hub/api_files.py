"""The hub's route that files are read by; ``freehold.hub.permissions`` decides who may read them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from freehold.hub.blob_store import Content
from freehold.hub.commits import File, Repository
from freehold.servers.hub.addresses import plural_and_name, unescape_slashes
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.session import CurrentSession, Session
from freehold.servers.hub.transfers import requested_range
from freehold.servers.web.bodies import JsonRoute

#: Headers that a page of another origin may read, as on the Hugging Face Hub.
_EXPOSED = "X-Repo-Commit, ETag, X-Linked-Size, X-Linked-ETag, Link, X-Xet-Hash"

router = APIRouter(route_class=JsonRoute)


@dataclass(frozen=True)
class StoredFile:
    """A file of a repository at a commit, and its bytes."""

    repository: Repository
    commit_id: str
    path: str
    file: File
    blob: Content

    @property
    def etag(self) -> str:
        """The file's digest in quotation marks."""
        return f'"{self.file.sha256 if self.file.lfs else self.file.oid}"'


@router.api_route("/{where:where}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
def resolve(where: str, revision: str, path: str, session: CurrentSession) -> Response:
    """A file's bytes, or with HEAD what there is to know of it."""
    plural, name = plural_and_name(where)
    stored = _find(session, session.readable(plural, name, files=True), revision, path)
    headers = _headers(stored) | _xet_headers(session, plural, stored)
    request = session.request
    if request.headers.get("if-none-match") == stored.etag:
        return Response(status_code=304, headers=headers)
    part = requested_range(request, stored.file.size)
    headers |= part.headers
    media_type = "application/octet-stream" if stored.file.lfs else "text/plain; charset=utf-8"
    if request.method == "HEAD":
        return Response(status_code=part.status, headers=headers, media_type=media_type)
    if not part.start:
        session.hub.repositories.downloaded(stored.repository)
        detail = f"{path} at {stored.commit_id[:12]}"
        session.record(session.reader(), "pull", stored.repository, detail)
    blocks = session.hub.blobs.read(stored.blob, part.start, part.end)
    return StreamingResponse(blocks, status_code=part.status, headers=headers, media_type=media_type)


def _find(session: Session, repository: Repository, revision: str, path: str) -> StoredFile:
    commit_id = session.commit_id(repository, unescape_slashes(revision))
    commit = session.hub.repositories.commit(repository, commit_id)
    file = commit.files.get(unescape_slashes(path))
    if file is None:
        message = f"{path[:200]} does not exist on {revision[:80]!r}"
        raise ApiError(404, message, "EntryNotFound", {"X-Repo-Commit": commit.id})
    blob = session.hub.blobs.find(file.sha256)
    if blob is None:
        raise ApiError(
            500,
            f"the content of {path[:200]} is missing from this hub; "
            "its operator can run 'freehold hub check'",
        )
    return StoredFile(repository, commit.id, path, file, blob)


def _headers(stored: StoredFile) -> dict[str, str]:
    name = quote(stored.path.rsplit("/", 1)[-1])
    headers = {
        "X-Repo-Commit": stored.commit_id,
        "ETag": stored.etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}; filename=\"{name}\";",
        "Access-Control-Expose-Headers": _EXPOSED,
    }
    if stored.file.lfs:
        headers |= {"X-Linked-Size": str(stored.file.size), "X-Linked-ETag": stored.etag}
    return headers


def _xet_headers(session: Session, plural: str, stored: StoredFile) -> dict[str, str]:
    """Where a file that is kept in chunks can be read by them."""
    file_hash = stored.blob.file_hash
    if not file_hash:
        return {}
    token = f"{session.base}/api/{plural}/{stored.repository.name}/xet-read-token/{stored.commit_id}"
    store = session.base + session.hub.chunk_store_path(session.reader())
    reconstruction = f"{store}/v1/reconstructions/{file_hash}"
    return {
        "X-Xet-Hash": file_hash,
        "Link": f'<{token}>; rel="xet-auth", <{reconstruction}>; rel="xet-reconstruction-info"',
    }
