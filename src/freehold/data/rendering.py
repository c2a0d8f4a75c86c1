"""Chat templates are programs that came with a model: they are rendered in processes with limits, and nowhere
else.
"""

from __future__ import annotations

import atexit
import functools
import json
from typing import TYPE_CHECKING, Any

from freehold.core import limited_process
from freehold.core.errors import Unsupported
from freehold.core.machine import cores

if TYPE_CHECKING:
    from jinja2 import Template

#: An ordinary prompt takes a few thousandths of a second.
BOUNDS = limited_process.Bounds(cpu_s=1.0, wall_s=30.0, memory_bytes=512 << 20, output_bytes=32 << 20)
_REMEDY = "change the messages, or pass --template plain"


class Stopped(Unsupported):
    """A template went beyond its limits.

    ``reason``: what it did, as the end of a sentence that begins with "it".
    """

    def __init__(self, reason: str):
        super().__init__(f"the model's chat template was stopped: it {reason} on these messages", _REMEDY)
        self.reason = reason


def rendered(source: str, variables: dict[str, Any]) -> str:
    """A chat template's text. Raises Unsupported for a template that is not valid or refuses,
    Stopped for one that goes beyond the limits."""
    try:
        request = json.dumps({"source": source, "variables": variables}).encode()
    except (ValueError, RecursionError) as error:
        raise Unsupported(
            f"the messages cannot be written as JSON ({error})", "nest them less deeply"
        ) from error
    try:
        return _processes().call(request).decode("utf-8", "surrogatepass")
    except limited_process.Exceeded as error:
        raise Stopped(error.reason) from error


@functools.cache
def _processes() -> limited_process.Workers:
    count = max(2, min(4, cores()))
    workers = limited_process.Workers("freehold.data.rendering:render", BOUNDS, count)
    atexit.register(workers.close)
    return workers


# -- in the process ---------------------------------------------------------------------------------


def render(data: bytes) -> bytes:
    """The text of a template and its variables, both in JSON. Raises Unsupported."""
    request = json.loads(data)
    template = _compiled(request["source"])
    try:
        text = template.render(**request["variables"])
    except MemoryError:
        raise
    except Exception as error:  # a template is a foreign program: whatever it raises is its refusal
        raise Unsupported(
            f"the model's chat template does not accept these messages ({error})",
            "change the roles, or pass --template plain",
        ) from error
    return text.encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(source)
    except (TemplateError, SyntaxError, RecursionError, ValueError, OverflowError) as error:
        raise Unsupported(
            f"the model's chat template is not valid Jinja ({error})", "pass --template plain"
        ) from error
