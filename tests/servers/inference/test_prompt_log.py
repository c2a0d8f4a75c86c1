"""Prompts are logged only if asked for, readable by their owner alone, and for as long as the file's name
says.
"""

from __future__ import annotations

import asyncio
import json
import stat
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest

from freehold.core.errors import UsageError
from freehold.servers.inference.chat_request import ChatRequest
from freehold.servers.inference.prompt_log import PromptLog
from tests.servers.inference.serving import server


def test_a_day_has_a_file_that_goes_when_its_time_is_over(tmp_path: Path) -> None:
    for name in (
        "prompts-2026-01-01-kept-5-days.jsonl",
        "prompts-2026-01-01-kept-9-days.jsonl",
        "other.jsonl",
    ):
        (tmp_path / name).write_text("")
    log = PromptLog(tmp_path, 30)
    assert [path.name for path in tmp_path.iterdir()] == ["other.jsonl"]
    (tmp_path / "prompts-2026-01-01-kept-5-days.jsonl").write_text("")
    log.delete_expired(date(2026, 1, 6))
    assert len(list(tmp_path.iterdir())) == 2
    log.delete_expired(date(2026, 1, 7))
    assert len(list(tmp_path.iterdir())) == 1
    log.write("ada", ChatRequest("m", prompt="Héllo"), None, "cancelled")
    (made,) = tmp_path.glob(f"prompts-{datetime.now(UTC).date()}-kept-30-days.jsonl")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    row = json.loads(made.read_text())
    assert (row["key"], row["prompt"], row["answer"], row["status"]) == ("ada", "Héllo", None, "cancelled")
    with pytest.raises(UsageError, match="--log-days"):
        PromptLog(tmp_path)


def test_names_that_are_no_days_and_a_folder_that_is_gone_stop_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = PromptLog(folder, 7)
    strange = folder / "prompts-2026-13-99-kept-1-days.jsonl"
    strange.write_text("")
    (folder / f"prompts-2026-01-01-kept-{'9' * 20}-days.jsonl").write_text("")
    log.delete_expired(date(2026, 6, 1))
    assert strange.exists()
    folder.rename(tmp_path / "elsewhere")

    async def kept() -> bool:
        keeping = asyncio.create_task(log.run())
        done, _ = await asyncio.wait({keeping}, timeout=0.5)
        keeping.cancel()
        return not done

    assert asyncio.run(kept())


@pytest.mark.slow
def test_a_server_writes_what_was_asked_and_answered(home: Path, tmp_path: Path) -> None:
    with server(home, "--log-prompts", str(tmp_path / "log"), "--log-days", "7") as address:
        body = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": "What is 2 plus 2?"}],
            "max_tokens": 8,
        }
        answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).json()
    (made,) = (tmp_path / "log").iterdir()
    (row,) = map(json.loads, made.read_text().splitlines())
    assert row["messages"] == body["messages"]
    assert row["answer"] == answer["choices"][0]["message"]["content"]
    assert row["status"] == "ok"
