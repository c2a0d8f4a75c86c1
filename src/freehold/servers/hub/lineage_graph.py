"""What a repository was made from and what was made from it, as cards say: a graph in columns.

Source of the words: the metadata ``base_model``, ``base_model_relation`` and ``datasets`` of model cards on
the Hugging Face Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from freehold.core.errors import NotFound
from freehold.hub.commits import Repository
from freehold.hub.repositories import Repositories
from freehold.hub.search_index import SearchQuery
from freehold.servers.hub.addresses import page_path

#: Steps back and forth from the repository that is shown.
_STEPS_BACK, _STEPS_ON = 4, 2
#: Repositories in one picture; of more the nearest are drawn, and the picture says so.
_MOST_NODES = 40
#: Children of one repository that are drawn.
_MOST_CHILDREN = 12


@dataclass
class Node:
    """A repository of a lineage."""

    kind: str
    name: str
    #: its page; "" where it is not here or not for the reader
    address: str
    #: column 0 holds the oldest
    column: int
    row: int = 0


@dataclass(frozen=True)
class Edge:
    """``source`` and ``target`` count nodes."""

    source: int
    target: int
    #: finetune, adapter, quantized, merge, data; "" where no card says
    relation: str


@dataclass
class Graph:
    """A lineage; ``columns`` and ``rows``: how many each way; ``complete``: nothing was left out."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    columns: int = 1
    rows: int = 1
    complete: bool = True


@dataclass(frozen=True)
class Parent:
    """What a card says that its model was made from."""

    kind: str
    name: str
    relation: str


def lineage_graph(
    repositories: Repositories,
    repository: Repository,
    may_see: Callable[[Repository], bool],
    names: tuple[str, ...] | None,
) -> Graph:
    """The graph around a repository.

    ``may_see``: whether the reader may know of a repository; ``names``: whose private repositories they may
    see, None for everyone's.
    """
    walk = _Walk(repositories, may_see, names)
    walk.add(repository.kind, repository.name, repository, 0)
    walk.back(repository)
    walk.forth(repository)
    _lay_out(walk.graph)
    return walk.graph


class _Walk:
    """Goes through cards from one repository and collects the graph."""

    def __init__(
        self,
        repositories: Repositories,
        may_see: Callable[[Repository], bool],
        names: tuple[str, ...] | None,
    ):
        self._repositories, self._may_see, self._names = repositories, may_see, names
        self._numbers: dict[tuple[str, str], int] = {}
        self.graph = Graph()

    def add(
        self, kind: str, name: str, repository: Repository | None, column: int
    ) -> tuple[int | None, bool]:
        """(the number of a node, whether it is new); None where the picture is full."""
        # a card may call a repository by a name that it had before
        key = kind, (repository.name if repository else name).lower()
        if key in self._numbers:
            return self._numbers[key], False
        nodes = self.graph.nodes
        if len(nodes) == _MOST_NODES:
            self.graph.complete = False
            return None, False
        self._numbers[key] = len(nodes)
        address = page_path(kind, repository.name) if repository else ""
        nodes.append(Node(kind, repository.name if repository else name, address, column))
        return self._numbers[key], True

    def back(self, start: Repository) -> None:
        """Follow what cards say that models were made from."""
        left: list[tuple[Repository, int]] = [(start, 0)]
        while left:
            repository, depth = left.pop(0)
            for parent in _parents(repository):
                stored = self._visible(parent)
                number, is_new = self.add(parent.kind, parent.name, stored, -depth - 1)
                self._join(number, self._number_of(repository), parent.relation)
                if not is_new or stored is None:
                    continue
                if depth + 1 < _STEPS_BACK:
                    left.append((stored, depth + 1))
                elif any(_parents(stored)):
                    self.graph.complete = False

    def forth(self, start: Repository) -> None:
        """Follow what was made of models."""
        left: list[tuple[Repository, int]] = [(start, 0)]
        while left:
            repository, depth = left.pop(0)
            children = self._children(repository)
            if len(children) > _MOST_CHILDREN:
                self.graph.complete = False
            for child in children[:_MOST_CHILDREN]:
                number, is_new = self.add(child.kind, child.name, child, depth + 1)
                self._join(self._number_of(repository), number, _relation(child, repository))
                if is_new and depth + 1 < _STEPS_ON:
                    left.append((child, depth + 1))

    def _number_of(self, repository: Repository) -> int:
        return self._numbers[repository.kind, repository.name.lower()]

    def _join(self, source: int | None, target: int | None, relation: str) -> None:
        if source is None or target is None or source == target:
            return
        edge = Edge(source, target, relation)
        if edge not in self.graph.edges:
            self.graph.edges.append(edge)

    def _visible(self, parent: Parent) -> Repository | None:
        try:
            repository = self._repositories.find(parent.kind, parent.name)
        except NotFound:
            return None
        return repository if self._may_see(repository) else None

    def _children(self, repository: Repository) -> list[Repository]:
        tag = {"model": "base_model:", "dataset": "dataset:"}.get(repository.kind)
        if tag is None:
            return []
        query = SearchQuery("model", tags=(tag + repository.name,), names=self._names)
        return self._repositories.list(query, limit=_MOST_CHILDREN + 1)[0]


def _parents(repository: Repository) -> Iterator[Parent]:
    for key, kind in (("base_model", "model"), ("datasets", "dataset")):
        values = repository.card.get(key) or []
        for name in values if isinstance(values, list) else [values]:
            if not isinstance(name, str) or not name:
                continue
            stated = repository.card.get("base_model_relation")
            relation = "data" if kind == "dataset" else stated if isinstance(stated, str) else ""
            yield Parent(kind, name, relation)


def _relation(child: Repository, parent: Repository) -> str:
    key = parent.kind, parent.name.lower()
    return next((of.relation for of in _parents(child) if (of.kind, of.name.lower()) == key), "")


def _lay_out(graph: Graph) -> None:
    """Columns from 0 on, and rows within each in the order of the nodes."""
    least = min(node.column for node in graph.nodes)
    filled: dict[int, int] = {}
    for node in graph.nodes:
        node.column -= least
        node.row = filled.get(node.column, 0)
        filled[node.column] = node.row + 1
    graph.columns, graph.rows = max(filled) + 1, max(filled.values())
