"""Shapes of rows: a better and a worse answer, good and bad ones."""

from __future__ import annotations

from tests.data.front_door import FIRST, Case, T, chat, given, table

PREFERENCES = [
    Case(
        "chosen and rejected texts",
        [{"prompt": t.text, "chosen": t.label, "rejected": "no idea"} for t in T],
        prompt=FIRST.text,
        answer=FIRST.label,
        reference={"rejected": "no idea"},
        columns=("completion=chosen", "rejected=rejected"),
    ),
    Case(
        "chosen and rejected messages",
        [
            {
                "prompt": chat(("user", t.text)),
                "chosen": chat(("assistant", t.label)),
                "rejected": chat(("assistant", "no idea")),
            }
            for t in T
        ],
        prompt=FIRST.text,
        answer=FIRST.label,
        reference={"rejected": "no idea"},
        roles="user assistant",
    ),
    Case(
        "whole conversations: the prompt is what both begin with",
        [
            {
                "chosen": chat(("user", t.text), ("assistant", t.label)),
                "rejected": chat(("user", t.text), ("assistant", "no idea")),
            }
            for t in T
        ],
        prompt=FIRST.text,
        answer=FIRST.label,
        reference={"rejected": "no idea"},
    ),
    Case(
        "ultrafeedback: a prompt and whole conversations",
        [
            {
                "prompt": t.text,
                "chosen": chat(("user", t.text), ("assistant", t.label)),
                "rejected": chat(("user", t.text), ("assistant", "no")),
                "score_chosen": 8.0,
            }
            for t in T
        ],
        roles="user assistant",
        answer=FIRST.label,
        columns=("not used: score_chosen",),
    ),
    Case(
        "hh: dialogues in one text",
        [
            {
                "chosen": f"\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: {t.text}\n\nAssistant: {t.label}",
                "rejected": f"\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: {t.text}\n\nAssistant: no",
            }
            for t in T
        ],
        roles="user assistant user assistant",
        answer=FIRST.label,
        reference={"rejected": "no"},
    ),
    Case(
        "openai preference rows",
        [
            {
                "input": {"messages": chat(("user", t.text)), "tools": []},
                "preferred_output": chat(("assistant", t.label)),
                "non_preferred_output": chat(("assistant", "no")),
            }
            for t in T
        ],
        prompt=FIRST.text,
        answer=FIRST.label,
        reference={"rejected": "no"},
    ),
    Case(
        "other names of the two answers",
        [{"question": t.text, "chosen_response": t.label, "rejected_response": "no"} for t in T],
        answer=FIRST.label,
        reference={"rejected": "no"},
    ),
    Case(
        "preferred and dispreferred",
        [{"prompt": t.text, "preferred": t.label, "dispreferred": "no"} for t in T],
        answer=FIRST.label,
    ),
    Case(
        "a system column beside a preference",
        [{"system": "Route.", "prompt": t.text, "chosen": t.label, "rejected": "no"} for t in T],
        system="Route.",
    ),
    Case(
        "texts without a prompt",
        [{"chosen": t.text, "rejected": "no idea"} for t in T],
        refused=("there is no prompt",),
    ),
    Case(
        "two equal answers",
        [{"prompt": t.text, "chosen": t.label, "rejected": t.label if t.number == 0 else "no"} for t in T],
        count=39,
        left_out=1,
        notes=("are the same",),
    ),
    Case(
        "no rejected answer in a row",
        [{"prompt": t.text, "chosen": t.label, "rejected": None if t.number == 0 else "no"} for t in T],
        count=39,
        left_out=1,
        notes=('"rejected"',),
    ),
    Case(
        "only the chosen one is asked for",
        [{"prompt": t.text, "chosen": t.label, "rejected": "no"} for t in T],
        options=given("prompt=prompt,completion=chosen"),
        reference={},
        answer=FIRST.label,
        columns=("(given)", "not used: rejected"),
    ),
    Case(
        "trl: prompt and completion as messages",
        [
            {
                "prompt": chat(("system", "Route."), ("user", t.text)),
                "completion": chat(("assistant", t.label)),
            }
            for t in T
        ],
        system="Route.",
        prompt=FIRST.text,
        answer=FIRST.label,
    ),
    Case(
        "kto: bad answers are left out",
        [
            {
                "prompt": t.text,
                "completion": t.label if t.number % 2 == 0 else "no idea",
                "label": t.number % 2 == 0,
            }
            for t in T
        ],
        count=20,
        answer=FIRST.label,
        notes=("20 rows are marked as bad answers",),
        columns=("good=label",),
    ),
    Case(
        "kto: as messages",
        [
            {
                "prompt": chat(("user", t.text)),
                "completion": chat(("assistant", t.label)),
                "label": t.number % 4 > 0,
            }
            for t in T
        ],
        count=30,
        notes=("10 rows are marked as bad",),
    ),
    Case(
        "kto: True and False in a CSV file",
        table(("prompt", "completion", "label"), [(t.text, t.label, t.number % 2 == 0) for t in T]),
        file="in.csv",
        count=20,
        notes=("20 rows are marked",),
    ),
    Case(
        "kto: only bad answers",
        [{"prompt": t.text, "completion": t.label, "label": False} for t in T],
        refused=("no row is left",),
    ),
    Case(
        "kto: 0 and 1 are not clear",
        [{"prompt": t.text, "completion": t.label, "label": t.number % 2} for t in T],
        refused=("0 and 1", "good=label"),
    ),
    Case(
        "kto: 0 and 1 as said",
        [{"prompt": t.text, "completion": t.label, "label": t.number % 2} for t in T],
        options=given("prompt=prompt,completion=completion,good=label"),
        count=20,
    ),
]

CASES = PREFERENCES
