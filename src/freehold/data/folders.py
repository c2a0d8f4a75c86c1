"""Which files of a folder hold the rows of which split."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from freehold.core.errors import BadData
from freehold.data.draft import quoted
from freehold.data.packed import DATA_ENDINGS, inner_name

#: Words in names of files and folders -> split.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "eval": "valid",
    "evaluation": "valid",
    "test": "test",
    "testing": "test",
}
#: Files that lie beside rows and hold none.
_BESIDE = frozenset(
    [
        "dataset_info.json",
        "dataset_infos.json",
        "dataset_dict.json",
        "state.json",
        "package.json",
        "metadata.json",
        "config.json",
        "license.txt",
        "readme.txt",
        "requirements.txt",
        "croissant.json",
    ]
)
_WHAT = {"train": "training", "valid": "validation", "test": "test"}
_MOST_FILES = 20_000
_SHARD = re.compile(r"[-_.]?(?:part[-_.]?)?(\d+)(?:-of-(\d+))?(?:-[0-9a-f]{8,})?$")


@dataclass(frozen=True)
class Choice:
    """Files by split, in order; ``unread`` are data files beside them. ``saved``: a folder of
    datasets.save_to_disk.
    """

    files: dict[str, tuple[Path, ...]]
    unread: tuple[Path, ...] = ()
    saved: bool = False


def choose_files(folder: Path) -> Choice:
    """Raises BadData where the folder has no data files, or several for one split that do not belong
    together.
    """
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _saved(folder)
    paths = [path.relative_to(folder) for path in _files(folder)]
    choice = choose_paths(f"the folder {folder.name}", paths)
    files = {split: tuple(folder / path for path in chosen) for split, chosen in choice.files.items()}
    return Choice(files, tuple(folder / path for path in choice.unread))


def _files(folder: Path) -> list[Path]:
    """All files but hidden ones. Raises BadData for a folder that cannot be meant."""
    files: list[Path] = []
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        files += [Path(base, name) for name in names if os.path.isfile(Path(base, name))]
        if len(files) > _MOST_FILES:
            raise BadData(
                f"the folder {folder.name} has more than {_MOST_FILES:,} files",
                "Pass a folder that has only the data",
            )
    return files


def choose_paths(name: str, paths: Iterable[Path]) -> Choice:
    """What to read of files with these paths in a folder or repository that messages call ``name``. Raises
    BadData.
    """
    files = sorted(path for path in paths if _is_data(path))
    if not files:
        raise BadData(
            f"{name} has no data files", "Pass a folder with train, valid and test files, or one file"
        )
    split_by_path = {path: split_of(path) for path in files}
    splits = {split: [path for path in files if split_by_path[path] == split] for split in _WHAT}
    splits = {split: chosen for split, chosen in splits.items() if chosen}
    if not splits:
        return Choice({"train": _one_group(name, "training", files)})
    groups = {split: _one_group(name, _WHAT[split], chosen) for split, chosen in splits.items()}
    return Choice(groups, tuple(path for path in files if not split_by_path[path]))


def _is_data(path: Path) -> bool:
    hidden = any(part.startswith((".", "__")) for part in path.parts)
    return (
        not hidden
        and path.name.lower() not in _BESIDE
        and inner_name(path.name).lower().endswith(DATA_ENDINGS)
    )


def split_of(path: Path) -> str:
    """The split that a name speaks of: the file's own words first, then its folders' from the inside out;
    nothing where none does.
    """
    for part in reversed(path.parts):
        words = re.split(r"[^a-z]+", part.lower())
        splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
        if len(splits) == 1:
            return splits.pop()
    return ""


def _one_group(name: str, what: str, paths: list[Path]) -> tuple[Path, ...]:
    """The paths where they are shards of one table. Raises BadData otherwise."""
    groups: dict[tuple[Path, str, str], list[Path]] = {}
    for path in paths:
        stem = inner_name(path.name)
        short = _SHARD.sub("", Path(stem).stem)
        groups.setdefault((path.parent, short, path.name[len(Path(stem).stem) :]), []).append(path)
    if len(groups) > 1:
        names = quoted(path.as_posix() for group in groups.values() for path in group[:1])
        raise BadData(
            f"{name} has several files that could be the {what} rows: {names}",
            "Pass the file or the inner folder to use",
        )
    _check_shards(name, paths)
    return tuple(paths)


def _check_shards(name: str, paths: list[Path]) -> None:
    """Raises BadData where names say that there are more parts than lie here."""
    for path in paths:
        match = _SHARD.search(Path(inner_name(path.name)).stem)
        if match and match[2] and int(match[2]) != len(paths):
            raise BadData(
                f"{name} has only {len(paths)} of {int(match[2])} parts ({path.name}, ...)",
                "Download the missing parts",
            )


def _saved(folder: Path) -> Choice:
    """The files of a folder that datasets.save_to_disk wrote."""
    names = folder / "dataset_dict.json"
    if not names.is_file():
        return Choice({"train": _parts(folder)}, saved=True)
    try:
        splits = [str(split) for split in json.loads(names.read_bytes())["splits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(
            f"{names.name} in {folder.name} cannot be read ({error})", "Save the dataset again"
        ) from error
    known = {split: split_of(Path(split)) for split in splits}
    files = {known[split]: _parts(folder / split) for split in splits if known[split]}
    if not files:
        raise BadData(
            f"{folder.name} has the splits {quoted(splits)}, but none of them is for training",
            "Pass the folder of one split",
        )
    if len(files) < sum(map(bool, known.values())):
        raise BadData(
            f"{folder.name} has several splits of the same kind: {quoted(splits)}",
            "Pass the folder of one split",
        )
    return Choice(files, tuple(folder / split for split in splits if not known[split]), saved=True)


def _parts(folder: Path) -> tuple[Path, ...]:
    state = folder / "state.json"
    try:
        names = [str(entry["filename"]) for entry in json.loads(state.read_bytes())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(
            f"{state.name} in {folder.name} cannot be read ({error})", "Save the dataset again"
        ) from error
    paths = tuple(folder / Path(name).name for name in names)
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None or not paths:
        raise BadData(
            f"{folder.name} has no file {missing.name if missing else 'with its rows'}",
            "Save the dataset again",
        )
    return paths
