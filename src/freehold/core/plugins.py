"""Plugins: what installed packages add to Freehold through entry points.

There is a group of entry points for each kind of plugin: sources, metrics, engines and scanners. Freehold's
own are registered in the same way as those of other packages (``pyproject.toml``). A plugin is code that runs
with the rights of the user who installed it. Nothing is imported before a plugin is used, and one that cannot
be used is an error: it is never skipped.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from freehold.core.errors import FreeholdError, MissingPart, UsageError

#: The package whose plugins are Freehold's own.
OURS = "freehold"
#: Group of entry points -> what one plugin of it is called.
GROUPS = {
    "freehold.sources": "source",
    "freehold.metrics": "metric",
    "freehold.engines": "engine",
    "freehold.scanners": "scanner",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Plugin:
    """A plugin that an installed package registers."""

    #: what it is, e.g. ``metric``
    noun: str
    #: the name that users type
    name: str
    #: the package that registers it
    package: str
    #: the version of that package
    version: str
    #: where its object is, ``module:attribute``
    value: str

    @property
    def ours(self) -> bool:
        """Whether it is Freehold's own."""
        return self.package == OURS

    @property
    def origin(self) -> str:
        """The package with its version."""
        return f"{self.package} {self.version}".strip()

    def load(self) -> Any:
        """The registered object; its module is imported. Raises MissingPart where that fails."""
        try:
            return EntryPoint(self.name, self.value, "").load()
        except (Exception, SystemExit) as error:  # a plugin's module can raise anything
            raise MissingPart(
                f"the {self.noun} {self.name!r} of the package {self.origin} cannot be loaded "
                f"({type(error).__name__}: {error})",
                _repair(self),
            ) from error

    def unfit(self, what: str) -> UsageError:
        """The error for a plugin whose object is not what its kind must be; ``what`` ends the sentence."""
        return UsageError(f"the {self.noun} {self.name!r} of the package {self.origin} {what}", _repair(self))

    @contextlib.contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Within it, an unexpected error of another package's code becomes one that names the package.

        Raises FreeholdError. Those of Freehold's own kinds and of the system say enough, and stay.
        """
        try:
            yield
        except (FreeholdError, OSError, MemoryError):
            raise
        except Exception as error:
            if self.ours:
                raise
            raise self.failure(error) from error

    def failure(self, error: BaseException, then: str = "") -> FreeholdError:
        """The error for a plugin whose code failed; ``then`` says what follows from it."""
        return FreeholdError(
            f"the {self.noun} {self.name!r} of the package {self.origin} failed ({type(error).__name__}: "
            f"{error}){then}",
            _repair(self),
        )


def _repair(plugin: Plugin) -> str:
    if plugin.ours:
        return "install Freehold again"
    return f"update the package, or remove it: pip uninstall {plugin.package}"


@functools.cache
def registered(group: str) -> Mapping[str, Plugin]:
    """The plugins of a group by name: Freehold's own first, then by package and name.

    Raises MissingPart where Freehold's own are missing, UsageError where two packages register the same name
    or a name cannot be typed.
    """
    plugins: dict[str, Plugin] = {}
    for plugin in sorted(map(_plugin_of, entry_points(group=group)), key=_order):
        if not _NAME.fullmatch(plugin.name):
            raise plugin.unfit("has a name with other characters than letters, digits, '.', '_' and '-'")
        other = plugins.get(plugin.name)
        if other is not None and (other.package, other.value) != (plugin.package, plugin.value):
            raise UsageError(
                f"two packages register the {plugin.noun} {plugin.name!r}: {other.package} and "
                f"{plugin.package}",
                "uninstall one of them",
            )
        plugins[plugin.name] = plugin
    if not any(plugin.ours for plugin in plugins.values()):
        raise MissingPart(f"Freehold's own {GROUPS[group]}s are not registered", "install Freehold again")
    return plugins


def find(group: str, name: str) -> Plugin:
    """The plugin of this name. Raises UsageError that names those that are installed."""
    plugins = registered(group)
    if name in plugins:
        return plugins[name]
    near = difflib.get_close_matches(name, plugins, 1)
    guess = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(
        f"no installed package registers the {GROUPS[group]} {name!r}{guess}",
        f"use one of {', '.join(plugins)}, or install the package that has it",
    )


def _plugin_of(point: EntryPoint) -> Plugin:
    package, version = ("", "") if point.dist is None else (point.dist.name, point.dist.version)
    return Plugin(GROUPS[point.group], point.name, package or point.module, version, point.value)


def _order(plugin: Plugin) -> tuple[bool, str, str]:
    return not plugin.ours, "" if plugin.ours else plugin.package, "" if plugin.ours else plugin.name
