"""freehold certify"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json
from freehold.core.wording import counted

NAME = "certify"


def command(
    name: Annotated[str, typer.Argument(help="Name of a model in the store, or NAME@REVISION.")],
    prompts: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of prompts for the safety test: AILuminate's CSV, XSTest or your own rows; may be "
            "repeated."
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="Model that the safety grade is relative to; the default is the model it was tuned from."
        ),
    ] = "",
    judge: Annotated[
        str,
        typer.Option(
            help="Model in the store that decides whether an answer refuses; the default is to decide by "
            "its wording."
        ),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(help="The rows it was tuned on, to measure how many of them can be extracted."),
    ] = None,
    unseen: Annotated[
        Path | None, typer.Option(help="Rows it has never seen, to measure what comes out by chance.")
    ] = None,
    data_licence: Annotated[
        str, typer.Option(help="Licence of the rows it was tuned on, e.g. cc-by-4.0.")
    ] = "",
    days: Annotated[
        float, typer.Option(help="Number of days until the certificate expires.", min=0.01)
    ] = 365.0,
    key: Annotated[str, typer.Option(help="Name of the signing key; needed if you have several.")] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write the model and its evidence to, so that you can pass them on."),
    ] = None,
    with_examples: Annotated[
        bool,
        typer.Option(
            "--with-examples",
            help="Also pass on the training rows that the model's answer form shows as worked examples.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Collect evidence about a model, sign it, and write a certificate.

    The evidence covers origin, licences, safety and privacy. The certificate comes with a page to print.

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
    options = CertifyOptions(tuple(prompts or ()), reference, judge, data, unseen, data_licence, days, key)
    says, folder = certify(store, model, Keyring(), options, progress.for_stream())
    if out is not None:
        hand_over(store, model, out, with_examples=with_examples)
        folder = out
    if json:
        print_json(says | {"folder": str(folder)})
        return
    owed = says["licence"]
    duties = len(owed["must"]) + len(owed["pass_on"])
    use = {True: "allowed", False: "not allowed", None: "not known"}[owed["commercial"]]
    print(
        f"{model.name}@{model.revision[:12]}, valid until {says['expires'][:10]}, signed with "
        f"{says['signed_by']['name']}"
    )
    print(
        f"scan      {counted(says['scan']['files'], 'file')}, "
        + ("; ".join(says["scan"]["findings"]) or "nothing dangerous")
    )
    print(
        f"licence   commercial use {use}; {counted(duties, 'duty', 'duties')}, "
        f"{counted(len(owed['conflicts']), 'conflict')}, {len(owed['unknown'])} not known"
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
        from freehold.core.statistics import p_text

        if change := (says.get("safety_change") or {}).get("violating"):
            print(
                f"          {change['difference']:+.1%} by tuning ({change['low']:+.1%} to "
                f"{change['high']:+.1%}, {p_text(change['p'])})"
            )
    if says["privacy"]["extraction"]:
        print(f"privacy   {says['privacy']['extraction']['sentence']}")
        if says["privacy"]["extraction"]["membership"]:
            print(f"          {says['privacy']['extraction']['membership']['sentence']}.")
    for text in says["not_tested"]:
        print(f"not tested: {text}")
    print(f"evidence  {folder}")
    print(f"page      {folder / 'certificate.html'}")
