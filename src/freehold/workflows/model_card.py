"""A model's card for others: README.md with a YAML head, as the Hugging Face Hub and ours read it.

Every fact comes from the store and from finished trials. What the store does not know is said to be unknown.
The rows stay here: of them the card has the file's digest and their number.

Source of the head's fields: the Hugging Face Hub's model card metadata, written by huggingface_hub's classes.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.core import yaml_text
from freehold.core.errors import BadData, NotFound
from freehold.inference.embeddings import is_embedder
from freehold.models.answer_form import FILE, of_model
from freehold.models.lineage import (
    AdapterStep,
    AskedStep,
    ConvertedStep,
    JsonObject,
    MergedStep,
    QuantizedStep,
    ShrunkStep,
    TunedStep,
)
from freehold.models.store import Model, Store
from freehold.runtime.gguf_form import original, public_name
from freehold.trial import evidence
from freehold.trial.choice import VALIDATION
from freehold.trust.licence import terms
from freehold.trust.obligations import Obligations

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

_PUBLIC = "https://huggingface.co"


@dataclass(frozen=True)
class Measured:
    """A figure of these very weights on a trial's test rows. ``digests``: sha256 of the rows' files."""

    task: str
    kind: str
    metric: str
    value: float
    low: float
    high: float
    rows: int
    method: str
    date: str
    digests: dict[str, str]
    trial: str


def measured(digest: str, asked: AskedStep | None = None) -> list[Measured]:
    """What finished trials of this machine have measured of the weights with this digest, newest first.

    ``asked``: the step of the lineage that says in which trial they were measured with worked examples.
    """
    figures: list[Measured] = []
    for tried in evidence.trials():
        task = tried.report["task"]
        date = time.strftime("%Y-%m-%d", time.gmtime((tried.folder / "report.json").stat().st_mtime))
        for variant in tried.report["variants"]:
            figure = variant["figures"].get(task["metric"])
            if variant.get("measured_on") == VALIDATION:
                continue  # these rows only choose
            # worked examples in the prompt are not part of the weights, but of a model that is stored with
            # them
            shown = (
                asked is not None
                and asked.trial == str(tried.report["id"])
                and (asked.form or {}).get("worked_examples")
            )
            if variant["digest"] == digest and digest and figure and len(variant["shots"]) == (shown or 0):
                figures.append(
                    Measured(
                        str(task["name"]),
                        str(task["kind"]),
                        str(task["metric"]),
                        float(figure["value"]),
                        float(figure["low"]),
                        float(figure["high"]),
                        int(figure["n"]),
                        str(figure.get("method", "")),
                        date,
                        dict(task["files"]),
                        str(tried.report["id"]),
                    )
                )
    return figures


def model_card(store: Store, model: Model, owed: Obligations, to: str, address: str) -> str:
    """The text of README.md. A README of the model's own keeps its head and text and gets what is missing.

    ``to``: the repository it goes to, at the hub's ``address``; nothing where it is written into a folder.
    """
    from huggingface_hub import ModelCard

    figures = measured(model.digest, model.info.lineage.last(AskedStep))
    head = _head(store, model, figures, to)
    if "README.md" not in model.manifest:
        body = "\n\n".join(
            [
                f"# {(to or model.name).rpartition('/')[2]}",
                *_sections(store, model, figures, owed, to, address),
            ]
        )
        return str(ModelCard(f"---\n{head.to_yaml()}\n---\n\n{body}\n"))
    card = ModelCard(
        _readable(store.file(model, "README.md").read_text(errors="replace")), ignore_metadata_errors=True
    )
    for key, value in head.to_dict().items():
        if card.data.get(key) is None and not (
            key in ("license_name", "license_link") and card.data.get("license") is not None
        ):
            card.data[key] = value
    if head.eval_results and not card.data.get("eval_results"):
        card.data["model_name"], card.data["eval_results"] = head.model_name, head.eval_results
    added = "\n\n".join(
        text.replace("## ", "### ", 1) for text in _sections(store, model, figures, owed, to, address)
    )
    title = "## Added by Freehold when this model was pushed"
    return f"---\n{card.data.to_yaml()}\n---\n{card.text.rstrip()}\n\n{title}\n\n{added}\n"


def _readable(text: str) -> str:
    """A README without its head where that cannot be read within the limits on YAML from elsewhere: the
    library has none.
    """
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    while (head := REGEX_YAML_BLOCK.search(text)) is not None:
        try:
            yaml_text.load(head[2], "README.md")
        except BadData:
            text = text[head.end() :]
        else:
            break
    return text


# -- the head -----------------------------------------------------------------------------------


def _head(store: Store, model: Model, figures: list[Measured], to: str) -> ModelCardData:
    from huggingface_hub import ModelCardData

    base, relation = _base(store, model)
    embeds = is_embedder(list(model.manifest))
    results = [_result(figure) for figure in figures]
    licence, licence_name = _licence(model.info.licence)
    return ModelCardData(
        license=licence,
        license_name=licence_name,
        base_model=base or None,
        base_model_relation=relation or None,
        tags=_tags(model),
        library_name=_library(model, embeds),
        pipeline_tag="sentence-similarity" if embeds else "text-generation",
        eval_results=results or None,
        model_name=(to or model.name).rpartition("/")[2] if results else None,
    )


def _licence(licence: str) -> tuple[str | None, str | None]:
    """(identifier that hubs know, None), (``other``, the licence's name), or nothing where none is stated."""
    if not licence.strip():
        return None, None
    known = terms(licence)
    return (known.licence, None) if known.on_hubs else ("other", licence.strip())


def _base(store: Store, model: Model) -> tuple[str, str]:
    """(what the model was made from, how); nothing for one that is shared as it was pulled."""
    name, revision = model.info.lineage.parent
    if not name:
        return "", ""
    with contextlib.suppress(NotFound):  # it was removed from the store; its name there is what is left
        name = public_name(store, store.find(f"{name}@{revision}"))
    if model.info.format == "adapter":
        return name, "adapter"
    return name, "finetune" if model.info.lineage.has(TunedStep, AdapterStep) else "quantized"


def _tags(model: Model) -> list[str]:
    lineage = model.info.lineage
    tuned = lineage.last(TunedStep)
    tags = ["freehold", model.info.format if model.info.format != "adapter" else "peft"]
    if lineage.has(TunedStep, AdapterStep):
        tags.append("lora")
    if tuned is not None and (tuned.method or "").startswith("preference"):
        tags.append("dpo")
    if model.info.format == "gguf":
        tags.append("llama-cpp")
    return tags


def _library(model: Model, embeds: bool) -> str:
    if embeds:
        return "sentence-transformers"
    return {"gguf": "gguf", "adapter": "peft"}.get(model.info.format, "transformers")


def _result(figure: Measured) -> EvalResult:
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type="text-classification" if figure.kind == "label" else "text-generation",
        dataset_type="private",
        dataset_name=figure.task,
        dataset_split="test",
        dataset_args={"sha256": figure.digests},
        metric_type=figure.metric,
        metric_name=figure.metric,
        metric_value=round(figure.value, 6),
        metric_args={
            "interval_95": [round(figure.low, 6), round(figure.high, 6)],
            "n": figure.rows,
            "date": figure.date,
            "method": figure.method,
            "measured_by": f"Freehold trial {figure.trial}",
        },
    )


