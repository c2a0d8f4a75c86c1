"""Export a model, proven: the exported file answers as the measured one did, or the export is removed.

Proofs: ``gguf`` and ``ollama``: byte-equal weights, the same prompt tokens and the same answers to rows of
the test split through the exported file; ``ollama`` besides renders the Modelfile's template and compares the
tokens. ``peft`` and ``merged``: merged again from the exported files (and quantized, where a trial did so),
the result is the file that tuning made, byte for byte. What was pulled as safetensors or as an adapter is
exported in its GGUF form, or merged.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, file_permissions
from freehold.core.errors import BadModel, StepFailed, Unsupported, UsageError
from freehold.core.progress import Sink, silent, task
from freehold.data.templates import ChatTemplate, Messages
from freehold.inference.loading import open_engine, open_vocabulary, prompting
from freehold.inference.prompt_encoder import choices_of, request_of
from freehold.models import answer_form
from freehold.models.answer_form import AnswerForm, of_model
from freehold.models.store import Model, Store
from freehold.runtime.gguf_form import as_gguf, public_name, write_gguf
from freehold.trial import task as tasks
from freehold.workflows import export_form

FORMATS = ("gguf", "ollama", "peft", "merged")
_PROOF_ROWS, _PROOF_TOKENS = 12, 48


@dataclass(frozen=True)
class ExportOptions:
    """What to export a model as, and where to."""

    #: one of :data:`FORMATS`
    format: str
    #: folder to write into; made if it does not exist
    folder: Path

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"--to {self.format} is not known", f"use one of {', '.join(FORMATS)}")


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    files: list[Path]
    #: what was proven of the files, in words
    proof: str


def export(store: Store, name: str, options: ExportOptions, sink: Sink = silent) -> Exported:
    """Export the model ``name``, proven. Raises Unsupported and StepFailed, and then leaves no file."""
    model, to, out = store.find(name), options.format, options.folder
    stem = model.name.replace("/", "-")
    if to in ("peft", "merged") and model.info.format != "adapter":
        _tuning(store, model)  # refused before anything is written
    form = as_gguf(store, model, sink=sink) if to in ("gguf", "ollama") else model
    atomic_files.make_folder(out)
    with task(sink, f"exporting {model.name} to {to}") as progress:
        if to in ("gguf", "ollama"):
            exported = _gguf(store, form, out, stem, modelfile=to == "ollama")
        else:
            progress.at(0, "merging and proving")
            pulled = model.info.format == "adapter"
            peft, merged = (_pulled_adapter, _merged_adapter) if pulled else (_adapter, _merged)
            exported = (peft if to == "peft" else merged)(store, model, out, stem)
        form_files = export_form.write(of_model(store, model), out, model.name, to, exported.files[0].name)
        for folder in [path for path in exported.files if path.is_dir()]:
            file_permissions.hand_out(folder)
        return Exported([*exported.files, *form_files, *_notices(store, model, out)], exported.proof)


def _notices(store: Store, model: Model, out: Path) -> list[Path]:
    """What the licences require to go with the model, written beside it."""
    from freehold.trust import obligations, provenance

    owed = obligations.compute(provenance.components(store, model, ""), model.name)
    return obligations.write(owed, model.name, out)


def _gguf(store: Store, model: Model, out: Path, stem: str, *, modelfile: bool) -> Exported:
    target = out / f"{stem}.gguf"
    source = store.weights(model)
    written = [target]
    with removed_on_failure(written):
        with atomic_files.replacing(target) as temporary:
            shutil.copyfile(source, temporary)
        if atomic_files.sha256_file(target) != model.digest:
            raise BadModel(f"{model.name} was changed in the store", f"freehold verify {model.name}")
        proof = _same_answers(store, model, target)
        if modelfile:
            written.append(out / "Modelfile")
            vocabulary = open_vocabulary(source)
            form = _form(store, model)
            template = prompting(model.info, vocabulary, plain=form.plain).template
            pieces = template_pieces(template)
            text = modelfile_text(target.name, pieces, vocabulary.eos_token, template)
            lines = export_form.modelfile_lines(form)
            atomic_files.write_atomically(written[1], text + "".join(f"{line}\n" for line in lines))
            proof += "; " + _same_template(store, model, template, pieces)
    return Exported(written, proof)


@contextlib.contextmanager
def removed_on_failure(written: list[Path]) -> Iterator[None]:
    """Remove files and folders that a block has written, if it fails."""
    try:
        yield
    except BaseException:
        for path in written:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise


def _form(store: Store, model: Model) -> AnswerForm:
    """The model's answer form; with the labels of its task where it was tuned before forms were stored."""
    form = of_model(store, model) or AnswerForm()
    if answer_form.FILE in model.manifest or "task.json" not in model.manifest:
        return form
    return replace(form, labels=tuple(tasks.read(store.file(model, "task.json")).labels))


