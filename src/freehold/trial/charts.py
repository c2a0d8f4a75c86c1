"""The report's charts as HTML and SVG text: colours and fonts come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from freehold.evaluation.measurement import Measurements
from freehold.trial.json_form import JsonObject
from freehold.trial.report_record import Matrix

#: Style of a bar by what it is; any other is a model without tuning.
_STYLES = {"tuned": "tuned", "rival": "rival", "baseline": "simple"}
_QUOTE = {'"': "&quot;"}
Points = Sequence[tuple[float, ...]]


@dataclass(frozen=True)
class Bar:
    """A row of the chart of qualities. ``kind``: a variant's, or ``baseline``."""

    title: str
    kind: str
    figures: Measurements


@dataclass(frozen=True)
class Plane:
    """Where values of a chart lie in its picture. Sizes are in the picture's units."""

    width: int
    height: int
    #: margins
    left: int
    bottom: int
    #: the ends of both axes, as values
    first_x: float
    last_x: float
    highest: float

    #: margins that all charts share
    TOP = 20
    RIGHT = 20

    def x(self, value: float) -> float:
        """Where a value of the horizontal axis lies."""
        span = self.width - self.left - self.RIGHT
        return self.left + span * (value - self.first_x) / (self.last_x - self.first_x)

    def y(self, value: float) -> float:
        """Where a value of the vertical axis lies; what is above the highest lies there."""
        span = self.height - self.bottom - self.TOP
        return self.height - self.bottom - span * min(value / self.highest, 1.0)

    def line(self, style: str, points: Points) -> str:
        """A line through points."""
        places = " ".join(f"{self.x(point[0]):.1f},{self.y(point[1]):.1f}" for point in points)
        return f'<polyline class="line {style}" points="{places}"/>'

    def text(self, x: float, y: float, anchor: str, text: str) -> str:
        """A small text at a place of the picture."""
        return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'

    def level(self, value: float, label: str) -> str:
        """A horizontal line of the grid with its label."""
        y = self.y(value)
        grid = (
            f'<line class="grid" x1="{self.left}" x2="{self.width - self.RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        return grid + self.text(self.left - 8, y + 4, "end", label)

    def picture(self, title: str, axis: str, parts: Sequence[str]) -> str:
        """The whole picture; ``axis``: what the horizontal axis shows."""
        head = f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{title}">'
        below = self.text(self.width / 2, self.height - 6, "middle", axis)
        return "".join([head, *parts, below, "</svg>"])


def quality(bars: Sequence[Bar], metric: str, limit: float | None) -> str:
    """A row per variant: point and 95% interval; the needed level as a line. HTML, so that names wrap on a
    phone.
    """
    in_range = limit is not None and 0 <= limit <= 1
    needed = f'<i class="limit" style="left:{_percent(limit or 0.0)}"></i>' if in_range else ""
    label = f"{escape(metric)} of each variant with its 95% interval"
    ticks = "".join(f'<i style="left:{_percent(tick)}">{tick:g}</i>' for tick in (0.0, 0.25, 0.5, 0.75, 1.0))
    return "".join(
        [
            f'<div class="bars" role="img" aria-label="{label}">',
            *(_bar(bar, metric, needed) for bar in bars),
            f'<div class="bar axis"><span class="name"></span><span class="track">{ticks}</span>'
            '<span class="value"></span></div></div>',
        ]
    )


def _percent(value: float) -> str:
    return f"{100 * min(max(value, 0.0), 1.0):.2f}%"


def _bar(bar: Bar, metric: str, needed: str) -> str:
    figure, style = bar.figures[metric], _STYLES.get(bar.kind, "asis")
    low = 0.0 if figure.low is None else figure.low
    high = 1.0 if figure.high is None else figure.high
    whisker = f"left:{_percent(low)};width:{_percent(high - low)}"
    return (
        f'<div class="bar"><span class="name">{escape(bar.title)}</span><span class="track">{needed}'
        f'<i class="whisker {style}" style="{whisker}"></i>'
        f'<i class="dot {style}" style="left:{_percent(figure.value)}"></i></span>'
        f'<span class="value">{figure.value:.3f}</span></div>'
    )


def matrix(value: Matrix) -> str:
    """A table of expected labels (rows) and answers (columns); a cell is darker, the larger its share of
    the row. HTML.
    """
    labels, counts = value.labels, value.counts
    head = "".join(
        f'<th><span title="{escape(label, _QUOTE)}">{escape(_cut(label))}</span></th>' for label in labels
    )
    lines = [f'<tr><th class="corner">expected &#8595; answered &#8594;</th>{head}</tr>']
    for index, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = max(sum(row), 1)
        cells = "".join(_cell(count, count / total, index == column) for column, count in enumerate(row))
        lines.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    return f'<table class="matrix">{"".join(lines)}</table>'


def _cut(label: str) -> str:
    return label if len(label) <= 14 else label[:13] + "\u2026"


def _cell(count: int, share: float, right: bool) -> str:
    if not count:
        return "<td></td>"
    colour = "--tuned" if right else "--limit"
    strength = round(12 + 50 * share)
    return f'<td style="background:color-mix(in srgb, var({colour}) {strength}%, transparent)">{count:,}</td>'


def cost(even: JsonObject) -> str:
    """Cost per month over requests per month, logarithmic in volume: own machine against the API.

    ``even``: the JSON form of :class:`freehold.costs.money.BreakEven`.
    """
    capacity, per_month, per_request = even["capacity"], even["own_per_month"], even["api_per_request"]
    most = max(capacity, (even["requests"] or capacity) * 2, 10.0)
    last = math.ceil(math.log10(most))
    volumes = [10 ** (2 + (last - 2) * i / 160) for i in range(161)]

    def own_cost(volume: float) -> float:
        return per_month * max(1, math.ceil(volume / capacity - 1e-9))

    highest = min(max(own_cost(volumes[-1]), per_month * 3, 1.0), max(per_month * 6, 1.0))
    plane = Plane(720, 320, left=84, bottom=64, first_x=2, last_x=last, highest=highest)
    api = [(math.log10(v), v * per_request) for v in volumes if v * per_request <= highest]
    machine = [(math.log10(v), own_cost(v)) for v in volumes if own_cost(v) <= highest]
    parts = [
        *(_decade(plane, power) for power in range(2, last + 1)),
        *(plane.level(highest * share, f"${highest * share:,.0f}") for share in (0, 0.25, 0.5, 0.75, 1)),
        plane.line("rival", api),
        plane.line("tuned", machine),
        *_crossing(plane, even),
    ]
    return plane.picture("cost per month over requests per month", "requests per month", parts)


def _decade(plane: Plane, power: int) -> str:
    """A vertical line of the grid with its label."""
    x, foot = plane.x(power), plane.height - plane.bottom
    anchor = "end" if power == plane.last_x else "middle"  # the last one must not leave the picture
    grid = f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{plane.TOP}" y2="{foot}"/>'
    return grid + plane.text(x, foot + 24, anchor, _short(10**power))


def _crossing(plane: Plane, even: JsonObject) -> list[str]:
    """Where the lines cross, and the band in which they may; reports of version 2 have no band."""
    y, last = plane.y(even["own_per_month"]), 10.0**plane.last_x
    parts: list[str] = []
    if even.get("low") is not None:
        ends = even["low"], min(even["high"] or last, last)
        low, high = (plane.x(math.log10(max(volume, 100.0))) for volume in ends)
        parts.append(f'<line class="band" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
    if even["requests"]:
        x = plane.x(math.log10(max(even["requests"], 100)))
        parts.append(f'<circle class="dot tuned" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
    return parts


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def curve(train: Points, valid: Points) -> str:
    """Training loss (smoothed over neighbours) and validation loss over steps; points are (step, loss,
    ...).
    """
    if len(train) < 2:
        return ""
    windows = [train[max(0, i - 4) : i + 5] for i in range(len(train))]
    means = [sum(point[1] for point in window) / len(window) for window in windows]
    smooth = [(point[0], mean) for point, mean in zip(train, means, strict=True)]
    last, highest = max(train[-1][0], 1), max(means) * 1.05
    plane = Plane(720, 240, left=70, bottom=40, first_x=0, last_x=last, highest=highest)
    dots = [
        f'<circle class="dot tuned" cx="{plane.x(point[0]):.1f}" cy="{plane.y(point[1]):.1f}" r="4"/>'
        for point in valid
    ]
    parts = [
        *(plane.level(highest * share, f"{highest * share:.2f}") for share in (0, 0.5, 1)),
        plane.line("asis", smooth),
        plane.line("tuned", valid),
        *dots,
    ]
    return plane.picture("loss over training steps", f"steps (of {last:.0f})", parts)
