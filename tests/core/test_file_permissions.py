"""Who may read what is written.

A home is its owner's alone whatever the umask, and what is written elsewhere takes the umask.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.core import atomic_files, file_permissions
from freehold.models.store import Store
from tests.commands import freehold
from tests.conftest import FREEHOLD
from tests.trust.corpus import gguf

UMASKS = [0o022, 0o077, 0o002]
ROWS = [
    {"text": f"The {colour} {thing} of week {n} has not come, write to a{n}@example.org", "label": thing}
    for n in range(8)
    for colour in ("red", "blue")
    for thing in ("coat", "lamp")
]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def entries(folder: Path) -> Iterator[Path]:
    """A folder and all that is in it but links, whose mode says nothing."""
    yield folder
    yield from (path for path in folder.rglob("*") if not path.is_symlink())


def assert_private(home: Path) -> None:
    """Every file is 0600 and every folder 0700, and nothing lies there of which Freehold does not know that
    it is its own.
    """
    wrong = {
        str(path.relative_to(home)): f"{mode(path):04o}"
        for path in entries(home)
        if mode(path) != (0o700 if path.is_dir() else 0o600)
    }
    assert wrong == {}
    assert {path.name for path in home.iterdir()} <= file_permissions.OURS


def assert_handed_out(folder: Path, umask: int) -> None:
    """What a person asked for takes the person's umask."""
    wrong = {
        str(path): f"{mode(path):04o}"
        for path in entries(folder)
        if mode(path) != (0o777 if path.is_dir() else 0o666) & ~umask
    }
    assert wrong == {}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, and a model of a few bytes under terms."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "terms.gguf").write_bytes(gguf({"general.architecture": "llama", "general.license": "gemma"}))
    return folder


def stored(home: Path, sources: Path, umask: int) -> None:
    """The model in the store, put there by a process with this umask, its rows with it."""
    script = (
        "import sys; from pathlib import Path; from freehold.models.intake import made_here; from "
        "freehold.models.store import Store\n"
        "model, rows = map(Path, sys.argv[1:])\n"
        "store = Store(); made = store.add('tiny', made_here({'terms.gguf': model, 'notes.json': rows}), "
        "{'source': 'x'})\n"
        "store.folder_of(made)\n"
    )
    command = [sys.executable, "-c", script, str(sources / "terms.gguf"), str(sources / "rows.jsonl")]
    subprocess.run(command, check=True, umask=umask, env={**os.environ, "FREEHOLD_HOME": str(home)})


@pytest.mark.parametrize("umask", UMASKS)
def test_a_home_is_private_and_what_was_asked_for_is_not(sources: Path, tmp_path: Path, umask: int) -> None:
    """Models and rows, keys, tokens, certificates, policies.

    And what each verb writes where it was asked to.
    """
    home, out = tmp_path / "home", tmp_path / "out" / "deep"

    def done(*words: str | Path, code: int = 0) -> None:
        result = freehold(home, *words, umask=umask)
        assert result.code == code, result.err

    stored(home, sources, umask)
    done("signer", "create", "clinic")
    done("signer", "rotate", "clinic")
    done("key", "create", "reception")
    done("hub", "token", "create", "ada", "--role", "write", "--organisation", "clinic")
    done("policy", "use", "hospital")
    done("policy", "drop", code=12)
    done("certify", "tiny", "--out", out / "handover", "--key", "clinic")
    done("archive", "tiny", "-o", out / "archives" / "tiny.tar")
    done("mask", sources / "rows.jsonl", "--out", out / "masked.jsonl")
    assert_private(home)
    for folder in (out.parent, out):
        assert_handed_out(folder, umask)


@pytest.mark.parametrize("umask", UMASKS)
def test_a_library_that_writes_into_a_home_by_itself(tmp_path: Path, umask: int) -> None:
    """Used as a library there is no command line to narrow the umask.

    The one way of writing does it, and the home's folder is closed.
    """
    script = (
        "import sys; from pathlib import Path; from freehold.core import atomic_files; from "
        "freehold.models.store import Store\n"
        "from freehold.trust.keys import Keyring\n"
        "home, out = map(Path, sys.argv[1:])\n"
        "store = Store(); Keyring().create('clinic')\n"
        "atomic_files.write_atomically(home / 'trials' / 'a' / 'rows.json', '{}')\n"
        "atomic_files.append_line(home / 'trials' / 'a' / 'answers.jsonl', '{}')\n"
        "atomic_files.make_folder(home / 'tunings' / 'b')\n"
        "atomic_files.write_atomically(out / 'report.json', '{}'); atomic_files.append_line(out / 'lines', "
        "'x')\n"
    )
    home, out = tmp_path / "home", tmp_path / "out"
    subprocess.run(
        [sys.executable, "-c", script, str(home), str(out)],
        check=True,
        umask=umask,
        env={**os.environ, "FREEHOLD_HOME": str(home)},
    )
    assert mode(home) == 0o700
    for name in ("trials", "tunings/b", "keys"):
        assert_private_below(home / name)
    for name in ("freehold.db", ".schema.lock"):
        assert mode(home / name) == 0o600
    assert_handed_out(out, umask)