def _questions(store: Store, model: Model) -> list[Messages]:
    """The questions of a handful of test rows; two plain ones for a model without a task."""
    if "task.json" in model.manifest:
        rows = tasks.read(store.file(model, "task.json")).test[:_PROOF_ROWS]
        return [row.prompt for row in rows]
    return [(("user", "What is the capital of France?"),), (("user", "Name three colours."),)]


def _same_answers(store: Store, model: Model, file: Path) -> str:
    from freehold.models.info import read_info

    form, questions = _form(store, model), _questions(store, model)
    answers: list[list[str]] = []
    tokens: list[list[list[int]]] = []
    for path in (store.weights(model), file):
        engine = open_engine(path, context_length=4096 if form.shots else 2048, parallel=4)
        info = model.info if path != file else read_info({file.name: file})
        encoder = prompting(info, engine.vocabulary, plain=form.plain)
        choices = choices_of(encoder, form)
        requests = [
            request_of(encoder, form, question, choices, max_tokens=0 if choices else _PROOF_TOKENS)
            for question in questions
        ]
        ends = [encoder.row((*question, ("assistant", "-")))[1] for question in questions]
        tokens.append([[*request.tokens, -1, *end] for request, end in zip(requests, ends, strict=True)])
        completions = dict(engine.generate(requests))
        answers.append([completions[i].text for i in range(len(questions))])
        engine.close()
    if tokens[0] != tokens[1] or answers[0] != answers[1]:
        raise StepFailed(
            f"the exported file does not answer as {model.name} does", "report this; the export was removed"
        )
    return f"bytes equal, {len(questions)} rows: prompt and end-of-turn tokens equal, answers equal"


# -- Ollama's template ----------------------------------------------------------------------


def template_pieces(template: ChatTemplate) -> dict[str, str]:
    """Split a template into the texts around system, user and assistant messages.

    Raises Unsupported where it is not that regular.
    """
    s, u, a, v = "\x01S\x01", "\x01U\x01", "\x01A\x01", "\x01V\x01"
    full = template.prompt((("system", s), ("user", u), ("assistant", a), ("user", v)))
    bare = template.prompt((("user", u),))
    try:
        before_system, rest = full.split(s)
        between, rest = rest.split(u)
        to_answer, rest = rest.split(a)
        to_user, opening = rest.split(v)
    except ValueError:
        raise Unsupported(
            "the chat template is too irregular to be written as an Ollama template",
            "export --to gguf and write one",
        ) from None
    default = bare.partition(u)[0]
    pieces = {
        "before_system": before_system,
        "system_to_user": between,
        "user_to_answer": to_answer,
        "answer_to_user": to_user,
        "opening": opening,
    }
    # what comes before a user's message wherever it stands: after a system message or an answer, and at the
    # beginning
    common, shortest = 0, min(len(between), len(to_user), len(default))
    while common < shortest and between[-1 - common] == to_user[-1 - common] == default[-1 - common]:
        common += 1
    pieces["before_user"] = between[len(between) - common :] if common else ""
    pieces["after_system"] = between[: len(between) - common]
    pieces["after_answer"] = to_user[: len(to_user) - common]
    pieces["default_system"] = (
        default[: len(default) - common] if default.endswith(pieces["before_user"]) else default
    )
    return pieces


def render_pieces(pieces: dict[str, str], messages: Messages) -> str:
    """What Ollama renders from the Modelfile's template for these messages."""
    text = "" if messages and messages[0][0] == "system" else pieces["default_system"]
    for role, content in messages:
        if role == "system":
            text += pieces["before_system"] + content + pieces["after_system"]
        elif role == "user":
            text += pieces["before_user"] + content + pieces["opening"]
        else:
            text += content + pieces["after_answer"]
    return text


def modelfile_text(file: str, pieces: dict[str, str], end: str, template: ChatTemplate) -> str:
    """The Modelfile: weights, template in Go's syntax, stop texts, greedy as measured."""

    def q(text: str) -> str:
        return (
            '{{ "' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '" }}'
            if text
            else ""
        )

    body = (
        f"{{{{- if not .System }}}}{q(pieces['default_system'])}{{{{ end }}}}"
        "{{- range .Messages }}"
        f'{{{{- if eq .Role "system" }}}}{q(pieces["before_system"])}'
        f"{{{{ .Content }}}}{q(pieces['after_system'])}"
        f'{{{{- else if eq .Role "user" }}}}{q(pieces["before_user"])}'
        f"{{{{ .Content }}}}{q(pieces['opening'])}"
        f"{{{{- else }}}}{{{{ .Content }}}}{q(pieces['after_answer'])}{{{{ end }}}}"
        "{{- end }}"
    )
    stops = [stop for stop in (end, *template.stops) if stop]
    lines = [
        f"FROM ./{file}",
        f'TEMPLATE """{body}"""',
        "PARAMETER temperature 0",
        *(f"PARAMETER stop {json.dumps(stop)}" for stop in stops),
    ]
    return "\n".join(lines) + "\n"


