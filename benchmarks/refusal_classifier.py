"""Fit the classifier of refusals to XSTest's labelled responses and to our own wordings, and say what
it gets right on models left out.

    python benchmarks/refusal_classifier.py --data ../shared/data/xstest/labelled [--write]

Each file of the folder holds one model's responses (``prompt``, ``prompt_is``, ``response``,
``label``). The classifier is fitted without each model in turn and tested on it, on whole responses and
on their first 60 words. With ``--write`` it is then fitted to all and
``src/freehold/trust/refusal_weights.json`` is written anew. No response is copied into that file.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from freehold.core.statistics import wilson
from freehold.trust.evaluator import labelled
from freehold.trust.refusals import BODY_WORDS, Tally, features, patterns

WEIGHTS = Path(__file__).parents[1] / "src/freehold/trust/refusal_weights.json"
WORDINGS = Path(__file__).parent / "refusal_wordings.yaml"
_INVERSE_PENALTY, _FEWEST_ROWS, _LEAST_WEIGHT, _SUBJECTS = 0.3, 3, 0.05, 4
_WORDING_PATTERNS = ("first=", "next=", "head=", "presupposing")


@dataclass(frozen=True)
class Row:
    """A prompt, an answer to it, whether that refuses, and how much the row counts."""

    prompt: str
    answer: str
    refused: bool
    unsafe: bool = True
    weight: float = 1.0


@dataclass(frozen=True)
class Fit:
    """A fitted classifier: ``weights`` of features, those near zero left out."""

    bias: float
    weights: dict[str, float]

    def refuses(self, prompt: str, answer: str) -> bool:
        """Whether it judges an answer a refusal."""
        values = features(prompt, answer)
        return self.bias + sum(self.weights.get(name, 0.0) * value for name, value in values.items()) > 0


def cut(text: str) -> str:
    """The first words of a text, about 80 tokens."""
    words = list(re.finditer(r"\S+", text))
    return text if len(words) <= BODY_WORDS else text[: words[BODY_WORDS - 1].end()]


def responses(folder: Path) -> dict[str, list[Row]]:
    """Model -> its labelled responses. Partial refusals are refusals."""
    result: dict[str, list[Row]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        result[path.stem] = [
            Row(
                row["prompt"],
                row["response"],
                row["label"] != "full_compliance",
                row["prompt_is"] == "unsafe",
            )
            for row in rows
        ]
    return result


def own_rows() -> list[Row]:
    """Our own labelled answers: the wordings with subjects filled in, the pairs, and those shipped for
    judges.
    """
    value = yaml.safe_load(WORDINGS.read_text(encoding="utf-8"))
    draw = random.Random(0)
    rows = [Row(prompt, text, refused) for prompt, text, refused in (*value["pairs"], *labelled())]
    for kind in ("refusals", "partials", "compliances"):
        for wording in value[kind]:
            for do, doing in draw.sample(value["topics"], _SUBJECTS if "{" in wording else 1):
                text = wording.replace("{do}", do).replace("{doing}", doing)
                question = draw.choice(value["questions"]).replace("{do}", do)
                rows.append(Row(question, text[0].upper() + text[1:], kind != "compliances"))
    return rows


def fit(rows: Sequence[Row]) -> Fit:
    """A logistic regression; n-grams of fewer than three rows do not count."""
    values = [features(row.prompt, row.answer) for row in rows]
    seen = Counter(name for row in values for name in row)
    kept = [
        {k: v for k, v in row.items() if seen[k] >= _FEWEST_ROWS or k.startswith(_WORDING_PATTERNS)}
        for row in values
    ]
    vectorizer = DictVectorizer()
    matrix = vectorizer.fit_transform(kept)
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=3000)
    model.fit(matrix, [row.refused for row in rows], sample_weight=np.array([row.weight for row in rows]))
    names = vectorizer.get_feature_names_out()
    weights = {
        str(name): round(float(weight), 4)
        for name, weight in zip(names, np.ravel(model.coef_), strict=True)
        if abs(weight) >= _LEAST_WEIGHT
    }
    return Fit(round(float(np.ravel(model.intercept_)[0]), 4), weights)


def both_lengths(rows: Sequence[Row]) -> list[Row]:
    """Each response whole and cut, at half its weight."""
    return [
        Row(row.prompt, text, row.refused, row.unsafe, 0.5)
        for row in rows
        for text in (row.answer, cut(row.answer))
    ]


def tallies(model: str, rows: Sequence[Row], fitted: Fit) -> list[Tally]:
    """How a classifier judges a model's responses, by kind of prompt and length."""
    result: list[Tally] = []
    for length in ("full", "cut"):
        for unsafe in (True, False):
            part = [row for row in rows if row.unsafe is unsafe]
            judged = [
                fitted.refuses(row.prompt, row.answer if length == "full" else cut(row.answer))
                for row in part
            ]
            hits = sum(given for given, row in zip(judged, part, strict=True) if row.refused)
            passes = sum(not given for given, row in zip(judged, part, strict=True) if not row.refused)
            refusals = sum(row.refused for row in part)
            kind = "unsafe" if unsafe else "safe"
            result.append(Tally(model, kind, length, hits, refusals, passes, len(part) - refusals))
    return result


def left_out(data: dict[str, list[Row]]) -> list[Tally]:
    """Cross-validation over models."""
    own = own_rows()
    result: list[Tally] = []
    for model, rows in data.items():
        others = [row for name, known in data.items() if name != model for row in both_lengths(known)]
        result += tallies(model, rows, fit(others + own))
    return result


def table(rows: Sequence[Tally]) -> str:
    """The cross-validation as Markdown, shares with Wilson intervals."""

    def share(right: int, n: int) -> str:
        low, high = wilson(right, n)
        return f"{right / n:.1%} ({low:.1%} to {high:.1%}, n={n})" if n else "none"

    lines = [
        "| model left out | responses | agreement | refusals recognized | other answers recognized |",
        "| --- | --- | --- | --- | --- |",
    ]
    for length in ("full", "cut"):
        for model in [*dict.fromkeys(row.model for row in rows), "all"]:
            part = [row for row in rows if row.length == length and model in (row.model, "all")]
            hits, refusals = sum(row.hits for row in part), sum(row.refusals for row in part)
            passes, others = sum(row.passes for row in part), sum(row.others for row in part)
            agree = share(hits + passes, refusals + others)
            lines.append(
                f"| {model} | {length} | {agree} | {share(hits, refusals)} | {share(passes, others)} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the table; with ``--write``, write the weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/xstest/labelled"))
    parser.add_argument("--write", action="store_true", help="write the weights of a fit to all responses")
    options = parser.parse_args()
    data = responses(options.data)
    crossed = left_out(data)
    print(table(crossed))
    if not options.write:
        return
    final = fit([row for rows in data.values() for row in both_lengths(rows)] + own_rows())
    value = {
        "format": 1,
        "from": "XSTest's labelled responses (Röttger et al. 2024), Freehold's own wordings; no rows",
        "patterns": patterns().digest,
        "cross_validation": [asdict(row) for row in crossed],
        "bias": final.bias,
        "weights": final.weights,
    }
    WEIGHTS.write_text(json.dumps(value, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(final.weights)} weights, {WEIGHTS.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
