"""The main job: data and needs to verdict. ``freehold.trial(data, ...)`` calls :func:`freehold.api.trial`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Trial(ModuleType):
    """This package as a function too, since ``freehold.trial`` is the name of both."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from freehold import api

        return api.trial(*arguments, **options)


sys.modules[__name__].__class__ = _Trial
