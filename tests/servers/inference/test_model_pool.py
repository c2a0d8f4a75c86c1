"""Models come into memory and leave it, whatever is asked at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.core.errors import Unsupported
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.model_pool import ModelPool
from freehold.servers.inference.options import PoolOptions
from freehold.servers.inference.scheduler import Scheduler
from tests.servers.inference import tiny_shop
from tests.servers.inference.asking import HANG_S

pytestmark = pytest.mark.slow


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler()
    yield scheduler
    scheduler.close()


def test_of_two_models_that_do_not_both_fit_one_is_answered_and_the_other_refused(
    tmp_path: Path, scheduler: Scheduler
) -> None:
    store = tiny_shop.stocked(tmp_path)
    need = ModelPool(store, ["alpha"], [], scheduler, PoolOptions(context_length=512))._predicted_bytes(
        "alpha"
    )
    pool = ModelPool(
        store, ["alpha", "beta"], [], scheduler, PoolOptions(context_length=512, memory_bytes=need * 3 // 2)
    )

    async def asked(name: str) -> str:
        try:
            served = await pool.acquire(name)
        except ApiError as refusal:
            return f"{refusal.status} {refusal.message}"
        await asyncio.sleep(0.1)
        pool.release(served)
        return "held"

    async def both() -> list[str]:
        async with asyncio.timeout(HANG_S):
            return await asyncio.gather(asked("alpha"), asked("beta"))

    assert sorted(asyncio.run(both())) == ["503 the model needs memory that models in use take", "held"]


def test_layers_that_would_stay_on_the_processor_are_refused(tmp_path: Path, scheduler: Scheduler) -> None:
    store = tiny_shop.stocked(tmp_path)
    with pytest.raises(Unsupported, match="--gpu-layers does not work with --reproducible"):
        ModelPool(store, ["alpha"], [], scheduler, PoolOptions(reproducible=True, gpu_layers=2))
    ModelPool(store, ["alpha"], [], scheduler, PoolOptions(reproducible=True, gpu_layers=0))
