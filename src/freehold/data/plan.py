"""What a guess at the columns says: which column plays which part, and how well it fits."""

from __future__ import annotations

from dataclasses import dataclass, field

from freehold.core.errors import BadData
from freehold.data.names import Rank


class NoColumn(BadData):
    """No column can play a part that is needed."""


@dataclass(frozen=True, order=True)
class Fit:
    """How well a column fits a part, best first."""

    #: Whether all of its values are the same.
    constant: bool
    #: Whether the part's word is not the head of its name.
    beside: bool
    #: How well its name fits.
    rank: Rank
    #: Whether its values are not like those of the part.
    unlike: bool = False


@dataclass
class Plan:
    """A guess."""

    #: Column by part.
    columns: dict[str, str]
    #: The shape of the rows.
    shape: str
    #: Sentences for a person.
    notes: list[str] = field(default_factory=list)
