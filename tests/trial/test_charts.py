"""The report's charts: every value at its place, nothing outside the picture, and no markup from labels."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from freehold.trial import charts
from freehold.trial.charts import Bar, Plane
from freehold.trial.report_record import Matrix
from tests.trial.rows import figure

EVEN = {"capacity": 1_000_000.0, "own_per_month": 50.0, "api_per_request": 0.001, "requests": 50_000.0}


def parsed(text: str) -> ElementTree.Element:
    """The markup; raises where it is not well formed."""
    return ElementTree.fromstring(f"<x>{text}</x>")


def points(text: str, style: str) -> list[tuple[float, float]]:
    (line,) = [node for node in parsed(text).iter("polyline") if node.get("class") == f"line {style}"]
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in (line.get("points") or "").split())]


def test_a_plane_maps_values_to_its_inner_rectangle() -> None:
    plane = Plane(200, 100, left=40, bottom=30, first_x=0, last_x=10, highest=5)
    assert (plane.x(0), plane.x(10), plane.x(5)) == (40, 180, 110)
    assert (plane.y(0), plane.y(5), plane.y(2.5)) == (70, 20, 45)
    assert plane.y(50) == plane.y(5)


def test_each_variant_has_a_row_with_its_point_and_interval() -> None:
    bars = [
        Bar("zero-shot", "as is", {"accuracy": figure(0.5, 0.4, 0.6)}),
        Bar("tuned", "tuned", {"accuracy": figure(0.9, 0.85, 0.95)}),
    ]
    html = charts.quality(bars, "accuracy", 0.8)
    parsed(html)
    assert '<i class="whisker asis" style="left:40.00%;width:20.00%"></i>' in html
    assert '<i class="dot tuned" style="left:90.00%"></i>' in html
    assert html.count('<i class="limit" style="left:80.00%"></i>') == len(bars)


def test_an_interval_without_an_end_reaches_to_the_edge() -> None:
    html = charts.quality([Bar("few rows", "rival", {"f": figure(0.5, None, None)})], "f", None)
    assert '<i class="whisker rival" style="left:0.00%;width:100.00%"></i>' in html
    assert "limit" not in html


@pytest.mark.parametrize("limit", [-0.1, 1.5, 800.0])
def test_a_need_that_is_no_share_draws_no_line(limit: float) -> None:
    html = charts.quality([Bar("v", "as is", {"f": figure(0.5, 0.4, 0.6)})], "f", limit)
    assert 'class="limit"' not in html


def test_titles_and_labels_cannot_bring_markup() -> None:
    evil = '<b onclick="x">&'
    html = charts.quality([Bar(evil, "as is", {"f": figure(0.5, 0.4, 0.6)})], "f", None)
    table = charts.matrix(Matrix((evil, "b"), ((1, 2), (0, 3))))
    for text in (html, table):
        parsed(text)
        assert "<b" not in text
    title = next(node.get("title") for node in parsed(table).iter("span"))
    assert title == evil


def test_a_matrix_is_darker_where_more_of_a_row_is() -> None:
    table = charts.matrix(Matrix(("a", "b"), ((3, 1), (0, 0))))
    shares = re.findall(r"var\((--\w+)\) (\d+)%", table)
    assert shares == [("--tuned", "50"), ("--limit", "24")]  # 12 + 50 * 3/4 and 1/4, rounded to even
    assert table.count("<td></td>") == 2
    assert "a_very_long_l\u2026" in charts.matrix(Matrix(("a_very_long_label",), ((1,),)))


def test_costs_cross_where_the_two_lines_meet() -> None:
    picture = charts.cost(EVEN)
    (circle,) = parsed(picture).iter("circle")
    x, y = float(circle.get("cx") or 0), float(circle.get("cy") or 0)
    on_line = min(points(picture, "rival"), key=lambda point: abs(point[0] - x))
    assert on_line == pytest.approx((x, y), abs=6)
    own = points(picture, "tuned")
    assert own[0][1] == own[80][1] == pytest.approx(y, abs=0.1)


def test_own_costs_rise_with_each_further_machine() -> None:
    heights = {y for _, y in points(charts.cost({**EVEN, "capacity": 30_000.0}), "tuned")}
    assert len(heights) > 1


def test_costs_that_never_cross_have_no_mark() -> None:
    picture = charts.cost({**EVEN, "requests": None})
    assert list(parsed(picture).iter("circle")) == []


def test_the_band_in_which_they_may_cross_stays_within_the_picture() -> None:
    picture = charts.cost({**EVEN, "low": 10.0, "high": None})
    (band,) = [node for node in parsed(picture).iter("line") if node.get("class") == "band"]
    assert float(band.get("x1") or 0) == 84.0
    assert float(band.get("x2") or 0) == 700.0


def test_a_curve_needs_two_points() -> None:
    assert charts.curve([(1, 2.0)], []) == ""


def test_the_training_curve_is_smoothed_and_the_validation_curve_is_not() -> None:
    train = [(step, 2.0 + (-1) ** step) for step in range(100)]
    picture = charts.curve(train, [(50, 1.0), (99, 3.0)])
    heights = [y for _, y in points(picture, "asis")][10:90]
    assert max(heights) - min(heights) < 25  # 200 without smoothing
    assert len(list(parsed(picture).iter("circle"))) == 2
    everything = [*points(picture, "asis"), *points(picture, "tuned")]
    assert all(70 <= x <= 700 and 20 <= y <= 200 for x, y in everything)
