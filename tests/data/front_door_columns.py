"""Columns of tables: which is the text, which the label."""

from __future__ import annotations

from freehold.data.examples import RowOptions
from tests.data.front_door import FIRST, Case, T, given, table

SKIP, STOP, MERGE = (
    RowOptions(on_bad_row="skip"),
    RowOptions(on_bad_row="stop"),
    RowOptions(merge_labels=True),
)
INSTRUCTION = "Classify the text. Answer with the label only."

COLUMNS = [
    Case(
        "tickets: subject and body together",
        table(
            ("ticket_id", "created", "subject", "body", "category"),
            [
                (f"T{100 + t.number}", f"2026-02-{1 + t.number % 28:02d}", t.subject, t.text, t.label)
                for t in T
            ],
        ),
        file="in.csv",
        prompt=f"Subject: {FIRST.subject}\n\n{FIRST.text}",
        answer=FIRST.label,
        system=INSTRUCTION,
        columns=("text=subject+body", "label=category", "id=ticket_id", "not used: created"),
        notes=('"subject" and "body" together', "--columns text=body,label=category"),
    ),
    Case(
        "tickets: only the body, as said",
        table(("subject", "body", "category"), [(t.subject, t.text, t.label) for t in T]),
        file="in.csv",
        options=given("text=body,label=category"),
        prompt=FIRST.text,
        columns=("not used: subject",),
        silent=True,
    ),
    Case(
        "tickets: subject and body as said",
        [{"subject": t.subject, "body": t.text, "category": t.label} for t in T],
        options=given("text=subject+body,label=category"),
        prompt=f"Subject: {FIRST.subject}\n\n{FIRST.text}",
        columns=("(given)",),
    ),
    Case(
        "tickets: some subjects are empty",
        [{"subject": "" if t.number == 0 else t.subject, "body": t.text, "category": t.label} for t in T],
        prompt=FIRST.text,
        notes=("some of the text columns are empty",),
    ),
    Case(
        "tickets: few different subjects",
        [{"subject": f"About {t.label}s", "body": t.text, "category": t.label} for t in T],
        columns=("text=subject+body",),
    ),
    Case(
        "jira: summary and description",
        [
            {"Issue key": f"A-{t.number}", "Summary": t.subject, "Description": t.text, "Issue Type": t.label}
            for t in T
        ],
        prompt=f"Summary: {FIRST.subject}\n\n{FIRST.text}",
        columns=("label=Issue Type",),
    ),
    Case(
        "news: title and description",
        [{"title": t.subject, "description": t.text, "label": t.number % 4} for t in T],
        columns=("text=title+description",),
        answer="0",
    ),
    Case(
        "German columns",
        table(
            ("Nr", "Betreff", "Nachricht", "Kategorie"),
            [(t.number, t.subject, t.text, t.label) for t in T],
            ";",
        ),
        file="in.csv",
        columns=("text=Betreff+Nachricht", "label=Kategorie"),
        answer=FIRST.label,
    ),
    Case(
        "French columns",
        [{"commentaire": t.text, "étiquette": t.label} for t in T],
        columns=("text=commentaire", "label=étiquette"),
    ),
    Case(
        "Spanish columns",
        [{"asunto": t.subject, "texto": t.text, "etiqueta": t.label} for t in T],
        columns=("text=asunto+texto", "label=etiqueta"),
    ),
    Case(
        "Ticket Body and Ticket Priority",
        [{"Ticket Body": t.text, "Ticket Priority": t.label} for t in T],
        columns=("text=Ticket Body", "label=Ticket Priority"),
    ),
    Case(
        "camelCase",
        [{"reviewText": t.text, "overallSentiment": t.label} for t in T],
        columns=("text=reviewText", "label=overallSentiment"),
    ),
    Case(
        "capital names", [{"TEXT": t.text, "LABEL": t.label} for t in T], columns=("text=TEXT", "label=LABEL")
    ),
    Case(
        "review and stars",
        [{"review": t.text, "stars": 1 + t.number % 5} for t in T],
        answer="1",
        columns=("label=stars",),
    ),
    Case(
        "body, team and a date",
        [
            {"created_at": f"2026-01-{1 + t.number % 28:02d}T10:00:00Z", "body": t.text, "team": t.label}
            for t in T
        ],
        columns=("not used: created_at",),
    ),
    Case(
        "names that say nothing: v1 and v2",
        table(("v1", "v2"), [(t.label, t.text) for t in T]),
        file="in.csv",
        columns=("text=v2", "label=v1"),
    ),
    Case(
        "a message column of ids is no text",
        [{"message": f"MSG-{1000 + t.number}", "body_html": t.text, "label": t.label} for t in T],
        columns=("text=body_html",),
    ),
    Case(
        "a content column of dates is no text",
        [{"content": f"{1 + t.number % 28:02d}.03.2026", "remarks": t.text, "label": t.label} for t in T],
        columns=("text=remarks",),
    ),
    Case(
        "a text column that never changes is no text",
        [{"text": "see the comment", "comment": t.text, "label": t.label} for t in T],
        columns=("text=comment",),
    ),
    Case(
        "a column of rising numbers is no text",
        [{"text": 5000 + t.number, "remarks": t.text, "label": t.label} for t in T],
        columns=("text=remarks",),
    ),
    Case(
        "only ids beside the label",
        [{"text": f"A-{t.number:05d}", "label": t.label} for t in T],
        refused=("none of the columns is clearly the text", '"text" (ids)'),
    ),
    Case(
        "two equal labels",
        [{"text": t.text, "category": t.label, "topic": "ab"[t.number % 2]} for t in T],
        refused=(
            '"category" (for example',
            '"topic" (for example',
            "could each be the label",
            "--columns text=text,label=category",
        ),
    ),
    Case(
        "two equal labels, one chosen",
        [{"text": t.text, "category": t.label, "topic": "ab"[t.number % 2]} for t in T],
        options=given("text=text,label=topic"),
        answer="a",
    ),
    Case(
        "two equal labels on a terminal",
        [{"text": t.text, "category": t.label, "topic": "ab"[t.number % 2]} for t in T],
        options=RowOptions(
            ask=lambda _question, choices: next(n for n, one in enumerate(choices) if "topic" in one)
        ),
        answer="a",
        notes=("You chose 'topic'", "--columns text=text,label=topic"),
    ),
    Case(
        "two equal texts",
        [{"email": t.text, "comment": f"{t.subject} was seen by us", "label": t.label} for t in T],
        refused=("could each be the text", "--columns text=email,label=label"),
    ),
    Case(
        "a label called label beats category",
        [{"text": t.text, "category": "ab"[t.number % 2], "label": t.label} for t in T],
        answer=FIRST.label,
        columns=("not used: category",),
    ),
    Case(
        "category beats priority",
        [{"text": t.text, "priority": "ab"[t.number % 2], "category": t.label} for t in T],
        answer=FIRST.label,
    ),
    Case(
        "a reply and a queue are in doubt",
        [{"body": t.text, "answer": f"Dear customer, {t.text}", "queue": t.label} for t in T],
        refused=("could each be the answer",),
    ),
    Case(
        "premise and hypothesis",
        [{"premise": t.text, "hypothesis": t.subject, "label": t.label} for t in T],
        prompt=f"Premise: {FIRST.text}\n\nHypothesis: {FIRST.subject}",
        columns=("text=premise+hypothesis",),
    ),
    Case(
        "sentence1 and sentence2",
        [{"sentence1": t.text, "sentence2": t.subject, "label": t.number % 2, "idx": t.number} for t in T],
        prompt="Sentence1: ",
        columns=("text=sentence1+sentence2",),
    ),
    Case(
        "a question with a label",
        [{"question": t.text, "label": t.label} for t in T],
        system=INSTRUCTION,
        prompt=FIRST.text,
    ),
    Case(
        "an instruction of its own",
        [{"instruction": "Name the team.", "text": t.text, "label": t.label} for t in T],
        system="Name the team.",
        prompt=FIRST.text,
    ),
    Case(
        "a system message beside text and label",
        [{"system": "Name the team.", "text": t.text, "label": t.label} for t in T],
        system="Name the team.",
    ),
    Case(
        "only the label is given",
        [{"text": t.text, "kind": t.label, "label": "x"} for t in T],
        options=given("label=kind"),
        answer=FIRST.label,
        columns=("label=kind, text=text",),
        notes=("does not say which column is the text",),
    ),
    Case(
        "only the text is given",
        [{"a": t.text, "b": t.subject, "label": t.label} for t in T],
        options=given("text=b"),
        prompt=FIRST.subject,
        answer=FIRST.label,
    ),
    Case(
        "a column that is not there",
        [{"body": t.text, "team": t.label} for t in T],
        options=given("text=body,label=taem"),
        refused=("no column 'taem'", "did you mean 'team'"),
    ),
    Case(
        "a column's name in another case",
        [{"Ticket Body": t.text, "Team": t.label} for t in T],
        options=given("text=ticket_body,label=team"),
        prompt=FIRST.text,
    ),
    Case(
        "a plus in a column's name",
        [{"a+b": t.text, "team": t.label} for t in T],
        options=given("text=a+b,label=team"),
        prompt=FIRST.text,
    ),
    Case(
        "given: context, prompt and completion",
        [{"c": t.text, "q": t.subject, "r": t.label} for t in T],
        options=given("context=c,prompt=q,completion=r"),
        prompt=f"{FIRST.text}\n\n{FIRST.subject}",
    ),
    Case(
        "given: two answers",
        [{"a": t.text, "b": t.label, "c": t.subject} for t in T],
        options=given("text=a,label=b,completion=c"),
        refused=("two answers",),
    ),
    Case(
        "one column only",
        [{"text": t.text} for t in T],
        refused=("none of the columns is clearly the answers", '"text" (text)'),
    ),
    Case(
        "weight 0 leaves rows out",
        [{"prompt": t.text, "completion": t.label, "weight": t.number % 2} for t in T],
        count=20,
        notes=("20 rows of weight 0",),
    ),
    Case(
        "repeated ids",
        [{"id": 1000 + t.number // 2, "text": t.text, "label": t.label} for t in T],
        notes=("20 ids appear on several rows",),
    ),
    Case(
        "a metadata column is no label",
        [{"text": t.text, "lang": "en" if t.number % 2 else "de", "v9": t.label} for t in T],
        columns=("label=v9", "not used: lang"),
    ),
]


CASES = COLUMNS
