"""A need that cannot be understood or met is refused before any row is read."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from freehold.cli.main import app
from freehold.core.errors import UsageError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--need", "acuracy>=0.9"], "'acuracy' is not measured"),
        (["--need", "memory<=4s"], "'4s' is a duration"),
        (["--need", "accuracy>=90"], "'90' is more than 1"),
        (["--need", "accuracy>=0.9", "--metric", "text"], "'accuracy' is not measured"),
        (["--budget", "45"], "--budget: '45' is a duration without a unit"),
        (["--memory", "4"], "--memory: '4' is a size without a unit"),
    ],
)
def test_a_wrong_need_is_refused_before_rows_are_read(words: list[str], message: str) -> None:
    """The file of rows does not exist, and that is not what the error is about."""
    result = CliRunner().invoke(app, ["trial", "no-such-rows.jsonl", *words])
    assert isinstance(result.exception, UsageError)
    assert message in result.exception.message
