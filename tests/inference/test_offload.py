"""How many layers go to cards: by bytes, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.core.errors import UsageError
from freehold.inference import offload
from freehold.inference.engine_options import EngineOptions
from freehold.inference.offload import CARD_RESERVE_BYTES, Card, LayerSizes
from freehold.inference.reproducible import ReproducibleEngine
from freehold.models.formats import gguf
from tests.servers.inference.conftest import tiny_original, tiny_weights  # noqa: F401

MIB = 1 << 20
SIZES = LayerSizes(layers=(100 * MIB,) * 10, output=50 * MIB, cache=10 * MIB, buffers=40 * MIB)


def card(free: int, name: str = "CUDA0") -> Card:
    return Card(name, "a card", free + CARD_RESERVE_BYTES, 8 << 30)


def test_without_a_card_the_processor_computes_all() -> None:
    planned = offload.plan(lambda: SIZES, [])
    assert (planned.gpu_layers, planned.card_bytes) == (0, 0)
    assert planned.reason == "every layer on the processor: llama.cpp finds no card"


def test_a_card_with_room_takes_all_layers_and_the_output() -> None:
    planned = offload.plan(lambda: SIZES, [card(2 << 30)])
    assert planned.gpu_layers == 11
    assert planned.card_bytes == (10 * 100 + 50 + 10 * 10 + 40) * MIB
    assert planned.reason == "11 of 11 layers on CUDA0 (a card, 2.5 of 8.0 GiB free), as all fit"


@pytest.mark.parametrize(("room", "layers"), [(89, 0), (90, 1), (199, 1), (200, 2), (1190, 11), (1189, 10)])
def test_the_output_comes_first_and_a_layer_brings_its_cache(room: int, layers: int) -> None:
    planned = offload.plan(lambda: SIZES, [card(room * MIB)])
    assert planned.gpu_layers == layers
    assert planned.card_bytes <= room * MIB


def test_cards_add_up_and_a_full_one_adds_nothing() -> None:
    full = Card("CUDA1", "a card", 100 * MIB, 8 << 30)
    assert offload.plan(lambda: SIZES, [card(100 * MIB), card(100 * MIB, "CUDA1")]).gpu_layers == 2
    assert offload.plan(lambda: SIZES, [card(100 * MIB), full]).gpu_layers == 1


def test_what_was_asked_for_is_done_and_not_more_than_there_is() -> None:
    assert offload.plan(lambda: SIZES, [card(2 << 30)], 4).gpu_layers == 4
    assert offload.plan(lambda: SIZES, [card(2 << 30)], 99).gpu_layers == 11
    assert offload.plan(lambda: SIZES, [card(2 << 30)], 0).card_bytes == 0
    assert offload.plan(lambda: SIZES, [], 0).gpu_layers == 0
    with pytest.raises(UsageError, match="llama.cpp finds no card"):
        offload.plan(lambda: SIZES, [], 4)


def test_sizes_are_those_of_the_file(tiny_weights: Path) -> None:
    sizes = offload.layer_sizes(tiny_weights, context_length=1000, batch=128, outputs=5)
    header = gguf.read_header(tiny_weights)
    in_layers = sum(tensor.size for tensor in header.tensors if tensor.name.startswith("blk."))
    assert len(sizes.layers) == header.number("block_count")
    assert sum(sizes.layers) == in_layers
    assert sizes.output > 0
    twice = offload.layer_sizes(tiny_weights, context_length=2000, batch=128, outputs=5, cache_bytes=4)
    assert twice.cache == 4 * sizes.cache


def test_a_file_is_not_read_where_nothing_can_go_to_a_card() -> None:
    def never() -> LayerSizes:
        raise AssertionError("the file was read")

    assert offload.plan(never, []).gpu_layers == 0
    assert offload.plan(never, [card(2 << 30)], 0).gpu_layers == 0


def test_the_reproducible_engine_stays_on_the_processor(tiny_weights: Path) -> None:
    options = EngineOptions(context_length=512, parallel=1, batch=128, threads=1, gpu_layers=3)
    engine = ReproducibleEngine(tiny_weights, options)
    assert engine.offload.gpu_layers == 0
    engine.close()
