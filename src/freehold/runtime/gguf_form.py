"""The GGUF form of a stored model: what llama.cpp runs and what is tuned and quantized. Made once and kept.

A safetensors folder is converted; an adapter is merged into its base. What was made names in its lineage what
it was made of, so a second call finds it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from freehold.core import atomic_files
from freehold.core.errors import Unsupported
from freehold.core.progress import Sink, silent
from freehold.models import answer_form
from freehold.models.intake import made_here
from freehold.models.lineage import ConvertedStep, MergedStep, QuantizedStep, ShrunkStep, Step, TunedStep
from freehold.models.store import Model, Store
from freehold.quantization.conversion import check_tokens, to_gguf


def original(store: Store, model: Model) -> Model:
    """What a GGUF form was made of, where the store still has it; else the model itself."""
    source = model.info.lineage.rewritten_from
    if source is None:
        return model
    return next((known for known in store.models() if known.revision == source.revision), model)


def public_name(store: Store, model: Model) -> str:
    """The repository a model came from, where it was not changed since; else its name in the store."""
    first = original(store, model)
    changed = first.info.lineage.has(TunedStep, QuantizedStep, ShrunkStep)
    return first.name if changed else str(first.info.provenance.get("repository") or first.name)


def find_gguf(store: Store, model: Model) -> Model | None:
    """The GGUF form of a stored model (itself, if it is GGUF); None where none was made yet."""
    if model.info.format == "gguf":
        return model
    for known in reversed(store.models()):
        source = known.info.lineage.rewritten_from
        if known.info.format == "gguf" and source is not None and source.revision == model.revision:
            return known
    return None


def as_gguf(store: Store, model: Model, texts: Sequence[str] = (), sink: Sink = silent) -> Model:
    """The GGUF form of a stored model, made and stored where there is none yet.

    ``texts``: what both tokenizers must split in the same way. Raises Unsupported where it cannot be made,
    NotFound where an adapter's base is gone.
    """
    known = find_gguf(store, model)
    if known is not None:
        if model.info.format == "safetensors":
            check_tokens(store.weights(model), store.weights(known), texts)
        return known
    with atomic_files.locked(
        store.incoming / f"form-{model.revision[:16]}.lock", f"the GGUF form of {model.name}", wait=True
    ):
        if (known := find_gguf(store, model)) is not None:
            return known
        with tempfile.TemporaryDirectory(prefix="form-", dir=store.incoming) as folder:
            target = Path(folder) / "model.gguf"
            return keep_gguf(store, model, target, write_gguf(store, model, target, texts, sink), move=True)


def write_gguf(
    store: Store, model: Model, target: Path, texts: Sequence[str] = (), sink: Sink = silent
) -> ConvertedStep | MergedStep:
    """Write the GGUF form of a safetensors model or an adapter as a file; what its lineage will say of it.

    Raises Unsupported, NotFound.
    """
    if model.info.format == "safetensors":
        rule = to_gguf(store.weights(model), target, model.info, texts, sink)
        return ConvertedStep(to="gguf", pre_tokenizer=rule)
    if model.info.format != "adapter":
        raise Unsupported(
            f"{model.name} is {model.info.format}, which has no GGUF form", "pass a model that writes text"
        )
    from freehold.training.adapter import merge_gguf

    base = as_gguf(store, store.base_of(model), texts, sink)
    factors, scale = factors_of(store, model, store.weights(base))
    merge_gguf(target, store.weights(base), factors, scale)
    digest = atomic_files.sha256_file(target)
    return MergedStep(to="gguf", into=base.name, into_revision=base.revision, digest=digest)


def factors_of(store: Store, model: Model, base: Path) -> tuple[Any, float]:
    """A stored adapter's factors by module, and their scale. ``base``: the GGUF it applies to."""
    from freehold.training.adapter import load_gguf_adapter, load_peft

    if "adapter_model.safetensors" in model.manifest:
        return load_peft(store.folder_of(model))
    return load_gguf_adapter(store.file(model, "adapter.lora"), base)


def keep_gguf(
    store: Store, model: Model, file: Path, step: Step, source: str = "", *, move: bool = False
) -> Model:
    """Store ``file`` as the GGUF form of ``model``; ``step``: what :func:`write_gguf` returned."""
    name = _free_name(store, model)
    # requests to it take the same form as to what it was made of
    answer_form_file = {
        file_name: store.file(model, file_name)
        for file_name in (answer_form.FILE,)
        if file_name in model.manifest
    }
    return store.add(
        name,
        made_here({f"{name.replace('/', '-')}.gguf": file, **answer_form_file}),
        {"source": source or f"{step.name}:{model.name}"},
        licence=model.info.licence,
        licence_from=f"inherited from {model.name}",
        lineage=model.rewritten_as(step),
        move=move,
    )


def _free_name(store: Store, model: Model) -> str:
    """NAME-gguf, or one with its revision where another model has that name."""
    name = f"{model.name}-gguf"
    others = [known for known in store.models() if known.name == name]
    of_this = all(known.info.lineage.names(model.name) for known in others)
    return name if of_this else f"{name}-{model.revision[:8]}"


def runnable(store: Store, model: Model, say: Callable[[str], None], sink: Sink = silent) -> Model:
    """The model that is run for ``model``: its GGUF form, or itself (by transformers) where it has none."""
    if model.info.format == "gguf" or runs_as_it_lies(model):
        return model
    existed = find_gguf(store, model) is not None
    try:
        form = as_gguf(store, model, sink=sink)
    except Unsupported as error:
        say(f"run by transformers in 32 bits, because llama.cpp cannot run {model.name}: {error.message}")
        return model
    merged = isinstance(form.info.lineage.steps[-1], MergedStep)
    how = "merged with its base" if merged else "converted"
    say(f"run by llama.cpp as {form.name} ({model.name} {how}{'' if existed else ', and kept in the store'})")
    return form


def runs_as_it_lies(model: Model) -> bool:
    """Whether llama.cpp takes this adapter beside its base."""
    return model.info.format == "adapter" and "adapter.lora" in model.manifest
