"""What a device of given memory runs: verdicts from shapes alone, nothing loaded."""

from __future__ import annotations

import pytest

from freehold.models.info import ModelInfo
from freehold.workflows.fit import BITS, IDEAL, CheckedFit, Fit, fit, known

GIB = 1 << 30
INFO = ModelInfo(
    format="gguf",
    architecture="llama",
    parameters=1_000_000_000,
    context_length=4096,
    quantization="Q8_0",
    chat_template=None,
    licence="apache-2.0",
    licence_from="tests",
    size_bytes=0,
    layers=16,
    hidden=2048,
    kv_width=512,
    vocabulary=32000,
)


def of(memory: int, size: int = GIB, context: int = 2048, rate: float | None = None) -> Fit:
    return fit("model", "Q8_0", INFO, size, memory, context, rate, stored=True)


def test_a_verdict_follows_from_the_memory_that_is_left() -> None:
    need = of(8 * GIB).need_bytes
    assert need > GIB
    assert of(int(need / IDEAL) + 1).verdict == "ideal"
    assert of(int(need / IDEAL) - 1).verdict == "tight"
    assert of(need).verdict == "tight"
    assert of(need - 1).verdict == "won't fit"


def test_what_does_not_fit_says_how_much_context_would() -> None:
    most = of(of(8 * GIB).need_bytes - 1)
    assert 0 < most.context < 2048
    assert f"{most.context} would fit" in most.reason
    nothing = of(GIB // 2)
    assert nothing.context == 0
    assert nothing.reason == "the weights alone take 1.00 GiB"


def test_more_context_needs_more_memory_up_to_what_the_model_has() -> None:
    few, all_of_it, beyond = (of(8 * GIB, context=size).need_bytes for size in (512, 4096, 100_000))
    assert few < all_of_it == beyond


def test_speed_is_estimated_from_bytes_read_per_second() -> None:
    assert of(8 * GIB).tokens_per_second is None
    assert of(8 * GIB, rate=10.0 * GIB).tokens_per_second == pytest.approx(10.0)


def test_an_estimate_that_is_too_high_has_a_positive_error() -> None:
    check = CheckedFit(of(8 * GIB, rate=12.0 * GIB), estimated=12.0, measured=10.0)
    assert check.error == pytest.approx(0.2)
    value = check.as_dict()
    assert (value["measured_tokens_per_second"], value["error"]) == (10.0, check.error)
    assert value["name"] == "model"


def test_known_models_have_a_shape_and_a_licence() -> None:
    models = known()
    assert len({name for name, _ in models}) == len(models) > 5
    for name, info in models:
        assert min(info.parameters, info.layers, info.hidden, info.kv_width, info.vocabulary) > 0, name
        assert info.licence, name
    assert list(BITS.values()) == sorted(BITS.values(), reverse=True)
