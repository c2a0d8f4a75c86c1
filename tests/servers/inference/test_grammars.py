"""A grammar that is large, or grows without end, is refused or answered, and holds up nobody."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from freehold.core.errors import Busy, UsageError
from freehold.inference.grammar import Source
from freehold.servers.inference.grammar_compiler import GrammarCompiler
from tests.servers.inference.asking import HANG_S, complete, streamed
from tests.servers.inference.conftest import TINY
from tests.servers.inference.serving import server

pytestmark = pytest.mark.slow

#: Schemas and grammars that take llguidance seconds and gigabytes; it ends its process for the first where
#: memory is short.
TOO_MUCH = {"allOf": [{"type": "string", "pattern": f"(.*x{number}.*)"} for number in range(20)]}
DEEP: dict[str, Any] = {"type": "string"}
for _ in range(60):
    DEEP = {"type": "object", "properties": {"a": DEEP, "b": {"type": "string"}}}
FORMS = {
    "100,000 alternatives": {"grammar": "root ::= " + " | ".join(f'"word{n}"' for n in range(100_000))},
    "40,000 alternatives": {"grammar": "root ::= " + " | ".join(f'"word{n}"' for n in range(40_000))},
    "patterns that multiply": {"schema": TOO_MUCH},
    "an enumeration of 100,000": {"schema": {"enum": [f"word{n}" for n in range(100_000)]}},
    "20,000 properties": {
        "schema": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(20_000)}}
    },
    "a great repetition": {"grammar": 'root ::= ("a" | "b"){0,100000}'},
    "repetitions in repetitions": {
        "grammar": "root ::= r1{0,1000}\n"
        + "\n".join(f"r{n} ::= r{n + 1}{{0,1000}}" for n in range(1, 6))
        + '\nr6 ::= "a"'
    },
    "itself": {"grammar": 'root ::= root root | "a" | root root root | ""'},
    "brackets": {"grammar": "root ::= " + "(" * 5000 + '"a"' + ")" * 5000},
    "depth": {"schema": DEEP},
    "no form": {"grammar": "root ::= ("},
}


@pytest.fixture(scope="module")
def address(tiny_original: Path) -> Iterator[str]:
    with server(
        tiny_original, "--context", "4096", "--parallel", "4", "--states", "0B", names=(TINY,)
    ) as found:
        yield found


def bound(address: str, form: dict[str, Any]) -> httpx.Response:
    if "grammar" in form:
        return complete(address, "Hello", max_tokens=8, grammar=form["grammar"])
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": form["schema"]}}
    body = {
        "model": TINY,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 8,
        "response_format": wanted,
    }
    return httpx.post(f"{address}/v1/chat/completions", json=body, timeout=HANG_S)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_it_is_refused_or_answered_and_the_server_goes_on(address: str, form: dict[str, Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(bound, address, form)
        with streamed(address, max_tokens=200) as lines:
            assert "data: [DONE]" in list(lines)
        assert answer.result(HANG_S).status_code in (200, 400, 413), answer.result().text[:300]
    assert complete(address).status_code == 200
    assert httpx.get(f"{address}/ready").json()["engine"]["restarts"] == 0


def test_others_are_answered_while_it_is_compiled(address: str) -> None:
    slow = {"allOf": [{"type": "string", "pattern": f"(.*y{number}.*)"} for number in range(20)]}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(bound, address, {"schema": slow})
        others = 0
        while not answer.done():
            assert complete(address).status_code == 200
            others += 1
        assert answer.result().status_code == 400
        assert "to compile" in answer.result().text
    assert others > 1


def test_a_compilation_ends_with_its_client(address: str) -> None:
    def workers() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if any("inference.grammar_process:" in word for word in process.info["cmdline"] or []):
                found.append(process)
        return found

    slow = {"allOf": [{"type": "string", "pattern": f"(.*z{number}.*)"} for number in range(20)]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": slow}}
    body = {"model": TINY, "messages": [{"role": "user", "content": "Hello"}], "response_format": form}
    before = {process.pid for process in workers()}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}/v1/chat/completions", json=body, timeout=0.7)
    for _ in range(200):
        metrics = httpx.get(f"{address}/metrics").text
        if "freehold_requests_under_way 0.0" in metrics:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the request is still under way")
    busy = [process for process in workers() if process.pid not in before and process.cpu_percent(0.5) > 50]
    assert not busy


def test_one_owners_grammars_cost_another_nothing_and_tell_nothing() -> None:
    async def whole() -> None:
        compiler = GrammarCompiler()
        try:
            source = Source.of_schema({"type": "object", "properties": {"a": {"type": "string"}}})
            first = await compiler.compiled(source, "a")
            assert await compiler.compiled(source, "a") == first
            assert ("a", source) in compiler._cache
            assert ("b", source) not in compiler._cache
            slow = [
                asyncio.create_task(
                    compiler.compiled(Source("schema", json.dumps(TOO_MUCH | {"title": str(n)})), "a")
                )
                for n in range(3)
            ]
            await asyncio.sleep(0.2)
            async with asyncio.timeout(HANG_S):
                await compiler.compiled(source, "b")
            assert sum(not task.done() for task in slow) >= 2
            for task in slow:
                task.cancel()
            assert all(
                isinstance(one, asyncio.CancelledError | UsageError)
                for one in await asyncio.gather(*slow, return_exceptions=True)
            )
        finally:
            compiler.close()

    asyncio.run(whole())


def started(compiler: GrammarCompiler) -> subprocess.Popen[bytes]:
    """The one process that was started."""
    (process,) = {worker._process for worker in compiler._processes._idle.queue} - {None}
    assert process is not None
    return process


def test_one_owner_has_one_grammar_compiled_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = 0, 0

    def asked(_: GrammarCompiler, source: Source) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.05)
        under_way -= 1
        return source.text

    monkeypatch.setattr(GrammarCompiler, "_compile", asked)

    async def whole() -> None:
        compiler = GrammarCompiler()
        asking: list[asyncio.Task[str]] = []
        for number in range(6):  # some come while others wait, some after one has ended
            asking.append(asyncio.create_task(compiler.compiled(Source("gbnf", str(number)), "a")))
            await asyncio.sleep(0.03)
        assert await asyncio.gather(*asking) == [str(number) for number in range(6)]
        compiler.close()

    asyncio.run(whole())
    assert most == 1


def test_the_same_grammar_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Source] = []

    def answered(_: GrammarCompiler, source: Source) -> str:
        asked.append(source)
        return source.text

    monkeypatch.setattr(GrammarCompiler, "_compile", answered)

    async def whole() -> None:
        compiler, source = GrammarCompiler(), Source("gbnf", "a")
        assert await asyncio.gather(*(compiler.compiled(source, "a") for _ in range(3))) == ["a"] * 3
        compiler.close()

    asyncio.run(whole())
    assert len(asked) == 1


def test_a_worker_that_was_killed_between_two_grammars_fails_nobody() -> None:
    async def whole() -> None:
        compiler = GrammarCompiler()
        try:
            await compiler.compiled(Source("gbnf", 'root ::= "a"'))
            os.kill(started(compiler).pid, signal.SIGKILL)
            async with asyncio.timeout(HANG_S):
                started(compiler).wait()
                assert await compiler.compiled(Source("gbnf", 'root ::= "b"'))
        finally:
            compiler.close()

    asyncio.run(whole())


def test_where_no_process_starts_the_client_may_try_again() -> None:
    async def whole() -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            with pytest.raises(Busy, match="cannot start another process"):
                await GrammarCompiler().compiled(Source("gbnf", 'root ::= "a"'))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    asyncio.run(whole())


def test_workers_take_no_code_from_the_folder_the_server_was_started_in_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llguidance.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FREEHOLD_SECRET", "x")

    async def whole() -> None:
        compiler = GrammarCompiler()
        try:
            assert await compiler.compiled(Source("gbnf", 'root ::= "a"'))
            assert "FREEHOLD_SECRET" not in psutil.Process(started(compiler).pid).environ()
        finally:
            compiler.close()

    asyncio.run(whole())
    assert not (tmp_path / "ran").exists()
