"""What was done to a model before it became what it is: the one form of its steps, the one writer and the one
reader.

On disk a lineage is a list of JSON objects, oldest first, each with a ``step``. A step of a kind that this
version does not know, and keys that it does not know, are kept as they are.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from freehold.core.json_types import JsonObject


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. ``further``: keys that this version does not know, kept as they are."""

    kind: ClassVar[str] = ""
    #: Fields whose JSON key is another word.
    renamed: ClassVar[Mapping[str, str]] = {}
    further: JsonObject = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The kind as the JSON form names it."""
        return self.kind

    def as_dict(self) -> JsonObject:
        """JSON form; fields that are absent (None) have no key."""
        values = {stored_field.key: getattr(self, stored_field.name) for stored_field in _stored(type(self))}
        return {"step": self.name} | {k: v for k, v in values.items() if v is not None} | dict(self.further)

    @classmethod
    def from_dict(cls, record: JsonObject) -> Self:
        """Inverse of :meth:`as_dict`. Raises ValueError for a value of the wrong type or a key that is
        missing.
        """
        values: JsonObject = {}
        stored = _stored(cls)
        for stored_field in stored:
            value = record.get(stored_field.key)
            if value is None:
                continue
            if not isinstance(value, stored_field.types) or (
                isinstance(value, bool) and bool not in stored_field.types
            ):
                raise ValueError(
                    f"the step {cls.kind!r} of its lineage has a wrong value for {stored_field.key!r}"
                )
            values[stored_field.name] = value
        known = {"step", *(stored_field.key for stored_field in stored)}
        further = {key: value for key, value in record.items() if key not in known}
        try:
            return cls(**values, further=further)
        except TypeError:
            raise ValueError(f"the step {cls.kind!r} of its lineage lacks a key") from None


@dataclass(frozen=True)
class _Stored:
    """A field of a step that is written: its name, its JSON key and the types its JSON value may have."""

    name: str
    key: str
    types: tuple[type, ...]


@functools.cache
def _stored(kind: type[Step]) -> tuple[_Stored, ...]:
    """The fields of a kind of step, as its annotations say. A float may be written as a whole number."""
    hints = get_type_hints(kind)
    return tuple(
        _Stored(
            stored_field.name,
            kind.renamed.get(stored_field.name, stored_field.name),
            tuple(_json_types(hints[stored_field.name])),
        )
        for stored_field in fields(kind)
        if stored_field.name not in ("further", "other")
    )


def _json_types(hint: object) -> Iterator[type]:
    for part in get_args(hint) if isinstance(hint, types.UnionType) or get_origin(hint) is Union else (hint,):
        plain = get_origin(part) or part
        if plain is float:
            yield int
        if isinstance(plain, type) and plain is not types.NoneType:
            yield plain


@dataclass(frozen=True, kw_only=True)
class InputStep(Step):
    """A stored model that the steps after this one started from."""

    #: Its name in the store.
    model: str
    #: sha256 of its manifest.
    revision: str
    #: sha256 of its weights.
    digest: str


@dataclass(frozen=True, kw_only=True)
class BaseStep(InputStep):
    """The model that was tuned, that an adapter belongs to, or that was measured with a form."""

    kind: ClassVar[str] = "base"


@dataclass(frozen=True, kw_only=True)
class SourceStep(InputStep):
    """The model that was written in another format."""

    kind: ClassVar[str] = "source"


@dataclass(frozen=True, kw_only=True)
class TunedStep(Step):
    """Training on rows. ``freehold tune`` and a trial each fill in what they know."""

    kind: ClassVar[str] = "tuned"
    #: Identifier of the trial that tuned it.
    trial: str | None = None
    #: Part of the rows (train, valid, test) -> sha256 of its file.
    data: Mapping[str, str] | None = None
    #: Part of the rows -> how many there were.
    rows: Mapping[str, int] | None = None
    #: "supervised" or "preference (DPO)".
    method: str | None = None
    #: ``count`` and ``seed`` of the codes mixed into the rows; empty for none.
    canaries: Mapping[str, int] | None = None
    #: Whether personal data in the rows was masked.
    masked: bool | None = None
    #: The recipe, as ``freehold.training.recipe.Recipe`` writes it.
    recipe: JsonObject | None = None
    #: The step whose weights were kept.
    best_step: int | None = None
    #: The last step that was trained.
    last_step: int | None = None
    #: Identifiers of the rows of its trial that were left out for this model.
    leave_out: list[str] | None = None
    #: Tokens of the longest row that was trained on.
    longest_row: int | None = None
    #: Whether the rows were put into the plain template instead of the model's own.
    plain: bool | None = None
    #: Versions, processor and system (or card) of the machine.
    made_with: Mapping[str, str] | None = None
    #: sha256 of adapter_model.safetensors.
    adapter: str | None = None
    #: sha256 of base and adapter merged in 16 bit.
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class QuantizedStep(Step):
    """Every matrix written in one of llama.cpp's types."""

    kind: ClassVar[str] = "quantized"
    #: llama.cpp's type, e.g. Q4_K_M.
    type: str | None = None
    #: sha256 of the file.
    digest: str | None = None
    #: Versions, processor and system of the machine.
    made_with: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class ShrunkStep(Step):
    """A mix of types, chosen by measured sensitivity."""

    kind: ClassVar[str] = "shrunk"
    renamed: ClassVar[Mapping[str, str]] = {"source": "from"}
    #: Name of the model it was made from.
    source: str | None = None
    #: Revision of the model it was made from.
    revision: str | None = None
    #: What was asked for, as ``freehold.workflows.quantize.QuantizeOptions`` writes it.
    wish: JsonObject | None = None
    #: llama.cpp's type -> share of the weights that have it.
    types: Mapping[str, float] | None = None
    #: sha256 of the file.
    digest: str | None = None
    #: Versions, processor and system of the machine.
    made_with: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class ConvertedStep(Step):
    """Safetensors written as GGUF."""

    kind: ClassVar[str] = "converted"
    #: The format.
    to: str | None = None
    #: llama.cpp's name of the tokenizer's rule for splitting text.
    pre_tokenizer: str | None = None


