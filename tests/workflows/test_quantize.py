"""A model is quantized to a size, and each size is measured on rows that nothing was fitted to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freehold.core.errors import BadData, DoesNotFit, UsageError
from freehold.data.examples import Example
from freehold.inference.loading import predict_memory
from freehold.models.intake import made_here
from freehold.models.store import Model, Store
from freehold.quantization import allocation
from freehold.workflows.quantize import QuantizeOptions, Sweep, room_for_weights, shrink
from tests import tiny
from tests.runtime.test_gguf_form import files_in

pytestmark = pytest.mark.slow


def rows(count: int) -> list[Example]:
    return [
        Example(f"row{n}", (("user", f"Order {n} is late"), ("assistant", "lamp")), {"label": "lamp"})
        for n in range(count)
    ]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return Store(tmp_path / "home")


@pytest.fixture
def model(store: Store, tmp_path: Path) -> Model:
    """A safetensors model, which the verb converts."""
    folder = tiny.model("llama", tmp_path / "folder")
    return store.add("org/tiny", made_here(files_in(folder)), {"source": "hf:org/tiny"})


def test_memory_is_shared_by_weights_and_context(model: Model) -> None:
    options = QuantizeOptions(memory_bytes=1 << 30, context_length=256)
    beside = predict_memory(replace(model.info, size_bytes=0), 256, 1).total
    assert room_for_weights(model.info, options) == (1 << 30) - beside
    with pytest.raises(DoesNotFit, match="256 tokens of context take .* and only 0.00 GiB are allowed"):
        room_for_weights(model.info, replace(options, memory_bytes=1))


def test_too_little_memory_is_refused_before_anything_is_measured(store: Store, model: Model) -> None:
    with pytest.raises(DoesNotFit, match="beside the weights"):
        shrink(store, model, rows(8), QuantizeOptions(memory_bytes=1), "small")
    assert [known.name for known in store.models()] == ["org/tiny", "org/tiny-gguf"]


def test_half_of_the_rows_are_kept_for_measuring(store: Store, model: Model, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="6 rows are too few: half of them are kept for measuring"):
        shrink(store, model, rows(6), QuantizeOptions(bits=5.0), "small")
    gguf = store.find("org/tiny-gguf")
    examples = rows(9)
    sweep = Sweep(store, gguf, examples, tmp_path)
    assert len(sweep.held_out) == 5
    assert {row.id for row in sweep.held_out} < {row.id for row in examples}


def test_bits_decide_the_size_of_the_file(store: Store, model: Model, tmp_path: Path) -> None:
    with pytest.raises(BadData):
        shrink(store, model, rows(6), QuantizeOptions(bits=5.0), "small")
    gguf = store.find("org/tiny-gguf")
    sweep = Sweep(store, gguf, rows(8), tmp_path)
    size = sweep.size_for(QuantizeOptions(bits=8.0))
    assert size == allocation.overhead(sweep.source) + gguf.info.parameters
    with pytest.raises(UsageError, match="no size was given"):
        sweep.size_for(QuantizeOptions())
