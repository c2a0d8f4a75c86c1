"""The report: today's and an older one are rendered, and what limits a verdict is on the page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.core.errors import Unsupported
from freehold.data.table import Fault
from freehold.trial import json_form, report, report_schema, sections, summary
from freehold.trial.report_record import Budget, ChangedRow, ChoiceSection, LookSection, Report
from freehold.trial.requirements import parse_need
from freehold.trial.verdict import reach
from tests.trial.rows import compared, labelled, task_of, variant

PAIRS = [("card is lost", "card"), ("pin is wrong", "pin"), ("an odd <b>text</b>", "a & b")] * 9


def made(*, labels: bool = True, skipped: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON of a report of a small task, with rows out of scope, one label with few rows, and an untuned
    and a tuned variant.
    """
    task = task_of(labelled("a", PAIRS), labelled("t", [*PAIRS, ("sing", "song")]))
    right = [e.answer if e.answer in task.labels else "pin" for e in task.test]
    untuned, tuned = (
        variant(task, "m, zero-shot", ["card"] * len(right)),
        variant(task, "m, tuned", right, kind="tuned"),
    )
    variants, simple = compared(task, untuned, tuned)
    needs = [parse_need("accuracy>=0.5")]
    verdict = reach(needs, variants, "m, tuned", "accuracy", baselines=simple, skipped=skipped)
    section = replace(
        sections.task_section(task, {"card": 9}, {}),
        files={"train": "ab" * 32},
        unused_columns=("created",),
        data_notes=("The delimiter is a semicolon.",),
        left_out_count=60,
        left_out=tuple(Fault(f"a.csv, line {n}", "empty value") for n in range(50)),
    )
    return Report(
        report_version=3,
        id="abc",
        verdict=verdict.section(command="freehold serve m"),
        task=section,
        baselines=tuple(summary.section_of(baseline) for baseline in simple),
        labels=sections.labels(task, tuned[1]) if labels else None,
        variants=tuple(variants),
        comparisons=(),
        changed_rows=(),
        changed_between=("m, zero-shot", "m, tuned"),
        memory_allowed_bytes=2**30,
        machine={"processor": "p", "cores": 2, "memory_bytes": 2**33, "system": "s", "bf16": False},
        notes=(),
        choice=ChoiceSection("m, tuned", ("m, tuned", "m, zero-shot"), "validation", 1),
        look=LookSection(2, ("earlier",), 0.0025, 0.025, 0.00125),
        power=(
            "with 28 test rows, accuracy>=0.5 is shown to be met in 4 of 5 trials "
            "if the true accuracy is 0.780 or more",
        ),
        budget=Budget(60, 50),
        options={"rival_endpoint": None},
        versions={"python": "3"},
    ).as_json()


def old() -> dict[str, Any]:
    """The same as version 1 had it: none of the newer keys."""
    value = made()
    value["report_version"] = 1
    for key in ("baselines", "labels", "choice", "look", "power"):
        del value[key]
    for key in ("warnings", "reason", "unused_columns", "data_notes", "left_out", "left_out_count"):
        del value["task"][key]
    for key in ("classic", "skipped"):
        del value["verdict"][key]
    for each in value["variants"]:
        del each["against"], each["measured_on"]
    return value


def test_a_report_follows_the_published_schema() -> None:
    import jsonschema

    for value in (made(), old(), made(labels=False)):
        jsonschema.validate(json.loads(json.dumps(value)), report.schema())


def test_the_published_schema_is_generated_from_the_types() -> None:
    """After a change: ``python -m freehold.trial.report_schema``."""
    assert report_schema.FILE.read_text() == report_schema.text()


def test_the_schema_refuses_a_verdict_without_a_word_and_a_variant_without_figures() -> None:
    import jsonschema

    for path in (("verdict", "verdict"), ("variants", 0, "figures"), ("task", "files"), ("budget",)):
        value: Any = made()
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        with pytest.raises(jsonschema.ValidationError, match=str(path[-1])):
            jsonschema.validate(value, report.schema())


def test_a_report_that_is_read_and_written_stays_as_it_is() -> None:
    value = made()
    assert Report.from_json(value).as_json() == value
    timed = Report.from_json(rented()).as_json()
    assert Report.from_json(timed).as_json() == timed


def test_the_page_shows_baselines_labels_confusions_and_what_was_not_used() -> None:
    page = report.html(made(skipped=("safety was skipped as asked",)))
    for text in (
        "What simple methods reach without a language model",
        "majority class",
        "linear classifier on TF-IDF",
        "1 test row has another label: song (1)",
        "0.964",
        "Most frequent confusions",
        "Figures for each of 4 labels",
        "few rows",
        "Why this metric",
        "columns not used</dt><dd>created",
        "The delimiter is a semicolon.",
        "a.csv, line 49: empty value",
        "60, the first 50 listed",
        "safety was skipped as asked",
    ):
        assert text in page, text
    assert "<b>text</b>" not in page
    assert "a &amp; b" in page


def test_the_page_says_how_the_variant_was_chosen_and_which_look_this_was() -> None:
    page = report.html(made())
    for text in (
        "chosen among 2 on the validation rows",
        "look number 2 at these test rows",
        "trial <code>earlier</code>",
        "With 28 test rows, accuracy&gt;=0.5 is shown",
    ):
        assert text in page


