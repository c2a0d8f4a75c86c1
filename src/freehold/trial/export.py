"""Take a model out, proven: the exported file answers as the measured one did, or the export is removed.

Proofs: ``gguf`` and ``ollama``: byte-equal weights, the same prompt tokens and the same answers to
rows of the test split through the exported file; ``ollama`` besides renders the Modelfile's template
and compares the tokens. ``peft`` and ``merged``: merged and quantized again from the exported files,
the result is the measured file, byte for byte.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold import durable
from freehold.data.templates import ChatTemplate, Messages
from freehold.engines.loading import open_engine, open_vocabulary, prompting
from freehold.errors import BadModel, StepFailed, Unsupported, UsageError
from freehold.evals.measure import Ask, requests
from freehold.hub.store import Model, Store
from freehold.progress import Sink, task
from freehold.trial import task as tasks

FORMATS = ("gguf", "ollama", "peft", "merged")
_PROOF_ROWS = 12


@dataclass(frozen=True)
class Exported:
    """Files written, and what was proven of them."""

    files: list[Path]
    proof: str


def export(store: Store, name: str, to: str, out: Path, sink: Sink) -> Exported:
    """Write ``name`` as ``to`` into the folder ``out``. Raises UsageError, Unsupported, StepFailed; then ``out`` holds nothing new."""
    if to not in FORMATS:
        raise UsageError(f"--to {to} is not known", f"use one of {', '.join(FORMATS)}")
    model = store.find(name)
    if model.card.format != "gguf":
        raise Unsupported(f"{name} is {model.card.format} and is exported as it lies in the store", f"copy {store.weights(model)}")
    out.mkdir(parents=True, exist_ok=True)
    stem = name.replace("/", "-")
    with task(sink, f"exporting {name} to {to}") as progress:
        if to in ("gguf", "ollama"):
            made = _gguf(store, model, out, stem, modelfile=to == "ollama")
        else:
            progress.at(0, "merging and proving")
            made = _adapter(store, model, out, stem) if to == "peft" else _merged(store, model, out, stem)
        return Exported([*made.files, *_notices(store, model, out)], made.proof)


def _notices(store: Store, model: Model, out: Path) -> list[Path]:
    """What the licences want to go with the model, written beside it."""
    from freehold.trust import obligations, provenance

    owed = obligations.compute(provenance.components(store, model, ""), model.name)
    return obligations.write(owed, model.name, out)


def _shared(store: Store, model: Model) -> dict[str, Path]:
    """A model's files and what is said of it, by name: all that is handed on. The rows it was trained on are not."""
    from freehold.trust.certificate import files_of, place

    evidence = place(store, model)
    return {name: store.file(model, name) for name in files_of(model)} | {
        path.name: path for path in (evidence.iterdir() if evidence.is_dir() else ())
    }


def hand_over(store: Store, model: Model, out: Path) -> list[Path]:
    """Copy a model's files and what is said of it into ``out``, to be handed on; the rows it was trained on stay here. Raises UsageError."""
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"the folder {out} is not empty", "name one that is, or that is not there yet")
    out.mkdir(parents=True, exist_ok=True)
    files = _shared(store, model)
    written = [out / name for name in files]
    with _removed_on_failure(written):
        durable.need_disk(out, model.card.size_bytes, f"writing {model.name}")
        for name, path in files.items():
            with durable.replacing(out / name) as temporary:
                shutil.copyfile(path, temporary)
    return written


def push(store: Store, model: Model, to: str, address: str, token: str, sink: Sink) -> str:
    """Commit a model and its evidence to a hub of the Hugging Face protocol; the commit. Raises FreeholdError."""
    from huggingface_hub import CommitOperationAdd

    from freehold.hub import remote

    files = _shared(store, model)
    api = remote.client(address, token)
    with (
        remote.explained(f"{to} at {address}"),
        task(sink, f"pushing {model.name}", sum(path.stat().st_size for path in files.values()), "bytes") as progress,
    ):
        api.create_repo(to, exist_ok=True)
        made = api.create_commit(
            to, [CommitOperationAdd(name, str(path)) for name, path in files.items()], commit_message=f"{model.name}@{model.revision[:12]}"
        )
        progress.at(progress.total)
    return str(made.oid)


