"""Chat templates: the model's own, or a plain one, used alike in tuning, measuring and serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freehold.core.errors import Unsupported
from freehold.data.rendering import rendered

#: For base models, which come without a template.
PLAIN = (
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ m['content'] }}\n\n"
    "{% elif m['role'] == 'user' %}### Question\n{{ m['content'] }}\n\n"
    "{% else %}### Answer\n{{ m['content'] }}{{ eos_token }}\n\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Answer\n{% endif %}"
)
#: Where a base model that has not been tuned to end its turn is stopped.
PLAIN_STOP = "\n\n###"

Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template and the tokens it may name. ``origin`` says whose it is."""

    source: str
    origin: str
    bos_token: str = ""
    eos_token: str = ""

    @property
    def plain(self) -> bool:
        """Whether this is our plain template."""
        return self.source == PLAIN

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts at which an answer ends besides the model's own end-of-turn tokens."""
        return (PLAIN_STOP,) if self.plain else ()

    def prompt(self, messages: Messages) -> str:
        """The text after which the model answers."""
        return self._render(messages, add_generation_prompt=True)

    def pair(self, messages: Messages) -> tuple[str, str]:
        """(prompt, what follows it) for messages that end with the assistant's answer. Raises Unsupported."""
        before = self.prompt(messages[:-1])
        whole = self._render(messages, add_generation_prompt=False)
        if not whole.startswith(before):
            raise Unsupported(
                "the model's chat template renders an answered chat differently from the chat before the "
                "answer, "
                "so the model cannot be tuned on it",
                "choose a model whose template only appends, or pass --template plain",
            )
        return before, whole[len(before) :]

    @property
    def takes_tools(self) -> bool:
        """Whether the template has a form of its own for functions that the model may call."""
        return "tools" in self.source

    def chat(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()) -> str:
        """The text after which the model answers messages in the form of OpenAI's API. Raises Unsupported."""
        return self._rendered(list(messages), True, {"tools": list(tools)} if tools else {})

    def _render(self, messages: Messages, *, add_generation_prompt: bool) -> str:
        return self._rendered(
            [{"role": role, "content": content} for role, content in messages], add_generation_prompt, {}
        )

    def _rendered(self, chat: list[dict[str, Any]], add_generation_prompt: bool, more: dict[str, Any]) -> str:
        return rendered(
            self.source,
            {
                "messages": chat,
                "add_generation_prompt": add_generation_prompt,
                "bos_token": self.bos_token,
                "eos_token": self.eos_token,
                **more,
            },
        )


def choose(
    model_template: str | None, *, bos_token: str, eos_token: str, plain: bool = False
) -> ChatTemplate:
    """The model's own template, or the plain one with the reason."""
    if model_template and not plain:
        return ChatTemplate(model_template, "the model's own", bos_token, eos_token)
    reason = "plain, as requested" if plain else "plain, as the model has none of its own"
    return ChatTemplate(PLAIN, reason, bos_token, eos_token)