def test_a_report_of_the_first_version_is_read_and_rendered(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(old()))
    value = report.read(tmp_path / "report.json")
    page = report.html(old())
    assert "m, tuned" in page
    assert "without a language model" not in page
    assert "columns not used" not in page
    assert "m, tuned" in report.ten_lines(value, tmp_path)


def test_a_report_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"report_version": 4}))
    with pytest.raises(Unsupported, match="version 4"):
        report.read(tmp_path / "report.json")


def test_many_labels_are_listed_by_confusion_and_few_are_drawn() -> None:
    assert '<table class="matrix">' in report.html(made())
    names = [f"label {n}" for n in range(40)]
    task = task_of(
        labelled("a", [(f"about {name}", name) for name in names] * 2),
        labelled("t", [(f"about {name}", name) for name in names]),
    )
    _, answers = variant(task, "v", [names[(names.index(e.answer) + 1) % 40] for e in task.test])
    value = sections.labels(task, answers)
    assert value is not None
    assert value.matrix is None
    assert len(value.confusions) == 40


def test_a_step_backwards_is_not_called_a_change_for_the_better() -> None:
    def rows(*gains: float) -> list[ChangedRow]:
        texts = dict.fromkeys(
            ("id", "question", "wanted", "before", "after", "before_digest", "after_digest"), ""
        )
        return [ChangedRow(**texts, gain=gain) for gain in gains]

    assert "backwards" in sections.changed_title(rows(-1.0, -1.0, 1.0), "before", "after")
    assert sections.changed_title(rows(1.0), "before", "after") == "What changed, row by row"


def test_the_terminal_shows_verdict_baselines_and_warnings_in_few_lines() -> None:
    lines = report.ten_lines(Report.from_json(made()), Path("/tmp")).splitlines()
    assert lines[0].startswith("verdict   ")
    assert any(line.startswith("beside    majority class") for line in lines)
    assert any(line.startswith("note      ") and "song" in line for line in lines)
    assert len(lines) <= 14


def test_the_page_says_what_each_part_took_and_how_good_the_estimates_were() -> None:
    value = made(skipped=("left out: safety",))
    value["parts"] = [{"part": "m: tuning, about 3.0 epochs", "planned_s": 60.0, "taken_s": 75.0}]
    value["time_left"] = {"median_error": 0.113, "estimates": 34, "budget_s": 180.0}
    page = report.html(value)
    assert "m: tuning, about 3.0 epochs: 1 min 15 s of 1 min 00 s planned" in page
    assert "half of them were wrong by less than 11%" in page
    assert "Not tested in this trial" in page
    assert "left out: safety" in page


def rented() -> dict[str, Any]:
    """A report of which a variant was timed on a busy machine, beside a rival."""
    from freehold.core.cpu_load import Load
    from freehold.trial import rival_variant
    from freehold.trial.rival import Rival, Spent
    from freehold.trial.waits import Wait, Waits

    told = ("few-shot, the better on 8 validation rows (zero-shot 0.500 and few-shot 1.000)", "temperature 0")
    spent = Spent(requests=90, prompt_tokens=5000, answer_tokens=3000, reasoning_tokens=2500)
    waits = tuple(float(number) for number in range(400, 472))
    value = made()
    found = Rival("big", (), "few-shot", told, spent=spent, waits_ms=waits)
    value["variants"].append(
        {
            **value["variants"][0],
            "id": "rival",
            "title": "big",
            "kind": "rival",
            "rented": rival_variant.rented(found),
        }
    )
    busy = Waits(tuple(Wait(5.0, False) for _ in range(80)), 80, Load(1, 2, 0.62, 0.0, 0.0), 72)
    value["variants"][0]["running"] = {
        "p50_ms": json_form.write(busy.figure(0.5)),
        "p95_ms": json_form.write(busy.figure(0.95)),
        "peak_memory_bytes": 1,
        "prompt_tokens_per_second": 9.0,
        "answer_tokens_per_second": 9.0,
        "kwh_per_1000_requests": 0.1,
        "predicted_memory_bytes": 1,
        "quiet": False,
        "load": {"waits": busy.note, "throughput": "", "energy": ""},
        "waits": busy.as_dict(),
        "waits_ms": [5.0],
    }
    return value


def test_how_a_rival_was_asked_and_what_it_took_is_in_the_report() -> None:
    text = report.html(rented())
    assert "Settings of big" in text
    assert "Few-shot, the better on 8 validation rows" in text
    assert "90 requests took 5,000 prompt tokens and 3,000 answer tokens" in text
    assert "at most 471 ms" in text


def test_a_variant_timed_on_a_busy_machine_is_marked() -> None:
    assert (
        "was timed on a busy machine.</b> Another program used 62% of the processor while waits were measured"
        in report.html(rented())
    )
    assert "busy machine" not in report.html(made())


def test_reports_with_a_rival_follow_the_schema() -> None:
    import jsonschema

    jsonschema.validate(json.loads(json.dumps(rented())), report.schema())
