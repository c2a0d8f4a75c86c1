"""A trial whose steps are recorded: everything but the processes that models run in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from freehold.core import atomic_files, progress
from freehold.costs.energy import Energy
from freehold.data.splits import Splits
from freehold.trial import costs
from freehold.trial.arguments import (
    Arguments,
    BaselinesArguments,
    LookArguments,
    MeasureArguments,
    PaceArguments,
    TimedArguments,
)
from freehold.trial.jobs import measured, rows_of
from freehold.trial.report_record import Report
from freehold.trial.results import (
    BaselinesResult,
    LookResult,
    PaceResult,
    PartialResult,
    Spread,
    TimingResult,
)
from freehold.trial.run import Trial
from freehold.trial.steps import OutOfTime, Steps
from freehold.trial.task import Task
from tests.trial.rows import answered, labelled, task_of, wait

PAIRS = [("card is lost", "card"), ("pin is wrong", "pin")] * 20


class RecordedSteps(Steps):
    """Steps whose results were written down beforehand, as a trial finds those of an earlier run.

    ``right``: share of the rows that each variant answers rightly; ``slow``: steps that do not end in time;
    ``over_context``: ids of rows that are too long for every model.
    """

    def __init__(
        self,
        trial: Trial,
        right: dict[str, float],
        slow: tuple[str, ...] = (),
        over_context: tuple[str, ...] = (),
    ):
        super().__init__(trial.folder / "steps", progress.silent)
        self.trial, self.right, self.slow = trial, right, slow
        self.over_context = over_context
        self.names: list[str] = []

    def run(self, name: str, arguments: Arguments[Any], leaves: str = "", **more: Any) -> Any:
        """The recorded result."""
        self.names.append(name)
        if name in self.slow:
            raise OutOfTime
        result = self._result(name, arguments)
        file = self.place(name, arguments) / "result.json"
        atomic_files.write_atomically(file, json.dumps(result.as_json()))
        return result

    def _result(self, name: str, arguments: Arguments[Any]) -> Any:
        if isinstance(arguments, BaselinesArguments):
            return BaselinesResult(())
        if isinstance(arguments, LookArguments):
            spread = Spread(8.0, 8, 9, 10)
            over = self.over_context
            return LookResult("own", spread, Spread(1.0, 1, 1, 1), 10, 2, 4, over, len(over))
        if isinstance(arguments, PaceArguments):
            return PaceResult(0.1, 5000, 900, 300)
        if isinstance(arguments, TimedArguments):
            waits = tuple(range(1, 101))
            return TimingResult(
                2**20,
                2**20,
                wait(50),
                wait(95),
                waits_ms=waits,
                energy=Energy(1e-4, 1e-4, 9.0),
                watts=30.0,
                at_once=costs.at_once([0.1, 0.2], 0.2, 8),
                load_s=0.1,
            )
        assert isinstance(arguments, MeasureArguments), name
        return self._measured(name, arguments)

    def _measured(self, name: str, arguments: MeasureArguments) -> PartialResult:
        """Answers to the rows, the first of them right."""
        task, split = self.trial.task, arguments.split
        rows = rows_of(task, split, tuned=False, shots=8)
        share = next(share for how, share in self.right.items() if how in name)
        wrong = {"card": "pin", "pin": "card"}
        texts = [e.answer if n < share * len(rows) else wrong[e.answer] for n, e in enumerate(rows)]
        answers = answered(replace(task, splits=Splits((), (), rows, (), 0)), texts)
        lines = [{"id": a.id, "text": a.text, "score": a.score, "finish": a.finish} for a in answers]
        tokens = {"prompt_tokens": 9, "answer_tokens": 2}
        atomic_files.append_line(
            self.place(name, arguments) / "answers.jsonl", json.dumps([line | tokens for line in lines])
        )
        return measured(task, rows, answers, budget_s=60.0, digest=arguments.weights_digest)


def task() -> Task:
    """40 training, 40 validation and 40 test rows with two labels."""
    train, valid, test = (labelled(name, PAIRS) for name in ("a", "v", "t"))
    whole = task_of(train, test)
    return replace(whole, splits=Splits(train, valid, test, (), 0))


def run(trial: Trial, right: dict[str, float], slow: tuple[str, ...] = ()) -> tuple[Report, list[str]]:
    """(report, names of the steps in their order) of a trial with recorded steps."""
    steps = RecordedSteps(trial, right, slow)
    trial.steps = steps
    return trial.run(), steps.names
