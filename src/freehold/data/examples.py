"""Rows become examples; every row that cannot is reported, all at once.

An example is a list of chat messages whose last one is the wanted answer, plus an id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from freehold.core.atomic_files import digest_of
from freehold.core.errors import BadData, UsageError
from freehold.core.wording import agreeing
from freehold.data import labels as forms
from freehold.data.belonging import group_notes, groups_of, suggested
from freehold.data.columns import Mapping, map_columns, parse_columns
from freehold.data.guess import Ask
from freehold.data.nested import opened
from freehold.data.plan import NoColumn
from freehold.data.reading import decide
from freehold.data.shapes import NOTES, Cells, Reading, Shaped, labels_text, shaped
from freehold.data.table import Fault, Row, Table
from freehold.data.values import (
    RowFault,
    has_half_characters,
    is_missing,
    json_text,
    json_value,
    text_of,
    without_control,
)

__all__ = ["Dataset", "Example", "Mapping", "RowOptions", "parse_columns", "read_dataset", "read_splits"]

_MOST_FAULTS_SHOWN, _FEW_FAULTS = 20, 5
#: Bad rows up to this share are left out without being asked for; with ``skip`` up to the second.
_FEW, _MOST = 0.01, 0.5
_LONGEST_LABEL = 80


@dataclass(frozen=True)
class Example:
    """``messages``: (role, content) pairs, the last from the assistant; ``reference``: other fields metrics
    need; ``group``: what the row belongs to (a patient, a document), "" where it stands alone.
    """

    id: str
    messages: tuple[tuple[str, str], ...]
    reference: dict[str, str] = field(default_factory=dict)
    group: str = ""

    @property
    def answer(self) -> str:
        """The wanted answer."""
        return self.messages[-1][1]

    @property
    def prompt(self) -> tuple[tuple[str, str], ...]:
        """The messages before the answer."""
        return self.messages[:-1]

    @property
    def question(self) -> str:
        """The last user message: what near-duplicates are sought in."""
        return next((content for role, content in reversed(self.prompt) if role == "user"), "")

    @property
    def digest(self) -> str:
        """sha256 of what is asked and answered, whatever the id."""
        return digest_of([list(message) for message in self.messages])


@dataclass(frozen=True)
class RowOptions:
    """How rows are read.

    ``columns``: part -> column, None to guess. ``on_bad_row``: "" leaves out one bad row, or 1% of them,
    and stops above that; "skip" leaves out any number up to half; "stop" stops at the first. ``ask`` is
    called where a guess is in doubt; without it the doubt is an error. ``group``: the column of what rows
    belong to, "" for none.
    """

    columns: dict[str, str] | None = None
    encoding: str = ""
    on_bad_row: str = ""
    merge_labels: bool = False
    ask: Ask | None = None
    group: str = ""

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("", "skip", "stop"):
            raise UsageError(
                f"--on-bad-row {self.on_bad_row}: unknown value", "pass skip or stop, or leave it out"
            )


@dataclass(frozen=True)
class Dataset:
    """The examples of one table, the rows left out for a fault, and sentences on what was decided."""

    name: str
    digest: str
    mapping: Mapping
    examples: tuple[Example, ...]
    left_out: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def read_dataset(source: str | Path, options: RowOptions = RowOptions()) -> Dataset:
    """The examples of a file, query or dataset that has no splits. Raises NotFound, UsageError, and BadData
    holding every fault.
    """
    from freehold.data.readers import read_tables

    tables = read_tables(str(source), options.encoding)
    if set(tables) != {"train"}:
        raise UsageError(f"{source} has several splits ({', '.join(tables)})", "name the file of one of them")
    return datasets_of(tables, options)["train"]


def read_splits(
    train: str | Path,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    options: RowOptions = RowOptions(),
) -> dict[str, Dataset]:
    """Datasets by split: "train", and "valid" and "test" where given or found beside. Raises as
    :func:`read_dataset` does.
    """
    from freehold.data.readers import read_tables

    tables = dict(read_tables(str(train), options.encoding))
    for part, source in (("valid", valid), ("test", test)):
        if source is not None:
            read = read_tables(str(source), options.encoding)
            if part not in read and set(read) != {"train"}:
                raise UsageError(
                    f"{source} has several splits ({', '.join(read)}), but none of them is {part}",
                    "name the file",
                )
            tables[part] = read.get(part) or read["train"]
    if "train" not in tables:
        raise BadData(
            f"{train} has no training rows, only {' and '.join(tables)}", "name the file to learn from"
        )
    return datasets_of(tables, options)


def datasets_of(tables: Dict[str, Table], options: RowOptions = RowOptions()) -> dict[str, Dataset]:
    """Datasets of the tables of one task: columns, missing values and labels are decided for all together.
    Raises BadData.
    """
    for table in tables.values():
        if not table.rows and not table.faults:
            raise BadData(
                f"{table.name} has no rows",
                "pass a file with one JSON object per line, or a table with a header",
            )
    tables, mappings = _mapped(tables, options)
    reading, notes = decide([(tables[part], mapping) for part, mapping in mappings.items()])
    if reading.separator:
        mappings = {part: _as_several(mapping) for part, mapping in mappings.items()}
    read: dict[str, Dataset] = {}
    stopped: list[BadData] = []
    for part, table in tables.items():
        try:
            read[part] = _dataset(table, mappings.get(part, Mapping({}, True)), reading, options)
        except BadData as error:
            stopped.append(error)
    if stopped:
        raise _together(stopped)
    first = next(iter(read))
    notes += _group_suggestion(tables, mappings, options)
    read[first] = replace(read[first], notes=(*read[first].notes, *notes))
    return _with_labels(_unfenced(read), options.merge_labels)


def _group_suggestion(
    tables: Dict[str, Table], mappings: Dict[str, Mapping], options: RowOptions
) -> list[str]:
    used = {
        column for mapping in mappings.values() for columns in mapping.parts.values() for column in columns
    }
    sentence = "" if options.group else suggested([tables[part] for part in mappings], used)
    return [sentence] if sentence else []


def _together(errors: Sequence[BadData]) -> BadData:
    if len(errors) == 1:
        return errors[0]
    return BadData(
        "\n".join(error.message for error in errors),
        errors[0].remedy,
        [fault for error in errors for fault in error.faults],
    )


# -- columns --------------------------------------------------------------------------------------


def _mapped(tables: Dict[str, Table], options: RowOptions) -> tuple[Dict[str, Table], dict[str, Mapping]]:
    """The tables and their mappings; columns of objects are opened where a part is only found inside them."""
    filled = {part: table for part, table in tables.items() if table.rows}
    known = {column for table in filled.values() for column in table.columns}
    named = {piece for column in (options.columns or {}).values() for piece in (column, *column.split("+"))}
    try:
        return tables, _mappings(filled, options)
    except BadData as error:
        if not (named - known if options.columns else isinstance(error, NoColumn)):
            raise
        inside = {part: opened(table) for part, table in filled.items()}
        gained = {column for table in inside.values() for column in table.columns} - known
        if not gained or (named and not named & gained):
            raise
        return {**tables, **inside}, _mappings(inside, options)


def _mappings(tables: Dict[str, Table], options: RowOptions) -> dict[str, Mapping]:
    """The mapping of the first table, for all that have its columns; a table without them gets its own."""
    mappings: dict[str, Mapping] = {}
    first: Mapping | None = None
    for part, table in tables.items():
        if first is None or not _fits(first, table):
            mapping = map_columns(table, options.columns, options.ask, options.group)
            if first is not None:
                note = f"{table.name} has other columns than the {next(iter(mappings))} rows: {mapping}."
                mapping = replace(mapping, notes=(note, *mapping.notes))
            mappings[part] = mapping
        else:
            used = {column for columns in first.parts.values() for column in columns}
            mappings[part] = replace(first, unused=tuple(c for c in table.columns if c not in used), notes=())
        first = first or mappings[part]
    return mappings


def _as_several(mapping: Mapping) -> Mapping:
    """The mapping of rows with several labels, where the column's part is called labels."""
    named = {"label": "labels"}
    columns = {named.get(part, part): column for part, column in mapping.columns.items()}
    return replace(
        mapping,
        columns=columns,
        parts={named.get(part, part): value for part, value in mapping.parts.items()},
    )


