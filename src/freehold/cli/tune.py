"""freehold tune"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.options import with_options
from freehold.cli.output import Json, print_json, say
from freehold.workflows.tune_settings import TuneSettings

NAME = "tune"


@with_options(TuneSettings)
def command(
    model: Annotated[
        str, typer.Argument(help="Name of a model in the store: GGUF, safetensors or an adapter.")
    ],
    data: Annotated[
        str, typer.Argument(help="Training rows: a file, a folder, hub:ORG/NAME or sqlite:FILE?QUERY.")
    ],
    settings: TuneSettings,
    json: Json = False,
) -> None:
    """Train a LoRA adapter on your rows, merge it, and store both.

    Rows with a field 'rejected' are used for preference training (DPO).

    Example: freehold tune smollm2 tickets.jsonl --as tickets/smollm2 --time 20m --memory 4GiB
    """
    from freehold.cli.rows import asker, say_read
    from freehold.core import progress
    from freehold.workflows.tune_settings import tune_on_rows

    tuning = tune_on_rows(
        model, data, settings, sink=progress.for_stream(), ask=asker(), say_read=say_read, say=say
    )
    if json:
        print_json(tuning.as_dict())
        return
    outcome, history = tuning.result, tuning.result.tuned.history
    losses = [loss for _, loss in history.train]
    print(f"loss      {progress.spark(losses)}  {losses[0]:.3f} to {losses[-1]:.3f} over {len(losses)} steps")
    for step, loss, exact in history.valid:
        mark = "  kept" if step == history.best_step else ""
        print(
            f"checked   step {step}: validation loss {loss:.3f}, {exact:.1%} of the rows answered "
            f"exactly{mark}"
        )
    if outcome.searched:
        seconds = sum(score.seconds for score in outcome.searched)
        print(f"searched  {len(outcome.searched)} runs, {seconds:.0f} s")
    print(f"speed     {history.tokens / history.seconds:.0f} tokens/s, {progress.duration(history.seconds)}")
    peak, predicted = (size / 2**30 for size in (outcome.peak_bytes, outcome.predicted_bytes))
    print(f"memory    {peak:.2f} GiB at its peak, {predicted:.2f} predicted")
    stored = tuning.model
    print(f"stored    {stored.name}@{stored.revision[:12]}: freehold run {stored.name} '...'")
