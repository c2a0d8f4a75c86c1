"""The example plugin, installed as a person installs it, and used by the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FREEHOLD
from tests.hub.models import gguf

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example installed by pip, which needs no network for it."""
    folder = tmp_path_factory.mktemp("example")
    copy = shutil.copytree(EXAMPLE, folder / "plugin")  # building leaves files beside the source
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs ``freehold WORDS`` where the example is installed; on its shelf are the models tiny and marked."""
    shelf = tmp_path_factory.mktemp("shelf")
    for name in ("tiny", "marked"):
        (shelf / name).mkdir()
        gguf(shelf / name / "model.gguf")
    (shelf / "marked" / "README.md").write_text("# CONFIDENTIAL\n")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")])),
        "FREEHOLD_HOME": str(tmp_path_factory.mktemp("home")),
        "FREEHOLD_SHELF": str(shelf),
    }

    def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [*FREEHOLD, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert call("pull", "shelf:tiny", "--as", "tiny").returncode == 0
    return call


def test_its_plugins_are_listed_with_their_package(run: Run) -> None:
    theirs = [row for row in json.loads(run("plugins", "--json").stdout) if row["package"] != "freehold"]
    assert {(row["noun"], row["name"], row["package"], row["version"]) for row in theirs} == {
        ("source", "shelf", "freehold-example", "0.1.0"),
        ("metric", "word-recall", "freehold-example", "0.1.0"),
        ("engine", "echo", "freehold-example", "0.1.0"),
        ("scanner", "confidential", "freehold-example", "0.1.0"),
    }


def test_its_source_brings_a_model(run: Run) -> None:
    shown = json.loads(run("show", "tiny", "--json").stdout)
    assert shown["provenance"]["source"] == "shelf:tiny"
    assert shown["provenance"]["folder"] == "tiny"
    absent = run("pull", "shelf:absent")
    assert absent.returncode == 7
    assert "there is no folder" in absent.stderr


def test_its_scanner_stops_a_pull_and_says_who_it_is(run: Run) -> None:
    refused = run("pull", "shelf:marked")
    assert refused.returncode == 6
    assert (
        "README.md: it is marked confidential (scanner confidential, freehold-example 0.1.0)"
        in refused.stderr
    )
    assert [model["name"] for model in json.loads(run("models", "--json").stdout)] == ["tiny"]


def test_its_engine_answers_where_it_is_named(run: Run) -> None:
    answered = run("run", "tiny", "Say hello", "--engine", "echo", "--json")
    assert answered.returncode == 0, answered.stderr
    assert "Say hello" in json.loads(answered.stdout)["answer"]
    unknown = run("run", "tiny", "Say hello", "--engine", "ecko")
    assert unknown.returncode == 2
    assert "did you mean echo?" in unknown.stderr


def test_its_metric_decides_a_trial_and_the_report_names_it(run: Run, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "\n".join(json.dumps({"question": f"case {n}", "answer": f"reply {n} sent"}) for n in range(60))
    )
    words = ["trial", rows, "--model", "tiny", "--metric", "word-recall", "--need", "word_recall>=0.5"]
    done = run(
        *words,
        "--no-tune",
        "--shots",
        "0",
        "--safety",
        "none",
        "--template",
        "plain",
        "--yes",
        "--out",
        tmp_path / "report",
    )
    assert done.returncode in (3, 4), done.stderr
    (file,) = tmp_path.rglob("report.json")
    task = json.loads(file.read_text())["task"]
    assert task["metric"] == "word_recall"
    assert task["method"] == (
        "share of the expected answer's words that the answer has "
        "(metric word-recall, freehold-example 0.1.0)"
    )
