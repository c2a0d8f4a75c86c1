"""The obligations a model inherits from everything it was made from: licences of base, adapter, merge and
data together, and where they clash.
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
    several = [_ways(component) for component in components]
    tries = (_compute(list(way), name, licence) for way in islice(product(*several), _MOST_WAYS))
    best = min(tries, key=_trouble)
    best.chosen = [
        f"{component.name} is offered under {component.licence}, and used here under {taken.licence}"
        for component, taken in zip(components, best.components, strict=True)
        if component.licence != taken.licence
    ]
    return best


def _ways(component: Component) -> list[Component]:
    ways = licence_expression.choices(component.licence)
    return [component] if len(ways) < 2 else [replace(component, licence=" AND ".join(way)) for way in ways]


def _trouble(result: Obligations) -> tuple[int, int, bool, int, int]:
    """The less, the better a choice of licences."""
    duties = len(result.must) + len(result.may_not) + len(result.thresholds) + len(result.pass_on)
    return len(result.conflicts), len(result.unknown), result.commercial is False, len(result.result), duties


def _compute(components: list[Component], name: str, licence: str) -> Obligations:
    result = Obligations(components=components)
    held: list[_Term] = []
    for component in components:
        for known in alternatives(component.licence)[0]:
            if known.known:
                held.append(_Term(component, _role(component, components), known))
            else:
                _put(result.unknown, f"{component.kind} {component.name}: {_not_known(known.licence)}")
    if any(term.own.commercial is False for term in held):
        result.commercial = False
    elif result.unknown:
        result.commercial = None
    for term in held:
        _add(result, term)
        _names(result, term, name)
    _conflicts(result, held)
    parts = [Part(term.component.name, term.own, term.within) for term in held if not _leaves_free(term)]
    result.conflicts += licence_compatibility.clashes(parts)
    result.result = licence_compatibility.outcome(parts)
    if licence and (offer := terms(licence)).known:
        result.conflicts += licence_compatibility.offered(parts, offer)
    elif licence:
        _put(result.unknown, f"the result: {_not_known(licence)}")
    return result


def _not_known(licence: str) -> str:
    return f"the licence {licence!r} is not known to Freehold" if licence else "no licence is stated"


def _put(where: list[str], text: str) -> None:
    if text not in where:
        where.append(text)


def _role(component: Component, components: Sequence[Component]) -> str:
    if component.role or component.kind in ROLES:
        return component.role or component.kind
    if component.kind == "dataset":
        return "data"
    others = any(other.changed and other.kind != "dataset" for other in components if other is not component)
    return "teacher" if others and not component.changed else "base"


def _leaves_free(term: _Term) -> bool:
    """Whether the licence of rows says that a model made from them is free of its terms."""
    return term.role == "data" and term.own.trained_on is not None


def _add(result: Obligations, term: _Term) -> None:
    known, by = term.own, term.by
    result.licences[known.licence] = f"{known.source}, of {known.dated}; " + (
        f"read {known.read}" if known.read else "from general knowledge, not checked against the text"
    )
    address = f", {known.restrictions}" if known.restrictions.startswith("http") else ""
    for text in known.must:
        _put(result.must, f"{text}: {by}{address}")
    for text in known.may_not:
        _put(result.may_not, f"{text}: {by}")
    for text in (known.trained_on or ()) if _leaves_free(term) else known.pass_on:
        _put(result.pass_on, f"{text}: {by}")
    if known.limit:
        _put(result.thresholds, f"{known.limit}: {by}")
    sentence = (
        f"answers may not train other models, {known.outputs_how}"
        if known.outputs == "no"
        else known.outputs_how
    )
    if known.outputs != "yes" and (term.component.kind != "dataset" or term.answers):
        _put(result.outputs, f"{sentence}: {by}")


def _names(result: Obligations, term: _Term, name: str) -> None:
    """Duties on names: for changed versions and, where a licence says so, for what answers taught."""
    rules = term.own.names(term.component.name)
    begins, shows = rules.get("begins_with", ""), rules.get("shows", "")
    if begins and (term.component.changed or term.answers):
        what = "a changed version" if term.component.changed else "a model taught by its answers"
        _put(result.naming, f"the name of {what} begins with {begins!r}: {term.by}")
        if name and not _plain(name.rpartition("/")[2]).startswith(_plain(begins)):
            sentence = f"{name} does not have the name that {term.by} requires"
            _put(result.conflicts, f"{sentence}: its name must begin with {begins!r} when it is shared")
    if shows:
        _put(result.naming, f"show {shows!r} where it is offered: {term.by}")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in " -_")


def _conflicts(result: Obligations, held: list[_Term]) -> None:
    for term in held:
        made_into = term.component.changed or (
            term.role in ("data", "adapter", "merged") and _has_model(result)
        )
        if made_into and not term.own.changes and term.role != "teacher":
            was = "was changed" if term.component.changed else "went into the result"
            sentence = (
                f"{term.component.name} {was}, and {term.own.name} does not allow sharing changed versions"
            )
            _put(result.conflicts, f"{sentence}; do not share the result")
        for pupil in _pupils(term, held):
            sentence = (
                f"answers of {term.component.name} taught {pupil.component.name}, which {term.own.name}"
            )
            _put(result.conflicts, f"{sentence} does not allow: {term.own.outputs_how}")


def _has_model(result: Obligations) -> bool:
    return any(component.kind != "dataset" and component.role != "data" for component in result.components)


def _pupils(term: _Term, held: list[_Term]) -> Iterator[_Term]:
    """Models under other licences that learnt from answers that must not be learnt from."""
    if term.answers and term.own.outputs == "no":
        for other in held:
            if other.role not in ("teacher", "data") and other.own.licence != term.own.licence:
                yield other


def notice(result: Obligations, name: str) -> str:
    """The text of NOTICE: what the result is made from and the lines that licences prescribe."""
    lines = [f"{name}", "", "Made from:"]
    for component in result.components:
        known = terms(component.licence)
        lines.append(
            f"- {component.kind} {component.name}: {known.name or component.licence or 'no licence stated'}"
            + (f", {known.source}" if known.source else "")
            + ("; changed" if component.changed else "")
        )
    held = [
        (component, known) for component in result.components for known in alternatives(component.licence)[0]
    ]
    prescribed = [
        known.notice.replace("{component}", component.name) for component, known in held if known.notice
    ]
    changes = [
        _said_changed(component, known, name)
        for component, known in held
        if component.changed and known.notice_changed
    ]
    shown = [shows for component, known in held if (shows := known.names(component.name).get("shows"))]
    for block in (prescribed, changes, shown):
        lines += ["", *dict.fromkeys(block)] if block else []
    return "\n".join(lines) + "\n"


def _said_changed(component: Component, known: Terms, name: str) -> str:
    how = component.how or "its weights were changed"
    licence = f"the notice of the {known.name} above"
    return f"{name} is a modified version of {component.name}, which {licence} is for: {how}."


def restrictions(result: Obligations, name: str) -> str:
    """The text of USE-RESTRICTIONS, which binds whoever receives the result; nothing where no licence
    restricts use.
    """
    held = [
        (component, known) for component in result.components for known in alternatives(component.licence)[0]
    ]
    binding = [(component, known) for component, known in held if known.flows_down]
    if not binding:
        return ""
    lines = [
        f"{name} may be used only within these restrictions, and whoever passes on the model or a changed "
        "version must pass on these restrictions too:",
        "",
    ]
    for component, known in binding:
        lines.append(
            f"- {known.name}, which {component.name} is under ({known.source}, of {known.dated}): "
            f"{known.restrictions}"
        )
        lines += [f"  may not: {text}" for text in known.may_not]
    lines += [
        "",
        "The licences themselves are binding, not this summary. Add their texts, from the addresses above, "
        "before "
        "you pass it on.",
    ]
    return "\n".join(lines) + "\n"


def texts(result: Obligations, name: str) -> dict[str, str]:
    """What the licences want to go with the result: the texts of NOTICE and, where a licence restricts use,
    USE-RESTRICTIONS.
    """
    every = {NOTICE: notice(result, name), RESTRICTIONS: restrictions(result, name)}
    return {file: text for file, text in every.items() if text}


def write(result: Obligations, name: str, folder: Path) -> list[Path]:
    """Write what the licences want to go with the result into a folder; the files."""
    named = texts(result, name)
    for file, text in named.items():
        atomic_files.write_atomically(folder / file, text)
    return [folder / file for file in named]
