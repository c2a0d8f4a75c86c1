"""The hub's JSON API about repositories: create, list, describe, trees, branches, tags, commits."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from freehold.core import strict_json
from freehold.core.errors import BadData, NotFound
from freehold.hub import front_matter
from freehold.hub.commits import Commit, Exists, File, Repository, git_oid, pointer
from freehold.hub.scans import file_status, repository_status
from freehold.hub.search_index import SearchQuery
from freehold.hub.variants import described as variants_described
from freehold.hub.variants import variants
from freehold.servers.hub.session import PLURALS, ApiError, Hub, base_of, page_path, plain
from freehold.servers.web.bodies import JsonRoute, body_of, limited, need_json_type

_SORTS = {"lastModified": "modified", "createdAt": "created", "downloads": "downloads", "likes": "downloads", "trendingScore": "downloads",
          "trending": "downloads", "modified": "modified"}  # fmt: skip
_PAGE = 1000
#: As many paths are described at once; each is looked for among all files.
_PATHS = 1000
#: As many files of earlier commits are looked at for when each file of a list changed last.
_COMPARED = 500_000
#: As many tags are listed, the most frequent ones.
_TAGS = 10_000
Expand = Annotated[list[str] | None, Parameter()]
Limit = Annotated[int, Parameter(ge=1, le=10_000)]


class Named(BaseModel):
    """A repository in a body, as clients send it; fields of the Hugging Face Hub that have no meaning here are let through."""

    model_config = ConfigDict(extra="allow")
    name: str
    organization: str | None = None
    type: str | None = "model"
    private: bool | None = None
    visibility: str | None = None


class Moved(BaseModel):
    """A rename."""

    fromRepo: str
    toRepo: str
    type: str | None = "model"


class Settings(BaseModel):
    """Who may read."""

    model_config = ConfigDict(extra="allow")
    private: bool | None = None
    visibility: str | None = None
    gated: str | bool | None = None


#: What a list or a description can be asked to hold, beside the id.
_PROPERTIES = frozenset(
    [
        "author",
        "baseModels",
        "cardData",
        "childrenModelCount",
        "citation",
        "config",
        "createdAt",
        "description",
        "disabled",
        "downloads",
        "downloadsAllTime",
        "evalResults",
        "gated",
        "gguf",
        "inference",
        "inferenceProviderMapping",
        "lastModified",
        "library_name",
        "likes",
        "mask_token",
        "model-index",
        "paperswithcode_id",
        "pipeline_tag",
        "private",
        "resourceGroup",
        "safetensors",
        "sdk",
        "sha",
        "siblings",
        "spaces",
        "tags",
        "trendingScore",
        "transformersInfo",
        "usedStorage",
        "widgetData",
        "xetEnabled",
    ]
)


def chosen(info: dict[str, Any], asked: list[str] | None) -> dict[str, Any]:
    """A description cut to the asked properties. Raises Answer for one that nobody knows."""
    names = {name for value in asked or [] for name in value.split(",") if name}
    if unknown := sorted(names - _PROPERTIES):
        raise ApiError(
            400, f"expand has no property {unknown[0][:40]!r}; known are {', '.join(sorted(_PROPERTIES))}"
        )
    return {key: value for key, value in info.items() if key in {"_id", "id"} | names} if names else info


def when(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def address(base: str, found: Repository) -> str:
    """A repository's page."""
    return base + page_path(found.kind, found.name)


def closed_entry(path: str, size: int, *, folder: bool) -> dict[str, Any]:
    """A file or folder in a tree, for who may not read the repository's files: no digest tells what is in
    it."""
    return {"type": "directory" if folder else "file", "oid": "", "size": size, "path": path}


def file_entry(path: str, file: File, file_hash: str = "") -> dict[str, Any]:
    """A file in a tree."""
    entry: dict[str, Any] = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
    if file.lfs:
        entry["lfs"] = {
            "oid": file.sha256,
            "size": file.size,
            "pointerSize": len(pointer(file.sha256, file.size)),
        }
    if file_hash:
        entry["xetHash"] = file_hash
    return entry


