"""Quantize a model to a size and measure what each size costs in quality: what ``freehold shrink`` does.

The rows are split in half by their digests. One half decides how much each matrix matters; the other is only
measured, so no figure rests on rows that a file was fitted to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from freehold.core import atomic_files, extras, machine
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
from freehold.models.lineage import ShrunkStep
from freehold.models.store import Model, Store
from freehold.quantization import allocation
from freehold.quantization.mix import Mixer
from freehold.quantization.quantize import quantize
from freehold.quantization.sensitivity import Loss, Reference, choose_rows, positions_in_memory
from freehold.runtime.gguf_form import as_gguf
from freehold.trial.jobs import token_speeds

#: llama.cpp's own quantization mixes, which are measured beside ours.
UNIFORM = ("Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
#: Rows whose answers are graded.
MOST_GRADED = 256


@dataclass(frozen=True)
class QuantizeOptions:
    """How small a model must become: exactly one of ``memory_bytes``, ``bits`` and ``keep_quality``."""

    #: memory of the whole running model, bytes
    memory_bytes: int = 0
    #: bits per weight
    bits: float = 0.0
    #: share of positions whose likeliest token must stay the same
    keep_quality: float = 0.0
    #: tokens of context that ``memory_bytes`` must have room for
    context_length: int = 2048
    #: seconds for measuring what errors cost
    probing_s: float = 600.0
    #: run answers that are code without a sandbox
    trust_code: bool = False


@dataclass(frozen=True)
class SweepPoint:
    """A quantized file, measured on held-out rows."""

    #: "ours", or the type that llama.cpp made
    name: str
    size_bytes: int
    bits_per_weight: float
    #: divergence from the unquantized model
    loss: Loss
    #: a figure of the task with its interval, in JSON form
    score: Mapping[str, Any]
    prompt_tokens_per_second: float
    answer_tokens_per_second: float
    #: type -> share of the weights; empty for llama.cpp's own mixes
    kinds: Mapping[str, float]

    def as_dict(self) -> dict[str, object]:
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
        self.store, self.model, self.work, self.sink = store, model, work, sink
        self.source = self._wide()
        vocabulary = open_vocabulary(self.source)
        encoder = prompting(model.info, vocabulary)
        ordered = sorted(examples, key=lambda example: example.digest)
        half = len(ordered) // 2
        if half < 4:
            raise BadData(
                f"{len(ordered)} rows are too few: half of them are kept for measuring",
                "give at least 8 rows",
            )
        self.held_out = ordered[half:]
        fitted = [tokens_of(encoder, example) for example in ordered[:half]]
        vocabulary_size = model.info.vocabulary
        self.mixer = Mixer(self.source, fitted, vocabulary_size, work, sink, probing_s=probing_s)
        self.judged = Reference(
            self.source,
            choose_rows(
                [tokens_of(encoder, e) for e in self.held_out], positions=positions_in_memory(vocabulary_size)
            ),
            sink,
        )
        self.metric = metrics.choose(None, examples, trust_code=trust_code)
        labels = tuple(sorted({wanted_label(e) for e in examples})) if self.metric.kind == "label" else ()
        longest = max(len(encoder.row(e.messages)[1]) for e in examples)
        self.ask = Ask((), labels, longest + 8)

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
        """llama.cpp's own mix ``kind``, with the importance of these rows."""
        target = self.work / f"{kind}.gguf"
        if not target.exists():
            count = len(gguf.read_header(self.source).tensors)
            with task(self.sink, f"writing {kind}", count, "tensors") as progress:
                quantize(
                    self.source,
                    target,
                    kind,
                    importance=self.mixer.inputs.mean_square,
                    begun=lambda number: progress.at(number - 1),
                )
                progress.at(count)
        return target

    def within(self, size_bytes: int, name: str = "ours") -> tuple[Path, dict[str, float]]:
        """Our mix in a file of at most ``size_bytes``; the share of weights each type holds.

        Raises DoesNotFit.
        """
        target = self.work / f"{name}.gguf"
        return target, self.mixer.within(size_bytes, target)

    def size_for(self, options: QuantizeOptions) -> int:
        """Bytes that the file may have. Raises DoesNotFit, UsageError."""
        info = self.model.info
        if options.memory_bytes:
            return min(room_for_weights(self.model.info, options), self.source.stat().st_size)
        if options.bits:
            return int(allocation.overhead(self.source) + options.bits / 8 * info.parameters)
        raise UsageError("no size was given", "pass one of --memory, --bits and --keep-quality")

    def smallest_keeping(self, share: float) -> tuple[Path, dict[str, float]]:
        """Our smallest file whose likeliest tokens stay at ``share`` of the fitted rows' positions, by
        bisection on bytes.
        """
        low, high = self.uniform("Q2_K").stat().st_size * 0.8, self.uniform("Q8_0").stat().st_size
        best: tuple[Path, dict[str, float]] | None = None
        for _ in range(7):
            size = int((low + high) / 2)
            try:
                file, kinds = self.within(size, "trying")
            except DoesNotFit:
                low = size
                continue
            if self.mixer.reference.loss_of(file).same_top >= share:
                target = self.work / "ours.gguf"
                file.replace(target)
                best, high = (target, kinds), size
            else:
                low = size
        if best is None:
            raise DoesNotFit(
                f"no quantization mix up to 8 bit keeps {share:.3f} of the likeliest tokens",
                "ask for less, or stay with 16 bit",
            )
        return best

    def point(self, name: str, file: Path, kinds: dict[str, float] | None = None) -> SweepPoint:
        """Measure a file on the held-out rows."""
        loss = self.judged.loss_of(file)
        size = file.stat().st_size
        rows = self.held_out[:MOST_GRADED]
        engine = open_engine(file, context_length=4096, parallel=16)
        encoder = prompting(self.model.info, engine.vocabulary)
        target = self.work / f"{name}-{atomic_files.sha256_file(file)[:12]}.jsonl"
        answers = measurement.answers_of(
            engine,
            encoder,
            self.metric,
            self.ask,
            rows,
            measurement.AnswerOptions(target, f"grading {name}"),
            self.sink,
        )
        score = measurement.measurement(self.metric, rows, answers)[self.metric.name].as_dict()
        prompt_speed, answer_speed = token_speeds(
            engine, encoder, measurement.requests(encoder, self.ask, rows[:1])[0]
        )
        engine.close()
        bits = 8 * (size - allocation.overhead(self.source)) / self._elements()
        return SweepPoint(name, size, round(bits, 3), loss, score, prompt_speed, answer_speed, kinds or {})

    def _elements(self) -> int:
        return sum(
            tensor.elements for tensor in gguf.read_header(self.source).tensors if len(tensor.shape) > 1
        )


