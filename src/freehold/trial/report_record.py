"""The report as types. Field names are the keys of ``report.json``; a field without a default is in every
report.

``report.schema.json`` is generated from these types; write it again after a change with ``python -m
freehold.trial.report_schema``. Fields with a default are absent from reports of earlier versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from freehold.data.table import Fault
from freehold.evaluation.confusion import Confusion, LabelFigures
from freehold.evaluation.measurement import Difference, Measurements
from freehold.trial import json_form
from freehold.trial.ceiling import Ceiling
from freehold.trial.clock import Taken
from freehold.trial.json_form import JsonObject
from freehold.trial.planner import Plan
from freehold.trial.requirements import Decision
from freehold.trial.results import LookResult
from freehold.trial.served_check import ServedCheck
from freehold.trial.variant import Rows, Variant

#: What this code writes, and what it reads: version 2 added baselines, labels, rows left out and what was
#: skipped; version 3 a choice on other rows than those that judge, looks, and "not with these models".
VERSION, VERSIONS = 3, (1, 2, 3)

#: What answers can be.
KINDS = ("label", "labels", "exact", "number", "value", "json", "code", "text")

_DOCUMENTED = ConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True)
class Groups:
    """The column of what rows belong to."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    column: str
    """its name"""
    counts: dict[str, int]
    """split -> groups in it"""


@dataclass(frozen=True, kw_only=True)
class TaskSection:
    """The rows, and how they were read and split."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    name: str
    """the task's name"""
    kind: Annotated[str, Field(json_schema_extra={"enum": list(KINDS)})]
    """what answers are"""
    metric: str
    """name of the metric, a key of each variant's figures"""
    method: str
    """what the metric counts"""
    columns: str
    """which column plays which part"""
    rows: dict[str, int]
    """split -> its rows"""
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]
    """split -> sha256 of its rows' file"""
    leaked_test_rows: int
    """test rows that are known from training; no figure rests on them"""
    labels: int = 0
    """how many labels there are; 0 where answers are not labels"""
    label_balance: dict[str, int] = field(default_factory=dict)
    """label -> training rows, most first"""
    repeats_dropped: int = 0
    """repeated training rows that count once"""
    test_repeats_dropped: int = 0
    """repeated rows of a test file of its own that count once"""
    leaks: tuple[tuple[str, str, float], ...] = ()
    """known row, test row left out, and how alike they are"""
    group_leaks: tuple[tuple[str, str, str], ...] = ()
    """known row, test row left out, and the group of both"""
    groups: Groups | None = None
    """what rows belong to, and how many groups each split has; null where rows stand alone"""
    looks: dict[str, LookResult] = field(default_factory=dict)
    """how long the rows are in each model's tokens"""
    warnings: tuple[str, ...] = ()
    """what limits the figures whatever the model"""
    reason: str = ""
    """why this metric was chosen, and how to choose another"""
    unused_columns: tuple[str, ...] = ()
    """columns that play no part"""
    data_notes: tuple[str, ...] = ()
    """how the rows were read and split"""
    left_out_count: int = 0
    """rows that could not be used"""
    left_out: tuple[Fault, ...] = ()
    """the first of them, and why"""
    ceiling: Ceiling | None = None
    """the highest share of test rows that can be right, where the same text has different answers"""


@dataclass(frozen=True, kw_only=True)
class VerdictSection:
    """The verdict."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    verdict: Literal["own it", "not yet", "rent it", "not with these models"]
    """in a word"""
    sentence: str
    """in a sentence, for a manager"""
    variant: str
    """id of the variant that it rests on"""
    decisions: tuple[Decision, ...]
    """what decided each need"""
    exit_code: Literal[0, 3, 4]
    """exit status of ``freehold trial``"""
    command: str
    """what to run next"""
    more_rows: int | None = None
    """test rows that would decide, where the verdict is not yet"""
    classic: str = ""
    """says where a simple baseline does the job as well; empty where none does"""
    skipped: tuple[str, ...] = ()
    """what was left out for lack of time or memory"""
    needs_note: str = ""
    """says where the needs are defaults"""


@dataclass(frozen=True, kw_only=True)
class BaselineSection:
    """A simple method without a language model, on the test rows."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    id: str
    """the same in each variant's ``against``"""
    title: str
    """for people"""
    method: str
    """how it answers"""
    constant: bool
    """whether it answers every row alike"""
    figures: Measurements
    """by name, on the test rows"""
    rows: int
    """test rows it answered"""
    seconds: float
    """seconds it took, training included"""