def _folder_entry(path: str, inside: dict[str, File]) -> dict[str, Any]:
    text = "\n".join(f"{name} {file.oid}" for name, file in sorted(inside.items()))
    return {"type": "directory", "oid": git_oid("tree", text.encode()), "size": 0, "path": path}


def _below(ordered: list[str], folder: str) -> list[str]:
    """Of paths in order those that lie in a folder, at any depth."""
    return ordered[bisect_left(ordered, folder + "/") : bisect_left(ordered, folder + "0")]  # "0" follows "/"


async def _json(request: Request) -> dict[str, Any]:
    """A body that is a JSON object, or nothing. Raises Answer, BadData, HTTPException."""
    need_json_type(request)
    value = strict_json.read(await body_of(request) or b"{}")
    if not isinstance(value, dict):
        raise ApiError(400, "the body is not a JSON object")
    return value


async def _paths(request: Request) -> tuple[list[str], bool]:
    """(paths, expand) of a form or a JSON body. Raises Answer, BadData."""
    try:
        request = Request(request.scope, limited(request.receive))
        if request.headers.get("content-type", "").startswith("application/json"):
            body = strict_json.read(await body_of(request))
            paths, expand = body["paths"], bool(body.get("expand"))
        else:
            form = await request.form()
            paths, expand = form.getlist("paths"), str(form.get("expand", "")).lower() == "true"
        asked = [paths] if isinstance(paths, str) else [str(path) for path in paths]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ApiError(400, "send the field 'paths', once for each path") from None
    if len(asked) > _PATHS:
        raise ApiError(
            400, f"{len(asked)} paths are asked for, and {_PATHS} are answered at most; ask in parts"
        )
    return asked, expand


#: What is read beside the event loop, so that the routes themselves can work in threads.
Body = Annotated[dict[str, Any], Depends(_json)]
Paths = Annotated[tuple[list[str], bool], Depends(_paths)]


def _text(body: dict[str, Any], field: str) -> str:
    value = body.get(field) or ""
    if not isinstance(value, str):
        raise ApiError(400, f"the field {field!r} is not a text")
    return value


def _kind(value: str | None) -> str:
    kind = value or "model"
    if kind not in PLURALS.values():
        raise ApiError(400, f"repositories of type {kind!r} are not kept here; model, dataset and space are")
    return kind


