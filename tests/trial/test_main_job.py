"""The main job is followed through eight files; it is seen here from its beginning to its end without a model run."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import freehold.trial
from freehold.core import atomic_files, progress
from freehold.core.errors import DoesNotFit
from freehold.costs.energy import Energy
from freehold.data.splits import Splits
from freehold.models.store import Store
from freehold.trial import costs, report, trust_tests
from freehold.trial.arguments import (
    Arguments,
    BaselinesArguments,
    LookArguments,
    MeasureArguments,
    PaceArguments,
    TimedArguments,
)
from freehold.trial.jobs import measured, rows_of
from freehold.trial.options import NO_SAFETY, Options
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
from tests.entry import pull
from tests.hub.models import gguf
from tests.trial.rows import answered, labelled, task_of, wait

#: The main job, in the order in which it is read.
MAIN_JOB = ("options", "task", "planner", "run", "steps", "jobs", "verdict", "report")
PAIRS = [("card is lost", "card"), ("pin is wrong", "pin")] * 20


class RecordedSteps(Steps):
    """Steps whose results were written down beforehand, as a trial finds those of an earlier run.

    ``right``: share of the rows that each variant answers rightly; ``slow``: steps that do not end in time.
    """

    def __init__(self, trial: Trial, right: dict[str, float], slow: tuple[str, ...] = ()):
        super().__init__(trial.folder / "steps", progress.silent)
        self.trial, self.right, self.slow = trial, right, slow
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
            return LookResult("own", spread, Spread(1.0, 1, 1, 1), 10, 2, 4)
        if isinstance(arguments, PaceArguments):
            return PaceResult(0.1, 5000, 900, 300)
        if isinstance(arguments, TimedArguments):
            waits = tuple(range(1, 101))
            return TimingResult(
                2**20, 2**20, wait(50), wait(95), waits_ms=waits, energy=Energy(1e-4, 1e-4, 9.0), watts=30.0,
                at_once=costs.at_once([0.1, 0.2], 0.2, 8), load_s=0.1,
            )  # fmt: skip
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


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """A trial of one tiny model, as it stands."""
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    monkeypatch.setattr("freehold.trial.served_check.check", lambda *_: None)  # it starts a server
    store = Store(tmp_path)
    model = pull(store, f"file:{gguf(tmp_path / 'model.gguf')}", "org/tiny")
    options = Options(
        budget_s=3600, needs=("accuracy>=0.5", "p95<=800ms"), tune=False, safety_prompts=NO_SAFETY
    )
    return Trial(store, task(), [model], options, progress.silent)


def run(trial: Trial, right: dict[str, float], slow: tuple[str, ...] = ()) -> tuple[Report, list[str]]:
    """(report, names of the steps in their order) of a trial with recorded steps."""
    steps = RecordedSteps(trial, right, slow)
    trial.steps = steps
    return trial.run(), steps.names


def test_the_eight_files_are_there_and_say_what_they_do() -> None:
    folder = Path(freehold.trial.__path__[0])
    for name in MAIN_JOB:
        assert (folder / f"{name}.py").exists(), name
        assert ast.get_docstring(ast.parse((folder / f"{name}.py").read_text())), name
    assert len((folder / "run.py").read_text().splitlines()) < 600


def test_the_architecture_page_names_the_eight_files_in_this_order() -> None:
    page = Path(__file__).parents[2] / "docs" / "architecture.md"
    section = page.read_text().partition("## The main job in eight files")[2].partition("\n\n")[0]
    places = [section.find(f"trial/{name}.py") for name in MAIN_JOB]
    assert -1 not in places, MAIN_JOB[places.index(-1)]
    assert places == sorted(places)


def test_a_trial_looks_plans_measures_times_judges_and_reports_in_this_order(trial: Trial) -> None:
    written, names = run(trial, {"zero-shot": 0.6, "few-shot": 0.95})
    assert names == [
        "look-org-tiny", "baselines", "pace-org-tiny",
        "measure-org-tiny-zero-shot-validation", "measure-org-tiny-few-shot-validation",
        "timed-org-tiny-few-shot",
        "measure-org-tiny-few-shot-test", "waits-timed-org-tiny-few-shot", "measure-org-tiny-zero-shot-test",
    ]  # fmt: skip
    assert written.choice is not None
    assert written.choice.ranked == ("org/tiny/few-shot", "org/tiny/zero-shot")
    assert written.verdict.variant == "org/tiny/few-shot"
    assert [(v.id, v.measured_on, v.rows) for v in written.variants] == [
        ("org/tiny/zero-shot", "test", 40),
        ("org/tiny/few-shot", "test", 40),
    ]
    assert written.winner.figures["accuracy"].value == 0.95
    assert written.winner.figures["accuracy"].digest == written.winner.digest
    assert set(written.winner.bounds or ()) == {"accuracy", "p95"}


def test_what_is_written_follows_the_schema_and_is_read_again(trial: Trial) -> None:
    written, _ = run(trial, {"zero-shot": 0.6, "few-shot": 0.95})
    value = json.loads((trial.folder / "report.json").read_text())
    jsonschema.validate(value, report.schema())
    assert (
        report.read(trial.folder / "report.json").as_json()
        == value
        == json.loads(json.dumps(written.as_json()))
    )
    assert written.verdict.sentence.split(" reaches")[0] in (trial.folder / "report.html").read_text()


def test_a_variant_without_an_answer_in_time_is_left_out_and_said(trial: Trial) -> None:
    slow = ("measure-org-tiny-zero-shot-validation",)
    written, _ = run(trial, {"few-shot": 0.95}, slow)
    assert [variant.id for variant in written.variants] == ["org/tiny/few-shot"]
    assert any("measuring org/tiny, zero-shot was skipped" in note for note in written.notes)
    assert "left out: measuring org/tiny, zero-shot" in written.verdict.skipped


def test_a_choice_that_could_not_be_judged_is_no_verdict(trial: Trial) -> None:
    slow = ("measure-org-tiny-few-shot-test",)
    with pytest.raises(DoesNotFit, match="no time to measure it on the test rows"):
        run(trial, {"zero-shot": 0.6, "few-shot": 0.95}, slow)


def test_a_variant_that_was_not_timed_keeps_the_verdict_open(trial: Trial) -> None:
    written, _ = run(trial, {"zero-shot": 0.6, "few-shot": 0.95}, ("timed-org-tiny-few-shot",))
    chosen = next(v for v in written.variants if v.id == "org/tiny/few-shot")
    assert chosen.running is None
    assert any("timing org/tiny, few-shot was skipped" in note for note in written.notes)


def test_the_plan_is_agreed_to_before_anything_is_measured_and_kept_for_the_next_run(trial: Trial) -> None:
    class Refused(Exception):
        pass

    def refuse(_: object) -> float:
        raise Refused

    trial.steps = steps = RecordedSteps(trial, {})
    with pytest.raises(Refused):
        trial.run(refuse)
    assert steps.names == ["look-org-tiny", "baselines", "pace-org-tiny"]
    assert not (trial.folder / "plan.json").exists()
    run(trial, {"zero-shot": 0.6, "few-shot": 0.95})
    assert json.loads((trial.folder / "plan.json").read_text())["budget_s"] == 3600


def test_a_model_whose_licence_is_not_allowed_is_left_out_with_its_reason(trial: Trial) -> None:
    trial.options = replace(trial.options, licence_policy="commercial")
    with pytest.raises(DoesNotFit, match="licence policy 'commercial'"):
        run(trial, {})


def test_no_prompts_are_read_where_safety_is_not_to_be_tested() -> None:
    assert trust_tests.prompts(Options(safety_prompts=NO_SAFETY)) == []
    assert trust_tests.prompts(Options())
