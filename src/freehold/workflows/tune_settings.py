"""Every option of ``freehold tune``, as a person writes it, and the run that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import settings
from freehold.core.option import TASK_HELP, Settings, option, positive_bytes, positive_seconds
from freehold.data import row_settings as rows

if TYPE_CHECKING:
    from freehold.core.progress import Sink
    from freehold.data.examples import Dataset, Example
    from freehold.data.guess import Ask
    from freehold.models.store import Store
    from freehold.training.recipe import Recipe
    from freehold.workflows.tune import StoredTuning


@dataclass(frozen=True, kw_only=True)
class TuneSettings(Settings):
    """Options of tuning besides the model and its training rows."""

    valid: str = option("", "Validation rows; the default is to split them off from DATA.")
    name: str = option("", "Name of the result; the default is MODEL-tuned.", flag="--as")
    task: Path | None = option(None, TASK_HELP, in_file=False)
    memory: str = option(
        "",
        "Memory the training may use, e.g. 4GiB; the default is the free memory of the GPU, without a limit "
        "on a CPU.",
        parse=positive_bytes,
    )
    trainer: str = option(
        "",
        "Code that trains: ours or transformers; the default follows the architecture.",
        choices=("", "ours", "transformers"),
    )
    device: str = option(
        "", "Device to train on: cuda (also for ROCm), cuda:1, xpu, mps or cpu; the default is the best one."
    )
    workers: int = option(
        1,
        "Number of workers that share each batch: processes on this machine, each with a GPU of its own or a "
        "share of the CPU.",
        low=1,
        high=64,
    )
    time: str = option(
        "",
        "Time for the training, e.g. 20m; the number of epochs follows from the measured speed.",
        parse=positive_seconds,
    )
    epochs: float = option(3.0, "Number of epochs, if no --time is given.")
    steps: int = option(0, "Exact number of training steps, instead of --epochs.")
    learning_rate: float = option(
        0.0, "Learning rate; the default is 1e-3, or 1e-4 for rows with a rejected answer."
    )
    rank: int = option(
        0,
        "Rank of the LoRA adapters; the default is 16, or 8 where --time allows less than half an epoch, or "
        "what --search finds.",
    )
    base_bits: int = option(
        16, "Bits per frozen weight during training: 16, 8 or 4 (QLoRA).", choices=(16, 8, 4)
    )
    dora: bool = option(False, "Also train the magnitude of each row of the weights (DoRA).", flag="--dora")
    rslora: bool = option(
        False, "Scale the adapter by the square root of its rank (rsLoRA).", flag="--rslora"
    )
    frozen_layers: int = option(
        0, "Number of layers, counted from the input, that get no adapter and are computed only once."
    )
    search: str = option(
        "",
        "Time to search for a good learning rate and rank before the training, e.g. 10m.",
        parse=positive_seconds,
    )
    seed: int = option(0, "Seed for everything random; the same seed gives the same result.")
    resume: bool = option(
        True,
        "Continue from the last checkpoint of the same command, or start again.",
        flag="--resume/--no-resume",
    )
    columns: str = option("", rows.COLUMNS)
    encoding: str = option("", rows.ENCODING)
    on_bad_row: str = option("", rows.BAD_ROW)
    merge_labels: bool = option(False, rows.MERGE_LABELS, flag="--merge-labels")
    group: str = option("", rows.GROUP)
    mask: bool = option(False, "Mask personal data in the rows before training on them.", flag="--mask")
    canaries: int = option(
        0,
        "Number of made-up codes to add to the rows, so that certify can measure how well they were "
        "memorized.",
        low=0,
        high=64,
    )
    override: str = option(
        "",
        "Reason for going against the policy, recorded with your name from FREEHOLD_ACTOR.",
        in_file=False,
    )

    def recipe(self, train: list[Example]) -> Recipe:
        """How these rows are learnt; the learning rate follows their kind where none was chosen."""
        from freehold.training.recipe import PREFERENCE_RATE, Recipe

        preferences = any("rejected" in example.reference for example in train)
        rank = self.rank or Recipe().rank
        return Recipe(
            rank=rank,
            alpha=2.0 * rank,
            learning_rate=self.learning_rate or (PREFERENCE_RATE if preferences else Recipe().learning_rate),
            epochs=self.epochs,
            steps=self.steps,
            base_bits=self.base_bits,
            dora=self.dora,
            rslora=self.rslora,
            frozen_layers=self.frozen_layers,
            seed=self.seed,
        )


#: Hears what was read: training and validation rows by the names ``train`` and ``valid``.
SayRead = Callable[[Mapping[str, "Dataset"]], None]


def tune_on_rows(
    model: str,
    data: str,
    chosen: TuneSettings,
    store: Store | None = None,
    *,
    sink: Sink,
    ask: Ask | None = None,
    say_read: SayRead = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> StoredTuning:
    """Read rows, tune the stored model on them and store the result.

    ``ask``: called where the columns are in doubt. Raises FreeholdError; then the store is unchanged.
    """
    settings.go_quiet(online=any(source.startswith("hf:") for source in (data, chosen.valid)))
    from freehold.data.examples import read_splits
    from freehold.data.splits import cut_validation
    from freehold.models.store import Store
    from freehold.sources.datasets import local_source
    from freehold.training.run import TuneOptions
    from freehold.workflows.tune import RowsOrigin, tune

    store = store or Store()
    base = store.find(model)
    valid = local_source(chosen.valid, store) if chosen.valid else None
    read = read_splits(
        local_source(data, store), valid, None, rows.row_options(chosen, ask, group=chosen.group)
    )
    say_read(read)
    train = list(read["train"].examples)
    train, checks = (train, list(read["valid"].examples)) if "valid" in read else cut_validation(train)
    options = TuneOptions(
        chosen.recipe(train),
        memory_bytes=chosen.parsed("memory"),
        time_s=chosen.parsed("time"),
        choose_rank=not chosen.rank,
        search_s=chosen.parsed("search"),
        device=chosen.device,
        workers=chosen.workers,
        trainer=chosen.trainer,
        resume=chosen.resume,
    )
    canaries = {"count": chosen.canaries, "seed": chosen.seed} if chosen.canaries else {}
    files = {part: read[part].digest for part in ("train", "valid") if part in read}
    return tune(
        store,
        base,
        train,
        checks,
        options,
        chosen.name or f"{base.name}-tuned",
        origin=RowsOrigin(files, canaries, chosen.mask),
        sink=sink,
        say=say,
        override=chosen.override,
    )
