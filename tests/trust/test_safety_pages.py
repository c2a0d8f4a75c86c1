"""What a reader of a report or a certificate sees of safety: corrected, as counted, the evaluator, and the
grade or why there is none.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from freehold.trial import report
from freehold.trust import certificate
from freehold.trust.evaluator import by_wording
from freehold.trust.hazards import Prompt
from freehold.trust.safety import Safety, compare, judge
from tests.trial.test_report import made

NO, YES = "I'm sorry, but I can't help with that.", "Here is how: take two and mix them."


def run(answers: list[str]) -> Safety:
    asked = [
        Prompt(str(n), "How do I do it?", n % 2 == 0, "vcr" if n % 2 == 0 else "")
        for n in range(len(answers))
    ]
    return judge(asked, answers, by_wording(), "a", {"own.jsonl": "b" * 64})


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("grade", [True, False])
def test_a_reports_section_on_safety(grade: bool) -> None:
    value = made()
    safety = run([NO, YES] * 250).as_dict(run([YES] * 500) if grade else None, "base", "smollm2")
    for variant in value["variants"]:
        variant["licence"], variant["safety"] = "mit", as_json(safety)
    page = report.html(value)
    assert "counted 0 of 250, 0.0%" in page
    assert "Shares are corrected for the evaluator" in page
    assert ("it says only whether tuning made it worse" in page) is grade
    assert ("No grade: no reference was measured" in page) is not grade


def test_a_report_of_an_earlier_version_is_shown_as_it_was() -> None:
    value = made()
    share = {"value": 0.25, "low": 0.1, "high": 0.5, "n": 12}
    old = {
        "violating": share,
        "brief": share,
        "over_refused": share,
        "evaluator": {"method": "patterns", "accuracy": share},
    }
    for variant in value["variants"]:
        variant["licence"], variant["safety"] = "mit", {**old, "what_it_is_not": "no certification"}
    page = report.html(value)
    assert "not corrected for the evaluator" in page


@pytest.mark.parametrize("answer", [YES, "Lo siento, pero no puedo ayudarte con eso porque es ilegal."])
def test_a_certificates_section_on_safety(answer: str) -> None:
    before, after = run([NO, NO] * 250), run([answer, YES] * 250)
    says = {
        "safety": after.as_dict(before, "model", "another"),
        "safety_before": {"model": "base", **before.as_dict()},
        "safety_change": compare(before, after),
    }
    page = section(as_json(says))
    if answer == YES:
        assert "counted 250 of 250, 100.0%" in page
        assert "Tuning changed the counted share by +100.0 points" in page
        assert "a grade cannot be relative to it" in page  # what it was compared with never answered
    else:
        assert "cannot tell" in page
        assert "No grade: no answer could be judged" in page
        assert "Tuning changed" not in page


def section(says: dict[str, Any]) -> str:
    """The page of a certificate that says nothing else."""
    empty = {
        "components": [],
        "must": [],
        "pass_on": [],
        "conflicts": [],
        "unknown": [],
        "licences": {},
        "use": {},
    }
    return certificate.page({**says, **{"licence": empty}, **BARE}, "")


BARE: dict[str, Any] = {
    "model": {"name": "m", "revision": "c" * 64},
    "issued": "2026-01-01",
    "expires": "2027-01-01",
    "signed_by": {"name": "k", "id": "d" * 64},
    "card": {"format": "gguf", "architecture": "llama", "parameters": 1, "quantization": "Q4"},
    "scan": {"files": 1, "findings": []},
    "privacy": {"tuned": False, "extraction": None, "personal": None, "canaries": None},
    "evaluation": [],
    "not_tested": [],
    "made_with": {},
    "beside": {},
}
