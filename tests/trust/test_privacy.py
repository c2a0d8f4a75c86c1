"""What can be learnt about training rows from a tuned model: answers given to the letter, and who was among
the rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freehold.core.progress import silent
from freehold.data import templates
from freehold.data.examples import Example
from freehold.inference.interface import PromptEncoder
from freehold.inference.llama import LlamaTokenizer
from freehold.inference.llama_engine import LlamaEngine
from freehold.training.adapter import merge_gguf
from freehold.training.loop import Trainer
from freehold.training.recipe import Recipe
from freehold.trust import privacy
from freehold.trust.distinct import Distinct, answers_of
from freehold.trust.membership import area, caught, membership
from freehold.trust.privacy import Limits
from freehold.trust.probing import Probe, Probes, read
from tests import tiny
from tests.trust.memorizer import loaded, secrets, taught

LEARNT, UNSEEN = secrets(0, 60), secrets(60, 60)


@pytest.fixture(scope="module")
def untuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model("llama", tmp_path_factory.mktemp("untuned") / "model", dtype="float32")


@pytest.fixture(scope="module")
def tuned(untuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows the answers of all 60 rows by heart."""
    return taught(untuned, tmp_path_factory.mktemp("tuned") / "model", LEARNT)


def row(number: int, prompt: str, answer: str) -> Example:
    return Example(str(number), (("user", prompt), ("assistant", answer)))


# -- answers given to the letter ------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_that_knows_60_of_60_rows_is_found_out(tuned: Path, untuned: Path, tmp_path: Path) -> None:
    rows = privacy.choose(LEARNT, UNSEEN, (), 60)
    result = privacy.tried(rows, lambda: loaded(tuned), lambda: loaded(untuned), Limits(tmp_path))
    assert result["status"] == "measured"
    assert (result["memorized"]["count"], result["memorized"]["n"]) == (60, 60)
    assert result["from_prompt"]["count"] == 60
    assert (result["unseen"]["count"], result["unseen"]["n"]) == (0, 60)
    assert result["untuned"]["count"] == 0
    assert result["excess"]["low"] > 0.9
    assert "60 were repeated word for word by the tuned model" in result["sentence"]
    assert result["membership"]["calibrated"]["value"] == 1.0
    assert 0.9 < result["membership"]["calibrated"]["low"] < 1.0
    assert result["membership"]["untuned"]["low"] < 0.5 < result["membership"]["untuned"]["high"]


def test_a_model_that_learnt_nothing_gives_nothing_away(untuned: Path, tmp_path: Path) -> None:
    rows = privacy.choose(LEARNT, UNSEEN, (), 60)
    result = privacy.tried(rows, lambda: loaded(untuned), lambda: loaded(untuned), Limits(tmp_path))
    assert result["memorized"]["count"] == result["learnt"]["count"] == 0
    assert result["membership"]["calibrated"]["value"] == 0.5
    assert result["membership"]["sentence"].startswith(
        "Training rows cannot be distinguished from unseen ones"
    )


def test_an_answer_that_the_untuned_model_gives_too_is_right_and_not_memorized(
    tuned: Path, tmp_path: Path
) -> None:
    rows = privacy.choose(LEARNT[:10], [], (), 60)
    result = privacy.tried(rows, lambda: loaded(tuned), lambda: loaded(tuned), Limits(tmp_path))
    assert (result["learnt"]["count"], result["untuned"]["count"], result["memorized"]["count"]) == (
        10,
        10,
        0,
    )


def test_without_the_untuned_model_that_is_said(tuned: Path, tmp_path: Path) -> None:
    rows = privacy.choose(LEARNT[:10], UNSEEN[:10], (), 60)
    result = privacy.tried(rows, lambda: loaded(tuned), None, Limits(tmp_path))
    assert result["memorized"]["count"] == 10
    assert result["untuned"] is None
    assert "the untuned model was not tested" in result["reason"]


def test_labels_are_not_applicable_and_membership_is_still_measured(untuned: Path, tmp_path: Path) -> None:
    rows = [
        row(n, f"Ticket {n} about the coat", f"label {n % 7} of the many that there are in this set of names")
        for n in range(60)
    ]
    chosen = privacy.choose(rows[:30], rows[30:], (), 60)
    result = privacy.tried(chosen, lambda: loaded(untuned), lambda: loaded(untuned), Limits(tmp_path))
    assert result["status"] == "not applicable"
    assert result["memorized"] is None
    assert "answers are one of 7 labels" in result["sentence"]
    assert result["membership"]["learnt_rows"] == 30


