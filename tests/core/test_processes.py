"""Processes of ours take no code from the folder that a command was started in, where downloads and rows may
lie.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import freehold
from freehold.core.errors import FreeholdError
from freehold.inference import load_check

SOURCES = Path(freehold.__file__).parent


def starts() -> list[tuple[str, list[str]]]:
    """(file and line, the options after the interpreter) of each command that begins with it."""
    commands = []
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            words = (
                node.elts
                if isinstance(node, ast.List | ast.Tuple)
                else node.args
                if isinstance(node, ast.Call)
                else []
            )
            if len(words) > 1 and ast.unparse(words[0]) == "sys.executable":
                options = [word.value for word in words[1:] if isinstance(word, ast.Constant)]
                commands.append((f"{path.name}:{node.lineno}", options))
    return commands


def test_every_interpreter_is_started_apart_from_the_current_folder() -> None:
    assert len(starts()) >= 7
    assert [where for where, options in starts() if not {"-P", "-I"} & set(options)] == []


def test_code_beside_the_rows_is_not_run_when_a_model_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FreeholdError):
        load_check.try_out({"model.gguf": tmp_path / "model.gguf"}, tmp_path / "view")
    assert not (tmp_path / "ran").exists()
