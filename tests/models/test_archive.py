import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.core.errors import BadModel, NotFound
from freehold.models.archive import archive
from freehold.models.store import Store
from tests.entry import pull, restore
from tests.hub.serving import freehold


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def written(store: Store, smollm2: Path, tmp_path: Path) -> Path:
    return archive(store, pull(store, f"file:{smollm2}", "one"), tmp_path / "one.tar")


def rewritten(written: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """The archive with its members changed; None leaves one out."""
    target = written.with_name("changed.tar")
    with tarfile.open(written) as source, tarfile.open(target, "w") as made:
        for member in source:
            data = source.extractfile(member).read()  # type: ignore[union-attr]
            changed = change(member.name, data)
            if changed is not None:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                made.addfile(info, io.BytesIO(changed[1]))
    return target


def listed(**values: Any) -> Callable[[str, bytes], tuple[str, bytes]]:
    """Change fields of the list."""

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        return (
            (name, json.dumps(json.loads(data) | values).encode())
            if name == "freehold.json"
            else (name, data)
        )

    return change


def test_an_archive_comes_back_bit_by_bit_on_another_machine(
    store: Store, written: Path, tmp_path: Path
) -> None:
    before = store.find("one")
    there = Store(tmp_path / "elsewhere")
    found = restore(there, written)
    assert (found.name, found.revision, found.manifest, found.info) == (
        before.name,
        before.revision,
        before.manifest,
        before.info,
    )
    assert there.verify([found]) == []
    assert restore(there, written, "two").revision == before.revision
    assert archive(there, found, tmp_path / "again.tar").read_bytes() == written.read_bytes()
    assert [path for path in there.incoming.iterdir() if path.is_dir()] == []


def test_it_is_a_plain_tar_that_sha256sum_checks(written: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", str(written), "-C", str(tmp_path / "out")], check=True)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda n, d: (n, d[:-1] + bytes([d[-1] ^ 1])) if n.startswith("files/") else (n, d),
            "do not match its sha256",
        ),
        (lambda n, d: None if n.startswith("files/") else (n, d), "lacks"),
        (
            lambda n, d: ("../../evil", d) if n.startswith("files/") else (n, d),
            "which does not match its list",
        ),
        (lambda n, d: None if n == "freehold.json" else (n, d), "does not begin with freehold.json"),
        (lambda n, d: (n, b"not json") if n == "freehold.json" else (n, d), "is not a Freehold archive"),
        (listed(archive_version=2), "has version 2"),
        (listed(revision="0" * 64), "names the revision 000000000000"),
        (listed(files=[]), "is not a Freehold archive"),
    ],
)
def test_a_damaged_archive_leaves_nothing(written: Path, tmp_path: Path, change: Any, told: str) -> None:
    there = Store(tmp_path / "elsewhere")
    with pytest.raises(BadModel, match=told):
        restore(there, rewritten(written, change))
    assert there.models() == []
    assert [path for path in there.incoming.rglob("*") if path.suffix != ".lock"] == []


