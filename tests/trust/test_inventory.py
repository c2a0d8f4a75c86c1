"""What lies in a folder that a certificate is checked against."""

from __future__ import annotations

import os
from pathlib import Path

from freehold.trust.inventory import Inventory, of_folder, shown, taken_for_each_other, without_hubs_own

LFS = "*.gguf filter=lfs diff=lfs merge=lfs -text\n"


def test_every_plain_file_is_named_with_slashes(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("x", "a/y", "a/b/z", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    inventory = of_folder(tmp_path)
    assert inventory.files == {name: tmp_path / name for name in (".hidden", "a/b/z", "a/y", "x")}
    assert inventory.faults == ()


def test_links_empty_folders_and_devices_are_said_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "dead").symlink_to("nowhere")
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe")
    inventory = of_folder(folder)
    assert inventory.files == {}
    assert [fault.split(" ", 1)[0] for fault in inventory.faults] == ["dead", "empty/", "link", "pipe"]


def test_an_empty_model_folder_is_no_fault_of_its_own(tmp_path: Path) -> None:
    assert of_folder(tmp_path) == Inventory({}, ())


def test_a_hubs_list_of_large_files_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"")
    rules = tmp_path / ".gitattributes"
    for text in (LFS, f"# large files\r\n{LFS}\n", ""):
        rules.write_text(text)
        assert set(without_hubs_own(of_folder(tmp_path)).files) == {"model.gguf"}


def test_such_a_list_with_anything_else_in_it_counts(tmp_path: Path) -> None:
    rules = tmp_path / ".gitattributes"
    for text in ("* filter=evil\n", f"{LFS}*.py export-ignore\n", "#" + "x" * 200_000):
        rules.write_text(text)
        assert set(without_hubs_own(of_folder(tmp_path)).files) == {".gitattributes"}
    rules.unlink()
    assert without_hubs_own(of_folder(tmp_path)).files == {}


def test_names_that_some_disk_takes_for_one_are_paired() -> None:
    names = ["README.md", "a", "readme.MD", "caf\u00e9", "cafe\u0301"]
    assert list(taken_for_each_other(names)) == [("README.md", "readme.MD"), ("caf\u00e9", "cafe\u0301")]
    assert list(taken_for_each_other(["a", "b"])) == []


def test_names_are_printed_without_moving_the_cursor() -> None:
    assert shown("a\x1b[2Jb\u202e\n\udcff") == "a\\x1b[2Jb\\u202e\\n\\udcff"
    assert shown("\u00fcber.md") == "\u00fcber.md"
    assert len(shown("x" * 999)) == 200
