"""A model's bill of materials: CycloneDX 1.6 with its model card (ML-BOM)."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from freehold.core.errors import BadModel
from freehold.models.info import ModelInfo
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


def _licences(licence: str) -> list[object]:
    """A licence as SPDX has it, else by its name and address; empty where none is stated."""
    if not licence:
        return []
    known = terms(licence)
    name = (known.licence if known.known else licence).lower()
    spdx = next((identifier for identifier in _spdx() if identifier.lower() == name), None)
    named = {"id": spdx} if spdx else {"name": known.name or licence}
    return [{"license": named | ({"url": known.source} if known.source else {})}]


def bill(
    model: Model, obligations: Obligations, figures: Sequence[Mapping[str, Any]], limits: list[str]
) -> dict[str, object]:
    """The bill of materials, valid against CycloneDX 1.6.

    ``figures``: name, value, low and high of what was measured; ``limits``: what was not measured, in
    sentences.
    """
    datasets = [
        (number, part) for number, part in enumerate(obligations.components) if part.kind == "dataset"
    ]
    bases = [part for part in obligations.components if part.kind == "model" and part.name != model.name]
    references = [f"data:{number}" for number, _ in datasets]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, model.revision)}",
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "component": _model(model, obligations, references, figures, limits),
            "tools": {
                "components": [{"type": "application", "name": "freehold", "version": _version()}],
            },
        },
        "components": [
            *(_base(model, number, part) for number, part in enumerate(bases)),
            *(_data(number, part) for number, part in datasets),
        ],
        "dependencies": [
            {"ref": "model", "dependsOn": [*(f"base:{number}" for number in range(len(bases))), *references]}
        ],
    }


def _model(
    model: Model,
    obligations: Obligations,
    datasets: Sequence[str],
    figures: Sequence[Mapping[str, Any]],
    limits: list[str],
) -> dict[str, object]:
    """The model itself, with its model card and files. ``datasets``: references to the rows it was tuned
    on.
    """
    info = model.info
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": model.name,
        "version": model.revision[:12],
        "licenses": _licences(info.licence),
        "modelCard": {
            "modelParameters": _parameters(info, datasets),
            "quantitativeAnalysis": {"performanceMetrics": [_metric(figure) for figure in figures]},
            "considerations": {"technicalLimitations": limits, "useCases": []},
        },
        "properties": [
            {"name": "freehold:revision", "value": model.revision},
            *({"name": "freehold:must", "value": text} for text in obligations.must),
        ],
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{name}",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for name, (digest, _) in sorted(model.manifest.items())
            if name != "task.json"
        ],
    }


def _parameters(info: ModelInfo, datasets: Sequence[str]) -> dict[str, object]:
    parameters: dict[str, object] = {
        "architectureFamily": info.architecture or "not known",
        "modelArchitecture": f"{info.architecture}, {info.parameters:,} parameters, {info.quantization}",
        "task": "text generation",
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    if datasets:
        parameters["datasets"] = [{"ref": reference} for reference in datasets]
        parameters["approach"] = {"type": "supervised"}
    return parameters


def _metric(figure: Mapping[str, Any]) -> dict[str, object]:
    return {
        "type": figure["name"],
        "value": f"{figure['value']:.4f}",
        "confidenceInterval": {
            "lowerBound": f"{figure['low']:.4f}",
            "upperBound": f"{figure['high']:.4f}",
        },
    }


def _base(model: Model, number: int, component: Component) -> dict[str, object]:
    digest = next(
        (
            step.digest
            for step in provenance.steps(model)
            if step.kind == "base" and step.name == component.name
        ),
        "",
    )
    return {
        "type": "machine-learning-model",
        "bom-ref": f"base:{number}",
        "name": component.name,
        "hashes": [{"alg": "SHA-256", "content": digest}] if len(digest) == 64 else [],
        "licenses": _licences(component.licence),
    }


def _data(number: int, component: Component) -> dict[str, object]:
    return {
        "type": "data",
        "bom-ref": f"data:{number}",
        "name": component.name,
        "licenses": _licences(component.licence),
        "data": [{"type": "dataset", "name": component.name}],
    }


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("freehold")


def check(value: Mapping[str, object]) -> None:
    """Raises BadModel unless the bill is valid against the published schema."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(value))
    if error is not None:
        raise BadModel(
            f"the bill of materials is not valid CycloneDX 1.6 ({str(error)[:200]})",
            "report it: this is an error in Freehold",
        )
