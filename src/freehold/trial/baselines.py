"""What a person would try first, on the same rows: one answer for all, the nearest training row, a linear
classifier.

Texts become TF-IDF weights of words, word pairs and pieces of words (scikit-learn). It takes seconds, on one
core.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from freehold.core import statistics
from freehold.core.progress import Sink
from freehold.core.progress import task as progress_of
from freehold.data.examples import Example
from freehold.evaluation import measurement
from freehold.evaluation.measurement import Answer, Measurements, groups_of
from freehold.evaluation.metrics import value_of
from freehold.evaluation.task_kinds import wanted_label, wanted_labels
from freehold.trial.task import Task

if TYPE_CHECKING:
    from freehold.trial.variant import Against

#: Of more training rows so many are learnt from, chosen by their hash; the baseline says so.
MOST_ROWS = 20_000
#: Characters of a text that count.
MOST_CHARACTERS = 3000
#: Stored weights times labels up to which a linear classifier is trained: about ten seconds. Above: naive
#: Bayes.
MOST_LINEAR_WORK = 4e8
#: Products up to which rows are compared: about four seconds. Above it the commonest pieces are left out.
MOST_PRODUCTS = 2e9
#: Words and pieces that are kept at most.
MOST_FEATURES = 60_000


@dataclass(frozen=True)
class Baseline:
    """One baseline's figures. ``constant``: it answers every row alike. ``scores``: row id -> 0 to 1."""

    id: str
    title: str
    method: str
    constant: bool
    figures: Measurements
    rows: int
    seconds: float
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Texts:
    """TF-IDF weights of training rows and test rows, one row each, and how many seconds they took."""

    train: Any
    test: Any
    seconds: float


def measure_all(task: Task, sink: Sink) -> list[Baseline]:
    """All baselines that suit the kind of task, the constant answer first; none for code."""
    if task.metric.kind == "code":
        return []
    with progress_of(
        sink, "measuring simple baselines", len(_KINDS.get(task.metric.kind, ())) + 2, "baselines"
    ) as progress:
        measured: list[Baseline] = []
        for baseline in _each(task):
            measured.append(baseline)
            progress.more(1)
        return measured


def _each(task: Task) -> Iterator[Baseline]:
    train, metric = _rows(task.splits.train), task.metric
    yield _constant(task)
    if len(train) < 2:
        return
    of = (
        f" ({len(train):,} of {len(task.splits.train):,} training rows)"
        if len(train) < len(task.splits.train)
        else ""
    )
    texts = _texts(train, task.test)
    title = (
        "nearest training row"
        if metric.kind in ("label", "labels", "value")
        else "answer of the nearest training row"
    )
    yield _timed(
        task, "nearest", title, f"cosine of TF-IDF weights{of}", lambda: _nearest(train, texts), texts
    )
    for learner in _KINDS.get(metric.kind, ()):
        baseline = learner(task, train, texts, of)
        if baseline is not None:
            yield baseline


def _rows(train: Sequence[Example]) -> list[Example]:
    if len(train) <= MOST_ROWS:
        return list(train)
    return sorted(train, key=lambda example: example.digest)[:MOST_ROWS]


def _timed(
    task: Task,
    name: str,
    title: str,
    method: str,
    answer: Callable[[], Sequence[str]],
    texts: Texts | None = None,
) -> Baseline:
    started = time.monotonic()
    answers = answer()
    seconds = time.monotonic() - started + (texts.seconds if texts else 0.0)
    return _graded(task, name, title, method, answers, seconds)


def _graded(task: Task, name: str, title: str, method: str, given: Sequence[str], seconds: float) -> Baseline:
    metric = task.metric
    answers = [
        Answer(e.id, text, metric.grade(e, text), "stop", 0, 0)
        for e, text in zip(task.test, given, strict=True)
    ]
    figures = measurement.measurement(metric, task.test, answers) | measurement.scope_figures(
        metric, answers, task.out_of_scope
    )
    figures.pop("cut_off")
    scores = {answer.id: answer.score for answer in answers}
    return Baseline(name, title, method, name in ("majority", "mean"), figures, len(answers), seconds, scores)


