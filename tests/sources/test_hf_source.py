"""``pull hf:`` against a real server of the Hub's protocol, a small one on this machine."""

import hashlib
import json
import os
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from freehold.models.store import Store
from tests.conftest import FREEHOLD

pytestmark = pytest.mark.slow

COMMIT = "a" * 40
REPOSITORY = "office/smol"


class Hub(ThreadingHTTPServer):
    """One repository; ``cut`` bytes are sent of each file's first answer, then the connection breaks."""

    files: dict[str, Path]
    cut: int = 0
    ranges: list[str]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith(f"/api/models/{REPOSITORY}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": "b" * 40}
                for name, file in self.server.files.items()
            ]
            return self.send(200, json.dumps(tree).encode(), {}, body=body)
        if path.startswith(f"/api/models/{REPOSITORY}"):
            siblings = [
                {"rfilename": name, "size": file.stat().st_size} for name, file in self.server.files.items()
            ]
            value = {
                "id": REPOSITORY,
                "sha": COMMIT,
                "siblings": siblings,
                "cardData": {"license": "apache-2.0"},
                "tags": [],
                "private": False,
            }
            return self.send(200, json.dumps(value).encode(), {}, body=body)
        name = path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
        if name not in self.server.files:
            return self.send(
                404,
                b"{}",
                {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository Not Found"},
                body=body,
            )
        data = self.server.files[name].read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        code = 200
        if wanted := self.headers.get("Range"):
            self.server.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data, code = data[start:], 206
        return self.send(code, data, headers, body=body)

    def send(self, code: int, data: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(code)
        for key, value in {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            **headers,
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            cut = self.server.cut if len(data) > 1_000_000 else 0
            self.server.cut = 0 if cut else self.server.cut
            self.wfile.write(data[:cut] if cut else data)
            self.close_connection = bool(cut)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(smollm2: Path, tmp_path: Path) -> Iterator[Hub]:
    running = Hub(("127.0.0.1", 0), Handler)
    readme = tmp_path / "README.md"
    readme.write_text("---\nlicense: apache-2.0\n---\n")
    running.files, running.ranges = {"README.md": readme, "smol-q4_1.gguf": smollm2}, []
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()


def pull(hub: Hub, home: Path, source: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "FREEHOLD_HOME": str(home),
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(home / "hf"),
    }
    return subprocess.run(
        [*FREEHOLD, "pull", source, "--as", "smol", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_a_repository_is_pulled_with_its_commit_and_licence(hub: Hub, smollm2: Path, tmp_path: Path) -> None:
    done = pull(hub, tmp_path / "home", f"hf:{REPOSITORY}")
    assert done.returncode == 0, done.stderr
    model = Store(tmp_path / "home").find("smol")
    assert model.digest == hashlib.sha256(smollm2.read_bytes()).hexdigest()
    assert model.info.provenance["commit"] == COMMIT
    assert model.info.provenance["endpoint"].endswith(str(hub.server_port))
    assert model.info.licence == "apache-2.0"


def test_a_broken_connection_is_gone_on_from_where_it_broke(hub: Hub, smollm2: Path, tmp_path: Path) -> None:
    hub.cut = 40_000_000
    home = tmp_path / "home"
    first = pull(hub, home, f"hf:{REPOSITORY}")
    done = first if first.returncode == 0 else pull(hub, home, f"hf:{REPOSITORY}")
    assert done.returncode == 0, done.stderr
    assert Store(home).find("smol").digest == hashlib.sha256(smollm2.read_bytes()).hexdigest()
    assert any(int(r.removeprefix("bytes=").partition("-")[0]) > 1_000_000 for r in hub.ranges)


def test_an_unknown_repository_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    done = pull(hub, tmp_path / "home", "hf:nobody/nothing")
    assert done.returncode == 7
    assert "hf:nobody/nothing could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr
    assert Store(tmp_path / "home").models() == []
