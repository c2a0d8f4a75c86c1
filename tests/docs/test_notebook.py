"""The notebook in examples runs, cell by cell, in a kernel of its own; progress is a bar there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
PROGRESS = """
from freehold.core import progress
with progress.task(progress.automatic(), "reading <rows>", 10, "rows") as running:
    running.at(5)
"""


def run(notebook: nbformat.NotebookNode, home: Path) -> list[nbformat.NotebookNode]:
    """The outputs of all code cells, after a run with this Python."""
    client = NotebookClient(notebook, timeout=240)
    client.create_kernel_manager()
    client.km.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client.execute(env={**os.environ, "FREEHOLD_HOME": str(home)})
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []


@pytest.mark.slow
def test_the_notebook_runs_and_the_model_answers(home: Path) -> None:
    outputs = run(nbformat.read(FILE, as_version=4), home)
    text = "".join(output.text for output in outputs if output.get("name") == "stdout")
    answered, chatted = [line for line in text.splitlines() if line.strip()][:2]
    assert answered != chatted


@pytest.mark.slow
def test_progress_is_a_bar_in_a_notebook(tmp_path: Path) -> None:
    outputs = run(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(PROGRESS)]), tmp_path)
    (shown,) = [output.data["text/html"] for output in outputs if "data" in output]
    assert "reading &lt;rows&gt;" in shown
    assert "5 of 10 rows" in shown