def test_a_cut_archive_and_a_changed_store_are_named(store: Store, written: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(written.read_bytes()[:-3_000_000])
    with pytest.raises(BadModel, match=r"cut.tar is not a Freehold archive, or is damaged"):
        restore(Store(tmp_path / "elsewhere"), cut)
    with pytest.raises(NotFound, match="there is no file"):
        restore(store, tmp_path / "nowhere.tar")
    model = store.find("one")
    path = store.blob(model.digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(BadModel, match="was changed in the store"):
        archive(store, model, tmp_path / "bad.tar")
    assert not (tmp_path / "bad.tar").exists()


@pytest.mark.slow
def test_an_archive_with_its_runtime_answers_on_a_machine_with_no_network_and_no_freehold(
    store: Store, smollm2: Path, tmp_path: Path
) -> None:
    from freehold.inference.request import GenerationRequest
    from freehold.inference.session import open_session

    pull(store, f"file:{smollm2}", "one")
    made = freehold(
        store.folder, "archive", "one", "-o", str(tmp_path / "one.tar"), "--with-runtime", "--json"
    )
    assert made.returncode == 0, made.stderr
    assert restore(Store(tmp_path / "second"), tmp_path / "one.tar").digest == store.find("one").digest
    there = tmp_path / "there"
    there.mkdir()
    steps = [
        ["tar", "xf", str(tmp_path / "one.tar")],
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"],
        [sys.executable, "-m", "venv", "runtime/env"],
        [
            "runtime/env/bin/pip",
            "install",
            "--quiet",
            "--no-index",
            "--find-links",
            "runtime/wheels",
            "llama-cpp-python",
        ],
        ["runtime/env/bin/python", "runtime/run.py", "Name the capital of France."],
    ]
    alone = ["unshare", "--net", "--"] if os.getuid() == 0 else []
    for step in steps:
        done = subprocess.run(
            [*alone, *step],
            cwd=there,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(there)},
        )
        assert done.returncode == 0, done.stderr[-2000:]
    session = open_session(store, "one")
    asked = session.prompting.prompt([("user", "Name the capital of France.")])
    ((_, own),) = session.engine.generate(
        [GenerationRequest(tuple(asked), 512, stops=session.prompting.template.stops)]
    )
    session.close()
    assert done.stdout.strip()[:40] == own.text.strip()[:40]


def renamed(old: str, new: str) -> Callable[[str, bytes], tuple[str, bytes]]:
    """The archive with one file under another name, in the list and in the tar."""

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if name == "freehold.json":
            value = json.loads(data)
            value["files"] = {new if file == old else file: entry for file, entry in value["files"].items()}
            return name, json.dumps(value).encode()
        return (f"files/{new}", data) if name == f"files/{old}" else (name, data)

    return change


@pytest.mark.parametrize(
    "name",
    [
        "../../outside.gguf",
        "/tmp/outside.gguf",
        "a/../../outside.gguf",
        "C:\\outside.gguf",
        "a\u202eb.gguf",
        ".GIT/outside.gguf",
    ],
    ids=["up", "absolute", "up inside", "drive", "direction", "git"],
)
def test_a_name_that_leads_elsewhere_is_refused_and_nothing_is_written(
    written: Path, tmp_path: Path, name: str
) -> None:
    with tarfile.open(written) as tar:
        (own,) = [m.name.removeprefix("files/") for m in tar if m.name.endswith(".gguf")]
    before = {path for path in tmp_path.rglob("*") if "there" not in path.parts}
    there = Store(tmp_path / "there" / "home")
    with pytest.raises(BadModel, match="unsafe name"):
        restore(there, rewritten(written, renamed(own, name)))
    assert there.models() == []
    after = {path for path in tmp_path.rglob("*") if "there" not in path.parts}
    assert {path.name for path in after - before} == {"changed.tar"}
    assert not list((tmp_path / "there").rglob("*outside*"))


def test_what_is_restored_is_scanned_as_what_is_pulled(written: Path, tmp_path: Path) -> None:
    evil = b"\x80\x04cos\nsystem\n(S'touch /tmp/never'\ntR."

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if name == "freehold.json":
            value = json.loads(data)
            value["files"]["helper.pkl"] = {"sha256": hashlib.sha256(evil).hexdigest(), "bytes": len(evil)}
            return name, json.dumps(value).encode()
        return name, data

    changed = rewritten(written, change)
    with tarfile.open(changed, "a") as tar:
        info = tarfile.TarInfo("files/helper.pkl")
        info.size = len(evil)
        tar.addfile(info, io.BytesIO(evil))
    done = freehold(tmp_path / "there", "restore", str(changed))
    assert done.returncode != 0
    assert "helper.pkl" in done.stderr
    assert Store(tmp_path / "there").models() == []
