"""A trial of one tiny model without model runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.core import progress
from freehold.models.store import Store
from freehold.trial.options import NO_SAFETY, Options
from freehold.trial.run import Trial
from tests.entry import pull
from tests.hub.models import gguf
from tests.trial.recorded import task


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """A trial of one tiny model, as it stands."""
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    monkeypatch.setattr("freehold.trial.served_check.check", lambda *_: None)  # it starts a server
    store = Store(tmp_path)
    model = pull(store, f"file:{gguf(tmp_path / 'model.gguf')}", "org/tiny")
    options = Options(
        budget_s=3600, needs=("accuracy>=0.5", "p95<=800ms"), tune=False, safety_prompts=NO_SAFETY
    )
    return Trial(store, task(), [model], options, progress.silent)