@dataclass(frozen=True)
class Matrix:
    """How often each label was answered."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    labels: tuple[str, ...]
    """names of rows and columns"""
    counts: tuple[tuple[int, ...], ...]
    """for each expected label, how often each label was answered"""


@dataclass(frozen=True, kw_only=True)
class LabelsSection:
    """The closed set of labels, and the chosen variant's figures for each."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    count: int
    """labels in the set"""
    source: str
    """where they come from"""
    unknown: str
    """the label for rows out of scope; empty for none"""
    out_of_scope_rows: int
    """test rows whose label is not in the set"""
    out_of_scope_labels: dict[str, int]
    """their labels -> rows, most first"""
    highest_reachable: float
    """share of test rows that any answer of the set can get right"""
    per_label: tuple[LabelFigures, ...]
    """figures for each label, most rows first"""
    few_rows: dict[str, int]
    """labels with few test rows -> rows"""
    confusions: tuple[Confusion, ...]
    """which label was taken for which, most frequent first"""
    matrix: Matrix | None
    """null where there are too many labels to read it"""


@dataclass(frozen=True)
class ChoiceSection:
    """Which variant was judged, and how it was chosen."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    variant: str
    """id of the chosen variant"""
    ranked: tuple[str, ...]
    """ids, the chosen one first"""
    rows: Rows
    """the rows it was made on"""
    among: int
    """variants that the bounds allow for"""


@dataclass(frozen=True)
class LookSection:
    """How often these test rows have judged, and the one-sided error left to each statement."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    number: int
    """1 for the first look"""
    before: tuple[str, ...]
    """ids of the trials that looked earlier"""
    meets: float
    """error of saying that a need is met"""
    misses: float
    """error of saying that a need is missed"""
    next_look: float = 0.025
    """error of saying at the next look that a need is met"""


@dataclass(frozen=True, kw_only=True)
class Comparison(Difference):
    """The paired difference between two variants."""

    source: Annotated[str, Field(alias="from")]
    """id of the first: the chosen variant"""
    to: str
    """id of the second"""
    p_corrected: float | None = None
    """p-value that allows for the number of comparisons (Holm)"""


@dataclass(frozen=True, kw_only=True)
class ChangedRow:
    """A row whose score tuning changed."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    id: str
    """of the row"""
    question: str
    """what was asked"""
    wanted: str
    """the expected answer"""
    before: str
    """the answer of the best untuned variant"""
    after: str
    """the answer of the chosen variant"""
    gain: float
    """score after less score before"""
    before_digest: str
    """sha256 of the untuned weights"""
    after_digest: str
    """sha256 of the chosen weights"""


@dataclass(frozen=True)
class Budget:
    """The time that was given and taken."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    seconds: float
    """of the budget"""
    spent_seconds: float
    """taken, earlier runs included"""


@dataclass(frozen=True)
class Estimates:
    """How good the estimates of the time left were, in the run that measured most."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    median_error: float
    """median of |estimate - true| / true"""
    estimates: int
    """how many were shown"""
    budget_s: float
    """that run's budget in seconds"""


@dataclass(frozen=True)
class ClusterNode:
    """What a machine of a cluster did for a trial."""

    name: str
    """its host and the beginning of its id"""
    machine: JsonObject
    """the facts that measurements depend on (:class:`freehold.core.machine.Machine`)"""
    steps: int
    """steps that it did"""
    seconds: float
    """seconds that they took"""
    kwh: float
    """energy of what was metered of them: tuning and timing"""
    kg_co2e: float
    """carbon of that energy"""


