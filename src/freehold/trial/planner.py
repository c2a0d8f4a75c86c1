"""What a budget holds: the parts of a trial, the seconds each may take, and what is left out because it
does not fit.

Everything here is arithmetic on measured speeds, so it can be read and tested without a model. A plan is
made from the richest to the poorest form of a trial, and the first form that fits is taken. What a form
leaves out is a sentence in the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from freehold.core.progress import duration
from freehold.trial.json_form import JsonObject

#: Share of the budget that no part may plan with: the report, and speeds that turn out lower than measured.
RESERVE = 0.06
#: Fewer answered test rows than this decide nothing.
FEWEST_ROWS = 20
#: A tuning worth its time sees its rows the first number of times. Down to the second, safety is worth more
#: than further epochs; with less than the third nothing is tuned.
GOOD_EPOCHS, FAIR_EPOCHS, FEWEST_EPOCHS = 3.0, 1.5, 1.0
#: How a sentence on what is left out begins where it is tuning; with a colon after it nothing is tuned.
TUNING = "tuning"
#: What is left out where there is no time to ask test rows through a running server.
SERVED_CHECK = "the check through a running server"
#: Training rows below which nothing is tuned.
FEWEST_TRAINING_ROWS = 16
#: Seconds until a step's process has loaded its libraries; with torch it takes the second number.
START_S, START_TORCH_S = 1.0, 3.5
#: Seconds a parameter costs: read as a decoder and merged after tuning; quantized to one type (measured,
#: see docs/log.md).
TUNE_FIXED_S, QUANTIZE_S = 4e-8, 8e-9
#: What a mix of types is made with: tokens of training rows for its statistics, positions that errors are
#: measured at, and groups of layers that are probed one by one. ``MIX_PROBES``: readings of these positions.
MIX_CALIBRATION, MIX_POSITIONS, MIX_BANDS, MIX_PROBES = 2048, 512, 2, 16
#: A mix costs a parameter so many times what rounding it to every type takes (measured, see docs/log.md).
MIX_ROUNDINGS = 3.0
#: Share of the matrix speed that tuning reaches, prefix and optimizer included (measured, see docs/log.md).
TUNING_EFFICIENCY = 0.3
#: Share of the time that choosing among candidates as they stand may take where something is tuned, and
#: where nothing is.
AS_IS, AS_IS_ALONE = 0.15, 0.40
#: Share of the time for judging where nothing is tuned, and for the best untuned variant on the test rows
#: beside the chosen one.
JUDGE, COMPARE = 0.40, 0.12
#: Test rows that the best untuned variant answers for comparison at most: tuning has more use of the time.
MOST_COMPARED = 500
#: Share of the time for the check of what is served, for safety and for privacy.
SERVED, SAFETY, PRIVACY = 0.08, 0.12, 0.04
FEWEST_PROMPTS, FEWEST_PRIVACY_ROWS = 8, 16
#: Worked examples make the answer to a row slower by about this much: its attention is longer.
SHOTS_SLOWDOWN = 1.3
#: Test rows that are asked through a running server too, and seconds until the server answers beside
#: loading the model.
SERVED_ROWS, FEWEST_SERVED, SERVER_S = 60, 20, 8.0
#: Tokens of an answer to a safety prompt.
SAFETY_TOKENS = 80
#: Waits that the time for one user is taken from, at least, and what they take at most.
FEWEST_WAITS, MOST_WAITING_S = 10, 15.0


@dataclass(frozen=True)
class Pace:
    """Speeds of one model on this machine, measured in this trial."""

    #: seconds to load it
    load_s: float
    #: tokens of prompts read per second
    prompt_tokens_per_s: float
    #: tokens of answers written per second, several answers at once
    answer_tokens_per_s: float
    #: tokens of one answer alone, per second
    single_tokens_per_s: float
    #: operations per second of matrix products in the tuner's precision; 0 where nothing can be tuned
    flops: float = 0.0
    #: weights per second that are rounded to every type of a mix; 0 where that was not measured
    rounding: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A model that may be tried. Tokens are means over the rows; ``prefix_tokens`` all prompts share;
    ``answer_tokens`` as they stand.

    ``tuned_tokens``: answers after tuning. ``matrix_parameters``: weights that a training token passes.
    ``untunable``: why it cannot be tuned, '' where it can. ``unmixable``: why it gets no mix of types.
    ``preferences``: whether its training rows are pairs of a chosen and a rejected answer.
    """

    name: str
    parameters: int
    matrix_parameters: int
    prompt_tokens: float
    prefix_tokens: float
    answer_tokens: float
    tuned_tokens: float
    shot_tokens: float
    pace: Pace
    untunable: str = ""
    unmixable: str = ""
    preferences: bool = False

    def row_s(self, *, shots: bool = False, tuned: bool = False) -> float:
        """Seconds of a test row among several at once."""
        answer = self.tuned_tokens if tuned else self.answer_tokens
        own = max(self.prompt_tokens - self.prefix_tokens, 1.0)
        seconds = own / self.pace.prompt_tokens_per_s + answer / self.pace.answer_tokens_per_s
        return seconds * (SHOTS_SLOWDOWN if shots else 1.0)

    def measuring_s(self, rows: int, *, shots: bool = False, tuned: bool = False) -> float:
        """Seconds of answering ``rows`` test rows, loading included."""
        prefix = self.prefix_tokens + (self.shot_tokens if shots else 0.0)
        return (
            START_S
            + self.pace.load_s
            + prefix / self.pace.prompt_tokens_per_s
            + rows * self.row_s(shots=shots, tuned=tuned)
        )

    def rows_in(self, seconds: float, *, shots: bool = False) -> int:
        """Test rows that are answered in so many seconds, loading included."""
        return max(0, int((seconds - self.measuring_s(0, shots=shots)) / self.row_s(shots=shots)))

    def wait_s(self, *, shots: bool = False) -> float:
        """Seconds that one user waits for an answer. Waits reuse nothing."""
        prompt = self.prompt_tokens + (self.shot_tokens if shots else 0.0)
        return prompt / self.pace.prompt_tokens_per_s + self.tuned_tokens / self.pace.single_tokens_per_s

    def timing_s(self, rows: int, *, shots: bool = False) -> float:
        """Seconds of timing one variant: single waits, several at once, and token speeds."""
        single = self.wait_s(shots=shots)
        waits = min(rows * single, max(MOST_WAITING_S, FEWEST_WAITS * single))
        speeds = 3 * (272 / self.pace.prompt_tokens_per_s + 33 / self.pace.single_tokens_per_s)
        return START_S + self.pace.load_s + waits * 1.6 + speeds

    @property
    def tuning_tokens_per_s(self) -> float:
        """Training tokens per second, estimated from the speed of matrix products; the tuner measures its
        own before it starts.
        """
        return TUNING_EFFICIENCY * self.pace.flops / (4.0 * max(self.matrix_parameters, 1))

    def epoch_s(self, rows: int) -> float:
        """Seconds of one epoch of ``rows`` training rows."""
        row = max(self.prompt_tokens - self.prefix_tokens, 1.0) + self.tuned_tokens
        if self.preferences:
            row *= 2  # the prompt with either answer
        return rows * row / max(self.tuning_tokens_per_s, 1e-9)

    @property
    def tuning_fixed_s(self) -> float:
        """Seconds of a tuning beside its epochs: reading the weights, measuring its speed, merging."""
        return START_TORCH_S + TUNE_FIXED_S * self.parameters + 5.0

    @property
    def can_be_mixed(self) -> bool:
        """Whether a mix of types can be made of it after tuning, and its time be told."""
        return not self.unmixable and self.pace.rounding > 0

    @property
    def mixing_s(self) -> float:
        """Seconds of making a mix of types: reading rows, trying and probing types, writing the file."""
        row = self.prompt_tokens + self.tuned_tokens
        repeated = row / max(row - self.prefix_tokens, 1.0)  # every row is read with what all begin with
        tokens = 2 * MIX_CALIBRATION + MIX_PROBES * MIX_POSITIONS * repeated
        rounding = MIX_ROUNDINGS * self.parameters / self.pace.rounding
        return START_TORCH_S + tokens / self.pace.prompt_tokens_per_s + rounding


