"""freehold plugins"""

from __future__ import annotations

from dataclasses import asdict

from freehold.cli.output import Json, print_json, print_table

NAME = "plugins"
NEEDS_ARGUMENTS = False


def command(json: Json = False) -> None:
    """List the sources, metrics, engines and scanners of all installed packages.

    A plugin is code that runs with your rights. Only metadata is read here; no plugin is loaded.

    Example: freehold plugins
    """
    from freehold.core import plugins

    every = [plugin for group in plugins.GROUPS for plugin in plugins.registered(group).values()]
    if json:
        print_json([asdict(plugin) for plugin in every])
        return
    print_table(
        ["kind", "name", "package", "version"],
        [(plugin.noun, plugin.name, plugin.package, plugin.version) for plugin in every],
    )
