"""The report's charts as HTML and SVG text: colours and fonts come from the page's style sheet."""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

from freehold.trial.choice import VALIDATION


def quality(variants: list[dict[str, Any]], metric: str, limit: float | None) -> str:
    """A row per variant: point and 95% interval; the needed level as a line. HTML, so that names wrap on a phone."""

    def at(value: float) -> str:
        return f"{100 * min(max(value, 0.0), 1.0):.2f}%"

    needed = (
        f'<i class="limit" style="left:{at(limit)}"></i>' if limit is not None and 0 <= limit <= 1 else ""
    )
    parts = [
        f'<div class="bars" role="img" aria-label="{escape(metric)} of each variant with its 95% interval">'
    ]
    for variant in variants:
        figure = variant["figures"][metric]
        kind = {"tuned": "tuned", "rival": "rival", "baseline": "simple"}.get(variant["kind"], "asis")
        width = at(figure["high"] - figure["low"])
        parts.append(
            f'<div class="bar"><span class="name">{escape(variant["title"])}{_rows(variant)}</span><span class="track">{needed}'
            f'<i class="whisker {kind}" style="left:{at(figure["low"])};width:{width}"></i>'
            f'<i class="dot {kind}" style="left:{at(figure["value"])}"></i></span><span class="value">{figure["value"]:.3f}</span></div>'
        )
    ticks = "".join(f'<i style="left:{at(tick)}">{tick:g}</i>' for tick in (0.0, 0.25, 0.5, 0.75, 1.0))
    parts.append(
        f'<div class="bar axis"><span class="name"></span><span class="track">{ticks}</span><span class="value"></span></div>'
    )
    return "".join(parts) + "</div>"


def _rows(variant: dict[str, Any]) -> str:
    return " (validation)" if variant.get("measured_on") == VALIDATION else ""


def matrix(value: dict[str, Any]) -> str:
    """A table of wanted labels (rows) and answers (columns); a cell is the darker, the larger its share of the row. HTML."""
    labels, counts = value["labels"], value["counts"]
    head = "".join(
        f'<th><span title="{escape(label, _QUOTE)}">{escape(_cut(label))}</span></th>' for label in labels
    )
    lines = [f'<tr><th class="corner">expected &#8595; answered &#8594;</th>{head}</tr>']
    for index, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = max(sum(row), 1)
        cells = "".join(_cell(count, count / total, index == column) for column, count in enumerate(row))
        lines.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    return f'<table class="matrix">{"".join(lines)}</table>'


_QUOTE = {'"': "&quot;"}


def _cut(label: str) -> str:
    return label if len(label) <= 14 else label[:13] + "\u2026"


def _cell(count: int, share: float, right: bool) -> str:
    if not count:
        return "<td></td>"
    colour = "--tuned" if right else "--limit"
    strength = round(12 + 50 * share)
    return f'<td style="background:color-mix(in srgb, var({colour}) {strength}%, transparent)">{count:,}</td>'


def _points(values: list[tuple[float, float]], x: Any, y: Any) -> str:
    return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in values)


def cost(even: dict[str, Any]) -> str:
    """Cost per month over requests per month, logarithmic in volume: own machine against the API."""
    width, height, left, bottom, top = 720, 320, 84, 64, 20
    most = max(even["capacity"], (even["requests"] or even["capacity"]) * 2, 10.0)
    first = 2.0
    last = math.ceil(math.log10(most))
    volumes = [10 ** (first + (last - first) * i / 160) for i in range(161)]

    def own_cost(volume: float) -> float:
        return even["own_per_month"] * max(1, math.ceil(volume / even["capacity"] - 1e-9))

    highest = max(own_cost(volumes[-1]), even["own_per_month"] * 3, 1.0)
    highest = min(highest, max(even["own_per_month"] * 6, 1.0))

    def x(volume: float) -> float:
        return left + (width - left - 20) * (math.log10(volume) - first) / (last - first)

    def y(dollars: float) -> float:
        return height - bottom - (height - bottom - top) * min(dollars / highest, 1.0)

    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="cost per month over requests per month">'
    ]
    for power in range(int(first), last + 1):
        anchor = "end" if power == last else "middle"  # the last one must not leave the picture
        parts.append(
            f'<line class="grid" x1="{x(10**power):.1f}" x2="{x(10**power):.1f}" y1="{top}" y2="{height - bottom}"/>'
        )
        parts.append(
            f'<text class="tick" x="{x(10**power):.1f}" y="{height - bottom + 24}" text-anchor="{anchor}">{_short(10**power)}</text>'
        )
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{y(highest * share) + 4:.1f}" text-anchor="end">${highest * share:,.0f}</text>'
        )
    api = [(v, v * even["api_per_request"]) for v in volumes if v * even["api_per_request"] <= highest]
    parts.append(f'<polyline class="line rival" points="{_points(api, x, y)}"/>')
    parts.append(
        f'<polyline class="line tuned" points="{_points([(v, own_cost(v)) for v in volumes if own_cost(v) <= highest], x, y)}"/>'
    )
    if even.get("low") is not None:  # the band in which the lines may cross; reports of version 2 have none
        first_x, last_x = (
            x(max(v, 100.0)) for v in (even["low"], min(even["high"] or 10.0**last, 10.0**last))
        )
        level = f"{y(even['own_per_month']):.1f}"
        parts.append(f'<line class="band" x1="{first_x:.1f}" x2="{last_x:.1f}" y1="{level}" y2="{level}"/>')
    if even["requests"]:
        parts.append(
            f'<circle class="dot tuned" cx="{x(max(even["requests"], 100)):.1f}" cy="{y(even["own_per_month"]):.1f}" r="5"/>'
        )
    parts.append(
        f'<text class="tick" x="{width / 2:.0f}" y="{height - 6}" text-anchor="middle">requests per month</text>'
    )
    return "".join(parts) + "</svg>"


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def curve(train: list[list[float]], valid: list[list[float]]) -> str:
    """Training loss (smoothed over neighbours) and validation loss over steps."""
    if len(train) < 2:
        return ""
    width, height, left, bottom, top = 720, 240, 70, 40, 20
    smooth = [
        (p[0], sum(q[1] for q in train[max(0, i - 4) : i + 5]) / len(train[max(0, i - 4) : i + 5]))
        for i, p in enumerate(train)
    ]
    highest = max(value for _, value in smooth) * 1.05
    last = max(train[-1][0], 1)

    def x(step: float) -> float:
        return left + (width - left - 20) * step / last

    def y(loss: float) -> float:
        return height - bottom - (height - bottom - top) * min(loss / highest, 1)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="loss over training steps">']
    for share in (0, 0.5, 1):
        at = y(highest * share)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 20}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{highest * share:.2f}</text>'
        )
    parts.append(f'<polyline class="line asis" points="{_points(smooth, x, y)}"/>')
    parts.append(f'<polyline class="line tuned" points="{_points([(v[0], v[1]) for v in valid], x, y)}"/>')
    parts += [f'<circle class="dot tuned" cx="{x(v[0]):.1f}" cy="{y(v[1]):.1f}" r="4"/>' for v in valid]
    parts.append(
        f'<text class="tick" x="{width / 2:.0f}" y="{height - 6}" text-anchor="middle">steps (of {last:.0f})</text>'
    )
    return "".join(parts) + "</svg>"