def _gguf(store: Store, model: Model, out: Path, stem: str, *, modelfile: bool) -> Exported:
    target = out / f"{stem}.gguf"
    source = store.weights(model)
    written = [target]
    with _removed_on_failure(written):
        with durable.replacing(target) as temporary:
            shutil.copyfile(source, temporary)
        if durable.sha256_file(target) != model.digest:
            raise BadModel(f"{model.name} was changed in the store", f"freehold verify {model.name}")
        proof = _same_answers(store, model, target)
        if modelfile:
            written.append(out / "Modelfile")
            vocabulary = open_vocabulary(source)
            template = prompting(model.card, vocabulary).template
            pieces = template_pieces(template)
            durable.write_atomically(written[1], modelfile_text(target.name, pieces, vocabulary.eos_token, template))
            proof += "; " + _same_template(store, model, template, pieces)
    return Exported(written, proof)


@contextlib.contextmanager
def _removed_on_failure(written: list[Path]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for path in written:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise


def _rows(store: Store, model: Model) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """A handful of test rows and the labels of the model's task; two plain questions for a model without one."""
    from freehold.data.examples import Example

    if "task.json" in model.manifest:
        task_ = tasks.read(store.file(model, "task.json"))
        return task_.test[:_PROOF_ROWS], task_.labels
    asked = ("What is the capital of France?", "Name three colours.")
    return tuple(Example(f"q{i}", (("user", text), ("assistant", "-"))) for i, text in enumerate(asked)), ()


def _same_answers(store: Store, model: Model, file: Path) -> str:
    rows, labels = _rows(store, model)
    answers: list[list[str]] = []
    tokens: list[list[list[int]]] = []
    for path in (store.weights(model), file):
        engine = open_engine(path, context_length=2048, parallel=4)
        from freehold.hub.card import read_card

        asking = prompting(model.card if path != file else read_card({file.name: file}), engine.vocabulary)
        ask = Ask((), labels, 48)
        wanted = requests(asking, ask, rows)
        tokens.append([[*request.tokens, -1, *asking.row(row.messages)[1]] for request, row in zip(wanted, rows, strict=True)])
        given = dict(engine.generate(wanted))
        answers.append([given[i].text for i in range(len(rows))])
        engine.close()
    if tokens[0] != tokens[1] or answers[0] != answers[1]:
        raise StepFailed(f"the exported file does not answer as {model.name} does", "report this; the export was removed")
    return f"bytes equal, {len(rows)} rows: prompt and end-of-turn tokens equal, answers equal"


# -- Ollama's template ----------------------------------------------------------------------


def template_pieces(template: ChatTemplate) -> dict[str, str]:
    """Split a template into the texts around system, user and assistant messages. Raises Unsupported where it is not that regular."""
    s, u, a, v = "\x01S\x01", "\x01U\x01", "\x01A\x01", "\x01V\x01"
    full = template.prompt((("system", s), ("user", u), ("assistant", a), ("user", v)))
    bare = template.prompt((("user", u),))
    try:
        before_system, rest = full.split(s)
        between, rest = rest.split(u)
        to_answer, rest = rest.split(a)
        to_user, opening = rest.split(v)
    except ValueError:
        raise Unsupported("the chat template is too irregular to be written as an Ollama template", "export --to gguf and write one") from None
    default = bare.partition(u)[0]
    pieces = {"before_system": before_system, "system_to_user": between, "user_to_answer": to_answer, "answer_to_user": to_user, "opening": opening}
    common = 0
    while common < min(len(between), len(to_user)) and between[-1 - common] == to_user[-1 - common]:
        common += 1
    pieces["before_user"] = between[len(between) - common :] if common else ""
    pieces["after_system"] = between[: len(between) - common]
    pieces["after_answer"] = to_user[: len(to_user) - common]
    pieces["default_system"] = default[: len(default) - common] if default.endswith(pieces["before_user"]) else default
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
        return '{{ "' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '" }}' if text else ""

    body = (
        f"{{{{- if not .System }}}}{q(pieces['default_system'])}{{{{ end }}}}"
        "{{- range .Messages }}"
        f'{{{{- if eq .Role "system" }}}}{q(pieces["before_system"])}{{{{ .Content }}}}{q(pieces["after_system"])}'
        f'{{{{- else if eq .Role "user" }}}}{q(pieces["before_user"])}{{{{ .Content }}}}{q(pieces["opening"])}'
        f"{{{{- else }}}}{{{{ .Content }}}}{q(pieces['after_answer'])}{{{{ end }}}}"
        "{{- end }}"
    )
    stops = [stop for stop in (end, *template.stops) if stop]
    lines = [f"FROM ./{file}", f'TEMPLATE """{body}"""', "PARAMETER temperature 0", *(f"PARAMETER stop {json.dumps(stop)}" for stop in stops)]
    return "\n".join(lines) + "\n"


def _same_template(store: Store, model: Model, template: ChatTemplate, pieces: dict[str, str]) -> str:
    rows, _ = _rows(store, model)
    for row in rows:
        if render_pieces(pieces, row.prompt) != template.prompt(row.prompt):
            raise Unsupported(
                "the Modelfile's template would render a row differently from the model's own", "export --to gguf and write a Modelfile"
            )
    return f"Modelfile's pieces render {len(rows)} rows as the model's template does (Ollama itself was not run)"


# -- adapter and merged ---------------------------------------------------------------------


def _parts(store: Store, model: Model) -> tuple[Path, str]:
    """The base's weights and the quantization, of a model that a trial tuned. Raises Unsupported."""
    steps = {step["step"]: step for step in model.card.lineage}
    if not {"base", "tuned", "quantized"} <= set(steps) or "adapter_model.safetensors" not in model.manifest:
        raise Unsupported(f"{model.name} was not tuned here, so it has no adapter", "export --to gguf")
    base = store.find(f"{steps['base']['model']}@{steps['base']['revision']}")
    return store.weights(base), steps["quantized"]["type"]


def _copy_adapter(store: Store, model: Model, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        durable.write_atomically(folder / name, store.file(model, name).read_bytes())
    return folder


def _prove_same(base: Path, adapter: Path, kind: str, model: Model, merged: Path | None) -> None:
    """Merge from the adapter unless ``merged`` is given, quantize, compare with the measured file."""
    from freehold.shrink.quantize import quantize
    from freehold.tune.adapter import load_peft, merge_gguf

    with tempfile.TemporaryDirectory(prefix="freehold-proof-", dir=adapter.parent) as folder:
        whole = merged or Path(folder) / "merged.gguf"
        if merged is None:
            merge_gguf(whole, base, *load_peft(adapter))
        quantize(whole, Path(folder) / "again.gguf", kind)
        if durable.sha256_file(Path(folder) / "again.gguf") != model.digest:
            raise StepFailed(f"the exported files do not lead back to {model.name}", "report this; the export was removed")


def _adapter(store: Store, model: Model, out: Path, stem: str) -> Exported:
    base, kind = _parts(store, model)
    folder = out / f"{stem}-adapter"
    with _removed_on_failure([folder]):
        _copy_adapter(store, model, folder)
        _prove_same(base, folder, kind, model, None)
    return Exported([folder], f"base + exported adapter, quantized to {kind}, is the measured file byte for byte (sha256 {model.digest[:12]})")


def _merged(store: Store, model: Model, out: Path, stem: str) -> Exported:
    from freehold.tune.adapter import load_peft, merge_gguf

    base, kind = _parts(store, model)
    target = out / f"{stem.removesuffix('-' + kind.lower())}-f16.gguf"
    with _removed_on_failure([target]), tempfile.TemporaryDirectory(prefix="freehold-adapter-", dir=out) as folder:
        adapter = _copy_adapter(store, model, Path(folder) / "adapter")
        merge_gguf(target, base, *load_peft(adapter))
        _prove_same(base, adapter, kind, model, target)
    return Exported([target], f"the exported file, quantized to {kind}, is the measured file byte for byte (sha256 {model.digest[:12]})")
