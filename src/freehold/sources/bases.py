"""The base of an adapter that is being pulled: looked for in the store, and checked matrix by matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import BadModel, FreeholdError, NotFound, UsageError
from freehold.models.formats import gguf, peft
from freehold.models.formats.peft import AdapterFacts, Pair
from freehold.models.lineage import AdapterStep, Lineage
from freehold.models.store import Model, Store


@dataclass(frozen=True)
class Adapter:
    """An adapter's files as they came, what it says of itself, and the shapes of its factors by matrix."""

    files: Mapping[str, Path]
    facts: AdapterFacts
    pairs: Mapping[str, Pair]

    @property
    def is_gguf(self) -> bool:
        """Whether it came in llama.cpp's form."""
        return peft.WEIGHTS not in self.files


@dataclass(frozen=True)
class Base:
    """A base, and how it was found: "named by you", "by name", "by its source" or "by its shapes"."""

    model: Model
    found_by: str


def as_stored(files: Mapping[str, Path]) -> dict[str, Path]:
    """Files under the names they have in the store: a GGUF adapter, which came under any name, is
    ``adapter.lora``.
    """
    adapters = [
        name
        for name in files
        if name.endswith(".gguf") and peft.is_gguf_adapter(gguf.read_header(files[name]))
    ]
    weights = [name for name in files if name.endswith((".gguf", ".safetensors"))]
    if len(weights) != 1 or weights != adapters:
        return dict(files)
    return {peft.GGUF_ADAPTER if name in adapters else name: path for name, path in files.items()}


def is_adapter(files: Mapping[str, Path]) -> bool:
    """Whether files, named as in the store, are an adapter alone."""
    return peft.is_peft(set(files)) or (
        peft.GGUF_ADAPTER in files and not any(name.endswith((".gguf", ".safetensors")) for name in files)
    )


def read_adapter(files: Mapping[str, Path]) -> Adapter:
    """The adapter in a folder's files. Raises BadModel, Unsupported."""
    if peft.WEIGHTS in files:
        return Adapter(
            files,
            peft.peft_facts(files[peft.CONFIG], files[peft.WEIGHTS]),
            peft.peft_pairs(files[peft.WEIGHTS]),
        )
    header = gguf.read_header(files[peft.GGUF_ADAPTER])
    return Adapter(
        files, peft.gguf_facts(header, peft.GGUF_ADAPTER), peft.gguf_pairs(header, peft.GGUF_ADAPTER)
    )


def find_base(store: Store, adapter: Adapter, named: str = "") -> Base:
    """The base in the store. ``named``: by the user. Raises NotFound naming what to pull, UsageError where
    several fit, BadModel for a misfit.
    """
    if named:
        model = store.find(named)
        if why := misfit(store, model, adapter):
            raise BadModel(f"the adapter does not fit {model.name}: {why}", "name its base with --base")
        return Base(model, "named by you")
    models = [model for model in store.newest() if _may_be_base(model)]
    alike = {model.name: how for model in models if (how := _alike(store, model, adapter.facts.base))}
    fitting = [model for model in models if not misfit(store, model, adapter)]
    for how in ("by name", "by its source"):
        matches = [model for model in fitting if alike.get(model.name) == how]
        if len({model.digest for model in matches}) == 1:
            return Base(matches[0], how)
        if matches:
            raise UsageError(
                f"{len(matches)} models in the store could be the adapter's base: {_names(matches)}",
                "name one with --base",
            )
    if alike and not any(model.name in alike for model in fitting):
        model = next(model for model in models if model.name in alike)
        raise BadModel(
            f"the adapter does not fit {model.name}: {misfit(store, model, adapter)}",
            "name its base with --base",
        )
    if _is_public(adapter.facts.base):
        raise _absent(adapter.facts.base, fitting)
    if len({model.digest for model in fitting}) == 1:
        return Base(fitting[0], "by its shapes")
    if fitting:
        raise UsageError(
            f"{len(fitting)} models in the store could be the adapter's base: {_names(fitting)}",
            "name one with --base",
        )
    raise _absent(adapter.facts.base, fitting)


def _may_be_base(model: Model) -> bool:
    """Whether an adapter can belong to this model: one that was only written in another form stands for the
    model it was.
    """
    return model.info.format in ("gguf", "safetensors") and not model.info.lineage.rewritten


