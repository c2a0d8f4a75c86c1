"""Metrics that installed packages register under ``freehold.metrics``; Freehold's own are found in the same
way.

A metric grades each answer from 0 to 1, and more is better; the mean over the rows is the figure that needs
refer to. ``--metric NAME`` takes any version of the package, ``--metric NAME==VERSION`` only that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from freehold.core import plugins
from freehold.core.errors import UsageError
from freehold.core.plugins import Plugin
from freehold.data.examples import Example

GROUP = "freehold.metrics"
#: Kinds of tasks that a metric of another package can be for. To grade the others, Freehold needs the range
#: of the answers, the set of labels or its sandbox.
KINDS = ("text", "label", "exact", "json", "number")
_FIGURE = re.compile(r"[a-z][a-z0-9_]*")


class RegisteredMetric(Protocol):
    """What a package registers: an object with these four. It has no state that changes while it grades."""

    @property
    def kind(self) -> str:
        """The kind of task, one of :data:`KINDS`. ``text`` suits a metric that is like none of Freehold's;
        with ``label``, answers are limited to the labels of the rows.
        """
        ...

    @property
    def name(self) -> str:
        """The name of its figure, in small letters, digits and ``_``: what a need such as ``name>=0.8`` is
        on.
        """
        ...

    @property
    def method(self) -> str:
        """How a row is graded, a short phrase for the report."""
        ...

    @property
    def grade(self) -> Callable[[Example, str], float]:
        """(row, answer) -> a number from 0 to 1; more is better."""
        ...


@dataclass(frozen=True)
class FoundMetric:
    """A metric with the plugin that it came from."""

    plugin: Plugin
    metric: RegisteredMetric


def find(spec: str) -> FoundMetric | None:
    """The metric ``NAME`` or ``NAME==VERSION``; None where no package registers it.

    Raises MissingPart where it cannot be loaded, UsageError where the package has another version or what it
    registers is not a metric.
    """
    name, _, version = spec.partition("==")
    plugin = plugins.registered(GROUP).get(name)
    if plugin is None:
        return None
    if version and version != plugin.version:
        raise UsageError(
            f"--metric {spec}: the package {plugin.package} has version {plugin.version}",
            f"install {plugin.package}=={version}, or pass --metric {name}",
        )
    metric = plugin.load()
    _check(plugin, metric)
    return FoundMetric(plugin, metric)


def pinned(spec: str) -> str:
    """The same metric with the version of its package, so that figures of two versions are never mixed.

    Freehold's own metrics, and what no package registers, stay as they are.
    """
    name = spec.partition("==")[0]
    plugin = plugins.registered(GROUP).get(name)
    return spec if plugin is None or plugin.ours or spec != name else f"{name}=={plugin.version}"


def _check(plugin: Plugin, metric: RegisteredMetric) -> None:
    """Raises UsageError for an object that is not a metric."""
    for attribute in ("kind", "name", "method"):
        if not isinstance(getattr(metric, attribute, None), str):
            raise plugin.unfit(f"is not a metric: its {attribute} must be a text")
    if not callable(getattr(metric, "grade", None)):
        raise plugin.unfit("is not a metric: it has no function 'grade'")
    if plugin.ours:
        return
    if metric.kind not in KINDS:
        raise plugin.unfit(f"has the kind {metric.kind[:40]!r}; it must be one of {', '.join(KINDS)}")
    if not _FIGURE.fullmatch(metric.name):
        raise plugin.unfit(
            f"has the figure {metric.name[:40]!r}; its name must consist of small letters, digits and '_'"
        )
