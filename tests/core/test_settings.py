"""Where the home is, which switches keep libraries quiet, and which variables hold secrets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from freehold.core import settings
from freehold.core.errors import UsageError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy, so that what the tests set goes with them."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_libraries_are_offline_and_send_nothing() -> None:
    os.environ.pop("HF_HUB_OFFLINE", None)
    settings.go_quiet()
    assert {name: os.environ[name] for name in settings.QUIET} == settings.QUIET


def test_a_pull_lifts_the_offline_switches_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.QUIET:
        os.environ.pop(name, None)
    settings.go_quiet(online=True)
    assert "HF_HUB_OFFLINE" not in os.environ
    assert "TRANSFORMERS_OFFLINE" not in os.environ
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert os.environ["DO_NOT_TRACK"] == "1"


def test_a_persons_own_way_of_waiting_stays() -> None:
    os.environ.pop("GOMP_SPINCOUNT", None)
    os.environ["OMP_WAIT_POLICY"] = "active"
    settings.share_processors()
    assert "GOMP_SPINCOUNT" not in os.environ
    del os.environ["OMP_WAIT_POLICY"]
    settings.share_processors()
    assert os.environ["GOMP_SPINCOUNT"] == settings.SPINS
    os.environ["GOMP_SPINCOUNT"] = "7"
    settings.share_processors()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_a_secret_is_read_from_the_variable_that_is_named() -> None:
    os.environ["MY_KEY"] = "hunter2"
    assert settings.secret("MY_KEY", "key") == "hunter2"
    assert settings.secret("", "key") == ""


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_without_a_secret_is_refused_with_a_way_that_leaves_no_trace(value: str | None) -> None:
    os.environ.pop("MY_KEY", None)
    if value is not None:
        os.environ["MY_KEY"] = value
    with pytest.raises(UsageError, match="variable MY_KEY .*no API key") as raised:
        settings.secret("MY_KEY", "API key")
    assert "read -rs MY_KEY" in raised.value.remedy


@pytest.mark.parametrize(
    "address", ["https://ada:secret@example.org/v1", "https://token@example.org", "postgresql://u:p@h/db"]
)
def test_an_address_with_a_password_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(UsageError) as raised:
        settings.plain_address(address)
    assert "secret" not in str(raised.value)
    assert "token@" not in str(raised.value)


@pytest.mark.parametrize("address", ["https://example.org/v1", "https://example.org/a@b", "", "here"])
def test_a_plain_address_stays_as_it_is(address: str) -> None:
    assert settings.plain_address(address) == address


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("OpenAI_ApiKey", True),
        ("HF_TOKEN", True),
        ("GITHUB_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("PGPASSWORD", True),
        ("AWS_CREDENTIALS_FILE", True),
        ("SSH_KEY", True),
        ("FREEHOLD_DATABASE", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("KEYBOARD", False),
        ("MONKEY_ISLAND", False),
        ("PATH", False),
        ("FREEHOLD_HOME", False),
    ],
)
def test_which_variables_hold_secrets(name: str, secret: bool) -> None:
    assert settings.holds_secret(name) is secret
    os.environ[name] = "hunter2"
    assert (name in settings.without_secrets()) is not secret


def test_the_home_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.environ["FREEHOLD_HOME"] = str(tmp_path / "home")
    assert settings.home_path() == tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    os.environ["FREEHOLD_HOME"] = "near"
    assert settings.home_path() == tmp_path / "near"
    os.environ["FREEHOLD_HOME"] = "~/far"
    assert settings.home_path() == Path.home() / "far"


def test_without_the_variable_it_is_the_platforms_data_folder() -> None:
    os.environ.pop("FREEHOLD_HOME", None)
    os.environ["XDG_DATA_HOME"] = "/data"
    assert settings.home_path().name == "freehold"


def test_a_home_relative_to_a_removed_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    os.environ["FREEHOLD_HOME"] = "near"
    with pytest.raises(UsageError, match="a folder that was removed"):
        settings.home_path()


def test_database_and_bucket_come_from_their_variables() -> None:
    for name, read in (("FREEHOLD_DATABASE", settings.database), ("FREEHOLD_BUCKET", settings.bucket)):
        os.environ.pop(name, None)
        assert read() == ""
        os.environ[name] = "somewhere"
        assert read() == "somewhere"
