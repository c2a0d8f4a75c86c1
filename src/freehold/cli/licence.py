"""freehold licence"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table

NAME = "licence"
NEEDS_ARGUMENTS = False


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a model in the store, or a licence such as gemma; the default is the table of all "
            "licences."
        ),
    ] = "",
    data_licence: Annotated[str, typer.Option(help="Licence of the rows the model was tuned on.")] = "",
    json: Json = False,
) -> None:
    """Show licence obligations inherited from base models and data, or the terms of one licence.

    Example: freehold licence tickets/gemma3 --data-licence cc-by-4.0
    """
    from dataclasses import asdict

    from freehold.models.store import Store
    from freehold.trust import licence, obligations, provenance

    if not name:
        rows = {each.licence: each for each in licence.table().values()}
        if json:
            print_json([asdict(each) for each in rows.values()])
        else:
            print_table(
                ("licence", "commercial", "restricts use", "of", "checked against text", "duties"),
                [
                    (
                        each.licence,
                        "yes" if each.commercial else "no",
                        "yes" if each.restrictions else "no",
                        each.dated,
                        each.read or "no",
                        each.duties[:90],
                    )
                    for each in rows.values()
                ],
            )
        return
    known = licence.terms(name)
    if known.known:
        print_json(asdict(known)) if json else print(
            "\n".join(f"{key}: {value}" for key, value in asdict(known).items() if value)
        )
        return
    store = Store()
    model = store.find(name)
    owed = obligations.compute(provenance.components(store, model, data_licence), model.name)
    if json:
        print_json(owed.as_dict())
        return
    use = {True: "allowed", False: "not allowed", None: "not known"}[owed.commercial]
    print(f"{model.name}: commercial use {use}")
    for title, some in (
        ("made from", [f"{each.name}: {each.licence or 'no licence stated'}" for each in owed.components]),
        ("must", owed.must),
        ("may not", owed.may_not),
        ("when passing it on", owed.pass_on),
        ("threshold", owed.thresholds),
        ("training others on its answers", owed.outputs),
        ("names", owed.naming),
        ("chosen", owed.chosen),
        ("has to be shared under", [" or ".join(owed.result)] if owed.result else []),
        ("CONFLICT", owed.conflicts),
        ("NOT KNOWN", owed.unknown),
    ):
        for text in some:
            print(f"  {title}: {text}")
