"""``hub:NAME[@REVISION][:FILE.gguf]``: a repository of the hub in this store."""

from __future__ import annotations

from pathlib import Path

from freehold.core.progress import Sink, task
from freehold.hub import damage
from freehold.hub.repositories import Repositories
from freehold.models import file_selection
from freehold.models.info import stated_licence
from freehold.models.store import Store
from freehold.sources.source import Delivery, flat_name


def deliver(store: Store, reference: str, landing: Path, sink: Sink) -> Delivery:
    """The files of a repository that are one model. Raises NotFound, BadModel."""
    where, _, chosen = reference.partition(":")
    name, _, revision = where.partition("@")
    repositories = Repositories(store)
    repository = repositories.find("model", name)
    commit = repositories.commit(repository, revision or "main")
    selection = file_selection.select(commit.files, f"hub:{where}", chosen)
    files: dict[str, Path] = {}
    with task(
        sink, f"reading {name}", sum(commit.files[path].size for path in selection.taken), "bytes"
    ) as progress:
        for path in selection.taken:
            stored_as = flat_name(path)
            digest = commit.files[path].sha256
            files[stored_as] = damage.whole_file(
                repositories.contents, digest, landing / stored_as, f"{path} in {name}"
            )
            progress.more(commit.files[path].size)
    licence = stated_licence(repository.card)
    stated = "license in the repository's card" if licence else ""
    return Delivery(
        files, {"repository": name, "commit": commit.id}, licence, stated, move=True, notes=selection.notes
    )
