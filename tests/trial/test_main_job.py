"""The main job: its eight files, and its course from beginning to end without a model run."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import freehold.trial
from freehold.core.errors import DoesNotFit
from freehold.trial import report, trust_tests
from freehold.trial.options import NO_SAFETY, Options
from freehold.trial.run import Trial
from tests.trial.recorded import RecordedSteps, run

#: The main job, in the order in which it is read.
MAIN_JOB = ("options", "task", "planner", "run", "steps", "jobs", "verdict", "report")


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
        "look-org-tiny",
        "baselines",
        "pace-org-tiny",
        "measure-org-tiny-zero-shot-validation",
        "measure-org-tiny-few-shot-validation",
        "timed-org-tiny-few-shot",
        "measure-org-tiny-few-shot-test",
        "waits-timed-org-tiny-few-shot",
    ]
    assert written.choice is not None
    assert written.choice.ranked == ("org/tiny/few-shot", "org/tiny/zero-shot")
    assert written.verdict.variant == "org/tiny/few-shot"
    assert [(v.id, v.measured_on, v.rows) for v in written.variants] == [
        ("org/tiny/zero-shot", "validation", 40),
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
