"""What a model obliges to through all it was made from: licences of base, adapter, merge and data together, and where they clash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from freehold import durable
from freehold.trust.licence import Terms, terms

NOTICE, RESTRICTIONS = "NOTICE.txt", "USE-RESTRICTIONS.txt"


@dataclass(frozen=True)
class Component:
    """Something with a licence of its own. ``kind``: model or dataset; ``changed``: the result is a changed version of it."""

    name: str
    kind: str
    licence: str
    changed: bool = False


@dataclass
class Obligations:
    """In sentences. ``commercial``: None where a licence is not known; ``licences``: identifier -> where its text stands and of when."""

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

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def compute(components: Sequence[Component], name: str = "") -> Obligations:
    """Obligations of the result ``name``. A component whose licence nobody states or Freehold does not know is told, never guessed."""
    found = Obligations(components=list(components))
    known: list[tuple[Component, Terms]] = []
    for one in components:
        own = terms(one.licence)
        if not own.known:
            found.unknown.append(
                f"{one.kind} {one.name}: "
                + (
                    f"the licence {one.licence!r} is not known to Freehold"
                    if one.licence
                    else "no licence is stated"
                )
            )
            continue
        known.append((one, own))
        _add(found, one, own, name)
    if any(own.commercial is False for _, own in known):
        found.commercial = False
    elif found.unknown:
        found.commercial = None
    _conflicts(found, known)
    return found


def _add(found: Obligations, one: Component, own: Terms, name: str) -> None:
    by = f"{own.name} ({one.name})"

    def put(where: list[str], text: str) -> None:
        if text not in where:
            where.append(text)

    found.licences[own.licence] = f"{own.source}, of {own.dated}; " + (
        f"read {own.read}" if own.read else "from general knowledge, not held against the text"
    )
    for text in own.must:
        put(
            found.must,
            f"{text}: {by}" + (f", {own.restrictions}" if own.restrictions.startswith("http") else ""),
        )
    for text in own.may_not:
        put(found.may_not, f"{text}: {by}")
    for text in own.pass_on:
        put(found.pass_on, f"{text}: {by}")
    if own.limit:
        put(found.thresholds, f"{own.limit}: {by}")
    told = {
        "yes": "",
        "no": f"answers may not train other models, {own.outputs_how}",
        "conditions": own.outputs_how,
    }[own.outputs]
    if told and one.kind == "model":
        put(found.outputs, f"{told}: {by}")
    begins, shows = own.naming.get("begins_with", ""), own.naming.get("shows", "")
    if begins and one.changed:
        put(found.naming, f"the name of a changed version begins with {begins!r}: {by}")
        if name and not name.rpartition("/")[2].lower().startswith(begins.lower()):
            put(
                found.conflicts,
                f"{name} is named otherwise than {by} wants: its name must begin with {begins!r} when it is shared",
            )
    if shows:
        put(found.naming, f"show {shows!r} where it is offered: {by}")


def _conflicts(found: Obligations, known: list[tuple[Component, Terms]]) -> None:
    for one, own in known:
        if one.changed and not own.changes:
            found.conflicts.append(
                f"{one.name} was changed, and {own.name} lets no changed version be shared; keep the result to yourselves"
            )
        for other, theirs in known:
            if own.no_further_restrictions and theirs.flows_down:
                found.conflicts.append(
                    f"{own.name} ({one.name}) forbids further restrictions, and {theirs.name} ({other.name}) demands them; the result cannot be shared"
                )
            if own.same_licence and theirs.same_licence and own.licence < theirs.licence:
                found.conflicts.append(
                    f"{own.name} ({one.name}) and {theirs.name} ({other.name}) each want the result under themselves alone; it cannot be shared"
                )
            if (
                own.same_licence
                and theirs.commercial is False
                and own.commercial
                and not own.no_further_restrictions
            ):
                found.conflicts.append(
                    f"{own.name} ({one.name}) cannot be passed on under the ban on commerce of {theirs.name} ({other.name})"
                )
            if (
                one.kind == "model"
                and other.kind == "model"
                and other is not one
                and own.outputs == "no"
                and theirs.licence != own.licence
                and not one.changed
                and other.changed
            ):
                found.conflicts.append(
                    f"answers of {one.name} taught {other.name}, which {own.name} does not allow"
                )


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
    prescribed = [own.notice for one in found.components if (own := terms(one.licence)).notice]
    if prescribed:
        lines += ["", *dict.fromkeys(prescribed)]
    shown = [
        own.naming["shows"] for one in found.components if (own := terms(one.licence)).naming.get("shows")
    ]
    lines += ["", *dict.fromkeys(shown)] if shown else []
    return "\n".join(lines) + "\n"


def restrictions(found: Obligations, name: str) -> str:
    """The text of USE-RESTRICTIONS, which binds whoever receives the result; nothing where no licence restricts use."""
    binding = [(one, own) for one in found.components if (own := terms(one.licence)).flows_down]
    if not binding:
        return ""
    lines = [
        f"{name} may be used only within these restrictions, and whoever passes it or a changed version of it on must pass them on too:",
        "",
    ]
    for one, own in binding:
        lines.append(
            f"- {own.name}, which {one.name} is under ({own.source}, of {own.dated}): {own.restrictions}"
        )
        lines += [f"  may not: {text}" for text in own.may_not]
    lines += [
        "",
        "The licences themselves hold, not this summary. Add their texts, from the addresses above, before you pass it on.",
    ]
    return "\n".join(lines) + "\n"


def write(found: Obligations, name: str, folder: Path) -> list[Path]:
    """Write what the licences want to go with the result into a folder; the files."""
    texts = {NOTICE: notice(found, name), RESTRICTIONS: restrictions(found, name)}
    written = [folder / file for file, text in texts.items() if text]
    for path in written:
        durable.write_atomically(path, texts[path.name])
    return written