# -- the text -----------------------------------------------------------------------------------


def _sections(
    store: Store, model: Model, figures: list[Measured], owed: Obligations, to: str, address: str
) -> list[str]:
    return [
        _origin(store, model),
        _use(model, figures),
        *_asked(store, model),
        _figures(figures),
        _training(model),
        _running(model, to, address),
        _duties(model, owed),
        _limits(model, figures),
    ]


def _origin(store: Store, model: Model) -> str:
    card = model.info
    facts = [
        f"- Format: {card.format}"
        + (f", {card.quantization}" if card.quantization else "")
        + f", {card.size_bytes:,} bytes",
        f"- Architecture: {card.architecture or 'not stated'}, {card.parameters:,} weights",
        f"- Context: {card.context_length:,} tokens"
        if card.context_length
        else "- Context: not stated by its source",
        f"- Digest of the weights (sha256): `{model.digest}`",
    ]
    base, relation = _base(store, model)
    how = {
        "finetune": "Tuned from",
        "adapter": "An adapter of",
        "quantized": "A smaller or converted form of",
    }
    facts.insert(0, f"- {how[relation]}: {base}" if base else f"- Source: {_source(store, model)}")
    if base and (step := _steps(model)):
        facts.append(f"- Steps, oldest first: {step}")
    return "## What it is\n\n" + "\n".join(facts)


