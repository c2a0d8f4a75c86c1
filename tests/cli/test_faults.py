"""Every verb over a home that cannot be used: one sentence, what to do, an exit code; never a traceback or a
fault of ours.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import typer

from freehold.cli import main
from freehold.models.store import Store
from tests import disks
from tests.conftest import FREEHOLD
from tests.entry import pull
from tests.hub.models import gguf

ROWS = '{"text": "a", "label": "b"}\n' * 3

#: What is typed after each verb. FILE is a file with rows, TAR an archive, OUT a place that may be written.
WORDS: dict[str, str] = {
    "archive": "tiny -o OUT/tiny.tar",
    "certify": "tiny",
    "chat": "tiny",
    "engine build": "--gpu none",
    "engine show": "",
    "export": "tiny --to gguf --out OUT/e",
    "find": "tiny",
    "fit": "",
    "gc": "",
    "hub check": "",
    "hub gc": "",
    "hub serve": "--port 0",
    "hub token create": "ada",
    "hub token list": "",
    "hub token revoke": "0123456789ab",
    "key create": "office",
    "key list": "",
    "key revoke": "office",
    "key rotate": "office",
    "licence": "tiny",
    "mask": "FILE --out OUT/m.jsonl",
    "mirror": "",
    "models": "",
    "plugins": "",
    "policy check": "tiny",
    "policy drop": "",
    "policy show": "",
    "policy use": "hospital",
    "pull": "file:MODEL --as two",
    "push": "tiny ada/tiny --hub http://127.0.0.1:9",
    "rent": "--dry-run --card L4 --out OUT -- trial FILE --model tiny",
    "report": "0123456789ab",
    "reproduce": "tiny",
    "restore": "TAR",
    "rm": "tiny",
    "run": "tiny a",
    "scan": "MODEL",
    "serve": "tiny --port 0",
    "show": "tiny",
    "shrink": "tiny --data FILE --as small",
    "signer create": "office",
    "signer distrust": "office",
    "signer list": "",
    "signer revoke": "office",
    "signer rotate": "office",
    "signer trust": "FILE",
    "store check": "",
    "store repair": "",
    "trial": "FILE --model tiny",
    "trials": "",
    "tune": "tiny FILE --as tuned",
    "usage": "",
    "verify": "",
}
#: Verbs that look into no home.
WITHOUT_HOME = {"licence", "mask", "scan", "policy show", "fit", "plugins", "engine show"}
#: Verbs that need not the catalogue, and those that find nothing to write.
WITHOUT_CATALOGUE = {
    "policy use",
    "policy drop",
    "signer create",
    "signer list",
    "trials",
    "store repair",
    "engine build",
}
NOTHING_TO_WRITE = {"policy drop", "signer list", "trials"}


def verbs(group: object, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        words = f"{before} {name}".strip()
        if hasattr(command, "commands"):
            yield from verbs(command, words)
        else:
            yield words


def test_every_verb_is_in_the_table() -> None:
    assert set(verbs(typer.main.get_command(main.app))) == WORDS.keys()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home, an archive, rows and a model's file."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "rows.jsonl").write_text(ROWS)
    store = Store(folder / "home")
    from freehold.models.archive import archive

    model = pull(store, f"file:{gguf(folder / 'tiny.gguf')}", "tiny")
    archive(store, model, folder / "tiny.tar")
    store.engine.dispose()
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    with disks.small_disk(tmp_path / "disk", megabytes=6) as folder:
        yield folder


def copied(whole: Path, disk: Path) -> Path:
    subprocess.run(["cp", "-a", str(whole / "home"), str(disk / "home")], check=True)
    return disk / "home"


def read_only(whole: Path, disk: Path) -> Path:
    home = copied(whole, disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    return home


def full(whole: Path, disk: Path) -> Path:
    home = copied(whole, disk)
    file = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, bytes(4096))
    os.close(file)
    return home


def garbled(whole: Path, disk: Path) -> Path:
    home = copied(whole, disk)
    for path in home.glob("freehold.db*"):
        path.unlink()
    (home / "freehold.db").write_bytes(b"\x07 not a database" * 4096)
    return home


def a_file(whole: Path, disk: Path) -> Path:
    (disk / "home").write_text("a file")
    return disk / "home"


def typed(words: str, whole: Path, out: Path) -> list[str]:
    names = {
        "FILE": whole / "rows.jsonl",
        "TAR": whole / "tiny.tar",
        "MODEL": whole / "tiny.gguf",
        "OUT": out,
    }
    for name, path in names.items():
        words = words.replace(name, str(path))
    return words.split()


def run(verb: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """(exit code, all that was said) of a verb in this process, begun as from the command line."""
    monkeypatch.setattr(sys, "argv", ["freehold", *verb.split(), *words])
    said = io.StringIO()
    before = signal.getsignal(signal.SIGINT)
    try:
        with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
            main.run()
    finally:
        signal.signal(signal.SIGINT, before)
    return int(ended.value.code or 0), said.getvalue()


HOMES: list[Callable[[Path, Path], Path]] = [read_only, full, garbled, a_file]


@pytest.mark.parametrize("verb", sorted(WORDS))
@pytest.mark.parametrize("home", HOMES)
def test_a_home_that_cannot_be_used_is_said_in_one_sentence(
    home: Callable[[Path, Path], Path],
    verb: str,
    whole: Path,
    small_disk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(home(whole, small_disk)))
    monkeypatch.setattr("freehold.servers.listening.run", lambda *_, **__: None)
    code, said = run(verb, typed(WORDS[verb], whole, tmp_path / "out"), monkeypatch)
    assert "Traceback" not in said
    assert "this is an error in Freehold" not in said
    assert "Usage:" not in said
    if code == 0:
        may = {garbled: WITHOUT_CATALOGUE, read_only: NOTHING_TO_WRITE, full: set(WORDS)}.get(home, set())
        assert verb in WITHOUT_HOME | may, said  # on a full disk one may look
    else:
        assert said.count("error:") == 1 or "left to do:" in said or verb == "store check", said
        assert "what to do:" in said or verb.startswith("store"), said


def test_a_command_on_a_full_disk_writes_no_half_of_anything(
    whole: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = full(whole, small_disk)
    monkeypatch.setenv("FREEHOLD_HOME", str(home))
    before = {path for path in home.rglob("*") if "freehold.db" not in path.name}
    for verb in ("key create", "signer create", "pull", "restore", "policy use"):
        code, said = run(verb, typed(WORDS[verb], whole, home), monkeypatch)
        assert code == 9, (verb, said)
        assert "is full" in said or "MB free" in said, said
    left = {path for path in home.rglob("*") if "freehold.db" not in path.name} - before
    left = {path for path in left if "keys" not in path.parts}
    assert [path for path in left if path.is_file() and path.suffix != ".lock"] == []


def freehold(home: str | None, *words: str, cwd: Path | None = None, **more: str) -> tuple[int, str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("FREEHOLD_HOME", "HOME")}
    environment |= ({"FREEHOLD_HOME": home} if home else {}) | more
    done = subprocess.run(
        [*FREEHOLD, *words], capture_output=True, text=True, check=False, env=environment, cwd=cwd
    )
    return done.returncode, done.stdout + done.stderr


def test_odd_homes_are_said(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing" / "at all")
    (tmp_path / "file").write_text("")
    for home, told in (
        (str(tmp_path / "link"), "is a broken link"),
        (str(tmp_path / "file" / "under"), "lies under a file"),
        ("~nobody-of-this-name/home", "HOME is not set"),
    ):
        code, said = freehold(home, "models")
        assert (code, told in said, said.count("error:")) == (2, True, 1), said


def test_a_working_folder_that_was_removed_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = (
        f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); from freehold.cli.main "
        f"import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the folder you are in was removed" in done.stderr


def test_no_home_at_all_is_said() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be a user without a home")
    environment = {key: value for key, value in os.environ.items() if key not in ("FREEHOLD_HOME", "HOME")}
    program = "import os, platformdirs; from freehold.core import settings; os.setuid(54321)"
    told = (
        "from freehold.core.errors import UsageError\ntry:\n settings.home()\nexcept UsageError "
        "as error:\n print(error.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{told}"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert "HOME is not set" in done.stdout


def test_blobs_without_permission_are_said(whole: Path, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("files of another user need root to be made")
    home = tmp_path / "home"
    subprocess.run(["cp", "-a", str(whole / "home"), str(home)], check=True)
    for folder in [home, *home.rglob("*"), *tmp_path.parents]:
        if folder.is_dir() and str(folder).startswith(str(home)):
            os.chown(folder, 65534, 65534)
    for path in home.glob("freehold.db*"):
        os.chown(path, 65534, 65534)
    (blob,) = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    blob.chmod(0o000)
    program = (
        "import os, pathlib, sys; from freehold.models.store import Store; from freehold.cli.main import "
        "_explain; import platformdirs\n"  # the other user may not be able to read the environment
        f"store = Store(pathlib.Path({str(home)!r})); model = store.find('tiny'); os.setuid(65534)\n"
        "try:\n store.weights(model)\nexcept Exception as error:\n sys.exit(_explain(error))"
    )
    for folder in [*home.parents][:-1]:
        if folder.stat().st_mode & 0o055 != 0o055 and folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"permission denied for {blob}" in done.stderr


def test_a_catalogue_that_another_process_holds_is_said(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3
    from contextlib import closing

    home = tmp_path / "home"
    subprocess.run(["cp", "-a", str(whole / "home"), str(home)], check=True)
    monkeypatch.setenv("FREEHOLD_HOME", str(home))
    monkeypatch.setattr("freehold.models.catalogue.BUSY_S", 0.2)
    with closing(sqlite3.connect(home / "freehold.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        code, said = run("rm", ["tiny"], monkeypatch)
    assert code == 11
    assert "another process holds the catalogue" in said


def test_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full_device:
        done = subprocess.run(
            [*FREEHOLD, "models", "--json"],
            stdout=full_device,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "FREEHOLD_HOME": str(tmp_path)},
        )
    assert done.returncode == 9
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
