"""What inspect_ai's and lm-eval's own scorers give for the awkward answers of the tests, as a table.

They are no dependencies of Freehold, so they get an environment of their own:
python -m venv graders
graders/bin/pip install inspect-ai==0.3.285 lm-eval==0.4.13
graders/bin/python benchmarks/graders.py
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspect_ai.model import ModelName, ModelOutput
from inspect_ai.scorer import Target, exact, f1, match
from inspect_ai.solver import TaskState
from lm_eval.api.metrics import chrf, exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter
from lm_eval.tasks.truthfulqa.utils import rouge

TABLE = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "evals" / "adversarial.py"))
#: The scorer of inspect_ai for each kind of task, and how it is called there.
INSPECT: dict[str, tuple[str, Any]] = {
    "number": ("match(numeric=True)", match(numeric=True)),
    "value": ("match(numeric=True)", match(numeric=True)),
    "label": ('match(location="exact")', match(location="exact")),
    "labels": ("f1()", f1()),
    "json": ("exact()", exact()),
    "exact": ("exact()", exact()),
    "text": ("f1()", f1()),
    "rouge": ("f1()", f1()),
}
#: gsm8k.yaml of lm-eval, filter flexible-extract.
_FLEXIBLE = RegexFilter(regex_pattern=r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
_IGNORED = [",", r"\$", "(?s).*#### ", r"\.$"]


def inspect_score(kind: str, wanted: str, answer: str) -> float | None:
    """What inspect_ai's scorer gives, 0 to 1; None where it has none for the kind."""
    if kind not in INSPECT:
        return None
    output = ModelOutput.from_content("none", answer)
    state = TaskState(ModelName("none/none"), 1, 1, "q", [], output=output)
    value = asyncio.run(INSPECT[kind][1](state, Target(wanted))).value
    return {"C": 1.0, "I": 0.0}.get(value, value) if isinstance(value, str) else float(value)


def flexible(wanted: str, answer: str) -> float:
    """GSM8K's flexible-extract and exact match, as lm-eval does them."""
    (extracted,) = next(iter(_FLEXIBLE.apply([[answer]], [{}])))
    return equal(wanted, extracted, ignore_case=True, regexes_to_ignore=_IGNORED)


def equal(wanted: str, answer: str, **settings: Any) -> float:
    """lm-eval's exact_match."""
    return float(
        exact_match_hf_evaluate(predictions=[answer], references=[wanted], **settings)["exact_match"]
    )


def forgiving(wanted: str, answer: str) -> float:
    """lm-eval's exact_match without case and punctuation."""
    return equal(wanted, answer, ignore_case=True, ignore_punctuation=True)


#: The metric of lm-eval for each kind of task, and its name there.
LM_EVAL: dict[str, tuple[str, Callable[[str, str], float]]] = {
    "number": ("gsm8k flexible-extract", flexible),
    "value": ("gsm8k flexible-extract", flexible),
    "label": ("exact_match, ignore_case, ignore_punctuation", forgiving),
    "labels": ("exact_match, ignore_case, ignore_punctuation", forgiving),
    "json": ("exact_match", equal),
    "exact": ("exact_match, ignore_case, ignore_punctuation", forgiving),
    "text": ("chrf", lambda wanted, answer: chrf([(wanted, answer)]) / 100),
    "rouge": ("rougeLsum of truthfulqa", lambda wanted, answer: rouge([wanted], [answer])["rougeLsum"] / 100),
}


def cell(value: float | None) -> str:
    """A score as a cell; a dash where there is none."""
    return "–" if value is None else f"{value:.3g}"


def main() -> None:
    """Print the versions, the scorers, and the table."""
    versions = {name: importlib.metadata.version(name) for name in ("inspect_ai", "lm_eval")}
    print(f"inspect_ai {versions['inspect_ai']}, lm-eval {versions['lm_eval']}.\n")
    for kind in dict.fromkeys(row[0] for row in TABLE["ROWS"]):
        ours, theirs = INSPECT.get(kind, ("none", None))[0], LM_EVAL.get(kind, ("none", None))[0]
        print(f"- {kind}: inspect_ai `{ours}`, lm-eval `{theirs}`")
    print("\n| kind | wanted | answer | Freehold | inspect_ai | lm-eval | |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    apart = {"inspect_ai": 0, "lm-eval": 0}
    compared = 0
    for kind, wanted, answer, worth, why in TABLE["ROWS"]:
        target = ", ".join(json.loads(wanted)) if kind == "labels" else wanted
        theirs = inspect_score(kind, target, answer)
        others = LM_EVAL[kind][1](target, answer) if kind in LM_EVAL else None
        if theirs is not None and others is not None:
            compared += 1
            apart["inspect_ai"] += abs(theirs - worth) >= 0.5
            apart["lm-eval"] += abs(others - worth) >= 0.5
        texts = " | ".join((kind, TABLE["shown"](wanted), TABLE["shown"](answer)))
        print(f"| {texts} | {worth:.3g} | {cell(theirs)} | {cell(others)} | {why} |")
    print(f"\nOf {compared} rows that both grade, a score is half or more apart from Freehold's:")
    print(", ".join(f"{name} {count}" for name, count in apart.items()))


if __name__ == "__main__":
    main()
