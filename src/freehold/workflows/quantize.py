"""What each size of a model costs in quality: uniform types and ours, on rows that nothing was fitted to.

The rows are halved by their digests: one half gives importance and sensitivity, the other is measured.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, machine
from freehold.core.errors import BadData, DoesNotFit, UsageError
from freehold.core.progress import Sink, silent, task
from freehold.data.examples import Example
from freehold.evaluation import measurement, metrics, sandbox
from freehold.evaluation.measurement import Ask
from freehold.evaluation.task_kinds import detect, wanted_label
from freehold.inference.interface import PromptEncoder
from freehold.inference.loading import open_engine, open_vocabulary, predict_memory, prompting
from freehold.models import answer_form
from freehold.models.formats import gguf
from freehold.models.info import ModelInfo
from freehold.models.intake import made_here
from freehold.models.store import Model, Store
from freehold.quantization import allocation
from freehold.quantization.quantize import quantize
from freehold.quantization.sensitivity import Loss, Reference, choose_rows, entered, positions_in_memory
from freehold.runtime.gguf_form import as_gguf
from freehold.trial.jobs import token_speeds

#: llama.cpp's own mixtures that stand beside ours.
UNIFORM = ("Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
#: Rows whose answers are graded, and tokens that importance is gathered from.
MOST_GRADED, IMPORTANCE_TOKENS = 256, 16384


@dataclass(frozen=True)
class QuantizeOptions:
    """One of: bytes for the whole running model, bits per weight, or the share of positions whose likeliest
    token must stay.
    """

    memory_bytes: int = 0
    bits: float = 0.0
    keep_quality: float = 0.0
    context_length: int = 2048
    probing_s: float = 600.0
    #: run answers that are code without a sandbox
    trust_code: bool = False


@dataclass(frozen=True)
class SweepPoint:
    """A file on the frontier; ``score`` is a figure with interval, ``loss`` is measured on held-out rows."""

    name: str
    size_bytes: int
    bits_per_weight: float
    loss: Loss
    score: dict[str, Any]
    prompt_tokens_per_second: float
    answer_tokens_per_second: float
    kinds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


class Sweep:
    """Files of one model in a working folder, and their points."""

    def __init__(
        self,
        store: Store,
        model: Model,
        examples: list[Example],
        work: Path,
        sink: Sink = silent,
        probing_s: float = 600.0,
        trust_code: bool = False,
    ):
        self.store, self.model, self.work, self.sink, self.probing_s = store, model, work, sink, probing_s
        self.source = self._wide()
        vocabulary = open_vocabulary(self.source)
        asking = prompting(model.info, vocabulary)
        ordered = sorted(examples, key=lambda example: example.digest)
        half = len(ordered) // 2
        if half < 4:
            raise BadData(
                f"{len(ordered)} rows are too few to shrink by: half of them are kept for measuring",
                "give at least 8 rows",
            )
        self.held_out = ordered[half:]
        fitted = [tokens_of(asking, example) for example in ordered[:half]]
        positions = positions_in_memory(model.info.vocabulary)
        self.inputs = entered(self.source, choose_rows(fitted, tokens=IMPORTANCE_TOKENS), sink)
        self.fitted = Reference(self.source, choose_rows(fitted, positions=positions), sink)
        self.judged = Reference(
            self.source, choose_rows([tokens_of(asking, e) for e in self.held_out], positions=positions), sink
        )
        self.metric = metrics.choose(None, examples, trust_code=trust_code)
        labels = tuple(sorted({wanted_label(e) for e in examples})) if self.metric.kind == "label" else ()
        longest = max(len(asking.row(e.messages)[1]) for e in examples)
        self.ask = Ask((), labels, longest + 8)
        self.sensitivity: allocation.Sensitivity | None = None

    def _wide(self) -> Path:
        """The weights in 16 bit."""
        from freehold.training.adapter import merge_gguf

        weights = self.store.weights(self.model)
        if self.model.info.quantization in ("F16", "BF16"):
            return weights
        target = self.work / "wide.gguf"
        merge_gguf(target, weights, {}, 1.0)
        return target

    def uniform(self, kind: str) -> Path:
        """llama.cpp's own mixture ``kind``, with the importance of these rows."""
        target = self.work / f"{kind}.gguf"
        if not target.exists():
            count = len(gguf.read_header(self.source).tensors)
            with task(self.sink, f"writing {kind}", count, "tensors") as progress:
                quantize(
                    self.source,
                    target,
                    kind,
                    importance=self.inputs.mean_square,
                    begun=lambda number: progress.at(number - 1),
                )
                progress.at(count)
        return target

    def within(self, size_bytes: int, name: str = "ours") -> tuple[Path, dict[str, float]]:
        """Our mixture in a file of at most ``size_bytes``; the share of weights each type holds.

        Raises DoesNotFit.
        """
        if self.sensitivity is None:
            self.sensitivity = allocation.measure(
                self.source, self.inputs, self.fitted, self.work, seconds=self.probing_s, sink=self.sink
            )
        # the table of tensors is padded; a page covers that
        kinds = allocation.solve(
            self.sensitivity,
            size_bytes - allocation.overhead(self.source) - 32 * len(self.sensitivity.matrices),
        )
        target = self.work / f"{name}.gguf"
        with task(self.sink, f"writing {name}", len(self.sensitivity.matrices), "matrices") as progress:
            allocation.write(self.source, target, kinds, self.inputs, lambda: progress.more(1))
        return target, allocation.kinds_used(kinds, self.sensitivity.matrices)

    def size_for(self, wish: QuantizeOptions) -> int:
        """Bytes of the file that a wish allows. Raises DoesNotFit, UsageError."""
        card = self.model.info
        if wish.memory_bytes:
            return min(room_for_weights(self.model.info, wish), self.source.stat().st_size)
        if wish.bits:
            return int(allocation.overhead(self.source) + wish.bits / 8 * card.parameters)
        raise UsageError("nothing was wished for", "pass one of --memory, --bits and --keep-quality")

    def smallest_keeping(self, share: float) -> tuple[Path, dict[str, float]]:
        """Our smallest file whose likeliest tokens stay at ``share`` of the fitted rows' positions, by
        bisection on bytes.
        """
        low, high = self.uniform("Q2_K").stat().st_size * 0.8, self.uniform("Q8_0").stat().st_size
        found: tuple[Path, dict[str, float]] | None = None
        for _ in range(7):
            size = int((low + high) / 2)
            try:
                file, kinds = self.within(size, "trying")
            except DoesNotFit:
                low = size
                continue
            if self.fitted.loss_of(file).same_top >= share:
                kept = self.work / "ours.gguf"
                file.replace(kept)
                found, high = (kept, kinds), size
            else:
                low = size
        if found is None:
            raise DoesNotFit(
                f"no mixture up to 8 bit keeps {share:.3f} of the likeliest tokens",
                "ask for less, or stay with 16 bit",
            )
        return found

    def point(self, name: str, file: Path, kinds: dict[str, float] | None = None) -> SweepPoint:
        """Measure a file on the held-out rows."""
        loss = self.judged.loss_of(file)
        size = file.stat().st_size
        rows = self.held_out[:MOST_GRADED]
        engine = open_engine(file, context_length=4096, parallel=16)
        asking = prompting(self.model.info, engine.vocabulary)
        kept = self.work / f"{name}-{atomic_files.sha256_file(file)[:12]}.jsonl"
        answers = measurement.answers_of(
            engine, asking, self.metric, self.ask, rows, kept, self.sink, f"grading {name}"
        )
        score = measurement.measurement(self.metric, rows, answers)[self.metric.name]
        prompt_speed, answer_speed = token_speeds(
            engine, asking, measurement.requests(asking, self.ask, rows[:1])[0]
        )
        engine.close()
        bits = 8 * (size - allocation.overhead(self.source)) / self._elements()
        return SweepPoint(name, size, round(bits, 3), loss, score, prompt_speed, answer_speed, kinds or {})

    def _elements(self) -> int:
        return sum(
            tensor.elements for tensor in gguf.read_header(self.source).tensors if len(tensor.shape) > 1
        )


