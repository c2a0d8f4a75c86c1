import pytest

from freehold.core.errors import DoesNotFit
from freehold.models.formats.decoders import gguf_config
from freehold.training import memory
from freehold.training.recipe import Recipe

#: SmolLM2-135M's published shape.
CONFIG = gguf_config(
    {
        "general.architecture": "llama",
        "llama.embedding_length": 576,
        "llama.block_count": 30,
        "llama.attention.head_count": 9,
        "llama.attention.head_count_kv": 3,
        "llama.feed_forward_length": 1536,
    },
    49152,
)
ROWS = memory.Rows(longest=400, mean=120.0, batch=2400, prefix=20, answer=8.0, total=120_000)


def need(**changes: object) -> memory.MemoryNeed:
    return memory.predict(CONFIG, Recipe(batch_rows=16, **changes), ROWS, tied=True)  # type: ignore[arg-type]


def test_every_saving_saves_what_it_says() -> None:
    assert need(checkpointing=True).activations < need().activations / 2
    assert need(base_bits=4).frozen < need(base_bits=8).frozen < need().frozen
    assert need(micro_tokens=512).activations < need().activations
    assert need(frozen_layers=15).activations < 0.7 * need().activations
    assert need(precision="f32").frozen == 2 * need().frozen


def test_a_limit_is_met_by_what_changes_the_result_least() -> None:
    free, _, _ = memory.fit(CONFIG, Recipe(), ROWS, 0, tied=True)
    assert free == Recipe()
    whole = need().total
    smaller, fitted, reason = memory.fit(CONFIG, Recipe(), ROWS, int(whole * 0.8), tied=True)
    assert fitted.total <= whole * 0.8
    assert smaller.base_bits == 16
    assert "tokens at once" in reason


def test_what_cannot_fit_is_refused_with_what_would() -> None:
    with pytest.raises(DoesNotFit, match=r"at least 0\.\d+ GiB.*0\.30 GiB are allowed") as caught:
        memory.fit(CONFIG, Recipe(), ROWS, int(0.3 * 2**30), tied=True)
    assert "raise --memory to" in caught.value.remedy
    wanted = float(caught.value.remedy.split("to ")[1].split("GiB")[0])
    memory.fit(CONFIG, Recipe(), ROWS, int(wanted * 2**30), tied=True)
