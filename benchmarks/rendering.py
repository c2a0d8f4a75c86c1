"""What it costs to render chat templates in a process with limits: milliseconds for a prompt, here and there.

    python benchmarks/rendering.py

One ordinary chat is rendered again and again by Jinja in this process, and by ``freehold.data.rendering``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from jinja2.sandbox import ImmutableSandboxedEnvironment

from freehold.data.rendering import rendered

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHAT = {
    "messages": [{"role": "system", "content": "Answer briefly."}]
    + [{"role": role, "content": "How long is leave? " * 20} for role in ("user", "assistant", "user")],
    "add_generation_prompt": True,
}
ROUNDS = 2000


def milliseconds(render: Callable[[], str]) -> float:
    """Of one rendering, the best of five times."""
    render()
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(ROUNDS):
            render()
        best = min(best, time.perf_counter() - began)
    return 1000 * best / ROUNDS


def main() -> None:
    """Print both, and their difference."""
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)
    here = milliseconds(lambda: template.render(**CHAT))
    there = milliseconds(lambda: rendered(TEMPLATE, CHAT))
    print(
        f"in this process {here:.3f} ms; in a process with limits {there:.3f} ms; {there - here:.3f} ms more"
        " a prompt"
    )


if __name__ == "__main__":
    main()
