"""What a file in a model or a repository may be called: the one rule for every way in.

Names come from other people: from archives, pushes, packages and hubs. A name that leaves its folder, that a file system could not hold, or
that looks like another one to a person is refused before anything is written.
"""

from __future__ import annotations

import re
import unicodedata

from freehold.errors import UsageError

#: Bytes of a path and of one part of it: what common file systems hold.
MOST_PATH, MOST_PART = 1000, 255
#: Unicode's categories of characters that are not seen: control, format (marks of direction, zero width), surrogates, private, unassigned.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Characters of the category Cf that some scripts and emoji need.
_JOINERS = frozenset("\u200c\u200d")
_DRIVE = re.compile(r"[A-Za-z]:")


def check_path(path: str) -> str:
    """A file's path in a model or a repository, relative, with slashes. Raises UsageError for one that is not safe on every system."""
    reason = _fault(path)
    if reason:
        raise UsageError(
            f"{_shown(path)} cannot be a file's path: {reason}",
            "use relative paths of ordinary characters, without '..', '.git' or backslashes",
        )
    return path


def _fault(path: str) -> str:
    """Why a path is refused; "" where it is not."""
    if not path:
        return "it is empty"
    if any(unicodedata.category(c) in _UNSEEN and c not in _JOINERS for c in path):
        return "it holds characters that are not seen"
    if len(path.encode()) > MOST_PATH:
        return f"it is longer than {MOST_PATH} bytes"
    if "\\" in path or _DRIVE.match(path) or path.startswith("/"):
        return "it is not a relative path with slashes"
    return next((reason for part in path.split("/") if (reason := _part_fault(part))), "")


def _part_fault(part: str) -> str:
    if part in ("", ".", ".."):
        return "a part of it is empty or leads elsewhere"
    # what some file system takes for .git counts as .git: case, width, characters that are dropped, and its short name
    plain = "".join(c for c in unicodedata.normalize("NFKC", part).casefold() if c not in _JOINERS)
    plain = plain.rstrip(". ")
    if plain == ".git" or re.fullmatch(r"git~\d+", plain):
        return f"the part {_shown(part)} is git's own"
    if len(part.encode()) > MOST_PART:
        return f"a part of it is longer than {MOST_PART} bytes"
    return ""


def _shown(text: str) -> str:
    """A name from elsewhere in a message: what is not seen as its code, and not too much of it."""
    return ascii(text[:120]) if any(unicodedata.category(c) in _UNSEEN for c in text) else repr(text[:120])
