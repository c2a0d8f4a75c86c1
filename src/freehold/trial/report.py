"""The report: ``report.json`` after a published schema, and one HTML file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core import atomic_files, progress, statistics
from freehold.core.errors import NotFound, Unsupported
from freehold.trial import charts
from freehold.trial.choice import VALIDATION
from freehold.trial.sections import changed_title
from freehold.trust import licence

if TYPE_CHECKING:
    from freehold.trial.run import Trial

_HERE = Path(__file__).parent
MOST_ROWS_SHOWN = 200
#: What this code writes, and what it reads: version 2 added baselines, labels, rows left out and what was skipped;
#: version 3 a choice on other rows than those that judge, looks, and the word "not with these models".
VERSION, VERSIONS = 3, (1, 2, 3)


def write_reports(trial: Trial, report: dict[str, Any]) -> dict[str, Any]:
    """Write ``report.json`` and ``report.html`` into the trial's folder and return the report."""
    atomic_files.write_atomically(
        trial.folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False)
    )
    atomic_files.write_atomically(trial.folder / "report.html", html(report))
    return report


def schema() -> dict[str, Any]:
    """The JSON schema of ``report.json``."""
    return json.loads((_HERE / "report.schema.json").read_text())


def read(path: Path) -> dict[str, Any]:
    """A report from disk. Raises NotFound, Unsupported."""
    if not path.exists():
        raise NotFound(f"there is no report {path}", "see 'freehold trials'")
    report = json.loads(path.read_text())
    if report.get("report_version") not in VERSIONS:
        raise Unsupported(
            f"{path} has version {report.get('report_version')!r}; this Freehold reads versions 1 to 3",
            "update Freehold",
        )
    return report


def html(report: dict[str, Any]) -> str:
    """The page: verdict first; no script, no font, no picture from elsewhere."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        share=lambda v: "no bound" if v is None else f"{v:.3f}", mb=lambda v: f"{v / 1e6:,.0f} MB", gib=lambda v: f"{v / 2**30:.2f} GiB", time=progress.duration,
        num=lambda v: f"{v:,.0f}", sig=lambda v: f"{v:.3g}", short=lambda v: v[:12], capfirst=lambda v: v[:1].upper() + v[1:].rstrip("."),
    )  # fmt: skip
    environment.filters |= {"about": _about, "p": statistics.p_text}
    metric = report["task"]["metric"]
    limit = _quality_limit(report, metric)
    variants = sorted(
        report["variants"], key=lambda v: (v["kind"] == "rival", v["kind"] == "tuned", v["model"])
    )
    winner = next(v for v in variants if v["id"] == report["verdict"]["variant"])
    tuned = [v for v in variants if v["trained"]]
    runs = {v["model"]: v["trained"] for v in tuned}
    template = environment.from_string((_HERE / "report.html").read_text())
    comparison = {c["to"]: c for c in report["comparisons"]}
    return template.render(
        r=report, metric=metric, choice=report.get("choice"), variants=variants, winner=winner, compared=comparison, runs=runs, rows=report["changed_rows"][:MOST_ROWS_SHOWN],
        style=(_HERE / "report.css").read_text(), duty=licence.duties(winner["licence"]),
        quality=charts.quality([*variants, *_as_bars(report)], metric, limit), limit=limit,
        baselines=report.get("baselines", []), labels=report.get("labels"), against={a["baseline"]: a for a in winner.get("against", [])},
        matrix=charts.matrix(report["labels"]["matrix"]) if report.get("labels") and report["labels"]["matrix"] else "",
        changed_title=changed_title(report["changed_rows"], *_titles(report)),
        cost=charts.cost(winner["money"]["break_even"]) if winner.get("money") else "",
        curves={model: charts.curve(run["train_curve"], run["valid_curve"]) for model, run in runs.items()},
    )  # fmt: skip


def _about(value: float) -> str:
    """A figure that is known roughly, to three digits: 818,000, 30, 0.15."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _as_bars(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**baseline, "kind": "baseline"} for baseline in report.get("baselines", [])]