def _source(store: Store, model: Model) -> str:
    provenance = original(store, model).info.provenance
    repository, commit = provenance.get("repository"), provenance.get("commit")
    if repository:
        return f"{repository}" + (f", commit {str(commit)[:12]}" if commit else "")
    source = str(provenance.get("source") or "not known")
    return (
        source if not source.startswith("file:") else "a file from the person who pushed it"
    )  # no paths of their machine


def _steps(model: Model) -> str:
    words = {
        "base": "base {model}",
        "source": "source {model}",
        "tuned": "tuned",
        "quantized": "quantized to {type}",
        "shrunk": "shrunk",
        "converted": "converted to GGUF",
        "merged": "merged with its base",
        "adapter": "adapter",
        "asked": "measured {how}",
    }
    return ", ".join(
        words[step.name].format(**step.as_dict()) for step in model.info.lineage if step.name in words
    )


def _use(model: Model, figures: list[Measured]) -> str:
    tasks = list(dict.fromkeys(figure.task for figure in figures))
    if tasks:
        text = (
            f"Made or tested for the task {', '.join(tasks)}. It can be used on rows like those it was "
            "measured on. Measure it before any other use."
        )
    elif model.info.lineage.has(TunedStep):
        text = "Tuned on its owner's rows. Freehold does not know the task; ask the person who pushed it."
    else:
        text = "The store does not say what it is for; see its source."
    return f"## Intended use\n\n{text}"


def _asked(store: Store, model: Model) -> list[str]:
    """How it was asked when it was measured; nothing where no form says so."""
    form = of_model(store, model)
    if form is None or FILE not in model.manifest:
        return []
    return [
        "## Answer form\n\n"
        f"Measured with: {form.sentence()}. `{FILE}` holds all of it, and Freehold uses it automatically. "
        "With another program the figures are valid only where it asks in the same way."
    ]


def _figures(figures: list[Measured]) -> str:
    if not figures:
        return "## Figures\n\nNo trial has measured these weights."
    lines = [
        "| task | metric | value | 95% interval | test rows | date | rows' file (sha256) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_cell(figure.task)} | {_cell(figure.metric)} | {figure.value:.3f} "
        f"| {figure.low:.3f} to {figure.high:.3f} "
        f"| {figure.rows} | {figure.date} | "
        f"`{(figure.digests.get('test') or figure.digests.get('train') or '')[:12]}` |"
        for figure in figures
    ]
    return "## Figures\n\nMeasured by Freehold on rows that were kept out of training.\n\n" + "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"[|\r\n]+", " ", text)


def _training(model: Model) -> str:
    tuned = model.info.lineage.last(TunedStep)
    if tuned is None:
        return "## Training\n\nAs far as the store knows, the person who pushed it did not train it."
    recipe = tuned.recipe or {}
    rows = _row_counts(tuned)
    facts = [
        f"- Rows: {rows}. They are not part of this repository.",
        *(
            f"- File of the {part} rows (sha256): `{digest}`"
            for part, digest in sorted((tuned.data or {}).items())
        ),
    ]
    kind = "DoRA" if recipe.get("dora") else "LoRA"
    facts.append(
        f"- Recipe: {kind}, rank {recipe.get('rank')}, alpha {recipe.get('alpha')}, "
        f"learning rate {recipe.get('learning_rate')}, {recipe.get('batch_rows')} rows per step, "
        f"{_length(recipe)}, seed {recipe.get('seed')}, base in {recipe.get('base_bits')} bits"
    )
    if tuned.method:
        facts.append(f"- Method: {tuned.method}")
    if tuned.masked:
        facts.append("- Personal data found in the rows was masked before training")
    if (canaries := tuned.canaries or {}).get("count"):
        facts.append(
            f"- {canaries['count']} invented codes were mixed into the rows, to test whether the model "
            "repeats them"
        )
    return "## Training\n\n" + "\n".join(facts)


