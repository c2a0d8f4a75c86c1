"""The option --override of the verbs that the policy in force may refuse."""

from __future__ import annotations

from typing import Annotated

import typer

Override = Annotated[
    str,
    typer.Option(
        "--override", help="Reason for going against the policy; FREEHOLD_ACTOR says who you are. Recorded."
    ),
]
