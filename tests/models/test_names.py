"""What a file in a model or a repository may be called, whichever way it comes."""

from __future__ import annotations

import re

import pytest

from freehold.core.errors import UsageError
from freehold.models import names
from freehold.models.names import MOST_PART, MOST_PARTS, MOST_PATH, check_path, check_together


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "a/b/c.safetensors",
        ".gitattributes",
        ".gitignore",
        "git",
        "\u00fcbersicht.md",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.txt",  # Persian needs the joiner
        "\U0001f469\u200d\U0001f680.png",
        "1\ufe0f\u20e3.txt",
        "console.txt",
        "com10",
        "a b.txt",
        "x" * MOST_PART,
        "/".join("a" * MOST_PARTS),
    ],
)
def test_ordinary_names_of_any_language_are_taken(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "not a relative path"),
        ("a\\b", "not a relative path"),
        ("C:a", "not a relative path"),
        ("../a", "a part of it is empty"),
        ("a/../b", "a part of it is empty"),
        ("a//b", "a part of it is empty"),
        ("a/", "a part of it is empty"),
        ("./a", "a part of it is empty"),
        ("a/.git/config", "git's own"),
        (".GIT/config", "git's own"),
        (".git. ./x", "git's own"),
        ("\uff0egit/x", "git's own"),
        (".g\u200dit/x", "seen|invisible"),
        ("GIT~1/x", "git's own"),
        (".git::$INDEX_ALLOCATION/x", "git's own"),
        ("aux", "device"),
        ("a/NUL.txt", "device"),
        ("com1.tar.gz", "device"),
        ("CONIN$", "device"),
        ("a.", "dot or a space"),
        ("a /b", "dot or a space"),
        ("ab::c", "stream"),
        ("a\nb", "seen|invisible"),
        ("a\x00b", "seen|invisible"),
        ("a\u202eb", "seen|invisible"),
        ("a\u200bb", "seen|invisible"),
        ("a\u3164b", "seen|invisible"),
        ("a\ud800b", "seen|invisible"),
        ("a\u200db", "seen|invisible"),  # a joiner after a letter that joins nothing
        ("x" * (MOST_PART + 1), f"longer than {MOST_PART} bytes"),
        ("\u00fc" * (MOST_PART // 2 + 1), f"longer than {MOST_PART} bytes"),
        ("/".join(["x" * 200] * 6), f"longer than {MOST_PATH} bytes"),
        ("/".join("a" * (MOST_PARTS + 1)), f"more than {MOST_PARTS} parts"),
    ],
)
def test_names_that_leave_their_folder_or_mislead_are_refused(path: str, reason: str) -> None:
    with pytest.raises(UsageError, match="cannot be a file's path") as raised:
        check_path(path)
    assert re.search(reason, str(raised.value))
    assert raised.value.message.isprintable()


def test_a_very_long_name_is_cut_in_its_message() -> None:
    with pytest.raises(UsageError) as raised:
        check_path("x" * 100_000)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["a", "a/b"], "'a' would be a file and a folder"),
        (["README.md", "readme.md"], "differ .*case"),
        (["A/x", "a/y"], "differ .*case"),
        (["caf\u00e9", "cafe\u0301"], "differ .*case.* or in how letters are composed"),
        (["stra\u00dfe", "STRASSE"], "differ .*case"),
    ],
)
def test_names_that_are_one_file_on_some_system_are_refused_together(paths: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match="rename one of them") as raised:
        check_together(paths)
    assert re.search(reason, str(raised.value))


def refused(paths: list[str]) -> bool:
    try:
        check_together(paths)
    except UsageError:
        return True
    return False


def test_names_that_differ_go_together() -> None:
    assert not refused([])
    assert not refused(["a/b", "a/c", "a.b", "ab", "b/a"])
    assert not refused(["a", "a"])  # the same name twice is one file


def test_files_and_folders_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_NAMES", 6)
    check_together(["a/b/1", "a/b/2", "a/b/3", "4"])
    with pytest.raises(UsageError, match="more than 6 files and folders"):
        check_together(["a/b/1", "a/b/2", "a/b/3", "4", "c/5"])
