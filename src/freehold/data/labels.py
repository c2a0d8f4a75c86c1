"""Labels as people write them: forms that mean the same label, merging them, and the file of labels for
``--labels``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from freehold.core.errors import BadData, NotFound
from freehold.data.values import is_missing, json_value, text_of

_UNSEEN = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad]")
#: Of so many groups of variants a note names the forms.
_SHOWN = 5


def key_of(label: str) -> str:
    """What forms of one label share: without case, Unicode form, surrounding and repeated spaces, zero-width
    characters, final punctuation.
    """
    text = " ".join(_UNSEEN.sub("", unicodedata.normalize("NFKC", label)).casefold().split())
    return text.rstrip(".,;:! ") or text


def bare(label: str) -> str:
    """A label without zero-width characters and surrounding space."""
    return _UNSEEN.sub("", label).strip() or label


def variants_of(labels: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of forms that seem to be the same label, each with its most frequent form first."""
    counts = Counter(labels)
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda form: (-counts[form], *_oddness(form))):
        groups[key_of(label)].append(label)
    return tuple(tuple(forms) for forms in groups.values() if len(forms) > 1)


def _oddness(form: str) -> tuple[bool, bool, int, str]:
    """Of forms that are equally frequent the plainest comes first: no unseen characters, not all in capitals,
    short, in lower case.
    """
    return form != bare(form), form.isupper(), len(form), form.swapcase()


def merging(labels: Iterable[str]) -> dict[str, str]:
    """Each form that has variants -> the most frequent one, without zero-width characters and surrounding
    space.
    """
    return {form: bare(forms[0]) for forms in variants_of(labels) for form in forms}


def trimming(labels: Iterable[str]) -> dict[str, str]:
    """Labels with surrounding space or zero-width characters -> without, where no other form of the same
    label exists.
    """
    distinct = set(labels)
    varied = {form for forms in variants_of(distinct) for form in forms}
    return {label: bare(label) for label in distinct if label not in varied and bare(label) != label}


def describe(counts: Mapping[str, int], merged: bool) -> list[str]:
    """Sentences on the variants among labels that occur so often."""
    groups = variants_of(label for label, count in counts.items() for _ in range(count))
    lines = []
    for forms in groups[:_SHOWN]:
        listed = ", ".join(f"{shown(form)} ({counts[form]})" for form in forms)
        target = shown(bare(forms[0]))
        lines.append(
            f"label variants: {listed}: "
            + (f"read as {target}" if merged else f"pass --merge-labels to read them as {target}")
        )
    if len(groups) > _SHOWN:
        lines.append(f"label variants: {len(groups) - _SHOWN} more labels are written in several forms")
    return lines


def shown(label: str) -> str:
    """A label in quotes, with what is not seen written out."""
    return json.dumps(_UNSEEN.sub(lambda match: f"<U+{ord(match.group()):04X}>", label), ensure_ascii=False)


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a file: one a line, a JSON list, or the only or label-named column of a table. Raises
    NotFound and BadData.
    """
    if not path.is_file():
        raise NotFound(f"the file of labels {path} does not exist", "check the path given with --labels")
    text = "" if path.suffix.lower() in (".parquet", ".xlsx", ".ods", ".arrow") else _decoded(path)
    if path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx", ".ods", ".arrow"):
        labels = _column(path)
    elif text.lstrip().startswith("["):
        labels = _listed(path, text)
    else:
        labels = [line.strip() for line in text.splitlines()]
    known = tuple(dict.fromkeys(label for label in labels if not is_missing(label)))
    if not known:
        raise BadData(f"{path.name} has no labels", "write one label on each line")
    return known


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path.name}: byte {error.start} is not UTF-8", "save the file as UTF-8") from error


def _listed(path: Path, text: str) -> list[str]:
    try:
        value = json_value(text)
    except ValueError as error:
        raise BadData(
            f"{path.name} is not valid JSON ({error})",
            "write a JSON list of labels, or one label on each line",
        ) from error
    if not all(isinstance(item, str | int | float | bool) for item in value):
        raise BadData(
            f"{path.name}: the list contains something that is not a label", "write a JSON list of texts"
        )
    return [text_of(item) for item in value]


def _column(path: Path) -> list[str]:
    from freehold.data.names import LABEL, rank
    from freehold.data.readers import read_tables

    table = read_tables(str(path))["train"]
    named = [column for column in table.columns if rank(column, LABEL) or column.casefold() == "name"]
    if len(table.columns) > 1 and len(named) != 1:
        raise BadData(
            f"{path.name}: it is not clear which of the columns {', '.join(table.columns)} has the labels",
            "keep only the column of labels",
        )
    column = next(iter(named or table.columns))
    return [
        text_of(row.fields.get(column), column).strip()
        for row in table.rows
        if not is_missing(row.fields.get(column))
    ]
