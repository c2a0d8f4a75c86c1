"""freehold policy: use, show, check, drop"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, print_table

app = typer.Typer(
    no_args_is_help=True,
    help="Set rules for what may be pulled, tuned, served and pushed here.\n\nExample: freehold policy use "
    "hospital",
)


def _text(name: str) -> tuple[str, str]:
    from freehold.core.errors import UsageError
    from freehold.trust import policy

    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return policy.example(name), name
    try:
        return path.read_text(), name
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} cannot be read ({error})", "check the path") from error


@app.command("use")
def use(
    name: Annotated[
        str, typer.Argument(help="A policy.yaml, or one of hospital, law-firm, school and public-office.")
    ],
    json: Json = False,
) -> None:
    """Check a policy and put it into force.

    Example: freehold policy use hospital
    """
    from freehold.trust import policy

    rules = policy.put_in_force(*_text(name))
    print_json(rules.as_dict()) if json else print(f"the policy {rules.name!r} is in force")


@app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A policy file, or one that comes with Freehold; the default is the one in force."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Show a policy.

    Example: freehold policy show hospital
    """
    from freehold.core.errors import NotFound
    from freehold.trust import policy

    if not name and not policy.file_in_force().exists():
        raise NotFound(
            "no policy is in force, so everything is allowed",
            f"freehold policy use NAME; there are {', '.join(policy.examples())}",
        )
    text, where = _text(name) if name else (policy.file_in_force().read_text(), str(policy.file_in_force()))
    print_json(policy.read(text, where).as_dict()) if json else print(text, end="")


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="Name of a model in the store.")], json: Json = False
) -> None:
    """Check a model against the policy in force, for each verb. Exit code 12 if it may not be served.

    Example: freehold policy check tickets/smollm2
    """
    from freehold.core.errors import NotFound, PolicyDenied
    from freehold.models.store import Store
    from freehold.trust import policy
    from freehold.trust.keys import Keyring

    rules = policy.in_force()
    if rules is None:
        raise NotFound("no policy is in force, so everything is allowed", "freehold policy use NAME")
    store = Store()
    model = store.find(name)
    objections = {
        verb: [vars(objection) for objection in policy.object_to_model(rules, verb, store, model, Keyring())]
        for verb in policy.VERBS[1:]
    }
    if json:
        print_json({"policy": rules.name, "model": model.name, "objections": objections})
    else:
        rows = [
            (
                verb,
                "no" if some else "yes",
                "; ".join(f"{objection['rule']}: {objection['why']}" for objection in some),
            )
            for verb, some in objections.items()
        ]
        print_table(("verb", "allowed", "why not"), rows)
    if objections["serve"]:
        raise PolicyDenied(
            f"{model.name} may not be served",
            "; or ".join(dict.fromkeys(objection["way"] for objection in objections["serve"])),
        )


@app.command("drop")
def drop(json: Json = False) -> None:
    """Take the policy out of force, and record who did it.

    Example: freehold policy drop
    """
    import os

    from freehold.core.errors import PolicyDenied
    from freehold.hub.users import Users
    from freehold.models.store import Store
    from freehold.trust import policy

    rules, who = policy.in_force(), os.environ.get("FREEHOLD_ACTOR", "")
    if rules is not None:
        allowed = rules.override.who
        if allowed and who not in allowed:
            raise PolicyDenied(
                f"{who or 'nobody'} may not drop the policy {rules.name!r}",
                f"ask {' or '.join(allowed)}, who sets FREEHOLD_ACTOR",
            )
        Users(Store()).record(who or "nobody named", "policy dropped", rules.name)
        policy.file_in_force().unlink()
    print_json({"dropped": rules.name if rules else None}) if json else print(
        f"dropped {rules.name!r}" if rules else "no policy was in force"
    )
