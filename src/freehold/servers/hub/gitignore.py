"""Rules of a ``.gitignore`` of strangers, matched in time that grows with the path alone."""

from __future__ import annotations

from collections.abc import Callable

import pathspec

from freehold.core.errors import UsageError

#: Lines, and characters of one: compiling more takes seconds.
MOST_LINES, MOST_CHARACTERS = 1000, 1000


def ignoring(rules: str) -> Callable[[str], bool]:
    """A function that says of a path whether the rules ignore it. Raises UsageError.

    A line that is not a valid pattern matches nothing, as in git.

    RE2 matches: Python's own expressions take years for ``a*a*a*a*a*a*a*b`` and block every thread.
    """
    lines = rules.splitlines()
    if len(lines) > MOST_LINES or any(len(line) > MOST_CHARACTERS for line in lines):
        raise UsageError(
            f"the rules of .gitignore have more than {MOST_LINES} lines, or a line of more than "
            f"{MOST_CHARACTERS} characters",
            "send shorter rules",
        )
    return pathspec.GitIgnoreSpec.from_lines(list(filter(_is_pattern, lines)), backend="re2").match_file


def _is_pattern(line: str) -> bool:
    try:
        pathspec.GitIgnoreSpec.from_lines([line], backend="re2")
    except ValueError:
        return False
    return True
