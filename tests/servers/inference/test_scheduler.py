"""The thread that steps the engines goes on whatever happens in a step."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from freehold.core.errors import FreeholdError
from freehold.inference.batch_engine import BatchingEngine
from freehold.inference.engine_options import EngineOptions
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import Sampling
from freehold.servers.inference.api_errors import api_error_of
from freehold.servers.inference.scheduler import Scheduler


def test_a_fault_in_a_step_is_told_and_the_next_request_is_answered(
    smollm2: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(logits: np.ndarray, prompt: object, answer: object) -> np.ndarray:
        raise RuntimeError("a hook of the operator's")

    async def ask(
        scheduler: Scheduler, engine: BatchingEngine, sampling: Sampling
    ) -> tuple[str, FreeholdError | None]:
        text, error = "", None
        async for piece in scheduler.stream(
            engine,
            GenerationRequest(tuple(engine.vocabulary.encode("One, two, three,", start=True)), 6, sampling),
        ):
            text, error = text + piece.text, piece.error
        return text, error

    async def run() -> None:
        scheduler = Scheduler()
        engine = BatchingEngine(smollm2, EngineOptions(context_length=256, parallel=2))
        before, _ = await ask(scheduler, engine, Sampling())
        text, error = await ask(scheduler, engine, Sampling(processors=(broken,)))
        assert text == ""
        assert error is not None
        assert "a hook of the operator's" in str(error)
        assert api_error_of(error).status == 500
        after, none = await ask(scheduler, engine, Sampling())
        assert (after, none) == (before, None)
        assert "four" in after
        await asyncio.to_thread(scheduler.close)

    asyncio.run(run())
    assert "RuntimeError" in capfd.readouterr().err
