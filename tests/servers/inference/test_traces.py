"""Traces as a collector receives them."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.inference.serving import server

pytestmark = pytest.mark.slow


def test_a_collector_gets_spans_without_a_word_of_what_was_said(home: Path) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans: list[Any] = []
    raw: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["content-length"]))
            data = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            raw.append(data)
            for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    trace = "0af7651916cd43dd8448eb211c80319c"
    with server(home, "--traces", f"http://127.0.0.1:{collector.server_port}") as address:
        body = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": "Name the capital of Mongolia."}],
            "max_tokens": 4,
        }
        answer = httpx.post(
            f"{address}/v1/chat/completions",
            json=body,
            headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
            timeout=60,
        )
        httpx.post(f"{address}/v1/chat/completions", json=body | {"model": "none"})
        httpx.post(
            f"{address}/v1/completions",
            json={"model": "smollm2", "prompt": "word " * 9000, "max_tokens": 4},
            timeout=60,
        )
    for _ in range(50):
        if len(spans) == 2:
            break
        time.sleep(0.1)
    collector.shutdown()
    found = {span.name: span for span in spans}
    # names that nobody serves are not told to a collector
    assert set(found) == {"chat smollm2", "text_completion smollm2"}
    chat = found["chat smollm2"]
    assert chat.trace_id.hex() == trace
    told = {one.key: one.value for one in chat.attributes}
    assert told["gen_ai.usage.output_tokens"].int_value == answer.json()["usage"]["completion_tokens"]
    assert told["gen_ai.usage.input_tokens"].int_value == answer.json()["usage"]["prompt_tokens"]
    assert told["freehold.status"].string_value == "ok"
    assert chat.end_time_unix_nano > chat.start_time_unix_nano
    assert found["text_completion smollm2"].status.code == 2
    assert not any(b"Mongolia" in data for data in raw)
