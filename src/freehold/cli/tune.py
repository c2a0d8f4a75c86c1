"""freehold tune"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say
from freehold.cli.permission import Override
from freehold.cli.rows import BadRow, Columns, Encoding, Group, MergeLabels

NAME = "tune"


def command(
    model: Annotated[
        str, typer.Argument(help="Name of a model in the store: GGUF, safetensors or an adapter.")
    ],
    data: Annotated[
        str, typer.Argument(help="Training rows: a file, a folder, hub:ORG/NAME or sqlite:FILE?QUERY.")
    ],
    valid: Annotated[
        str, typer.Option(help="Validation rows; the default is to split them off from DATA.")
    ] = "",
    name: Annotated[str, typer.Option("--as", help="Name of the result; the default is MODEL-tuned.")] = "",
    memory: Annotated[
        str,
        typer.Option(
            help="Memory the training may use, e.g. 4GiB; the default is the free memory of the GPU, "
            "without a limit on a CPU."
        ),
    ] = "",
    device: Annotated[
        str,
        typer.Option(
            help="Device to train on: cuda (also for ROCm), cuda:1, xpu, mps or cpu; the default is the "
            "best one."
        ),
    ] = "",
    time: Annotated[
        str,
        typer.Option(
            help="Time for the training, e.g. 20m; the number of epochs follows from the measured speed."
        ),
    ] = "",
    epochs: Annotated[float, typer.Option(help="Number of epochs, if no --time is given.")] = 3.0,
    steps: Annotated[int, typer.Option(help="Exact number of training steps, instead of --epochs.")] = 0,
    learning_rate: Annotated[
        float,
        typer.Option(help="Learning rate; the default is 1e-3, or 1e-4 for rows with a rejected answer."),
    ] = 0.0,
    rank: Annotated[
        int,
        typer.Option(
            help="Rank of the LoRA adapters; the default is 16, or 8 where --time allows less than half an "
            "epoch, or what --search finds."
        ),
    ] = 0,
    base_bits: Annotated[
        int, typer.Option(help="Bits per frozen weight during training: 16, 8 or 4 (QLoRA).")
    ] = 16,
    dora: Annotated[
        bool, typer.Option("--dora", help="Also train the magnitude of each row of the weights (DoRA).")
    ] = False,
    rslora: Annotated[
        bool, typer.Option("--rslora", help="Scale the adapter by the square root of its rank (rsLoRA).")
    ] = False,
    frozen_layers: Annotated[
        int,
        typer.Option(
            help="Number of layers, counted from the input, that get no adapter and are computed only once."
        ),
    ] = 0,
    search: Annotated[
        str,
        typer.Option(help="Time to search for a good learning rate and rank before the training, e.g. 10m."),
    ] = "",
    seed: Annotated[
        int, typer.Option(help="Seed for everything random; the same seed gives the same result.")
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="Continue from the last checkpoint of the same command, or start again.",
        ),
    ] = True,
    columns: Columns = "",
    encoding: Encoding = "",
    on_bad_row: BadRow = "",
    merge_labels: MergeLabels = False,
    group: Group = "",
    mask: Annotated[
        bool, typer.Option("--mask", help="Mask personal data in the rows before training on them.")
    ] = False,
    canaries: Annotated[
        int,
        typer.Option(
            help="Number of made-up codes to add to the rows, so that certify can measure how well they "
            "were memorized.",
            min=0,
            max=64,
        ),
    ] = 0,
    override: Override = "",
    json: Json = False,
) -> None:
    """Train a LoRA adapter on your rows, merge it, and store both.

    Rows with a field 'rejected' are used for preference training (DPO).

    Example: freehold tune smollm2 tickets.jsonl --as tickets/smollm2 --time 20m --memory 4GiB
    """
    from freehold.cli.rows import options_of, say_read
    from freehold.core import progress, settings
    from freehold.core.errors import UsageError
    from freehold.core.units import parse_bytes, parse_seconds
    from freehold.data.examples import read_splits
    from freehold.data.splits import cut_validation
    from freehold.models.store import Store
    from freehold.sources.datasets import local_source
    from freehold.training.recipe import PREFERENCE_RATE, Recipe
    from freehold.training.run import TuneOptions
    from freehold.workflows.tune import RowsOrigin, tune

    settings.go_quiet(online=any(source.startswith("hf:") for source in (data, valid)))
    if base_bits not in (16, 8, 4):
        raise UsageError(f"--base-bits {base_bits} must be 16, 8 or 4", "leave it out for 16 bit")
    store = Store()
    base_model = store.find(model)
    read = read_splits(
        local_source(data),
        local_source(valid) if valid else None,
        None,
        options_of(columns, encoding, on_bad_row, merge_labels, group),
    )
    files = {part: read[part].digest for part in ("train", "valid") if part in read}
    say_read(read)
    learnt = list(read["train"].examples)
    train, checks = (learnt, list(read["valid"].examples)) if "valid" in read else cut_validation(learnt)
    usual_rate = PREFERENCE_RATE if any("rejected" in e.reference for e in train) else Recipe().learning_rate
    recipe = Recipe(
        rank=rank or Recipe().rank,
        alpha=2.0 * (rank or Recipe().rank),
        learning_rate=learning_rate or usual_rate,
        epochs=epochs,
        steps=steps,
        base_bits=base_bits,
        dora=dora,
        rslora=rslora,
        frozen_layers=frozen_layers,
        seed=seed,
    )
    options = TuneOptions(
        recipe,
        memory_bytes=parse_bytes(memory, "--memory", positive=True) if memory else 0,
        time_s=parse_seconds(time, "--time", positive=True) if time else 0.0,
        choose_rank=not rank,
        search_s=parse_seconds(search, "--search", positive=True) if search else 0.0,
        device=device,
    )
    origin = RowsOrigin(files, {"count": canaries, "seed": seed} if canaries else {}, mask)
    tuning = tune(
        store,
        base_model,
        train,
        checks,
        options,
        name or f"{base_model.name}-tuned",
        origin=origin,
        resume=resume,
        sink=progress.for_stream(),
        say=say,
        override=override,
    )
    if json:
        print_json(tuning.as_dict())
        return
    outcome, history = tuning.result, tuning.result.tuned.history
    losses = [loss for _, loss in history.train]
    print(f"loss      {progress.spark(losses)}  {losses[0]:.3f} to {losses[-1]:.3f} over {len(losses)} steps")
    for step, loss, exact in history.valid:
        kept = "  kept" if step == history.best_step else ""
        print(
            f"checked   step {step}: validation loss {loss:.3f}, {exact:.1%} of the rows answered "
            f"exactly{kept}"
        )
    if outcome.searched:
        seconds = sum(score.seconds for score in outcome.searched)
        print(f"searched  {len(outcome.searched)} runs, {seconds:.0f} s")
    print(f"speed     {history.tokens / history.seconds:.0f} tokens/s, {progress.duration(history.seconds)}")
    peak, predicted = (size / 2**30 for size in (outcome.peak_bytes, outcome.predicted_bytes))
    print(f"memory    {peak:.2f} GiB at its peak, {predicted:.2f} predicted")
    made = tuning.model
    print(f"stored    {made.name}@{made.revision[:12]}: freehold run {made.name} '...'")
