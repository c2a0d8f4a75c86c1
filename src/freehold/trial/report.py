"""The report: ``report.json`` after a published schema, and one HTML file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import atomic_files, progress, statistics
from freehold.core.errors import NotFound, Unsupported, UsageError
from freehold.evaluation.measurement import Measurement, Measurements
from freehold.trial import charts
from freehold.trial.charts import Bar
from freehold.trial.json_form import JsonObject
from freehold.trial.report_record import VERSIONS, Report
from freehold.trial.requirements import parse_need
from freehold.trial.sections import changed_title
from freehold.trial.variant import Variant
from freehold.trust import licence

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
MOST_ROWS_SHOWN = 200


def write_reports(folder: Path, report: Report) -> Report:
    """Write ``report.json`` and ``report.html`` into the trial's folder and return the report."""
    value = report.as_json()
    atomic_files.write_atomically(folder / "report.json", json.dumps(value, indent=1, ensure_ascii=False))
    atomic_files.write_atomically(folder / "report.html", html(value))
    return report


def schema() -> JsonObject:
    """The published JSON schema of ``report.json``."""
    return json.loads((_HERE / "report.schema.json").read_text())


def read(path: Path) -> Report:
    """A report from disk. Raises NotFound, Unsupported, BadData."""
    if not path.exists():
        raise NotFound(f"there is no report {path}", "see 'freehold trials'")
    value = json.loads(path.read_text())
    if value.get("report_version") not in VERSIONS:
        raise Unsupported(
            f"{path} has version {value.get('report_version')!r}; this Freehold reads versions 1 to 3",
            "update Freehold",
        )
    return Report.from_json(value, str(path))


