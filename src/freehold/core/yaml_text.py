"""YAML from anyone, read within limits: the one function that loads it.

YAML can say much with few letters: aliases repeat what an anchor names, and their repetitions can be
repeated; nesting, long numbers and directives cost more than their length. So the events of the text are
counted first, as if every alias were written out, and only what stays within the limits is built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from freehold.core.errors import BadData

#: Characters of a text; values in it, and characters of those, with every alias written out; levels of
#: nesting; characters of a number.
MOST_CHARACTERS, MOST_VALUES, MOST_WRITTEN_OUT, MOST_LEVELS, MOST_DIGITS = 2 << 20, 100_000, 4 << 20, 64, 40
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq"))
#: Each directive is compared with all before it.
_DIRECTIVE = re.compile("(?:^|[\n\r\x85\u2028\u2029])\ufeff*%")


def load(text: str, where: str) -> Any:
    """The value of one YAML document of plain values. Raises BadData, naming ``where``, for what is not one
    or exceeds a limit.
    """
    try:
        text.encode()
        _count(text)
        return yaml.load(text, _Loader)
    except _Excess as error:
        reason = str(error)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        reason = at + (error.problem or error.context or "it cannot be parsed")
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        reason = " ".join(str(error).split())
    raise BadData(f"{where} is not valid YAML: {reason[:300]}", "correct it there") from None


class _Excess(ValueError):
    """Something beyond the limits, at a line."""

    def __init__(self, what: str, event: yaml.Event):
        super().__init__(f"line {event.start_mark.line + 1}: {what}")


class _Loader(yaml.CSafeLoader):
    """The safe loader with short numbers only: long ones take time beyond their length."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return super().construct_yaml_int(_short(node))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        return super().construct_yaml_float(_short(node))


for _name in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", getattr(_Loader, f"construct_yaml_{_name}"))


def _short(node: yaml.ScalarNode) -> yaml.ScalarNode:
    if len(node.value) > MOST_DIGITS:
        raise yaml.constructor.ConstructorError(
            None, None, f"a number has more than {MOST_DIGITS} characters", node.start_mark
        )
    return node


@dataclass
class _Size:
    """What a value comes to with its aliases written out."""

    values: int = 0
    characters: int = 0

    def add(self, other: _Size) -> None:
        self.values += other.values
        self.characters += other.characters


@dataclass
class _Level:
    """A sequence, mapping or document whose end has not come. ``keys``: of a mapping, until now; None for
    others.
    """

    anchor: str | None = None
    size: _Size = field(default_factory=_Size)
    keys: set[str] | None = None
    children: int = 0


def _count(text: str) -> None:
    """Raises _Excess, YAMLError for a text that is not one document within the limits."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, and at most {MOST_CHARACTERS:,} are allowed")
    if _DIRECTIVE.search(text):
        raise ValueError("a line begins with %, and directives are not allowed")
    levels, anchors = [_Level()], dict[str, _Size]()
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise _Excess(f"the alias {event.anchor[:40]!r} has no complete anchor before it", event)
            _take(levels, event, anchors[event.anchor])
        elif isinstance(event, yaml.ScalarEvent):
            _check_tag(event)
            size = _Size(1, len(event.value))
            if event.anchor:
                anchors[event.anchor] = size
            _take(levels, event, size)
        elif isinstance(event, yaml.CollectionStartEvent):
            _check_tag(event)
            levels.append(
                _Level(event.anchor, _Size(1), set() if isinstance(event, yaml.MappingStartEvent) else None)
            )
            if len(levels) > MOST_LEVELS:
                raise _Excess(f"it is nested more than {MOST_LEVELS - 1} levels deep", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = levels.pop()
            if ended.anchor:
                anchors[ended.anchor] = ended.size
            _take(levels, event, ended.size)


def _take(levels: list[_Level], event: yaml.Event, size: _Size) -> None:
    """Count a value to the level that it is in. Raises _Excess."""
    level = levels[-1]
    level.size.add(size)
    level.children += 1
    if level.keys is not None and level.children % 2 and isinstance(event, yaml.ScalarEvent):
        if event.value in level.keys and event.value != "<<":
            raise _Excess(f"the key {event.value[:40]!r} appears twice", event)
        level.keys.add(event.value)
    if sum(outer.size.values for outer in levels) > MOST_VALUES:
        raise _Excess(f"it holds more than {MOST_VALUES:,} values, with its aliases written out", event)
    if sum(outer.size.characters for outer in levels) > MOST_WRITTEN_OUT:
        raise _Excess(
            f"it holds more than {MOST_WRITTEN_OUT:,} characters, with its aliases written out", event
        )


def _check_tag(event: Any) -> None:
    if event.tag is not None and event.tag != "!" and event.tag not in _TAGS:
        raise _Excess(f"the tag {event.tag[:60]!r} is not allowed", event)