def test_a_process_that_was_only_given_a_path_in_a_home(tmp_path: Path) -> None:
    """As a trial's steps are: they know folders, and not whose."""
    assert freehold(tmp_path / "home", "models").code == 0
    script = (
        "import sys; from pathlib import Path; from freehold.core import atomic_files\n"
        "atomic_files.append_line(Path(sys.argv[1]), 'a row'); "
        "atomic_files.write_atomically(Path(sys.argv[1] + '.json'), '{}')\n"
    )
    step = tmp_path / "home" / "trials"
    step.mkdir()
    command = [sys.executable, "-c", script, str(step / "answers.jsonl")]
    subprocess.run(command, check=True, umask=0o002)
    assert {path.name: mode(path) for path in step.iterdir()} == {
        "answers.jsonl": 0o600,
        "answers.jsonl.json": 0o600,
    }


def assert_private_below(folder: Path) -> None:
    assert {str(p): oct(mode(p)) for p in entries(folder) if mode(p) & 0o077} == {}


def test_a_home_of_before_is_put_right_once_and_that_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "trials" / "abc").mkdir(parents=True)
    (home / "trials" / "abc" / "task.json").write_text("{}")
    (home / "blobs").mkdir()
    for path in entries(home):
        path.chmod(0o755 if path.is_dir() else 0o644)
    first = freehold(home, "models", "--json")
    assert f"4 files and folders in {home} could be read or written by others; now by you alone" in first.err
    assert json.loads(first.out) == []
    assert_private(home)
    assert "could be read" not in freehold(home, "models").err


def test_a_folder_of_other_things_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "mine.txt").chmod(0o644)
    tmp_path.chmod(0o755)
    (tmp_path / "outside").mkdir()
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "link").symlink_to(tmp_path / "mine.txt")
    assert freehold(tmp_path, "models").code == 0
    assert (mode(tmp_path), mode(tmp_path / "mine.txt")) == (0o755, 0o644)
    assert mode(tmp_path / "freehold.db") == 0o600


@pytest.mark.parametrize("umask", UMASKS)
def test_a_home_shared_by_a_group(tmp_path: Path, umask: int, sources: Path) -> None:
    """Its folder says so: 2770. Signing keys stay their owner's."""
    home = tmp_path / "home"
    home.mkdir()
    os.chmod(home, 0o2770)
    for words in (("signer", "create", "clinic"), ("key", "create", "reception")):
        assert freehold(home, *words, umask=umask).code == 0
    stored(home, sources, umask)
    for path in entries(home):
        own = home / "keys" / "own" in (path, *path.parents)
        expected = (0o700, 0o600) if own else (0o2770, 0o660)
        found = mode(path) & (0o777 if own else 0o2777)  # below such a folder every folder has its group
        assert (path, f"{found:04o}") == (path, f"{expected[0 if path.is_dir() else 1]:04o}")


def test_a_file_that_was_closed_stays_closed(tmp_path: Path) -> None:
    """Outside of homes: who closed a file has it closed when it is written again."""
    target = tmp_path / "report.json"
    atomic_files.write_atomically(target, "{}")
    target.chmod(0o600)
    atomic_files.write_atomically(target, "[]")
    assert (target.read_text(), mode(target)) == ("[]", 0o600)


def test_no_core_dump_holds_what_a_process_knew(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        freehold(tmp_path / "home", "models")
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def test_closed_streams_give_their_numbers_to_no_file_of_ours(tmp_path: Path) -> None:
    """Else what a library prints would land in the catalogue."""
    words = " ".join([*FREEHOLD, "pull", "file:/nowhere.gguf"])
    environment = {**os.environ, "FREEHOLD_HOME": str(tmp_path / "home")}
    subprocess.run(["bash", "-c", f"{words} <&- >&- 2>&-"], env=environment, check=False)
    assert Store(tmp_path / "home").models() == []
    assert shutil.which("bash")
