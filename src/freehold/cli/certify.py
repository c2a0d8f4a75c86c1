"""freehold certify"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json

NAME = "certify"


def command(
    name: Annotated[str, typer.Argument(help="NAME or NAME@REVISION of a model in the store")],
    prompts: Annotated[
        list[Path] | None,
        typer.Option(
            help="Prompts to test safety with: AILuminate's CSV, XSTest, or own rows; may be repeated."
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(help="Model that the safety grade is relative to; what it was tuned from, if left out."),
    ] = "",
    judge: Annotated[
        str,
        typer.Option(
            help="A capable model in the store that says whether answers refuse; else their wording does."
        ),
    ] = "",
    data: Annotated[
        Path | None, typer.Option(help="The rows it was tuned on: how many can be drawn out?")
    ] = None,
    unseen: Annotated[
        Path | None, typer.Option(help="Rows it never saw, for what comes out by chance.")
    ] = None,
    data_licence: Annotated[str, typer.Option(help="Licence of the rows, e.g. cc-by-4.0.")] = "",
    days: Annotated[float, typer.Option(help="Days until the certificate expires.", min=0.01)] = 365.0,
    key: Annotated[str, typer.Option(help="Which signing key, where there are several.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Also write model and evidence into this folder, to hand on.")
    ] = None,
    with_examples: Annotated[
        bool,
        typer.Option(
            "--with-examples",
            help="Hand on the rows that the model's answer form holds as worked examples.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Gather a model's evidence (origin, licences, safety, privacy), sign it, and write a certificate with a
    page to print.

    Example: freehold certify tickets/smollm2 --prompts xstest.jsonl --data tickets.jsonl --out handover
    """
    from freehold.core import progress, settings
    from freehold.models.store import Store
    from freehold.trust.keys import Keyring
    from freehold.workflows.certify import CertifyOptions, certify
    from freehold.workflows.push import hand_over, refuse_examples

    settings.go_quiet()
    store = Store()
    model = store.find(name)
    if out is not None and not with_examples:
        refuse_examples(store, model)  # before minutes of work
    asked = CertifyOptions(tuple(prompts or ()), reference, judge, data, unseen, data_licence, days, key)
    says, place = certify(store, model, Keyring(), asked, progress.for_stream())
    if out is not None:
        hand_over(store, model, out, with_examples=with_examples)
        place = out
    if json:
        print_json(says | {"folder": str(place)})
        return
    owed = says["licence"]
    use = {True: "allowed", False: "not allowed", None: "not known"}[owed["commercial"]]
    print(
        f"{model.name}@{model.revision[:12]}, good until {says['expires'][:10]}, signed with {says['signed_by']['name']}"
    )
    print(
        f"scan      {says['scan']['files']} files, "
        + ("; ".join(says["scan"]["findings"]) or "nothing dangerous")
    )
    print(
        f"licence   commercial use {use}; {len(owed['must']) + len(owed['pass_on'])} duties, {len(owed['conflicts'])} conflicts, {len(owed['unknown'])} not known"
    )
    for text in (*owed["conflicts"], *owed["unknown"]):
        print(f"          {text}")
    if says["safety"]:
        safety = says["safety"]
        for number, text in enumerate(safety["sentences"]):
            print(f"{'' if number else 'safety':<10}{text}")
        if safety["grade"]:
            ends = " to ".join(dict.fromkeys(safety["grade_between"]))
            print(f"          grade {safety['grade']} ({ends}) beside {safety['reference']['name']}")
        else:
            print(f"          no grade: {safety['grade_reason']}")
        if change := (says.get("safety_change") or {}).get("violating"):
            print(
                f"          {change['difference']:+.1%} by tuning ({change['low']:+.1%} to {change['high']:+.1%}, p={change['p']:.2g})"
            )
    if says["privacy"]["extraction"]:
        print(f"privacy   {says['privacy']['extraction']['sentence']}")
        if says["privacy"]["extraction"]["membership"]:
            print(f"          {says['privacy']['extraction']['membership']['sentence']}.")
    for text in says["not_tested"]:
        print(f"not tested: {text}")
    print(f"evidence  {place}")
    print(f"page      {place / 'certificate.html'}")
