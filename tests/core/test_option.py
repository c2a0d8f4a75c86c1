"""Options are defined once, and the command line, ``task.yaml`` and Python take the same of them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from freehold import api
from freehold.cli.main import app
from freehold.core.errors import UsageError
from freehold.core.option import TASK, Settings, options_of, read_task_file, settings_of
from freehold.trial.settings import TrialSettings
from freehold.workflows.quantize_settings import QuantizeSettings
from freehold.workflows.tune_settings import TuneSettings

Api = Callable[..., Any]
VERBS = pytest.mark.parametrize(
    ("verb", "settings", "function"),
    [
        ("trial", TrialSettings, api.trial),
        ("tune", TuneSettings, api.tune),
        ("shrink", QuantizeSettings, api.quantize),
    ],
    ids=["trial", "tune", "shrink"],
)
#: What is agreed to each time, so that a file from somebody else can neither agree nor send rows away.
PERMISSIONS = ("yes", "override", "trust_code", "rival_endpoint", "rival_key_env")
#: What only the command line has, and what only Python has.
TYPED, PASSED = (
    {"train", "model", "data", "cluster", "json", "help"},
    {"model", "data", "store", "progress", "say"},
)


@VERBS
def test_all_three_have_the_same_names_and_defaults(
    verb: str, settings: type[Settings], function: Api, tmp_path: Path
) -> None:
    fields = {f.name: f.default for f in dataclasses.fields(settings) if f.name in options_of(settings)}
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    typed = {p.name: p.default for p in command.params if p.name not in TYPED}
    passed = {n: p.default for n, p in inspect.signature(function).parameters.items() if n not in PASSED}
    assert {name: () if isinstance(fields[name], tuple) else value for name, value in typed.items()} == fields
    assert passed == fields
    file = tmp_path / "task.yaml"
    example = {str: "x", bool: "true", int: "1", float: "0.5", tuple: "[x]", type(None): "x"}
    for name, default in fields.items():
        file.write_text(f"{name}: {example[type(default)]}")
        if options_of(settings)[name].in_file:
            assert set(read_task_file(file, settings)) == {name}
        else:
            assert name in (TASK, *PERMISSIONS)
            with pytest.raises(UsageError, match=f"{name} cannot be in a file"):
                read_task_file(file, settings)


@VERBS
def test_all_three_have_the_same_help(verb: str, settings: type[Settings], function: Api) -> None:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    shown = {p.name: p.help for p in command.params if p.name not in TYPED}
    assert shown == {name: definition.help for name, definition in options_of(settings).items()}
    assert function.__doc__
    for section in ("Args:", "Returns:", "Raises:", "Example:"):
        assert section in function.__doc__


@pytest.mark.parametrize(
    ("verb", "settings", "function", "key", "value"),
    [
        ("trial", TrialSettings, api.trial, "budget", "45"),
        ("trial", TrialSettings, api.trial, "budget", "4GiB"),
        ("trial", TrialSettings, api.trial, "memory", "4"),
        ("trial", TrialSettings, api.trial, "licence", "mine"),
        ("trial", TrialSettings, api.trial, "too_long", "both"),
        ("tune", TuneSettings, api.tune, "time", "20"),
        ("tune", TuneSettings, api.tune, "memory", "0B"),
        ("tune", TuneSettings, api.tune, "base_bits", 5),
        ("shrink", QuantizeSettings, api.quantize, "time", "10"),
        ("shrink", QuantizeSettings, api.quantize, "memory", "4s"),
    ],
)
def test_all_three_parse_alike(
    verb: str, settings: type[Settings], function: Api, key: str, value: str | int, tmp_path: Path
) -> None:
    """Before the model is looked up and before rows are read: neither exists."""
    words = {"trial": ["rows.jsonl"], "tune": ["m", "rows.jsonl"], "shrink": ["m", "--data", "rows.jsonl"]}[
        verb
    ]
    file = tmp_path / "task.yaml"
    file.write_text(f"{key}: {value}")
    flag = options_of(settings)[key].flag_of(key)
    data = [word for word in words if word != "--data"]
    ways: Sequence[Callable[[], object]] = (
        lambda: function(*data, **{key: value}),
        lambda: function(*data, task=file),
    )
    for way in ways:
        with pytest.raises(UsageError, match=flag) as refused:
            way()
        for typed in ([flag, str(value)], ["--task", str(file)]):
            result = CliRunner().invoke(app, [verb, *words, *typed])
            assert isinstance(result.exception, UsageError), result.output
            assert result.exception.message == refused.value.message


def test_the_command_line_wins_over_the_file_and_lists_are_joined(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("budget: 30m\nneeds: [accuracy>=0.9]\nshots: 4\ntune: false\nlabels: labels.txt\n")
    settings = settings_of(TrialSettings, {"task": file, "budget": "45m", "needs": ["p95<=800ms"]})
    assert settings.budget == "45m"
    assert settings.needs == ("p95<=800ms", "accuracy>=0.9")
    assert (settings.shots, settings.tune, settings.labels) == (4, False, Path("labels.txt"))
    assert settings.parsed("budget") == 45 * 60
    assert settings.memory == ""


def test_a_default_that_is_typed_wins_too(tmp_path: Path) -> None:
    """``--budget 1h`` is a choice, though it is the default."""
    file = tmp_path / "task.yaml"
    file.write_text("budget: 4GiB")
    result = CliRunner().invoke(app, ["trial", "no-such-rows.jsonl", "--task", str(file), "--budget", "1h"])
    assert result.exception is not None
    assert "4GiB" not in str(result.exception)
    assert "no-such-rows" in getattr(result.exception, "message", "")


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("need: []", "unknown key 'need'", "did you mean needs?"),
        ("buget: 1h", "unknown key 'buget'", "did you mean budget?"),
        ("api-batch: true", "unknown key 'api-batch'", "did you mean api_batch?"),
        ("xyzzy: 1", "unknown key 'xyzzy'", "Its keys can be valid, test"),
        ("task: other.yaml", "task cannot be in a file", ""),
        ("yes: true", "yes cannot be in a file", "pass --yes"),
        ("- a", "must be a mapping", ""),
        ("needs: [1]", "needs must be a list of texts", ""),
        ("needs: accuracy>=0.9", "needs must be a list of texts", ""),
        ("shots: few", "shots must be a whole number, not 'few'", ""),
        ("tune: 1", "tune must be true or false, not 1", ""),
        ("budget: [1h]", "budget must be a text", ""),
        ("a: [", "is not valid YAML", ""),
    ],
)
def test_a_task_file_says_what_is_wrong_with_it(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_task_file(file, TrialSettings)
    assert message in refused.value.message
    assert str(file) in refused.value.message
    assert remedy in refused.value.remedy


def test_a_task_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.yaml cannot be read"):
        settings_of(TrialSettings, {"task": tmp_path / "missing.yaml"})


def test_numbers_have_bounds_from_python_as_on_the_command_line() -> None:
    with pytest.raises(UsageError, match="--api-cached-share 2.0 must be at most 1"):
        TrialSettings(api_cached_share=2)
    with pytest.raises(UsageError, match="--canaries -1 must be at least 0"):
        TuneSettings(canaries=-1)
