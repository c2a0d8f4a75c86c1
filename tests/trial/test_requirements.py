from dataclasses import replace
from pathlib import Path

import pytest

from freehold.core.errors import UsageError
from freehold.trial.requirements import check_needs, decide, parse_need
from freehold.trial.results import TimingResult
from freehold.trial.variant import Variant
from freehold.trial.verdict import reach
from tests.trial.rows import figure, made_variant, wait


def variant(
    value: float, low: float, high: float, name: str = "v", size: int = 100, licence: str = "apache-2.0"
) -> Variant:
    running = TimingResult(p95_ms=wait(500.0, 450.0, 600.0), peak_memory_bytes=2**30)
    figures = {"accuracy": figure(value, low, high)}
    return made_variant(name, figures, licence=licence, size_bytes=size, running=running, against=())


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("accuracy>=0.9", 0.9),
        ("accuracy >= 90%", 0.9),
        ("p95<=0.8s", 800.0),
        ("memory<=4GiB", 4 * 2**30),
        ("size<=100MB", 1e8),
        ("p50<=1m", 60_000.0),
        ("cut_off<=1%", 0.01),
        ("mae<=2.5", 2.5),
    ],
)
def test_needs_are_read_with_their_units(text: str, limit: float) -> None:
    assert parse_need(text).limit == pytest.approx(limit)


def test_a_grade_is_met_by_its_whole_interval() -> None:
    share = {"value": 0.2, "low": 0.1, "high": 0.3, "count": 60, "n": 300, "untold": 0, "why": ""}
    share |= {"raw": {"value": 0.2, "low": 0.16, "high": 0.25}}
    safety = {
        "grade": "good",
        "grade_between": ["very good", "fair"],
        "violating": share,
        "reference": {"name": "another", "kind": "model"},
    }
    graded = replace(variant(1, 1, 1), safety=safety)
    assert decide(parse_need("safety>=fair"), graded).met is True
    assert decide(parse_need("safety >= good"), graded).met is None
    assert decide(parse_need("safety>=excellent"), graded).met is False
    assert decide(parse_need("safety>=good"), variant(1, 1, 1)).met is None
    for text in ("safety>=superb", "safety<=good", "safety=good"):
        with pytest.raises(UsageError):
            parse_need(text)


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy<=0.9", "p95>=3", "memory<=4 apples", "licence>=free", "accuracy=0.9"]
)
def test_needs_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_need(text)


def test_the_interval_decides_not_the_point() -> None:
    need = parse_need("accuracy>=0.9")
    assert decide(need, variant(0.95, 0.92, 0.97)).met is True
    assert decide(need, variant(0.85, 0.8, 0.89)).met is False
    unsure = decide(need, variant(0.92, 0.87, 0.95))
    assert unsure.met is None
    assert unsure.more_rows is not None
    assert unsure.more_rows > 0
    assert decide(parse_need("p95<=800ms"), variant(1, 1, 1)).met is True
    assert decide(parse_need("p95<=550ms"), variant(1, 1, 1)).met is None
    assert decide(parse_need("licence=commercial"), variant(1, 1, 1, licence="mystery")).met is None
    assert decide(parse_need("licence=unrestricted"), variant(1, 1, 1, licence="gemma")).met is False


def test_the_verdicts() -> None:
    needs = [parse_need("accuracy>=0.9")]
    worse = variant(0.5, 0.4, 0.6, "w")
    assert reach(needs, [variant(0.95, 0.92, 0.97), worse], "v", "accuracy").word == "own it"
    undecided = reach(needs, [variant(0.92, 0.87, 0.95)], "v", "accuracy")
    assert undecided.word == "not yet"
    assert undecided.more_rows
    assert reach(needs, [worse], "w", "accuracy").word == "not with these models"


@pytest.mark.parametrize(
    ("need", "sentence"),
    [
        ("memory<=4s", "'4s' is a duration"),
        ("memory<=4", "'4' is a size without a unit"),
        ("memory<=0", "'0' must be more than 0"),
        ("size<=0B", "'0B' must be more than 0"),
        ("p95<=2", "'2' is a duration without a unit"),
        ("p95<=2GiB", "'2GiB' is a size"),
        ("p95<=0ms", "'0ms' must be more than 0"),
        ("accuracy>=90", "'90' is more than 1"),
        ("accuracy>=1.2", "'1.2' is more than 1"),
        ("accuracy>=800ms", "'800ms' is a duration"),
        ("cut_off<=5", "'5' is more than 1"),
        ("mae<=3%", "'3%' is not a number"),
    ],
)
def test_a_bound_of_the_wrong_kind_or_that_nothing_can_meet_is_refused(need: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_need(need)
    assert error.value.message.startswith(f"the need {need!r}: {sentence}")
    assert error.value.remedy


@pytest.mark.parametrize(
    ("need", "metric", "nearest"),
    [
        ("acuracy>=0.9", None, "accuracy"),
        ("macro-f1>=0.9", "label", ""),
        ("macrof1>=0.9", "label", "macro_f1"),
        ("memry<=4GiB", "text", "memory"),
        ("accuracy>=0.9", "text", ""),
        ("mae<=3", "label", ""),
    ],
)
def test_unknown_needs_are_refused_before_rows_are_read(need: str, metric: str | None, nearest: str) -> None:
    with pytest.raises(UsageError) as error:
        check_needs([need], metric)
    assert need in error.value.message
    assert (f"did you mean {nearest}?" in str(error.value.remedy)) == bool(nearest)


def test_a_metric_of_ones_own_is_known_by_the_name_of_its_function(tmp_path: Path) -> None:
    file = tmp_path / "metrics.py"
    file.write_text("raise SystemExit('not run before the rows are read')")
    (need,) = check_needs(["MyScore>=50%"], f"{file}:MyScore")
    assert (need.name, need.limit) == ("MyScore", 0.5)
    with pytest.raises(UsageError, match="is not measured"):
        check_needs(["accuracy>=0.9"], f"{file}:MyScore")
