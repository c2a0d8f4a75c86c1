"""What a model obliges to through all it was made from: licences of base, adapter, merge and data together,
and where they clash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, product
from pathlib import Path

from freehold.core import atomic_files
from freehold.trust import licence_compatibility, licence_expression
from freehold.trust.licence import Terms, alternatives, terms
from freehold.trust.licence_compatibility import Part

NOTICE, RESTRICTIONS = "NOTICE.txt", "USE-RESTRICTIONS.txt"
ROLES = ("base", "adapter", "merged", "teacher", "data")
_MOST_WAYS = 256  # of taking several expressions with OR; more would be no longer looked through


@dataclass(frozen=True)
class Component:
    """Something with a licence of its own. ``kind``: model or dataset; ``changed``: the result is a changed
    version of it.

    ``role``: one of ROLES; where it is empty, rows are data, a model that stays as it is beside one that was
    changed is a teacher (its answers taught
    the other), and any other model is a base. ``how``: in words, how it was changed.
    """

    name: str
    kind: str
    licence: str
    changed: bool = False
    role: str = ""
    how: str = ""


@dataclass
class Obligations:
    """In sentences. ``commercial``: None where a licence is not known; ``licences``: identifier -> where its
    text stands and of when.

    ``result``: licences that the result may be under where a part leaves no free choice; ``chosen``: which of
    several offered licences was taken.
    """

    commercial: bool | None = True
    must: list[str] = field(default_factory=list)
    may_not: list[str] = field(default_factory=list)
    pass_on: list[str] = field(default_factory=list)
    thresholds: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    naming: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    licences: dict[str, str] = field(default_factory=dict)
    result: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class _Term:
    """One licence that holds for one component."""

    component: Component
    role: str
    own: Terms

    @property
    def by(self) -> str:
        return f"{self.own.name} ({self.component.name})"

    @property
    def within(self) -> bool:
        """Whether its terms reach into the result: a teacher's only where they make its pupils
        derivatives.
        """
        return self.role != "teacher" or self.own.outputs_bind

    @property
    def answers(self) -> bool:
        """Whether what it answered was learnt from: a teacher, or rows under a model's licence."""
        return self.role in ("teacher", "data") and self.own.outputs != "yes"


def compute(components: Sequence[Component], name: str = "", licence: str = "") -> Obligations:
    """Obligations of the result ``name``, to be offered under ``licence`` where that is given.

    A component whose licence nobody states or Freehold does not know is told, never guessed. Where a
    component leaves a choice (``MIT OR GPL-2.0-only``),
    the one with the fewest conflicts is taken.
    """
    several = [_ways(one) for one in components]
    tries = (_compute(list(way), name, licence) for way in islice(product(*several), _MOST_WAYS))
    best = min(tries, key=_trouble)
    best.chosen = [
        f"{one.name} is offered under {one.licence}, and taken under {taken.licence}"
        for one, taken in zip(components, best.components, strict=True)
        if one.licence != taken.licence
    ]
    return best


def _ways(one: Component) -> list[Component]:
    ways = licence_expression.choices(one.licence)
    return [one] if len(ways) < 2 else [replace(one, licence=" AND ".join(way)) for way in ways]


def _trouble(found: Obligations) -> tuple[int, int, bool, int, int]:
    """The less, the better a choice of licences."""
    duties = len(found.must) + len(found.may_not) + len(found.thresholds) + len(found.pass_on)
    return len(found.conflicts), len(found.unknown), found.commercial is False, len(found.result), duties


def _compute(components: list[Component], name: str, licence: str) -> Obligations:
    found = Obligations(components=components)
    held: list[_Term] = []
    for one in components:
        for own in alternatives(one.licence)[0]:
            if own.known:
                held.append(_Term(one, _role(one, components), own))
            else:
                _put(found.unknown, f"{one.kind} {one.name}: {_not_known(own.licence)}")
    if any(term.own.commercial is False for term in held):
        found.commercial = False
    elif found.unknown:
        found.commercial = None
    for term in held:
        _add(found, term)
        _names(found, term, name)
    _conflicts(found, held)
    parts = [Part(term.component.name, term.own, term.within) for term in held if not _leaves_free(term)]
    found.conflicts += licence_compatibility.clashes(parts)
    found.result = licence_compatibility.outcome(parts)
    if licence and (offer := terms(licence)).known:
        found.conflicts += licence_compatibility.offered(parts, offer)
    elif licence:
        _put(found.unknown, f"the result: {_not_known(licence)}")
    return found


def _not_known(licence: str) -> str:
    return f"the licence {licence!r} is not known to Freehold" if licence else "no licence is stated"


def _put(where: list[str], text: str) -> None:
    if text not in where:
        where.append(text)


def _role(one: Component, components: Sequence[Component]) -> str:
    if one.role or one.kind in ROLES:
        return one.role or one.kind
    if one.kind == "dataset":
        return "data"
    others = any(other.changed and other.kind != "dataset" for other in components if other is not one)
    return "teacher" if others and not one.changed else "base"


def _leaves_free(term: _Term) -> bool:
    """Whether the licence of rows says that a model made from them is free of its terms."""
    return term.role == "data" and term.own.trained_on is not None


