"""Exit code 0 if the server in this container answers /health. FREEHOLD_PORT: its port; else the two usual ones."""

import os
import sys
import urllib.error
import urllib.request

PORTS = [os.environ["FREEHOLD_PORT"]] if os.environ.get("FREEHOLD_PORT") else ["8600", "8601"]


def healthy(port: str) -> bool:
    """Whether a server answers on the port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


sys.exit(0 if any(map(healthy, PORTS)) else 1)
