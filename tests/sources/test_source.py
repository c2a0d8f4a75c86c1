"""Sources are found through entry points: ours and those of other packages alike."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.core import plugins
from freehold.core.errors import FreeholdError, MissingPart, UsageError
from freehold.models.store import Store
from freehold.sources import source
from freehold.sources.source import find_source, flat_name, registered
from tests.conftest import PluginPackage
from tests.entry import pull
from tests.hub.models import gguf

Install = Callable[[PluginPackage], Path]
OURS = ("pypi", "known", "hf", "hub", "file", "ollama")
PLUGIN = """
from pathlib import Path
from freehold.sources.source import Delivery

def deliver(store, reference, folder, sink):
    return Delivery({"m.gguf": Path(reference)}, {"shelf": "third"}, "mit", "the label")
"""


def shelf(kind: str = "shelf", package: str = "shelf", module: str = PLUGIN) -> PluginPackage:
    """A package that registers a source."""
    name = f"{package}_source"
    return PluginPackage({source.GROUP: {kind: f"{name}:deliver"}}, {name: module}, package)


def test_ours_are_registered_as_pyproject_says_and_can_be_loaded() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert tuple(project["entry-points"][source.GROUP]) == OURS
    for kind in OURS:
        assert registered()[kind].value == project["entry-points"][source.GROUP][kind]
        assert find_source(kind) is registered()[kind].load()
    assert all(registered()[kind].ours for kind in OURS)


def test_a_package_adds_a_source(tmp_path: Path, install_plugin: Install) -> None:
    install_plugin(shelf())
    model = pull(Store(tmp_path / "home"), f"shelf:{gguf(tmp_path / 'm.gguf')}", "m")
    assert model.info.provenance["shelf"] == "third"
    assert (model.info.licence, model.info.licence_from) == ("mit", "the label")


def test_a_source_that_cannot_be_imported_names_its_package(tmp_path: Path, install_plugin: Install) -> None:
    install_plugin(shelf(module="import nothing_of_this_name\n"))
    with pytest.raises(MissingPart, match=r"the source 'shelf' of the package shelf 1\.0 cannot be loaded"):
        pull(Store(tmp_path / "home"), "shelf:x", "m")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("    raise KeyError('title')", r"failed \(KeyError: 'title'\)"),
        ("    return {'m.gguf': reference}", r"failed \(TypeError: it returned a dict"),
    ],
)
def test_a_source_that_fails_names_its_package(
    tmp_path: Path, install_plugin: Install, line: str, said: str
) -> None:
    install_plugin(shelf(module=f"def deliver(store, reference, folder, sink):\n{line}\n"))
    with pytest.raises(FreeholdError, match=r"the source 'shelf' of the package shelf 1\.0 " + said):
        pull(Store(tmp_path / "home"), "shelf:x", "m")


def test_no_package_takes_the_place_of_a_source(install_plugin: Install) -> None:
    install_plugin(shelf("pypi", "squatter"))
    with pytest.raises(UsageError, match="two packages register the source 'pypi': ") as refused:
        find_source("hf")
    assert "squatter" in refused.value.message
    assert "freehold" in refused.value.message


def test_an_unknown_source_names_those_there_are(tmp_path: Path) -> None:
    for text in ("shelf:x", "x", "pypi:"):
        with pytest.raises(UsageError, match="is not a source") as refused:
            pull(Store(tmp_path / "home"), text, "m")
        assert "hf:..." in refused.value.remedy


@pytest.mark.usefixtures("install_plugin")
def test_an_installation_without_entry_points_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: ())
    with pytest.raises(MissingPart, match="not registered"):
        find_source("pypi")


@pytest.mark.parametrize(
    ("name", "stored_as"),
    [
        ("config.json", "config.json"),
        ("deep/er/m.gguf", "m.gguf"),
        ("1_Pooling/config.json", "1_Pooling/config.json"),
    ],
)
def test_files_of_folders_lose_their_folder_unless_it_is_a_module(name: str, stored_as: str) -> None:
    assert flat_name(name) == stored_as