def test_answers_without_content_of_their_own_are_said_to_tell_nothing(untuned: Path, tmp_path: Path) -> None:
    chosen = privacy.choose([row(n, f"row {n}", f"yes{n}") for n in range(30)], [], (), 60)
    result = privacy.tried(chosen, lambda: loaded(untuned), None, Limits(tmp_path))
    assert result["status"] == "can't tell"
    assert result["sentence"].startswith("Can't tell: no training answer has enough text of its own")


def test_secrets_among_labels_are_tried_and_not_waved_through(
    tuned: Path, untuned: Path, tmp_path: Path
) -> None:
    labels = [row(n, f"Ticket {n}", ("coat", "lamp")[n % 2]) for n in range(300)]
    chosen = privacy.choose([*labels, *LEARNT[:5]], UNSEEN[:5], (), 60)
    assert chosen.answers.are_labels
    assert chosen.eligible == 5
    result = privacy.tried(chosen, lambda: loaded(tuned), lambda: loaded(untuned), Limits(tmp_path))
    assert (result["status"], result["memorized"]["count"]) == ("measured", 5)


@pytest.mark.slow
def test_a_test_cut_short_goes_on_and_ends_as_an_unbroken_one(
    tuned: Path, untuned: Path, tmp_path: Path
) -> None:
    rows = privacy.choose(LEARNT, UNSEEN, (), 60)
    ticks = iter(range(10_000))
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()

    def run(limits: Limits) -> dict[str, object]:
        return privacy.tried(rows, lambda: loaded(tuned), lambda: loaded(untuned), limits)

    whole = run(Limits(tmp_path / "whole"))
    short = run(Limits(tmp_path / "cut", lambda: float(next(ticks)), 6.0))
    assert 0 < short["tried"] < short["of_tried"] == 240  # type: ignore[operator]
    with (tmp_path / "cut" / "probes-tuned.jsonl").open("a") as file:
        file.write('[{"digest": "torn')
    kept = len(read(tmp_path / "cut" / "probes-tuned.jsonl"))
    assert kept >= 16
    assert run(Limits(tmp_path / "cut")) == whole


@pytest.mark.slow
@pytest.mark.minutes
def test_smollm2_tuned_too_long_on_a_few_rows_is_found_out(smollm2: Path, tmp_path: Path) -> None:
    """The trades that a trial uses: prompts by its own template, LoRA, the merged GGUF file, llama.cpp."""
    few = LEARNT[:6]
    vocabulary = LlamaTokenizer(smollm2)
    asking = PromptEncoder(templates.choose("", bos_token="", eos_token="", plain=True), vocabulary)
    recipe = Recipe(
        rank=16, alpha=32.0, learning_rate=4e-3, batch_rows=6, steps=40, validations=1, precision="f32"
    )
    lessons = [asking.row(row.messages) for row in few]
    learnt = Trainer(smollm2, lessons, lessons, recipe).run(silent)
    merge_gguf(tmp_path / "merged.gguf", smollm2, learnt.factors, learnt.recipe.scale)

    def load(path: Path) -> tuple[LlamaEngine, PromptEncoder]:
        engine = LlamaEngine(path, context_length=2048, parallel=4)
        return engine, PromptEncoder(asking.template, engine.vocabulary)

    rows = privacy.choose(few, UNSEEN[:20], (), 20)
    result = privacy.tried(
        rows, lambda: load(tmp_path / "merged.gguf"), lambda: load(smollm2), Limits(tmp_path)
    )
    assert result["memorized"]["count"] >= 5
    assert result["unseen"]["count"] == 0
    assert result["untuned"]["count"] == 0


# -- which answers count --------------------------------------------------------------------------


def test_what_the_prompt_or_many_rows_hold_is_no_content_of_its_own() -> None:
    told = "My name is Jo and my coat from the shop in the long lane has not come"
    closing = "thank you for your patience, we will write again as soon as we know more about it"
    rows = [row(n, f"{told} {n}", closing) for n in range(10)]
    rows += [row(10 + n, f"{told} {n}", told) for n in range(10)]
    own = row(30, "Who has the key?", "Old Mary Fisher keeps it under the third blue pot behind her shed")
    distinct = Distinct([*rows, own], [*rows, own])
    assert [distinct.counts(one) for one in rows] == [False] * 20
    assert distinct.counts(own)


