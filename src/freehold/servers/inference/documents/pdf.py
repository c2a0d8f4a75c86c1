"""The text of a PDF; runs in a process with limits, since a small file can keep a reader busy for
minutes.
"""

from __future__ import annotations

import io
import json

from pypdf import PdfReader

from freehold.core.errors import BadData, Unsupported


def pages(data: bytes) -> bytes:
    """A JSON list of each page's text. Raises BadData, Unsupported; their messages continue the file's
    name.
    """
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unsupported("is protected by a password", "save it without one")
        return json.dumps([page.extract_text() for page in reader.pages]).encode()
    except (Unsupported, MemoryError):
        raise
    except Exception as error:  # a broken PDF fails in more ways than pypdf has names for
        raise BadData(
            f"cannot be read as PDF ({str(error)[:120] or type(error).__name__})",
            "open and save it again in a PDF program",
        ) from error
