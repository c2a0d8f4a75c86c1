"""Make a small real task from text every Python has: documentation of the standard library, and which area it
belongs to.

Run: python examples/sample_task.py .trial/stdlib.jsonl
Nothing is downloaded, and nothing is redistributed: the text is read from the Python that runs this.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from pathlib import Path

#: area -> modules whose functions, classes and methods are documented
AREAS = {
    "asyncio": [
        "asyncio",
        "asyncio.events",
        "asyncio.streams",
        "asyncio.locks",
        "asyncio.queues",
        "asyncio.tasks",
        "asyncio.base_events",
    ],
    "dates": ["datetime", "calendar", "zoneinfo", "time"],
    "email": [
        "email.message",
        "email.utils",
        "email.header",
        "email.policy",
        "mailbox",
        "smtplib",
        "imaplib",
        "poplib",
    ],
    "files": ["os", "shutil", "pathlib", "tempfile", "fileinput", "glob", "zipfile", "tarfile", "gzip"],
    "logging": ["logging", "logging.handlers", "logging.config", "warnings"],
    "math": ["math", "cmath", "statistics", "random", "decimal", "fractions"],
    "network": [
        "socket",
        "ssl",
        "urllib.request",
        "http.client",
        "http.cookiejar",
        "socketserver",
        "ftplib",
        "ipaddress",
        "http.server",
    ],
    "processes": [
        "subprocess",
        "multiprocessing.pool",
        "multiprocessing.context",
        "multiprocessing.managers",
        "signal",
        "concurrent.futures",
    ],
    "testing": ["unittest", "unittest.mock", "doctest", "pdb", "trace", "timeit", "unittest.case"],
    "text": ["string", "re", "textwrap", "difflib", "codecs", "locale", "csv", "html.parser", "gettext"],
    "threads": ["threading", "queue", "sched", "contextvars"],
    "inspection": [
        "inspect",
        "ast",
        "dis",
        "symtable",
        "tokenize",
        "pyclbr",
        "traceback",
        "typing",
        "importlib.metadata",
    ],
}


def documentation(module: str) -> list[str]:
    """Docstrings of a module's own functions, classes and methods."""
    found: list[str] = []
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return found
    members = [
        member for name, member in inspect.getmembers(loaded) if not name.startswith("_") and callable(member)
    ]
    for member in members:
        if (getattr(member, "__module__", "") or "").partition(".")[0] not in (module.partition(".")[0], ""):
            continue
        found.append(inspect.getdoc(member) or "")
        if inspect.isclass(member):
            own = [
                value for name, value in vars(member).items() if not name.startswith("__") and callable(value)
            ]
            found += [inspect.getdoc(value) or "" for value in own]
    return found


def rows() -> list[dict[str, str]]:
    """Rows of one paragraph each; a text found in two areas belongs to neither."""
    by_text: dict[str, set[str]] = {}
    for area, modules in AREAS.items():
        for module in modules:
            for text in documentation(module):
                first = re.sub(r"\s+", " ", text.partition("\n\n")[0]).strip()[:220]
                if len(first) >= 25:
                    by_text.setdefault(first, set()).add(area)
    return [{"text": text, "label": min(areas)} for text, areas in sorted(by_text.items()) if len(areas) == 1]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    print(f"{len(rows())} rows in {target}")