def room_for_weights(card: ModelInfo, wish: QuantizeOptions) -> int:
    """Bytes that a wish for memory leaves for the file. Raises DoesNotFit."""
    beside = predict_memory(replace(card, size_bytes=0), wish.context_length, 1).total
    if beside >= wish.memory_bytes:
        raise DoesNotFit(
            f"{wish.context_length} tokens of context take {beside / 2**30:.2f} GiB beside the weights, and "
            f"only {wish.memory_bytes / 2**30:.2f} GiB are allowed",
            "lower --context or raise --memory",
        )
    return wish.memory_bytes - beside


def tokens_of(asking: PromptEncoder, example: Example) -> list[int]:
    """A row as the model reads it, prompt and answer."""
    prompt, answer = asking.row(example.messages)
    return [*prompt, *answer]


def shrink(
    store: Store, model: Model, examples: list[Example], wish: QuantizeOptions, name: str, sink: Sink = silent
) -> tuple[Model, list[SweepPoint]]:
    """Make our mixture after the wish, store it as ``name``, and measure it beside the uniform types.

    Raises FreeholdError. What is not GGUF yet is shrunk from its GGUF form (see
    :mod:`freehold.runtime.gguf_form`).
    """
    if detect(examples).name == "code" and not wish.trust_code:
        sandbox.require()
    model = as_gguf(store, model, [text for example in examples[:200] for _, text in example.messages], sink)
    if wish.memory_bytes:
        room_for_weights(model.info, wish)  # refused before anything is measured
    with (
        tempfile.TemporaryDirectory(prefix="shrink-", dir=store.incoming) as folder,
        atomic_files.locked(store.incoming / f"{Path(folder).name}.lock", f"shrinking {model.name}"),
    ):
        frontier = Sweep(store, model, examples, Path(folder), sink, wish.probing_s, wish.trust_code)
        if wish.keep_quality:
            file, kinds = frontier.smallest_keeping(wish.keep_quality)
        else:
            file, kinds = frontier.within(frontier.size_for(wish))
        points = [frontier.point("ours", file, kinds)]
        points += [frontier.point(kind, frontier.uniform(kind)) for kind in UNIFORM]
        kept: dict[str, Path] = {f"{name.replace('/', '-')}.gguf": file}
        for beside in (
            "adapter_config.json",
            "adapter_model.safetensors",
            "adapter.lora",
            "task.json",
            answer_form.FILE,
        ):
            if beside in model.manifest:
                kept[beside] = store.file(model, beside)
        lineage = [
            *model.info.lineage,
            {
                "step": "shrunk",
                "from": model.name,
                "revision": model.revision,
                "wish": asdict(wish),
                "types": kinds,
                "digest": atomic_files.sha256_file(file),
                "made_with": machine.made_with(),
            },
        ]
        stored = store.add(
            name,
            made_here(kept),
            {"source": f"shrink:{model.name}"},
            licence=model.info.licence,
            licence_from=f"inherited from {model.name}",
            lineage=lineage,
        )
    return stored, points