def _fits(mapping: Mapping, table: Table) -> bool:
    return all(
        column in table.columns
        for part, columns in mapping.parts.items()
        if part != "id"
        for column in columns
    )


# -- rows -----------------------------------------------------------------------------------------


def _dataset(table: Table, mapping: Mapping, reading: Reading, options: RowOptions) -> Dataset:
    tally: Counter[str] = Counter()
    faults = list(table.faults)
    usable: list[tuple[Row, Shaped]] = []
    for row in table.rows:
        try:
            result = shaped(Cells(row, mapping, reading, tally))
            if result is not None:
                usable.append((row, _clean(result, tally)))
        except RowFault as fault:
            faults.append(_fault(row, fault))
    _judge(table, faults, len(usable), options.on_bad_row)
    mapping, usable = _with_references(mapping, usable)
    ids, renamed = _ids(table, mapping, [row for row, _ in usable])
    mapping, belongs, grouped = _grouped(table, mapping, options.group)
    examples = tuple(
        Example(name, shaped_row.messages, shaped_row.reference, belongs.get(id(row), ""))
        for name, (row, shaped_row) in zip(ids, usable, strict=True)
    )
    notes = [agreeing(NOTES[key], count) for key, count in tally.items() if count]
    if faults:
        listed = "; ".join(map(str, faults[:_FEW_FAULTS])) + ("; ..." if faults[_FEW_FAULTS:] else "")
        notes.append(f"{len(faults)} of {len(table.rows) + len(table.faults)} rows are left out: {listed}")
    return Dataset(
        table.name,
        table.digest,
        mapping,
        examples,
        tuple(faults),
        (*table.notes, *mapping.notes, *notes, *renamed, *grouped),
    )


