"""One trial, one build of the text engine: figures of two builds do not compare, so a trial that is continued
goes on with the build that it began with, even if another was installed meanwhile.
"""

from __future__ import annotations

from pathlib import Path

from freehold.core import atomic_files, engine_build
from freehold.core.engine_build import BUILT_PACKAGE, BUILT_VERSION
from freehold.core.errors import UsageError

_FILE = "engine"


def hold_engine(folder: Path) -> str:
    """Choose the build for the trial in ``folder``, for this process and its steps; a sentence where it is
    not the one that would be used by default.

    Raises UsageError where the build that it began with is no longer installed, MissingPart where there is
    none.
    """
    file, build = folder / _FILE, engine_build.choose()
    begun = _begun_with(file)
    if begun in ("", build.name):
        atomic_files.write_atomically(file, build.name + "\n")
        engine_build.hold(build)
        return ""
    earlier = engine_build.named(begun)
    if earlier is None:
        raise UsageError(
            f"this trial was measured with another text engine ({begun}) than the one here ({build.name}), "
            "and their figures do not compare",
            f"install that one again, or remove the trial's folder to start over: rm -r {folder}",
        )
    engine_build.hold(earlier)
    return f"this trial goes on with the text engine that it began with, {earlier.name} ({earlier.kind})"


def _begun_with(file: Path) -> str:
    """Name of the build that a trial's steps were measured with; empty if there are none."""
    if file.exists():
        return file.read_text().strip()
    steps = file.parent / "steps"
    if steps.is_dir() and any(steps.iterdir()):  # of before there was a choice
        return f"{BUILT_PACKAGE} {BUILT_VERSION}"
    return ""
