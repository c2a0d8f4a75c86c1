"""Licence expressions as SPDX writes them: ``MIT OR GPL-2.0-only``, ``Apache-2.0 WITH LLVM-exception``, ``MIT
AND CC-BY-4.0``.

Source: SPDX specification 2.3, annex D. ``license-expression`` parses them and knows the SPDX list.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from typing import Any

_OPERATOR = re.compile(r"(\(|\)|\s+(?:AND|OR|WITH)\s+)", re.IGNORECASE)
_LATER = re.compile(r"[\s,-]+or[\s-]+(any[\s-]+)?(later|newer)([\s-]+version)?", re.IGNORECASE)
_NAME = re.compile(r"[\w.+:-]+")


@cache
def _spdx() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


def canonical(name: str) -> str:
    """The identifier on the SPDX list of a name that is on it in another spelling; else nothing."""
    symbol = (
        _spdx().known_symbols_lowercase.get(name.strip().lower()) if _NAME.fullmatch(name.strip()) else None
    )
    return symbol.key if symbol is not None else ""


def choices(text: str) -> list[tuple[str, ...]]:
    """The ways in which an expression may be taken: of each the licences that then apply together.

    A name stands for itself, as does what cannot be parsed. ``NAME WITH EXCEPTION`` is one name.
    """
    joined = _LATER.sub("-or-later", text.strip())
    if "/" in joined and "://" not in joined and not _OPERATOR.search(joined):
        joined = " OR ".join(part.strip() for part in joined.split("/"))  # as older package lists write it
    parts = [part.strip() for part in _OPERATOR.split(joined)]
    if len(parts) == 1:
        return [(text.strip(),)]
    written = " ".join(part.upper() if _is_operator(part) else re.sub(r"\s+", "-", part) for part in parts)
    from license_expression import ExpressionError

    try:
        tree = _spdx().parse(written)
    except (ExpressionError, ValueError):  # no expression after all: a name with such a word in it
        return [(text.strip(),)]
    return [(text.strip(),)] if tree is None else list(dict.fromkeys(_walk(tree)))


def _is_operator(part: str) -> bool:
    return part.upper() in ("AND", "OR", "WITH", "(", ")")


def _walk(tree: Any) -> list[tuple[str, ...]]:
    licensing = _spdx()
    if isinstance(tree, licensing.OR):
        return [way for part in tree.args for way in _walk(part)]
    if isinstance(tree, licensing.AND):
        ways = product(*(_walk(part) for part in tree.args))
        return [tuple(dict.fromkeys(name for part in way for name in part)) for way in ways]
    return [(tree.render("{symbol.key}"),)]
