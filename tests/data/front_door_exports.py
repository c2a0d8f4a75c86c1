"""Rows as annotation tools, spreadsheets and question sets export them."""

from __future__ import annotations

from tests.data.front_door import FIRST, Case, T, given, table

REPORT = table(("Nr", "Description", "Category"), [(t.number, t.text, t.label) for t in T])
LETTERS = "ABCD"


def question(number: int) -> dict[str, object]:
    """A question of its own with four choices."""
    return {"question": T[number].text, "choices": ["red", "blue", f"the {T[number].label} one", "green"]}


TABLES = [
    Case(
        "csv: a title above the header",
        f"Tickets of 2026,,\n,,\n{REPORT}",
        file="in.csv",
        prompt=FIRST.text,
        answer=FIRST.label,
        columns=("text=Description", "label=Category"),
        notes=('Lines above the header are left out: "Tickets of 2026"',),
    ),
    Case(
        "csv: a title and a sentence above the header",
        f"Tickets,,\nAs of 1 March,,\n{REPORT}",
        file="in.csv",
        answer=FIRST.label,
        notes=('"Tickets", "As of 1 March"',),
    ),
    Case(
        "csv: names of groups of columns above the header",
        "Ticket,,Result\n" + table(("Nr", "Text", "Label"), [(t.number, t.text, t.label) for t in T]),
        file="in.csv",
        answer=FIRST.label,
        columns=("text=Text, label=Label",),
        notes=('Lines above the header are left out: "Ticket Result"',),
    ),
    Case(
        "csv: a first column without a name is no title",
        ",text\n" + "".join(f'"{t.label}","{t.text}"\n' for t in T),
        file="in.csv",
        answer=FIRST.label,
        notes=("Columns without a name",),
    ),
    Case(
        "fastText: one label a line",
        "".join(f"__label__{t.label} {t.text}\n" for t in T),
        file="in.txt",
        prompt=FIRST.text,
        answer=FIRST.label,
        reference={"label": FIRST.label},
        notes=("in the form of fastText",),
    ),
    Case(
        "fastText: several labels a line",
        "".join(f"__label__{t.label} __label__{'ab'[t.number % 2]} {t.text}\r\n" for t in T),
        file="in.train",
        answer=f"a, {FIRST.label}",
        columns=("labels=labels",),
    ),
    Case(
        "fastText: a line without a text",
        "".join(f"__label__{t.label} {t.text}\n" for t in T) + "__label__billing\n",
        file="in.txt",
        left_out=1,
        notes=("line 41: has no text after a label",),
    ),
    Case(
        "SAP: short text and long text between bars",
        "".join(
            f"|{'|'.join(cells)}|\n"
            for cells in [
                ("Meldung", "Kurztext", "Langtext", "Meldungsart"),
                *((f"000{100 + t.number}", t.subject, t.text, t.label) for t in T),
            ]
        ),
        file="in.txt",
        prompt=f"Kurztext: {FIRST.subject}\n\n{FIRST.text}",
        answer=FIRST.label,
    ),
]

