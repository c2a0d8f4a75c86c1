"""The scanners that installed packages register under ``freehold.scanners``: all of them look into the files
of every model that comes in, Freehold's own first.

A scanner can only add findings. One that fails stops what was going on, as its files are then not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from freehold.core import plugins
from freehold.core.errors import FreeholdError
from freehold.core.plugins import Plugin
from freehold.trust.finding import Finding

GROUP = "freehold.scanners"
_SHOWN = 3


class Scanner(Protocol):
    """What a package registers: a function that looks into files by name."""

    def __call__(self, files: Mapping[str, Path], /) -> Iterable[Finding]:
        """The findings, none for clean files. The files must be read as bytes, never loaded or run.

        A pull gives all files of a model; a hub gives them one by one, of large ones the beginning.
        """
        ...


def scan(files: Mapping[str, Path]) -> list[Finding]:
    """What all scanners find. Raises FreeholdError where one fails, with what the others found."""
    findings: list[Finding] = []
    failed: FreeholdError | None = None
    for plugin in plugins.registered(GROUP).values():
        try:
            findings += _findings_of(plugin, files)
        except FreeholdError as error:
            failed = failed or error
    if failed is not None:
        shown = "; ".join(map(str, findings[:_SHOWN]))
        raise type(failed)(
            f"{failed.message}{f'. Other scanners found: {shown}' if shown else ''}", failed.remedy
        )
    return findings


def others() -> Sequence[Plugin]:
    """The scanners of other packages."""
    return [plugin for plugin in plugins.registered(GROUP).values() if not plugin.ours]


def _findings_of(plugin: Plugin, files: Mapping[str, Path]) -> list[Finding]:
    """What one scanner finds. Raises FreeholdError where it fails, MissingPart where it cannot be loaded."""
    scanner: Scanner = plugin.load()
    if plugin.ours:
        return list(scanner(files))
    try:
        findings = [_marked(finding, plugin, files) for finding in scanner(MappingProxyType(dict(files)))]
    except (Exception, SystemExit) as error:  # another package's code can raise anything
        raise plugin.failure(error, ", so the files are not checked") from error
    return findings


def _marked(finding: object, plugin: Plugin, files: Mapping[str, Path]) -> Finding:
    """A finding with the name of its scanner. Raises TypeError or ValueError for what is not one."""
    if not isinstance(finding, Finding):
        raise TypeError(f"a scanner must return findings, and this one returned a {type(finding).__name__}")
    if finding.file not in files:
        raise ValueError(f"it names the file {finding.file[:80]!r}, which was not among those to be scanned")
    return replace(finding, scanner=f"scanner {plugin.name}, {plugin.origin}")