@dataclass(frozen=True)
class Work:
    """What is to be done. ``types``: quantizations of a tuned model, the usual one first.
    ``safety_prompts`` 0: none are asked.

    ``choice_rows``: rows that every variant answers, to choose one; ``test_rows``: rows that the chosen one
    is judged on, 0 where it was chosen on them. ``waits``: waits of one user that judge a need on waiting
    times, 0 where there is none.
    """

    train_rows: int
    choice_rows: int
    test_rows: int
    tune: bool
    types: tuple[str, ...]
    safety_prompts: int
    privacy_rows: int
    latency_rows: int
    waits: int = 0
    #: seconds of each tuning that a search for its recipe takes
    search_s: float = 0.0
    #: whether our own mix of types is made of a tuned model
    mix: bool = True


@dataclass(frozen=True)
class Part:
    """One part and the seconds it may take. ``amount`` of ``of``: rows, epochs, types or prompts, as
    ``kind`` says.
    """

    kind: str
    model: str
    seconds: float
    amount: float = 0.0
    of: float = 0.0

    def __str__(self) -> str:
        if self.kind == "judge" and not self.of:
            return "the chosen variant, judged"
        what = {
            "zero-shot": f"zero-shot, {self.amount:.0f} of {self.of:.0f} rows that choose",
            "few-shot": f"few-shot, {self.amount:.0f} of {self.of:.0f} rows that choose",
            "tune": f"tuning, about {self.amount:.1f} epochs",
            "tuned": f"quantizing and measuring after tuning, {self.amount:.0f} of {self.of:.0f} sizes",
            "mix": "quantizing to our own mix of types and measuring it",
            "time": f"speed and waiting time of {self.amount:.0f} variants",
            "judge": f"the chosen variant on {self.amount:.0f} of {self.of:.0f} test rows",
            "compare": f"other variants beside it on {self.amount:.0f} of {self.of:.0f} test rows",
            "served": "the chosen variant through a running server, "
            f"{self.amount:.0f} of {self.of:.0f} test rows",
            "safety": f"safety, {self.amount:.0f} of {self.of:.0f} prompts",
            "privacy": f"memorization test, {self.amount:.0f} of {self.of:.0f} rows",
        }[self.kind]
        return f"{self.model + ': ' if self.model else ''}{what}"


