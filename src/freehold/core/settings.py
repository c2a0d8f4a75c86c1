"""Where Freehold keeps its state, and the switches that keep other libraries quiet."""

from __future__ import annotations

import os
import re
from pathlib import Path

from freehold.core import file_permissions
from freehold.core.errors import UsageError

#: No library may phone anywhere. ``pull hf:`` is the one verb that lifts the first two, for itself.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


#: How variables that hold secrets are called.
_SECRET = re.compile(r"TOKEN(?!IZERS)|API_?KEY|SECRET|PASSW|CREDENTIAL|(^|_)KEY$|^FREEHOLD_DATABASE$")

#: Turns that a thread of libgomp waits in a loop before it sleeps. By default it turns for milliseconds, so
#: that one other program at work makes an engine with a thread on each processor up to 50 times slower; so
#: few cost an idle machine nothing (docs/rivals.md).
SPINS = "3000"


def share_processors() -> None:
    """Let threads that wait for each other leave the processor to other programs; a setting of the person's
    own stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def go_quiet(*, online: bool = False) -> None:
    """Set the libraries' offline and no-telemetry switches, and how threads wait, here and in children."""
    share_processors()
    for name, value in QUIET.items():
        if not (online and name.endswith("OFFLINE")):
            os.environ[name] = value


def secret(variable: str, what: str) -> str:
    """The key or token (``what``) that an environment variable holds; nothing where none is named. Raises
    UsageError for an empty one.
    """
    value = os.environ.get(variable, "") if variable else ""
    if variable and not value:
        raise UsageError(
            f"the environment variable {variable} is not set, so there is no {what}",
            f"set it without leaving it in the shell history: read -rs {variable} && export {variable}",
        )
    return value


def plain_address(address: str) -> str:
    """The address as it was given. Raises UsageError for one with a name or password in it, which would be
    printed, kept and passed on.
    """
    server = address.partition("://")[2].partition("/")[0]
    if "@" in server:
        raise UsageError(
            f"the address of {server.rpartition('@')[2]} contains a user name or a password, which "
            "reports and cards would show",
            "leave it out of the address, and put the key into an environment variable",
        )
    return address


def holds_secret(variable: str) -> bool:
    """Whether an environment variable of this name holds a key, token or password."""
    return bool(_SECRET.search(variable.upper()))


def without_secrets() -> dict[str, str]:
    """This process's environment without keys, tokens and passwords, for children that read strangers'
    files.
    """
    return {name: value for name, value in os.environ.items() if not holds_secret(name)}


def home_path() -> Path:
    """Where the home is: ``FREEHOLD_HOME``, or the platform's data folder. Raises UsageError where that
    cannot be told.
    """
    hint = "set FREEHOLD_HOME to a folder"
    try:
        if chosen := os.environ.get("FREEHOLD_HOME"):
            return Path(chosen).expanduser().absolute()
        from platformdirs import user_data_path

        path = user_data_path("freehold", appauthor=False)
    except RuntimeError:
        raise UsageError("your home folder is not known (HOME is not set)", hint) from None
    except FileNotFoundError:
        raise UsageError("FREEHOLD_HOME is relative to a folder that was removed", hint) from None
    if not path.is_absolute():
        raise UsageError("your home folder is not known (HOME is not set)", hint)
    return path


def home() -> Path:
    """The home, made if absent and its owner's alone. Raises UsageError where something else has its name."""
    path = home_path()
    try:
        file_permissions.make_home(path)
    except (FileExistsError, NotADirectoryError):
        broken = path.is_symlink() and not path.exists()
        raise UsageError(
            f"{path} {'is a broken link' if broken else 'is not a folder, or lies under a file'}",
            "set FREEHOLD_HOME to a folder",
        ) from None
    return path


def guard_process() -> None:
    """What a process does first: see :func:`freehold.core.file_permissions.guard_process`."""
    try:
        home_folder = home_path()
    except UsageError:  # a verb that needs a home says so itself
        file_permissions.guard_process(None)
    else:
        file_permissions.guard_process(home_folder)


def database() -> str:
    """``FREEHOLD_DATABASE``: the address of a PostgreSQL database for the catalogue; nothing for a SQLite
    file in the home.
    """
    return os.environ.get("FREEHOLD_DATABASE", "")


def bucket() -> str:
    """``FREEHOLD_BUCKET``: where the hub keeps contents, ``s3://BUCKET/PREFIX``; nothing for the home's
    folders.
    """
    return os.environ.get("FREEHOLD_BUCKET", "")
