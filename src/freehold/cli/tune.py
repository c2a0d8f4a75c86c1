"""freehold tune"""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import Json, print_json, say
from freehold.cli.permission import Override
from freehold.cli.rows import BadRow, Columns, Encoding, Group, MergeLabels

NAME = "tune"


def command(
    model: Annotated[str, typer.Argument(help="A model in the store: GGUF, safetensors or an adapter.")],
    data: Annotated[
        str, typer.Argument(help="Rows to learn from: a file, a folder, hub:org/name or sqlite:FILE?QUERY.")
    ],
    valid: Annotated[str, typer.Option(help="Validation rows; taken from DATA if left out.")] = "",
    name: Annotated[str, typer.Option("--as", help="Name of the result; MODEL-tuned if left out.")] = "",
    memory: Annotated[
        str,
        typer.Option(help="Most memory the run may take, e.g. 4GiB; the free memory of a card if left out."),
    ] = "",
    device: Annotated[
        str,
        typer.Option(help="What to train on: cuda (ROCm too), cuda:1, xpu, mps or cpu; chosen if left out."),
    ] = "",
    time: Annotated[
        str, typer.Option(help="Time for the training, e.g. 20m; epochs follow from the measured speed.")
    ] = "",
    epochs: Annotated[float, typer.Option(help="Epochs, where no --time is given.")] = 3.0,
    steps: Annotated[int, typer.Option(help="Train for exactly this many steps instead.")] = 0,
    learning_rate: Annotated[
        float, typer.Option(help="Learning rate; 1e-3 if left out, 1e-4 for rows with a rejected answer.")
    ] = 0.0,
    rank: Annotated[int, typer.Option(help="Rank of the adapters.")] = 16,
    base_bits: Annotated[int, typer.Option(help="Bits of the frozen weights: 16, or 8 or 4 (QLoRA).")] = 16,
    dora: Annotated[
        bool, typer.Option("--dora", help="Also learn the magnitude of each row (DoRA).")
    ] = False,
    rslora: Annotated[bool, typer.Option("--rslora", help="Scale by the root of the rank (rsLoRA).")] = False,
    frozen_layers: Annotated[
        int, typer.Option(help="Number of lowest layers that get no adapter; they are computed only once.")
    ] = 0,
    search: Annotated[
        str, typer.Option(help="Time for searching learning rate and rank before the training, e.g. 10m.")
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="Continue from the checkpoint of the same command, or start from the first step.",
        ),
    ] = True,
    columns: Columns = "",
    encoding: Encoding = "",
    on_bad_row: BadRow = "",
    merge_labels: MergeLabels = False,
    group: Group = "",
    mask: Annotated[
        bool, typer.Option("--mask", help="Mask personal data found in the rows before learning from them.")
    ] = False,
    canaries: Annotated[
        int,
        typer.Option(
            help="Number of invented codes to mix into the rows; certify shows how far they were learnt.",
            min=0,
            max=64,
        ),
    ] = 0,
    override: Override = "",
    json: Json = False,
) -> None:
    """Train a LoRA adapter on your rows, merge it, and store both. Rows with a field 'rejected' are learnt
    from by preference (DPO).

    Example: freehold tune smollm2 tickets.jsonl --as tickets/smollm2 --time 20m --memory 4GiB
    """
    from freehold.cli import permission
    from freehold.cli.rows import options_of, say_read
    from freehold.core import progress, settings
    from freehold.core.errors import UsageError
    from freehold.data.examples import read_splits
    from freehold.data.splits import cut_validation
    from freehold.models.store import Store
    from freehold.sources.datasets import local_source
    from freehold.training.recipe import PREFERENCE_RATE, Recipe
    from freehold.training.run import TuneOptions
    from freehold.trial.requirements import parse_bytes, parse_seconds
    from freehold.workflows.tune import RowsOrigin, tune

    settings.go_quiet(online=any(source.startswith("hf:") for source in (data, valid)))
    if base_bits not in (16, 8, 4):
        raise UsageError(f"--base-bits {base_bits} is none of 16, 8 and 4", "leave it out for 16 bit")
    store = Store()
    base = store.find(model)
    permission.of_models(store, "tune", [base], override)
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
    train, checks = permission.of_rows(train, checks, mask)
    if canaries:
        from freehold.trust.canaries import canaries as made

        train = [*train, *made(canaries, seed)]
    usual_rate = PREFERENCE_RATE if any("rejected" in e.reference for e in train) else Recipe().learning_rate
    recipe = Recipe(
        rank=rank,
        alpha=2.0 * rank,
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
        memory_bytes=parse_bytes(memory) if memory else 0,
        time_s=parse_seconds(time) if time else 0.0,
        search_s=parse_seconds(search) if search else 0.0,
        device=device,
    )
    origin = RowsOrigin(files, {"count": canaries, "seed": seed} if canaries else {}, mask)
    tuning = tune(
        store,
        base,
        train,
        checks,
        options,
        name or f"{base.name}-tuned",
        origin=origin,
        resume=resume,
        sink=progress.for_stream(),
        say=say,
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
            f"checked   step {step}: validation loss {loss:.3f}, {exact:.1%} of rows answered exactly{kept}"
        )
    if outcome.searched:
        seconds = sum(score.seconds for score in outcome.searched)
        print(f"searched  {len(outcome.searched)} runs, {seconds:.0f} s")
    print(f"speed     {history.tokens / history.seconds:.0f} tokens/s, {progress.duration(history.seconds)}")
    peak, predicted = (size / 2**30 for size in (outcome.peak_bytes, outcome.predicted_bytes))
    print(f"memory    {peak:.2f} GiB at its peak, {predicted:.2f} predicted")
    made = tuning.model
    print(f"stored    {made.name}@{made.revision[:12]}: freehold run {made.name} '...'")
