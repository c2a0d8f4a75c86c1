"""What keys have used, beside what an API would have charged for requests of that size."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from freehold.cli.main import app
from freehold.costs.prices import RequestTokens, request_price
from freehold.costs.usage import UsageLog, Used
from freehold.models.store import Store


def test_the_api_is_reckoned_by_requests_of_the_mean_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten requests of 50,000 tokens are not one of 500,000, for which gemini-2.5-pro charges more."""
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    UsageLog(Store()).add(
        Used(time.time(), "key", "model", 50_000, 0, 100, 0.1, 1.0, "ok") for _ in range(10)
    )
    done = CliRunner().invoke(app, ["usage", "--api-model", "google:gemini-2.5-pro", "--json"])
    row = json.loads(done.stdout)["usage"][0]
    one = request_price("google:gemini-2.5-pro", RequestTokens(50_000, 100)).dollars
    assert row["api_dollars"] == pytest.approx(10 * one)
