"""What is asked before a model comes in, is tuned, served or pushed: the scan of its files, and the policy in
force.

Each verb's workflow asks here, so the Python API and the command line are equally safe.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from freehold.core.errors import PolicyDenied
from freehold.core.wording import counted
from freehold.data.examples import Example
from freehold.hub.blob_store import BlobStore
from freehold.hub.commit_check import CommitGate
from freehold.hub.scans import Scans
from freehold.inference import load_check
from freehold.models.store import Model, Store
from freehold.trust import personal, policy, scan
from freehold.trust.keys import Keyring

Say = Callable[[str], None]


def quiet(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Gate:
    """Decides about one model. ``reason``: why the policy may be overridden, by the person whom
    FREEHOLD_ACTOR names; ``say`` gets a sentence for each rule that was overridden and each note of the scan.
    """

    store: Store
    reason: str = ""
    say: Say = quiet

    def source(self, source: str) -> None:
        """Raises PolicyDenied where the policy forbids ``source``."""
        rules = policy.in_force()
        if rules is not None:
            self.permit(policy.object_to_source(rules, source), rules, source)

    def dangers(self, files: Mapping[str, Path]) -> list[str]:
        """A sentence for each file that could not be checked. Raises BadModel for dangerous ones, whatever
        the reason.
        """
        doubts = [str(finding) for finding in scan.refuse(files)]
        for note in scan.notes(files) if not doubts else ():
            self.say(note)
        return doubts

    def licence(self, source: str, licence: str) -> None:
        """Raises PolicyDenied where the policy does not allow the licence."""
        rules = policy.in_force()
        if rules is not None:
            self.permit(policy.object_to_licence(rules, licence), rules, source)

    def try_out(self, files: Mapping[str, Path], folder: Path) -> None:
        """Raises BadModel or Unsupported where no engine here loads the files."""
        load_check.try_out(files, folder)

    def permit(
        self, objections: list[policy.Objection], rules: policy.Policy, subject: str, verb: str = "pull"
    ) -> None:
        """Raises PolicyDenied where objections are not overridden. An override is recorded and said."""
        actor = os.environ.get("FREEHOLD_ACTOR", "")
        for rule in policy.permit(objections, rules, verb, subject, self.store, actor, self.reason):
            self.say(f"overridden, and recorded: {rule}")


def permit_models(
    store: Store, verb: str, models: Sequence[Model], reason: str = "", say: Say = quiet
) -> None:
    """Raises PolicyDenied where the policy does not let one of the models be tuned, served or pushed."""
    rules = policy.in_force()
    if rules is None:
        return
    gate = Gate(store, reason, say)
    for model in models:
        objections = policy.object_to_model(rules, verb, store, model, Keyring())
        gate.permit(objections, rules, model.name, verb)


def permit_rows(rows: Sequence[Example], remedy: str) -> None:
    """Raises PolicyDenied where rows that a model would learn from hold personal data and the policy does not
    allow that.
    """
    rules = policy.in_force()
    if rules is None or rules.personal_data != "refuse":
        return
    kinds, numbers = personal.count(rows)
    if kinds:
        raise PolicyDenied(
            f"the policy {rules.name!r} does not allow training on personal data, and"
            f" {counted(len(numbers), 'row contains', 'rows contain')} some (personal_data)",
            remedy,
        )


def allows_push(store: Store, reason: str = "", say: Say = quiet) -> Callable[[str, str], None]:
    """What the hub asks of the policy: raises PolicyDenied where a repository may not hold weights under a
    licence.
    """
    gate = Gate(store, reason, say)

    def allow(repository: str, licence: str) -> None:
        rules = policy.in_force()
        if rules is not None:
            gate.permit(policy.object_to_licence(rules, licence), rules, repository, "push")

    return allow


def commits(
    store: Store, contents: BlobStore, *, strict: bool, reason: str = "", say: Say = quiet
) -> CommitGate:
    """The gate of commits that no server takes, such as a mirror's."""
    scans = Scans(contents, scan.dangers, scan.rules())
    return CommitGate(scans, allows_push(store, reason, say), strict=strict)
