"""The JSON form of a trial's records: what a step's process sends, what lies on disk, and the report.

A record is a frozen dataclass whose fields have the names of the JSON keys. Keys that a record does not know
are ignored, and fields with a default may be absent, so that files of earlier versions are still read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from freehold.core.errors import BadData
from freehold.core.json_types import JsonObject

Record = TypeVar("Record")


@lru_cache(maxsize=128)
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read(kind: type[Record], value: object, where: str = "") -> Record:
    """A record from its JSON form. Raises BadData, with ``where`` in the message, for a value that is not
    one.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadData(
            f"{where or kind.__name__}, key {key!r}: {first['msg']}",
            "it was written by another version or damaged; run the trial again",
        ) from error


def write(record: object) -> JsonObject:
    """The JSON form of a record: objects, arrays, texts, numbers."""
    return _adapter(type(record)).dump_python(record, mode="json", by_alias=True, warnings=False)


def schema(kind: type[Any]) -> JsonObject:
    """The JSON schema of a record's form, without the titles that only repeat the names."""
    return _untitled(_adapter(kind).json_schema())


def _untitled(schema: Any, *, names: bool = False) -> Any:
    """The schema without its ``title`` keys; ``names``: its keys are names of fields or types, which all
    stay.
    """
    if isinstance(schema, list):
        return [_untitled(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _untitled(value, names=key in ("properties", "$defs") and not names)
        for key, value in schema.items()
        if names or key != "title"
    }
