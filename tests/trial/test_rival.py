"""Recorded answers, and a real HTTP server that counts what it is asked."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from freehold import progress
from freehold.data.examples import Example
from freehold.errors import BadData, FreeholdError, NotFound, UsageError
from freehold.evals.metrics import choose
from freehold.trial.rival import Endpoint, asked, recorded

EXAMPLES = [Example(f"row-{i}", (("user", f"{i} plus 1?"), ("assistant", str(i + 1)))) for i in range(6)]
METRIC = choose("number", EXAMPLES)


class Server(ThreadingHTTPServer):
    """Answers right for even numbers; says 429 to the first question and 500 from ``broken_from`` on."""

    seen: list[dict]
    keys: set[str]
    broken_from = 10**9
    busy_once = True


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.busy_once:
            self.server.busy_once = False
            return self.reply(429, {"error": "busy"}, {"Retry-After": "0"})
        if len(self.server.seen) >= self.server.broken_from:
            return self.reply(500, {"error": "out of order"})
        self.server.seen.append(body)
        self.server.keys.add(self.headers.get("authorization", ""))
        number = int(body["messages"][-1]["content"].split()[0])
        text = str(number + 1 if number % 2 == 0 else number)
        return self.reply(
            200,
            {
                "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 1},
            },
        )

    def reply(self, code: int, value: dict, headers: dict | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        for name, text in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.seen, running.keys = [], set()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()


def endpoint(server: Server, key_env: str = "") -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{server.server_port}/v1/", "their-model", key_env)


def test_recorded_answers_are_graded_by_id(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(
        '{"id": "row-1", "answer": "It is 2."}\n\n{"id": "row-2", "answer": "7"}\n{"id": "other", "answer": "1"}\n'
    )
    assert {a.id: a.score for a in recorded(file, METRIC, EXAMPLES)} == {"row-1": 1.0, "row-2": 0.0}


def test_every_faulty_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text('{"id": "row-1"}\nnot json\n{"id": "row-2", "answer": "3"}\n')
    with pytest.raises(BadData, match=r"2 faults(.|\n)*answers.jsonl:1: (.|\n)*answers.jsonl:2: "):
        recorded(file, METRIC, EXAMPLES)
    file.write_text('{"id": "x", "answer": "3"}\n')
    with pytest.raises(BadData) as caught:
        recorded(file, METRIC, EXAMPLES)
    assert "row-0" in caught.value.remedy
    with pytest.raises(NotFound):
        recorded(tmp_path / "none.jsonl", METRIC, EXAMPLES)


def test_a_server_is_asked_once_per_row_with_the_key(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", "secret-1")
    answers = asked(
        endpoint(server, "THEIR_KEY"), METRIC, EXAMPLES, 16, tmp_path / "kept.jsonl", progress.silent
    )
    assert [a.score for a in answers] == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    assert server.keys == {"Bearer secret-1"}
    assert len(server.seen) == 6
    assert all(body["model"] == "their-model" and body["max_tokens"] == 16 for body in server.seen)
    assert "secret-1" not in (tmp_path / "kept.jsonl").read_text()
    assert (
        asked(endpoint(server, "THEIR_KEY"), METRIC, EXAMPLES, 16, tmp_path / "kept.jsonl", progress.silent)
        == answers
    )
    assert len(server.seen) == 6


def test_answers_paid_for_are_kept_when_the_server_breaks(server: Server, tmp_path: Path) -> None:
    server.broken_from = 4
    with pytest.raises(FreeholdError, match=r"answered 500 .*out of order"):
        asked(endpoint(server), METRIC, EXAMPLES, 16, tmp_path / "kept.jsonl", progress.silent)
    server.broken_from = 10**9
    assert len(asked(endpoint(server), METRIC, EXAMPLES, 16, tmp_path / "kept.jsonl", progress.silent)) == 6
    assert [body["messages"][-1]["content"][0] for body in server.seen] == list("012345")


def test_a_missing_key_is_named_before_anything_leaves(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THEIR_KEY", raising=False)
    with pytest.raises(UsageError, match="THEIR_KEY"):
        asked(endpoint(server, "THEIR_KEY"), METRIC, EXAMPLES, 16, tmp_path / "kept.jsonl", progress.silent)
    assert server.seen == []


def test_no_server_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FreeholdError, match="could not be asked"):
        asked(
            Endpoint("http://127.0.0.1:9/v1", "m", ""),
            METRIC,
            EXAMPLES,
            16,
            tmp_path / "kept.jsonl",
            progress.silent,
        )
