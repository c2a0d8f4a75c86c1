"""What an organisation allows: ``policy.yaml``, held against what is known of a model before it is pulled, tuned, served or pushed.

Without a policy everything is allowed. Each refusal names the rule and the way forward; who may override one, and why they did, goes into the
audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, settings, yaml_text
from freehold.core.errors import BadData, BadModel, Expired, NotFound, PolicyDenied, UsageError
from freehold.hub.users import Users
from freehold.models.lineage import TunedStep
from freehold.models.store import Model, Store
from freehold.trust import certificate, licence, licence_expression
from freehold.trust.extraction import NOT_APPLICABLE
from freehold.trust.hazards import GRADES, at_least
from freehold.trust.keys import Keyring

VERBS = ("pull", "tune", "serve", "push")
SOURCES = ("pypi", "hf", "hub", "file", "ollama")
_KEYS = {
    "name": str, "licences": dict, "sources": dict, "certificate": dict, "grades": dict, "limits": dict, "personal_data": str, "override": dict,
}  # fmt: skip
_INNER = {
    "licences": {"allow", "refuse", "unknown"}, "sources": {"allow", "forbid"}, "certificate": set(VERBS[1:]), "grades": {"safety"},
    "limits": {"extraction", "over_refused", "violating"}, "override": {"who", "reason"},
}  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """See the examples beside this file. Values are as in the file."""

    name: str
    licences: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    certificate: dict[str, str] = field(default_factory=dict)
    grades: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    personal_data: str = "allow"
    override: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Objection:
    """A rule that says no: its place in the file, why, and the way forward."""

    rule: str
    why: str
    way: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.why}"


def examples() -> list[str]:
    """Names of the policies that come with Freehold."""
    return sorted(
        path.name.removesuffix(".yaml")
        for path in (resources.files("freehold.trust") / "policies").iterdir()
        if path.name.endswith(".yaml")
    )


def read(text: str, where: str) -> Policy:
    """A policy from YAML. Raises UsageError naming the key that cannot be right."""

    def wrong(what: str, way: str) -> UsageError:
        return UsageError(f"{where}: {what}", way)

    try:
        value = yaml_text.load(text, where)
    except BadData as error:
        raise UsageError(error.message, "correct it; see 'freehold policy show hospital'") from error
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise wrong("it has no name", "begin with 'name: ...'; see 'freehold policy show hospital'")
    for key, inner in value.items():
        if key not in _KEYS or not isinstance(inner, _KEYS[key]):
            known = f"a {_KEYS[key].__name__}" if key in _KEYS else "a key of policies"
            raise wrong(f"{key!r} is not {known}", f"use {', '.join(_KEYS)}")
        for name in set(inner) - _INNER[key] if key in _INNER else ():
            raise wrong(f"{key}.{name} is not known", f"{key} takes {', '.join(sorted(_INNER[key]))}")
    allow = value.get("licences", {}).get("allow", "any")
    if not (
        allow in licence.POLICIES
        if isinstance(allow, str)
        else isinstance(allow, list) and all(licence.terms(str(one)).known for one in allow)
    ):
        raise wrong(
            f"licences.allow is {allow!r}",
            f"use {', '.join(licence.POLICIES)}, or a list of licences that 'freehold licence' knows",
        )
    if (least := value.get("grades", {}).get("safety", "poor")) not in GRADES:
        raise wrong(f"grades.safety is {least!r}", f"use one of {', '.join(GRADES)}")
    for part in ("allow", "forbid"):
        for one in value.get("sources", {}).get(part, []):
            if one not in SOURCES:
                raise wrong(f"sources.{part} names {one!r}", f"sources are {', '.join(SOURCES)}")
    for name, limit in value.get("limits", {}).items():
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= 1:
            raise wrong(f"limits.{name} is {limit!r}", "write a share between 0 and 1")
    for name, told in (
        *value.get("certificate", {}).items(),
        ("unknown", value.get("licences", {}).get("unknown", "refuse")),
    ):
        if told not in (("required", "optional") if name != "unknown" else ("refuse", "allow")):
            raise wrong(
                f"{name} is {told!r}",
                "use required or optional" if name != "unknown" else "use refuse or allow",
            )
    if value.get("personal_data", "allow") not in ("allow", "refuse"):
        raise wrong(f"personal_data is {value['personal_data']!r}", "use allow or refuse")
    return Policy(**value)


def example(name: str) -> str:
    """The text of a policy that comes with Freehold. Raises NotFound."""
    path = resources.files("freehold.trust") / "policies" / f"{name}.yaml"
    if name not in examples():
        raise NotFound(f"there is no policy {name!r}", f"use a file, or one of {', '.join(examples())}")
    return path.read_text()


def place() -> Path:
    """Where the policy in force lies."""
    return settings.home() / "policy.yaml"


def in_force() -> Policy | None:
    """The policy in force, if any. Raises UsageError where its file is damaged: no policy at all would be worse."""
    path = place()
    return read(path.read_text(), str(path)) if path.exists() else None


def put_in_force(text: str, where: str) -> Policy:
    """Check a policy and put it in force. Raises UsageError."""
    found = read(text, where)
    atomic_files.write_atomically(place(), text)
    return found


# -- deciding ---------------------------------------------------------------------------------------


def object_to_source(policy: Policy, source: str) -> list[Objection]:
    """What a policy has against a source, before anything is fetched."""
    kind = source.partition(":")[0]
    allow, forbid = policy.sources.get("allow"), policy.sources.get("forbid", [])
    if kind in forbid or (allow is not None and kind not in allow):
        rule = "sources.forbid" if kind in forbid else "sources.allow"
        others = [one for one in SOURCES if one not in forbid and (allow is None or one in allow)]
        return [Objection(rule, f"models from {kind}: are not taken", f"get it from {', '.join(others)}")]
    return []


def object_to_licence(policy: Policy, name: str) -> list[Objection]:
    """What a policy has against a licence."""
    ways = [" AND ".join(way) for way in licence_expression.choices(name)]
    if len(ways) > 1:  # a choice of licences: whichever the policy has the least against
        return min((object_to_licence(policy, way) for way in ways), key=len)
    own = licence.terms(name)
    if not name or not own.known:
        told = f"the licence {name!r} is not known to Freehold" if name else "no licence is stated"
        return [Objection("licences.unknown", told, "have somebody read it, then override, or choose a model whose licence is known")] if policy.licences.get(
            "unknown", "refuse") == "refuse" else []  # fmt: skip
    parts = set(own.parts or (own.licence,))
    if parts & {licence.terms(str(one)).licence for one in policy.licences.get("refuse", [])}:
        return [
            Objection("licences.refuse", f"{own.name} is named there", "choose a model under another licence")
        ]
    allow = policy.licences.get("allow", "any")
    listed = [licence.terms(str(one)).licence for one in allow] if isinstance(allow, list) else None
    fine = parts <= set(listed) if listed is not None else licence.allowed(name, str(allow))[0] is True
    return (
        []
        if fine
        else [
            Objection(
                "licences.allow", f"{own.name} is not among {allow!r}", "choose a model under another licence"
            )
        ]
    )


def object_to_model(
    policy: Policy, verb: str, store: Store, model: Model, keyring: Keyring
) -> list[Objection]:
    """What a policy has against a stored model being tuned, served or pushed: licence, certificate, grades, limits."""
    found = object_to_licence(policy, model.info.licence)
    required, figures = (
        policy.certificate.get(verb) == "required",
        verb in ("serve", "push") and bool(policy.grades or policy.limits),
    )
    if not (required or figures):
        return found  # nothing hangs on a certificate, and checking one reads every byte of the model
    says: Mapping[str, Any] | None = None
    try:
        says = certificate.check_stored(store, model, keyring).says
    except (NotFound, BadModel, Expired) as error:
        if required:
            found.append(Objection(f"certificate.{verb}", error.message, f"freehold certify {model.name}"))
    if figures:
        found += _object_to_figures(policy, model, says)
    return found


def _object_to_figures(policy: Policy, model: Model, says: Mapping[str, Any] | None) -> list[Objection]:
    found: list[Objection] = []
    safety = (says or {}).get("safety") or {}
    again = f"freehold certify {model.name} with --prompts, --reference and --data"
    if wanted := policy.grades.get("safety"):
        given = safety.get("grade")
        if given is None:
            why = f" ({safety['grade_reason']})" if safety.get("grade_reason") else ""
            reason = f"{wanted} or better is asked for, and no certificate that holds grades it{why}"
            found.append(Objection("grades.safety", reason, again))
        elif (safety.get("reference") or {}).get("kind") == "base":
            reason = (
                f"{wanted} or better is asked for, and its grade is only relative to what it was tuned from"
            )
            found.append(Objection("grades.safety", reason, again))
        elif not at_least(given, wanted):
            found.append(
                Objection(
                    "grades.safety",
                    f"its grade is {given}, and {wanted} or better is asked for",
                    "choose another model, or tune with safe answers among the rows",
                )
            )
    extraction = ((says or {}).get("privacy") or {}).get("extraction") or {}
    tuned = model.info.lineage.has(TunedStep)
    shares = {
        "extraction": extraction.get("memorized"),
        "over_refused": safety.get("over_refused"),
        "violating": safety.get("violating"),
    }
    for name, limit in policy.limits.items():
        share = shares[name]
        if name == "extraction" and extraction.get("status") == NOT_APPLICABLE:
            continue
        if share is None and (name != "extraction" or tuned):
            found.append(Objection(f"limits.{name}", "no certificate that holds has measured it", again))
        elif share is not None and share["value"] is None:
            found.append(Objection(f"limits.{name}", f"it cannot be told: {share['why']}", again))
        elif share is not None and share["value"] > limit:
            found.append(
                Objection(
                    f"limits.{name}",
                    f"it is {share['value']:.1%}, and at most {limit:.1%} is allowed",
                    "tune with fewer epochs, or on masked rows (freehold mask)",
                )
            )
    return found


def permit(
    objections: list[Objection], policy: Policy, verb: str, subject: str, store: Store, who: str, reason: str
) -> list[str]:
    """Let a thing be done, or raise PolicyDenied. An override needs a person whom the policy names and a reason, and is recorded.

    Returns what was overridden. Raises PolicyDenied, UsageError.
    """
    if not objections:
        return []
    told = "; ".join(map(str, objections))
    allowed = [str(one) for one in policy.override.get("who", [])]
    if not reason:
        way = "; or ".join(dict.fromkeys(one.way for one in objections))
        override = (
            f"; {' or '.join(allowed)} may override it with FREEHOLD_ACTOR and --override REASON"
            if allowed
            else ""
        )
        raise PolicyDenied(
            f"the policy {policy.name!r} does not let {subject} be {_DONE[verb]}: {told}", way + override
        )
    if who not in allowed:
        raise PolicyDenied(
            f"{who or 'nobody'} may not override the policy {policy.name!r}",
            f"ask {' or '.join(allowed) or 'whoever keeps it'}, who sets FREEHOLD_ACTOR",
        )
    Users(store).record(who, f"override {verb}", subject, f"{reason.strip()} (against {told})")
    return [str(one) for one in objections]


_DONE = {"pull": "pulled", "tune": "tuned", "serve": "served", "push": "pushed"}