def routes(hub: Hub) -> APIRouter:
    """All routes of this part."""
    router = APIRouter(prefix="/api", route_class=JsonRoute)
    repositories = hub.repositories

    @router.get("/whoami-v2")
    def whoami(request: Request) -> dict[str, Any]:
        actor = hub.someone(request)
        organisations = [
            {"type": "org", "name": name, "fullname": name, "roleInOrg": role}
            for name, role in sorted(actor.organisations.items())
        ]
        return {
            "type": "user", "id": actor.name, "name": actor.name, "fullname": actor.name, "email": None, "emailVerified": False, "isPro": False,
            "canPay": False, "periodEnd": None, "avatarUrl": "", "orgs": organisations,
            "auth": {"type": "access_token", "accessToken": {"displayName": "token", "role": actor.role}},
        }  # fmt: skip

    # -- names ----------------------------------------------------------------------------------

    def named(body: Named, request: Request) -> tuple[str, str]:
        if "/" in body.name:
            return _kind(body.type), body.name
        return _kind(body.type), f"{body.organization or hub.someone(request).name}/{body.name}"

    @router.post("/repos/create")
    def create(body: Named, request: Request) -> dict[str, Any]:
        actor = hub.someone(request)
        kind, name = named(body, request)
        if not actor.may_write(name.split("/")[0]):
            raise ApiError(
                403,
                f"You don't have the rights to create a {kind} under the namespace {name.split('/')[0]!r}",
            )
        private = bool(body.private) or body.visibility == "private"
        try:
            made = repositories.create(kind, name, private=private, owner=actor.name)
        except Exists:
            there = repositories.find(kind, name)
            raise ApiError(
                409,
                "You already created this repo",
                also={"url": address(base_of(request), there), "name": there.name},
            ) from None
        hub.accounts.record(actor.name, "create", f"{kind} {name}")
        return {
            "url": address(base_of(request), made),
            "name": made.name,
            "id": made.name,
            "private": made.private,
        }

    @router.delete("/repos/delete")
    def delete(body: Named, request: Request) -> dict[str, Any]:
        kind, name = named(body, request)
        found, actor = hub.writable(request, f"{kind}s", name)
        repositories.delete(found)
        hub.accounts.record(actor.name, "delete", f"{kind} {name}")
        return {}

    @router.post("/repos/move")
    def move(body: Moved, request: Request) -> dict[str, Any]:
        found, actor = hub.writable(request, f"{_kind(body.type)}s", body.fromRepo)
        if not actor.may_write(body.toRepo.split("/")[0]):
            raise ApiError(
                403, f"You don't have the rights to move into the namespace {body.toRepo.split('/')[0]!r}"
            )
        repositories.move(found, body.toRepo)
        hub.accounts.record(actor.name, "move", f"{found.kind} {found.name}", body.toRepo)
        return {}

    @router.put("/{plural}/{repo:repo}/settings")
    def settings(plural: str, repo: str, body: Settings, request: Request) -> dict[str, Any]:
        found, actor = hub.writable(request, plural, repo)
        private = body.private if body.visibility is None else body.visibility == "private"
        gated = None if body.gated is None else "" if body.gated is False else str(body.gated)
        if gated not in (None, "", "auto", "manual"):
            raise ApiError(400, f"gated must be auto, manual or false, and is {gated!r}")
        repositories.settings(found, private=private, gated=gated)
        changed = {"private": private, "gated": gated}
        hub.accounts.record(actor.name, "settings", f"{found.kind} {found.name}", json.dumps(changed))
        return changed

    # -- describing -----------------------------------------------------------------------------

    def described(
        found: Repository,
        commit: Commit | None,
        *,
        blobs: bool = False,
        facts: bool = False,
        opened: bool = False,
    ) -> dict[str, Any]:
        """``opened``: the asker may read the files, and so may know their digests."""
        info: dict[str, Any] = {
            "_id": f"{found.id:024x}", "id": found.name, "author": found.author, "lastModified": when(found.modified), "createdAt": when(found.created),
            "private": found.private, "gated": found.gated or False, "disabled": False, "downloads": found.downloads, "likes": 0, "tags": found.tags,
            "cardData": found.card,
        }  # fmt: skip
        if found.kind == "model":
            info |= {
                "modelId": found.name,
                "pipeline_tag": found.card.get("pipeline_tag"),
                "library_name": found.card.get("library_name"),
            }
            info["config"] = {}
        if commit is None:
            return info
        info["sha"] = commit.id
        info["lastModified"] = when(commit.created)
        info["usedStorage"] = sum({file.sha256: file.size for file in commit.files.values()}.values())
        siblings: list[dict[str, Any]] = []
        for path, file in sorted(commit.files.items()):
            entry: dict[str, Any] = {"rfilename": path}
            if blobs:
                entry |= {"size": file.size} | ({"blobId": file.oid} if opened else {})
                if file.lfs and opened:
                    entry["lfs"] = {
                        "sha256": file.sha256,
                        "size": file.size,
                        "pointerSize": len(pointer(file.sha256, file.size)),
                    }
            siblings.append(entry)
        known = variants(hub.contents, commit.files) if found.kind == "model" and facts and opened else []
        return info | {"siblings": siblings, "spaces": []} | variants_described(known)

    def informed(
        found: Repository,
        revision: str,
        request: Request,
        blobs: bool,
        expand: list[str] | None,
        security: bool,
    ) -> dict[str, Any]:
        commit, opened = (
            repositories.commit(found, hub.revision(found, revision)),
            hub.opened(request, found),
        )
        info = chosen(described(found, commit, blobs=blobs, facts=True, opened=opened), expand)
        if security and opened and found.kind == "model" and hub.scans.able:
            info["securityRepoStatus"] = repository_status(hub.dangers(found, commit.files), commit.files)
        return info

    @router.get("/{plural}/{repo:repo}/revision/{revision}")
    def info_at(plural: str, repo: str, revision: str, request: Request, blobs: bool = False, expand: Expand = None,
                securityStatus: bool = False) -> dict[str, Any]:  # fmt: skip
        return informed(
            hub.readable(request, plural, repo), plain(revision), request, blobs, expand, securityStatus
        )

    @router.get("/{plural}/{repo:repo}/refs")
    def refs(plural: str, repo: str, request: Request) -> dict[str, Any]:
        found = hub.readable(request, plural, repo)
        rows = repositories.refs(found)

        def those(kind: str, prefix: str) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": prefix + name, "targetCommit": commit}
                for of, name, commit in rows
                if of == kind
            ]

        return {
            "branches": those("branch", "refs/heads/"),
            "converts": [],
            "tags": those("tag", "refs/tags/"),
            "pullRequests": those("request", ""),
        }

    @router.get("/{plural}/{repo:repo}/commits/{revision}")
    def commits(plural: str, repo: str, revision: str, request: Request, response: Response, p: Annotated[int, Parameter(ge=0)] = 0,
                limit: Annotated[int, Parameter(ge=1, le=_PAGE)] = 50) -> list[dict[str, Any]]:  # fmt: skip
        found = hub.readable(request, plural, repo)
        line = repositories.history(found, hub.revision(found, plain(revision)))
        response.headers["X-Total-Count"] = str(len(line))
        if len(line) > (p + 1) * limit:
            response.headers["Link"] = _next(request, p=p + 1)
        return [
            {"id": one.id, "title": one.title, "message": one.message, "date": when(one.created), "authors": [{"user": one.author, "avatar": ""}],
             "formatted": {"title": one.title, "message": one.message}}
            for one in line[p * limit : (p + 1) * limit]
        ]  # fmt: skip

    # -- trees ----------------------------------------------------------------------------------

    def entries(
        found: Repository, commit: Commit, paths: list[str], request: Request, *, expand: bool
    ) -> list[dict[str, Any]]:
        if not hub.opened(request, found):
            there = commit.files
            return [
                closed_entry(path, there[path].size if path in there else 0, folder=path not in there)
                for path in paths
            ]
        ordered = sorted(commit.files)
        below = {path: [path] if path in commit.files else _below(ordered, path) for path in paths}
        names = {name for inside in below.values() for name in inside}
        changes = _last_changes(found, commit, names) if expand else {}
        dangers = (
            hub.dangers(found, {path: commit.files[path] for path in paths if path in commit.files})
            if expand
            else {}
        )
        rows: list[dict[str, Any]] = []
        for path in paths:
            file = commit.files.get(path)
            if file is not None:
                content = hub.contents.find(file.sha256) if file.lfs else None
                row = file_entry(path, file, content.file_hash if content else "")
            else:
                row = _folder_entry(path, {name: commit.files[name] for name in below[path]})
            if expand:
                known = [changes[name] for name in below[path] if name in changes]
                last = max(known, key=lambda one: one.created, default=None)
                row["lastCommit"] = last and {"id": last.id, "title": last.title, "date": when(last.created)}
                if file is not None:
                    row["securityFileStatus"] = file_status(dangers[path]) if path in dangers else None
            rows.append(row)
        return rows

    def _last_changes(found: Repository, commit: Commit, names: Iterable[str]) -> dict[str, Commit]:
        """Path -> the commit that last changed it; without those whose change lies further back than is looked."""
        changes: dict[str, Commit] = {}
        left, at, compared = set(names), commit, 0
        while left and compared < _COMPARED:
            before = repositories.before(found, at)
            earlier = before.files if before is not None else {}
            changed = [name for name in left if earlier.get(name) != commit.files[name]]
            changes |= dict.fromkeys(changed, at)
            left.difference_update(changed)
            compared += len(earlier)
            if before is None:
                break
            at = before
        return changes

    def tree_rows(plural: str, repo: str, revision: str, folder: str, request: Request, response: Response, recursive: bool, expand: bool,
                  limit: int, cursor: str) -> list[dict[str, Any]]:  # fmt: skip
        found = hub.readable(request, plural, repo)
        commit = repositories.commit(found, hub.revision(found, plain(revision)))
        inside = folder.strip("/")
        start = inside + "/" if inside else ""
        below = [path for path in commit.files if path.startswith(start)]
        if inside and not below:
            raise ApiError(404, f"{inside[:120]} does not exist on {revision}", "EntryNotFound")
        names: set[str] = set()
        for path in below:
            parts = path[len(start) :].split("/")
            names.update(
                start + "/".join(parts[:depth]) for depth in (range(1, len(parts) + 1) if recursive else (1,))
            )
        ordered = [name for name in sorted(names) if name > cursor]
        page = ordered[:limit]
        if len(ordered) > limit:
            response.headers["Link"] = _next(request, cursor=page[-1])
        response.headers["X-Repo-Commit"] = commit.id
        return entries(found, commit, page, request, expand=expand)

    @router.get("/{plural}/{repo:repo}/tree/{revision}")
    def tree(plural: str, repo: str, revision: str, request: Request, response: Response, recursive: bool = False, expand: bool = False,
             limit: Limit = _PAGE, cursor: str = "") -> list[dict[str, Any]]:  # fmt: skip
        return tree_rows(plural, repo, revision, "", request, response, recursive, expand, limit, cursor)

    @router.get("/{plural}/{repo:repo}/tree/{revision}/{folder:path}")
    def subtree(plural: str, repo: str, revision: str, folder: str, request: Request, response: Response, recursive: bool = False,
                expand: bool = False, limit: Limit = _PAGE, cursor: str = "") -> list[dict[str, Any]]:  # fmt: skip
        return tree_rows(plural, repo, revision, folder, request, response, recursive, expand, limit, cursor)

    @router.post("/{plural}/{repo:repo}/paths-info/{revision}")
    def paths_info(
        plural: str, repo: str, revision: str, request: Request, asked_for: Paths
    ) -> list[dict[str, Any]]:
        asked, expand = asked_for
        found = hub.readable(request, plural, repo)
        commit = repositories.commit(found, hub.revision(found, plain(revision)))
        wanted = [path.strip("/") for path in asked]
        ordered = sorted(commit.files)
        there = [path for path in wanted if path and (path in commit.files or _below(ordered, path))]
        return entries(found, commit, there, request, expand=expand)

    # -- branches and tags ------------------------------------------------------------------------

    @router.post("/{plural}/{repo:repo}/branch/{branch:path}")
    def add_branch(plural: str, repo: str, branch: str, request: Request, body: Body) -> dict[str, Any]:
        found, actor = hub.writable(request, plural, repo)
        # who may write can bring back a commit whose branch was removed
        start = hub.revision(found, _text(body, "startingPoint") or "main", lost=True)
        if body.get("emptyBranch"):
            start = repositories.history(found, "main")[-1].id
        repositories.add_ref(found, "branch", plain(branch), start)
        hub.accounts.record(actor.name, "branch", f"{found.kind} {found.name}", plain(branch))
        return {}

    @router.delete("/{plural}/{repo:repo}/{kind:refs}/{name:path}")
    def remove_ref(plural: str, repo: str, kind: str, name: str, request: Request) -> dict[str, Any]:
        found, actor = hub.writable(request, plural, repo)
        try:
            repositories.remove_ref(found, kind, plain(name))
        except NotFound as error:
            raise ApiError(404, error.message, "RevisionNotFound") from None
        hub.accounts.record(actor.name, f"remove {kind}", f"{found.kind} {found.name}", plain(name))
        return {}

    @router.post("/{plural}/{repo:repo}/tag/{revision:path}")
    def add_tag(plural: str, repo: str, revision: str, request: Request, body: Body) -> dict[str, Any]:
        found, actor = hub.writable(request, plural, repo)
        repositories.add_ref(found, "tag", _text(body, "tag"), hub.revision(found, plain(revision)))
        hub.accounts.record(actor.name, "tag", f"{found.kind} {found.name}", _text(body, "tag"))
        return {}

    @router.post("/{plural}/{repo:repo}/super-squash/{branch:path}")
    def squash(plural: str, repo: str, branch: str, request: Request, body: Body) -> dict[str, Any]:
        found, actor = hub.writable(request, plural, repo)
        hub.revision(found, plain(branch))
        repositories.squash(
            found,
            plain(branch),
            _text(body, "message") or f"Super-squash branch '{plain(branch)}'",
            actor.name,
        )
        hub.accounts.record(actor.name, "squash", f"{found.kind} {found.name}", plain(branch))
        return {}

    # -- access, cards, what is not here ----------------------------------------------------------

    @router.get("/{plural}/{repo:repo}/auth-check")
    def auth_check(plural: str, repo: str, request: Request) -> dict[str, Any]:
        hub.readable(request, plural, repo, files=True)
        return {}

    @router.get("/{plural}/{repo:repo}/auth-check/write")
    def write_check(plural: str, repo: str, request: Request) -> dict[str, Any]:
        hub.writable(request, plural, repo)
        return {}

    @router.post("/validate-yaml")
    def validate(body: Body) -> Any:
        try:
            front_matter.read(_text(body, "content"))
        except BadData as error:
            return JSONResponse({"errors": [{"message": error.message}], "warnings": []}, status_code=400)
        return {"errors": [], "warnings": []}

    @router.get("/{plural}-tags-by-type")
    def tags_by_type(plural: str, request: Request) -> dict[str, Any]:
        if plural not in PLURALS:
            raise ApiError(404, f"there is no list of {plural[:40]}")
        hub.reader(request)
        found: dict[str, dict[str, dict[str, str]]] = {}
        for tag in repositories.index.facets(SearchQuery(PLURALS[plural]), limit=_TAGS).counts:
            kind, _, label = tag.rpartition(":")
            found.setdefault(kind or "other", {})[tag] = {"type": kind or "other", "id": tag, "label": label}
        return {kind: list(values.values()) for kind, values in found.items()}

    # -- lists; last, since the repository's own name fits what comes above ------------------------

    @router.get("/{plural}/{repo:repo}")
    def info(
        plural: str,
        repo: str,
        request: Request,
        blobs: bool = False,
        expand: Expand = None,
        securityStatus: bool = False,
    ) -> dict[str, Any]:
        return informed(hub.readable(request, plural, repo), "main", request, blobs, expand, securityStatus)

    @router.get("/{plural}")
    def listed(plural: str, request: Request, response: Response, search: str = "", author: str = "", filter: Annotated[list[str] | None, Parameter()] = None,
               pipeline_tag: str = "", sort: str = "lastModified", direction: int = -1, limit: Annotated[int, Parameter(ge=1)] = _PAGE,
               full: bool = False, expand: Expand = None, cursor: str = "") -> list[dict[str, Any]]:  # fmt: skip
        if plural not in PLURALS:
            raise ApiError(404, f"there is no list of {plural[:40]}")
        if sort not in _SORTS:
            raise ApiError(400, f"lists are not sorted by {sort[:40]!r}; {', '.join(_SORTS)} are known")
        limit = min(limit, _PAGE)
        tags = [tag for value in filter or [] for tag in value.split(",") if tag] + (
            [pipeline_tag] if pipeline_tag else []
        )
        asker = hub.reader(request)
        asked = SearchQuery(PLURALS[plural], words=search, author=author, tags=tuple(tags), names=hub.visible(asker), sort=_SORTS[sort],
                      descending=direction != 1)  # fmt: skip
        rows, following = repositories.list(asked, cursor, limit)
        if following:
            response.headers["Link"] = _next(request, cursor=following)
        wanted = {name for value in expand or [] for name in value.split(",")}
        facts = bool({"gguf", "safetensors"} & wanted)
        whole = full or facts or bool({"sha", "siblings", "usedStorage"} & wanted)
        return [
            chosen(
                described(
                    row,
                    repositories.commit(row, "main") if whole else None,
                    facts=facts,
                    opened=hub.rights.opens(asker, row),
                ),
                expand,
            )
            for row in rows
        ]

    return router


def _next(request: Request, **changes: object) -> str:
    """A Link header to the same list with other parameters."""
    pairs = [(key, value) for key, value in request.query_params.multi_items() if key not in changes]
    query = urlencode(pairs + [(key, str(value)) for key, value in changes.items()])
    return f'<{base_of(request)}{request.scope["raw_path"].decode("ascii")}?{query}>; rel="next"'
