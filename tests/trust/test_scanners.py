"""Scanners of other packages: they can add findings and nothing else, and one that fails stops the pull."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.core.errors import BadModel, FreeholdError, MissingPart
from freehold.models.store import Store
from freehold.trust import scan, scanners
from freehold.trust.finding import Finding
from tests.commands import freehold
from tests.conftest import PluginPackage
from tests.entry import pull
from tests.hub.models import gguf

Install = Callable[[PluginPackage], Path]
HEAD = "from freehold.trust.finding import Finding\n\ndef scan(files):\n    "


def package(body: str, version: str = "2.1") -> PluginPackage:
    """A package with the scanner ``secrets``."""
    places = {scanners.GROUP: {"secrets": "secrets_plugin:scan"}}
    return PluginPackage(places, {"secrets_plugin": HEAD + body + "\n"}, "watch", version)


FINDS = "return [Finding(name, 'secret', 'it is secret') for name in files if name.endswith('.md')]"
FAILING = {
    "raise ValueError('no idea')": r"ValueError: no idea",
    "raise SystemExit(0)": r"SystemExit: 0",
    "return None": r"TypeError",
    "return ['it is secret']": r"TypeError: a scanner must return findings, and this one returned a str",
    "return [Finding('other', 'x', 'y')]": r"ValueError: it names the file 'other'",
    "files.clear()": r"AttributeError",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A clean model with a text beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    gguf(folder / "m.gguf")
    (folder / "README.md").write_text("# A model\n")
    return folder


def files_of(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir()}


def test_its_findings_stand_beside_ours_with_its_name_and_version(
    model: Path, install_plugin: Install
) -> None:
    install_plugin(package(FINDS))
    (model / "a.pkl").write_bytes(b"\x80\x04N.")
    first, second = scan.scan(files_of(model))
    assert (first.file, first.kind, first.scanner) == ("a.pkl", "pickle", "")
    assert second == Finding("README.md", "secret", "it is secret", "scanner secrets, watch 2.1")
    assert str(second) == "README.md: it is secret (scanner secrets, watch 2.1)"
    (danger,) = scan.dangers(files_of(model))["README.md"]
    assert (danger.level, danger.why) == ("caution", "it is secret (scanner secrets, watch 2.1)")


def test_a_pull_is_stopped_by_its_findings(model: Path, tmp_path: Path, install_plugin: Install) -> None:
    store = Store(tmp_path / "home")
    pull(store, f"file:{model}", "before")
    install_plugin(package(FINDS))
    with pytest.raises(
        BadModel, match=r"refused as dangerous: README\.md: .*\(scanner secrets, watch 2\.1\)"
    ):
        pull(store, f"file:{model}", "after")
    assert [stored.name for stored in store.models()] == ["before"]


def test_it_cannot_take_one_of_our_findings_away(model: Path, install_plugin: Install) -> None:
    install_plugin(package("return []"))
    (model / "a.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(BadModel, match=r"a\.pkl: it is a pickle"):
        scan.refuse(files_of(model))


def test_its_findings_are_never_taken_for_code_that_stays_idle(
    tmp_path: Path, install_plugin: Install
) -> None:
    why = "it asks to run code that comes with the model (auto_map)"
    install_plugin(package(f"return [Finding('config.json', 'remote code', '{why}')]"))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "llama", "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(BadModel, match="scanner secrets"):
        scan.refuse({"config.json": config})


@pytest.mark.parametrize(("body", "said"), FAILING.items())
def test_one_that_fails_stops_the_pull(
    model: Path, tmp_path: Path, install_plugin: Install, body: str, said: str
) -> None:
    install_plugin(package(body))
    store = Store(tmp_path / "home")
    sentence = (
        rf"the scanner 'secrets' of the package watch 2\.1 failed \({said}.*so the files are not checked"
    )
    with pytest.raises(FreeholdError, match=sentence) as stopped:
        pull(store, f"file:{model}", "m")
    assert "pip uninstall watch" in stopped.value.remedy
    assert store.models() == []


def test_one_that_cannot_be_loaded_stops_the_pull(
    model: Path, tmp_path: Path, install_plugin: Install
) -> None:
    site = install_plugin(package(FINDS))
    (site / "secrets_plugin.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(
        MissingPart, match=r"the scanner 'secrets' of the package watch 2\.1 cannot be loaded"
    ):
        pull(Store(tmp_path / "home"), f"file:{model}", "m")


def test_what_we_found_is_told_though_another_scanner_fails(model: Path, install_plugin: Install) -> None:
    install_plugin(package("raise ValueError('no idea')"))
    (model / "a.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(FreeholdError, match=r"Other scanners found: a\.pkl: it is a pickle"):
        scan.scan(files_of(model))


def test_what_a_hub_kept_is_scanned_again_when_a_scanner_is_added_or_changes(install_plugin: Install) -> None:
    assert scan.rules() == scan.RULES
    install_plugin(package(FINDS))
    assert scan.rules() == f"{scan.RULES}; secrets, watch 2.1"


def test_the_verb_scan_shows_who_found_it(model: Path, tmp_path: Path, install_plugin: Install) -> None:
    install_plugin(package(FINDS))
    done = freehold(tmp_path / "home", "scan", model, "--json")
    assert done.code == BadModel.exit_code
    assert json.loads(done.out)["findings"] == [
        {
            "file": "README.md",
            "kind": "secret",
            "why": "it is secret",
            "scanner": "scanner secrets, watch 2.1",
        }
    ]
