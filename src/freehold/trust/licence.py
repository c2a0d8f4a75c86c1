"""What a licence allows and obliges to: the table ``licences.yaml``. An unknown licence is never guessed at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

#: What may be asked of a licence.
POLICIES = ("any", "commercial", "unrestricted")


@dataclass(frozen=True)
class Terms:
    """A licence's terms. ``commercial``: None where Freehold does not know the licence; then everything else is empty.

    ``outputs``: whether answers may train other models (yes, no, conditions, or nothing); ``threshold``: users_per_month or revenue_usd_per_year and
    what then; ``naming``: begins_with, shows; ``notice``: the line that the licence itself prescribes.
    """

    licence: str
    name: str = ""
    commercial: bool | None = None
    restrictions: str = ""
    flows_down: bool = False
    changes: bool = True
    same_licence: bool = False
    no_further_restrictions: bool = False
    outputs: str = ""
    outputs_how: str = ""
    must: tuple[str, ...] = ()
    pass_on: tuple[str, ...] = ()
    may_not: tuple[str, ...] = ()
    threshold: dict[str, Any] = field(default_factory=dict)
    naming: dict[str, str] = field(default_factory=dict)
    notice: str = ""
    source: str = ""
    dated: str = ""
    read: str = ""

    @property
    def known(self) -> bool:
        """Whether the table has this licence."""
        return self.commercial is not None

    @property
    def limit(self) -> str:
        """The threshold in words, or nothing."""
        if "users_per_month" in self.threshold:
            return f"above {self.threshold['users_per_month']:,} users a month {self.threshold['then']}"
        if "revenue_usd_per_year" in self.threshold:
            return f"above {self.threshold['revenue_usd_per_year']:,} dollars of revenue a year {self.threshold['then']}"
        return ""

    @property
    def duties(self) -> str:
        """All of it in one line."""
        if not self.known:
            return "not known to Freehold; read it yourself"
        parts = [
            *self.must,
            *(f"may not {one}" for one in self.may_not),
            self.limit,
            "; ".join(self.pass_on) and "when passing it on: " + ", ".join(self.pass_on),
        ]
        return "; ".join(part for part in parts if part) or "none"


def _text(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


@cache
def table() -> dict[str, Terms]:
    """All licences by identifier, aliases included."""
    import yaml

    found: dict[str, Terms] = {}
    for key, value in yaml.safe_load(
        (resources.files("freehold.trust") / "licences.yaml").read_text()
    ).items():
        aliases = value.pop("aliases", [])
        for part in ("must", "pass_on", "may_not"):
            value[part] = tuple(value.get(part, ()))
        for part in ("outputs", "dated", "read"):
            value[part] = _text(value.get(part, ""))
        for name in (key, *aliases):
            found[name] = Terms(licence=key, **value)
    return found


def terms(licence: str) -> Terms:
    """The terms of a licence identifier, as SPDX or model cards write it."""
    key = (
        licence.strip()
        .lower()
        .replace(" ", "-")
        .removesuffix("-license")
        .removesuffix("-licence")
        .removesuffix("-only")
        .removesuffix("-or-later")
    )
    found = table().get(licence.strip().lower()) or table().get(key) or table().get(key + "-license")
    return found or Terms(licence.strip())


def duties(licence: str) -> str:
    """What a licence obliges to, in a sentence; nothing where none is stated."""
    if not licence:
        return ""
    found = terms(licence)
    use = {True: "commercial use is allowed", False: "no commercial use", None: ""}[found.commercial]
    return "; ".join(part for part in (use, found.duties) if part and part != "none")


def allowed(licence: str, policy: str) -> tuple[bool | None, str]:
    """Whether ``policy`` (any, commercial, unrestricted) allows the licence, None if unknown, and why."""
    if policy == "any":
        return True, "any licence is allowed"
    if not licence:
        return None, "the model states no licence"
    found = terms(licence)
    if found.commercial is None:
        return None, f"the licence {licence!r} is not known to Freehold"
    if policy == "unrestricted":
        return (
            found.commercial and not found.restrictions and not found.threshold,
            f"{found.licence}: {found.duties}",
        )
    return found.commercial, f"{found.licence}: {found.duties}"
