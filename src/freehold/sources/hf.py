"""``hf:NAME[@REVISION][:FILE.gguf]``: a repository of the Hugging Face Hub, or of a server of its protocol
(``HF_ENDPOINT``).
"""

from __future__ import annotations

from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import BadModel
from freehold.core.progress import Sink, task
from freehold.hub import client
from freehold.models import file_selection
from freehold.models.info import stated_licence
from freehold.models.store import Store
from freehold.sources.source import Delivery, flat_name


def deliver(_store: Store, reference: str, landing: Path, sink: Sink) -> Delivery:
    """The files of a repository that are one model. Raises BadModel, DoesNotFit, NotFound."""
    where, _, chosen = reference.partition(":")
    name, _, revision = where.partition("@")
    api = client.client()
    with client.explained(f"hf:{reference}"):
        info = api.model_info(name, revision=revision or None, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    selection = file_selection.select(sizes, f"hf:{where}", chosen)
    total = sum(sizes[file] for file in selection.taken)
    atomic_files.need_disk(landing, total, f"fetching {reference}")
    folder = landing / "files"
    with client.explained(f"hf:{reference}"), task(sink, f"fetching {reference}", total, "bytes") as progress:
        progress.resume(min(total, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())))
        with client.watched(folder, progress):
            api.snapshot_download(
                name, revision=info.sha, local_dir=folder, allow_patterns=list(selection.taken)
            )
        progress.at(total)
    files = {flat_name(file): folder / file for file in selection.taken}
    if short := next((file for file in selection.taken if not (folder / file).is_file()), ""):
        raise BadModel(
            f"{short} is missing from what was downloaded of {reference}", "run the same command again"
        )
    licence = stated_licence(info.card_data.to_dict()) if info.card_data else ""
    provenance = {"repository": name, "commit": info.sha, "endpoint": api.endpoint}
    return Delivery(
        files,
        provenance,
        licence,
        "license in the repository's card" if licence else "",
        move=True,
        notes=selection.notes,
    )
