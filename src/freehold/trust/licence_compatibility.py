"""How the licences of parts combine: which licences the whole may be under, and which parts cannot go
together.

Parts are either in the whole (base, adapter, merged model, rows) or only taught it with their answers
(teacher). What is in the whole binds it:
a licence that wants derivatives under itself names what the whole may become, and what others add must fit in
there.
Sources: GPL 3.0 sections 7, 10 and 13; GPL 2.0 sections 6 and 7; MPL 2.0 sections 1.12 and 3.3; LGPL 2.1
section 3; ODbL 1.0 section 4.5; CC BY-SA 4.0
section 3(b) with the list of compatible licences; the Free Software Foundation's notes on Apache 2.0 with GPL
2.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from freehold.trust.licence import Terms, table


@dataclass(frozen=True)
class Part:
    """A part under one licence. ``within``: it is in the whole; else only its answers taught it."""

    name: str
    terms: Terms
    within: bool

    @property
    def label(self) -> str:
        """The licence's name with the part's."""
        return f"{self.terms.name} ({self.name})"


def outcome(parts: Sequence[Part]) -> list[str]:
    """Identifiers of the licences the whole may be under; empty where any will do, or where none is left."""
    bound = [part for part in parts if part.within and part.terms.becomes]
    if not bound:
        return []
    left = [name for name in _common(bound) if all(fits(part, table()[name]) for part in parts)]
    theirs = [name for name in left if any(name == part.terms.licence for part in bound)]
    return theirs or left


def clashes(parts: Sequence[Part]) -> list[str]:
    """Why parts cannot go together, a sentence for each pair, or one for all where no pair is at fault."""
    reasons: list[str] = []
    bound = [part for part in parts if part.within and part.terms.becomes]
    for position, part in enumerate(bound):
        for other in bound[position + 1 :]:
            if not _common([part, other]):
                reasons.append(
                    f"{part.label} and {other.label} each require the result to be under their own terms "
                    "or terms that they name; no licence satisfies both, so it cannot be shared"
                )
        reasons += [why for other in parts if other is not part and (why := _against(part, other))]
    if bound and not reasons and not outcome(parts):
        labels = ", ".join(part.label for part in parts)
        reasons.append(f"there is no licence under which the result could be shared with all of {labels}")
    return list(dict.fromkeys(reasons))


def offered(parts: Sequence[Part], licence: Terms) -> list[str]:
    """Why the whole cannot be offered under a licence."""
    reasons: list[str] = []
    for part in parts:
        if part.within and part.terms.becomes and licence.licence not in part.terms.becomes:
            allowed = " or ".join(table()[name].name for name in part.terms.becomes)
            reasons.append(f"{licence.name} is not possible for the result: {part.label} requires {allowed}")
        elif part.terms.commercial is False and licence.commercial:
            reasons.append(f"{licence.name} allows commercial use, which {part.label} does not")
        elif not fits(part, licence):
            reasons.append(
                f"{licence.name} is not possible for the result: {part.label} adds terms that this licence "
                "does not allow"
            )
    return list(dict.fromkeys(reasons))


def fits(part: Part, licence: Terms) -> bool:
    """Whether a part can go into a whole that is under ``licence``."""
    if licence.licence in part.terms.becomes:
        return True
    if part.within and licence.licence in part.terms.not_into:
        return False
    return not (licence.no_further_restrictions and _adds(part, licence))


def _adds(part: Part, licence: Terms) -> str:
    """What a part adds to a licence, in words; nothing where it adds nothing."""
    if part.terms.commercial is False and licence.commercial:
        return "a ban on commercial use"
    if part.within and part.terms.binds_use:
        return "terms of its own on use"
    if part.within and not part.terms.changes:
        return "a ban on changes"
    return ""


def _common(bound: Sequence[Part]) -> list[str]:
    sets = [set(part.terms.becomes) for part in bound]
    left = reduce(set.intersection, sets)
    return [name for name in bound[0].terms.becomes if name in left]


def _against(part: Part, other: Part) -> str:
    """Why ``other`` cannot go into any whole that ``part`` may become; nothing where it can."""
    wholes = _common([part, other]) if other.within and other.terms.becomes else list(part.terms.becomes)
    if not wholes or any(fits(other, table()[name]) for name in wholes):
        return ""
    added = next((why for name in wholes if (why := _adds(other, table()[name]))), "")
    if added:
        reason = f"{part.label} forbids further restrictions, and {other.label} brings {added}"
        return f"{reason}; the result cannot be shared"
    return f"{other.label} has terms that do not fit {part.label}; the result cannot be shared"
