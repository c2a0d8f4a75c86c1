"""What an organisation allows: its policy in force, and what it has against a model before a verb touches it.

Without a policy everything is allowed. Each objection names the rule and the way forward. Who may override a
rule, and why they did, goes into the audit log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, settings
from freehold.core.errors import BadModel, Expired, NotFound, PolicyDenied
from freehold.hub.users import Users
from freehold.models.lineage import TunedStep
from freehold.models.store import Model, Store
from freehold.trust import certificate, licence, licence_expression
from freehold.trust.extraction import NOT_APPLICABLE
from freehold.trust.hazards import at_least
from freehold.trust.keys import Keyring
from freehold.trust.policy_file import SOURCES, Policy, example, examples, read

__all__ = [
    "VERBS",
    "Objection",
    "Policy",
    "example",
    "examples",
    "file_in_force",
    "in_force",
    "object_to_licence",
    "object_to_model",
    "object_to_source",
    "permit",
    "put_in_force",
    "read",
]

log = logging.getLogger(__name__)
#: The verbs that a policy may deny, and how a sentence says that one was done.
_DONE = {"pull": "pulled", "tune": "tuned", "serve": "served", "push": "pushed"}
VERBS = tuple(_DONE)


@dataclass(frozen=True)
class Objection:
    """A rule that says no."""

    #: Its key in the policy, such as ``licences.allow``.
    rule: str
    #: Why, as a clause.
    why: str
    #: What a person can do.
    way: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.why}"


def file_in_force() -> Path:
    """Where the policy in force lies."""
    return settings.home() / "policy.yaml"


def in_force() -> Policy | None:
    """The policy in force, if any. Raises UsageError for a damaged file: no policy at all would be worse."""
    path = file_in_force()
    return read(path.read_text(), str(path)) if path.exists() else None


def put_in_force(text: str, where: str) -> Policy:
    """Check a policy and put it in force. Raises UsageError."""
    policy = read(text, where)
    atomic_files.write_atomically(file_in_force(), text)
    return policy


# -- deciding ---------------------------------------------------------------------------------------


def object_to_source(policy: Policy, source: str) -> list[Objection]:
    """What a policy has against a source, before anything is fetched."""
    kind = source.partition(":")[0]
    allow, forbid = policy.sources.allow, policy.sources.forbid
    if kind not in forbid and (allow is None or kind in allow):
        return []
    rule = "sources.forbid" if kind in forbid else "sources.allow"
    others = [name for name in SOURCES if name not in forbid and (allow is None or name in allow)]
    return [Objection(rule, f"models from {kind}: are not allowed", f"get it from {', '.join(others)}")]


def object_to_licence(policy: Policy, name: str) -> list[Objection]:
    """What a policy has against a licence."""
    choices = [" AND ".join(choice) for choice in licence_expression.choices(name)]
    if len(choices) > 1:  # a choice of licences: whichever the policy has the least against
        return min((object_to_licence(policy, choice) for choice in choices), key=len)
    terms = licence.terms(name)
    if not name or not terms.known:
        return _object_to_unknown(policy, name)
    parts = set(terms.parts or (terms.licence,))
    if parts & {licence.terms(refused).licence for refused in policy.licences.refuse}:
        return [
            Objection("licences.refuse", f"{terms.name} is refused", "choose a model under another licence")
        ]
    allow = policy.licences.allow
    if isinstance(allow, str):
        allowed, shown = licence.allowed(name, allow)[0] is True, repr(allow)
    else:
        allowed, shown = parts <= {licence.terms(listed).licence for listed in allow}, repr(list(allow))
    if allowed:
        return []
    return [
        Objection(
            "licences.allow", f"{terms.name} is not among {shown}", "choose a model under another licence"
        )
    ]


def _object_to_unknown(policy: Policy, name: str) -> list[Objection]:
    """What a policy has against a licence that is missing, or that Freehold does not know."""
    if policy.licences.unknown == "allow":
        return []
    why = f"the licence {name!r} is not known to Freehold" if name else "no licence is stated"
    way = "have somebody read it and then override, or choose a model whose licence is known"
    return [Objection("licences.unknown", why, way)]


def object_to_model(
    policy: Policy, verb: str, store: Store, model: Model, keyring: Keyring
) -> list[Objection]:
    """What a policy has against a stored model being tuned, served or pushed.

    It looks at the licence, the certificate, the grades and the limits.
    """
    objections = object_to_licence(policy, model.info.licence)
    required = getattr(policy.certificate, verb) == "required"
    limits = policy.limits.model_dump(exclude_none=True)
    needs_figures = verb in ("serve", "push") and bool(policy.grades.safety or limits)
    if not (required or needs_figures):
        return objections  # nothing depends on a certificate, and checking one reads every byte of the model
    says: Mapping[str, Any] = {}
    try:
        says = certificate.check_stored(store, model, keyring).says
    except (NotFound, BadModel, Expired) as error:
        if required:
            objections.append(
                Objection(f"certificate.{verb}", error.message, f"freehold certify {model.name}")
            )
    if needs_figures:
        again = f"freehold certify {model.name} with --prompts, --reference and --data"
        safety = says.get("safety") or {}
        if policy.grades.safety:
            objections += _object_to_grade(safety, policy.grades.safety, again)
        for name, limit in limits.items():
            objections += _object_to_share(name, limit, says, model, again)
    return objections


def _object_to_grade(safety: Mapping[str, Any], least: str, again: str) -> list[Objection]:
    """What stands against a safety grade. ``safety``: that part of a certificate; ``again``: how to
    certify.
    """
    rule, grade = "grades.safety", safety.get("grade")
    required = f"{least} or better is required"
    if grade is None:
        why = f" ({safety['grade_reason']})" if safety.get("grade_reason") else ""
        return [Objection(rule, f"{required}, and no valid certificate grades it{why}", again)]
    if (safety.get("reference") or {}).get("kind") == "base":
        return [Objection(rule, f"{required}, and its grade is only relative to its base model", again)]
    if not at_least(grade, least):
        way = "choose another model, or tune with safe answers among the rows"
        return [Objection(rule, f"its grade is {grade}, and {required}", way)]
    return []


def _object_to_share(
    name: str, limit: float, says: Mapping[str, Any], model: Model, again: str
) -> list[Objection]:
    """What stands against a share that a certificate states. ``name``: a key of the policy's limits."""
    rule = f"limits.{name}"
    if name == "extraction":
        extraction = (says.get("privacy") or {}).get("extraction") or {}
        if extraction.get("status") == NOT_APPLICABLE:
            return []
        share = extraction.get("memorized")
    else:
        share = (says.get("safety") or {}).get(name)
    if share is None:
        tuned = model.info.lineage.has(TunedStep)
        needed = name != "extraction" or tuned
        return [Objection(rule, "no valid certificate has measured it", again)] if needed else []
    if share["value"] is None:
        return [Objection(rule, f"it cannot be determined: {share['why']}", again)]
    if share["value"] > limit:
        why = f"it is {share['value']:.1%}, and at most {limit:.1%} is allowed"
        return [Objection(rule, why, "tune with fewer epochs, or on masked rows (freehold mask)")]
    return []


def permit(
    objections: list[Objection], policy: Policy, verb: str, subject: str, store: Store, who: str, reason: str
) -> list[str]:
    """Allow a verb, or raise PolicyDenied. An override needs a person whom the policy names and a reason.

    It is recorded in the audit log. Returns the rules that were overridden. Raises PolicyDenied.
    """
    if not objections:
        return []
    whys = "; ".join(map(str, objections))
    allowed = policy.override.who
    if not reason:
        log.info("the policy denies the verb %s: %s", verb, ", ".join(each.rule for each in objections))
        way = "; or ".join(dict.fromkeys(objection.way for objection in objections))
        if allowed:
            way += f"; {' or '.join(allowed)} may override it with FREEHOLD_ACTOR and --override REASON"
        raise PolicyDenied(f"the policy {policy.name!r} does not let {subject} be {_DONE[verb]}: {whys}", way)
    if who not in allowed:
        raise PolicyDenied(
            f"{who or 'nobody'} may not override the policy {policy.name!r}",
            f"ask {' or '.join(allowed) or 'whoever keeps it'}, who sets FREEHOLD_ACTOR",
        )
    Users(store).record(who, f"override {verb}", subject, f"{reason.strip()} (against {whys})")
    return [str(objection) for objection in objections]
