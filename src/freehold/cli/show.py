"""freehold show"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_json
from freehold.core.json_types import JsonObject

if TYPE_CHECKING:
    from freehold.models.store import Model

NAME = "show"


def describe(model: Model) -> JsonObject:
    """A model as JSON."""
    return {
        "name": model.name,
        "revision": model.revision,
        "files": model.manifest,
        "created": model.created,
        **model.info.as_dict(),
    }


def command(
    name: Annotated[str, typer.Argument(help="Name of a model in the store, or NAME@REVISION.")],
    json: Json = False,
) -> None:
    """Show what a model is, its licence and where it came from.

    Example: freehold show smollm2
    """
    from freehold.models.answer_form import of_model
    from freehold.models.store import Store
    from freehold.trust.licence import terms

    store = Store()
    model = store.find(name)
    if json:
        print_json(describe(model))
        return
    card = model.info
    print(f"{model.name}@{model.revision}")
    print(
        f"  {card.format}, architecture {card.architecture}, {card.parameters:,} parameters, "
        f"{card.quantization}, {card.size_bytes / 1e6:.1f} MB"
    )
    print(
        f"  context {card.context_length} tokens; chat template "
        f"{'its own' if card.chat_template else 'none (a plain one is used)'}"
    )
    if card.licence:
        print(f"  licence {card.licence} (read from {card.licence_from}): {terms(card.licence).duties}")
    else:
        print("  licence: none stated; read the publisher's terms before you use it")
    for key, value in card.provenance.items():
        print(f"  {key}: {value}")
    for step in card.lineage:
        print(
            f"  {step.name}: "
            + ", ".join(f"{k}={str(v)[:60]}" for k, v in step.as_dict().items() if k != "step")
        )
    form = of_model(store, model)
    if form is not None:
        print(f"  answer form: {form.sentence()}")
        for role, text in form.shown:
            print(f"    {role}: {text}")
    for file, (digest, size) in model.manifest.items():
        print(f"  {file}  {size:,} bytes  sha256 {digest}")
