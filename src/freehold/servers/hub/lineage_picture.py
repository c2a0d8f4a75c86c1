"""A lineage's graph with the places of its boxes and lines, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

from freehold.servers.hub.lineage_graph import Graph, Node

#: A node's box, and the room between two of them.
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 230, 46, 110, 22
#: Characters of a name in a box.
_MOST_CHARACTERS = 30
#: Room around the picture, for the lines of its boxes.
_MARGIN = 2


@dataclass(frozen=True)
class Box:
    """A repository in the picture; ``is_shown``: the one whose page it is."""

    kind: str
    name: str
    short_name: str
    address: str
    is_shown: bool
    x: int
    y: int
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class Line:
    """From one box to the next; ``path``: as SVG writes it; ``x``, ``y``: where its relation is written."""

    path: str
    relation: str
    x: int
    y: int


@dataclass(frozen=True)
class Step:
    """A line in words."""

    source: Box
    relation: str
    target: Box


@dataclass(frozen=True)
class Picture:
    """The picture; ``complete``: nothing was left out."""

    boxes: list[Box]
    lines: list[Line]
    steps: list[Step]
    width: int
    height: int
    complete: bool


def lineage_picture(graph: Graph) -> Picture:
    """The picture of a graph whose first node is the repository that is shown."""
    boxes = [_box(node, is_shown=number == 0) for number, node in enumerate(graph.nodes)]
    steps = [Step(boxes[edge.source], edge.relation, boxes[edge.target]) for edge in graph.edges]
    return Picture(
        boxes,
        [_line(step) for step in steps],
        steps,
        graph.columns * (_WIDTH + _ACROSS) - _ACROSS + 2 * _MARGIN,
        graph.rows * (_HEIGHT + _DOWN) - _DOWN + 2 * _MARGIN,
        graph.complete,
    )


def _box(node: Node, *, is_shown: bool) -> Box:
    name = node.name
    short_name = name if len(name) <= _MOST_CHARACTERS else name[: _MOST_CHARACTERS - 1] + "\u2026"
    x = _MARGIN + node.column * (_WIDTH + _ACROSS)
    y = _MARGIN + node.row * (_HEIGHT + _DOWN)
    return Box(node.kind, name, short_name, node.address, is_shown, x, y)


def _line(step: Step) -> Line:
    x1, y1 = step.source.x + _WIDTH, step.source.y + _HEIGHT // 2
    x2, y2 = step.target.x, step.target.y + _HEIGHT // 2
    bend = (x2 - x1) // 2
    path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    return Line(path, step.relation, x1 + bend, (y1 + y2) // 2 - 5)
