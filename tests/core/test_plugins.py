"""Plugins: found by name, named with their package when something is wrong, and never skipped."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.core import plugins
from freehold.core.errors import FreeholdError, MissingPart, NotFound, UsageError
from tests.commands import freehold
from tests.conftest import PluginPackage

Install = Callable[[PluginPackage], Path]
METRICS = "freehold.metrics"
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def package(name: str = "mine", *, module: str = "METRIC = 1\n", of: str = "shelf", version: str = "1.0"):
    """A package with one metric."""
    return PluginPackage(
        {METRICS: {name: f"{of}_plugin:METRIC"}}, {f"{of}_plugin": module}, name=of, version=version
    )


@pytest.mark.parametrize("group", plugins.GROUPS)
def test_freeholds_own_are_registered_as_its_project_file_says(group: str) -> None:
    ours = {plugin.name: plugin for plugin in plugins.registered(group).values() if plugin.ours}
    assert {name: plugin.value for name, plugin in ours.items()} == PROJECT["entry-points"][group]
    for plugin in ours.values():
        assert plugin.load() is not None
        assert plugin.origin == f"freehold {PROJECT['version']}"


def test_the_project_file_has_no_other_groups() -> None:
    assert set(PROJECT["entry-points"]) == set(plugins.GROUPS)


def test_a_package_adds_a_plugin(install_plugin: Install) -> None:
    install_plugin(package())
    plugin = plugins.find(METRICS, "mine")
    assert plugin.load() == 1
    assert (plugin.package, plugin.version, plugin.ours) == ("shelf", "1.0", False)
    assert list(plugins.registered(METRICS))[-1] == "mine", "Freehold's own come first"


def test_an_unknown_name_names_those_that_are_installed(install_plugin: Install) -> None:
    install_plugin(package())
    with pytest.raises(
        UsageError, match="no installed package registers the metric 'mime'; did you mean"
    ) as e:
        plugins.find(METRICS, "mime")
    assert "label" in e.value.remedy
    assert "mine" in e.value.remedy


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def broken(:\n", "SyntaxError"),
        ("OTHER = 1\n", "AttributeError"),
        ("raise SystemExit(0)\n", "SystemExit: 0"),
    ],
)
def test_a_plugin_that_cannot_be_imported_names_its_package(
    install_plugin: Install, module: str, said: str
) -> None:
    install_plugin(package(module=module))
    with pytest.raises(
        MissingPart, match=r"the metric 'mine' of the package shelf 1\.0 cannot be loaded"
    ) as e:
        plugins.find(METRICS, "mine").load()
    assert said in e.value.message
    assert "pip uninstall shelf" in e.value.remedy


def test_a_name_that_two_packages_register_is_refused(install_plugin: Install) -> None:
    install_plugin(package(of="first"))
    install_plugin(package(of="second"))
    with pytest.raises(UsageError, match="two packages register the metric 'mine': first and second"):
        plugins.find(METRICS, "label")


def test_no_package_takes_the_name_of_one_of_freeholds_own(install_plugin: Install) -> None:
    install_plugin(package("label"))
    with pytest.raises(UsageError, match="two packages register the metric 'label': freehold and shelf"):
        plugins.registered(METRICS)


@pytest.mark.parametrize("name", ["own.py:grade", "a/b", "-x"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(install_plugin: Install, name: str) -> None:
    install_plugin(package(name))
    with pytest.raises(UsageError, match=r"of the package shelf 1\.0 has a name with other characters"):
        plugins.registered(METRICS)


@pytest.mark.usefixtures("install_plugin")
def test_an_installation_without_its_own_plugins_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: ())
    with pytest.raises(MissingPart, match="Freehold's own scanners are not registered") as e:
        plugins.registered("freehold.scanners")
    assert e.value.remedy == "install Freehold again"


def test_only_unexpected_errors_are_changed_and_only_those_of_other_packages(install_plugin: Install) -> None:
    install_plugin(package())
    theirs, ours = plugins.find(METRICS, "mine"), plugins.find(METRICS, "label")
    said = r"of the package shelf 1\.0 failed \(ValueError: bad\)"
    with pytest.raises(FreeholdError, match=said), theirs.named_in_errors():
        raise ValueError("bad")
    for plugin, error in [(theirs, NotFound("gone")), (theirs, PermissionError()), (ours, ValueError("bad"))]:
        with pytest.raises(type(error)) as kept, plugin.named_in_errors():
            raise error
        assert kept.value is error


def test_the_verb_lists_all_plugins_and_loads_none(install_plugin: Install, tmp_path: Path) -> None:
    install_plugin(package(module="raise RuntimeError('loaded')\n"))
    done = freehold(tmp_path, "plugins")
    assert done.code == 0
    assert "metric   mine          shelf     1.0" in done.out.splitlines()
    every = json.loads(freehold(tmp_path, "plugins", "--json").out)
    assert {row["noun"] for row in every} == set(plugins.GROUPS.values())
    mine = {"noun": "metric", "name": "mine", "package": "shelf", "version": "1.0"}
    assert mine | {"value": "shelf_plugin:METRIC"} in every


def test_starting_the_command_line_looks_for_no_plugins() -> None:
    program = "import freehold.cli.main, sys; print('freehold.core.plugins' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