@dataclass(frozen=True)
class Plan:
    """What will be done in ``budget_s``, ``spent_s`` of it being gone; ``left_out``: sentences; ``least_s``
    the least budget that decides.

    ``tuning_s``: the least budget in which something is tuned, 0 where nothing could be; ``all_s``: the
    budget that holds everything; both are 0 where no budget up to a month would do.
    """

    budget_s: float
    spent_s: float
    parts: tuple[Part, ...]
    left_out: tuple[str, ...]
    least_s: float = 0.0
    tuning_s: float = 0.0
    all_s: float = 0.0

    @property
    def decides(self) -> bool:
        """Whether some variant is measured on enough rows and timed."""
        return any(part.kind in ("zero-shot", "few-shot", "tuned") for part in self.parts) and (
            self.part("judge") is not None
        )

    @property
    def tuned(self) -> tuple[str, ...]:
        """Models that are tuned, in this order."""
        return tuple(part.model for part in self.parts if part.kind == "tune")

    def part(self, kind: str, model: str = "") -> Part | None:
        """The part of this kind for this model, if it is planned."""
        return next((part for part in self.parts if part.kind == kind and part.model == model), None)

    def seconds(self, kind: str, model: str = "") -> float:
        """Its seconds; 0 where it is not planned."""
        part = self.part(kind, model)
        return part.seconds if part else 0.0

    def as_dict(self) -> JsonObject:
        """For reports."""
        return asdict(self)

    @staticmethod
    def from_dict(value: JsonObject) -> Plan:
        """Inverse of :meth:`as_dict`."""
        parts = tuple(Part(**part) for part in value["parts"])
        return Plan(**{**value, "parts": parts, "left_out": tuple(value["left_out"])})

    def lines(self) -> list[str]:
        """The plan for people."""
        shown = [
            f"plan for {duration(self.budget_s)} ({duration(self.spent_s)} already used to read the rows and "
            "measure speeds):"
        ]
        shown += [f"  {duration(part.seconds):>12}  {part}" for part in self.parts]
        shown += [f"  {'left out':>12}  {sentence}" for sentence in self.left_out]
        known = [
            ("a first result", self.least_s),
            ("one tuned model", self.tuning_s),
            ("everything", self.all_s),
        ]
        told = [f"about {duration(seconds)} for {what}" for what, seconds in known if seconds]
        return [*shown, f"  {'budgets':>12}  {', '.join(told)}"] if told else shown


