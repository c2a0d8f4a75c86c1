"""What a repository's state can be run as: each of its GGUF files, or its safetensors, with the facts that
their own headers give.

A header is read once; what it says is kept by the digest of its bytes, which never change.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from freehold.core import atomic_files
from freehold.core.errors import BadModel
from freehold.core.json_types import JsonObject
from freehold.hub.blob_store import BlobStore
from freehold.hub.commits import File
from freehold.models import catalogue as tables
from freehold.models.info import ModelInfo, read_info

#: No header is longer; a vocabulary of a quarter of a million words takes about 12 MB.
_HEAD = 64 << 20
#: One file of a model that was cut into several.
_PIECE = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


@dataclass(frozen=True)
class Variant:
    """``name``: the GGUF file, or "safetensors". ``digest``: sha256 of that file, or of the list of all
    files.
    """

    name: str
    digest: str
    info: ModelInfo


def variants(contents: BlobStore, files: dict[str, File], licence: str = "") -> list[Variant]:
    """Everything in a state that is a whole model, GGUF files by name first. ``licence``: what the
    repository's card states.
    """
    listed: list[Variant] = []
    for path, file in sorted(files.items()):
        if path.endswith(".gguf") and not _PIECE.search(path):
            listed += _known(contents, path, file.sha256, {path: file}, licence)
    weights = {
        path: file for path, file in files.items() if "/" not in path and path.endswith(".safetensors")
    }
    if weights and "config.json" in files:
        parts = weights | {"config.json": files["config.json"]}
        parts |= {
            path: files[path] for path in ("tokenizer_config.json", "chat_template.jinja") if path in files
        }
        digest = atomic_files.digest_of({path: file.sha256 for path, file in parts.items()})
        listed += _known(contents, "safetensors", digest, parts, licence)
    return listed


def described(listed: list[Variant]) -> JsonObject:
    """The properties ``gguf`` and ``safetensors`` of the Hugging Face Hub's API: weights counted, and what a
    GGUF says of itself.
    """
    properties: JsonObject = {}
    for variant in listed:
        card = variant.info
        if card.format == "gguf" and "gguf" not in properties:
            properties["gguf"] = {
                "total": card.parameters,
                "architecture": card.architecture,
                "context_length": card.context_length,
            }
        elif card.format == "safetensors":
            kind = card.quantization.split("+", maxsplit=1)[0]
            properties["safetensors"] = {"total": card.parameters, "parameters": {kind: card.parameters}}
    return properties


def _known(
    contents: BlobStore, name: str, digest: str, files: dict[str, File], licence: str
) -> list[Variant]:
    """The variant, from what is kept or from its header; none where that is no model."""
    table = tables.headers
    with contents.store.engine.connect() as connection:
        stored = connection.execute(sa.select(table.c.card).where(table.c.digest == digest)).scalar()
    if stored is None:
        stored = _read(contents, files)
        if stored is None:
            return []
        with contents.store.engine.begin() as connection:
            connection.execute(
                tables.upsert(connection, table).values(digest=digest, card=stored).on_conflict_do_nothing()
            )
    if "fault" in stored:
        return []
    card = ModelInfo.from_dict(stored)
    return [
        Variant(
            name,
            digest,
            card
            if card.licence or not licence
            else replace(card, licence=licence, licence_from="license in the repository's card"),
        )
    ]


def _read(contents: BlobStore, files: dict[str, File]) -> JsonObject | None:
    """A card as JSON, or the fault that keeps it from being one; None where bytes are missing, which 'hub
    check' tells of.
    """
    with tempfile.TemporaryDirectory(dir=contents.store.incoming) as name:
        laid: dict[str, Path] = {}
        for at, (path, file) in enumerate(files.items()):
            content = contents.find(file.sha256)
            if content is None:
                return None
            laid[path] = Path(name) / f"{at}{Path(path).suffix}"
            contents.lay_head(content, laid[path], _HEAD)
        try:
            return read_info(laid).as_dict()
        except BadModel as error:
            return {"fault": error.message}
