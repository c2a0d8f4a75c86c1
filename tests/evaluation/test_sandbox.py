"""Answers that are code: what their tests see of them, and what they cannot do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from freehold.core.errors import MissingPart
from freehold.data.examples import Example
from freehold.evaluation import metrics, sandbox

TWICE = "def check(f):\n    assert f(2) == 4\n    assert f(5) == 10\n"


def passes(answer: str, test: str = TWICE, prompt: str = "def f(x):\n", entry: str = "f") -> bool:
    reference = {"entry_point": entry, "prompt": prompt, "test": test}
    example = Example("r", (("user", "q"), ("assistant", "")), reference)
    return metrics.code(example, answer) == 1.0


def test_an_answer_passes_that_its_tests_accept_and_no_other() -> None:
    assert passes("    return 2 * x\n")
    assert passes("```python\ndef f(x):\n    return 2 * x\n```")
    assert not passes("    return 3 * x\n")
    assert not passes("    return 2 *\n")


#: Ways for a wrong answer to be counted as right, or to escape. Each answer would pass, or would leave something
#: behind, if the trick worked.
TRICKS = {
    "ends before the tests": "import os\nos._exit(0)\ndef f(x): pass",
    "ends in the call": "def f(x):\n    import os\n    os._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)\ndef f(x): pass",
    "sys.exit in the call": "def f(x):\n    raise SystemExit(0)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): raise SystemExit(0)",
    "a thread that ends the process": (
        "import os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), os._exit(0))).start()\n"
        "def f(x):\n    time.sleep(1)"
    ),
    "a signal handler": (
        "import os, signal\nsignal.signal(signal.SIGALRM, lambda *_: os._exit(0))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1)\ndef f(x):\n    signal.pause()"
    ),
    "a result that equals everything": (
        "class Any:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    def __hash__(self): return 4\n    def __sub__(self, other): return 0\n"
        "    def __float__(self): return 4.0\n    def __len__(self): return 0\n"
        "def f(x): return Any()"
    ),
    "an integer that equals everything": (
        "class Any(int):\n    def __eq__(self, other): return True\n    def __hash__(self): return 4\n"
        "def f(x): return Any(7)"
    ),
    "a list that equals everything": (
        "class Any(list):\n    def __eq__(self, other): return True\ndef f(x): return Any()"
    ),
    "a function that equals everything": "def f(x): return f\nclass T(type):\n    __eq__ = lambda s, o: True",
    "patched builtins": (
        "import builtins\nbuiltins.AssertionError = type('Quiet', (Exception,), {})\n"
        "builtins.isinstance = lambda *_: True\nbuiltins.__build_class__ = None\ndef f(x): return 5"
    ),
    "patched excepthook and check": (
        "import sys, unittest\nsys.excepthook = lambda *_: None\n"
        "unittest.TestCase.assertEqual = lambda *_: None\ncheck = lambda f: None\ndef f(x): return 5"
    ),
    "a check of its own": "def check(f): return True\ndef f(x): return 5",
    "frames": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        frame.f_globals['check'] = lambda f: None\n"
        "        for value in list(frame.f_locals.values()):\n"
        "            if type(value).__name__ == 'Peer':\n"
        "                value.send({'passed': True, 'reason': ''})\n        frame = frame.f_back\n    return 5"
    ),
    "garbage collector": (
        "import gc\ndef f(x):\n    for each in gc.get_objects():\n"
        "        if isinstance(each, dict) and 'check' in each: each['check'] = lambda f: None\n    return 5"
    ),
    "the report written to every descriptor": (
        'import os\nline = b\'{"passed": true, "reason": ""}\\n\'\nfor fd in range(64):\n    try:\n'
        "        os.write(fd, line)\n    except OSError: pass\ndef f(x): return 5"
    ),
    "the report written in the call": (
        "import os\ndef f(x):\n    for fd in range(64):\n        try:\n"
        '            os.write(fd, b\'{"passed": true, "reason": ""}\\n\' * 3)\n        except OSError: pass\n'
        "    return 5"
    ),
    "the report written to other processes": (
        "import glob\nfor path in glob.glob('/proc/[0-9]*/fd/*'):\n    try:\n"
        "        open(path, 'wb', 0).write(b'{\"passed\": true}\\n')\n    except OSError: pass\n"
        "def f(x): return 5"
    ),
    "the tests read from disk and memory": (
        "import glob, os, re\ndef f(x):\n    for path in glob.glob('/proc/*/cmdline') + glob.glob('/tmp/*') + "
        "glob.glob('/freehold/**', recursive=True):\n        try:\n            text = open(path).read()\n"
        "        except OSError: continue\n        hit = re.search(r'f\\(%d\\) == (\\d+)' % x, text)\n"
        "        if hit: return int(hit[1])\n    return 5"
    ),
    "BaseException": "def f(x): raise BaseException('4')",
    "GeneratorExit": "def f(x): raise GeneratorExit",
    "infinite recursion": "def f(x): return f(x)",
    "recursion without a limit": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)",
    "a result without end": "import itertools\ndef f(x): return [*itertools.count()]",
    "a result that holds itself": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "output without end": "def f(x):\n    while True: print('x' * 10000)",
    "complaints without end": "import sys\ndef f(x):\n    while True: sys.stderr.write('x' * 10000)",
    "messages without end": "import os\ndef f(x):\n    while True: os.write(3, b'x' * 65536)",
    "many small messages": "import os\ndef f(x):\n    while True: os.write(4, b'{}\\n')",
    "memory": "def f(x):\n    return len(bytearray(3 << 30)) and 2 * x",
    "files in /tmp": (
        "def f(x):\n    for n in range(1000): open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))\n    return 2 * x"
    ),
    "a large file": "def f(x):\n    open('/tmp/a', 'wb').write(bytes(9 << 20))\n    return 2 * x",
    "fork": "import os\ndef f(x):\n    return 2 * x if os.fork() else 2 * x",
    "a process": "import subprocess\ndef f(x):\n    subprocess.run(['true'])\n    return 2 * x",
    "network": "import socket\ndef f(x):\n    socket.socket()\n    return 2 * x",
    "shared memory": (
        "from multiprocessing import shared_memory\ndef f(x):\n"
        "    shared_memory.SharedMemory(create=True, size=9)\n    return 2 * x"
    ),
    "ptrace": (
        "import ctypes\ndef f(x):\n    libc = ctypes.CDLL(None, use_errno=True)\n"
        "    return 2 * x if libc.ptrace(0, 0, 0, 0) == 0 else 5"
    ),
    "a user name space": (
        "import ctypes\ndef f(x):\n    return 2 * x if ctypes.CDLL(None).unshare(0x10000000) == 0 else 5"
    ),
    "other people's files": "def f(x):\n    open('/etc/passwd').read()\n    return 2 * x",
    "environment": "import os\ndef f(x):\n    return 2 * x if set(os.environ) - {'LC_CTYPE', 'PWD'} else 5",
    "time": "import time\ndef f(x):\n    time.sleep(3600)\n    return 2 * x",
}


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_does_not_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "TIMEOUT_S", 3)
    assert not passes(TRICKS[name])


def test_an_unknown_error_is_not_a_way_out_of_tests_that_expect_errors() -> None:
    test = "def check(f):\n    try:\n        f(2)\n    except:\n        return\n    assert False\n"
    assert passes("    raise ValueError('no')\n", test)
    assert not passes("    import os\n    os._exit(0)\n", test)


def test_what_tests_hand_over_does_not_lead_to_their_process() -> None:
    test = "def check(f):\n    assert f(lambda: 3, check, Node()) == 4\nclass Node:\n    value = 3\n"
    steal = "    for thing in (a, b, c):\n        try:\n            {}\n        except Exception: pass\n    return 5\n"
    for step in (
        "thing.__globals__['check'] = None",
        "thing.__class__.__eq__ = None",
        "thing.__init__.__globals__['names'] = 1",
        "thing.__dict__.clear()",
        "import os; thing._peer.lost",
    ):
        assert not passes(steal.format(step), test, "def f(a, b, c):\n")
    assert passes("    return a() + 1 if c.value == 3 else 0\n", test, "def f(a, b, c):\n")


def test_nothing_an_answer_starts_or_writes_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "TIMEOUT_S", 2.0)
    before = {process.pid for process in psutil.process_iter()}
    write = f"def f(x):\n    open({str(tmp_path / 'report.json')!r}, 'w').write('own')\n    return 2 * x"
    detach = "import os\ndef f(x):\n    os.setsid()\n    while True: pass"
    assert not passes(write)
    assert not passes(detach)
    assert not list(tmp_path.iterdir())
    started = [process for process in psutil.process_iter() if process.pid not in before]
    _, alive = psutil.wait_procs([one for one in started if "boxed" in _command(one)], timeout=20)
    assert not alive


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_the_memory_of_the_caller_stays_small_whatever_is_written() -> None:
    code = (
        "import sys\nfrom freehold.evaluation import sandbox\nsandbox.require()\n"
        "job = sandbox.Job('def f(x):\\n    import os\\n    while True: os.write(4, b\"x\" * 65536)', '', "
        "'import sys\\ndef check(f):\\n    f(2)', 'f')\nprint(sandbox.run(job).passed)\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(int(status['VmHWM'].split()[0]) < 300_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


#: What tests may ask of right answers: each must pass.
FAIR = {
    "changed in place": ("    x.sort()\n", "def check(f):\n    a = [3, 1, 2]\n    f(a)\n    assert a == [1, 2, 3]\n"),
    "a generator": ("    yield from range(x)\n", "def check(f):\n    assert list(f(3)) == [0, 1, 2]\n"),
    "a built-in error": (
        "    raise ValueError('no')\n",
        "def check(f):\n    try:\n        f(1)\n    except ValueError as error:\n"
        "        assert str(error) == 'no'\n    else:\n        assert False\n",
    ),
    "an error of its own": (
        "class Bad(ValueError): pass\ndef f(x): raise Bad('no')",
        "def check(f):\n    try:\n        f(1)\n    except Bad:\n        return\n    assert False\n",
    ),
    "a class": (
        "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
        "    def __len__(self): return len(self.items)\ndef f(x): return Stack()",
        "def check(f):\n    s = f(1)\n    s.push(5)\n    assert len(s) == 1 and s.items == [5]\n"
        "    assert isinstance(s, Stack) and isinstance(Stack(), Stack)\n",
    ),
    "a function as argument": ("    return x(3) + 1\n", "def check(f):\n    assert f(lambda n: n * 2) == 7\n"),
    "printed text": (
        "    print('hello', x)\n",
        "import contextlib, io\ndef check(f):\n    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        f(2)\n    assert out.getvalue() == 'hello 2\\n'\n",
    ),
    "many types": (
        "    return x\n",
        "import collections, datetime, decimal, fractions\ndef check(f):\n    for value in (\n"
        "        None, True, 10**500, -0.5, float('inf'), 'e\\u0301', '\\ud800', b'ab', bytearray(b'c'), (1, [2]), {1: {2}},\n"
        "        {(1, 2): None}, frozenset([1]), 1j, range(3), decimal.Decimal('1.10'), fractions.Fraction(1, 3),\n"
        "        datetime.datetime(2024, 1, 2), datetime.timedelta(1), collections.deque([1], 2), ...):\n"
        "        result = f(value)\n        assert result == value and type(result) is type(value), value\n"
        "    assert f(collections.Counter('aab')).most_common(1) == [('a', 2)]\n",
    ),
    "a helper of the prompt": (
        "    return helper(x) + 1\n",
        "def check(f):\n    assert f(1) == helper(1) + 1 == 12\n",
        "def helper(x):\n    return x + 10\n\ndef f(x):\n",
    ),
    "a module not imported": ("    return 2.0\n", "def check(f):\n    assert math.isclose(f(1), math.sqrt(4))\n"),
    "a thread": (
        "    import threading\n    out = []\n    t = threading.Thread(target=out.append, args=(x,))\n"
        "    t.start()\n    t.join()\n    return out[0]\n",
        "def check(f):\n    assert f(3) == 3\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAIR)
def test_a_right_answer_passes(name: str) -> None:
    assert passes(*FAIR[name])


def code_rows(folder: Path) -> Path:
    rows = [
        {
            "prompt": f"def add{n}(x):\n    '''Add {n * 7919 + 13}.'''\n",
            "canonical_solution": f"    return x + {n * 7919 + 13}\n",
            "test": f"def check(f):\n    assert f(1) == {n * 7919 + 14}\n",
            "entry_point": f"add{n}",
        }
        for n in range(120)
    ]
    path = folder / "code.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def trial(home: Path, rows: Path, path: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "freehold.cli.main", "trial", str(rows), "--model", "none-such", *more]
    environment = {**os.environ, "FREEHOLD_HOME": str(home), "PATH": path}
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_without_a_sandbox_a_trial_refuses_with_the_line_that_installs_one(tmp_path: Path) -> None:
    rows = code_rows(tmp_path)
    refused = trial(tmp_path / "home", rows, str(tmp_path))
    assert refused.returncode == MissingPart.exit_code
    assert "apt-get install bubblewrap" in refused.stderr
    assert "--trust-code" in refused.stderr
    trusted = trial(tmp_path / "home", rows, str(tmp_path), "--trust-code")
    assert "none-such" in trusted.stderr
    assert "bubblewrap" not in trusted.stderr


def test_a_sandbox_that_does_not_hold_is_refused_although_it_is_installed(tmp_path: Path) -> None:
    weak = tmp_path / "bwrap"
    weak.write_text(
        """#!/bin/bash
words=()
while [ $# -gt 0 ]; do
  case "$1" in --seccomp) shift 2 ;; --disable-userns) shift ;; *) words+=("$1"); shift ;; esac
done
exec /usr/bin/bwrap "${words[@]}"
"""
    )
    weak.chmod(0o755)
    rows = code_rows(tmp_path)
    refused = trial(tmp_path / "home", rows, f"{tmp_path}:{os.environ['PATH']}")
    assert refused.returncode == MissingPart.exit_code
    assert "lets through: filter, network, processes" in refused.stderr


def test_trusted_answers_run_without_a_sandbox_and_are_judged_by_the_same_tests() -> None:
    good = sandbox.Job("def f(x): return 2 * x", "", TWICE, "f")
    assert sandbox.run(good, trusted=True).passed
    for answer in ("def f(x): return 5", "import os\nos._exit(0)", TRICKS["a result that equals everything"]):
        assert not sandbox.run(sandbox.Job(answer, "", TWICE, "f"), trusted=True).passed
