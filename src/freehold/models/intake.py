"""The one way into the store: whoever adds files shows that names, dangers and the policy were looked at.

:func:`admit` does that for what comes from elsewhere, whichever verb or program brings it; :func:`made_here`
is for what Freehold itself makes of models that are in the store. Only these two make an :class:`Admitted`,
and :meth:`freehold.models.store.Store.add` takes nothing else. What is dangerous, and what an organisation
allows, is known to rooms above this one; a :class:`Gate` asks them, and no function has a default for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from freehold.core.errors import BadModel, FreeholdError, UsageError
from freehold.models import answer_form, file_checks
from freehold.models.blobs import Mark
from freehold.models.info import read_info
from freehold.models.names import check_path, check_together

_SEAL = object()


class Gate(Protocol):
    """What is asked before anything that comes from elsewhere is kept. The one for use is
    ``freehold.trust.gate.Gate``.
    """

    def source(self, source: str) -> None:
        """Raises PolicyDenied where nothing may be taken from ``source``, before anything is fetched."""
        ...

    def dangers(self, files: Mapping[str, Path]) -> list[str]:
        """Raises BadModel for files that are dangerous; returns a sentence for each that cannot be vouched
        for.
        """
        ...

    def licence(self, source: str, licence: str) -> None:
        """Raises PolicyDenied where a model under ``licence`` may not be taken."""
        ...

    def try_out(self, files: Mapping[str, Path], folder: Path) -> None:
        """Raises BadModel or Unsupported where no engine loads the files. ``folder``: for links to them
        meanwhile.
        """
        ...


class Admitted:
    """Files by name that were looked at, and as what. Made by :func:`admit` and :func:`made_here` alone."""

    __slots__ = ("_marks", "files")

    def __init__(self, files: Mapping[str, Path], seal: object):
        if seal is not _SEAL:
            raise TypeError("an Admitted is made by freehold.models.intake.admit or made_here")
        self.files = dict(files)
        self._marks = {path: Mark.of(path) for path in self.files.values()}

    def arranged(self, files: Mapping[str, Path], made: Mapping[str, Path]) -> Admitted:
        """The same files under other names, and ``made``: files that Freehold made of them. Raises ValueError
        for others.
        """
        strange = [name for name, path in files.items() if path not in self._marks]
        if strange:
            raise ValueError(f"{strange[0]} was not among the files that were checked")
        check_names([*files, *made])
        arranged = Admitted({**files, **made}, _SEAL)
        arranged._marks |= {path: mark for path, mark in self._marks.items() if path in files.values()}
        return arranged

    def check_unchanged(self, name: str) -> None:
        """Raises BadModel where a file is not what it was when it was looked at."""
        path = self.files[name]
        if Mark.of(path) != self._marks[path]:
            raise BadModel(f"{name} changed while it was being stored", "run the same command again")


def check_names(names: list[str]) -> None:
    """Raises BadModel for a name that is not safe on every system, and for two that one disk may take for the
    same.
    """
    try:
        for name in names:
            check_path(name)
        check_together(names)
    except UsageError as error:
        raise BadModel(
            f"a file has an unsafe name: {error.message}", "do not use this model; ask whoever made it"
        ) from None


def admit(
    files: Mapping[str, Path],
    gate: Gate,
    *,
    source: str,
    licence: str = "",
    licence_from: str = "",
    on_refusal: Callable[[FreeholdError], None] = lambda _: None,
) -> Admitted:
    """Files from elsewhere, once their names, what is in them and the policy have been looked at.

    ``licence``: what the source states; one in the weights themselves comes first. ``on_refusal`` sees what
    is about to be raised for what is dangerous or not allowed, not for what merely cannot be used. Raises
    BadModel, Unsupported, PolicyDenied.
    """
    with _reported(on_refusal):
        check_names(list(files))
        admitted = Admitted(files, _SEAL)
        doubts = gate.dangers(files)
    file_checks.check(files)
    with _reported(on_refusal):
        if doubts:
            raise BadModel(f"cannot be used: {doubts[0]}", "download it again, or ask the publisher")
        gate.licence(source, read_info(dict(files), licence=licence, licence_from=licence_from).licence)
    return admitted


@contextlib.contextmanager
def _reported(on_refusal: Callable[[FreeholdError], None]) -> Iterator[None]:
    try:
        yield
    except FreeholdError as error:
        on_refusal(error)
        raise


def made_here(files: Mapping[str, Path]) -> Admitted:
    """Files that Freehold made of models that are in the store. Raises BadModel for names and answer forms
    that cannot be.
    """
    check_names(list(files))
    answer_form.check(files)
    return Admitted(files, _SEAL)
