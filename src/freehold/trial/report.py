"""The report: ``report.json`` after a published schema, and one HTML file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold import durable, progress
from freehold.errors import NotFound, Unsupported
from freehold.trial import charts
from freehold.trust import licence

if TYPE_CHECKING:
    from freehold.trial.trial import Trial

_HERE = Path(__file__).parent
MOST_ROWS_SHOWN = 200


def write_reports(trial: Trial, report: dict[str, Any]) -> dict[str, Any]:
    """Write ``report.json`` and ``report.html`` into the trial's folder and return the report."""
    durable.write_atomically(trial.folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False))
    durable.write_atomically(trial.folder / "report.html", html(report))
    return report


def schema() -> dict[str, Any]:
    """The JSON schema of ``report.json``."""
    return json.loads((_HERE / "report.schema.json").read_text())


def read(path: Path) -> dict[str, Any]:
    """A report from disk. Raises NotFound, Unsupported."""
    if not path.exists():
        raise NotFound(f"there is no report {path}", "see 'freehold trials'")
    report = json.loads(path.read_text())
    if report.get("report_version") != 1:
        raise Unsupported(f"{path} has version {report.get('report_version')!r}; version 1 is read", "update Freehold")
    return report


def html(report: dict[str, Any]) -> str:
    """The page: verdict first; no script, no font, no picture from elsewhere."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        share=lambda v: f"{v:.3f}", mb=lambda v: f"{v / 1e6:,.0f} MB", gib=lambda v: f"{v / 2**30:.2f} GiB", time=progress.duration,
        num=lambda v: f"{v:,.0f}", sig=lambda v: f"{v:.3g}", short=lambda v: v[:12],
    )  # fmt: skip
    metric = report["task"]["metric"]
    limits = [d["need"] for d in report["verdict"]["decisions"] if d["need"].startswith(metric)]
    limit = _limit(limits[0]) if limits else None
    variants = sorted(report["variants"], key=lambda v: (v["kind"] == "rival", v["kind"] == "tuned", v["model"]))
    winner = next(v for v in variants if v["id"] == report["verdict"]["variant"])
    tuned = [v for v in variants if v["trained"]]
    runs = {v["model"]: v["trained"] for v in tuned}
    template = environment.from_string((_HERE / "report.html").read_text())
    comparison = {c["to"]: c for c in report["comparisons"]}
    return template.render(
        r=report, metric=metric, variants=variants, winner=winner, compared=comparison, runs=runs, rows=report["changed_rows"][:MOST_ROWS_SHOWN],
        style=(_HERE / "report.css").read_text(), duty=licence.duties(winner["licence"]),
        quality=charts.quality(variants, metric, limit), limit=limit,
        cost=charts.cost(winner["money"]["break_even"]) if winner.get("money") else "",
        curves={model: charts.curve(run["train_curve"], run["valid_curve"]) for model, run in runs.items()},
    )  # fmt: skip


def _limit(need: str) -> float | None:
    from freehold.trial.needs import parse_need

    value = parse_need(need).limit
    return value if isinstance(value, float) else None


def ten_lines(report: dict[str, Any], folder: Path) -> str:
    """The trial's end in the terminal."""
    metric, verdict = report["task"]["metric"], report["verdict"]
    rows = report["task"]["rows"]
    lines = [
        f"verdict   {verdict['verdict'].upper()}: {verdict['sentence']}",
        f"task      {report['task']['name']}: {rows['train']} training, {rows['valid']} validation, {rows['test']} test rows; {metric}",
    ]
    best: dict[str, dict[str, Any]] = {}
    for variant in report["variants"]:
        key = f"{variant['model']} {variant['kind']}"
        if key not in best or variant["figures"][metric]["value"] > best[key]["figures"][metric]["value"]:
            best[key] = variant
    for variant in list(best.values())[:4]:
        figure = variant["figures"][metric]
        lines.append(f"          {variant['title']}: {figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f}, n={figure['n']})")
    winner = next(v for v in report["variants"] if v["id"] == verdict["variant"])
    if winner["running"]:
        run = winner["running"]
        lines.append(
            f"running   p50 {run['p50_ms']['value']:.0f} ms, p95 {run['p95_ms']['value']:.0f} ms, "
            f"peak memory {run['peak_memory_bytes'] / 2**30:.2f} GiB, file {winner['size_bytes'] / 1e6:.0f} MB"
        )
        even = winner["money"]["break_even"]
        volume = f"from {even['requests']:,.0f} requests a month" if even["requests"] else "never on one machine"
        lines.append(f"cheaper   than {winner['money']['api']['model']} {volume}")
    lines.append(f"report    {folder / 'report.html'}")
    lines.append(f"serve it  {verdict['command']}")
    return "\n".join(lines)
