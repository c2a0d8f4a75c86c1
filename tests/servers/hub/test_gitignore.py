"""Rules of a .gitignore: as git takes them, and in time that no rule can stretch."""

from __future__ import annotations

import pytest

from freehold.core.errors import UsageError
from freehold.servers.hub.gitignore import MOST_CHARACTERS, MOST_LINES, ignoring


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        ("*.log", "a/b.log", True),
        ("*.log\n!keep.log", "keep.log", False),
        ("/build", "build/x", True),
        ("/build", "src/build/x", False),
        ("cache/", "a/cache/b", True),
        ("cache/", "a/cache", False),
        ("**/data/*.bin", "x/y/data/w.bin", True),
        ("# *.py", "a.py", False),
        ("\\#a", "#a", True),
        ("", "a", False),
        ("a[0-9].txt", "a5.txt", True),
    ],
)
def test_rules_mean_what_they_mean_to_git(rules: str, path: str, ignored: bool) -> None:
    assert ignoring(rules)(path) is ignored


def test_a_line_that_is_no_pattern_matches_nothing_and_the_others_count() -> None:
    ignored = ignoring("!\n*.log\n/")
    assert ignored("a.log")
    assert not ignored("a.txt")


def test_a_rule_that_takes_pythons_expressions_years_is_matched() -> None:
    assert not ignoring("a*" * 40 + "b")("a" * 200)


@pytest.mark.parametrize("rules", ["a\n" * (MOST_LINES + 1), "a" * (MOST_CHARACTERS + 1)])
def test_more_rules_than_can_be_compiled_at_once_are_refused(rules: str) -> None:
    with pytest.raises(UsageError, match="gitignore"):
        ignoring(rules)
    assert ignoring("a\n" * MOST_LINES)("a")
