"""A client in this process that names the server as a real one does: by its address."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

ADDRESS = "http://127.0.0.1:8600"


class Client(TestClient):
    """FastAPI's client, with an address for a Host header."""

    def __init__(self, app: Any, **options: Any):
        super().__init__(app, **({"base_url": ADDRESS} | options))
