"""What a licence allows and requires: the table ``licences.yaml``. An unknown licence is never guessed
at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from freehold.core import yaml_text
from freehold.trust import licence_expression

#: What may be asked of a licence.
POLICIES = ("any", "commercial", "unrestricted")

#: Names that model hubs do not take as ``license``; they are written as ``other`` with ``license_name``.
_NOT_ON_HUBS = {
    "gpl-2.0-or-later",
    "lgpl-2.1-or-later",
    "cc-by-sa-2.0",
    "cc-by-sa-2.5",
    "cc-by-nd-3.0",
    "openmdw",
    "0bsd",
}
_NOT_ON_HUBS |= {
    "qwen",
    "qwen-research",
    "tongyi-qianwen",
    "mrl",
    "mnpl",
    "deepseek",
    "falcon-llm-license",
    "falcon-180b",
}
_NOT_ON_HUBS |= {
    "stabilityai-community",
    "flux-1-dev-non-commercial-license",
    "flux-non-commercial-license",
    "nvidia-open-model-license",
}


@dataclass(frozen=True)
class Terms:
    """A licence's terms. ``commercial``: None where Freehold does not know the licence; then everything else
    is empty.

    ``outputs``: whether answers may train other models (yes, no, conditions, or nothing); ``threshold``:
    users_per_month or revenue_usd_per_year and
    what then; ``naming``: begins_with, shows, only (a word in the component's name without which it does not
    hold); ``notice``: the line that the
    licence itself prescribes, {component} for the component's name; ``becomes``: what a changed version or a
    combination may be under, any licence
    where it is empty; ``trained_on``: what a model trained on it owes, None where that is the same as for
    anything else; ``parts``: where several
    licences apply together, their identifiers.
    """

    licence: str
    name: str = ""
    commercial: bool | None = None
    restrictions: str = ""
    flows_down: bool = False
    changes: bool = True
    becomes: tuple[str, ...] = ()
    not_into: tuple[str, ...] = ()
    no_further_restrictions: bool = False
    outputs: str = ""
    outputs_how: str = ""
    outputs_bind: bool = False
    trained_on: tuple[str, ...] | None = None
    must: tuple[str, ...] = ()
    pass_on: tuple[str, ...] = ()
    may_not: tuple[str, ...] = ()
    threshold: dict[str, int | str] = field(default_factory=dict)
    naming: dict[str, str] = field(default_factory=dict)
    notice: str = ""
    notice_changed: bool = False
    source: str = ""
    dated: str = ""
    read: str = ""
    parts: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the table has this licence."""
        return self.commercial is not None

    @property
    def binds_use(self) -> bool:
        """Whether it adds terms of its own to what others may do, beside a ban on commercial use."""
        return bool(self.flows_down or self.threshold or self.naming or self.restrictions)

    def names(self, component: str) -> dict[str, str]:
        """Its rules on names that hold for a component of this name."""
        only = self.naming.get("only", "")
        return self.naming if not only or only in component.lower() else {}

    @property
    def on_hubs(self) -> bool:
        """Whether model hubs take its identifier as ``license``."""
        return self.known and not self.parts and self.licence not in _NOT_ON_HUBS

    @property
    def limit(self) -> str:
        """The threshold in words, or nothing."""
        if "users_per_month" in self.threshold:
            return f"above {self.threshold['users_per_month']:,} users a month {self.threshold['then']}"
        if "revenue_usd_per_year" in self.threshold:
            dollars, then = self.threshold["revenue_usd_per_year"], self.threshold["then"]
            return f"above {dollars:,} dollars of revenue a year {then}"
        return ""

    @property
    def duties(self) -> str:
        """All of it in one line."""
        if not self.known:
            return "not known to Freehold; read it yourself"
        parts = [
            *self.must,
            *(f"may not {restriction}" for restriction in self.may_not),
            self.limit,
            "; ".join(self.pass_on) and "when passing it on: " + ", ".join(self.pass_on),
        ]
        return "; ".join(part for part in parts if part) or "none"