CHOICES = [
    Case(
        "choices: an index from 0",
        [{**question(t.number), "answer": t.number % 4} for t in T],
        prompt=f"{FIRST.text}\n\n0. red\n1. blue\n2. the {FIRST.label} one\n3. green",
        answer="0",
        columns=("choices=choices",),
    ),
    Case(
        "choices: a number from 1",
        [{**question(t.number), "answer": 1 + t.number % 4} for t in T],
        prompt="1. red\n2. blue",
        answer="1",
    ),
    Case(
        "choices: with letters of their own",
        [
            {
                "id": f"M_{t.number}",
                "question": t.text,
                "choices": {"text": question(t.number)["choices"], "label": list(LETTERS)},
                "answerKey": LETTERS[t.number % 4],
            }
            for t in T
        ],
        prompt="A. red\nB. blue",
        answer="A",
        columns=("completion=answerKey", "choices=choices"),
    ),
    Case(
        "choices: already lettered",
        [
            {"question": t.text, "options": ["A) red", f"B) {t.label}"], "correct": LETTERS[t.number % 2]}
            for t in T
        ],
        prompt=f"\n\nA) red\nB) {FIRST.label}",
        answer="A",
    ),
    Case(
        "choices: a column each",
        table(
            ("question", "A", "B", "C", "answer"),
            [(t.text, "red", t.label, f"no {t.number}", LETTERS[t.number % 3]) for t in T],
        ),
        file="in.csv",
        prompt=f"A. red\nB. {FIRST.label}\nC. no 0",
        columns=("choices=A+B+C",),
    ),
    Case(
        "choices: the answer repeats one",
        [{**question(t.number), "answer": "blue" if t.number % 2 else "red"} for t in T],
        prompt="- red\n- blue",
        answer="red",
    ),
    Case(
        "choices: as said",
        [{"q": t.text, "x": "red", "y": t.label, "right": LETTERS[t.number % 2]} for t in T],
        options=given("prompt=q,choices=x+y,completion=right"),
        prompt=f"A. red\nB. {FIRST.label}",
    ),
    Case(
        "choices: about an article",
        [{"article": t.text, **question(t.number), "question": t.subject, "answer": "red"} for t in T],
        prompt=f"{FIRST.text}\n\n{FIRST.subject}\n\n- red",
        columns=("context=article, prompt=question",),
    ),
    Case(
        "choices: true or false",
        [{"question": t.text, "choices": ["True", "False"], "answer": t.number % 2 == 0} for t in T],
        prompt="- True\n- False",
        answer="true",
    ),
    Case(
        "choices: a row with one",
        [
            {**question(t.number), "choices": ["red"], "answer": "red"}
            if t.number == 5
            else {**question(t.number), "answer": "blue" if t.number % 2 else "red"}
            for t in T
        ],
        count=39,
        left_out=1,
        notes=('line 6, column "choices": holds fewer than two choices',),
    ),
]

TOOLS = [
    Case(
        "jira: a priority and an issue type are in doubt",
        table(
            ("Summary", "Description", "Issue Type", "Priority", "Status"),
            [(t.subject, t.text, t.label, "AB"[t.number % 2], "Done") for t in T],
        ),
        file="in.csv",
        refused=('"Priority" (for example', '"Issue Type" (for example', "could each be the label"),
    ),
    Case(
        "a solution with its final answer",
        [
            {"problem": t.text, "solution": f"It is {t.number} times 3.", "final_answer": str(3 * t.number)}
            for t in T
        ],
        answer="It is 0 times 3.",
        reference={"answer": "0"},
        columns=("answer=final_answer",),
    ),
    Case(
        "prodigy: what the annotator rejected is not learnt",
        [
            {"text": t.text, "label": t.label, "answer": "reject" if t.number % 4 == 3 else "accept"}
            for t in T
        ],
        count=30,
        answer=FIRST.label,
        columns=("good=answer",),
        notes=("10 rows are marked as bad answers",),
    ),
    Case(
        "prodigy: choices accepted",
        [{"text": t.text, "accept": [t.label], "answer": "accept", "_input_hash": 7 * t.number} for t in T],
        columns=("labels=accept",),
    ),
    Case(
        "doccano: spans are no labels",
        [{"id": t.number, "text": t.text, "label": [[4, 10 + t.number % 3, "THING"]]} for t in T],
        answer='[[4, 10, "THING"]]',
        reference={},
    ),
    Case(
        "argilla: an annotation beside a flag",
        [{"text": t.text, "annotation": t.label, "multi_label": False, "prediction": None} for t in T],
        answer=FIRST.label,
        columns=("label=annotation",),
    ),
    Case(
        "a prompt, two answers to it and which is better",
        [
            {
                "prompt": t.text,
                "response_a": f"{t.subject}, yes",
                "response_b": f"{t.subject}, no",
                "winner_label": "ab"[t.number % 2],
            }
            for t in T
        ],
        prompt=f"{FIRST.text}\n\nResponse_a: {FIRST.subject}, yes",
        columns=("context=prompt",),
    ),
    Case(
        "messages with a speaker and a label of their own",
        [{"speaker": ("agent", "customer")[t.number % 2], "text": t.text, "label": t.label} for t in T],
        answer=FIRST.label,
    ),
    Case(
        "a role that is a label",
        [{"text": t.text, "role": t.label} for t in T],
        answer=FIRST.label,
    ),
    Case(
        "one message a row",
        [
            {
                "message_id": f"m{t.number}",
                "parent_id": f"m{t.number - 1}",
                "text": t.text,
                "role": ("prompter", "assistant")[t.number % 2],
            }
            for t in T
        ],
        refused=("each row is one message of a conversation", "write each conversation as one row"),
    ),
    Case(
        "a reference answer beside a chat without one",
        [{"messages": [{"role": "user", "content": t.text}], "reference_answer": t.label} for t in T],
        answer=FIRST.label,
    ),
    Case(
        "a question and a sentence",
        [{"question": f"{t.subject}?", "sentence": t.text, "label": t.number % 2} for t in T],
        prompt=f"Question: {FIRST.subject}?\n\nSentence: {FIRST.text}",
    ),
    Case(
        "a label column of sentences",
        [
            {"text": t.text, "label": f"The customer says that there is a {t.label} matter, {t.number}"}
            for t in T
        ],
        roles="user assistant",
        columns=("prompt=text, completion=label",),
        notes=("holds texts, not labels",),
    ),
]