@dataclass(frozen=True, kw_only=True)
class MergedStep(Step):
    """An adapter merged into its base."""

    kind: ClassVar[str] = "merged"
    #: The format.
    to: str | None = None
    #: Name of the GGUF it was merged into.
    into: str | None = None
    #: Revision of the GGUF it was merged into.
    into_revision: str | None = None
    #: sha256 of the file.
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class AdapterStep(Step):
    """An adapter that was pulled."""

    kind: ClassVar[str] = "adapter"
    rank: int | None = None
    alpha: float | None = None
    #: Last parts of the names of the matrices it changes.
    target_modules: list[str] | None = None
    #: The base's name as the adapter states it.
    base_named: str | None = None
    #: How the base was found in the store.
    base_found_by: str | None = None
    #: sha256 of its weights.
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class AskedStep(Step):
    """Measured as it is, and stored with the form in which its rows were asked.

    The weights are the base's.
    """

    kind: ClassVar[str] = "asked"
    #: zero-shot or few-shot.
    how: str | None = None
    #: Identifier of the trial.
    trial: str | None = None
    #: Part of the rows -> sha256 of its file.
    data: Mapping[str, str] | None = None
    #: Summary of the answer form.
    form: JsonObject | None = None


@dataclass(frozen=True, kw_only=True)
class OtherStep(Step):
    """A step of a kind that this version does not know."""

    #: Its kind.
    other: str

    @property
    def name(self) -> str:
        """The kind as the JSON form names it."""
        return self.other


_KINDS: dict[str, type[Step]] = {
    kind.kind: kind
    for kind in (
        BaseStep,
        SourceStep,
        TunedStep,
        QuantizedStep,
        ShrunkStep,
        ConvertedStep,
        MergedStep,
        AdapterStep,
        AskedStep,
    )
}
#: Keys that are text in every kind of step, known or not: they are shown, and models are looked up by them.
_TEXTS = ("step", "model", "revision", "digest", "into", "into_revision", "type", "from", "to", "how")

S = TypeVar("S", bound=Step)