def html(value: JsonObject) -> str:
    """The page of a report, given as in ``report.json``: verdict first; no script, no font, no picture from
    elsewhere.
    """
    report = Report.from_json(value)
    metric, winner = report.task.metric, report.winner
    limit = _quality_limit(report)
    ordered = sorted(report.variants, key=lambda v: (v.kind == "rival", v.kind == "tuned", v.model))
    # the template reads the JSON, since what an older report does not say must not look as if it did
    as_json = {variant["id"]: variant for variant in value["variants"]}
    tuned = {variant.model: variant for variant in ordered if variant.trained}
    winner_json = as_json[winner.id]
    money, matrix = winner.money, report.labels.matrix if report.labels else None
    return (
        _environment()
        .from_string((_HERE / "report.html").read_text())
        .render(
            r=value,
            metric=metric,
            choice=value.get("choice"),
            variants=[as_json[variant.id] for variant in ordered],
            winner=winner_json,
            compared={entry["to"]: entry for entry in value["comparisons"]},
            runs={model: as_json[variant.id]["trained"] for model, variant in tuned.items()},
            rows=value["changed_rows"][:MOST_ROWS_SHOWN],
            style=(_HERE / "report.css").read_text(),
            duty=licence.duties(winner.licence),
            quality=charts.quality([*map(_bar_of, ordered), *_baseline_bars(report)], metric, limit),
            limit=limit,
            baselines=value.get("baselines", []),
            labels=value.get("labels"),
            against={entry["baseline"]: entry for entry in winner_json.get("against", [])},
            matrix=charts.matrix(matrix) if matrix else "",
            changed_title=changed_title(report.changed_rows, *_titles(report)),
            cost=charts.cost(money["break_even"]) if money else "",
            curves={
                model: charts.curve(variant.trained.train_curve, variant.trained.valid_curve)
                for model, variant in tuned.items()
                if variant.trained
            },
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        share=lambda v: "no bound" if v is None else f"{v:.3f}",
        mb=lambda v: f"{v / 1e6:,.0f} MB",
        gib=lambda v: f"{v / 2**30:.2f} GiB",
        time=progress.duration,
        num=lambda v: f"{v:,.0f}",
        sig=lambda v: f"{v:.3g}",
        short=lambda v: v[:12],
        capfirst=lambda v: v[:1].upper() + v[1:].rstrip("."),
        about=_about,
        p=statistics.p_text,
    )
    return environment


def _about(value: float) -> str:
    """A figure that is known roughly, to three digits: 818,000, 30, 0.15."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bar_of(variant: Variant) -> Bar:
    title = variant.title if variant.on_test else f"{variant.title} (validation)"
    return Bar(title, variant.kind, variant.figures)


def _baseline_bars(report: Report) -> list[Bar]:
    return [Bar(baseline.title, "baseline", baseline.figures) for baseline in report.baselines]


def _titles(report: Report) -> tuple[str, str]:
    """Titles of the variants between which rows changed."""
    titles = {variant.id: variant.title for variant in report.variants}
    before, after = report.changed_between
    return titles.get(before, before), titles.get(after, after)


def _quality_limit(report: Report) -> float | None:
    """The least quality that a need asks for."""
    for decision in report.verdict.decisions:
        try:
            need = parse_need(decision.need)
        except UsageError:
            continue  # a decision that no need stands behind, such as that on the constant answer
        if need.name == report.task.metric.lower() and isinstance(need.limit, float):
            return need.limit
    return None


def ten_lines(report: Report, folder: Path) -> str:
    """The trial's end in the terminal: verdict, task, the best variants, baselines beside them, warnings,
    where to go on.
    """
    metric, verdict, winner = report.task.metric, report.verdict, report.winner
    rows = report.task.rows
    lines = [
        f"verdict   {verdict.verdict.upper()}: {verdict.sentence}",
        f"task      {report.task.name}: {rows['train']} training, {rows['valid']} validation, "
        f"{rows['test']} test rows; {metric}",
    ]
    for variant in _best_of_each(report)[:4]:
        lines.append(_line("", variant.title, variant.figures, metric, on_test=variant.on_test))
    for number, baseline in enumerate(report.baselines[:3]):
        lines.append(_line("" if number else "beside", baseline.title, baseline.figures, metric))
    lines += [f"note      {warning}" for warning in report.task.warnings]
    lines += _running(winner)
    if report.served:
        lines.append(f"served    {report.served.sentence}")
    lines.append(f"report    {folder / 'report.html'}")
    lines.append(f"serve it  {verdict.command}")
    return "\n".join(lines)


def _line(head: str, title: str, figures: Measurements, metric: str, *, on_test: bool = True) -> str:
    figure = figures[metric]
    rows = "" if on_test else " validation rows"
    interval = f"{_end(figure.low)} to {_end(figure.high)}, n={figure.n}{rows}"
    return f"{head:<10}{title}: {figure.value:.3f} ({interval})"


def _end(value: float | None) -> str:
    return "no bound" if value is None else f"{value:.3f}"


def _best_of_each(report: Report) -> list[Variant]:
    """The best variant of each model as it stands, tuned, and of the rival; the chosen one first."""
    chosen, metric = report.verdict.variant, report.task.metric
    best: dict[tuple[str, str], Variant] = {}
    for variant in sorted(report.variants, key=lambda v: v.id != chosen):
        key = variant.model, variant.kind
        known = best.get(key)
        if known is None or (known.id != chosen and _quality(variant, metric) > _quality(known, metric)):
            best[key] = variant
    return list(best.values())


def _quality(variant: Variant, metric: str) -> tuple[bool, float]:
    """Figures on test rows come before those on validation rows."""
    return variant.on_test, variant.figures[metric].value


def _running(winner: Variant) -> list[str]:
    """What serving the chosen variant takes; nothing where it was not timed."""
    run = winner.running
    if run is None:
        return []
    lines = [
        f"running   p50 {_wait(run.p50_ms)}, p95 {_wait(run.p95_ms)}, "
        f"peak memory {run.peak_memory_bytes / 2**30:.2f} GiB, file {winner.size_bytes / 1e6:.0f} MB"
    ]
    if winner.money is not None:
        lines.append(f"cheaper   than {winner.money['api']['model']} {_volume(winner.money['break_even'])}")
    return lines


def _wait(figure: Measurement | None) -> str:
    return "not measured" if figure is None else f"{figure.value:.0f} ms"


def _volume(even: JsonObject) -> str:
    """From how many requests a month owning is cheaper."""
    if not even["requests"]:
        volume = "never on one machine"
    else:
        volume = f"from about {_about(even['requests'])} requests a month"
    if even.get("low") is not None:  # reports of version 2 have none
        high = _about(even["high"]) if even["high"] is not None else "never"
        volume += f" ({_about(even['low'])} to {high}, by what is uncertain)"
    return volume