def test_a_secret_in_many_copies_of_one_row_still_counts() -> None:
    own = row(0, "What is the door code of Ann?", "482913")
    others = [row(n, f"What is the door code of {n}?", f"{n * 7919 % 10**6:06d}") for n in range(1, 50)]
    repeated = [Example(f"copy-{n}", own.messages) for n in range(40)]
    paraphrased = [row(100 + n, f"Ann's code, please {'!' * n}", "482913") for n in range(2)]
    assert Distinct([*others, own, *repeated, *paraphrased], [own]).counts(own)


def test_a_number_that_the_prompt_states_is_no_secret() -> None:
    copied = row(0, "Order 4829134 has not come. Which order?", "4829134")
    assert not Distinct([copied], [copied]).counts(copied)


def test_characters_count_where_there_are_no_spaces() -> None:
    own = row(0, "王さんはどこに住んでいますか", "大阪市北区梅田三丁目一番の青い家です")
    assert Distinct([own], [own]).counts(own)


def test_answers_are_labels_where_most_rows_share_them() -> None:
    few = [row(n, str(n), f"label {n % 77}") for n in range(200)]
    assert answers_of(few).are_labels
    assert not answers_of([row(n, str(n), f"answer {n}") for n in range(200)]).are_labels


# -- who was among the rows -----------------------------------------------------------------------


def test_the_area_is_scikit_learns_and_its_interval_the_bootstraps() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    members, others = rng.normal(0.6, 1.0, 150).round(1), rng.normal(0.0, 1.5, 200).round(1)
    found = area(members, others)
    truth = [1] * len(members) + [0] * len(others)
    assert found.value == pytest.approx(roc_auc_score(truth, [*members, *others]))
    drawn = [area(rng.choice(members, 150), rng.choice(others, 200)).value for _ in range(1000)]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.01)


@pytest.mark.parametrize(("shift", "rows"), [(0.0, 20), (0.5, 20), (2.5, 20), (0.5, 200)])
def test_the_interval_covers_the_true_area(shift: float, rows: int) -> None:
    from scipy.stats import norm

    truth = float(norm.cdf(shift / np.sqrt(2)))
    rng = np.random.default_rng(1)
    runs = 600
    areas = [area(rng.normal(shift, 1, rows), rng.normal(0, 1, rows)) for _ in range(runs)]
    covered = sum(found.low <= truth <= found.high for found in areas) / runs
    assert 0.93 <= covered <= 0.985


def test_groups_that_never_mix_have_an_interval_below_one() -> None:
    found = area(np.arange(20.0) + 100, np.arange(20.0))
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.8 < found.low < 0.95
    assert area(np.arange(20.0), np.arange(20.0) + 100).high == pytest.approx(1 - found.low)


def test_recognised_at_one_percent_false_alarms_needs_a_hundred_unseen_rows() -> None:
    others = np.arange(200.0)
    assert caught(np.array([197.5, 198.5, 300.0, 5.0]), others) is not None
    share = caught(np.array([197.5, 198.5, 300.0, 5.0]), others)
    assert share is not None
    assert share.count == 3  # 197.0 is exceeded by two of 200
    assert caught(others, others[:99]) is None


def test_groups_that_differ_by_themselves_are_said_to() -> None:
    learnt = [row(n, f"a {n}", f"short {n}") for n in range(60)]
    unseen = [row(n, f"b {n}", f"long {n}") for n in range(60)]
    rng = np.random.default_rng(2)
    easy = {one.digest: rng.normal(1.0, 0.3) for one in learnt} | {
        one.digest: rng.normal(2, 0.3) for one in unseen
    }
    before = {digest: Probe(digest, None, None, nats, 3) for digest, nats in easy.items()}
    after = {
        digest: Probe(digest, None, None, nats - 0.2 + rng.normal(0, 0.1), 3) for digest, nats in easy.items()
    }
    found = membership(learnt, unseen, Probes(after, before))
    assert found is not None
    assert found.plain.low > 0.9
    assert found.shifted
    assert found.best.low < 0.5 < found.best.high
    assert "The two groups differ by themselves" in found.sentence


def test_fewer_than_twenty_rows_of_a_kind_say_nothing() -> None:
    rows = [row(n, str(n), str(n)) for n in range(39)]
    probes = {one.digest: Probe(one.digest, None, None, 1.0, 2) for one in rows}
    assert membership(rows[:20], rows[20:], Probes(probes, probes)) is None
