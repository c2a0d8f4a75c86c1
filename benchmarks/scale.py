"""Tables of docs/scale.md: what measured constants say about sizes that were not run.

Run: PYTHONPATH=src python benchmarks/scale.py [--write]

Every constant is one of three: *measured* (with its place in docs/log.md or docs/devices.md), *stated* by
somebody else (with who), or *assumed*. The arithmetic is plain, so that a reader can put in other figures.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from freehold.core.device import Device
from freehold.models.formats.decoders import DecoderConfig
from freehold.training import memory
from freehold.training.recipe import Recipe

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- tables: benchmarks/scale.py -->", "<!-- end of tables -->"


@dataclass(frozen=True)
class Constant:
    """A figure the tables rest on."""

    name: str
    value: float
    unit: str
    #: measured, stated or assumed, and where
    source: str


LOG = "measured; docs/log.md, "
CARD = "measured; docs/devices.md, "
SPEED_8 = Constant("answer tokens, 8 at once", 212.7, "tokens/s", LOG + "serve.py, plain, 8")
SPEED_32 = Constant("answer tokens, 32 at once", 299.6, "tokens/s", LOG + "serve.py, plain, 32")
SPEED_SHARED = Constant(
    "the same, half of the requests share 1,200 tokens", 150.9, "tokens/s", LOG + "serve.py, half share, 32"
)
FIRST_32 = Constant("first token, 32 at once", 0.591, "s", LOG + "serve.py, plain, 32")
BETWEEN_32 = Constant("between tokens, 32 at once", 0.0912, "s", LOG + "serve.py, plain, 32")
ALONE = Constant("answer tokens, one request", 110.9, "tokens/s", LOG + "serve.py, plain, 1")
WEIGHTS = Constant("weights of SmolLM2-135M in Q8_0", 145e6, "bytes", LOG + "eight adapters at once")
ANSWER = Constant("tokens of an answer", 150, "tokens", "assumed")

ENTRIES = Constant("models in one catalogue", 2_000_000, "models", LOG + "catalogue.py")
DISK = Constant("disk of that catalogue", 2.84e9, "bytes", LOG + "catalogue.py")
SEARCH_P50 = Constant("answer of a search, median", 5.2e-3, "s", LOG + "catalogue.py, all")
SEARCH_P99 = Constant("answer of a search, 99 of 100", 41.3e-3, "s", LOG + "catalogue.py, all")
COPY = Constant("download from a hub", 422e6, "bytes/s", LOG + "hub_transfer.py, loopback, Xet")
COMMITS = Constant("commits acknowledged under kills, none lost", 2508, "commits", LOG + "hub_kill.py")
MODEL_BYTES = Constant("bytes of a mean model", 1e9, "bytes", "assumed")

CARD_SPEED = Constant(
    "tuning of a 1B model, rows with nothing shared", 55_247, "tokens/s", CARD + "1B, answers"
)
CARD_PARAMETERS = Constant("parameters of that shape", 1.236e9, "weights", "stated by Meta for Llama-3.2-1B")
CARD_PEAK = Constant("its peak memory; 13.43 GiB were planned", 9.80, "GiB", CARD + "1B, answers")
CARD_4BIT, CARD_16BIT = 38_699.0, 57_257.0
SLOWER_4BIT = Constant(
    "speed with a 4-bit base, beside 16 bit", CARD_4BIT / CARD_16BIT, "", CARD + "38,699 of 57,257 tokens/s"
)
LARGE_PARAMETERS = Constant(
    "parameters of a 70B model", 70.55e9, "weights", "stated by Meta for Llama-3.1-70B"
)
H200_BYTES = Constant("memory of one H200", 139 * 2**30, "bytes", "measured; torch's figure for that card")
H100_BYTES = Constant("memory of one H100", 78 * 2**30, "bytes", "measured; likewise")
ROWS = Constant("training rows", 9003, "rows", LOG + "memory_plan.py's data set")
ROW_TOKENS = Constant("tokens of a row", 130, "tokens", LOG + "tune_vs_trl.py")
EPOCHS = Constant("epochs", Recipe().epochs, "", "Freehold's default")

#: The shape of Llama-3.1-70B, stated by Meta.
LARGE = DecoderConfig(
    architecture="llama",
    vocabulary=128256,
    hidden=8192,
    layers=80,
    heads=64,
    kv_heads=8,
    head_dim=128,
    feed_forward=28672,
    norm_epsilon=1e-5,
    rope_theta=500000.0,
    rope_theta_local=0.0,
    sliding_window=0,
    sliding_pattern=0,
    query_scale=0.0,
    gelu=False,
    sandwich_norms=False,
    qk_norm=False,
    embedding_scale=0.0,
)


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def constants(*entries: Constant) -> list[str]:
    """Lines that name the constants of a section."""
    rows = [[c.name, f"{_figure(c.value)} {c.unit}".strip(), c.source] for c in entries]
    return table(["constant", "value", "source"], rows)


def users() -> list[str]:
    """1,000 users on one server."""
    rows: list[list[str]] = []
    for per_hour in (2, 6, 7, 12):
        rate = 1000 * per_hour / 3600
        tokens = rate * ANSWER.value
        duration = FIRST_32.value + ANSWER.value * BETWEEN_32.value
        under_way = rate * duration
        fits = tokens <= SPEED_32.value
        rows.append(
            [
                str(per_hour),
                f"{rate:.2f}",
                f"{tokens:,.0f}",
                f"{tokens / SPEED_32.value:.0%}",
                f"{tokens / SPEED_SHARED.value:.0%}",
                f"{under_way:.0f}" if fits else "grows",
                f"{duration:.1f} s" if fits else "queue, then 429",
            ]
        )
    larger = [
        [name, f"{size / 1e9:.2g} GB", f"{ALONE.value * WEIGHTS.value / size:.1f}"]
        for name, size in (("1B in Q8_0", 1.3e9), ("8B in Q4_K_M", 4.9e9), ("70B in Q4_K_M", 42.5e9))
    ]
    return [
        "## 1,000 users on one server",
        "",
        "SmolLM2-135M on two cores, answers as in `benchmarks/serve.py`. Tokens needed = users x requests "
        "an hour / 3600 x",
        "tokens of an answer; requests under way = requests a second x seconds of one (Little's law). The "
        "measured load has 32 requests",
        "at once, so the time of a request holds for up to 32 under way.",
        "",
        *constants(SPEED_32, SPEED_SHARED, FIRST_32, BETWEEN_32, ANSWER),
        "",
        *table(
            [
                "requests of a user an hour",
                "requests/s",
                "tokens/s needed",
                "load, plain",
                "load, half share a long prompt",
                "under way",
                "time of a request",
            ],
            rows,
        ),
        "",
        f"So one such server holds 1,000 users who ask up to {SPEED_32.value * 3.6 / ANSWER.value:.1f} "
        "times an hour each. "
        "A larger model reads more weights for each token. If reading them is all that counts, its speed "
        "for one request is",
        f"{ALONE.value:g} x {WEIGHTS.value / 1e6:g} MB / its size:",
        "",
        *constants(ALONE, WEIGHTS),
        "",
        *table(["model (size assumed)", "size", "tokens/s, one request"], larger),
        "",
        "The last table is a guess from one point, and no queue, no long prompt and no peak hour is in "
        "these figures.",
    ]


def hubs() -> list[str]:
    """100 hubs of 2 million models."""
    rows = [
        [
            str(count),
            f"{count * ENTRIES.value / 1e6:,.0f} million",
            f"{count * DISK.value / 1e9:,.0f} GB",
            f"{0.99**count:.1%}",
            f"{1 - 0.99 ** (1 / count):.2g}",
        ]
        for count in (1, 10, 100)
    ]
    whole = ENTRIES.value * MODEL_BYTES.value
    return [
        "## 100 hubs of 2 million models",
        "",
        "Each hub has a catalogue of its own. A search of one hub costs what was measured. A question to "
        "all of them is over when the",
        "slowest hub has answered; if hubs are slow independently, all of them answer within one hub's p99 "
        "with a chance of 0.99 to the",
        "power of their number. The last column is the share of slow answers that each hub may have so that "
        "99 of 100 questions to all are quick.",
        "",
        *constants(ENTRIES, DISK, SEARCH_P50, SEARCH_P99),
        "",
        *table(
            [
                "hubs",
                "models",
                "catalogues on disk",
                f"all within {SEARCH_P99.value * 1000:g} ms",
                "slow share allowed to each",
            ],
            rows,
        ),
        "",
        f"One process answers at most {1 / SEARCH_P50.value:,.0f} searches a second, one after the other at "
        "the median.",
        "",
        *constants(COPY, MODEL_BYTES, COMMITS),
        "",
        f"Copying one hub's {ENTRIES.value:,.0f} models once moves {whole / 1e15:,.0f} PB: "
        f"{whole / COPY.value / 86400:,.0f} days over one "
        f"connection, {whole / COPY.value / 86400 / 100:.2f} days over 100 at once. So a hub holds what is "
        "asked for, and a mirror of everything is no plan.",
        f"Of {COMMITS.value:,.0f} commits that were acknowledged while processes were killed, none was "
        "lost; with 95% confidence at most "
        f"3 / {COMMITS.value:,.0f} = {3 / COMMITS.value:.2%} of such commits are.",
        "",
        "Not measured: a hub with that many models *and* their files, hubs far apart, and many people who "
        "write at once.",
    ]


def _card(name: str, memory_bytes: float) -> Device:
    return Device("cuda:0", name, "bf16", int(memory_bytes), int(memory_bytes), flash=True)


def _need(recipe: Recipe) -> float:
    """Bytes that the memory plan predicts for the 70B shape on a card."""
    mean = int(ROW_TOKENS.value)
    shape = memory.Rows(2 * mean, mean, mean * recipe.batch_rows, 0, mean / 2, mean * int(ROWS.value))
    return memory.predict(LARGE, recipe, shape, tied=False, device=_card("card", H200_BYTES.value)).total


def tuning() -> list[str]:
    """A 70B model's tuning."""
    flops = 4 * CARD_PARAMETERS.value * CARD_SPEED.value
    speed = flops / (4 * LARGE_PARAMETERS.value)
    tokens = ROWS.value * ROW_TOKENS.value * EPOCHS.value
    rows: list[list[str]] = []
    base = replace(Recipe(), batch_rows=32, micro_tokens=4096)
    for title, recipe, factor in (
        ("16 bit", base, 1.0),
        ("8 bit", replace(base, base_bits=8), SLOWER_4BIT.value),
        ("4 bit (NF4)", replace(base, base_bits=4), SLOWER_4BIT.value),
        (
            "4 bit, layers again, 1,024 tokens at once",
            replace(base, base_bits=4, checkpointing=True, micro_tokens=1024),
            SLOWER_4BIT.value * 3 / 4,
        ),
    ):
        need = _need(recipe)
        hours = tokens / (speed * factor) / 3600
        rows.append(
            [
                title,
                f"{need / 2**30:,.0f} GiB",
                "yes" if need < H200_BYTES.value else "no",
                "yes" if need < H100_BYTES.value else "no",
                f"{speed * factor:,.0f}",
                f"{hours:.1f} h",
                f"${0.5 * hours:.2f} to ${2 * hours:.2f}",
            ]
        )
    link = 25e9 / 8
    step = 32 * ROW_TOKENS.value / (speed * SLOWER_4BIT.value)
    adapter = sum(16 * (i * n + o) for o, i, n in memory.matrices(LARGE)) * LARGE.layers
    exchange = adapter * 4 / link
    return [
        "## Tuning a 70B model",
        "",
        "LoRA of rank 16 on every matrix, on one card. Arithmetic of a token: 4 operations for each weight "
        "(2 forward, 2 backward: frozen weights",
        f"need no gradient). The 1B run did {flops / 1e12:.0f} TFLOP/s by that count; the same rate is "
        "taken for 70B, whose matrices are larger, so it is",
        "rather too low. Layers computed again cost a third more. Memory is Freehold's own plan "
        "(`freehold.training.memory`), which was 0.1 to 3.6 GiB too",
        "high on a card for models of 1B and less, and is not checked at this size.",
        "",
        *constants(CARD_SPEED, CARD_PARAMETERS, SLOWER_4BIT, LARGE_PARAMETERS, ROWS, ROW_TOKENS, EPOCHS),
        "",
        *table(
            [
                "base",
                "memory planned",
                "fits an H200",
                "fits an H100",
                "tokens/s",
                f"{tokens / 1e6:.1f} million tokens",
                "at $0.50 to $2.00 an hour",
            ],
            rows,
        ),
        "",
        "The price per hour is what people state for rented cards in general; an H200 may cost more. "
        "`freehold rent` names its source. That 8 bit is as slow "
        "beside 16 bit as 4 bit is an assumption.",
        "",
        f"With `tune --workers`, workers add their gradients once a step: {adapter / 1e6:,.0f} million "
        "values of the adapter, "
        f"{adapter * 4 / 1e9:.2f} GB in 32 bit. Between two machines at 25 Gbit/s (assumed) that takes "
        f"{exchange:.1f} s, as each sends and gets "
        f"them once. A step of 32 rows of {ROW_TOKENS.value:g} tokens takes one card {step:.1f} s in 4 bit, "
        "so the exchange costs two cards "
        f"{exchange / (step / 2):.0%} on top of half of that.",
    ]


def text() -> str:
    """All tables, as docs/scale.md holds them."""
    return "\n".join([*users(), "", *hubs(), "", *tuning()])


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put them into docs/scale.md")
    if not parser.parse_args().write:
        print(text())
        return
    head, _, rest = PAGE.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n{text()}\n{END}{tail}")


if __name__ == "__main__":
    main()
