"""A home with a model of random weights, which is opened in no time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from freehold.models.intake import made_here
from freehold.models.store import Store
from freehold.runtime.gguf_form import as_gguf
from tests import tiny

#: The name it is served by.
TINY = "org/tiny"


@pytest.fixture(scope="session")
def tiny_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is only copied."""
    folder = tmp_path_factory.mktemp("tiny")
    files = tiny.model("llama", folder / "model", max_position_embeddings=4096)
    store = Store(folder / "home")
    as_gguf(
        store, store.add(TINY, made_here({path.name: path for path in files.iterdir()}), {"source": "test"})
    )
    return store.folder


@pytest.fixture
def tiny_home(tiny_original: Path, tmp_path: Path) -> Path:
    """A home of the test's own."""
    return Path(shutil.copytree(tiny_original, tmp_path / "tiny-home"))


@pytest.fixture
def tiny_weights(tiny_original: Path) -> Path:
    """The model's GGUF file."""
    store = Store(tiny_original)
    return store.weights(store.find(f"{TINY}-gguf"))
