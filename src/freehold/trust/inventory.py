"""What lies in a folder that a certificate is checked against: plain files, and what does not belong
there.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: What hubs put into each repository: which files git keeps as large ones. It may say nothing else.
HUBS_OWN = ".gitattributes"
_LARGE_FILES = re.compile(rb"[^\s#]\S* filter=lfs diff=lfs merge=lfs -text|#.*|")
_MOST_RULES = 100_000


@dataclass(frozen=True)
class Inventory:
    """What lies in a folder.

    ``files``: each plain file by its name with slashes; ``faults``: a sentence on each link, empty folder,
    device.
    """

    files: dict[str, Path]
    faults: tuple[str, ...] = ()


def of_folder(folder: Path) -> Inventory:
    """Every entry of a folder and of those in it; links are not followed.

    Raises OSError where one cannot be read.
    """
    files: dict[str, Path] = {}
    faults: list[str] = []
    waiting = [(folder, "")]
    while waiting:
        parent, prefix = waiting.pop()
        with os.scandir(parent) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        if not entries and prefix:
            faults.append(f"{shown(prefix)} is an empty folder, which the certificate does not name")
        for entry in entries:
            name = prefix + entry.name
            if entry.is_symlink():
                faults.append(
                    f"{shown(name)} is a link, and what it leads to can change; put the file itself there"
                )
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), f"{name}/"))
            elif entry.is_file(follow_symlinks=False):
                files[name] = Path(entry.path)
            else:
                faults.append(f"{shown(name)} is neither a file nor a folder")
    return Inventory(files, tuple(sorted(faults)))


def without_hubs_own(inventory: Inventory) -> Inventory:
    """The inventory without a hub's list of large files, where it is nothing but that."""
    rules = inventory.files.get(HUBS_OWN)
    if rules is None or rules.stat().st_size > _MOST_RULES:
        return inventory
    if not all(_LARGE_FILES.fullmatch(line.strip()) for line in rules.read_bytes().split(b"\n")):
        return inventory
    return Inventory(
        {name: path for name, path in inventory.files.items() if name != HUBS_OWN}, inventory.faults
    )


def taken_for_each_other(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names that some file systems take for one: by case, or by how accents are written."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in seen:
            yield seen[folded], name
        seen[folded] = name


def shown(name: str) -> str:
    """A file's name as it may be printed: what is not a plain character is escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in name[:200]
    )