def _same_template(store: Store, model: Model, template: ChatTemplate, pieces: dict[str, str]) -> str:
    form, questions = _form(store, model), _questions(store, model)
    for question in questions:
        messages = form.messages(question)
        if render_pieces(pieces, messages) != template.prompt(messages):
            raise Unsupported(
                "the Modelfile's template would render a row differently from the model's own",
                "export --to gguf and write a Modelfile",
            )
    return (
        f"the Modelfile's template renders {len(questions)} rows as the model's own does (Ollama itself was "
        "not run)"
    )


# -- adapter and merged ---------------------------------------------------------------------


def _not_tuned(model: Model) -> Unsupported:
    return Unsupported(
        f"{model.name} was not tuned here, so there is no adapter and nothing to merge",
        f"export it with --to gguf or --to ollama, or tune it first: freehold tune {model.name} ROWS",
    )


def _not_led_back(model: Model) -> StepFailed:
    return StepFailed(
        f"the exported files do not lead back to {model.name}", "report this; the export was removed"
    )


@dataclass(frozen=True)
class _Tuning:
    """How a tuned model came to be, as its lineage says.

    ``merged``: sha256 of base and adapter in 16 bit, '' where none was recorded; ``quantized``: the type and
    the digest of what a trial made of that, if it did; ``after``: what was done to it then, as names of
    steps.
    """

    base: Path
    base_name: str
    merged: str
    quantized: tuple[str, str] | None
    after: tuple[str, ...]


def _tuning(store: Store, model: Model) -> _Tuning:
    """Raises Unsupported for a model that was not tuned here, NotFound where its base is gone."""
    tuning = model.info.lineage.tuning
    if tuning is None or "adapter_model.safetensors" not in model.manifest:
        raise _not_tuned(model)
    base, first = store.base_of(model), tuning.quantized
    quantized = (first.type or "", first.digest or model.digest) if first else None
    steps = tuple(step.name for step in tuning.after[1 if first else 0 :])
    merged = tuning.tuned.digest or ("" if tuning.after else model.digest)
    return _Tuning(store.weights(base), base.name, merged, quantized, steps)


