"""The API that one would rent, measured on the same test rows: asked now, or its answers read from a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import atomic_files
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Ask
from freehold.trial import rival
from freehold.trial.rival import Rival
from freehold.trial.rival_recorded import recorded
from freehold.trial.rival_variant import rented
from freehold.trial.variant import VALIDATION, Variant

if TYPE_CHECKING:
    from freehold.trial.run import Trial

#: Id of the variant that is an API.
RIVAL = "rival"
#: Tokens beyond the longest answer: a label may come back as JSON.
_MORE_TOKENS = 64


def measure_rival(trial: Trial) -> None:
    """Add the API's answers to the test rows as a variant."""
    task, answered = trial.task, _answered(trial)
    answers, spent = list(answered.answers), answered.spent
    figures = measurement.measurement(task.metric, task.test, answers, groups=task.groups)
    figures |= measurement.scope_figures(task.metric, answers, task.out_of_scope, groups=task.groups)
    trial.answers[RIVAL] = answers
    trial.notes += rival.oddities(answered, len(task.test))
    trial.variants.append(
        Variant(
            id=RIVAL,
            title=answered.title,
            model=answered.title,
            kind="rival",
            rival=True,
            digest="",
            figures=figures,
            rows=len(answers),
            of_rows=len(task.test),
            running=None,
            rented=rented(answered),
            conditions=tuple(answered.conditions),
            mean_reasoning_tokens=spent.reasoning_tokens / spent.requests if spent.requests else None,
        )
    )


def _answered(trial: Trial) -> Rival:
    """The API's answers to the test rows."""
    task, endpoint = trial.task, trial.options.rival_endpoint
    if endpoint is None:
        known = [example.id for example in (*task.splits.train, *task.splits.valid)]
        return recorded(Path(trial.options.rival_file), task.metric, task.test, known)
    file = trial.folder / f"rival-{atomic_files.digest_of(asdict(endpoint))[:12]}.jsonl"
    rows = trial.rows_of(VALIDATION) if trial.chosen_on == VALIDATION else ()
    return rival.measured(endpoint, task.metric, _asks(trial), rows, task.test, file, trial.sink)


def _asks(trial: Trial) -> dict[str, Ask]:
    """How the API is asked: as the models are, without worked examples and with as many as any of them was
    shown.
    """
    longest = max(trial.model_of(variant).look.max_tokens for variant in trial.variants) + _MORE_TOKENS
    known = {example.id: example for example in trial.task.splits.train}
    shown = max((variant.shots for variant in trial.variants), key=len)
    return rival.asks(trial.task.labels, [known[name] for name in shown], longest)
