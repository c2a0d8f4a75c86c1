"""``policy.yaml``: its keys, and how it is read.

Unknown keys are refused, with the nearest key that exists: a rule with a typing error would otherwise be no
rule.
"""

from __future__ import annotations

import difflib
from importlib import resources
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freehold.core import yaml_text
from freehold.core.errors import BadData, NotFound, UsageError
from freehold.core.json_types import JsonObject
from freehold.trust import licence

Source = Literal["pypi", "hf", "hub", "file", "ollama"]
SOURCES: tuple[str, ...] = get_args(Source)
Grade = Literal["excellent", "very good", "good", "fair", "poor"]
Certificate = Literal["required", "optional"]
#: A part of a whole, from 0 to 1; not a yes or no.
Share = Annotated[int, Field(strict=True, ge=0, le=1)] | Annotated[float, Field(strict=True, ge=0, le=1)]

_SEE = "see 'freehold policy show hospital'"


class _Section(BaseModel):
    """What all parts of a policy share: unknown keys are refused, and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Licences(_Section):
    """Which licences a model may be under."""

    allow: str | tuple[str, ...] = Field(
        default="any",
        description="The use a licence must allow (any, commercial or unrestricted), or a list of licences.",
    )
    refuse: tuple[str, ...] = Field(
        default=(), description="Licences that are refused, whatever 'allow' says."
    )
    unknown: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="What happens to a model whose licence is missing or not known to Freehold.",
    )


class Sources(_Section):
    """Where models may be pulled from."""

    allow: tuple[Source, ...] | None = Field(
        default=None, description="The only sources that are allowed; without this list, all of them are."
    )
    forbid: tuple[Source, ...] = Field(default=(), description="Sources that are not allowed.")


class Certificates(_Section):
    """For which verbs a model needs a valid certificate."""

    tune: Certificate = Field(default="optional", description="Whether tuning needs one.")
    serve: Certificate = Field(default="optional", description="Whether serving needs one.")
    push: Certificate = Field(default="optional", description="Whether pushing needs one.")


class Grades(_Section):
    """The lowest grades for serving and pushing."""

    safety: Grade | None = Field(default=None, description="The lowest safety grade in the certificate.")


class Limits(_Section):
    """The largest shares in a certificate for serving and pushing."""

    extraction: Share | None = Field(
        default=None, description="Share of the tried training rows that can be extracted from the model."
    )
    over_refused: Share | None = Field(default=None, description="Share of harmless prompts that it refuses.")
    violating: Share | None = Field(
        default=None, description="Share of harmful prompts that it answers without refusing."
    )


class Override(_Section):
    """Who may go against the policy. What they do is recorded in the audit log."""

    who: tuple[str, ...] = Field(
        default=(), description="Names of the people who may, as FREEHOLD_ACTOR gives them; empty: nobody."
    )
    reason: str = Field(
        default="required", description="A reminder for readers: a reason is required in any case."
    )


class Policy(_Section):
    """The rules of an organisation, as written in its ``policy.yaml``. Only the name is required."""

    name: str = Field(description="The policy's name, as messages and the audit log show it.")
    licences: Licences = Field(default_factory=Licences, description="Which licences a model may be under.")
    sources: Sources = Field(default_factory=Sources, description="Where models may be pulled from.")
    certificate: Certificates = Field(
        default_factory=Certificates, description="For which verbs a model needs a valid certificate."
    )
    grades: Grades = Field(default_factory=Grades, description="The lowest grades for serving and pushing.")
    limits: Limits = Field(default_factory=Limits, description="The largest shares for serving and pushing.")
    personal_data: Literal["allow", "refuse"] = Field(
        default="allow", description="Whether a model may be tuned on rows that hold personal data."
    )
    override: Override = Field(default_factory=Override, description="Who may go against the policy.")

    def as_dict(self) -> JsonObject:
        """JSON form: every section, each with the keys that were written."""
        written = self.model_dump(mode="json", exclude_unset=True)
        empty: JsonObject = {name: {} for name in Policy.model_fields}
        return empty | {"personal_data": self.personal_data} | written


def read(text: str, where: str) -> Policy:
    """A policy from YAML. Raises UsageError that names every key and value that is wrong."""
    try:
        value = yaml_text.load(text, where)
    except BadData as error:
        raise UsageError(error.message, f"correct it; {_SEE}") from error
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise UsageError(f"{where}: it has no name", f"begin with 'name: ...'; {_SEE}")
    try:
        policy = Policy.model_validate(_with_text_keys(value))
    except ValidationError as error:
        faults = [_fault(fault["loc"], fault["input"], fault["type"], value) for fault in error.errors()]
        # a value with several allowed types is named once for each of them
        sentences, ways = (list(dict.fromkeys(texts)) for texts in zip(*faults, strict=True))
        raise UsageError(f"{where}: {'; '.join(sentences)}", "; ".join(ways)) from None
    _check_licences(policy, where)
    return policy


def _with_text_keys(value: dict[Any, Any]) -> JsonObject:
    """The file with numbers and dates that are keys as texts: they are unknown keys like others."""
    return {
        str(key): {str(name): part for name, part in inner.items()} if isinstance(inner, dict) else inner
        for key, inner in value.items()
    }


def _check_licences(policy: Policy, where: str) -> None:
    """Raises UsageError for a use or a licence that does not exist."""
    allow = policy.licences.allow
    known = (
        allow in licence.POLICIES
        if isinstance(allow, str)
        else all(licence.terms(name).known for name in allow)
    )
    if not known:
        shown = allow if isinstance(allow, str) else list(allow)
        raise UsageError(
            f"{where}: licences.allow is {shown!r}",
            f"use {', '.join(licence.POLICIES)}, or a list of licences that 'freehold licence' knows",
        )


def _fault(location: tuple[int | str, ...], value: object, kind: str, whole: JsonObject) -> tuple[str, str]:
    """(what is wrong at a place of a policy, what to do)."""
    section, *inner = (part for part in location if isinstance(part, str))
    if section in whole and not isinstance(whole[section], dict) and section in _sections():
        return f"{section} is {whole[section]!r}", f"write keys below it: {', '.join(_sections()[section])}"
    if kind == "extra_forbidden":
        known = _sections()[section] if inner else tuple(Policy.model_fields)
        name = ".".join([section, *inner[:1]])
        owner = f"a key of {section}" if inner else "a key of policies"
        near = difflib.get_close_matches(str(location[-1]), known, 1, 0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"{name!r} is not {owner}{hint}", f"use {', '.join(known)}"
    name = ".".join([section, *inner[:1]])
    if section == "sources" and isinstance(location[-1], int):
        return f"{name} names {value!r}", f"sources are {', '.join(SOURCES)}"
    return f"{name} is {_written(whole, section, inner)!r}", _WAYS.get(name) or _WAYS.get(section, f"{_SEE}")


def _written(whole: JsonObject, section: str, inner: list[str]) -> object:
    """What stands in the file at a key."""
    return whole[section].get(inner[0]) if inner else whole.get(section)


def _sections() -> dict[str, tuple[str, ...]]:
    """The keys of each section."""
    models = {name: field.annotation for name, field in Policy.model_fields.items()}
    return {
        name: tuple(model.model_fields)
        for name, model in models.items()
        if isinstance(model, type) and issubclass(model, BaseModel)
    }


#: What to write instead, by key or by section.
_WAYS = {
    "licences.unknown": "use refuse or allow",
    "licences": f"use {', '.join(licence.POLICIES)}, or lists of licences that 'freehold licence' knows",
    "sources": f"write a list of {', '.join(SOURCES)}",
    "certificate": "use required or optional",
    "grades": f"use one of {', '.join(get_args(Grade))}",
    "limits": "write a share between 0 and 1",
    "personal_data": "use allow or refuse",
    "override": "write a list of names under 'who'",
}


def examples() -> list[str]:
    """Names of the policies that come with Freehold."""
    return sorted(
        path.name.removesuffix(".yaml")
        for path in (resources.files("freehold.trust") / "policies").iterdir()
        if path.name.endswith(".yaml")
    )


def example(name: str) -> str:
    """The text of a policy that comes with Freehold. Raises NotFound."""
    path = resources.files("freehold.trust") / "policies" / f"{name}.yaml"
    if name not in examples():
        raise NotFound(f"there is no policy {name!r}", f"use a file, or one of {', '.join(examples())}")
    return path.read_text()
