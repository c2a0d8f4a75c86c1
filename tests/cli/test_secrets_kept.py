"""Secrets stay where they were put: not in addresses that are printed, not in the environment of what reads
strangers' files.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from freehold.inference import load_check
from freehold.models.intake import made_here
from freehold.models.store import Store
from tests.commands import freehold
from tests.trust.corpus import gguf


@pytest.fixture
def home(tmp_path: Path) -> Path:
    model = tmp_path / "m.gguf"
    model.write_bytes(gguf({"general.architecture": "llama"}))
    Store(tmp_path / "home").add("m", made_here({"m.gguf": model}), {"source": "x"})
    return tmp_path / "home"


@pytest.mark.parametrize(
    "words",
    [
        ("push", "m", "a/m", "--hub", "http://ada:hunter2@127.0.0.1:9"),
        (
            "trial",
            "rows.jsonl",
            "--rival-endpoint",
            "https://ada:hunter2@127.0.0.1:9/v1",
            "--rival-model",
            "x",
        ),
    ],
)
def test_an_address_with_a_password_is_refused_and_not_repeated(home: Path, words: tuple[str, ...]) -> None:
    done = freehold(home, *words)
    assert done.code == 2
    assert "contains a user name or a password" in done.err
    assert "hunter2" not in done.err + done.out


def test_hf_endpoint_with_a_password(home: Path) -> None:
    done = freehold(home, "push", "m", "a/m", HF_ENDPOINT="http://ada:hunter2@127.0.0.1:9")
    assert (done.code, "hunter2" in done.err) == (2, False)


def test_what_reads_strangers_files_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that loads a model for the first time."""
    secrets = ("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "FREEHOLD_DATABASE")
    for name in secrets:
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    seen = tmp_path / "seen"
    spy = tmp_path / "python"
    spy.write_text(f"#!/bin/sh\nenv > {seen}\nexit 1\n")
    spy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(spy))
    model = tmp_path / "m.gguf"
    model.write_bytes(gguf({"general.architecture": "llama"}))
    with pytest.raises(Exception, match="the engine crashed"):
        load_check.try_out({"m.gguf": model}, tmp_path / "view")
    told = seen.read_text()
    assert "hunter2" not in told
    assert "TOKENIZERS_PARALLELISM=false" in told
    assert "PATH=" in told


def test_a_tls_key_that_everybody_can_read_is_told_of(home: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)
    done = freehold(
        home, "serve", "absent", "--tls-certificate", certificate, "--tls-key", key, "--port", "0"
    )
    assert "everybody on this machine can read the private key" in done.err
    key.chmod(0o640)
    done = freehold(
        home, "serve", "absent", "--tls-certificate", certificate, "--tls-key", key, "--port", "0"
    )
    assert "everybody on this machine" not in done.err
