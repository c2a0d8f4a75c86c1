"""How verbs are shown in help: under headings, with their example at the end.

A verb's docstring ends with a paragraph ``Example: freehold ...``. It is moved behind the options, where
nothing wraps it, so that it can be copied.
"""

from __future__ import annotations

import inspect
from typing import Any

import typer
from typer.core import TyperGroup

#: The headings of ``freehold --help``, with the verbs under each.
HEADINGS: dict[str, tuple[str, ...]] = {
    "Get models": ("pull", "find", "fit", "models", "show", "rm", "gc", "store"),
    "Decide": ("trial", "trials", "report"),
    "Improve": ("tune", "shrink", "mask"),
    "Run": ("run", "chat", "serve", "rent", "usage"),
    "Share": ("export", "archive", "restore", "push", "mirror", "hub"),
    "Trust": ("verify", "certify", "reproduce", "licence", "scan", "signer"),
    "Administer": ("key", "policy", "plugins", "engine"),
}
_EXAMPLE = "Example: "
#: Longer than any summary: lines are wrapped, not cut.
_WHOLE = 500


class HeadedGroup(TyperGroup):
    """The main command, whose verbs stand under headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section of verbs for each heading, each verb with its first sentence."""
        width = max(map(len, self.commands))
        for heading, names in HEADINGS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(width), self.commands[name].get_short_help_str(_WHOLE)) for name in names]
                )


def split_example(text: str) -> tuple[str, str]:
    """(a help text without its example, the example as it is shown at the end of the help)."""
    text = inspect.cleandoc(text)
    body, mark, example = text.rpartition(f"\n\n{_EXAMPLE}")
    # \b keeps click from wrapping the paragraph
    return (body, f"\b\n{_EXAMPLE}{' '.join(example.split())}") if mark else (text, "")


def show_examples_last(app: typer.Typer) -> None:
    """Move the examples of an application's verbs and groups to the end of their help."""
    for command in app.registered_commands:
        command.help, command.epilog = split_example(command.help or inspect.getdoc(command.callback) or "")
    for group in app.registered_groups:
        if isinstance(group.typer_instance, typer.Typer):
            info = group.typer_instance.info
            info.help, info.epilog = split_example(str(info.help or ""))
            show_examples_last(group.typer_instance)