def _titles(report: dict[str, Any]) -> tuple[str, str]:
    """Titles of the variants between which rows changed."""
    titles = {variant["id"]: variant["title"] for variant in report["variants"]}
    before, after = report["changed_between"]
    return titles.get(before, before), titles.get(after, after)


def _quality_limit(report: dict[str, Any], metric: str) -> float | None:
    """The least quality that a need asks for."""
    from freehold.core.errors import UsageError
    from freehold.trial.requirements import parse_need

    for decision in report["verdict"]["decisions"]:
        try:
            need = parse_need(decision["need"])
        except UsageError:
            continue  # a decision that no need stands behind, such as that on the constant answer
        if need.name == metric.lower() and isinstance(need.limit, float):
            return need.limit
    return None


def ten_lines(report: dict[str, Any], folder: Path) -> str:
    """The trial's end in the terminal: verdict, task, the best variants, baselines beside them, warnings, where to go on."""
    metric, verdict = report["task"]["metric"], report["verdict"]
    rows = report["task"]["rows"]
    lines = [
        f"verdict   {verdict['verdict'].upper()}: {verdict['sentence']}",
        f"task      {report['task']['name']}: {rows['train']} training, {rows['valid']} validation, {rows['test']} test rows; {metric}",
    ]
    lines += [_line("", variant, metric) for variant in _best_of_each(report, metric)[:4]]
    lines += [
        _line("beside" if not number else "", baseline, metric)
        for number, baseline in enumerate(report.get("baselines", [])[:3])
    ]
    lines += [f"note      {warning}" for warning in report["task"].get("warnings", [])]
    winner = next(v for v in report["variants"] if v["id"] == verdict["variant"])
    if winner["running"]:
        lines += _running(winner)
    if report.get("served"):
        lines.append(f"served    {report['served']['sentence']}")
    lines.append(f"report    {folder / 'report.html'}")
    lines.append(f"serve it  {verdict['command']}")
    return "\n".join(lines)


def _line(head: str, entry: dict[str, Any], metric: str) -> str:
    figure = entry["figures"][metric]
    rows = " validation rows" if entry.get("measured_on") == VALIDATION else ""
    interval = f"{figure['low']:.3f} to {figure['high']:.3f}, n={figure['n']}{rows}"
    return f"{head:<10}{entry['title']}: {figure['value']:.3f} ({interval})"


def _best_of_each(report: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    """The best variant of each model as it stands, tuned, and of the rival; the chosen one first."""
    chosen = report["verdict"]["variant"]
    best: dict[str, dict[str, Any]] = {}
    for variant in sorted(report["variants"], key=lambda v: v["id"] != chosen):
        key = f"{variant['model']} {variant['kind']}"
        known = best.get(key)
        if known is None or (known["id"] != chosen and _on_test(variant, metric) > _on_test(known, metric)):
            best[key] = variant
    return list(best.values())


def _on_test(variant: dict[str, Any], metric: str) -> tuple[bool, float]:
    """Figures on test rows come before those on validation rows."""
    return variant.get("measured_on") != VALIDATION, variant["figures"][metric]["value"]


def _running(winner: dict[str, Any]) -> list[str]:
    run = winner["running"]
    even = winner["money"]["break_even"]
    volume = (
        f"from about {_about(even['requests'])} requests a month"
        if even["requests"]
        else "never on one machine"
    )
    if even.get("low") is not None:
        most = _about(even["high"]) if even["high"] is not None else "never"
        volume += f" ({_about(even['low'])} to {most}, by what is uncertain)"
    return [
        f"running   p50 {run['p50_ms']['value']:.0f} ms, p95 {run['p95_ms']['value']:.0f} ms, "
        f"peak memory {run['peak_memory_bytes'] / 2**30:.2f} GiB, file {winner['size_bytes'] / 1e6:.0f} MB",
        f"cheaper   than {winner['money']['api']['model']} {volume}",
    ]
