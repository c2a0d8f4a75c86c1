"""``ollama:NAME[:TAG]``: a model of Ollama's local store; no server is asked.

Source: Ollama's store layout (manifests/REGISTRY/NAMESPACE/NAME/TAG, blobs/sha256-HEX).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import BadModel, NotFound, Unsupported
from freehold.core.progress import Sink
from freehold.models.store import Store
from freehold.sources.source import Delivery


def deliver(_store: Store, reference: str, _folder: Path, _sink: Sink) -> Delivery:
    """The model's weights. Raises NotFound, BadModel, Unsupported."""
    root = Path(os.environ.get("OLLAMA_MODELS", Path.home() / ".ollama" / "models"))
    name, _, tag = reference.partition(":")
    matches = (
        sorted(root.glob(f"manifests/*/*/{name}/{tag or 'latest'}"))
        if "/" not in name
        else sorted(root.glob(f"manifests/*/{name}/{tag or 'latest'}"))
    )
    if not matches:
        raise NotFound(
            f"Ollama's store at {root} has no model {reference!r}",
            "see 'ollama list', or set OLLAMA_MODELS to its folder",
        )
    manifest = json.loads(matches[0].read_text())
    files: dict[str, Path] = {}
    licence, notes = "", list[str]()
    for layer in manifest["layers"]:
        blob = root / "blobs" / layer["digest"].replace(":", "-")
        if layer["mediaType"].endswith("image.model"):
            if atomic_files.sha256_file(blob) != layer["digest"].removeprefix("sha256:"):
                raise BadModel(
                    f"Ollama's blob of {reference} does not match its digest", f"ollama pull {reference}"
                )
            files[f"{name.replace('/', '-')}.gguf"] = blob
        elif layer["mediaType"].endswith("image.adapter"):
            raise Unsupported(
                f"{reference} is a model with an adapter in Ollama's store, which cannot be pulled in one "
                "piece",
                "pull the model that its Modelfile names, then the adapter",
            )
        elif layer["mediaType"].endswith("image.projector"):
            notes.append("not pulled: the projector for images, which no engine here uses")
        elif layer["mediaType"].endswith("image.license"):
            licence = blob.read_text(errors="replace").strip().splitlines()[0][:60]
    if not files:
        raise BadModel(f"Ollama's manifest of {reference} names no model layer", f"ollama pull {reference}")
    return Delivery(
        files,
        {"manifest": str(matches[0])},
        licence,
        "licence layer of Ollama's manifest" if licence else "",
        notes=tuple(notes),
    )
