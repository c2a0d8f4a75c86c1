"""Every option of ``freehold shrink``, as a person writes it, and the run that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import settings
from freehold.core.errors import UsageError
from freehold.core.option import TASK_HELP, Settings, option, positive_bytes, positive_seconds
from freehold.data import row_settings as rows

if TYPE_CHECKING:
    from freehold.core.progress import Sink
    from freehold.data.examples import Dataset
    from freehold.data.guess import Ask
    from freehold.models.store import Model, Store
    from freehold.workflows.quantize import QuantizeOptions, SweepPoint


@dataclass(frozen=True, kw_only=True)
class QuantizeSettings(Settings):
    """Options of quantizing besides the model and the rows that it is measured on."""

    memory: str = option("", "Memory for the running model, e.g. 4GiB.", parse=positive_bytes)
    bits: float = option(0.0, "Bits per weight to reach, e.g. 3.5, instead of --memory.")
    keep_quality: float = option(
        0.0,
        "Share of positions whose most likely token must not change, e.g. 0.99, instead of --memory.",
    )
    context: int = option(2048, "Number of tokens of context that must fit into --memory as well.")
    time: str = option(
        "10m",
        "Time to measure what quantization costs; with more time, smaller groups of layers are measured.",
        parse=positive_seconds,
    )
    name: str = option("", "Name of the result; the default is MODEL-small.", flag="--as")
    task: Path | None = option(None, TASK_HELP, in_file=False)
    columns: str = option("", rows.COLUMNS)
    encoding: str = option("", rows.ENCODING)
    on_bad_row: str = option("", rows.BAD_ROW)
    merge_labels: bool = option(False, rows.MERGE_LABELS, flag="--merge-labels")
    trust_code: bool = option(False, rows.TRUST_CODE, flag="--trust-code", in_file=False)

    def options(self) -> QuantizeOptions:
        """What the workflow takes: bytes, bits, shares, seconds. Raises UsageError."""
        from freehold.workflows.quantize import QuantizeOptions

        if sum(map(bool, (self.memory, self.bits, self.keep_quality))) != 1:
            raise UsageError(
                "give exactly one of --memory, --bits and --keep-quality", "for example --bits 4.5"
            )
        if not (0 <= self.bits <= 16 and 0 <= self.keep_quality < 1):
            raise UsageError(
                "--bits must be between 0 and 16, and --keep-quality between 0 and 1",
                "for example --keep-quality 0.99",
            )
        return QuantizeOptions(
            self.parsed("memory"),
            self.bits,
            self.keep_quality,
            self.context,
            self.parsed("time"),
            self.trust_code,
        )


def quantize_on_rows(
    model: str,
    data: str,
    chosen: QuantizeSettings,
    store: Store | None = None,
    *,
    sink: Sink,
    ask: Ask | None = None,
    say_read: Callable[[Mapping[str, Dataset]], None] = lambda _: None,
) -> tuple[Model, list[SweepPoint]]:
    """Read rows and quantize the stored model on them: the stored result, and what each size costs.

    ``ask``: called where the columns are in doubt. Raises FreeholdError; then the store is unchanged.
    """
    settings.go_quiet(online=data.startswith("hf:"))
    from freehold.data.examples import read_dataset
    from freehold.models.store import Store
    from freehold.sources.datasets import local_source
    from freehold.workflows.quantize import shrink

    options = chosen.options()
    store = store or Store()
    source = store.find(model)
    dataset = read_dataset(local_source(data, store), rows.row_options(chosen, ask))
    say_read({"train": dataset})
    name = chosen.name or f"{source.name}-small"
    return shrink(store, source, list(dataset.examples), options, name, sink)
