"""What verbs ask the policy in force before they do anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import say

if TYPE_CHECKING:
    from freehold.data.examples import Example
    from freehold.models.store import Model, Store

Override = Annotated[
    str,
    typer.Option(
        "--override", help="Reason for going against the policy, recorded with your name from FREEHOLD_ACTOR."
    ),
]


def of_models(store: Store, verb: str, models: list[Model], reason: str) -> None:
    """Raises PolicyDenied where one of the models may not be tuned, served or pushed."""
    from freehold.trust import policy

    rules = policy.in_force()
    if rules is None:
        return
    from freehold.trust.gate import Gate
    from freehold.trust.keys import Keyring

    gate = Gate(store, reason, say)
    for model in models:
        objections = policy.object_to_model(rules, verb, store, model, Keyring())
        gate.permit(objections, rules, model.name, verb)


def of_rows(train: list[Example], valid: list[Example], mask: bool) -> tuple[list[Example], list[Example]]:
    """Rows to learn from, masked if wished. Says what personal data they hold; raises PolicyDenied where the
    policy wants none in them.
    """
    from freehold.core.errors import PolicyDenied
    from freehold.trust import personal, policy

    kinds, rows = personal.count(train)
    if kinds:
        counts = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
        say(
            f"personal data in {len(rows)} of {len(train)} rows ({counts})"
            + ("; masked" if mask else "; --mask masks it")
        )
    if mask:
        return personal.masked(train), personal.masked(valid)
    rules = policy.in_force()
    if kinds and rules is not None and rules.personal_data == "refuse":
        raise PolicyDenied(
            f"the policy {rules.name!r} does not allow training on personal data: {len(rows)} rows "
            "hold some (personal_data)",
            "tune with --mask",
        )
    return train, valid
