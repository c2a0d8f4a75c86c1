"""Guesses which column plays which part. Names say what a column may be, values say what it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from freehold.core.errors import BadData
from freehold.data import names
from freehold.data.choices import listed, names_one
from freehold.data.exports import refuse_single_messages, refuse_whole_annotations
from freehold.data.label_columns import MOST_LABEL_WORDS, is_label, repeats_as_label
from freehold.data.names import Rank, Tiers, rank
from freehold.data.plan import Fit, NoColumn, Plan
from freehold.data.profile import Profile, called_id, is_messages
from freehold.data.table import Row, Table
from freehold.data.values import RowFault, parsed, unwrapped

#: Asks a person: the question and the answers to choose from; returns the index of the chosen one.
Ask = Callable[[str, Sequence[str]], int]
Accept = Callable[[Profile, Rank], bool]

_NO_ROWS = "empty"
_GOOD_WORDS = frozenset(
    [
        "0",
        "1",
        "good",
        "bad",
        "desirable",
        "undesirable",
        "chosen",
        "rejected",
        "accepted",
        "up",
        "down",
        "thumbsup",
        "thumbsdown",
    ]
)
_TEXTS = ("text", "label")
#: What annotation tools write beside a label, and in which columns.
_VERDICTS = frozenset({"accept", "reject", "ignore", "accepted", "rejected", "ignored"})
_VERDICT_NAMES = frozenset({"answer", "verdict"})


def guess(table: Table, profiles: dict[str, Profile], ask: Ask | None, need: str = "") -> Plan:
    """The guess for a table; ``need`` names the only part wanted: text, label or completion. Raises BadData
    where it cannot be told.
    """
    guesser = _Guesser(table, profiles, ask)
    if need == "text":
        return Plan({"text": guesser.text("COLUMN", set())}, "text")
    if need:
        return guesser.answer_only(need)
    return guesser.whole()


@dataclass
class _Guesser:
    table: Table
    profiles: dict[str, Profile]
    ask: Ask | None
    notes: list[str] = field(default_factory=list)

    # -- candidates by name ---------------------------------------------------------------------

    def ranked(self, tiers: Tiers, accept: Accept, *, whole: bool = False) -> list[tuple[Fit, str]]:
        """Columns whose names fit and whose values are accepted, best first; a column that never changes
        comes last.
        """
        fitting = []
        for column, profile in self.profiles.items():
            fit = rank(column, tiers, whole=whole)
            if fit is not None and profile.kind != _NO_ROWS and accept(profile, fit):
                constant = profile.kind == "constant" or (profile.distinct == 1 and profile.rows >= 3)
                fitting.append((Fit(constant, fit.word == 2, fit), column))
        return sorted(fitting, key=lambda pair: pair[0])

    def first(self, tiers: Tiers, kinds: Iterable[str] = (), *, whole: bool = True) -> str | None:
        """The best column of a part, of one of some kinds."""
        allowed = tuple(kinds)
        fitting = self.ranked(tiers, lambda profile, _: not allowed or profile.kind in allowed, whole=whole)
        return fitting[0][1] if fitting else None

    def texts(self, without: set[str]) -> list[tuple[Fit, str]]:
        """Columns that may hold what is to be classified or answered."""

        def accept(profile: Profile, fit: Rank) -> bool:
            kinds = _TEXTS if fit.word == 0 or (fit.word == 1 and fit.tier < 2) else ("text",)
            return profile.column not in without and profile.kind in kinds

        fitting = self.ranked(names.TEXT, accept)
        plain = [pair for pair in fitting if self.profiles[pair[1]].kind == "text"]
        return plain or fitting

    def labels(self, without: set[str]) -> list[tuple[Fit, str]]:
        """Columns that may hold the label."""
        fitting = self.ranked(names.LABEL, is_label)
        return [pair for pair in fitting if pair[1] not in without]

    def completions(self, without: set[str]) -> list[tuple[Fit, str]]:
        """Columns that may hold a written answer."""

        def accept(profile: Profile, fit: Rank) -> bool:
            if (
                profile.column in without
                or fit.word > 1
                or (fit.word == 1 and profile.kind in ("id", "date", "number"))
            ):
                return False
            if self.is_verdict(profile.column):
                return False
            is_label = profile.column in (column for _, column in self.labels(set()))
            return not (fit.tier == 2 and is_label and profile.kind != "text")

        return self.ranked(names.COMPLETION, accept)

    # -- whole shapes ---------------------------------------------------------------------------

    def whole(self) -> Plan:
        if not self.labels(set()):
            refuse_single_messages(self.table)
        refuse_whole_annotations(self.table)
        shapes = (self.preference, self.chat, self.code, self.chosen_from, self.instructed, self.prompted)
        for shape in (*shapes, self.classified):
            plan = shape()
            if plan is not None:
                self.extras(plan)
                plan.notes[:0] = self.notes
                return plan
        texts = [column for column, profile in self.profiles.items() if profile.kind == "text"]
        line = f"prompt={texts[0]},completion={texts[1]}" if len(texts) == 2 else "text=COLUMN,label=COLUMN"
        raise self.unknown("the answers", line)

    def preference(self) -> Plan | None:
        chosen, rejected = self.first(names.CHOSEN), self.first(names.REJECTED)
        if chosen is None or rejected is None:
            return None
        prompt = self.first(names.PROMPT, (*_TEXTS, "messages", "constant")) or self.first(
            names.MESSAGES, ("messages",)
        )
        return Plan(
            {**({"prompt": prompt} if prompt else {}), "completion": chosen, "rejected": rejected},
            "preference",
        )

    def chat(self) -> Plan | None:
        chats = [column for column, profile in self.profiles.items() if profile.kind == "messages"]
        named = [column for column in chats if rank(column, names.MESSAGES)]
        prompt = next((column for column in chats if rank(column, names.PROMPT, whole=True)), None)
        completion = self.first(names.COMPLETION)
        if prompt and completion and not named:
            return self.judged({"prompt": prompt, "completion": completion})
        if not chats:
            return None
        column = self.one_of("the messages", named or chats, lambda name: f"messages={name}")
        if completion and completion not in chats and self.unanswered(column):
            return self.judged({"prompt": column, "completion": completion})
        good = self.first(names.GOOD, ("boolean",))
        if good and not self.is_answer(good, column):
            return Plan({"messages": column, "good": good}, "messages")
        return Plan({"messages": column}, "messages")

    def is_answer(self, column: str, chat: str) -> bool:
        """Whether a column repeats the last messages of a chat."""
        for row in self.table.rows[:50]:
            said = str(parsed(row.fields.get(chat))).casefold()
            if f": '{str(row.fields.get(column)).casefold()}'" not in said:
                return False
        return True

    def unanswered(self, column: str) -> bool:
        """Whether most conversations of a column end before the assistant has answered."""
        chats = [parsed(row.fields.get(column)) for row in self.table.rows[:200]]
        last = [
            chat[-1].get("role", chat[-1].get("from"))
            for chat in chats
            if isinstance(chat, list) and is_messages(chat)
        ]
        return sum(role in ("user", "human") for role in last) > 0.9 * len(last)

    def code(self) -> Plan | None:
        parts = {
            "prompt": "prompt",
            "code": "canonical_solution",
            "test": "test",
            "entry_point": "entry_point",
        }
        if all(column in self.profiles for column in parts.values()):
            return Plan(parts, "code")
        return None

    def chosen_from(self) -> Plan | None:
        """A question, what its answer is chosen from, and which of these is right."""
        for columns in self.choices():
            answer = next((name for name in self.choice_answers(columns)), None)
            if answer:
                used = {answer, *columns}
                questions = self.ranked(names.PROMPT, lambda profile, _: profile.kind in _TEXTS, whole=True)
                question = next((name for _, name in questions if name not in used), None)
                question = question or self.text(answer, used, "prompt", "completion")
                plan = {"prompt": question, "choices": "+".join(columns), "completion": answer}
                return Plan(self.with_context(plan), "prompt")
        return None

    def choices(self) -> list[list[str]]:
        """Columns that may hold the choices: one of lists, or one for each choice."""
        lists = [
            [name]
            for _, name in self.ranked(names.CHOICES, lambda profile, _: profile.kind in ("list", "object"))
        ]
        for series in names.CHOICE_COLUMNS:
            plain = {names.plain(name): name for name in self.profiles}
            columns = [plain[name] for name in series if name in plain]
            if len(columns) > 1:
                lists.append(columns)
        return lists

    def choice_answers(self, columns: Sequence[str]) -> list[str]:
        """Columns of which nearly every value names one of the choices, best first."""
        fitting = self.ranked(names.CHOICE, lambda profile, _: profile.column not in columns, whole=True)
        rows = self.table.rows[:200]
        named = [
            (sum(names_one(row.fields.get(name), self.listed(row, columns)) for row in rows), name)
            for _, name in fitting
        ]
        return [name for count, name in named if count >= 0.95 * len(rows)]

    def listed(self, row: Row, columns: Sequence[str]) -> list[tuple[str, str]]:
        """The choices of a row; none where a cell cannot be a text."""
        try:
            return listed([unwrapped(row.fields.get(name)) for name in columns])
        except RowFault:
            return []

    def instructed(self) -> Plan | None:
        """Instruction, input and output; an instruction that never changes may stand in a column called
        prompt.
        """
        instruction = self.first(names.INSTRUCTION, (*_TEXTS, "constant"))
        taken = self.first(names.PROMPT, ("constant",)) if instruction is None else None
        instruction = instruction or (taken if taken and self.texts({taken}) else None)
        completion = next((column for _, column in self.completions({instruction or ""})), None)
        if instruction is None or completion is None:
            return None
        about = self.first(names.INPUT, (*_TEXTS, "constant", "object", "list")) or next(
            (
                column
                for column, profile in self.profiles.items()
                if profile.kind == "empty" and rank(column, names.INPUT, whole=True)
            ),
            None,
        )
        if about is None and self.profiles[instruction].kind == "constant":
            context = self.first(names.CONTEXT, _TEXTS)
            about = (
                None
                if context
                else next((column for _, column in self.texts({instruction, completion})), None)
            )
        columns = {
            "instruction": instruction,
            **({"input": about} if about else {}),
            "completion": completion,
        }
        return self.judged(self.with_context(columns))

    def prompted(self) -> Plan | None:
        """A prompt or a text, and a written answer."""
        completions = [column for _, column in self.completions(set())] or self.objects()
        if not completions:
            return None
        completion = completions[0]
        labels = self.labels({completion})
        prompts = self.ranked(
            names.PROMPT,
            lambda profile, fit: (
                profile.column != completion
                and (profile.kind in _TEXTS or (fit.word == 0 and profile.kind in ("object", "list")))
            ),
        )
        if prompts and (prompts[0][0].rank.tier < 2 or not labels or prompts[0][0].rank.word == 0):
            return self.judged(self.with_context({"prompt": prompts[0][1], "completion": completion}))
        texts = self.texts({completion})
        if labels and self.is_summary(completion):
            return None
        if not texts and not self.readable({completion}):
            return None
        if labels:
            if labels[0][0].rank.tier == 0:
                return None
            chosen = self.doubt(
                "the answer", [completion, *self.equals(labels)], lambda name: self.line(name, completion)
            )
            if chosen != completion:
                return self.text_and(chosen)
        return Plan(
            {"prompt": self.text(completion, {completion}, "prompt", "completion"), "completion": completion},
            "prompt",
        )

    def objects(self) -> list[str]:
        """The only column of objects beside a text, where nothing else is a label: answers in JSON, whatever
        they are called.
        """
        columns = [
            column
            for column, profile in self.profiles.items()
            if profile.kind == "object" and names.plain(column) not in names.BESIDE
        ]
        return columns if len(columns) == 1 and not self.labels(set()) else []

    def is_verdict(self, column: str) -> bool:
        """Whether a column says of each row whether an annotator accepted it."""
        if self.profiles[column].kind not in ("label", "constant", "text"):
            return False
        return {str(row.fields.get(column)).strip().casefold() for row in self.table.rows} <= _VERDICTS

    def is_summary(self, column: str) -> bool:
        """Whether a column called summary is the short line before a description, as ticket systems export
        it.
        """
        return (
            bool(rank(column, names.SUMMARY, whole=True))
            and self.first(names.DESCRIPTION, _TEXTS) is not None
        )

    def classified(self) -> Plan | None:
        """A text and a label."""
        label = self.label()
        if label is None:
            return None
        profile = self.profiles[label]
        if profile.kind == "text" and profile.words > MOST_LABEL_WORDS:
            self.notes.append(f'"{label}" holds texts, not labels: they are read as written answers.')
            return Plan(
                {"prompt": self.text(label, {label}, "prompt", "completion"), "completion": label}, "prompt"
            )
        return self.text_and(label)

    def text_and(self, label: str) -> Plan:
        columns = {"text": self.text(label, {label}), "label": label}
        instruction = self.first(names.INSTRUCTION, (*_TEXTS, "constant"))
        if instruction and instruction not in columns["text"].split("+"):
            columns["instruction"] = instruction
        if rank(columns["text"], _QUESTION, whole=True):
            columns = self.with_context(columns)
        pieces = columns["text"].split("+")
        question = self.first(names.PROMPT[:2], ("text",))
        if len(pieces) == 2 and names.is_pair(*pieces) and question and question not in (*pieces, label):
            columns = {"context": question, **columns}
        verdict = next((name for name in self.profiles if names.plain(name) in _VERDICT_NAMES), None)
        if verdict and verdict not in columns.values() and self.is_verdict(verdict):
            columns["good"] = verdict
        return Plan(columns, "text")

    def answer_only(self, need: str) -> Plan:
        """The answers alone, for a given text."""
        completions = self.completions(set())
        label = self.label() if need == "label" or not completions else None
        if label:
            return Plan({"label": label}, "text", self.notes)
        if completions:
            return Plan({"completion": completions[0][1]}, "prompt", self.notes)
        raise self.unknown("the answers", "label=COLUMN")

    # -- single parts ---------------------------------------------------------------------------

    def label(self) -> str | None:
        """The label's column: by name, else the only one whose values repeat as labels do."""
        named = self.labels(set())
        if named:
            return self.in_words(
                self.doubt("the label", self.equal_labels(named), lambda name: self.line(name, ""))
            )
        repeating = [column for column, profile in self.profiles.items() if repeats_as_label(profile)]
        if not repeating:
            return None
        return self.doubt("the label", repeating, lambda name: self.line(name, ""))

    def in_words(self, label: str) -> str:
        """The column that names the same labels in words, where a label is a number and there is one."""
        if self.profiles[label].kind != "number":
            return label
        for column in self.profiles:
            extra = set(names.words_of(column)) - set(names.words_of(label))
            alike = (
                names.plain(column).startswith(names.plain(label)) and self.profiles[column].kind == "label"
            )
            if alike and extra and extra <= {"text", "name", "names", "str"} and self.same(label, column):
                self.notes.append(
                    f'"{label}" has numbers and "{column}" has the same labels as words: the words are used.'
                )
                return column
        return label

    def same(self, profile: str, other: str) -> bool:
        """Whether two columns hold the same labels in other words."""
        pairs = {(str(row.fields.get(profile)), str(row.fields.get(other))) for row in self.table.rows}
        return len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs) > 1

    def text(self, answer: str, without: set[str], part: str = "text", answer_part: str = "label") -> str:
        """The text's column, or several joined with ``+``. Raises BadData."""
        named = [pair for pair in self.texts(without) if not called_id(pair[1])]
        subject = next((column for _, column in self.subjects(without)), None)
        bodies = [pair for pair in named if pair[1] != subject] or named
        columns = self.equals(bodies) if bodies else self.readable(without) or ([subject] if subject else [])
        columns = columns or self.only_text(without)
        pair = self.pair(without) if not bodies or bodies[0][0].rank != Rank(0, 0) else None
        if not columns and not pair:
            raise self.unknown("the text", f"{part}=COLUMN,{answer_part}={answer}")
        body = (
            pair[1]
            if pair
            else self.doubt("the text", columns, lambda name: f"{part}={name},{answer_part}={answer}")
        )
        first = pair[0] if pair else subject
        if not first or first == body:
            return body
        self.notes.append(
            f'The text is "{first}" and "{body}" together; to use only one of them, pass --columns '
            f"{part}={body},{answer_part}={answer}"
        )
        return f"{first}+{body}"

    def subjects(self, without: set[str]) -> list[tuple[Fit, str]]:
        """Columns that hold the short line before a text."""

        def accept(profile: Profile, fit: Rank) -> bool:
            return (
                profile.column not in without
                and profile.kind in _TEXTS
                and (fit.tier == 0 or profile.words >= 1.5)
            )

        fitting = self.ranked(names.SUBJECT, accept)
        fitting.sort(key=lambda pair: self.profiles[pair[1]].kind != "text")
        if not fitting and self.first(names.DESCRIPTION, _TEXTS):
            fitting = self.ranked(names.SUMMARY, accept, whole=True)
        return fitting

    def pair(self, without: set[str]) -> tuple[str, str] | None:
        """Two columns that are the two texts of a pair."""
        texts = [
            column
            for column, profile in self.profiles.items()
            if profile.kind in _TEXTS and column not in without
        ]
        return next(((a, b) for a in texts for b in texts if a != b and names.is_pair(a, b)), None)

    def only_text(self, without: set[str]) -> list[str]:
        """The only column of texts, be they single words."""
        texts = [
            column
            for column, profile in self.profiles.items()
            if profile.kind == "text" and column not in without
        ]
        return texts if len(texts) == 1 else []

    def readable(self, without: set[str]) -> list[str]:
        """Columns that hold texts of some words, whatever they are called."""
        return [
            column
            for column, profile in self.profiles.items()
            if profile.kind == "text"
            and profile.words >= 3
            and column not in without
            and not rank(column, names.COMPLETION, whole=True)
        ]

    def with_context(self, columns: dict[str, str]) -> dict[str, str]:
        """Adds a passage that stands before the question."""
        used = set(columns.values())
        context = next(
            (
                pair[1]
                for pair in self.ranked(
                    names.CONTEXT, lambda profile, _: profile.kind in (*_TEXTS, "list"), whole=True
                )
                if pair[1] not in used
            ),
            None,
        )
        return {"context": context, **columns} if context else columns

    def judged(self, columns: dict[str, str]) -> Plan:
        """Prompt and answer; where a column says whether the answer is a good one, with that. Raises BadData
        where this is unclear.
        """
        column = self.first(names.GOOD, ("boolean", "number", "label"))
        if column is None or column in columns.values():
            return Plan(columns, "prompt")
        profile = self.profiles[column]
        if profile.kind == "boolean":
            return Plan({**columns, "good": column}, "kto")
        words = {names.plain(sample) for sample in profile.samples}
        if profile.distinct > 2 or not words <= _GOOD_WORDS:
            return Plan(columns, "prompt")
        parts = ",".join(f"{part}={name}" for part, name in columns.items())
        raise BadData(
            f'{self.table.name}: it is unclear whether the column "{column}", with '
            f"{' and '.join(profile.samples)}, "
            "marks bad answers",
            f"to leave out bad answers, pass --columns {parts},good={column}; to learn from all rows, pass "
            f"--columns {parts}",
        )

    def extras(self, plan: Plan) -> None:
        """Adds what any shape may have: system, history, tools, weight, id."""
        used = {piece for column in plan.columns.values() for piece in column.split("+")}
        kinds = (*_TEXTS, "constant", "list", "object", "messages")
        optional: dict[str, tuple[Tiers, tuple[str, ...]]] = {"system": (names.SYSTEM, (*_TEXTS, "constant"))}
        if plan.shape != "text":
            optional |= {"history": (names.HISTORY, kinds), "tools": (names.TOOLS, kinds)}
        if plan.shape == "prompt":
            optional["answer"] = (names.FINAL, ("number", "id", "label"))
        if plan.shape == "messages":
            optional["rejected"] = (names.REJECTED, kinds)
        for part, (tiers, allowed) in optional.items():
            column = self.first(tiers, allowed)
            if column and column not in used and part not in plan.columns:
                plan.columns[part] = column
        weight = self.profiles.get("weight")
        if (
            weight
            and plan.shape != "text"
            and set(weight.samples) <= {"0", "1", "0.0", "1.0"}
            and weight.rows
        ):
            plan.columns["weight"] = "weight"
        identity = self.identity(used)
        if identity:
            plan.columns["id"] = identity

    def identity(self, used: set[str]) -> str | None:
        """The column that names a row: called id, or an id by name and values."""
        for pair in self.ranked(
            names.ID, lambda profile, fit: fit.word == 0 and profile.kind in ("id", "text", "label", "number")
        ):
            if pair[1] not in used:
                return pair[1]
        return next(
            (
                name
                for name, profile in self.profiles.items()
                if profile.kind == "id"
                and called_id(name)
                and profile.distinct == profile.rows
                and name not in used
            ),
            None,
        )

    # -- doubt ----------------------------------------------------------------------------------

    def equals(self, fitting: Sequence[tuple[Fit, str]]) -> list[str]:
        """The best columns, as many as are equally good."""
        return [column for fit, column in fitting if fit == fitting[0][0]]

    def equal_labels(self, fitting: Sequence[tuple[Fit, str]]) -> list[str]:
        """The best labels; "Issue Type" is as good as "Priority", for what such names mean depends on the
        file.
        """
        best = fitting[0][0]
        if best.rank.tier < 2 or best.beside:
            return self.equals(fitting)
        return [
            column
            for fit, column in fitting
            if (fit.constant, fit.beside, fit.rank.tier) == (best.constant, best.beside, best.rank.tier)
        ]

    def one_of(self, what: str, columns: Sequence[str], line: Callable[[str], str]) -> str:
        """The best of some columns by the order of their names, asking where several are as good."""
        order = {column: rank(column, names.MESSAGES) or Rank(9, 9) for column in columns}
        best = min(order.values())
        return self.doubt(what, [column for column in columns if order[column] == best], line)

    def doubt(self, what: str, columns: Sequence[str], line: Callable[[str], str]) -> str:
        """The only column there is, or the one a person chooses. Raises BadData naming all where nobody can
        be asked.
        """
        if len(columns) == 1:
            return columns[0]
        shown = [f'"{column}" (for example {self.shown(column)})' for column in columns]
        if self.ask is not None:
            chosen = columns[self.ask(f"{self.table.name}: which column is {what}?", shown)]
            self.notes.append(
                f"You chose {chosen!r} as {what}; to skip this question next time, pass --columns "
                f"{line(chosen)}"
            )
            return chosen
        raise BadData(
            f"{self.table.name}: {' and '.join(shown)} could each be {what}",
            f"say which, for example: --columns {line(columns[0])}",
        )

    def shown(self, column: str) -> str:
        return ", ".join(repr(sample.replace("\n", " ")) for sample in self.profiles[column].samples)

    def line(self, label: str, completion: str) -> str:
        """What to pass to choose a label, or an answer, with the likeliest text."""
        texts = (
            [column for _, column in self.texts({label, completion})]
            or self.readable({label, completion})
            or ["COLUMN"]
        )
        subject = next((column for _, column in self.subjects({label})), None)
        text = f"{subject}+{texts[0]}" if subject and subject != texts[0] else texts[0]
        return f"prompt={text},completion={label}" if label == completion else f"text={text},label={label}"

    def unknown(self, what: str, line: str) -> NoColumn:
        columns = ", ".join(map(str, self.profiles.values()))
        return NoColumn(
            f"{self.table.name}: none of the columns is clearly {what}; the columns are {columns}",
            f"say which is which, for example: --columns {line}",
        )


_QUESTION: Tiers = (frozenset({"question", "query", "frage", "pregunta"}),)
