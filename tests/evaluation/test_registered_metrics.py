"""Metrics of other packages: found by name, graded from 0 to 1, and named with their package's version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.core.errors import MissingPart, UsageError
from freehold.data.examples import Example
from freehold.evaluation import measurement, metrics, registered_metrics
from freehold.evaluation.measurement import Answer
from tests.conftest import PluginPackage

Install = Callable[[PluginPackage], Path]
METRIC = """
class Vowels:
    kind, name, method = "{kind}", "{figure}", "share of vowels"

    def grade(self, row, answer):
        return {grade}

METRIC = Vowels()
"""
SHARE = "sum(letter in 'aeiou' for letter in answer) / len(answer)"


def package(
    *, kind: str = "text", figure: str = "vowels", grade: str = SHARE, module: str = "", version: str = "1.2"
) -> PluginPackage:
    """A package with the metric ``vowel-share``."""
    text = module or METRIC.format(kind=kind, figure=figure, grade=grade)
    places = {registered_metrics.GROUP: {"vowel-share": "vowels_plugin:METRIC"}}
    return PluginPackage(places, {"vowels_plugin": text}, "vowels", version)


def row(answer: str) -> Example:
    return Example("r", (("user", "q"), ("assistant", answer)), {"label": answer})


def test_freeholds_own_are_found_like_any() -> None:
    assert {kind: metrics.find_registered(kind) for kind in metrics.METRICS} == metrics.METRICS


def test_a_packages_metric_is_found_by_name_and_names_its_package(install_plugin: Install) -> None:
    install_plugin(package())
    metric = metrics.choose("vowel-share", [row("a")])
    assert metric.grade(row("x"), "aabb") == 0.5
    assert (metric.kind, metric.name, metric.reason) == ("text", "vowels", "chosen with --metric")
    assert metric.method == "share of vowels (metric vowel-share, vowels 1.2)"
    figures = measurement.measurement(metric, [row("x")], [Answer("r", "aabb", 0.5, "stop", 1, 1)])
    assert figures["vowels"].method.startswith(metric.method)


def test_needs_may_be_on_its_figure(install_plugin: Install) -> None:
    install_plugin(package())
    assert metrics.possible_figures("vowel-share")[0] == "vowels"


def test_its_version_is_kept_and_no_other_takes_its_place(install_plugin: Install) -> None:
    install_plugin(package())
    assert registered_metrics.pinned("vowel-share") == "vowel-share==1.2"
    assert registered_metrics.pinned("vowel-share==1.2") == "vowel-share==1.2"
    assert metrics.choose("vowel-share==1.2", []).name == "vowels"
    with pytest.raises(UsageError, match=r"--metric vowel-share==1\.1: the package vowels has version 1\.2"):
        metrics.choose("vowel-share==1.1", [])


@pytest.mark.parametrize("spec", ["label", "mine.py:grade", "nothing-of-this-name"])
def test_other_metrics_stay_as_they_are_typed(spec: str) -> None:
    assert registered_metrics.pinned(spec) == spec


@pytest.mark.parametrize(
    ("grade", "said"),
    [
        ("2", "returned 2 for row r"),
        ("float('nan')", "returned nan for row r"),
        ("row.nothing", r"failed on row r \(AttributeError"),
        ("'much'", r"failed on row r \(ValueError"),
    ],
)
def test_a_grade_that_is_no_share_names_package_and_row(
    install_plugin: Install, grade: str, said: str
) -> None:
    install_plugin(package(grade=grade))
    with pytest.raises(UsageError, match=r"the metric 'vowel-share' of the package vowels 1\.2 " + said):
        metrics.choose("vowel-share", []).grade(row("a"), "x")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "value"}, "has the kind 'value'; it must be one of text, label"),
        ({"figure": "accuracy"}, "has the figure 'accuracy', which is one of Freehold's own"),
        ({"figure": "My Figure"}, "has the figure 'My Figure'; its name must consist of"),
        ({"module": "METRIC = len\n"}, "is not a metric: its kind must be a text"),
        (
            {"module": "class METRIC:\n    kind = name = method = 'text'\n"},
            "is not a metric: it has no function 'grade'",
        ),
    ],
)
def test_what_is_not_a_metric_is_refused_with_its_package(
    install_plugin: Install, changed: dict[str, str], said: str
) -> None:
    install_plugin(package(**changed))
    with pytest.raises(UsageError, match=r"the metric 'vowel-share' of the package vowels 1\.2 " + said):
        metrics.choose("vowel-share", [])


def test_one_that_cannot_be_imported_is_refused_with_its_package(install_plugin: Install) -> None:
    install_plugin(package(module="import nothing_of_this_name\n"))
    with pytest.raises(MissingPart, match=r"of the package vowels 1\.2 cannot be loaded"):
        metrics.choose("vowel-share", [])


def test_an_unknown_metric_names_those_that_are_installed(install_plugin: Install) -> None:
    install_plugin(package())
    with pytest.raises(UsageError, match="unknown metric; did you mean vowel-share") as refused:
        metrics.choose("vowel-shar", [])
    assert "label" in refused.value.remedy
    assert "vowel-share, or path.py:function" in refused.value.remedy


def test_one_for_labels_grades_them_itself_and_has_their_further_figures(install_plugin: Install) -> None:
    install_plugin(package(kind="label", figure="cost_saved", grade="0.25 if answer == 'b' else 1"))
    rows = [replace(row(label), id=str(number)) for number, label in enumerate("abab")]
    metric = metrics.choose("vowel-share", rows)
    assert [metric.grade(example, "b") for example in rows] == [0.25] * 4
    answers = [Answer(example.id, "b", 0.25, "stop", 1, 1) for example in rows]
    figures = measurement.measurement(metric, rows, answers)
    assert figures["cost_saved"].value == 0.25
    assert figures["macro_f1"].value == pytest.approx(1 / 3)
