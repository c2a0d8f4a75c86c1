"""Rules of a ``.gitignore`` that came from elsewhere: matched in time that grows with the path alone, whatever they say."""

from __future__ import annotations

from collections.abc import Callable

import pathspec

from freehold.core.errors import UsageError

#: Lines, and characters of one: compiling more takes seconds.
MOST_LINES, MOST_CHARACTERS = 1000, 1000


def ignoring(rules: str) -> Callable[[str], bool]:
    """Says of a path whether the rules ignore it. A line that is no pattern matches nothing, as in git. Raises UsageError.

    RE2 matches: Python's own expressions take years over ``a*a*a*a*a*a*a*b`` and hold up every thread meanwhile.
    """
    lines = rules.splitlines()
    if len(lines) > MOST_LINES or any(len(line) > MOST_CHARACTERS for line in lines):
        raise UsageError(
            f"the rules of .gitignore are more than {MOST_LINES} lines of {MOST_CHARACTERS} characters",
            "send shorter ones",
        )
    return pathspec.GitIgnoreSpec.from_lines(list(filter(_is_pattern, lines)), backend="re2").match_file


def _is_pattern(line: str) -> bool:
    try:
        pathspec.GitIgnoreSpec.from_lines([line], backend="re2")
    except ValueError:
        return False
    return True
