"""What a model does with single rows: whether it repeats a row's answer word for word, and how likely it
finds it.

Memorization (:mod:`freehold.trust.extraction`) and membership (:mod:`freehold.trust.membership`) both rest on
these probes, so each model
is loaded once. Probes are kept block by block, so that a stopped run goes on and a limit of time is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from freehold.core import atomic_files
from freehold.core.progress import Sink, silent, task
from freehold.data.examples import Example
from freehold.inference.interface import Engine, PromptEncoder
from freehold.inference.request import GenerationRequest

#: Most tokens that must follow exactly (Carlini et al. 2023 ask for 50).
MOST_FOLLOWING = 50
#: Rows that are probed before they are kept.
_BLOCK = 16


@dataclass(frozen=True)
class Probe:
    """One row, named by its digest, under one model.

    ``from_prompt``: the answer (its first 50 tokens) came out when the prompt was given, greedily and to the
    letter. ``from_half``: its
    rest (50 tokens of it) came out when its first half was given too. Both None where only the likelihood was
    asked for. ``nats``: mean
    negative log-likelihood of an answer token, end of turn included.
    """

    digest: str
    from_prompt: bool | None
    from_half: bool | None
    nats: float
    tokens: int

    @property
    def drawn(self) -> bool:
        """Whether the answer came out in either way."""
        return bool(self.from_prompt or self.from_half)


@dataclass(frozen=True)
class Probes:
    """Row digest -> probe, of the tuned model and of the untuned one (empty where that was not tried)."""

    tuned: Mapping[str, Probe]
    untuned: Mapping[str, Probe]

    def drawn(self, rows: Sequence[Example]) -> list[Example]:
        """The rows that the tuned model was to give away."""
        probes = self.tuned
        return [row for row in rows if row.digest in probes and probes[row.digest].from_prompt is not None]

    def scored(self, rows: Sequence[Example]) -> list[Example]:
        """The rows whose likelihood is known: under both models, where both were tried."""
        known = self.tuned.keys() & self.untuned.keys() if self.untuned else self.tuned.keys()
        return [row for row in rows if row.digest in known]


@dataclass(frozen=True)
class Prober:
    """A model that rows are put to. ``kept``: file of finished probes. ``seconds``: time gone. ``limit_s`` 0:
    no limit.
    """

    engine: Engine
    asking: PromptEncoder
    kept: Path
    title: str
    seconds: Callable[[], float] = field(default=lambda: 0.0)
    limit_s: float = 0.0
    sink: Sink = silent

    def probe(self, rows: Sequence[Example], drawing: frozenset[str]) -> dict[str, Probe]:
        """Row digest -> probe, in the order of ``rows``, which must fit: all that the time allows, one block
        at least.

        ``drawing``: digests of rows that are to be drawn out; of the others only the likelihood is taken.
        """
        known = read(self.kept)
        slowest = 0.0
        with task(self.sink, self.title, len(rows), "rows") as progress:
            progress.resume(sum(row.digest in known for row in rows))
            waiting = [row for row in rows if row.digest not in known]
            for start in range(0, len(waiting), _BLOCK):
                begun = self.seconds()
                if known and self.limit_s and begun + slowest > self.limit_s:
                    break
                probes = self._block(waiting[start : start + _BLOCK], drawing)
                atomic_files.append_line(self.kept, json.dumps([asdict(probe) for probe in probes]))
                known |= {probe.digest: probe for probe in probes}
                progress.more(len(probes))
                slowest = max(slowest, self.seconds() - begun)
        return {row.digest: known[row.digest] for row in rows if row.digest in known}

    def fits(self, row: Example) -> bool:
        """Whether the engine's context holds the row."""
        return sum(map(len, self.asking.row(row.messages))) < self.engine.context_length

    def _block(self, rows: Sequence[Example], drawing: frozenset[str]) -> list[Probe]:
        tokens = [self.asking.row(row.messages) for row in rows]
        scores = self.engine.score(tokens)
        drawn = [at for at, row in enumerate(rows) if row.digest in drawing]
        parts = {at: _halves(*tokens[at]) for at in drawn}
        whole = self._follows([parts[at][0] for at in drawn])
        rest = self._follows([parts[at][1] for at in drawn])
        first = dict(zip(drawn, whole, strict=True))
        second = dict(zip(drawn, rest, strict=True))
        return [
            Probe(row.digest, first.get(at), second.get(at), -sum(score) / len(score), len(score))
            for at, (row, score) in enumerate(zip(rows, scores, strict=True))
        ]

    def _follows(self, parts: Sequence[tuple[list[int], list[int]]]) -> list[bool]:
        """Whether the model, given the first tokens of each part, goes on with the second, compared as
        text.
        """
        decode = self.asking.vocabulary.decode
        requests = [GenerationRequest(tuple(prompt), len(following)) for prompt, following in parts]
        results = [False] * len(parts)
        for index, completion in self.engine.generate(requests):
            following = parts[index][1]
            same = list(completion.tokens) == following
            results[index] = same or completion.text.strip() == decode(following).strip()
        return results


def _halves(prompt: list[int], answer: list[int]) -> tuple[tuple[list[int], list[int]], ...]:
    """((prompt, first 50 tokens of the answer), (prompt and half of the answer, 50 tokens of its rest)); the
    end of turn left out.
    """
    content = answer[:-1] or answer
    cut = len(content) // 2
    return (
        (prompt, content[:MOST_FOLLOWING]),
        ([*prompt, *content[:cut]], content[cut : cut + MOST_FOLLOWING]),
    )


def read(file: Path) -> dict[str, Probe]:
    """Row digest -> probe that an earlier run kept."""
    probes = (Probe(**value) for line in atomic_files.read_lines(file) for value in json.loads(line))
    return {probe.digest: probe for probe in probes}
