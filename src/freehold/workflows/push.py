"""Share a model: its files and what is known about it, into a folder or to a hub.

Its rows are never shared. Worked examples in its answer form are rows too: they are shared only if a person
says so.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core import atomic_files
from freehold.core.errors import AccessDenied, UsageError
from freehold.core.progress import Sink, silent, task
from freehold.models import answer_form
from freehold.models.store import Model, Store
from freehold.trust import obligations, provenance, signature
from freehold.trust.gate import Say, permit_models, quiet
from freehold.workflows.export import removed_on_failure

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def files_to_share(store: Store, model: Model) -> dict[str, Path]:
    """A model's files and what its certificate binds, by name: everything that is shared.

    Raises BadModel where its certificate is not valid: what cannot be checked is not shared.
    """
    from freehold.trust.certificate import evidence_of, files_of
    from freehold.trust.keys import Keyring

    files = {name: store.file(model, name) for name in files_of(model)}
    return files | evidence_of(store, model, Keyring())


@dataclass(frozen=True)
class PushOptions:
    """Where a model is pushed to, and with what."""

    #: repository on the hub, ORG/NAME
    repository: str
    #: address of the hub
    address: str
    #: token of a user who may write there; "" for a hub that asks for none
    token: str = ""
    #: push also the rows that the model's answer form holds as worked examples
    with_examples: bool = False


def hand_over(store: Store, model: Model, out: Path, *, with_examples: bool = False) -> list[Path]:
    """Copy what is shared of a model into the folder ``out``; the files written.

    ``with_examples``: also where rows are among it. Raises UsageError.
    """
    if not with_examples:
        refuse_examples(store, model)
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"the folder {out} is not empty", "name an empty folder, or a new one")
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
    """Raises UsageError for a model whose answer form holds rows as worked examples."""
    form = answer_form.of_model(store, model)
    if form is not None and form.shots:
        examples = "a worked example" if len(form.shots) == 1 else "worked examples"
        raise UsageError(
            f"the answer form of {model.name} holds {len(form.shots)} of your rows as {examples}, and they "
            "would be shared with it",
            "look at them with 'freehold show', then pass --with-examples; or share a tuned model instead",
        )


def push(
    store: Store,
    model: Model,
    options: PushOptions,
    sink: Sink = silent,
    *,
    override: str = "",
    say: Say = quiet,
) -> str:
    """Commit a model, its card, notices and evidence to a hub of the Hugging Face protocol; the commit's id.

    ``override``: the reason for going against the policy. Raises PolicyDenied where the policy says no,
    FreeholdError.
    """
    permit_models(store, "push", [model], override, say)
    from freehold.hub import client

    if not options.with_examples:
        refuse_examples(store, model)
    to, address = options.repository, options.address
    with tempfile.TemporaryDirectory(prefix="pushing-", dir=store.incoming) as folder:
        files = _files_to_push(store, model, options, Path(folder))
        api = client.client(address, options.token)
        total = sum(path.stat().st_size for path in files.values())
        try:
            with (
                client.explained(f"{to} at {address}", "pushed to"),
                task(sink, f"pushing {model.name}", total, "bytes") as progress,
            ):
                commit = _commit(api, to, files, f"{model.name}@{model.revision[:12]}")
                progress.at(progress.total)
        except AccessDenied as error:
            raise AccessDenied(error.message, _who_may_push(api, to, error)) from error
    return commit


def _files_to_push(store: Store, model: Model, options: PushOptions, folder: Path) -> dict[str, Path]:
    """What is shared of a model, with notices and a card that are written into ``folder``."""
    from freehold.workflows.model_card import model_card

    files = files_to_share(store, model)
    owed = obligations.compute(provenance.components(store, model, ""), model.name)
    if signature.SIGNATURE not in files:  # else its notices are signed, and no others may be added
        files = {path.name: path for path in obligations.write(owed, model.name, folder)} | files
    if card_may_be_written(files):
        text = model_card(store, model, owed, options.repository, options.address)
        files["README.md"] = folder / "README.md"
        atomic_files.write_atomically(files["README.md"], text)
    return files


def _commit(api: HfApi, to: str, files: dict[str, Path], message: str) -> str:
    """Create the repository where it does not exist, and commit the files; the commit's id."""
    from huggingface_hub import CommitOperationAdd

    api.create_repo(to, exist_ok=True)
    operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    return str(api.create_commit(to, operations, commit_message=message).oid)


def _who_may_push(api: HfApi, to: str, error: AccessDenied) -> str:
    """What to do where the hub does not let this token write: who it belongs to and where it may write."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    cause = error.__cause__
    if not isinstance(cause, HfHubHTTPError) or cause.response.status_code != 403:
        return error.remedy
    try:
        user = TokenUser.read(api.whoami())
    except (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError, KeyError):
        return error.remedy  # the hub does not say
    namespace, _, repository = to.rpartition("/")
    return user.way_out(namespace, repository, api.endpoint)


@dataclass(frozen=True)
class TokenUser:
    """The user that a token belongs to, as a hub's ``whoami-v2`` says."""

    name: str
    #: what the token may do: read, write, admin, or fineGrained
    role: str
    #: organisation -> the user's role in it
    organisations: dict[str, str]

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> TokenUser:
        """Read the hub's answer. Raises KeyError where it names nobody."""
        token = (answer.get("auth") or {}).get("accessToken") or {}
        organisations = {str(org["name"]): str(org.get("roleInOrg", "")) for org in answer.get("orgs") or ()}
        return cls(str(answer["name"]), str(token.get("role", "")), organisations)

    def way_out(self, namespace: str, repository: str, endpoint: str) -> str:
        """Where this token may write, and how to get to write to ``namespace``."""
        who = f"this token belongs to the user {self.name}"
        if self.role == "read":
            return f"{who} and may only read: create a token that may write, and put it in HF_TOKEN"
        writable = [self.name, *(name for name, role in self.organisations.items() if role != "read")]
        known = "is a member of" if namespace in self.organisations else "is not a member of"
        return (
            f"{who}, who {known} {namespace} and may write to {', '.join(writable)}: push to "
            f"{writable[-1]}/{repository}, or get write access to {namespace}. On Hugging Face, ask at "
            f"{endpoint}/{namespace}. On a Freehold hub, ask the people who run it for: freehold hub token "
            f"create {self.name} --role write --organisation {namespace}"
        )


def card_may_be_written(files: dict[str, Path]) -> bool:
    """Whether a README.md may differ from the one in ``files``: not where a signature covers it."""
    signed = files.get(signature.SIGNATURE)
    return signed is None or signature.leaves_out(signed, "README.md")
