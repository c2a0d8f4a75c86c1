"""``file:PATH``: a GGUF file, a folder of safetensors or of an adapter, or a folder of the Hugging Face
cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from freehold.core.errors import NotFound, UsageError
from freehold.core.progress import Sink
from freehold.models import file_checks, file_selection
from freehold.models.store import Store
from freehold.sources.source import Delivery, flat_name


def deliver(_store: Store, reference: str, _folder: Path, _sink: Sink) -> Delivery:
    """The files at a path of this machine. Raises NotFound, UsageError, BadModel."""
    path = Path(reference).expanduser().absolute()
    if not path.exists():
        raise NotFound(f"there is no file or folder {path}", "check the path after file:")
    if path.is_file():
        return _single_file(path)
    folder, notes = _snapshot(path)
    names = _listed(folder)
    selection = file_selection.select(names, f"file:{folder}")
    files = {flat_name(name): folder / name for name in selection.taken}
    return Delivery(files, {"path": str(path)}, notes=(*notes, *selection.notes))


def _single_file(path: Path) -> Delivery:
    if path.name.endswith(".safetensors"):
        return Delivery({path.name: path}, {"path": str(path)})
    if not path.name.endswith(".gguf") and not _is_gguf(path):
        file_checks.check_bytes(path.name, path)
        file_selection.select([path.name], f"file:{path}")
    if file_selection.SHARD.fullmatch(path.name):
        beside = [name.name for name in path.parent.iterdir() if name.name.endswith(".gguf")]
        selection = file_selection.select(beside, f"file:{path.parent}", path.name)
        return Delivery({name: path.parent / name for name in selection.taken}, {"path": str(path)})
    name = path.name if path.name.endswith(".gguf") else path.name + ".gguf"
    return Delivery({name: path}, {"path": str(path)})


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def _snapshot(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of files inside a Hugging Face cache folder, and that it was taken; any other folder itself.
    Raises UsageError.
    """
    if not (path / "snapshots").is_dir():
        return path, ()
    snapshots = sorted(folder for folder in (path / "snapshots").iterdir() if folder.is_dir())
    main = (path / "refs" / "main").read_text().strip() if (path / "refs" / "main").is_file() else ""
    current = [folder for folder in snapshots if folder.name == main] or snapshots
    if len(current) != 1:
        names = ", ".join(folder.name[:12] for folder in current) or "none"
        raise UsageError(
            f"{path.name} is a cache folder with {len(current)} snapshots ({names})",
            f"pull one: file:{path}/snapshots/REVISION",
        )
    return current[0], (f"taken from the cache folder, snapshot {current[0].name[:12]}",)


def _listed(folder: Path) -> list[str]:
    """Files of a folder, down to two folders below it."""
    depth = len(folder.parts)
    return sorted(
        (Path(root) / name).relative_to(folder).as_posix()
        for root, inner, names in os.walk(folder)
        for name in (inner.clear() if len(Path(root).parts) - depth >= 3 else names) or ()
        if (Path(root) / name).is_file()
    )