# -- one answer for all ---------------------------------------------------------------------------


def _constant(task: Task) -> Baseline:
    """The most frequent training answer, or the mean of numbers, for every row."""
    known = [*task.splits.train, *task.splits.valid]
    rows, of = (known, "training and validation") if known else (list(task.test), "test")
    kind = task.metric.kind
    if kind == "value":
        values = [value for example in rows if (value := value_of(wanted_label(example))) is not None]
        mean = f"{sum(values) / len(values):.6g}"
        return _timed(
            task,
            "mean",
            f"the mean ({mean}) for every row",
            f"mean of the {of} answers",
            lambda: [mean] * len(task.test),
        )
    answer, count = Counter(wanted_label(example) for example in rows).most_common(1)[0]
    what = {"label": "majority class", "labels": "most frequent set of labels"}.get(
        kind, "most frequent answer"
    )
    method = f"the {what} of the {of} rows ({count:,} of {len(rows):,}), for every row"
    return _timed(
        task,
        "majority",
        f"{what} ({_short(answer)}) for every row",
        method,
        lambda: [answer] * len(task.test),
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:37] + "..."


# -- texts ----------------------------------------------------------------------------------------


def text_of(example: Example) -> str:
    """What is asked, instructions of the system aside."""
    return "\n".join(content for role, content in example.prompt if role != "system")[:MOST_CHARACTERS]


def _texts(train: Sequence[Example], test: Sequence[Example]) -> Texts:
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    started = time.monotonic()
    known, questions = [text_of(e) for e in train], [text_of(e) for e in test]
    parts: list[tuple[Any, Any]] = []
    for pieces, size, fewest in (("word", (1, 2), 1), ("char_wb", (2, 4), 2 if len(train) >= 50 else 1)):
        # a pattern belongs to words alone; given with pieces of words it is warned of
        word: Any = r"(?u)\w+" if pieces == "word" else None
        vectorizer: Any = TfidfVectorizer(
            analyzer=pieces,
            ngram_range=size,
            sublinear_tf=True,
            min_df=fewest,
            max_features=MOST_FEATURES,
            token_pattern=word,
        )
        try:
            parts.append((vectorizer.fit_transform(known), vectorizer.transform(questions)))
        except ValueError:  # no text holds a word, or no piece occurs twice: the other kind of piece remains
            continue
    if not parts:
        return Texts(csr_matrix((len(known), 1)), csr_matrix((len(questions), 1)), time.monotonic() - started)
    matrices = [hstack([part[side] for part in parts]).tocsr().astype(np.float32) for side in (0, 1)]
    return Texts(matrices[0], matrices[1], time.monotonic() - started)


def _nearest(train: Sequence[Example], texts: Texts) -> list[str]:
    """The answer of each test row's nearest training row."""
    known, questions = texts.train, texts.test
    work = np.bincount(known.indices, minlength=known.shape[1]) * np.bincount(
        questions.indices, minlength=questions.shape[1]
    ).astype(float)
    order = np.argsort(work, kind="stable")
    usable = np.sort(order[np.cumsum(work[order]) <= MOST_PRODUCTS])
    known, questions = known[:, usable].T.tocsr(), questions[:, usable]
    answers: list[str] = []
    for start in range(0, questions.shape[0], 256):
        similar = (questions[start : start + 256] @ known).toarray()
        answers += [wanted_label(train[int(index)]) for index in similar.argmax(axis=1)]
    return answers


# -- learners -------------------------------------------------------------------------------------