@dataclass(frozen=True)
class ClusterSection:
    """The machines of a cluster that did a trial's steps, and what they took together."""

    address: str
    """the cluster's address"""
    nodes: tuple[ClusterNode, ...]
    """each machine that did a step"""
    lost: tuple[str, ...]
    """machines that died during a step, which another one then did"""
    seconds: float
    """machine time, summed over the machines"""
    kwh: float
    """energy, summed over the machines"""
    kg_co2e: float
    """carbon of that energy"""
    dollars: tuple[float, float, float]
    """what the machine time costs: lowest, likely, highest"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Freehold trial report, versions 1 to 3."""

    __pydantic_config__: ClassVar = _DOCUMENTED

    report_version: Literal[1, 2, 3]
    """version of this form"""
    id: str
    """of the trial"""
    task: TaskSection
    """the rows"""
    verdict: VerdictSection
    """the verdict"""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    """every variant that was measured, an API among them"""
    comparisons: tuple[Comparison, ...]
    """the chosen variant against each other one that answered test rows"""
    changed_rows: tuple[ChangedRow, ...]
    """rows whose score differs between the best untuned and the chosen variant, what got worse first"""
    machine: JsonObject
    """the facts that measurements depend on (:class:`freehold.core.machine.Machine`)"""
    budget: Budget
    """time"""
    notes: tuple[str, ...]
    """decisions on the way"""
    options: JsonObject
    """what decided the trial (:class:`freehold.trial.options.Options`)"""
    versions: dict[str, str]
    """versions of the software that results depend on"""
    baselines: tuple[BaselineSection, ...] = ()
    """what simple methods reach; from version 2"""
    labels: LabelsSection | None = None
    """null where answers are not labels; from version 2"""
    rival: JsonObject | None = None
    """an API beside the chosen variant (:class:`freehold.trial.against_rival.AgainstRival`); null where
    none was asked
    """
    power: tuple[str, ...] = ()
    """what this many test rows can find"""
    choice: ChoiceSection | None = None
    """how the variant was chosen; from version 3"""
    look: LookSection | None = None
    """how often these test rows have judged; from version 3"""
    served: ServedCheck | None = None
    """test rows asked through a running server, as the shown command serves the chosen variant; null where
    that was not done
    """
    changed_between: tuple[str, str] = ("", "")
    """ids of the variants between which ``changed_rows`` changed"""
    memory_allowed_bytes: int = 0
    """memory that a model might take"""
    plan: Plan | None = None
    """what the budget held"""
    parts: tuple[Taken, ...] = ()
    """what each part was planned to take and what it took"""
    time_left: Estimates | None = None
    """how good the estimates of the time left were; null where too few were shown"""
    left_out_rows: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """model -> ids of the rows that are too long for it"""
    cluster: ClusterSection | None = None
    """which machines did the steps; null where this machine did"""

    @classmethod
    def from_json(cls, value: JsonObject, where: str = "") -> Report:
        """Inverse of :meth:`as_json`. Raises BadData."""
        return json_form.read(cls, value, where)

    def as_json(self) -> JsonObject:
        """The form of ``report.json``."""
        return json_form.write(self)

    def __repr__(self) -> str:
        figure = self.winner.figures[self.task.metric]
        return (
            f"<freehold.Report {self.id}: {self.verdict.verdict}, {self.winner.title}, "
            f"{self.task.metric} {figure.value:.3f}, n={figure.n}>"
        )

    def _repr_html_(self) -> str:
        """The report's page in a frame, for notebooks."""
        from html import escape

        from freehold.trial.report import html

        page = escape(html(self.as_json()), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:0" sandbox></iframe>'

    @property
    def winner(self) -> Variant:
        """The variant that the verdict rests on."""
        return self.variant(self.verdict.variant)

    def variant(self, name: str) -> Variant:
        """The variant with this id."""
        return next(variant for variant in self.variants if variant.id == name)


def schema() -> JsonObject:
    """The JSON schema of ``report.json``, as it is published in ``report.schema.json``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **json_form.schema(Report)}
