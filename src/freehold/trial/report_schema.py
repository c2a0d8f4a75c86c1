"""Writes ``report.schema.json`` beside this file: ``python -m freehold.trial.report_schema``."""

from __future__ import annotations

import json
from pathlib import Path

from freehold.core import atomic_files
from freehold.trial import report_record

FILE = Path(__file__).with_name("report.schema.json")


def text() -> str:
    """What the file must hold."""
    return json.dumps(report_record.schema(), indent=2) + "\n"


if __name__ == "__main__":
    atomic_files.write_atomically(FILE, text())
