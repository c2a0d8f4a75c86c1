"""What a file in a model or a repository may be called: the one rule for every way in.

Names come from other people: from archives, pushes, packages and hubs. A name that leaves its folder, that a
file system could not hold, or that looks like another one to a person is refused before anything is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from freehold.core.errors import UsageError

#: Bytes of a path and of one part of it, and parts: what common file systems and programs hold.
MOST_PATH, MOST_PART, MOST_PARTS = 1000, 255, 64
#: Files and folders of one model or repository: every commit and every list goes through all of them.
MOST_NAMES = 250_000
#: Unicode's categories of characters that are not seen: control, format (marks of direction, zero width),
#: surrogates, private, unassigned.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Characters of other categories that are not seen either: Unicode's Default_Ignorable_Code_Point, and the
#: empty Braille pattern.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
#: Characters that are not seen and that some scripts and emoji need, after a letter without case, a mark or a
#: symbol.
_JOINERS = frozenset("\u200c\u200d\ufe0f")
_JOINED = frozenset({"Lo", "Mn", "Mc", "So", "Sk"})
_DRIVE = re.compile(r"[A-Za-z]:")
#: What Windows takes for a device whatever its ending.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9])")


def check_path(path: str) -> str:
    """A file's path in a model or a repository, relative, with slashes. Raises UsageError for one that is not
    safe on every system.
    """
    reason = _fault(path)
    if reason:
        raise UsageError(
            f"{_shown(path)} cannot be a file's path: {reason}",
            "use relative paths of ordinary characters, without '..', '.git' or backslashes",
        )
    return path


def check_together(paths: Iterable[str]) -> None:
    """Raises UsageError where two paths of one model or repository would be the same file on some system, or
    a file and a folder, and where they are too many to be listed.
    """
    names = list(paths)
    folders = set[str]()
    for path in names:
        folders.update(path[:at] for at in range(len(path)) if path[at] == "/")
        if len(names) + len(folders) > MOST_NAMES:
            raise UsageError(
                f"there are more than {MOST_NAMES:,} files and folders",
                "put many small files into fewer large ones",
            )
    if both := folders.intersection(names):
        raise UsageError(f"{_shown(min(both))} would be a file and a folder", "rename one of them")
    folded: dict[str, str] = {}
    for path in [*names, *folders]:
        other = folded.setdefault(_folded(path), path)
        if other != path:
            raise UsageError(
                f"{_shown(path)} and {_shown(other)} differ only in case or in how letters are composed, "
                "and many disks cannot store both",
                "rename one of them",
            )


def _folded(path: str) -> str:
    """What systems that ignore case and composition make of a path: Unicode's canonical caseless match."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _fault(path: str) -> str:
    """Why a path is refused; "" where it is not."""
    if not path:
        return "it is empty"
    if len(path) > MOST_PATH or len(path.encode(errors="replace")) > MOST_PATH:
        return f"it is longer than {MOST_PATH} bytes"
    if _has_unseen(path):
        return "it contains invisible characters"
    if "\\" in path or _DRIVE.match(path) or path.startswith("/"):
        return "it is not a relative path with slashes"
    parts = path.split("/")
    if len(parts) > MOST_PARTS:
        return f"it has more than {MOST_PARTS} parts"
    return next((reason for part in parts if (reason := _part_fault(part))), "")


def _has_unseen(text: str) -> bool:
    before = ""
    for character in text.replace("\ufe0f\u20e3", ""):  # the end of an emoji that is a digit on a key
        if character in _JOINERS:
            # a joiner may follow another one: an emoji, its variation, the joiner to the next
            if before not in _JOINERS and unicodedata.category(before or "a") not in _JOINED:
                return True
        elif unicodedata.category(character) in _UNSEEN or _BLANK.match(character):
            return True
        before = character
    return False


def _part_fault(part: str) -> str:
    if part in ("", ".", ".."):
        return "a part of it is empty, . or .."
    # what some file system takes for .git counts as .git: case, width, characters that are dropped, streams,
    # and its short name
    plain = "".join(c for c in unicodedata.normalize("NFKC", part).casefold() if c not in _JOINERS)
    plain = plain.partition(":")[0].rstrip(". ")
    if plain == ".git" or re.fullmatch(r"git~\d+", plain):
        return f"the part {_shown(part)} is git's own"
    if _DEVICE.fullmatch(plain.partition(".")[0].rstrip()):
        return f"the part {_shown(part)} is a device on Windows"
    if part[-1] == "." or part[-1].isspace():
        return f"the part {_shown(part)} ends with a dot or a space, which Windows drops"
    if "::" in part:
        return f"the part {_shown(part)} names a stream on Windows"
    if len(part.encode()) > MOST_PART:
        return f"a part of it is longer than {MOST_PART} bytes"
    return ""


def _shown(text: str) -> str:
    """A name from elsewhere in a message: what is not seen as its code, and not too much of it."""
    return ascii(text[:120]) if _has_unseen(text) else repr(text[:120])
