"""A repository as the JSON API describes it, whole or cut to the properties that a client asks for."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, Field

from freehold.hub.commits import Commit, File, Repository, pointer
from freehold.hub.variants import described as variant_facts
from freehold.hub.variants import variants
from freehold.servers.hub.api_error import ApiError
from freehold.servers.hub.json_answers import JsonObject, timestamp
from freehold.servers.hub.state import Hub

#: What a list or a description can be asked to hold, beside the id; what is not known here is left out.
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


class SiblingLfs(BaseModel):
    """The LFS object of a file."""

    sha256: str
    size: int
    #: bytes of the pointer that git keeps in its place
    pointerSize: int


class Sibling(BaseModel):
    """A file of a repository; without its size and digests unless they are asked for."""

    rfilename: str
    size: int | None = None
    #: git's id of the file
    blobId: str | None = None
    lfs: SiblingLfs | None = None


class RepositoryInfo(BaseModel):
    """A repository. A field that is not set is left out of the answer."""

    internal_id: str = Field(serialization_alias="_id")
    id: str
    author: str
    lastModified: str
    createdAt: str
    private: bool
    #: ``auto``, ``manual`` or false
    gated: str | bool
    disabled: bool
    downloads: int
    likes: int
    tags: list[str]
    cardData: JsonObject
    #: of models: the id again, and what the card says
    modelId: str | None = None
    pipeline_tag: object = None
    library_name: object = None
    config: JsonObject | None = None
    #: of a revision: the commit, the bytes of its different files, and these
    sha: str | None = None
    usedStorage: int | None = None
    siblings: list[Sibling] | None = None
    spaces: list[str] | None = None
    #: facts from the headers of weights
    gguf: JsonObject | None = None
    safetensors: JsonObject | None = None
    securityRepoStatus: JsonObject | None = None


def repository_info(repository: Repository) -> RepositoryInfo:
    """What a repository's row says."""
    info = RepositoryInfo(
        internal_id=f"{repository.id:024x}",
        id=repository.name,
        author=repository.author,
        lastModified=timestamp(repository.modified),
        createdAt=timestamp(repository.created),
        private=repository.private,
        gated=repository.gated or False,
        disabled=False,
        downloads=repository.downloads,
        likes=0,
        tags=repository.tags,
        cardData=repository.card,
    )
    if repository.kind == "model":
        info.modelId = repository.name
        info.pipeline_tag = repository.card.get("pipeline_tag")
        info.library_name = repository.card.get("library_name")
        info.config = {}
    return info


def revision_info(
    repository: Repository, commit: Commit, *, blobs: bool = False, digests: bool = False
) -> RepositoryInfo:
    """A repository at a commit. ``blobs``: with the files' sizes; ``digests``: with their digests too."""
    info = repository_info(repository)
    info.sha = commit.id
    info.lastModified = timestamp(commit.created)
    info.usedStorage = sum({file.sha256: file.size for file in commit.files.values()}.values())
    info.siblings = [
        _sibling(path, file, blobs=blobs, digests=digests) for path, file in sorted(commit.files.items())
    ]
    info.spaces = []
    return info


def _sibling(path: str, file: File, *, blobs: bool, digests: bool) -> Sibling:
    sibling = Sibling(rfilename=path)
    if blobs:
        sibling.size = file.size
    if blobs and digests:
        sibling.blobId = file.oid
        if file.lfs:
            pointer_size = len(pointer(file.sha256, file.size))
            sibling.lfs = SiblingLfs(sha256=file.sha256, size=file.size, pointerSize=pointer_size)
    return sibling


def add_weight_facts(info: RepositoryInfo, hub: Hub, commit: Commit) -> None:
    """What the headers of a model's weights say."""
    facts = variant_facts(variants(hub.blobs, commit.files))
    if "gguf" in facts:
        info.gguf = facts["gguf"]
    if "safetensors" in facts:
        info.safetensors = facts["safetensors"]


def requested_properties(expand: Iterable[str] | None) -> set[str]:
    """The properties that ``expand`` names, singly or with commas. Raises ApiError for an unknown one."""
    names = {name for value in expand or [] for name in value.split(",") if name}
    if unknown := sorted(names - _PROPERTIES):
        known = ", ".join(sorted(_PROPERTIES))
        raise ApiError(400, f"expand has no property {unknown[0][:40]!r}; known are {known}")
    return names


def with_properties(info: RepositoryInfo, names: set[str]) -> RepositoryInfo:
    """A description cut to the id and these properties; whole where there are none."""
    if not names:
        return info
    stored = info.model_fields_set & ({"internal_id", "id"} | names)
    return RepositoryInfo.model_construct(_fields_set=stored, **dict(info))
