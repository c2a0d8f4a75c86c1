"""A verb's options on the command line, made of their one definition (:mod:`freehold.core.option`)."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from freehold.core.option import Option, Settings, options_of, settings_of

_Settings = TypeVar("_Settings", bound=Settings)


def with_options(kind: type[_Settings]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command out of a function with a parameter ``settings``, which becomes the options of ``kind``.

    What a person typed wins over the ``task.yaml`` that ``--task`` names.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == "settings":
                parameters += _parameters(kind)
            else:
                parameters.append(parameter.replace(annotation=hints[parameter.name]))
        names = frozenset(options_of(kind))

        @functools.wraps(function)
        def command(typer_context: typer.Context, **values: Any) -> None:
            chosen = {name: values.pop(name) for name in names}
            typed = {
                name: value
                for name, value in chosen.items()
                if (source := typer_context.get_parameter_source(name)) is not None
                and source.name != "DEFAULT"
            }
            function(settings=settings_of(kind, typed), **values)

        first = inspect.Parameter("typer_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        command.__signature__ = inspect.Signature([first, *keyword])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [first, *keyword]}
        return command

    return decorate


def _parameters(kind: type[Settings]) -> list[inspect.Parameter]:
    types = get_type_hints(kind)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if defaults[name] == () else defaults[name],
            annotation=Annotated[_type(types[name]), _typer_option(definition)],
        )
        for name, definition in options_of(kind).items()
    ]


def _type(kind: Any) -> Any:
    """The type by which typer knows how an option is written."""
    if get_origin(kind) is Sequence:
        return list[str] | None
    return Path | None if Path in get_args(kind) else kind


def _typer_option(definition: Option) -> Any:
    flags = [definition.flag] if definition.flag else []
    return typer.Option(*flags, help=definition.help, min=definition.low, max=definition.high)
