"""The type of a JSON object that is just being read or is about to be written.

Records inside Freehold are dataclasses. Where JSON of others is read field by field, or a record is turned
into JSON, this type says so; tests/test_house.py lists the files in which it, or a bare dict, may be used.
"""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