def _text(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


@cache
def table() -> dict[str, Terms]:
    """All licences by identifier, aliases included."""
    by_name: dict[str, Terms] = {}
    text = (resources.files("freehold.trust") / "licences.yaml").read_text()
    for key, value in yaml_text.load(text, "licences.yaml").items():
        aliases = value.pop("aliases", [])
        for part in ("must", "pass_on", "may_not", "becomes", "not_into"):
            value[part] = tuple(value.get(part, ()))
        if "trained_on" in value:
            value["trained_on"] = tuple(value["trained_on"])
        for part in ("outputs", "dated", "read"):
            value[part] = _text(value.get(part, ""))
        for name in (key, *aliases):
            by_name[name] = Terms(licence=key, **value)
    return by_name


def alternatives(licence: str) -> list[tuple[Terms, ...]]:
    """The ways in which a licence or an expression may be taken, each with all terms that then apply."""
    return [tuple(_named(name) for name in way) for way in licence_expression.choices(licence)]


def terms(licence: str) -> Terms:
    """The terms of a licence identifier or expression, as SPDX or model cards write it.

    Of alternatives (``OR``) those that ask for the least; of several that apply together (``AND``) all of
    them, as one.
    """
    ways = [_together(way) for way in alternatives(licence)]
    return min(ways, key=_demand)


def _named(name: str) -> Terms:
    """The terms of one name, ``NAME WITH EXCEPTION`` included: an exception only ever allows more."""
    name, _, exception = (part.strip() for part in name.partition(" WITH "))
    known = next((table()[key] for key in _spellings(name) if key in table()), Terms(name))
    if exception.lower() == "llvm-exception":  # its second paragraph: no conflict with GPL 2.0
        known = replace(known, not_into=())
    return known


def _spellings(name: str) -> list[str]:
    """What a name may be called in the table, the likeliest first."""
    written = name.strip().lower()
    key = (
        re.sub(r"[\s_,]+", "-", written)
        .removeprefix("licenseref-")
        .removeprefix("scancode-")
        .removeprefix("the-")
    )
    bare = re.sub(r"-licen[sc]e(-agreement)?(?=-|$)", "", key.replace("-version-", "-"))
    for long, short in (
        ("affero-general-public", "agpl"),
        ("lesser-general-public", "lgpl"),
        ("general-public", "gpl"),
    ):
        bare = bare.replace(long, short)
    bare = re.sub(r"-?v(?=\d)", "-", bare.removeprefix("gnu-"))
    bare = re.sub(r"(-\d)(?=$|\+|-only|-or-later)", r"\1.0", bare)
    spellings: list[str] = []
    for each in (
        written,
        key,
        licence_expression.canonical(name).lower(),
        bare,
        bare.removesuffix("-community"),
    ):
        spellings += [each, each.removesuffix("-only"), each.replace("+", "-or-later"), f"{each}-license"]
    named = _by_name().get(_slug(name))
    loose = [each.removesuffix("-or-later") for each in spellings]  # where no later version is told apart
    return [
        each
        for each in dict.fromkeys(
            (*spellings, named or "", *loose, *(each.removesuffix("+") for each in spellings))
        )
        if each
    ]


@cache
def _by_name() -> dict[str, str]:
    return {_slug(known.name): known.licence for known in table().values()}


def _slug(name: str) -> str:
    plain = re.sub(r"[^a-z0-9+.]+", "-", name.lower()).strip("-")
    return re.sub(r"-agreement$", "", re.sub(r"(?<=-)v(?=\d)", "", plain))


def _together(way: tuple[Terms, ...]) -> Terms:
    if len(way) == 1:
        return way[0]
    if unknown := [known for known in way if not known.known]:
        return Terms(
            " AND ".join(known.licence for known in way), parts=tuple(known.licence for known in unknown)
        )

    def every(part: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for known in way for text in getattr(known, part)))

    heaviest = max(way, key=lambda known: ("yes", "conditions", "no").index(known.outputs))
    return Terms(
        licence=" AND ".join(known.licence for known in way),
        name=" and ".join(known.name for known in way),
        commercial=all(known.commercial for known in way),
        parts=tuple(known.licence for known in way),
        restrictions=", ".join(known.restrictions for known in way if known.restrictions),
        flows_down=any(known.flows_down for known in way),
        changes=all(known.changes for known in way),
        no_further_restrictions=any(known.no_further_restrictions for known in way),
        outputs=heaviest.outputs,
        outputs_how=heaviest.outputs_how,
        must=every("must"),
        pass_on=every("pass_on"),
        may_not=every("may_not"),
        threshold=next((known.threshold for known in way if known.threshold), {}),
        source=", ".join(known.source for known in way),
        dated=", ".join(known.dated for known in way),
        read=", ".join(known.read for known in way if known.read) if all(known.read for known in way) else "",
    )


def _demand(known: Terms) -> tuple[bool, ...]:
    return (
        not known.known,
        known.commercial is False,
        not known.changes,
        known.binds_use,
        bool(known.becomes),
    )


def duties(licence: str) -> str:
    """What a licence requires, in a sentence; nothing where none is stated."""
    if not licence:
        return ""
    known = terms(licence)
    use = {True: "commercial use is allowed", False: "no commercial use", None: ""}[known.commercial]
    return "; ".join(part for part in (use, known.duties) if part and part != "none")


def allowed(licence: str, policy: str) -> tuple[bool | None, str]:
    """Whether ``policy`` (any, commercial, unrestricted) allows the licence, None if unknown, and why."""
    if policy == "any":
        return True, "any licence is allowed"
    if not licence:
        return None, "the model states no licence"
    known = terms(licence)
    if known.commercial is None:
        return None, f"the licence {licence!r} is not known to Freehold"
    if policy == "unrestricted":
        return (
            known.commercial and not known.restrictions and not known.threshold,
            f"{known.licence}: {known.duties}",
        )
    return known.commercial, f"{known.licence}: {known.duties}"