def _linear(task: Task, train: Sequence[Example], texts: Texts, of: str) -> Baseline | None:
    """A linear classifier on the labels; naive Bayes where that would take too long; None for one label."""
    from sklearn.naive_bayes import ComplementNB
    from sklearn.svm import LinearSVC

    labels: Any = np.array([wanted_label(example) for example in train], dtype=object)
    count = len(set(labels))
    if count < 2:
        return None
    light = texts.train.nnz * (count if count > 2 else 1) <= MOST_LINEAR_WORK
    model: Any = LinearSVC(C=1.0, max_iter=60, tol=1e-2, random_state=0) if light else ComplementNB()
    name, method = (
        ("linear classifier", "a linear support vector machine, one label against the others")
        if light
        else ("naive Bayes", "complement form")
    )
    return _timed(
        task,
        "linear",
        f"{name} on TF-IDF",
        f"{method}, on TF-IDF weights of words and their pieces{of}",
        lambda: [str(label) for label in _quietly(model, texts, labels)],
        texts,
    )


def _quietly(model: Any, texts: Texts, expected: Any) -> Any:
    """Predictions; that a solver stopped at its limit of steps is no fault here."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(texts.train, expected).predict(texts.test)


def _label_sets(task: Task, train: Sequence[Example], texts: Texts, of: str) -> Baseline | None:
    """A linear classifier for each label, the likeliest label where none applies."""
    import json

    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import MultiLabelBinarizer

    sets = [sorted(wanted_labels(e)) if "labels" in e.reference else [wanted_label(e)] for e in train]
    binary = MultiLabelBinarizer()
    marks: Any = np.asarray(binary.fit_transform(sets), dtype=np.float32)
    if marks.shape[1] < 2 or texts.train.nnz * marks.shape[1] > MOST_LINEAR_WORK:
        return None

    def answers() -> list[str]:
        scores = _quietly(Ridge(alpha=1.0, solver="sparse_cg", tol=1e-3), texts, marks)
        chosen = [np.flatnonzero(row >= min(0.5, row.max())) for row in scores]
        return [
            json.dumps([str(binary.classes_[index]) for index in indexes], ensure_ascii=False)
            for indexes in chosen
        ]

    method = f"ridge regression for each label (chosen above 0.5), on TF-IDF weights{of}"
    return _timed(task, "linear", "linear classifier for each label on TF-IDF", method, answers, texts)


def _ridge(task: Task, train: Sequence[Example], texts: Texts, of: str) -> Baseline | None:
    from sklearn.linear_model import Ridge

    values = np.array([value_of(wanted_label(example)) for example in train], dtype=float)

    def answers() -> list[str]:
        guesses = _quietly(Ridge(alpha=1.0, solver="sparse_cg", tol=1e-3), texts, values)
        return [f"{guess:.6g}" for guess in np.clip(guesses, values.min(), values.max())]

    return _timed(
        task,
        "linear",
        "ridge regression on TF-IDF",
        f"ridge on TF-IDF weights of words and their pieces{of}",
        answers,
        texts,
    )


_Learner = Callable[[Task, Sequence[Example], Texts, str], Baseline | None]
_KINDS: dict[str, tuple[_Learner, ...]] = {"label": (_linear,), "labels": (_label_sets,), "value": (_ridge,)}


# -- variants beside them -------------------------------------------------------------------------


def compare(
    answers: Sequence[Answer], baselines: Sequence[Baseline], groups: Mapping[str, str] | None = None
) -> tuple[Against, ...]:
    """A variant's paired difference from each baseline on the rows it answered; positive where the variant is
    better.

    ``groups``: row id -> group, where rows belong together.
    """
    from freehold.trial.variant import Against

    own, names = [answer.score for answer in answers], groups_of(answers, groups)
    return tuple(
        Against(
            **statistics.paired([baseline.scores[answer.id] for answer in answers], own, groups=names),
            baseline=baseline.id,
            title=baseline.title,
            constant=baseline.constant,
        )
        for baseline in baselines
    )