def _absent(base: str, fitting: list[Model]) -> NotFound:
    """What to pull first. Where models of the same shape are here, the user may know one of them to be the
    base.
    """
    message = (
        f"the adapter's base {base} is not in the store"
        if base
        else "the adapter does not name its base, and no model in the store fits it"
    )
    way_out = (
        f"pull it first: freehold pull hf:{base}"
        if _is_public(base)
        else "pull its base first, then this adapter with --base NAME"
    )
    if fitting:
        way_out += (
            f"; in the store, {_names(fitting)} fits by shape: if it is the same model, pass --base "
            f"{fitting[0].name}"
        )
    return NotFound(message, way_out)


def _names(models: list[Model]) -> str:
    return ", ".join(model.name for model in models[:6])


def _is_public(base: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", base))


def _plain(name: str) -> str:
    """A model's name without its owner, its file ending, its quantization and its punctuation."""
    last = name.rstrip("/").rpartition("/")[2].lower().removesuffix(".gguf")
    last = re.sub(r"[-_.](gguf|(i?q\d\w*|f16|bf16|f32)|bnb-4bit|unsloth)(?=$|[-_.])", "", last)
    return re.sub(r"[^a-z0-9]", "", last)


def _alike(store: Store, model: Model, base: str) -> str:
    """How a stored model is the one that an adapter names: "by name", "by its source", or '' where it
    is not.
    """
    if not base:
        return ""
    provenance = model.info.provenance
    origins = [str(provenance.get(key, "")) for key in ("repository", "upstream", "path")]
    if base in origins or (
        provenance.get("path") and Path(str(provenance["path"])) == Path(base).expanduser().absolute()
    ):
        return "by its source"
    own = {
        _plain(model.name),
        *(_plain(origin) for origin in origins[:2] if origin),
        *_written(store, model),
    } - {""}
    expected = _plain(base)
    # a store's name is often the public one cut short: smollm2 for SmolLM2-135M-Instruct
    return (
        "by name"
        if expected
        and any(expected == name or (len(name) >= 5 and expected.startswith(name)) for name in own)
        else ""
    )


def _written(store: Store, model: Model) -> set[str]:
    """Names a GGUF gives itself."""
    if model.info.format != "gguf":
        return set()
    name = gguf.read_header(store.weights(model)).fields.get("general.name")
    return {_plain(name)} if isinstance(name, str) else set()


def misfit(store: Store, model: Model, adapter: Adapter) -> str:
    """Why an adapter does not belong to a stored model; '' where every matrix it changes is there in its
    shape.
    """
    weights = store.weights(model)
    try:
        if adapter.is_gguf:
            if weights.is_dir():
                return "the adapter is for a GGUF model, and this model is safetensors"
            expected = str(
                gguf.read_header(adapter.files[peft.GGUF_ADAPTER]).fields.get("general.architecture", "")
            )
            if expected != model.info.architecture:
                return (
                    f"the adapter is for the architecture {expected}, and this model is "
                    f"{model.info.architecture}"
                )
            return peft.misfit(dict(adapter.pairs), peft.gguf_matrices(weights))
        if not weights.is_dir() and not peft.can_be_named(model.info.architecture):
            return (
                f"a PEFT adapter cannot be used with a GGUF of the architecture {model.info.architecture}; "
                "pull the base as safetensors"
            )
        return peft.misfit(
            dict(adapter.pairs), peft.base_matrices(weights, fan_in_fan_out=adapter.facts.fan_in_fan_out)
        )
    except FreeholdError as error:
        return error.message


def lineage(adapter: Adapter, base: Base) -> Lineage:
    """The lineage of an adapter on its base."""
    facts = adapter.facts
    weights = adapter.files[peft.GGUF_ADAPTER if adapter.is_gguf else peft.WEIGHTS]
    return base.model.made_into(
        AdapterStep(
            rank=facts.rank,
            alpha=facts.alpha,
            target_modules=list(facts.target_modules),
            base_named=facts.base,
            base_found_by=base.found_by,
            digest=atomic_files.sha256_file(weights),
        )
    )


def complete(store: Store, adapter: Adapter, base: Base, folder: Path) -> dict[str, Path]:
    """An adapter's files with llama.cpp's form of it, written into ``folder`` where its base is a GGUF that
    can be given one. Raises Unsupported.
    """
    files = dict(adapter.files)
    if adapter.is_gguf or base.model.info.format != "gguf" or adapter.facts.dora:
        return files
    files[peft.GGUF_ADAPTER] = folder / peft.GGUF_ADAPTER
    peft.write_gguf_adapter(
        files[peft.GGUF_ADAPTER], files[peft.WEIGHTS], adapter.facts, store.weights(base.model)
    )
    return files
