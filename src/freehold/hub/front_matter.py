"""What the head of a repository's card states: its YAML, and the tags that come of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from freehold.core import yaml_text
from freehold.core.errors import BadData
from freehold.core.json_types import JsonObject

#: Tags of one repository; more are left out: every list holds them.
MOST_TAGS = 1000


def read(text: str) -> JsonObject:
    """The YAML at the head of a card. Raises BadData when it is not a mapping or not YAML."""
    match = re.match(r"\A﻿?---[ \t]*\r?\n(.*?)\r?\n?---[ \t]*(\r?\n|\Z)", text, re.DOTALL)
    if not match:
        return {}
    values = yaml_text.load(match[1], "the card's metadata, between the two '---',") or {}
    if not isinstance(values, dict):
        raise BadData(
            "the card's metadata is not a mapping", "write 'key: value' lines between the two '---'"
        )
    return _plain(values)


def _plain(value: Any) -> Any:
    """YAML's dates and other values as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def tags_of(card: JsonObject, paths: Iterable[str], kind: str) -> list[str]:
    """Tags as the Hugging Face Hub derives them from a card and the files' formats."""
    tags: list[str] = []

    def add(values: Any, prefix: str = "") -> None:
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str) and value:
                tags.append(prefix + value)

    endings = {path.rsplit(".", 1)[-1] for path in paths if "." in path}
    add([name for name in ("gguf", "safetensors", "onnx") if name in endings])
    add(card.get("library_name"))
    add(card.get("pipeline_tag"))
    add(card.get("tags"))
    plain = kind == "model"
    add(card.get("language"), "" if plain else "language:")
    add(card.get("datasets"), "dataset:")
    add(card.get("base_model"), "base_model:")
    for key in ("task_categories", "task_ids", "size_categories"):
        add(card.get(key), f"{key}:")
    add(card.get("license"), "license:")
    return list(dict.fromkeys(tags))[:MOST_TAGS]


def of_card(text: str) -> JsonObject:
    """As :func:`read`; nothing where it cannot be read: the commit stands, and the page shows the card as
    plain text.
    """
    try:
        return read(text)
    except BadData:
        return {}
