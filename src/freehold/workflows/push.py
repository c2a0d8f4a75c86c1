"""Hand a model on: its files and what is said of it, into a folder or to a hub.

Never its rows; those that its answer form holds as worked examples only where a person says so.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import UsageError
from freehold.core.progress import Sink, task
from freehold.models import answer_form
from freehold.models.store import Model, Store
from freehold.trust import obligations, provenance, signature
from freehold.trust.gate import Say, permit_models, quiet
from freehold.workflows.export import removed_on_failure


def files_to_share(store: Store, model: Model) -> dict[str, Path]:
    """A model's files and what its certificate binds, by name: all that is handed on.

    Raises BadModel where its certificate does not hold: what cannot be checked is not handed on.
    """
    from freehold.trust.certificate import evidence_of, files_of
    from freehold.trust.keys import Keyring

    files = {name: store.file(model, name) for name in files_of(model)}
    return files | evidence_of(store, model, Keyring())


def hand_over(store: Store, model: Model, out: Path, *, with_examples: bool = False) -> list[Path]:
    """Copy what is shared of a model into ``out``; ``with_examples`` as for :func:`push`. Raises UsageError."""
    if not with_examples:
        refuse_examples(store, model)
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"the folder {out} is not empty", "name one that is, or that is not there yet")
    atomic_files.make_folder(out)
    files = files_to_share(store, model)
    written = [out / name for name in files]
    with removed_on_failure(written):
        atomic_files.need_disk(out, model.info.size_bytes, f"writing {model.name}")
        for name, path in files.items():
            with atomic_files.replacing(out / name) as temporary:
                shutil.copyfile(path, temporary)
    return written


def refuse_examples(store: Store, model: Model) -> None:
    """Raises UsageError for a model whose answer form holds rows as worked examples: they would be handed on."""
    form = answer_form.of_model(store, model)
    if form is not None and form.shots:
        rows = f"{len(form.shots)} of your rows as {'a worked example' if len(form.shots) == 1 else 'worked examples'}"
        raise UsageError(
            f"the answer form of {model.name} holds {rows}, and they would be handed on with it",
            "look at them with 'freehold show', then pass --with-examples; or hand on a tuned model instead",
        )


def push(
    store: Store,
    model: Model,
    to: str,
    address: str,
    token: str,
    sink: Sink,
    *,
    with_examples: bool = False,
    override: str = "",
    say: Say = quiet,
) -> str:
    """Commit a model, its card, notices and evidence to a hub of the Hugging Face protocol; the commit's id.

    ``with_examples``: the rows that its answer form holds as worked examples may go along. ``override``: the reason for
    going against the policy. Raises PolicyDenied where the policy says no, FreeholdError.
    """
    permit_models(store, "push", [model], override, say)
    from huggingface_hub import CommitOperationAdd

    from freehold.hub import client
    from freehold.workflows.model_card import model_card

    if not with_examples:
        refuse_examples(store, model)
    files = files_to_share(store, model)
    with tempfile.TemporaryDirectory(prefix="pushing-", dir=store.incoming) as folder:
        owed = obligations.compute(provenance.components(store, model, ""), model.name)
        if signature.SIGNATURE not in files:  # else its notices are signed, and no other may lie beside them
            files = {path.name: path for path in obligations.write(owed, model.name, Path(folder))} | files
        if card_may_be_written(files):
            files["README.md"] = Path(folder) / "README.md"
            atomic_files.write_atomically(files["README.md"], model_card(store, model, owed, to, address))
        api = client.client(address, token)
        with (
            client.explained(f"{to} at {address}", "pushed to"),
            task(
                sink, f"pushing {model.name}", sum(path.stat().st_size for path in files.values()), "bytes"
            ) as progress,
        ):
            api.create_repo(to, exist_ok=True)
            made = api.create_commit(
                to,
                [CommitOperationAdd(name, str(path)) for name, path in files.items()],
                commit_message=f"{model.name}@{model.revision[:12]}",
            )
            progress.at(progress.total)
    return str(made.oid)


def card_may_be_written(files: dict[str, Path]) -> bool:
    """Whether a README.md may differ from the one in ``files``: not where a signature covers it."""
    signed = files.get(signature.SIGNATURE)
    return signed is None or signature.leaves_out(signed, "README.md")