def _grouped(table: Table, mapping: Mapping, column: str) -> tuple[Mapping, dict[int, str], list[str]]:
    """(the mapping with the column of groups, what each row belongs to by its identity, sentences)."""
    if not column or not table.rows:
        return mapping, {}, []
    name, groups = groups_of(table, column, mapping)
    unused = tuple(other for other in mapping.unused if other != name)
    belongs = {id(row): group for row, group in zip(table.rows, groups, strict=True)}
    return replace(mapping, group=name, unused=unused), belongs, group_notes(table.name, name, groups)


def _fault(row: Row, fault: RowFault) -> Fault:
    return Fault(f'{row.place}, column "{fault.column}"' if fault.column else row.place, fault.reason)


def _judge(table: Table, faults: Sequence[Fault], good: int, on_bad_row: str) -> None:
    """Raises BadData where more rows are bad than may be left out."""
    total = len(table.rows) + len(table.faults)
    if not good and not faults:
        raise BadData(f"{table.name}: no row is left to learn from", "add rows with good answers")
    most = {"": max(1.0, _FEW * total), "skip": _MOST * total, "stop": 0.0}[on_bad_row]
    if good and len(faults) <= most:
        return
    listed = "\n  ".join(str(fault) for fault in faults[:_MOST_FAULTS_SHOWN])
    more = f"\n  ... and {len(faults) - _MOST_FAULTS_SHOWN} more" if len(faults) > _MOST_FAULTS_SHOWN else ""
    remedy = (
        "fix these rows"
        if on_bad_row == "skip" or not good
        else "fix these rows, or pass --on-bad-row skip to leave them out"
    )
    over = ", more than half" if on_bad_row == "skip" and good else ""
    raise BadData(
        f"{table.name}: {len(faults)} of {total} rows cannot be used{over}:\n  {listed}{more}",
        remedy,
        [str(fault) for fault in faults],
    )


def _clean(row: Shaped, tally: Counter[str]) -> Shaped:
    """Without control characters. Raises RowFault for half characters, which no file and no tokenizer can
    carry.
    """
    texts = [content for _, content in row.messages] + list(row.reference.values())
    if any(map(has_half_characters, texts)):
        raise RowFault("", "the text contains half of a character (a lone surrogate)")
    if all(without_control(text) == text for text in texts):
        return row
    tally["control"] += 1
    messages = tuple((role, without_control(content)) for role, content in row.messages)
    return Shaped(messages, {key: without_control(value) for key, value in row.reference.items()})


def _with_references(
    mapping: Mapping, pairs: list[tuple[Row, Shaped]]
) -> tuple[Mapping, list[tuple[Row, Shaped]]]:
    """Columns beside a chat that repeat its answer (label, labels) or end it (answer): metrics compare with
    them.
    """
    if mapping.shape != "messages" or not mapping.guessed:
        return mapping, pairs
    for part in ("label", "labels", "answer"):
        if part in mapping.unused and all(_agrees(part, row, shaped_row) for row, shaped_row in pairs):
            pairs = [
                (
                    row,
                    replace(shaped_row, reference={**shaped_row.reference, part: text_of(row.fields[part])}),
                )
                for row, shaped_row in pairs
            ]
            columns = {**mapping.columns, part: part}
            unused = tuple(column for column in mapping.unused if column != part)
            mapping = replace(mapping, columns=columns, unused=unused, parts={**mapping.parts, part: (part,)})
    return mapping, pairs