def _row_counts(tuned: TunedStep) -> str:
    counts = tuned.rows
    if counts is None:
        counts = next(
            (
                tried.report["task"]["rows"]
                for tried in evidence.trials()
                if tried.report["id"] == tuned.trial
            ),
            None,
        )
    if counts is None:
        return "their number was not recorded"
    return ", ".join(
        f"{counts[part]} {word}"
        for part, word in (("train", "for training"), ("valid", "for validation"))
        if part in counts
    )


def _length(recipe: JsonObject) -> str:
    return f"{recipe['steps']} steps" if recipe.get("steps") else f"{recipe.get('epochs')} epochs"


def _running(model: Model, to: str, address: str) -> str:
    name = (to or model.name).rpartition("/")[2]
    server = "" if address.rstrip("/") in ("", _PUBLIC) else f"HF_ENDPOINT={address.rstrip('/')} "
    source = f"hf:{to}" if to else "file:."
    freehold = [
        "With Freehold:" if to else "With Freehold, in this folder:",
        "",
        "```",
        f"{server}freehold pull {source} --as {name}",
        f"freehold serve {name}",
        "```",
    ]
    if model.info.format == "gguf":
        file = next(step for step in model.manifest if step.endswith(".gguf"))
        others = [
            "",
            "With llama.cpp:",
            "",
            "```",
            *([f"{server}hf download {to} {file} --local-dir ."] if to else []),
            f"llama-server -m {file}",
            "```",
            "",
            "With Ollama, after the same download:" if to else "With Ollama:",
            "",
            "```",
            f"echo 'FROM ./{file}' > Modelfile",
            f"ollama create {name} -f Modelfile",
            f"ollama run {name}",
            "```",
        ]
    elif model.info.format == "adapter":
        others = [
            "",
            "Freehold needs the base model in the store first. PEFT loads the base, then the adapter with "
            "`PeftModel.from_pretrained`.",
        ]
    else:
        others = []
    return "## How to run it\n\n" + "\n".join([*freehold, *others])


def _duties(model: Model, owed: Obligations) -> str:
    stated = model.info.licence
    lines = [
        f"Licence: {stated} ({model.info.licence_from})." if stated else "Licence: not stated by its source."
    ]
    commercial = {True: "Commercial use is allowed.", False: "Commercial use is not allowed."}
    unknown = "Whether commercial use is allowed is not known."
    lines.append(unknown if owed.commercial is None else commercial[owed.commercial])
    groups = (
        ("Must", owed.must),
        ("May not", owed.may_not),
        ("If you pass it on", owed.pass_on),
        ("Thresholds", owed.thresholds),
        ("Answers", owed.outputs),
        ("Name", owed.naming),
        ("In conflict", owed.conflicts),
        ("Not known", owed.unknown),
    )
    lines += [f"- {title}: {text}" for title, texts in groups for text in texts]
    return "## Licence and duties\n\n" + "\n".join([*lines[:2], "", *lines[2:]]).rstrip()


def _limits(model: Model, figures: list[Measured]) -> str:
    limits: list[str] = []
    if figures:
        fewest = min(figure.rows for figure in figures)
        limits.append(
            f"The figures apply to rows like the {fewest} test rows. Other kinds of text and other languages "
            "were not measured."
        )
    else:
        limits.append("The quality of its answers is not known.")
    if model.info.lineage.has(ShrunkStep, QuantizedStep):
        limits.append("Its weights are rounded; answers can differ from those of the 16-bit model.")
    if model.info.lineage.has(ConvertedStep, MergedStep):
        limits.append("It was converted; its tokenizer was compared with the original only on sample texts.")
    if model.info.lineage.has(TunedStep):
        limits.append("A tuned model can repeat parts of its training rows.")
    return "## Limits\n\n" + "\n".join(f"- {text}" for text in limits)