def _add(found: Obligations, term: _Term) -> None:
    own, by = term.own, term.by
    found.licences[own.licence] = f"{own.source}, of {own.dated}; " + (
        f"read {own.read}" if own.read else "from general knowledge, not held against the text"
    )
    address = f", {own.restrictions}" if own.restrictions.startswith("http") else ""
    for text in own.must:
        _put(found.must, f"{text}: {by}{address}")
    for text in own.may_not:
        _put(found.may_not, f"{text}: {by}")
    for text in (own.trained_on or ()) if _leaves_free(term) else own.pass_on:
        _put(found.pass_on, f"{text}: {by}")
    if own.limit:
        _put(found.thresholds, f"{own.limit}: {by}")
    told = (
        f"answers may not train other models, {own.outputs_how}" if own.outputs == "no" else own.outputs_how
    )
    if own.outputs != "yes" and (term.component.kind != "dataset" or term.answers):
        _put(found.outputs, f"{told}: {by}")


def _names(found: Obligations, term: _Term, name: str) -> None:
    """Duties on names: for changed versions and, where a licence says so, for what answers taught."""
    rules = term.own.names(term.component.name)
    begins, shows = rules.get("begins_with", ""), rules.get("shows", "")
    if begins and (term.component.changed or term.answers):
        what = "a changed version" if term.component.changed else "a model taught by its answers"
        _put(found.naming, f"the name of {what} begins with {begins!r}: {term.by}")
        if name and not _plain(name.rpartition("/")[2]).startswith(_plain(begins)):
            told = f"{name} is named otherwise than {term.by} wants"
            _put(found.conflicts, f"{told}: its name must begin with {begins!r} when it is shared")
    if shows:
        _put(found.naming, f"show {shows!r} where it is offered: {term.by}")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in " -_")


def _conflicts(found: Obligations, held: list[_Term]) -> None:
    for term in held:
        made_into = term.component.changed or (
            term.role in ("data", "adapter", "merged") and _has_model(found)
        )
        if made_into and not term.own.changes and term.role != "teacher":
            was = "was changed" if term.component.changed else "went into the result"
            told = f"{term.component.name} {was}, and {term.own.name} lets no changed version be shared"
            _put(found.conflicts, f"{told}; keep the result to yourselves")
        for pupil in _pupils(term, held):
            told = f"answers of {term.component.name} taught {pupil.component.name}, which {term.own.name}"
            _put(found.conflicts, f"{told} does not allow: {term.own.outputs_how}")


def _has_model(found: Obligations) -> bool:
    return any(one.kind != "dataset" and one.role != "data" for one in found.components)


def _pupils(term: _Term, held: list[_Term]) -> Iterator[_Term]:
    """Models under other licences that learnt from answers that must not be learnt from."""
    if term.answers and term.own.outputs == "no":
        for other in held:
            if other.role not in ("teacher", "data") and other.own.licence != term.own.licence:
                yield other


def notice(found: Obligations, name: str) -> str:
    """The text of NOTICE: what the result is made from and the lines that licences prescribe."""
    lines = [f"{name}", "", "Made from:"]
    for one in found.components:
        own = terms(one.licence)
        lines.append(
            f"- {one.kind} {one.name}: {own.name or one.licence or 'no licence stated'}"
            + (f", {own.source}" if own.source else "")
            + ("; changed" if one.changed else "")
        )
    held = [(one, own) for one in found.components for own in alternatives(one.licence)[0]]
    prescribed = [own.notice.replace("{component}", one.name) for one, own in held if own.notice]
    changes = [_said_changed(one, own, name) for one, own in held if one.changed and own.notice_changed]
    shown = [shows for one, own in held if (shows := own.names(one.name).get("shows"))]
    for block in (prescribed, changes, shown):
        lines += ["", *dict.fromkeys(block)] if block else []
    return "\n".join(lines) + "\n"


def _said_changed(one: Component, own: Terms, name: str) -> str:
    how = one.how or "its weights were changed"
    return (
        f"{name} is a modified version of {one.name}, which the notice of the {own.name} above is for: {how}."
    )


def restrictions(found: Obligations, name: str) -> str:
    """The text of USE-RESTRICTIONS, which binds whoever receives the result; nothing where no licence
    restricts use.
    """
    held = [(one, own) for one in found.components for own in alternatives(one.licence)[0]]
    binding = [(one, own) for one, own in held if own.flows_down]
    if not binding:
        return ""
    lines = [
        f"{name} may be used only within these restrictions, and whoever passes it or a changed version of "
        "it on must pass them on too:",
        "",
    ]
    for one, own in binding:
        lines.append(
            f"- {own.name}, which {one.name} is under ({own.source}, of {own.dated}): {own.restrictions}"
        )
        lines += [f"  may not: {text}" for text in own.may_not]
    lines += [
        "",
        "The licences themselves hold, not this summary. Add their texts, from the addresses above, before "
        "you pass it on.",
    ]
    return "\n".join(lines) + "\n"


def texts(found: Obligations, name: str) -> dict[str, str]:
    """What the licences want to go with the result: the texts of NOTICE and, where a licence restricts use,
    USE-RESTRICTIONS.
    """
    every = {NOTICE: notice(found, name), RESTRICTIONS: restrictions(found, name)}
    return {file: text for file, text in every.items() if text}


def write(found: Obligations, name: str, folder: Path) -> list[Path]:
    """Write what the licences want to go with the result into a folder; the files."""
    named = texts(found, name)
    for file, text in named.items():
        atomic_files.write_atomically(folder / file, text)
    return [folder / file for file in named]