def _agrees(part: str, row: Row, shaped_row: Shaped) -> bool:
    value = row.fields.get(part)
    if is_missing(value) or not isinstance(value, str | int | float | list):
        return False
    answer, text = shaped_row.messages[-1][1].strip(), text_of(value).strip()
    if part == "labels":
        listed = json_value(text) if text.startswith("[") else []
        return all(isinstance(label, str) for label in listed) and answer in (
            labels_text(listed, True),
            labels_text(listed, False),
        )
    return answer == text if part == "label" else text.replace(",", "") in answer.replace(",", "")


def _ids(table: Table, mapping: Mapping, rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """(a name for each row, sentences on renamed ones)."""
    stem = Path(table.name).name.split(".")[0] or "row"
    column = mapping.parts.get("id", ("",))[0]
    position = {id(row): number for number, row in enumerate(table.rows, 1)}
    stated = [row.fields.get(column) if column else None for row in rows]
    names = [
        f"{stem}-{position[id(row)]}" if is_missing(value) else text_of(value)
        for row, value in zip(rows, stated, strict=True)
    ]
    counts, taken, unique = Counter(names), set(names), list[str]()
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        fresh = name
        number = seen[name]
        while number > 1 and (fresh == name or fresh in taken):
            fresh = f"{name}-{number}"
            number += 1
        taken.add(fresh)
        unique.append(fresh)
    repeated = [name for name, count in counts.items() if count > 1]
    if not repeated:
        return unique, []
    return unique, [
        f'{len(repeated)} ids appear on several rows (first "{repeated[0]}"): each later row gets a number, '
        f"such as {repeated[0]}-2."
    ]


# -- answers of all splits together ---------------------------------------------------------------


def _unfenced(read: dict[str, Dataset]) -> dict[str, Dataset]:
    """JSON answers without the fence of a code block, where all answers are JSON."""
    texts = [json_text(example.answer) for dataset in read.values() for example in dataset.examples]
    if not all(texts) or not any(text and text[1] for text in texts):
        return read

    def plain(example: Example) -> Example:
        answer = json_text(example.answer)
        assert answer is not None
        rejected = json_text(example.reference.get("rejected", ""))
        reference = {**example.reference, "rejected": rejected[0]} if rejected else example.reference
        messages = (*example.prompt, ("assistant", answer[0]))
        return replace(example, messages=messages, reference=reference)

    note = "The answers are JSON in a fenced code block: the fences are removed."
    return {
        part: replace(
            dataset,
            examples=tuple(map(plain, dataset.examples)),
            notes=(*dataset.notes, note) if part == "train" else dataset.notes,
        )
        for part, dataset in read.items()
    }


def _with_labels(read: dict[str, Dataset], merge: bool) -> dict[str, Dataset]:
    """Reports labels that are written in several forms, and reads them as one where asked to."""
    examples = [example for dataset in read.values() for example in dataset.examples]
    counts = Counter(label for example in examples for label in _labels(example))
    if not _closed(examples, counts):
        return read
    notes = forms.describe(counts, merge)
    change = forms.trimming(counts)
    if change:
        rows = sum(counts[label] for label in change)
        notes.append(
            f"{rows} labels contain extra spaces or invisible characters (first "
            f"{forms.shown(next(iter(change)))}); these are removed."
        )
    if merge:
        change |= forms.merging(label for label, count in counts.items() for _ in range(count))
    if change:
        read = {
            part: replace(dataset, examples=tuple(_relabelled(e, change) for e in dataset.examples))
            for part, dataset in read.items()
        }
    first = next(iter(read))
    return {**read, first: replace(read[first], notes=(*read[first].notes, *notes))}


def _labels(example: Example) -> list[str]:
    if "labels" in example.reference:
        return json_value(example.reference["labels"])
    return [example.reference.get("label", example.answer)]


def _closed(examples: Sequence[Example], counts: Counter[str]) -> bool:
    """Whether the answers are labels: from a label's column, or short and repeated."""
    if all("label" in example.reference or "labels" in example.reference for example in examples):
        return True
    keys = {forms.key_of(label) for label in counts}
    return max(map(len, counts), default=0) <= _LONGEST_LABEL and 3 * len(keys) <= len(examples)


def _relabelled(example: Example, change: dict[str, str]) -> Example:
    before = _labels(example)
    after = [change.get(label, label) for label in before]
    if after == before:
        return example
    if "labels" in example.reference:
        several = sorted(set(after))
        answer = labels_text(several, example.answer.startswith("["))
        reference = {**example.reference, "labels": json.dumps(several, ensure_ascii=False)}
    else:
        answer = after[0]
        reference = {**example.reference, **({"label": answer} if "label" in example.reference else {})}
    return replace(example, messages=(*example.prompt, ("assistant", answer)), reference=reference)