@dataclass(frozen=True)
class _Form:
    """How rich a trial is."""

    #: models that are tuned
    tuned: int
    #: of these, models that our own mix of types is made for
    mixed: int
    #: whether every type is made of a tuned model, or the usual one alone
    all_types: bool
    #: whether safety, privacy and what is served are tested
    trust: bool
    #: fewest epochs
    epochs: float
    #: share of the time for models as they are
    as_is: float


def plan(budget_s: float, spent_s: float, candidates: Sequence[Candidate], work: Work) -> Plan:
    """The richest trial that fits, with the least budgets that decide, tune and hold everything."""
    made = _plan(budget_s, spent_s, candidates, work)
    can_tune = bool(_tunable(candidates, work))
    return Plan(
        made.budget_s,
        made.spent_s,
        made.parts,
        made.left_out,
        least_s=_least(spent_s, candidates, work, lambda p: p.decides),
        tuning_s=_least(spent_s, candidates, work, lambda p: bool(p.tuned)) if can_tune else 0.0,
        all_s=_least(spent_s, candidates, work, lambda p: p.decides and not p.left_out),
    )


def _least(
    spent_s: float, candidates: Sequence[Candidate], work: Work, enough: Callable[[Plan], bool]
) -> float:
    """The smallest budget, in steps of about 5%, whose plan is enough; 0 if a month is not."""
    budget = max(spent_s, 5.0)
    while budget < 30 * 86400:
        if enough(_plan(budget, spent_s, candidates, work)):
            return -(-budget // 10) * 10
        budget *= 1.05
    return 0.0


def _tunable(candidates: Sequence[Candidate], work: Work) -> list[Candidate]:
    """Candidates that can be tuned, the fastest first."""
    if not work.tune or work.train_rows < FEWEST_TRAINING_ROWS:
        return []
    able = [c for c in candidates if not c.untunable and c.tuning_tokens_per_s > 0]
    return sorted(able, key=lambda c: c.epoch_s(work.train_rows))


def _plan(budget_s: float, spent_s: float, candidates: Sequence[Candidate], work: Work) -> Plan:
    room = budget_s * (1 - RESERVE) - spent_s
    able = _tunable(candidates, work)
    forms = _forms(able)
    tried = (_filled(form, room, candidates, able, work) for form in forms)
    parts, reasons = next(
        (made for made in tried if made is not None),
        ((), [f"{c.name} (no time for even {_fewest(work)} rows)" for c in candidates]),
    )
    return Plan(budget_s, spent_s, tuple(parts), tuple(reasons))


def _forms(able: Sequence[Candidate]) -> list[_Form]:
    """The forms of a trial, from the richest to the poorest. ``able``: candidates that can be tuned."""
    forms = [
        _Form(count, mixed, True, True, GOOD_EPOCHS, AS_IS)
        for count in range(len(able), 0, -1)
        for mixed in sorted({count, 1, 0}, reverse=True)
    ]
    if able:
        forms += [
            _Form(1, 0, all_types, trust, epochs, AS_IS * 0.8)
            for all_types, trust, epochs in (
                (False, True, GOOD_EPOCHS),
                (False, True, FAIR_EPOCHS),
                (False, False, FEWEST_EPOCHS),
            )
        ]
    return [
        *forms,
        _Form(0, 0, False, True, 0.0, AS_IS_ALONE),
        _Form(0, 0, False, False, 0.0, AS_IS_ALONE),
    ]


def _fewest(work: Work) -> int:
    """The fewest rows that a variant is chosen by, or judged on where it is chosen on the test rows."""
    return min(FEWEST_ROWS, work.choice_rows)


def _filled(
    form: _Form, room: float, candidates: Sequence[Candidate], able: list[Candidate], work: Work
) -> tuple[list[Part], list[str]] | None:
    """The parts of this form in ``room`` seconds and what it leaves out; None where it does not fit."""
    as_is, reasons = _as_is(room, form.as_is, candidates, work)
    tuned = able[: form.tuned]
    types = work.types if form.all_types else work.types[:1]
    after = [_after(c, types, work) for c in tuned]
    mixable = [c for c in tuned if work.mix and c.can_be_mixed]
    mixes = {c.name: _mix(c, work) for c in mixable[: form.mixed]}
    measured = {part.model for part in as_is}
    timed = [c for c in candidates if c.name in measured]
    # where something is tuned, the models as they stand are timed with what time is left
    sizes = {c.name: len(types) + (c.name in mixes) for c in tuned}
    timing = sum(sizes[c.name] * c.timing_s(work.latency_rows) for c in tuned) or _timing(timed, work)
    trust, more = _trust(form, room, tuned or timed[:1], bool(tuned), work)
    planned = (*as_is, *after, *mixes.values(), *trust)
    beside = sum(c.tuning_fixed_s + work.search_s for c in tuned)
    fixed = sum(part.seconds for part in planned) + timing + beside
    judging = _judging(room, room - fixed, tuned, timed, work)
    if judging is None:
        return None
    training = room - fixed - sum(part.seconds for part in judging)
    fewest = [form.epochs * c.epoch_s(work.train_rows) for c in tuned]
    if training < sum(fewest) or not (as_is or tuned):
        return None
    parts = list(as_is)
    for c, least, later in zip(tuned, fewest, after, strict=True):
        # what is over goes to tuning, the fastest learner having no more use of it than the others
        seconds = least + (training - sum(fewest)) / len(tuned)
        seconds = min(seconds, 2 * GOOD_EPOCHS * c.epoch_s(work.train_rows))
        whole = seconds + c.tuning_fixed_s + work.search_s
        parts += [Part("tune", c.name, whole, seconds / c.epoch_s(work.train_rows)), later]
        parts += [mixes[c.name]] if c.name in mixes else []
    parts.append(Part("time", "", timing, sum(sizes.values()) or len(timed)))
    fewer = [
        f"{part.of - part.amount:.0f} of {part.of:.0f} test rows"
        for part in judging
        if part.kind == "judge" and part.amount < part.of
    ]
    reasons += [*_not_tuned(form, able, types, work), *_not_mixed(mixable[form.mixed :])]
    return [*parts, *judging, *trust], [*reasons, *fewer, *more]


def _judging(
    room: float, left: float, tuned: Sequence[Candidate], plain: Sequence[Candidate], work: Work
) -> list[Part] | None:
    """Judging the chosen variant, as if it were the slowest that may be; beside a tuned one, the best
    untuned. None where it does not fit.

    After tuning, all test rows are answered: what was tuned is worth judging on all of them. Else as many
    as fit.
    """
    waits = max((work.waits * c.wait_s(shots=not tuned) for c in tuned or plain), default=0.0)
    if not work.test_rows:
        return [Part("judge", "", waits + 1.0, 0, 0)]
    if tuned:
        whole = max(c.measuring_s(work.test_rows, tuned=True) for c in tuned) * 1.25 + 1.0
        parts = [Part("judge", "", whole + waits, work.test_rows, work.test_rows)]
        return [*parts, *_compared(room, plain, work)]
    few = min(FEWEST_ROWS, work.test_rows)
    seconds = min(JUDGE * room, left) - waits
    rows = min((c.rows_in(seconds, shots=bool(c.shot_tokens)) for c in plain), default=0)
    if rows < few:
        return None
    rows = min(rows, work.test_rows)
    whole = max(c.measuring_s(rows, shots=bool(c.shot_tokens)) for c in plain) * 1.25 + 1.0
    judge = Part("judge", "", min(whole, max(seconds, 0.0)) + waits, rows, work.test_rows)
    beside = _compared(room, plain, work)
    return [judge, *(part for part in beside if judge.seconds + part.seconds <= left)]


def _compared(room: float, plain: Sequence[Candidate], work: Work) -> list[Part]:
    """The best untuned variant on as many test rows as its share holds; nothing where that is too few to
    say anything.
    """
    rows = min((c.rows_in(COMPARE * room, shots=bool(c.shot_tokens)) for c in plain), default=0)
    rows = min(rows, work.test_rows, MOST_COMPARED)
    if rows < min(FEWEST_ROWS, work.test_rows):
        return []
    whole = max(c.measuring_s(rows, shots=bool(c.shot_tokens)) for c in plain) * 1.25 + 1.0
    return [Part("compare", "", min(whole, COMPARE * room), rows, work.test_rows)]


def _timing(candidates: Sequence[Candidate], work: Work) -> float:
    """Seconds of timing the best of each model as it stands, with its worked examples where it has any."""
    return sum(c.timing_s(work.latency_rows, shots=bool(c.shot_tokens)) for c in candidates)


def _not_tuned(form: _Form, able: list[Candidate], types: tuple[str, ...], work: Work) -> list[str]:
    """What this form leaves out of tuning."""
    said: list[str] = []
    if able and not form.tuned:
        said.append(f"{TUNING}: there is no time for {FEWEST_EPOCHS:.0f} epoch of {work.train_rows} rows")
    elif others := [c.name for c in able[form.tuned :]]:
        said.append(f"{TUNING} of {', '.join(others)} (no time for {GOOD_EPOCHS:.0f} epochs of each)")
    if form.tuned and len(types) < len(work.types):
        said.append(f"sizes {', '.join(work.types[len(types) :])} of the tuned model")
    return said


def _not_mixed(models: Sequence[Candidate]) -> list[str]:
    """What this form leaves out of mixes of types, with the time that each would take."""
    return [f"mixed types of the tuned {c.name} (about {duration(c.mixing_s)})" for c in models]


def _as_is(
    room: float, share: float, candidates: Sequence[Candidate], work: Work
) -> tuple[list[Part], list[str]]:
    """Zero-shot and few-shot of every candidate that can answer enough rows in its share; the slowest are
    left out first.
    """
    kept = sorted(candidates, key=lambda c: c.measuring_s(work.choice_rows))
    reasons: list[str] = []
    while kept:
        parts = _shared(min(room * share, room - _timing(kept, work)), kept, work)
        if all(any(part.model == c.name for part in parts) for c in kept):
            few = {part.model for part in parts if part.kind == "few-shot"}
            return parts, [
                *reasons,
                *(f"{c.name} few-shot" for c in kept if c.shot_tokens and c.name not in few),
            ]
        slowest = kept.pop()
        need = slowest.measuring_s(_fewest(work))
        reasons.insert(0, f"{slowest.name} ({_fewest(work)} rows would take about {duration(need)})")
    return [], reasons


def _shared(room: float, kept: Sequence[Candidate], work: Work) -> list[Part]:
    """Room dealt out evenly; what one does not need the next may use, the quick ones first."""
    jobs = [(c, shots) for shots in (False, True) for c in kept if not shots or c.shot_tokens]
    parts: list[Part] = []
    left = room
    for number, (c, shots) in enumerate(jobs):
        share = left / (len(jobs) - number)
        whole = c.measuring_s(work.choice_rows, shots=shots)
        rows = (
            work.choice_rows
            if whole <= share
            else int((share - c.measuring_s(0, shots=shots)) / c.row_s(shots=shots))
        )
        if rows >= _fewest(work):
            seconds = min(whole * 1.25 + 1.0, share)
            parts.append(Part("few-shot" if shots else "zero-shot", c.name, seconds, rows, work.choice_rows))
            left -= seconds
    return sorted(parts, key=lambda part: ([c.name for c in kept].index(part.model), part.kind == "few-shot"))


def _after(c: Candidate, types: tuple[str, ...], work: Work) -> Part:
    """Quantizing a tuned model and measuring it on the rows that choose, at each type."""
    each = c.measuring_s(work.choice_rows, tuned=True) * 1.25 + 1.0
    return Part(
        "tuned",
        c.name,
        START_S + len(types) * (QUANTIZE_S * c.parameters + each),
        len(types),
        len(work.types),
    )


def _mix(c: Candidate, work: Work) -> Part:
    """Quantizing a tuned model to our own mix of types and measuring it on the rows that choose."""
    measuring = c.measuring_s(work.choice_rows, tuned=True) * 1.25 + 1.0
    return Part("mix", c.name, c.mixing_s * 1.25 + measuring, 1, 1)


def _trust(
    form: _Form, room: float, models: Sequence[Candidate], tuned: bool, work: Work
) -> tuple[list[Part], list[str]]:
    """The check of what is served, safety and privacy as far as their share of the room goes, and what is
    left out of them.
    """
    parts: list[Part] = []
    said: list[str] = []
    rows = min(SERVED_ROWS, work.test_rows or work.choice_rows)
    slowest = max((c.wait_s(shots=not tuned) for c in models), default=0.0)
    fixed = SERVER_S + max((c.pace.load_s for c in models), default=0.0)
    if slowest:
        rows = min(rows, int((SERVED * room - fixed) / slowest)) if form.trust else 0
    if models and rows >= min(FEWEST_SERVED, work.test_rows or work.choice_rows):
        parts.append(Part("served", "", fixed + rows * slowest, rows, work.test_rows or work.choice_rows))
    elif models:
        said.append(SERVED_CHECK)
    if work.safety_prompts and models:
        runs = 2 if tuned else 1
        each = sum(
            runs * (SAFETY_TOKENS / c.pace.answer_tokens_per_s + 20 / c.pace.prompt_tokens_per_s)
            for c in models
        )
        fixed = sum(runs * (START_S + c.pace.load_s) for c in models)
        count = min(work.safety_prompts, int((SAFETY * room - fixed) / each)) if form.trust else 0
        if count >= min(FEWEST_PROMPTS, work.safety_prompts):
            parts.append(Part("safety", "", fixed + count * each, count, work.safety_prompts))
        if count < work.safety_prompts:
            said.append(
                f"{work.safety_prompts - count} of {work.safety_prompts} safety prompts"
                if parts
                else "safety"
            )
    if work.privacy_rows and tuned:
        # a training and an unseen row, each scored and answered twice by the tuned and the untuned model
        each = sum(6 * c.row_s() * 1.5 for c in models)
        fixed = sum(START_S + c.pace.load_s for c in models)
        rows = min(work.privacy_rows, int((PRIVACY * room - fixed) / each)) if form.trust else 0
        if rows >= min(FEWEST_PRIVACY_ROWS, work.privacy_rows):
            parts.append(Part("privacy", "", fixed + rows * each, rows, work.privacy_rows))
        else:
            said.append("the memorization test of the tuned model")
    return parts, said