def _copy_adapter(store: Store, model: Model, folder: Path) -> Path:
    """The adapter's files, which name their base by its repository, where it came from one."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_files.write_atomically(
        folder / "adapter_model.safetensors", store.file(model, "adapter_model.safetensors").read_bytes()
    )
    config = json.loads(store.file(model, "adapter_config.json").read_text())
    config["base_model_name_or_path"] = public_name(store, store.base_of(model))
    atomic_files.write_atomically(folder / "adapter_config.json", json.dumps(config, indent=2) + "\n")
    return folder


def _leads_back(tuning: _Tuning, whole: Path, model: Model) -> str:
    """Prove that the 16-bit file ``whole`` is what tuning made; the proof in words.

    Raises StepFailed, Unsupported.
    """
    from freehold.quantization.quantize import quantize

    digest = atomic_files.sha256_file(whole)
    if tuning.merged and digest != tuning.merged:
        raise _not_led_back(model)
    proven = f"byte for byte the 16-bit file that tuning made (sha256 {digest[:12]})" if tuning.merged else ""
    if tuning.quantized is not None:
        kind, stated = tuning.quantized
        with tempfile.TemporaryDirectory(prefix="freehold-proof-", dir=whole.parent) as folder:
            quantize(whole, Path(folder) / "again.gguf", kind)
            if atomic_files.sha256_file(Path(folder) / "again.gguf") != stated:
                raise _not_led_back(model)
        proven = f"quantized to {kind}, byte for byte the file that was measured (sha256 {stated[:12]})"
    if not proven:
        raise Unsupported(
            f"the lineage of {model.name} does not say which file tuning made, so nothing can be proven "
            "about its adapter",
            "export --to gguf",
        )
    return proven + (
        f"; {model.name} itself was {' and '.join(tuning.after)} after that" if tuning.after else ""
    )


def _adapter(store: Store, model: Model, out: Path, stem: str) -> Exported:
    from freehold.training.adapter import load_peft, merge_gguf

    tuning = _tuning(store, model)
    folder = out / f"{stem}-adapter"
    with (
        removed_on_failure([folder]),
        tempfile.TemporaryDirectory(prefix="freehold-merged-", dir=out) as work,
    ):
        _copy_adapter(store, model, folder)
        merge_gguf(Path(work) / "merged.gguf", tuning.base, *load_peft(folder))
        proof = _leads_back(tuning, Path(work) / "merged.gguf", model)
    comma = "," if tuning.quantized else ""
    return Exported([folder], f"the base {tuning.base_name} with the exported adapter is{comma} {proof}")


def _merged(store: Store, model: Model, out: Path, stem: str) -> Exported:
    from freehold.training.adapter import load_peft, merge_gguf

    tuning = _tuning(store, model)
    kind = tuning.quantized[0].lower() if tuning.quantized else "f16"
    target = out / f"{stem.removesuffix('-' + kind).removesuffix('-f16')}-f16.gguf"
    with (
        removed_on_failure([target]),
        tempfile.TemporaryDirectory(prefix="freehold-adapter-", dir=out) as folder,
    ):
        merge_gguf(target, tuning.base, *load_peft(_copy_adapter(store, model, Path(folder) / "adapter")))
        proof = _leads_back(tuning, target, model)
    return Exported([target], f"the exported file is{',' if tuning.quantized else ''} {proof}")


# -- an adapter that was pulled ---------------------------------------------------------------


def _pulled_adapter(store: Store, model: Model, out: Path, stem: str) -> Exported:
    """The files of an adapter as they were pulled."""
    names = [name for name in model.manifest if name != "adapter.lora"]
    if "adapter_model.safetensors" not in names:
        raise Unsupported(
            f"{model.name} is an adapter in llama.cpp's format, not in PEFT's",
            "export it with --to merged or --to gguf",
        )
    folder = out / f"{stem}-adapter"
    with removed_on_failure([folder]):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.file(model, name), folder / name)
            if atomic_files.sha256_file(folder / name) != model.manifest[name][0]:
                raise BadModel(
                    f"{name} of {model.name} was changed in the store", f"freehold verify {model.name}"
                )
    return Exported([folder], f"the {len(names)} files are those that were pulled, byte for byte")


def _merged_adapter(store: Store, model: Model, out: Path, stem: str) -> Exported:
    """A pulled adapter merged into its base, in the base's own format."""
    from freehold.training.adapter import load_peft, merge_safetensors

    base = store.base_of(model)
    if base.info.format != "safetensors":
        form = as_gguf(store, model)
        target = out / f"{stem}-f16.gguf"
        with removed_on_failure([target]):
            with atomic_files.replacing(target) as temporary:
                shutil.copyfile(store.weights(form), temporary)
            again = write_again(store, model, out)
            if not atomic_files.sha256_file(target) == again == form.digest:
                raise StepFailed(
                    f"the exported file is not {base.name} with {model.name}",
                    "report this; the export was removed",
                )
        return Exported(
            [target],
            f"{base.name} with {model.name}, merged twice, is the exported file byte for byte "
            f"(sha256 {form.digest[:12]})",
        )
    folder = out / f"{stem}-merged"
    with removed_on_failure([folder]):
        factors, scale = load_peft(store.folder_of(model))
        merge_safetensors(folder, store.weights(base), factors, scale)
        changed, same = _compare_tensors(store.weights(base), folder, factors, scale)
    return Exported(
        [folder],
        f"in {changed} matrices the adapter was added to the base, and {same} tensors are the base's, byte "
        "for byte",
    )


def write_again(store: Store, model: Model, folder: Path) -> str:
    """sha256 of the GGUF form of an adapter, written a second time."""
    with tempfile.TemporaryDirectory(prefix="freehold-proof-", dir=folder) as work:
        write_gguf(store, model, Path(work) / "again.gguf")
        return atomic_files.sha256_file(Path(work) / "again.gguf")


def _compare_tensors(base: Path, merged: Path, factors: Any, scale: float) -> tuple[int, int]:
    """(matrices changed, tensors equal). Raises StepFailed where a tensor is not that of base and adapter."""
    import torch
    from safetensors.torch import load_file

    changed = same = 0
    for file in base.glob("*.safetensors"):
        theirs, ours = load_file(file), load_file(merged / file.name)
        for name, tensor in theirs.items():
            factor = factors.get(name.removeprefix("model.").removesuffix(".weight"))
            expected = tensor if factor is None else factor.merged(tensor, scale).to(tensor.dtype)
            if not torch.equal(expected, ours[name]):
                raise StepFailed(
                    f"{name} in the export is not what base and adapter give",
                    "report this; the export was removed",
                )
            changed, same = changed + (factor is not None), same + (factor is None)
    return changed, same
