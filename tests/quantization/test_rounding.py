import numpy as np
import pytest

from freehold.inference import ggml
from freehold.quantization import gptq


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_1", "Q4_K"])
def test_making_up_for_errors_leaves_less_of_them_in_the_output(kind: str) -> None:
    chance = np.random.default_rng(0)
    inputs = (
        chance.standard_normal((2000, 40)) @ chance.standard_normal((40, 512))
        + 0.2 * chance.standard_normal((2000, 512))
    ).astype(np.float32)
    product = inputs.T @ inputs / len(inputs)
    weights = chance.standard_normal((64, 512)).astype(np.float32)
    importance = np.ascontiguousarray(product.diagonal())

    def error(blocks: np.ndarray) -> float:
        return gptq.output_error(ggml.dequantize(blocks, kind, 512) - weights, product)

    plain = ggml.quantize(weights, kind, importance)
    ours = gptq.compensated(weights, kind, importance, gptq.feedback(product))
    assert ours.shape == plain.shape
    assert error(ours) < (0.9 if kind == "Q4_K" else 0.5) * error(plain)


def test_the_output_error_is_that_of_the_outputs() -> None:
    chance = np.random.default_rng(1)
    inputs, wrong = (
        chance.standard_normal((300, 16)).astype(np.float32),
        chance.standard_normal((5, 16)).astype(np.float32),
    )
    direct = float(np.square(inputs @ wrong.T).sum(1).mean())
    assert gptq.output_error(wrong, inputs.T @ inputs / len(inputs)) == pytest.approx(direct, rel=1e-4)
