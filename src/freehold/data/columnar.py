"""Rows in Parquet and Arrow files, read a few rows at a time so that what expands is stopped early."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core.errors import BadData
from freehold.data.bounds import BYTES_PER_VALUE, Bound
from freehold.data.draft import Draft, check_columns, distinct_names, quoted, unusable
from freehold.data.table import Fields

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ROWS_AT_ONCE = 256
#: The kind of a page of Parquet that holds a dictionary; what Thrift writes before the next field if that is
#: a number.
_DICTIONARY_PAGE, _NEXT_NUMBER = 2, b"\x15"
#: Dictionaries that were looked at, each with the lengths of its values.
Known = dict[tuple[int, int, int], tuple[Any, Any]]


def read_columnar(name: str, content: Path | bytes, kind: str) -> Draft:
    """Rows of a file whose first bytes say ``parquet``, ``arrow``, ``stream`` or ``feather``. Raises BadData,
    DoesNotFit.
    """
    import pyarrow as pa

    bound = Bound(name)
    mapped = content.stat().st_size if isinstance(content, Path) else 0
    try:
        with bound.step(mapped):
            batches = {"parquet": _parquet, "arrow": _arrow, "stream": _stream, "feather": _feather}[kind](
                _opened(content), bound
            )
            schema = next(batches)
        return _filled(name, schema, bound.each(batches), bound)
    except MemoryError:
        raise
    except UnicodeDecodeError as error:
        raise BadData(
            f"{name} contains text that is not UTF-8 ({error.reason})", "Save it again as UTF-8 text"
        ) from error
    except (pa.ArrowException, OSError, EOFError) as error:
        what = "Parquet" if kind == "parquet" else "Arrow"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadData(
            f"{name} cannot be read as {what}; it is damaged or cut off ({reason})",
            "Save or download it again",
        ) from error


def _opened(content: Path | bytes) -> pa.NativeFile:
    import pyarrow as pa

    return pa.memory_map(str(content)) if isinstance(content, Path) else pa.BufferReader(content)


def _parquet(source: pa.NativeFile, bound: Bound) -> Iterator[Any]:
    """The schema, then batches."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        check_columns(bound.name, file.metadata.num_columns)
        chunks = list(_chunks(file.metadata))
        values = sum(chunk.num_values for chunk in chunks)
        bound.check(
            max(sum(chunk.total_uncompressed_size for chunk in chunks), values * BYTES_PER_VALUE // 4)
        )
        schema, rows = file.schema_arrow, _rows_at_once(file.metadata, bound)
        nested = {
            column.path
            for column in map(file.metadata.schema.column, range(file.metadata.num_columns))
            if column.max_repetition_level
        }
        shared = _shared(source, chunks, nested, rows, bound)
    yield schema
    with pq.ParquetFile(source, read_dictionary=shared) as file:
        yield from file.iter_batches(rows)


def _chunks(metadata: Any) -> Iterator[Any]:
    """What the file says of each column of each group of rows."""
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        yield from (row_group.column(column) for column in range(metadata.num_columns))


def _shared(
    source: pa.NativeFile, chunks: Sequence[Any], nested: Set[str], rows: int, bound: Bound
) -> list[str]:
    """Columns whose texts, written once in a dictionary, may be more than memory takes when a batch of them
    is written out.

    They are read as they are written, and counted before they are written out. That takes twice as long, so
    it is done only where it is needed: what is written out is counted batch by batch, and a batch of ``rows``
    holds at most so many times all of a dictionary. Of a nested column a batch may hold any number of values.
    """
    return sorted(
        {
            chunk.path_in_schema
            for chunk in chunks
            if chunk.physical_type == "BYTE_ARRAY"
            and any("DICTIONARY" in encoding for encoding in chunk.encodings)
            and chunk.num_values * chunk.total_uncompressed_size > bound.most
            and (chunk.path_in_schema in nested or rows * _longest_shared(source, chunk) > bound.most)
        }
    )


def _longest_shared(source: pa.NativeFile, chunk: Any) -> int:
    """Bytes that no text of a column's dictionary exceeds: those of the dictionary, as its page's head says.

    A column chunk has one dictionary; where its first page is something else, all bytes of the chunk are the
    bound. A head that lies is stopped by the bound of each step. Source: parquet.thrift (PageHeader), in
    Thrift's compact protocol: kind of page, bytes as they are, bytes as they are written.
    """
    starts = [chunk.dictionary_page_offset, chunk.data_page_offset]
    source.seek(min((start for start in starts if start), default=0))
    head, at, numbers = source.read(24), 0, list[int]()
    while len(numbers) < 3 and head[at : at + 1] == _NEXT_NUMBER:
        number, at = _whole_number(head, at + 1)
        numbers.append(number)
    if len(numbers) < 3 or numbers[0] != _DICTIONARY_PAGE or min(numbers) < 0:
        return chunk.total_uncompressed_size
    return max(numbers[1:])


def _whole_number(data: bytes, at: int) -> tuple[int, int]:
    """(the zigzag number of variable length at a place, the place behind it); -1 where it is cut off."""
    value = shift = 0
    for position in range(at, min(at + 5, len(data))):
        value |= (data[position] & 0x7F) << shift
        shift += 7
        if data[position] < 0x80:
            return (value >> 1) ^ -(value & 1), position + 1
    return -1, len(data)


def _rows_at_once(metadata: Any, bound: Bound) -> int:
    """Rows in a batch: fewer where each of its values may be as long as all that is written of them.

    Raises DoesNotFit where even one row may hold too many of those.
    """
    rows = _ROWS_AT_ONCE
    for number in range(metadata.num_columns):
        column = metadata.schema.column(number)
        chunks = [metadata.row_group(group).column(number) for group in range(metadata.num_row_groups)]
        if column.physical_type == "FIXED_LEN_BYTE_ARRAY":
            bound.check(sum(chunk.num_values for chunk in chunks) * max(column.length, 1))
        grown = [chunk for chunk in chunks if "DELTA_BYTE_ARRAY" in chunk.encodings]
        longest = max((chunk.total_uncompressed_size for chunk in grown), default=0)
        if longest:
            rows = min(rows, max(1, bound.most // 4 // longest))
        if column.max_repetition_level:
            bound.check(max((c.num_values * c.total_uncompressed_size for c in grown), default=0))
    return rows


def _arrow(source: pa.NativeFile, bound: Bound) -> Iterator[Any]:
    import pyarrow as pa

    with pa.ipc.open_file(source) as reader:
        yield reader.schema
        for number in range(reader.num_record_batches):
            yield _checked(reader.get_batch(number))


def _stream(source: pa.NativeFile, bound: Bound) -> Iterator[Any]:
    import pyarrow as pa

    with pa.ipc.open_stream(source) as reader:
        yield reader.schema
        for batch in reader:
            yield _checked(batch)


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose offsets lie inside it: a damaged one would read foreign memory."""
    batch.validate(full=True)
    return batch


def _feather(source: pa.NativeFile, bound: Bound) -> Iterator[Any]:
    import pyarrow.feather

    table = pyarrow.feather.read_table(source)
    yield table.schema
    yield from table.to_batches(_ROWS_AT_ONCE)


def _filled(name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], bound: Bound) -> Draft:
    draft = Draft(name)
    draft.columns = distinct_names(list(schema.names), draft)
    labels = class_labels(schema.metadata, draft)
    plain = {column: _plain(field.type) for column, field in zip(draft.columns, schema, strict=True)}
    number, known = 0, Known()
    for batch in batches:
        draft.bound.check_rows(batch.num_rows, batch.num_columns)
        for part in _parts(batch):
            bound.more(_expanded(part, known))
            cells = [
                _cells(_plainly(column), plain[key], labels.get(key))
                for key, column in zip(draft.columns, part.columns, strict=True)
            ]
            for row in zip(*cells, strict=True):
                number += 1
                _take(draft, number, dict(zip(draft.columns, row, strict=True)))
    _say_left_out(draft, schema)
    _whole_numbers(draft, schema)
    return draft


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Pieces of few rows: Arrow files may hold all rows in one batch."""
    for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
        yield batch.slice(start, _ROWS_AT_ONCE)


def _expanded(batch: pa.RecordBatch, known: Known) -> int:
    """Bytes of a batch with all that stands in it once and is used often written out; nothing is written."""
    return sum(_written_out(column, known) for column in batch.columns)


def _written_out(array: pa.Array, known: Known) -> int:
    import pyarrow as pa

    slots = len(array) * 8
    if isinstance(array, pa.ExtensionArray):
        return _written_out(array.storage, known)
    if isinstance(array, pa.DictionaryArray):
        lengths = _lengths_once(array.dictionary, known)
        used = array.indices.drop_null().to_numpy(zero_copy_only=False)
        return slots + int(lengths[used].sum())
    if isinstance(array, pa.RunEndEncodedArray):
        return slots + len(array) * _longest(array.values)
    if isinstance(array, pa.MapArray):
        first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return slots + sum(
            _written_out(each.slice(first, last - first), known) for each in (array.keys, array.items)
        )
    if isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return slots + _written_out(array.flatten(), known)
    if isinstance(array, pa.ListViewArray | pa.LargeListViewArray):
        entries = sum(size for size in array.sizes.to_pylist() if size)
        return slots + entries * (8 + _longest(array.values))
    if isinstance(array, pa.StructArray):
        return slots + sum(_written_out(each, known) for each in array.flatten())
    return slots + int(_lengths(array).sum())


def _lengths_once(dictionary: pa.Array, known: Known) -> np.ndarray[Any, Any]:
    """The lengths of a dictionary's values; many batches share one, which is kept so that its address stays
    its own.
    """
    if not dictionary.buffers()[-1]:
        return _lengths(dictionary)
    key = dictionary.buffers()[-1].address, len(dictionary), dictionary.offset
    if key not in known:
        if len(known) > 64:
            known.clear()
        known[key] = dictionary, _lengths(dictionary)
    return known[key][1]


def _longest(array: pa.Array) -> int:
    return int(_lengths(array).max(initial=0))


def _lengths(array: pa.Array) -> np.ndarray[Any, Any]:
    """Bytes of each value; of nested ones, those of all together, which no value exceeds."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(array, pa.StringArray | pa.LargeStringArray | pa.BinaryArray | pa.LargeBinaryArray):
        lengths = pc.call_function("binary_length", [array])
        return lengths.fill_null(0).to_numpy(zero_copy_only=False)
    if isinstance(array, pa.StringViewArray | pa.BinaryViewArray):
        views = np.frombuffer(array.buffers()[1], dtype="<i4")[array.offset * 4 :: 4][: len(array)]
        return views.astype(np.int64)
    if array.type.num_fields or isinstance(array, pa.DictionaryArray | pa.ExtensionArray):
        return np.full(len(array), _written_out(array, {}))
    return np.full(len(array), 8)


def _take(draft: Draft, number: int, fields: Fields) -> None:
    source = f"{draft.name}, row {number}"
    reason = unusable(fields)
    if reason:
        draft.fault(source, reason)
    else:
        draft.add(source, fields)


def _plainly(column: pa.Array) -> pa.Array:
    """A column with its texts written out; that they fit was counted before."""
    import pyarrow as pa

    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _cells(
    column: pa.Array, plain: Callable[[Any], Any] | None, names: Callable[[Any], Any] | None
) -> list[Any]:
    """The values of a column as JSON has them."""
    values = column.to_pylist(maps_as_pydicts="lossy")
    if plain is not None:
        values = list(map(plain, values))
    return list(map(names, values)) if names is not None else values


def _plain(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What turns a value of this type into one that JSON has; None where it is one already."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _plain(kind.value_type)
    if (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_integer(kind)
        or types.is_boolean(kind)
    ):
        return None
    return as_json


def as_json(value: Any) -> Any:
    """A value as JSON has it: times in ISO form, NaN as missing, decimals as written, bytes left out."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, datetime.datetime):
        return (
            value.isoformat(sep=" ")
            if (value.hour or value.minute or value.second)
            else value.date().isoformat()
        )
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _say_left_out(draft: Draft, schema: pa.Schema) -> None:
    from pyarrow import types

    binary = [
        name
        for name, kind in zip(draft.columns, schema.types, strict=True)
        if types.is_binary(kind) or types.is_large_binary(kind)
    ]
    if binary:
        draft.notes.append(f"Binary data is left out: {quoted(binary)}.")


def _whole_numbers(draft: Draft, schema: pa.Schema) -> None:
    """Whole numbers that pandas wrote as fractions, only because some are missing, become whole again."""
    from pyarrow import types

    for column, kind in zip(draft.columns, schema.types, strict=True):
        values = [row.fields[column] for row in draft.rows] if types.is_floating(kind) else []
        numbers = [value for value in values if value is not None]
        if numbers and len(numbers) < len(values) and all(value.is_integer() for value in numbers):
            for row, value in zip(draft.rows, values, strict=True):
                row.fields[column] = None if value is None else int(value)
            draft.notes.append(
                f'Column "{column}" has whole numbers and missing values; the numbers are read as whole '
                "numbers."
            )


def class_labels(metadata: dict[bytes, bytes] | None, draft: Draft) -> dict[str, Callable[[Any], Any]]:
    """By column, what turns the numbers of Hugging Face's ClassLabel into their names."""
    try:
        features = (
            json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features") or {}
        )
    except (ValueError, AttributeError):
        draft.notes.append("The file's description of its columns is not valid JSON and is not used.")
        return {}
    named = {column: _namer(feature) for column, feature in features.items()}
    named = {column.strip(): namer for column, namer in named.items() if namer is not None}
    if named:
        draft.notes.append(f"Numbers are replaced by the label names that the file gives: {quoted(named)}.")
    return named


def _namer(feature: Any) -> Callable[[Any], Any] | None:
    """For a feature that is a ClassLabel, a list of them, or a structure that holds some."""
    if isinstance(feature, list) and len(feature) == 1:
        return _mapped(_namer(feature[0]))
    if not isinstance(feature, dict):
        return None
    kind, names = feature.get("_type"), feature.get("names")
    if kind == "ClassLabel" and isinstance(names, list):
        known = {number: str(name) for number, name in enumerate(names)}
        return lambda value: known.get(value) if isinstance(value, int) else value
    if kind in ("Sequence", "List", "LargeList"):
        return _mapped(_namer(feature.get("feature")))
    if kind is not None:
        return None
    inner = {key: namer for key, each in feature.items() if (namer := _namer(each)) is not None}
    if not inner:
        return None
    return lambda value: (
        {k: inner[k](v) if k in inner else v for k, v in value.items()} if isinstance(value, dict) else value
    )


def _mapped(namer: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if namer is None:
        return None
    return lambda value: [namer(each) for each in value] if isinstance(value, list) else value
