"""The option --override of the verbs that the policy in force may refuse."""

from __future__ import annotations

from typing import Annotated

import typer

Override = Annotated[
    str,
    typer.Option(
        "--override", help="Reason for going against the policy, recorded with your name from FREEHOLD_ACTOR."
    ),
]
