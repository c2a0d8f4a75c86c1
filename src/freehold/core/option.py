"""One definition for each option: the command line, ``task.yaml`` and the Python API take theirs from it.

A verb's options are a frozen dataclass whose fields are made by :func:`option`. A field's name is the keyword
of the API and the key of ``task.yaml``; the command line makes its flag of it (:mod:`freehold.cli.options`).
Values are as a person writes them (``budget="45m"``) and are checked when the object is made, so that all
three ways accept and refuse the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from freehold.core import units, yaml_text
from freehold.core.errors import BadData, UsageError
from freehold.core.wording import did_you_mean

_KEY = "option"
#: The field that names a file with values for the other fields.
TASK = "task"
TASK_HELP = (
    "A task.yaml with values for these options; the command line wins, and a list is added to that of "
    "the command line."
)


@dataclass(frozen=True)
class Option:
    """What is said of an option once."""

    #: a sentence for the command line's help and for the documentation
    help: str
    #: how the command line spells it; "" for the name with dashes
    flag: str = ""
    #: makes the value of a text and the option's flag; None where the text is the value
    parse: Callable[[str, str], Any] | None = None
    #: the only values allowed; empty for any
    choices: tuple[str | int, ...] = ()
    #: the smallest and the largest number allowed
    low: float | None = None
    high: float | None = None
    #: whether it may stand in a task.yaml; what gives a permission is passed each time
    in_file: bool = True

    def flag_of(self, name: str) -> str:
        """The flag in messages: ``--need``."""
        return self.flag.partition("/")[0] or f"--{name.replace('_', '-')}"


def option(default: Any, help: str, **about: Any) -> Any:
    """A dataclass field with its option. ``about``: further fields of :class:`Option`."""
    return dataclasses.field(default=default, metadata={_KEY: Option(help, **about)})


def positive_bytes(text: str, flag: str) -> int:
    """Bytes, more than none."""
    return units.parse_bytes(text, flag, positive=True)


def positive_seconds(text: str, flag: str) -> float:
    """Seconds, more than none."""
    return units.parse_seconds(text, flag, positive=True)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of a verb's options. Raises UsageError for a value that an option does not take."""

    def __post_init__(self) -> None:
        types = get_type_hints(type(self))
        for name, definition in options_of(type(self)).items():
            value = _typed(definition.flag_of(name), getattr(self, name), types[name])
            object.__setattr__(self, name, value)
            _check(definition, definition.flag_of(name), value)
            self.parsed(name)

    def parsed(self, name: str) -> Any:
        """The value of an option in the unit of its parser; 0 for an empty text that would be parsed."""
        definition, value = options_of(type(self))[name], getattr(self, name)
        if definition.parse is None:
            return value
        return definition.parse(value, definition.flag_of(name)) if value else 0


def options_of(settings: type[Settings]) -> dict[str, Option]:
    """The options of a class by the names of their fields, in their order."""
    return {f.name: f.metadata[_KEY] for f in dataclasses.fields(settings) if _KEY in f.metadata}


_Settings = TypeVar("_Settings", bound=Settings)


def settings_of(kind: Callable[..., _Settings], chosen: Mapping[str, Any]) -> _Settings:
    """Options made of what a person chose and of the ``task.yaml`` that ``chosen`` names, if any.

    What was chosen wins over the file; lists of both are joined. Raises UsageError.
    """
    values = dict(chosen)
    if file := values.get(TASK):
        for name, value in read_task_file(Path(file), cast(type[Settings], kind)).items():
            if isinstance(value, list) and values.get(name):
                values[name] = [*values[name], *value]
            else:
                values.setdefault(name, value)
    return kind(**values)


def read_task_file(path: Path, kind: type[Settings]) -> dict[str, Any]:
    """The values of a ``task.yaml`` by option. Raises UsageError for an unknown key or a wrong value."""
    try:
        content = yaml_text.load(path.read_text(), str(path))
    except BadData as error:
        raise UsageError(error.message, "correct it there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0]})", "correct it") from error
    known = [name for name, definition in options_of(kind).items() if definition.in_file]
    if not isinstance(content, dict):
        raise UsageError(
            f"{path} must be a mapping of options to values", f"its keys can be {', '.join(known)}"
        )
    for key in content:
        if key not in known:
            raise _unknown_key(path, "yes" if key is True else str(key), known, kind)
    types = get_type_hints(kind)
    for name, value in content.items():
        _typed(f"{path}: {name}", value, types[name])
    return content


def _unknown_key(path: Path, key: str, known: list[str], kind: type[Settings]) -> UsageError:
    """The error for a key that a ``task.yaml`` cannot have. YAML reads ``yes`` as true."""
    definition = options_of(kind).get(key)
    if definition is not None:
        return UsageError(
            f"{path}: {key} cannot be in a file", f"pass {definition.flag_of(key)} with the command"
        )
    hint = did_you_mean(key.replace("-", "_"), known)
    return UsageError(f"{path} has the unknown key {key!r}", f"{hint}Its keys can be {', '.join(known)}")


def _typed(where: str, value: Any, kind: Any) -> Any:
    """The value in the type of its field. Raises UsageError."""
    kinds = get_args(kind) if type(None) in get_args(kind) else (kind,)
    if value is None and type(None) in kinds:
        return None
    kind = kinds[0]
    if get_origin(kind) is Sequence:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"{where} must be a list of texts", "for example [one, two]")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind is str and (number or isinstance(value, str | Path)):
        return str(value)
    if kind is float and isinstance(value, int | float) and number:
        return float(value)
    if kind in (bool, int) and type(value) is kind:
        return value
    what = {str: "a text", Path: "a path", bool: "true or false", int: "a whole number", float: "a number"}
    raise UsageError(f"{where} must be {what[kind]}, not {value!r}", "correct it")


def _check(definition: Option, flag: str, value: Any) -> None:
    """Raises UsageError for a number out of range and for an unknown choice."""
    if definition.choices and value not in definition.choices:
        names = ", ".join(str(value) for value in definition.choices)
        raise UsageError(f"{flag} {value}: unknown value", f"pass one of {names}")
    if definition.low is not None and value < definition.low:
        raise UsageError(f"{flag} {value} must be at least {definition.low:g}", "choose another number")
    if definition.high is not None and value > definition.high:
        raise UsageError(f"{flag} {value} must be at most {definition.high:g}", "choose another number")
