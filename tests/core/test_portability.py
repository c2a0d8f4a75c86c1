"""Nothing that only Linux or only Unix has is used without asking for the system first."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.core import limited_process
from freehold.core.errors import Unsupported
from freehold.core.limited_process import Bounds, Worker
from freehold.core.machine import cores

SOURCE = Path(__file__).parents[2] / "src" / "freehold"
#: Modules that Windows' Python does not have.
UNIX_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios"}
#: Runs inside the sandbox, which only Linux has.
IN_THE_SANDBOX = "evaluation/boxed/limits.py"


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text())


def test_no_module_needs_unix_to_be_imported() -> None:
    for name, tree in _modules():
        if name == IN_THE_SANDBOX:
            continue
        for node in tree.body:
            imported = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not UNIX_MODULES & set(imported), name


def test_the_processors_are_counted_in_one_place() -> None:
    users = [
        name
        for name, tree in _modules()
        if any(isinstance(n, ast.Attribute) and n.attr == "sched_getaffinity" for n in ast.walk(tree))
    ]
    assert users == ["core/cpu_load.py", "core/machine.py"]


def test_where_no_process_is_bound_to_processors_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert cores() == 3


def test_on_windows_what_needs_limits_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(Unsupported, match="on Linux and macOS only; run Freehold in WSL 2"):
        Worker("json:loads", Bounds(1.0, 5.0)).call(b"")


def test_without_proc_a_process_with_limits_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits: list[int] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("resource.setrlimit", lambda kind, _: set_limits.append(kind))
    monkeypatch.setattr(limited_process, "address_space_bytes", lambda: pytest.fail("reads /proc"))
    limited_process._confine(Bounds(1.0, 5.0))
    assert len(set_limits) == 3
