"""A hub with people, asked over HTTP as each of them, and what a client sends when it uploads."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from freehold.hub import xet
from freehold.hub.users import Users
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from tests.hub.client import Client


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Person:
    """Someone with a token, or nobody."""

    client: Client
    headers: dict[str, str]

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.client.get(path, headers=self.headers | more.pop("headers", {}), **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.client.post(path, headers=self.headers, **more)

    def create(self, repo: str, **more: object) -> None:
        assert self.post("/api/repos/create", json={"name": repo} | more).status_code == 200

    def delete(self, repo: str) -> None:
        done = self.client.request("DELETE", "/api/repos/delete", json={"name": repo}, headers=self.headers)
        assert done.status_code == 200

    def set(self, repo: str, **settings: object) -> None:
        done = self.client.put(f"/api/models/{repo}/settings", json=settings, headers=self.headers)
        assert done.status_code == 200

    def gate(self, repo: str) -> None:
        self.set(repo, gated="manual")

    # -- LFS --------------------------------------------------------------------------------------

    def batch(self, repo: str, operation: str, data: bytes) -> dict[str, Any]:
        """What the hub says of one object."""
        body = {"operation": operation, "objects": [{"oid": sha256(data), "size": len(data)}]}
        done = self.post(f"/{repo}.git/info/lfs/objects/batch", json=body)
        return done.json()["objects"][0] if done.status_code == 200 else {"status": done.status_code}

    def upload(self, repo: str, data: bytes) -> bool:
        """Send an object where the hub says that it is missing; whether it was."""
        entry = self.batch(repo, "upload", data)
        if "actions" not in entry:
            return False
        assert self.client.put(entry["actions"]["upload"]["href"], content=data).status_code == 200
        return True

    def commit(self, repo: str, *lines: dict[str, Any], branch: str = "main", **query: str) -> httpx.Response:
        return self.post(f"/api/models/{repo}/commit/{branch}", content=commit_body(*lines), params=query)

    def push(self, repo: str, path: str, data: bytes, branch: str = "main") -> str:
        """Upload and commit an LFS file; the commit."""
        self.upload(repo, data)
        done = self.commit(repo, lfs_line(path, data), branch=branch)
        assert done.status_code == 200, done.text
        return done.json()["commitOid"]

    # -- Xet ----------------------------------------------------------------------------------------

    def chunk_store(self, repo: str, right: str = "read", revision: str = "main") -> ChunkStore:
        token = self.get(f"/api/models/{repo}/xet-{right}-token/{revision}")
        assert token.status_code == 200, token.text
        path = urlsplit(token.json()["casUrl"]).path
        return ChunkStore(self.client, path, {"Authorization": f"Bearer {token.json()['accessToken']}"})

    def push_chunks(self, repo: str, path: str, chunks: list[bytes]) -> None:
        """Upload a file as one xorb and a shard, and commit it."""
        store = self.chunk_store(repo, "write")
        assert store.put_xorb(chunks).status_code == 200
        assert store.put_file(chunks, [(xorb_name(chunks), 0, len(chunks))]).status_code == 200
        done = self.commit(repo, lfs_line(path, b"".join(chunks)))
        assert done.status_code == 200, done.text


@dataclass(frozen=True)
class ChunkStore:
    """The chunk store as a client with one token sees it."""

    client: Client
    path: str
    headers: dict[str, str]

    def get(self, path: str, **more: str) -> httpx.Response:
        return self.client.get(self.path + path, headers=self.headers | more)

    def post(self, path: str, data: bytes) -> httpx.Response:
        return self.client.post(self.path + path, content=data, headers=self.headers)

    def put_xorb(self, chunks: list[bytes], name: str = "") -> httpx.Response:
        return self.post(f"/v1/xorbs/default/{name or xorb_name(chunks)}", b"".join(map(packed, chunks)))

    def put_file(self, chunks: list[bytes], terms: list[tuple[str, int, int]]) -> httpx.Response:
        """Register a file of these chunks, which lie in ``terms`` (xorb, first, end)."""
        rows, at = [], 0
        for xorb, first, end in terms:
            part = chunks[at : at + end - first]
            rows.append((xet.bytes_of(xorb), sum(map(len, part)), first, end))
            at += end - first
        data = xet.bytes_of(sha256(b"".join(chunks)))
        return self.post("/v1/shards", shard(xet.bytes_of(file_name(chunks)), rows, data))

    def reconstruction(self, chunks: list[bytes]) -> httpx.Response:
        return self.get(f"/v1/reconstructions/{file_name(chunks)}")

    def alike(self, chunk: bytes) -> httpx.Response:
        return self.get(f"/v1/chunks/default/{xet.text_of(xet.chunk_hash(chunk))}")


def commit_body(*lines: object, summary: str = "a change") -> str:
    """What a client sends to commit: a header, and a line for each thing to do."""
    return "\n".join(map(json.dumps, ({"key": "header", "value": {"summary": summary}}, *lines)))


def lfs_line(path: str, data: bytes) -> dict[str, Any]:
    value = {"path": path, "oid": sha256(data), "size": len(data), "algo": "sha256"}
    return {"key": "lfsFile", "value": value}


def small_line(path: str, data: bytes) -> dict[str, Any]:
    value = {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}
    return {"key": "file", "value": value}


def packed(data: bytes) -> bytes:
    """A chunk as a client packs it, not compressed."""
    size = len(data).to_bytes(3, "little")
    return struct.pack("<B3sB3s", 0, size, 0, size) + data


def _pairs(chunks: list[bytes]) -> list[tuple[bytes, int]]:
    return [(xet.chunk_hash(data), len(data)) for data in chunks]


def xorb_name(chunks: list[bytes]) -> str:
    return xet.text_of(xet.tree_hash(_pairs(chunks)))


def file_name(chunks: list[bytes]) -> str:
    return xet.text_of(xet.file_hash(_pairs(chunks)))


def shard(name: bytes, terms: list[tuple[bytes, int, int, int]], digest: bytes) -> bytes:
    """A shard of one file: its Xet hash, its terms (xorb, bytes, first, end), its sha256."""
    out = b"HFRepoMetaData".ljust(32, b"\0") + struct.pack("<QQ", 2, 0)
    out += name + struct.pack("<IIQ", 1 << 30, len(terms), 0)
    for xorb, size, first, end in terms:
        out += xorb + struct.pack("<4I", 0, size, first, end)
    return out + digest + bytes(16) + b"\xff" * 32 + bytes(16)


@dataclass(frozen=True)
class People:
    """Ada, who owns things; Bob, who may write under his own name; nobody; and the store beneath."""

    store: Store
    accounts: Users
    ada: Person
    bob: Person
    nobody: Person


def hub_with_people(folder: Path) -> People:
    """A hub that everyone may read, with two people."""
    store = Store(folder)
    accounts = Users(store)
    client = Client(make_app(store))
    ada, bob = (
        Person(client, {"Authorization": f"Bearer {accounts.create_token(name)}"}) for name in ("ada", "bob")
    )
    return People(store, accounts, ada, bob, Person(client, {}))
