"""Every option of a trial, as a person writes it: on the command line, in ``task.yaml`` or in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.option import TASK_HELP, Settings, option, positive_bytes, positive_seconds
from freehold.data import row_settings as rows

if TYPE_CHECKING:
    from freehold.trial.options import Options

_RANGES = (
    "hardware_per_hour",
    "hardware_price",
    "hardware_years",
    "kwh_price",
    "person_hours_per_month",
    "person_hour_price",
)


@dataclass(frozen=True, kw_only=True)
class TrialSettings(Settings):
    """Options of a trial besides its rows; :meth:`options` makes them figures."""

    valid: str = option("", "Validation rows; the default is to split them off from TRAIN.")
    test: str = option("", "Test rows; the default is to split them off from TRAIN.")
    models: Sequence[str] = option(
        (),
        "Model to try; may be repeated; the default is every model in the store that fits.",
        flag="--model",
    )
    needs: Sequence[str] = option(
        (),
        "Requirement, e.g. accuracy>=0.9, p95<=800ms, memory<=4GiB or licence=commercial; may be repeated.",
        flag="--need",
    )
    task: Path | None = option(None, TASK_HELP, in_file=False)
    budget: str = option("1h", "Time for the whole trial, e.g. 45m or 1h30m.", parse=positive_seconds)
    memory: str = option(
        "",
        "Memory the model may use, e.g. 4GiB; the default is this machine's memory minus 1 GiB.",
        parse=positive_bytes,
    )
    out: Path | None = option(None, "Folder to write report.html and report.json to.")
    columns: str = option("", rows.COLUMNS)
    encoding: str = option("", rows.ENCODING)
    on_bad_row: str = option("", rows.BAD_ROW)
    merge_labels: bool = option(False, rows.MERGE_LABELS, flag="--merge-labels")
    group: str = option("", rows.GROUP)
    metric: str = option(
        "",
        "Metric: label, labels, number, value, json, code, exact, text, path.py:function or a metric of an "
        "installed package (freehold plugins); the default is to detect it.",
    )
    labels: Path | None = option(
        None, "File with all labels, one per line; the default is the labels of the training rows."
    )
    unknown_label: str = option("", "Answer for rows whose label is not in the label set.")
    licence: str = option(
        "any",
        "Use that the licence must allow: any, commercial or unrestricted.",
        choices=("any", "commercial", "unrestricted"),
    )
    template: str = option(
        "own",
        "Chat template: own for the model's, plain for a simple built-in one.",
        choices=("own", "plain"),
    )
    tune: bool = option(True, "Tune the models, or only measure them.", flag="--tune/--no-tune")
    steps: int = option(0, "Exact number of training steps, whatever the budget.")
    learning_rate: float = option(1e-3, "Learning rate for tuning.")
    search: str = option(
        "",
        "Time to search for a good learning rate and rank before each tuning, e.g. 5m; it is part of the "
        "budget.",
        parse=positive_seconds,
    )
    mix: bool = option(
        True,
        "Also quantize a tuned model to a mix of types that your training rows choose, if the budget allows.",
        flag="--mix/--no-mix",
    )
    shots: int = option(8, "Largest number of worked examples in the few-shot variant.")
    allow_leaks: bool = option(
        False, "Continue even if test rows also appear in the training data.", flag="--allow-leaks"
    )
    trust_code: bool = option(False, rows.TRUST_CODE, flag="--trust-code", in_file=False)
    api_model: str = option("openai:gpt-5-mini", "API to compare the cost with, as provider:model.")
    api_batch: bool = option(False, "Use the API's batch price in the comparison.", flag="--api-batch")
    api_cached_share: float = option(
        0.0, "Share of each prompt that the API has cached, from 0 to 1.", low=0.0, high=1.0
    )
    api_reasoning_tokens: float = option(
        0.0, "Number of hidden reasoning tokens for each answer of the API, if none are measured.", low=0.0
    )
    hardware_per_hour: str = option(
        "",
        "Cost of this machine per hour, in dollars; a range such as 0.2-0.4 is allowed; the default is "
        "computed from its price.",
    )
    hardware_price: str = option(
        "", "Price of this machine, in dollars; the default is 700-1000-1500 (low, likely, high)."
    )
    hardware_years: str = option(
        "", "Years over which the price of this machine is spread; the default is 3-4-6."
    )
    kwh_price: str = option("", "Price of electricity, in dollars per kWh; the default is 0.15-0.30-0.45.")
    person_hours_per_month: str = option(
        "", "Hours per month that a person spends on running this machine; the default is 0."
    )
    person_hour_price: str = option(
        "", "Price of an hour of that person's work, in dollars; the default is 40-60-90."
    )
    country: str = option(
        "", "Country whose electricity the carbon estimate uses, e.g. DEU; the default is the world average."
    )
    safety: str = option(
        "",
        "File of prompts for the safety test, or none to skip it; the default is 24 built-in prompts.",
    )
    too_long: str = option(
        "row",
        "What to leave out if a row is too long for a model: row or model.",
        choices=("row", "model"),
    )
    yes: bool = option(
        False,
        "Do not ask any questions, and raise the budget if it is too small for a verdict.",
        flag="--yes",
        in_file=False,
    )
    override: str = option(
        "",
        "Reason for going against the policy, recorded with your name from FREEHOLD_ACTOR.",
        in_file=False,
    )
    rival: Path | None = option(
        None, 'File of answers recorded from the API, one per line: {"id": ..., "answer": ...}.'
    )
    rival_endpoint: str = option(
        "",
        "URL of an OpenAI-compatible server to compare with; test and validation rows are sent to it.",
        in_file=False,
    )
    rival_model: str = option("", "Name of the model to use on that server.")
    rival_key_env: str = option(
        "", "Name of the environment variable that holds the key for that server.", in_file=False
    )

    def options(self) -> Options:
        """The trial's options: seconds, bytes, dollars. Raises UsageError."""
        from freehold.core import settings
        from freehold.core.errors import UsageError
        from freehold.costs.energy import grid
        from freehold.costs.money import CostOptions
        from freehold.trial import costs
        from freehold.trial.options import NO_SAFETY, Options
        from freehold.trial.rival import Endpoint

        settings.plain_address(self.rival_endpoint)
        if self.rival_endpoint and not self.rival_model:
            raise UsageError("--rival-endpoint needs --rival-model", "name the model to ask there")
        endpoint = (
            Endpoint(self.rival_endpoint, self.rival_model, self.rival_key_env)
            if self.rival_endpoint
            else None
        )
        api = CostOptions(self.api_model, self.api_batch, self.api_cached_share, self.api_reasoning_tokens)
        return Options(
            budget_s=self.parsed("budget"),
            memory_bytes=self.parsed("memory"),
            needs=tuple(self.needs),
            licence_policy=self.licence,
            plain_template=self.template == "plain",
            tune=self.tune,
            shots=self.shots,
            recipe={"learning_rate": self.learning_rate, **({"steps": self.steps} if self.steps else {})},
            country=grid(self.country).country,
            costs=costs.from_texts({name: getattr(self, name) for name in _RANGES}, api),
            too_long=self.too_long,
            safety_prompts=(
                self.safety if self.safety in ("", NO_SAFETY) else str(Path(self.safety).absolute())
            ),
            rival_file=str(self.rival.absolute()) if self.rival else "",
            rival_endpoint=endpoint,
            search_s=self.parsed("search"),
            mix=self.mix,
        )
