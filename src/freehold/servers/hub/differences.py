"""What changed between two states of a repository: the files, and their lines."""

from __future__ import annotations

from dataclasses import dataclass

from freehold.hub.blob_store import BlobStore
from freehold.hub.commits import Commit, File, pointer
from freehold.servers.hub.diff import unified
from freehold.servers.hub.page_templates import format_bytes

#: Larger files are offered for download, not shown on a page.
MOST_SHOWN_BYTES = 512 << 10
#: Lines of a difference on a page.
_MOST_SHOWN_LINES = 2000
#: Larger files are named in git's form, not compared; and so are all after this many bytes of changed files.
_MOST_FILE_BYTES, _MOST_COMPARED_BYTES = 1 << 20, 16 << 20


@dataclass(frozen=True)
class ChangedFile:
    """A file that differs, and in words what happened to it."""

    path: str
    what: str


@dataclass(frozen=True)
class DifferenceLine:
    """A line of a difference; ``kind``: ``added``, ``gone``, or "" for others."""

    kind: str
    text: str


def shown_text(blobs: BlobStore, file: File) -> str | None:
    """A file's text as a page shows it; None for one that is large, binary or missing."""
    text = blobs.text(file.sha256, MOST_SHOWN_BYTES)
    return None if text is None or "\0" in text else text


def changed_files(old: dict[str, File], new: dict[str, File]) -> list[ChangedFile]:
    """Every file that differs, by path."""
    changed: list[ChangedFile] = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        if before and after:
            what = f"changed, {format_bytes(before.size)} to {format_bytes(after.size)}"
        else:
            what = f"added, {format_bytes(after.size)}" if after else "removed"
        changed.append(ChangedFile(path, what))
    return changed


def shown_difference(blobs: BlobStore, old: dict[str, File], new: dict[str, File]) -> list[DifferenceLine]:
    """The lines of the text files that differ, as a page shows them."""
    lines: list[DifferenceLine] = []
    for changed in changed_files(old, new)[:_MOST_SHOWN_LINES]:
        path = changed.path
        before, after = (shown_text(blobs, files[path]) if path in files else "" for files in (old, new))
        if before is None or after is None:
            continue
        for line in unified(before.splitlines(), after.splitlines(), path, path):
            kind = "added" if line.startswith("+") else "gone" if line.startswith("-") else ""
            lines.append(DifferenceLine(kind, line))
            if len(lines) == _MOST_SHOWN_LINES:
                return [*lines, DifferenceLine("", f"the first {_MOST_SHOWN_LINES} lines are shown")]
    return lines


def git_difference(blobs: BlobStore, old: Commit, new: Commit) -> str:
    """Both states as git shows the difference; large files by their pointers."""
    parts: list[str] = []
    compared = 0
    for path in sorted(old.files.keys() | new.files.keys()):
        before, after = old.files.get(path), new.files.get(path)
        if before == after:
            continue
        sizes = [file.size for file in (before, after) if file is not None]
        compared += sum(size for size in sizes if size <= _MOST_FILE_BYTES)
        parts += _git_file(blobs, path, before, after, by_lines=compared <= _MOST_COMPARED_BYTES)
    return "\n".join([*parts, ""]) if parts else ""


def _git_file(
    blobs: BlobStore, path: str, old: File | None, new: File | None, *, by_lines: bool
) -> list[str]:
    before, after = (_git_lines(blobs, old), _git_lines(blobs, new)) if by_lines else (None, None)
    old_name, new_name = f"a/{path}" if old else "/dev/null", f"b/{path}" if new else "/dev/null"
    head = f"diff --git a/{path} b/{path}"
    if before is None or after is None:
        return [head, f"Binary files {old_name} and {new_name} differ"]
    return [head, *unified(before, after, old_name, new_name)]


def _git_lines(blobs: BlobStore, file: File | None) -> list[str] | None:
    """The lines of a file; None for one that is large or binary."""
    if file is None:
        return []
    if file.lfs:
        return pointer(file.sha256, file.size).decode().splitlines()
    text = blobs.text(file.sha256, _MOST_FILE_BYTES)
    return None if text is None else text.splitlines()
