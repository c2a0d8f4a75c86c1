"""llama.cpp's converter comes from the engine's source package, and nothing else is run in its place."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from freehold.core.errors import BadData, MissingPart
from freehold.quantization import pack_converter


def package(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, data in files.items():
            member = tarfile.TarInfo(f"llama_cpp_python-1/vendor/llama.cpp/{name}")
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return path


def test_what_make_setup_packed_is_what_was_checked() -> None:
    pack_converter.require()
    with zipfile.ZipFile(pack_converter.ARCHIVE) as archive:
        names = archive.namelist()
    assert {"LICENSE", "conversion/llama.py", "gguf/gguf_writer.py"} <= set(names)


def test_another_package_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_converter, "ARCHIVE", tmp_path / "converter.zip")
    with pytest.raises(BadData, match="is not the source package"):
        pack_converter.pack(package(tmp_path / "a.tar.gz", {"conversion/llama.py": b"import os"}))
    (tmp_path / "b.tar.gz").write_bytes(b"no archive")
    with pytest.raises(BadData, match="cannot be read"):
        pack_converter.pack(tmp_path / "b.tar.gz")
    assert not pack_converter.ARCHIVE.exists()
    with pytest.raises(MissingPart, match="is not installed"):
        pack_converter.require()


def test_a_changed_archive_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_converter, "ARCHIVE", tmp_path / "converter.zip")
    files = {"conversion/llama.py": b"import os", "gguf/__init__.py": b"", "LICENSE": b"MIT"}
    monkeypatch.setattr(pack_converter, "DIGEST", pack_converter.digest_of(files))
    source = {name.replace("gguf/", "gguf-py/gguf/"): data for name, data in files.items()}
    pack_converter.pack(package(tmp_path / "a.tar.gz", source))
    pack_converter.require()
    with zipfile.ZipFile(pack_converter.ARCHIVE, "a") as archive:
        archive.writestr("conversion/more.py", "import os")
    with pytest.raises(MissingPart, match="is not the one"):
        pack_converter.require()
