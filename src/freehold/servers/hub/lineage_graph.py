"""What a repository was made from and what was made of it, as its card and others' cards say: a graph laid out in columns.

Source of the words: the metadata ``base_model``, ``base_model_relation`` and ``datasets`` of model cards on the Hugging Face Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from freehold.core.errors import NotFound
from freehold.hub.commits import Repository
from freehold.hub.repositories import Repositories
from freehold.hub.search_index import SearchQuery
from freehold.servers.hub.session import page_path

#: Steps back and forth from the repository that is shown.
_BACK, _ON = 4, 2
#: Repositories in one picture; of more the nearest are drawn, and the picture says so.
_MOST = 40
#: Children of one repository that are drawn.
_CHILDREN = 12


@dataclass
class Node:
    """A repository. ``address`` is nothing where it is not here or not for the asker; column 0 holds the oldest, ``row`` counts within it."""

    kind: str
    name: str
    address: str
    column: int
    row: int = 0


@dataclass(frozen=True)
class Edge:
    """``source`` and ``target`` count nodes; ``how``: finetune, adapter, quantized, merge, data, or nothing where no card says."""

    source: int
    target: int
    how: str


@dataclass
class Graph:
    """Nodes and edges; ``columns`` and ``rows``: how many each way; ``complete``: nothing was left out."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    columns: int = 1
    rows: int = 1
    complete: bool = True


def graph(
    repositories: Repositories,
    found: Repository,
    sees: Callable[[Repository], bool],
    names: tuple[str, ...] | None,
) -> Graph:
    """The graph around a repository. ``sees``: whether the asker may know of one; ``names``: see :class:`freehold.hub.search_index.SearchQuery`."""
    made = Graph()
    places: dict[tuple[str, str], int] = {}

    def place(kind: str, name: str, there: Repository | None, column: int) -> int | None:
        known = places.get((kind, name.lower()))
        if known is None:
            if len(made.nodes) == _MOST:
                made.complete = False
                return None
            known = places[kind, name.lower()] = len(made.nodes)
            made.nodes.append(
                Node(
                    kind, there.name if there else name, page_path(kind, there.name) if there else "", column
                )
            )
        return known

    def join(source: int | None, target: int | None, how: str) -> None:
        if source is not None and target is not None and source != target:
            edge = Edge(source, target, how)
            if edge not in made.edges:
                made.edges.append(edge)

    place(found.kind, found.name, found, 0)
    behind: list[tuple[Repository, int]] = [(found, 0)]
    while behind:
        one, depth = behind.pop(0)
        own = places[one.kind, one.name.lower()]
        for kind, name, how in _parents(one):
            there = _seen(repositories, kind, name, sees)
            new = (kind, name.lower()) not in places
            join(place(kind, name, there, -depth - 1), own, how)
            if new and there is not None and (kind, name.lower()) in places:
                if depth + 1 < _BACK:
                    behind.append((there, depth + 1))
                elif any(_parents(there)):
                    made.complete = False
    ahead: list[tuple[Repository, int]] = [(found, 0)]
    while ahead:
        one, depth = ahead.pop(0)
        own = places[one.kind, one.name.lower()]
        children = _children(repositories, one, names)
        made.complete = made.complete and len(children) <= _CHILDREN
        for child in children[:_CHILDREN]:
            new = (child.kind, child.name.lower()) not in places
            how = next(
                (
                    how
                    for kind, name, how in _parents(child)
                    if (kind, name.lower()) == (one.kind, one.name.lower())
                ),
                "",
            )
            join(own, place(child.kind, child.name, child, depth + 1), how)
            if new and (child.kind, child.name.lower()) in places and depth + 1 < _ON:
                ahead.append((child, depth + 1))
    _lay_out(made)
    return made


def _parents(one: Repository) -> Iterator[tuple[str, str, str]]:
    """(kind, name, how) of what a card says it was made from."""
    for key, kind in (("base_model", "model"), ("datasets", "dataset")):
        values = one.card.get(key) or []
        for name in values if isinstance(values, list) else [values]:
            if isinstance(name, str) and name:
                relation = one.card.get("base_model_relation")
                yield (
                    kind,
                    name,
                    "data" if kind == "dataset" else relation if isinstance(relation, str) else "",
                )


def _children(repositories: Repositories, one: Repository, names: tuple[str, ...] | None) -> list[Repository]:
    tag = {"model": "base_model:", "dataset": "dataset:"}.get(one.kind)
    return (
        repositories.list(SearchQuery("model", tags=(tag + one.name,), names=names), limit=_CHILDREN + 1)[0]
        if tag
        else []
    )


def _seen(
    repositories: Repositories, kind: str, name: str, sees: Callable[[Repository], bool]
) -> Repository | None:
    try:
        there = repositories.find(kind, name)
    except NotFound:
        return None
    return there if sees(there) else None


def _lay_out(made: Graph) -> None:
    """Columns from 0 on, and rows within each in the order of the nodes."""
    least = min(node.column for node in made.nodes)
    filled: dict[int, int] = {}
    for node in made.nodes:
        node.column -= least
        node.row = filled.get(node.column, 0)
        filled[node.column] = node.row + 1
    made.columns, made.rows = max(filled) + 1, max(filled.values())