POLISH = "Proszę o pomoc, żółć i źdźbło"
CZECH = "Dobrý den, nefunguje mi přihlášení"
HUNGARIAN = "Nem működik, túl sok pénzt vontak le, őrült összeg"
ENCODINGS = [
    Case(
        f"csv: {encoding} is offered, not read as Western: {said[:11]}",
        table(("text", "label"), [(f"{said} {t.text}", t.label) for t in T]).encode(encoding),
        file="in.csv",
        refused=("is not UTF-8", f"--encoding {encoding} if this looks right", said),
    )
    for encoding, said in (
        ("cp1250", POLISH),
        ("cp1250", CZECH),
        ("cp1250", HUNGARIAN),
        ("cp1254", "Giriş yapamıyorum, şifre çalışmıyor, iade istiyorum"),
        ("cp1257", "Neveikia prisijungimas, prašau padėti, ačiū"),
    )
]
ENCODINGS += [
    Case(
        "csv: Western languages side by side in one file",
        table(
            ("text", "label"),
            [
                (("Größe über Öl ", "España mañana í ó ", "très où ça là ")[t.number % 3] + t.text, t.label)
                for t in T
            ],
        ).encode("cp1252"),
        file="in.csv",
        prompt="Größe über Öl",
        notes=("it is read as cp1252",),
    ),
]

AMOUNTS = [
    Case(
        "amounts: euros with a decimal comma",
        table(("description", "target"), [(t.text, f"1.{100 + t.number},50 €") for t in T], ";"),
        file="in.csv",
        answer="1100.50 €",
        notes=('("1.100,50 €" as 1100.50 €)',),
    ),
    Case(
        "amounts: percentages",
        table(("text", "score"), [(t.text, f"{t.number * 1.5:.1f}%") for t in T]),
        file="in.csv",
        answer="0.0%",
        columns=("label=score",),
    ),
]

NESTED = [
    Case(
        "objects: text and label lie inside",
        [
            {"ticket": {"id": t.number, "subject": t.subject, "body": t.text}, "meta": {"team": t.label}}
            for t in T
        ],
        prompt=f"Subject: {FIRST.subject}\n\n{FIRST.text}",
        answer=FIRST.label,
        columns=("text=subject+body, label=team",),
        notes=('Columns hold objects ("ticket", "meta")',),
    ),
    Case(
        "objects: a label among what is kept beside",
        [{"text": t.text, "meta": {"label": t.label, "source": "mail"}} for t in T],
        answer=FIRST.label,
        columns=("label=label",),
    ),
    Case(
        "objects: jira's fields",
        [
            {
                "key": f"A-{t.number}",
                "fields": {"summary": t.subject, "description": t.text, "priority": {"name": t.label}},
            }
            for t in T
        ],
        prompt=FIRST.subject,
        answer=FIRST.label,
        columns=("label=fields.priority.name",),
    ),
    Case(
        "objects: translations, of which nobody said from what to what",
        [{"translation": {"de": f"Fall {t.number}", "en": t.text}} for t in T],
        refused=('"de"', '"en"', "--columns prompt=de,completion=en"),
    ),
    Case(
        "objects: translations as said",
        [{"translation": {"de": f"Fall {t.number}", "en": t.text}} for t in T],
        options=given("prompt=en,completion=de"),
        prompt=FIRST.text,
        answer="Fall 0",
    ),
    Case(
        "label studio: everything",
        [
            {
                "id": t.number,
                "data": {"text": t.text},
                "annotations": [{"id": t.number, "result": [{"value": {"choices": [t.label]}}]}],
            }
            for t in T
        ],
        refused=("Label Studio", "export as CSV or JSON-MIN"),
    ),
]

CASES = [*ENCODINGS, *AMOUNTS, *NESTED, *TABLES, *CHOICES, *TOOLS]
