"""A model's bill of materials: CycloneDX 1.6 with its model card (ML-BOM)."""

from __future__ import annotations

import json
import time
import uuid
from functools import cache
from importlib import resources
from typing import Any

from freehold.core.errors import BadModel
from freehold.models.store import Model
from freehold.trust import provenance
from freehold.trust.licence import terms
from freehold.trust.obligations import Component, Obligations


@cache
def _spdx() -> frozenset[str]:
    """Identifiers that CycloneDX takes for SPDX ones."""
    schema = json.loads(
        (resources.files("cyclonedx.schema") / "_res" / "spdx.SNAPSHOT.schema.json").read_text()
    )
    return frozenset(schema["enum"])


def _licences(licence: str) -> list[dict[str, Any]]:
    """A licence as SPDX has it, else by its name and where it stands; nothing where none is stated."""
    if not licence:
        return []
    own = terms(licence)
    found = next(
        (name for name in _spdx() if name.lower() == (own.licence if own.known else licence).lower()), None
    )
    named: dict[str, Any] = {"id": found} if found else {"name": own.name or licence}
    return [{"license": named | ({"url": own.source} if own.source else {})}]


def bill(
    model: Model, obligations: Obligations, figures: list[dict[str, Any]], limits: list[str]
) -> dict[str, Any]:
    """The bill. ``figures``: name, value, low, high of what was measured; ``limits``: what was not. Valid against CycloneDX 1.6."""
    card = model.info
    datasets = [
        f"data:{number}" for number, one in enumerate(obligations.components) if one.kind == "dataset"
    ]
    bases = [one for one in obligations.components if one.kind == "model" and one.name != model.name]
    metrics = [
        {
            "type": one["name"],
            "value": f"{one['value']:.4f}",
            "confidenceInterval": {"lowerBound": f"{one['low']:.4f}", "upperBound": f"{one['high']:.4f}"},
        }
        for one in figures
    ]
    parameters: dict[str, Any] = {"architectureFamily": card.architecture or "not known", "modelArchitecture": f"{card.architecture}, {card.parameters:,} parameters, {card.quantization}",
                                  "task": "text generation", "inputs": [{"format": "text"}], "outputs": [{"format": "text"}]}  # fmt: skip
    if datasets:
        parameters |= {"datasets": [{"ref": ref} for ref in datasets], "approach": {"type": "supervised"}}
    component: dict[str, Any] = {
        "type": "machine-learning-model", "bom-ref": "model", "name": model.name, "version": model.revision[:12],
        "licenses": _licences(card.licence),
        "modelCard": {
            "modelParameters": parameters,
            "quantitativeAnalysis": {"performanceMetrics": metrics},
            "considerations": {"technicalLimitations": limits, "useCases": []},
        },
        "properties": [{"name": "freehold:revision", "value": model.revision}, *({"name": "freehold:must", "value": text} for text in obligations.must)],
        "components": [
            {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for name, (digest, _) in sorted(model.manifest.items())
            if name != "task.json"
        ],
    }  # fmt: skip
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, model.revision)}",
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "component": component,
                     "tools": {"components": [{"type": "application", "name": "freehold", "version": _version()}]}},
        "components": [_base(model, number, one) for number, one in enumerate(bases)]
        + [_data(number, one) for number, one in enumerate(obligations.components) if one.kind == "dataset"],
        "dependencies": [{"ref": "model", "dependsOn": [*(f"base:{number}" for number in range(len(bases))), *datasets]}],
    }  # fmt: skip


def _base(model: Model, number: int, one: Component) -> dict[str, Any]:
    digest = next(
        (step.digest for step in provenance.steps(model) if step.kind == "base" and step.name == one.name), ""
    )
    hashes = [{"alg": "SHA-256", "content": digest}] if len(digest) == 64 else []
    return {
        "type": "machine-learning-model",
        "bom-ref": f"base:{number}",
        "name": one.name,
        "hashes": hashes,
        "licenses": _licences(one.licence),
    }


def _data(number: int, one: Component) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": f"data:{number}",
        "name": one.name,
        "licenses": _licences(one.licence),
        "data": [{"type": "dataset", "name": one.name}],
    }


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("freehold")


def check(value: dict[str, Any]) -> None:
    """Raises BadModel unless the bill is valid against the published schema."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(value))
    if error is not None:
        raise BadModel(f"the bill of materials is no valid CycloneDX 1.6 ({str(error)[:200]})", "report this")
