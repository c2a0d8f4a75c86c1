"""Labels and answers: their values, their forms, those that are missing."""

from __future__ import annotations

import json

from freehold.data.examples import RowOptions
from tests.data.front_door import FIRST, Case, T, table

SKIP, STOP, MERGE = (
    RowOptions(on_bad_row="skip"),
    RowOptions(on_bad_row="stop"),
    RowOptions(merge_labels=True),
)
INSTRUCTION = "Classify the text. Answer with the label only."

VARIANTS = ("billing", "Billing", "billing ", " billing", "BILLING", "bil\u200bling", "billing.")


def labelled(*forms: str) -> list[dict[str, str]]:
    """Rows with these labels in turn, for one ticket in two; the others are labelled access."""
    return [
        {"text": t.text, "label": forms[t.number // 2 % len(forms)] if t.number % 2 else "access"} for t in T
    ]


VALUES = [
    Case(
        "a label that is a number",
        [{"text": t.text, "label": t.number % 2} for t in T],
        answer="0",
        reference={"label": "0"},
        silent=True,
    ),
    Case(
        "a label that is a boolean", [{"text": t.text, "label": t.number % 2 == 0} for t in T], answer="true"
    ),
    Case(
        "a label that is a decimal number",
        [{"text": t.text, "label": 0.25 + t.number} for t in T],
        answer="0.25",
    ),
    Case(
        "a completion that is a decimal number",
        [{"prompt": t.text, "completion": 4.5} for t in T],
        answer="4.5",
    ),
    Case("one label for all", [{"text": t.text, "label": "ham"} for t in T], answer="ham"),
    Case(
        "as many labels as rows",
        [{"text": t.text, "label": f"team-{t.number % 20}"} for t in T],
        answer="team-0",
        columns=("label=label",),
    ),
    Case(
        "labels in other scripts",
        [{"text": t.text, "label": ("🔑 Zugang", "配送", "الفواتير")[t.number % 3]} for t in T],
        answer="🔑 Zugang",
    ),
    Case(
        "labels that begin alike",
        [{"text": t.text, "label": ("bug", "bug report")[t.number % 2]} for t in T],
        answer="bug",
        silent=True,
    ),
    Case(
        "several labels in lists",
        [{"text": t.text, "labels": [t.label, "urgent"]} for t in T],
        answer=f"{FIRST.label}, urgent",
        reference={"labels": json.dumps([FIRST.label, "urgent"])},
        columns=("labels=labels",),
        notes=("several labels",),
        system="all labels",
    ),
    Case(
        "several labels in any order",
        [{"text": t.text, "label": ["urgent", t.label]} for t in T],
        answer=f"{FIRST.label}, urgent",
        columns=("labels=label",),
    ),
    Case(
        "lists of one or more labels",
        [{"text": t.text, "tags": [t.label] if t.number % 2 == 0 else [t.label, "vip"]} for t in T],
        answer=FIRST.label,
    ),
    Case(
        "an empty list of labels",
        [{"text": t.text, "labels": [] if t.number == 0 else [t.label]} for t in T],
        answer="none",
        notes=("empty list of labels",),
    ),
    Case(
        "labels that hold a comma",
        [{"text": t.text, "labels": ["b, c", "a"]} for t in T],
        answer='["a", "b, c"]',
        system="JSON list",
    ),
    Case(
        "labels with semicolons in CSV",
        table(("text", "label"), [(t.text, f"{t.label};{'urgent' if t.number % 3 else 'later'}") for t in T]),
        file="in.csv",
        answer=f"later, {FIRST.label}",
        notes=('";" between the labels',),
    ),
    Case(
        "labels with bars in CSV",
        table(
            ("text", "labels"), [(t.text, f"{t.label}|{'urgent' if t.number % 3 else 'later'}") for t in T]
        ),
        file="in.csv",
        answer=f"later, {FIRST.label}",
    ),
    Case(
        "lists printed in CSV",
        table(("text", "labels"), [(t.text, str([t.label, "urgent"])) for t in T]),
        file="in.csv",
        answer=f"{FIRST.label}, urgent",
    ),
    Case(
        "a semicolon inside of single labels",
        [{"text": t.text, "label": ("Bug; crash", "Wish", "Money; refund")[t.number % 3]} for t in T],
        answer="Bug; crash",
        reference={"label": "Bug; crash"},
    ),
    Case(
        "an object as the answer",
        [{"instruction": t.text, "output": {"team": t.label, "due": None, "größe": 1.5}} for t in T],
        answer=json.dumps({"team": FIRST.label, "due": None, "größe": 1.5}, ensure_ascii=False),
    ),
    Case(
        "a list as the answer",
        [{"prompt": t.text, "completion": [{"team": t.label}]} for t in T],
        answer=json.dumps([{"team": FIRST.label}]),
    ),
    Case(
        "fenced JSON answers",
        [{"prompt": t.text, "completion": f'```json\n{{"team": "{t.label}"}}\n```'} for t in T],
        answer=f'{{"team": "{FIRST.label}"}}',
        notes=("fences are removed",),
    ),
    Case(
        "fenced and plain JSON answers",
        [
            {
                "prompt": t.text,
                "completion": f'```\n{{"n": {t.number}}}\n```'
                if t.number % 2 == 0
                else f'{{"n": {t.number}}}',
            }
            for t in T
        ],
        answer='{"n": 0}',
    ),
    Case(
        "fenced code that is not JSON stays",
        [{"prompt": t.text, "completion": f"```python\nx = {t.number}\n```"} for t in T],
        answer="```python\nx = 0\n```",
        silent=True,
    ),
    Case(
        "control characters",
        [{"text": f"a\u0007b {t.text}", "label": t.label} for t in T],
        prompt=f"ab {FIRST.text}",
        notes=("control characters",),
    ),
    Case(
        "a line separator is kept",
        [{"text": f"a\u2028b {t.text}", "label": t.label} for t in T],
        prompt="a\u2028b",
        silent=True,
    ),
    Case(
        "half characters",
        [json.dumps({"text": f"{t.text} \ud83d", "label": t.label}) for t in T],
        refused=("half of a character",),
    ),
    Case(
        "labels in several forms",
        labelled(*VARIANTS),
        notes=('label variants: "billing" (3)', "pass --merge-labels", '"bil<U+200B>ling"'),
    ),
    Case("labels in several forms, merged", labelled(*VARIANTS), options=MERGE, notes=('read as "billing"',)),
    Case(
        "labels that differ in Unicode form", labelled("caf\u00e9", "cafe\u0301"), notes=("label variants",)
    ),
    Case(
        "labels that differ in inner spaces", labelled("bug report", "bug  report"), notes=("label variants",)
    ),
    Case("labels that differ in width", labelled("billing", "ｂｉｌｌｉｎｇ"), notes=("label variants",)),
    Case(
        "answers of a chat in several forms",
        [{"prompt": t.text, "completion": ("yes", "Yes", "no")[t.number % 3]} for t in T],
        notes=('"Yes" (13)',),
    ),
    Case(
        "labels with a space before all of them",
        table(("text", "label"), [(t.text, f" {t.label}") for t in T]),
        file="in.csv",
        answer=FIRST.label,
    ),
    Case("different labels are not variants", labelled("billing", "bill"), silent=True),
]


def with_label(value: object, *numbers: int) -> list[dict[str, object]]:
    """Rows of which some have another label."""
    return [{"text": t.text, "label": value if t.number in numbers else t.label} for t in T]


MISSING = [
    *(
        Case(
            f"one label is {word!r}",
            with_label(word, 3),
            count=39,
            left_out=1,
            notes=("1 of 40 rows are left out", "line 4"),
        )
        for word in (
            None,
            "",
            "   ",
            "NaN",
            "nan",
            "None",
            "NULL",
            "N/A",
            "#N/A",
            "null",
            "NA",
            "-",
            "none",
            "\u200b",
        )
    ),
    Case(
        "one label is NaN",
        [json.dumps({"text": t.text, "label": float("nan") if t.number == 3 else t.label}) for t in T],
        count=39,
        left_out=1,
    ),
    Case(
        "two missing labels of 40 stop",
        with_label(None, 3, 5),
        refused=(
            "2 of 40 rows cannot be used",
            'in.jsonl, line 4, column "label": no value',
            "--on-bad-row skip",
        ),
    ),
    Case(
        "two missing labels are skipped when asked to",
        with_label(None, 3, 5),
        options=SKIP,
        count=38,
        left_out=2,
        notes=("2 of 40 rows are left out",),
    ),
    Case(
        "one missing label stops when asked to", with_label(None, 3), options=STOP, refused=("1 of 40 row",)
    ),
    Case(
        "more than half missing is too much to skip",
        with_label(None, *range(25)),
        options=SKIP,
        refused=("25 of 40 rows", "more than half"),
    ),
    Case(
        "NaN on a fifth of the rows is no label",
        with_label("NaN", *range(0, 40, 5)),
        refused=("8 of 40 rows", "'NaN' is read as a missing value"),
    ),
    Case(
        "none on a third of the rows is a label",
        with_label("none", *range(0, 40, 3)),
        answer="none",
        notes=('"none" is the value of column "label" in 14 of 40 rows',),
    ),
    Case(
        "a dash on half of the rows is a label",
        with_label("-", *range(0, 40, 2)),
        answer="-",
        notes=('"-" is the value of column',),
    ),
    Case(
        "an empty text",
        [{"text": "" if t.number == 3 else t.text, "label": t.label} for t in T],
        count=39,
        left_out=1,
        notes=('"text"',),
    ),
    Case(
        "a text that is NaN",
        table(("text", "label"), [("nan" if t.number == 3 else t.text, t.label) for t in T]),
        file="in.csv",
        count=39,
        left_out=1,
    ),
    Case(
        "an empty prompt",
        [{"prompt": " " if t.number == 3 else t.text, "completion": t.label} for t in T],
        count=39,
        left_out=1,
    ),
    Case(
        "a missing key",
        [{"text": t.text, "label": t.label} if t.number != 3 else {"text": t.text} for t in T],
        count=39,
        left_out=1,
    ),
    Case(
        "a line that is not JSON",
        [{"text": t.text, "label": t.label} for t in T] + ["{broken"],
        count=40,
        left_out=1,
        notes=("line 41",),
    ),
    Case(
        "bad lines and bad rows count together", [*with_label(None, 3), "{broken"], refused=("2 of 41 rows",)
    ),
    Case("no rows", "", refused=("in.jsonl",)),
    Case(
        "all answers are missing",
        [{"text": t.text, "label": None} for t in T],
        refused=("none of the columns is clearly the answers",),
    ),
    Case("a word of many that is none stays an answer", with_label("nonesuch", 3), silent=True),
]

CASES = [*VALUES, *MISSING]
