"""The variant that is judged is chosen on other rows, and not for being noisy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from freehold.core import statistics
from freehold.evaluation.measurement import Measurement
from freehold.trial.choice import TEST, VALIDATION, choose
from freehold.trial.requirements import Requirement, parse_need, terms_of
from freehold.trial.results import TimingResult
from freehold.trial.variant import Selection, Variant
from tests.trial.rows import figure, made_variant, wait


def needs(*texts: str) -> list[Requirement]:
    return [parse_need(text) for text in texts]


def seen(
    name: str,
    selected: tuple[float, float],
    *,
    test: float = 0.5,
    size: int = 100,
    p95: float | None = None,
    licence: str = "mit",
) -> Variant:
    """A variant with (value, lower end) on the validation rows and a value on the test rows."""

    def figures(value: float, low: float) -> dict[str, Measurement]:
        return {"accuracy": figure(value, low, min(1.0, 2 * value - low), 50)}

    running = TimingResult(p95_ms=wait(p95), peak_memory_bytes=1000) if p95 is not None else None
    selection = Selection(figures(*selected))
    return made_variant(
        name,
        figures(test, test - 0.05),
        licence=licence,
        size_bytes=size,
        selection=selection,
        running=running,
    )


def chosen(variants: list[Variant], *texts: str) -> str:
    return choose(needs(*texts), variants, "accuracy", VALIDATION).variant


def test_the_choice_rests_on_the_validation_rows_whatever_the_test_rows_say() -> None:
    assert chosen([seen("a", (0.9, 0.8), test=0.1), seen("b", (0.8, 0.7), test=0.99)], "accuracy>=0.5") == "a"


def test_a_variant_on_few_rows_does_not_win_by_being_noisier() -> None:
    assert chosen([seen("few rows", (0.95, 0.6)), seen("many rows", (0.9, 0.85))], "accuracy>=0.8") == (
        "many rows"
    )


def test_what_misses_a_need_on_licence_or_machine_comes_last() -> None:
    good = seen("good", (0.9, 0.85), p95=100)
    assert chosen([seen("slow", (0.99, 0.98), p95=900), good], "accuracy>=0.8", "p95<=500ms") == "good"
    assert chosen([seen("untimed", (0.99, 0.98)), good], "accuracy>=0.8", "p95<=500ms") == "good"
    forbidden = seen("forbidden", (0.99, 0.98), p95=100, licence="cc-by-nc-4.0")
    assert chosen([forbidden, good], "accuracy>=0.8", "licence=commercial") == "good"


def test_of_equals_the_one_measured_first_is_chosen() -> None:
    usual, smaller = seen("usual size", (0.9, 0.85), size=105), seen("smaller", (0.9, 0.85), size=88)
    assert chosen([usual, smaller], "accuracy>=0.8") == "usual size"
    assert chosen([usual, smaller], "accuracy>=0.8", "size<=100B") == "smaller"


def test_a_rival_is_never_chosen() -> None:
    rival = replace(seen("rival", (1.0, 0.99)), kind="rival", rival=True)
    assert chosen([rival, seen("own", (0.5, 0.4))], "accuracy>=0.8") == "own"


def test_only_a_choice_on_the_test_rows_must_allow_for_the_number_of_variants() -> None:
    variants = [seen("a", (0.9, 0.8)), seen("b", (0.8, 0.7)), seen("c", (0.8, 0.7))]
    assert choose(needs("accuracy>=0.8"), variants, "accuracy", VALIDATION).among == 1
    assert choose(needs("accuracy>=0.8"), variants, "accuracy", TEST).among == 3


def test_the_error_of_owning_is_whole_for_each_need_and_that_of_failing_is_divided() -> None:
    asked = needs("accuracy>=0.8", "macro_f1>=0.7", "memory<=4GiB", "licence=commercial")
    terms = terms_of(asked, 0.02, 0.0025, among=4)
    assert (terms.meets, terms.misses, terms.next_look) == (0.005, 0.01, 0.000625)


def drawn(rng: np.random.Generator, rows: int, truth: float) -> dict[str, Measurement]:
    """A figure of ``rows`` answers, each right with the chance ``truth``."""
    share = statistics.share_interval(int(rng.binomial(rows, truth)), rows)
    return {"accuracy": figure(share.value, share.low, share.high, rows)}


def test_the_figure_of_the_chosen_variant_is_not_the_best_of_many() -> None:
    rng, asked, truth = np.random.default_rng(0), needs("accuracy>=0.9"), 0.9
    judged, best = list[float](), list[float]()
    for _ in range(400):
        variants = [
            made_variant(str(n), drawn(rng, 200, truth), selection=Selection(drawn(rng, 200, truth)))
            for n in range(7)
        ]
        test = {variant.id: variant.figures["accuracy"].value for variant in variants}
        judged.append(test[choose(asked, variants, "accuracy", VALIDATION).variant])
        variants = [replace(variant, selection=None) for variant in variants]
        best.append(test[choose(asked, variants, "accuracy", TEST).variant])
    # a figure of 200 rows has a standard deviation of 0.021, the mean of 400 one of 0.001
    assert np.mean(judged) == pytest.approx(truth, abs=0.004)
    assert np.mean(best) > truth + 0.02