def read_step(record: object) -> Step:
    """The step that a JSON value states. Raises ValueError."""
    if not isinstance(record, dict) or not isinstance(record.get("step"), str):
        raise ValueError("a step of its lineage has the wrong form")
    name = record["step"]
    if any(not isinstance(record[key], str) for key in _TEXTS if key in record):
        raise ValueError(f"the step {name[:40]!r} of its lineage has a field that is not text")
    if name in _KINDS:
        return _KINDS[name].from_dict(record)
    return OtherStep(other=name, further={key: value for key, value in record.items() if key != "step"})


@dataclass(frozen=True)
class Tuning:
    """The last training of a model. ``base``: what was tuned; ``after``: what changed the weights since."""

    base: BaseStep
    tuned: TunedStep
    after: tuple[Step, ...]

    @property
    def quantized(self) -> QuantizedStep | None:
        """What a trial quantized the result to, if it did; not what was done to it later."""
        first = self.after[0] if self.after else None
        return first if isinstance(first, QuantizedStep) else None


@dataclass(frozen=True)
class Lineage:
    """The steps of a model, oldest first."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def read(cls, records: object) -> Lineage:
        """From its JSON form. Raises ValueError for what no version has written."""
        if not isinstance(records, list):
            raise ValueError("its lineage has the wrong form")
        return cls(tuple(read_step(record) for record in records))

    def as_list(self) -> list[JsonObject]:
        """JSON form."""
        return [step.as_dict() for step in self.steps]

    def then(self, *steps: Step) -> Lineage:
        """This lineage with further steps."""
        return Lineage((*self.steps, *steps))

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def last(self, kind: type[S]) -> S | None:
        """The last step of a kind."""
        return next((step for step in reversed(self.steps) if isinstance(step, kind)), None)

    def has(self, *kinds: type[Step]) -> bool:
        """Whether there is a step of one of these kinds."""
        return any(isinstance(step, kinds) for step in self.steps)

    @property
    def base(self) -> BaseStep | None:
        """The model that the adapter among the files belongs to: the base of the last training, or of the
        last adapter that was pulled. Without either, the last base.

        A model that was stored again after it was tuned has a later base, which is the tuned model itself.
        """
        end = self._position(TunedStep, AdapterStep)
        return Lineage(self.steps[: end if end >= 0 else len(self)]).last(BaseStep)

    @property
    def tuning(self) -> Tuning | None:
        """The last training on rows; None for a model that was not tuned here."""
        position = self._position(TunedStep)
        base = Lineage(self.steps[: max(position, 0)]).last(BaseStep)
        if base is None:
            return None
        tuned, after = self.steps[position], self.steps[position + 1 :]
        assert isinstance(tuned, TunedStep)
        changes = tuple(step for step in after if not isinstance(step, BaseStep | SourceStep | AskedStep))
        return Tuning(base, tuned, changes)

    @property
    def parent(self) -> tuple[str, str]:
        """(name, revision) of the model that the last change of the weights or of the format started from; of
        one without changes, the model it was stored from; nothing for one that was pulled.
        """
        steps = self.steps
        while (
            steps
            and isinstance(steps[-1], AskedStep)
            and Lineage(steps).has(TunedStep, AdapterStep, ShrunkStep)
        ):
            steps = steps[:-2] if isinstance(steps[-2], BaseStep) else steps[:-1]
        for step in reversed(steps):
            if isinstance(step, InputStep):
                return step.model, step.revision
            if isinstance(step, ShrunkStep):
                return step.source or "", step.revision or ""
        return "", ""

    @property
    def rewritten(self) -> bool:
        """Whether the last step only wrote the model in another format."""
        return bool(self.steps) and isinstance(self.steps[-1], ConvertedStep | MergedStep)

    @property
    def rewritten_from(self) -> SourceStep | None:
        """The model that this one only is another format of; None where it is more than that."""
        source = self.steps[-2] if self.rewritten and len(self) > 1 else None
        return source if isinstance(source, SourceStep) else None

    def names(self, model: str) -> bool:
        """Whether one of the inputs is a model of this name."""
        return any(isinstance(step, InputStep) and step.model == model for step in self.steps)

    def _position(self, *kinds: type[Step]) -> int:
        """Index of the last step of these kinds; -1 where there is none."""
        return max((index for index, step in enumerate(self.steps) if isinstance(step, kinds)), default=-1)
