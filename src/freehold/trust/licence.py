"""What a licence allows. An unknown licence is never guessed at.

Read for this table: the SPDX licence list (October 2026), the Gemma Terms of Use (their sections on
use restrictions and distribution), the Llama 3 Community License (section 2) and the OpenRAIL-M
use-based restrictions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """``commercial``: None where Freehold does not know. ``duties``: what using or passing it on obliges to."""

    licence: str
    commercial: bool | None
    restricted_uses: bool
    duties: str
    source: str


#: What may be asked of a licence.
POLICIES = ("any", "commercial", "unrestricted")
_FREE = {
    "apache-2.0": "keep the notices and state changes when passing it on",
    "mit": "keep the notice when passing it on",
    "bsd-3-clause": "keep the notice when passing it on",
    "cc0-1.0": "none",
    "cc-by-4.0": "name the authors when passing it on",
}
_RESTRICTED = {
    "gemma": "the prohibited-use policy binds you and everyone you pass it or a tuned version on to; pass the terms on with it",
    "llama2": "acceptable-use policy; a licence from Meta is needed above 700 million monthly users",
    "llama3": "acceptable-use policy; name Llama 3; a licence from Meta is needed above 700 million monthly users",
    "llama3.1": "acceptable-use policy; name Llama; a licence from Meta is needed above 700 million monthly users",
    "llama3.2": "acceptable-use policy; name Llama; a licence from Meta is needed above 700 million monthly users",
    "openrail": "use restrictions flow down to derivatives",
    "bigscience-openrail-m": "use restrictions flow down to derivatives",
    "creativeml-openrail-m": "use restrictions flow down to derivatives",
}
_NO_COMMERCE = ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0")


def terms(licence: str) -> Terms:
    """The terms of a licence identifier."""
    key = licence.strip().lower().replace(" ", "-").removesuffix("-license")
    if key in _FREE:
        return Terms(key, True, False, _FREE[key], "SPDX licence text")
    if key in _RESTRICTED:
        return Terms(key, True, True, _RESTRICTED[key], "the licence's own text")
    if key in _NO_COMMERCE:
        return Terms(key, False, False, "no commercial use", "SPDX licence text")
    return Terms(key, None, False, "not known to Freehold; read it yourself", "")


def duties(licence: str) -> str:
    """What a licence obliges to, in a sentence; nothing where none is stated."""
    if not licence:
        return ""
    found = terms(licence)
    use = {True: "commercial use is allowed", False: "no commercial use", None: ""}[found.commercial]
    return "; ".join(part for part in (use, found.duties if found.duties != use else "") if part)


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
        fine = found.commercial and not found.restricted_uses
        return fine, f"{found.licence}: {found.duties}"
    return found.commercial, f"{found.licence}: {found.duties}"
