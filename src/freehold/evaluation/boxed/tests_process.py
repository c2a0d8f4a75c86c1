"""The process that runs a row's tests; the answer's code is in another process, and only data come from it.

What it writes on its line is the report: one JSON object, ``{"passed": ..., "reason": ...}``.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from .limits import limit_self, take_line
from .peer import Peer, nearest_exception


class _Names(dict[str, Any]):
    """The names of the tests: a name that neither they nor Python know is the answer's, if it has it."""

    answer: Any = None
    known: frozenset[str] = frozenset()
    classes: Mapping[str, type[Exception]] = {}

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        if name in sys.stdlib_module_names:
            self[name] = importlib.import_module(name)
        elif name in self.classes:
            self[name] = self.classes[name]
        elif name in self.known:
            self[name] = getattr(self.answer, name)
        else:
            raise KeyError(name)
        return self[name]


def main(reads: int, writes: int) -> None:
    """Run the tests from standard input against the answer's process, on the line ``reads``, ``writes``."""
    limit_self()
    job_from, report_to = take_line()
    with os.fdopen(job_from, "rb") as file:
        job = json.loads(file.read())
    reason = "check() did not return"
    try:
        passed, reason = _run(job, reads, writes)
    except BaseException as error:
        passed, reason = False, f"{type(error).__name__}: {error}"
    report = json.dumps({"passed": passed, "reason": reason[:300]})
    os.write(report_to, report.encode() + b"\n")
    os._exit(0)


def _run(job: dict[str, str], reads: int, writes: int) -> tuple[bool, str]:
    sys.modules["tests"] = type(sys)("tests")
    names = _Names(__name__="tests", __builtins__=vars(builtins))
    with os.fdopen(reads, "rb") as incoming, os.fdopen(writes, "wb") as outgoing:
        peer = Peer(incoming, outgoing, _may)
        peer.print = _print
        peer.send({"load": job["answer"]})
        loaded = peer.receive()
        if "error" in loaded:
            return False, f"the answer cannot be loaded ({loaded['error'][0]})"
        names.known = frozenset(map(str, loaded["names"]))
        if job["entry_point"] not in names.known:
            return False, f"the answer does not define {job['entry_point']}"
        for name, *bases in loaded["exceptions"]:
            peer.raises[str(name)] = type(str(name), (nearest_exception(map(str, bases)),), {})
        names.classes = peer.raises
        names.answer = peer.remote(int(loaded["module"]), "answer")
        stub = _runnable(job["prompt"])
        exec(compile(stub, "prompt.py", "exec"), names)
        names[job["entry_point"]] = getattr(names.answer, job["entry_point"])
        exec(compile(job["test"], "tests.py", "exec"), names)
        names["check"](names[job["entry_point"]])
    return not peer.lost, peer.lost


def _print(text: str) -> None:
    # Tests may have put another file in the place of standard output since.
    sys.stdout.write(text)


def _runnable(prompt: str) -> str:
    """The prompt as code, its function without a body filled in; nothing where it is prose."""
    for text in (prompt, f"{prompt}\n    pass\n"):
        try:
            compile(text, "prompt.py", "exec")
        except (SyntaxError, ValueError):
            continue
        return text
    return ""


#: Functions that lead from what they are given to everything else.
_LEADING_ON = (eval, exec, compile, getattr, setattr, vars, globals, type, object, open, __import__)


def _may(operation: str, target: Any, args: tuple[Any, ...]) -> bool:
    """What the answer's process may ask of an object that the tests handed to it.

    It may call what it was given, and use the public fields of objects whose class the tests define. Nothing
    else leads on: from a frame, a module or a function it would reach the report.
    """
    of_tests = type(target).__module__ == "tests"
    if operation == "call":
        return callable(target) and not any(target is each for each in _LEADING_ON)
    if operation in ("getattr", "setattr"):
        return of_tests and isinstance(args[0], str) and not args[0].startswith("_")
    if operation in ("iter", "next", "len", "getitem", "str", "repr", "bool"):
        return not isinstance(target, type)
    return operation in ("eq", "lt", "le", "add", "sub", "mul") and of_tests
