"""A trial of a model that comes as safetensors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from freehold.models.store import Store
from tests.conftest import FREEHOLD
from tests.e2e.test_journey import FLAGS, few_prompts, fresh_home, rows
from tests.layers import first_layers_of_folder

__all__ = ["rows"]
pytestmark = [pytest.mark.slow, pytest.mark.minutes]


def test_a_safetensors_model_is_tried_as_gguf(
    home: Path, smollm2_folder: Path, rows: Path, tmp_path: Path
) -> None:
    environment = fresh_home(home, tmp_path)
    folder = first_layers_of_folder(smollm2_folder, tmp_path / "short", 6)
    pulled = subprocess.run(
        [*FREEHOLD, "pull", f"file:{folder}", "--as", "folder", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert json.loads(pulled.stdout)["format"] == "safetensors"
    flags = ["folder" if flag == "smollm2" else flag for flag in FLAGS]
    done = subprocess.run(
        [*FREEHOLD, "trial", str(rows), *flags, *few_prompts(rows)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode in (0, 3, 4), done.stderr
    report = json.loads(done.stdout)
    assert {v["kind"] for v in report["variants"]} == {"as is", "tuned"}
    assert len([v for v in report["variants"] if v["kind"] == "tuned"]) == 3
    store = Store(tmp_path / "home")
    assert [step.name for step in store.find("areas/folder-gguf-q4_k_m").info.lineage] == [
        "source",
        "converted",
        "base",
        "tuned",
        "quantized",
    ]
    command = [
        *FREEHOLD,
        "export",
        "areas/folder-gguf-q4_k_m",
        "--to",
        "merged",
        "--out",
        str(tmp_path),
        "--json",
    ]
    assert json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    )["proof"]
    large = [
        path
        for path in (tmp_path / "home" / "trials").rglob("*")
        if path.is_file() and path.stat().st_size > 50_000_000
    ]
    assert large == []