def room_for_weights(info: ModelInfo, options: QuantizeOptions) -> int:
    """Bytes of memory that are left for the file. Raises DoesNotFit."""
    other_bytes = predict_memory(replace(info, size_bytes=0), options.context_length, 1).total
    if other_bytes >= options.memory_bytes:
        raise DoesNotFit(
            f"{options.context_length} tokens of context take {other_bytes / 2**30:.2f} GiB beside the "
            "weights, and "
            f"only {options.memory_bytes / 2**30:.2f} GiB are allowed",
            "lower --context or raise --memory",
        )
    return options.memory_bytes - other_bytes


def tokens_of(encoder: PromptEncoder, example: Example) -> list[int]:
    """A row as the model reads it, prompt and answer."""
    prompt, answer = encoder.row(example.messages)
    return [*prompt, *answer]


def shrink(
    store: Store,
    model: Model,
    examples: list[Example],
    options: QuantizeOptions,
    name: str,
    sink: Sink = silent,
) -> tuple[Model, list[SweepPoint]]:
    """Quantize a model with our own mix, store it as ``name``, and measure it beside the uniform types.

    Raises FreeholdError. What is not GGUF yet is shrunk from its GGUF form (see
    :mod:`freehold.runtime.gguf_form`).
    """
    extras.need("torch", "shrinking")
    if detect(examples).name == "code" and not options.trust_code:
        sandbox.require()
    model = as_gguf(store, model, [text for example in examples[:200] for _, text in example.messages], sink)
    if options.memory_bytes:
        room_for_weights(model.info, options)  # refused before anything is measured
    with (
        tempfile.TemporaryDirectory(prefix="shrink-", dir=store.incoming) as folder,
        atomic_files.locked(store.incoming / f"{Path(folder).name}.lock", f"shrinking {model.name}"),
    ):
        sweep = Sweep(store, model, examples, Path(folder), sink, options.probing_s, options.trust_code)
        if options.keep_quality:
            file, kinds = sweep.smallest_keeping(options.keep_quality)
        else:
            file, kinds = sweep.within(sweep.size_for(options))
        points = [sweep.point("ours", file, kinds)]
        points += [sweep.point(kind, sweep.uniform(kind)) for kind in UNIFORM]
        files: dict[str, Path] = {f"{name.replace('/', '-')}.gguf": file}
        for name_beside in (
            "adapter_config.json",
            "adapter_model.safetensors",
            "adapter.lora",
            "task.json",
            answer_form.FILE,
        ):
            if name_beside in model.manifest:
                files[name_beside] = store.file(model, name_beside)
        step = ShrunkStep(
            source=model.name,
            revision=model.revision,
            wish=asdict(options),
            types=kinds,
            digest=atomic_files.sha256_file(file),
            made_with=machine.made_with(),
        )
        stored = store.add(
            name,
            made_here(files),
            {"source": f"shrink:{model.name}"},
            licence=model.info.licence,
            licence_from=f"inherited from {model.name}",
            lineage=model.info.lineage.then(step),
        )
    return stored, points
