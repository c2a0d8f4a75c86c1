"""Types chosen under a budget, on real weights through llama.cpp."""

from pathlib import Path

import numpy as np
import pytest

from freehold.core.errors import DoesNotFit, Unsupported
from freehold.inference import ggml
from freehold.inference.interface import common_prefix
from freehold.models.formats import gguf
from freehold.models.formats.decoders import config_of, read_tensor
from freehold.quantization import allocation
from freehold.quantization.sensitivity import Reference, activation_statistics, choose_rows
from freehold.training.adapter import merge_gguf
from tests.layers import first_layers

pytestmark = pytest.mark.slow

TEXTS = (
    "The bank has not sent my card yet.",
    "Why was I charged a fee for a transfer abroad?",
    "How do I change my personal number?",
    "My top-up failed.",
)


@pytest.fixture(scope="module")
def wide(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    merge_gguf(folder / "f16.gguf", first_layers(smollm2, folder / "short.gguf", 8), {}, 1.0)
    return folder / "f16.gguf"


@pytest.fixture(scope="module")
def rows(wide: Path) -> list[list[int]]:
    from freehold.inference.llama import vocabulary

    with vocabulary(wide) as tokens:
        return [tokens.encode(text, start=True) for text in TEXTS]


@pytest.mark.parametrize("name", ["Q8_0", "Q5_1", "Q4_0", "IQ4_NL", "Q4_K", "Q2_K"])
def test_blocks_open_to_near_what_was_closed(name: str) -> None:
    weights = np.random.default_rng(0).standard_normal((24, 512)).astype(np.float32)
    kind = ggml.row_type(name)
    blocks = ggml.quantize(weights, name, np.ones(512, dtype=np.float32))
    assert blocks.shape == (24, kind.row_bytes(512))
    error = float(np.square(ggml.dequantize(blocks, name, 512) - weights).mean())
    assert error < 4.0 ** (2 - kind.bits)
    assert (kind.block, kind.block_bytes) == gguf.TYPES[kind.number][1:]


def test_rows_that_fill_no_block_are_refused() -> None:
    with pytest.raises(Unsupported, match="do not fill Q4_K blocks of 256"):
        ggml.quantize(np.zeros((2, 576), dtype=np.float32), "Q4_K")


def test_importance_is_the_mean_square_of_what_enters(wide: Path, rows: list[list[int]]) -> None:
    found = activation_statistics(wide, rows).mean_square
    header = gguf.read_header(wide)
    columns = {tensor.name: tensor.shape[0] for tensor in header.tensors if len(tensor.shape) > 1}
    assert set(columns) == set(found)
    assert all(len(values) == columns[name] and (values >= 0).all() for name, values in found.items())
    again = activation_statistics(wide, [rows[0], rows[1]]).mean_square
    assert not np.allclose(again["blk.3.ffn_down.weight"], found["blk.3.ffn_down.weight"])
    # what enters the first layer follows from the file alone: the normed embeddings of the tokens
    tensors = {tensor.name: tensor for tensor in header.tensors}
    table = read_tensor(wide, tensors["token_embd.weight"]).reshape(-1, columns["blk.0.attn_q.weight"])
    embedded = table[[token for row in rows for token in row]]
    size = np.sqrt(np.square(embedded).mean(1, keepdims=True) + config_of(wide).norm_epsilon)
    normed = embedded / size * read_tensor(wide, tensors["blk.0.attn_norm.weight"])
    assert found["blk.0.attn_q.weight"] == pytest.approx(np.square(normed).mean(0), rel=1e-3)
    # query, key and value read the same input
    assert np.allclose(found["blk.5.attn_q.weight"], found["blk.5.attn_k.weight"])


def test_the_model_itself_loses_nothing_and_coarser_ones_lose_more(
    wide: Path, rows: list[list[int]], tmp_path: Path
) -> None:
    from freehold.quantization.quantize import quantize

    reference = Reference(wide, rows)
    own = reference.loss_of(wide)
    assert own.kl_mean == pytest.approx(0.0, abs=1e-6)
    assert own.same_top == 1.0
    assert own.perplexity == pytest.approx(own.reference_perplexity, rel=1e-5)
    assert own.positions == sum(map(len, rows)) - len(rows) * (1 + reference.start)
    losses = []
    for kind in ("Q8_0", "Q4_K_M", "Q2_K"):
        quantize(
            wide, tmp_path / f"{kind}.gguf", kind, importance=activation_statistics(wide, rows).mean_square
        )
        losses.append(reference.loss_of(tmp_path / f"{kind}.gguf").kl_mean)
    assert 0 < losses[0] < losses[1] < losses[2]


def test_a_written_mix_is_what_was_chosen_and_loads(
    wide: Path, rows: list[list[int]], tmp_path: Path
) -> None:
    inputs = activation_statistics(wide, rows)
    names = [tensor.name for tensor in gguf.read_header(wide).tensors if len(tensor.shape) > 1]
    kinds = {name: "Q6_K" if "ffn_down" in name else "Q5_0" for name in names}
    allocation.write(wide, tmp_path / "mixed.gguf", kinds, inputs)
    header = gguf.read_header(tmp_path / "mixed.gguf")
    assert {tensor.name: tensor.kind for tensor in header.tensors if tensor.name in kinds} == kinds
    assert header.fields["general.file_type"] == allocation.MIXED
    assert Reference(wide, rows).loss_of(tmp_path / "mixed.gguf").kl_mean < 0.1


def sensitivity() -> allocation.Sensitivity:
    """Two matrices, of which the first matters a hundred times as much."""
    options = [
        allocation.Option("F16", 2000, 0.0),
        allocation.Option("Q4_0", 600, 4.0),
        allocation.Option("Q8_0", 1100, 1.0),
    ]
    tensors = [gguf.Tensor(name, (32, 31), "F16", 0, 1984) for name in ("a", "b")]
    return allocation.Sensitivity(
        [allocation.Matrix(tensor, tensor.name, options) for tensor in tensors], {"a": 100.0, "b": 1.0}
    )


@pytest.mark.parametrize(
    ("budget", "wanted"),
    [(1250, ("Q4_0", "Q4_0")), (1800, ("Q8_0", "Q4_0")), (2800, ("F16", "Q4_0")), (4100, ("F16", "F16"))],
)
def test_bytes_go_where_an_error_costs_most(budget: int, wanted: tuple[str, str]) -> None:
    assert tuple(allocation.solve(sensitivity(), budget)[name] for name in "ab") == wanted


def test_too_small_a_budget_says_what_is_least() -> None:
    with pytest.raises(DoesNotFit, match=r"at least 0\.0 MB"):
        allocation.solve(sensitivity(), 1000)


def test_rows_are_chosen_to_fit_memory() -> None:
    rows = [[1, 2, 3, *range(10, 10 + n)] for n in (5, 600, 7, 1)]
    assert common_prefix(rows) == [1, 2, 3, 10]
    chosen = choose_rows(rows, tokens=700)
    assert [len(row) for row in chosen] == [8, 512, 10]
    assert [len(row) for row in choose_rows(rows, positions=6)] == [8]
