"""Shapes of rows: instructions, questions, prompts and answers."""

from __future__ import annotations

import json

from tests.data.front_door import FIRST, Case, T, chat

ASK = "Which team handles this ticket?"

ALPACA = [
    Case(
        "alpaca: the input stands after the instruction",
        [{"instruction": ASK, "input": t.text, "output": t.label} for t in T],
        prompt=f"{ASK}\n\n{FIRST.text}",
        answer=FIRST.label,
        columns=("instruction=instruction", "input=input", "completion=output"),
    ),
    Case(
        "alpaca: an empty input is left away",
        [{"instruction": t.text, "input": "", "output": t.label} for t in T],
        prompt=FIRST.text,
        answer=FIRST.label,
        roles="user assistant",
    ),
    Case(
        "alpaca: some inputs are empty",
        [
            {
                "instruction": f"{ASK} {t.number}",
                "input": t.text if t.number % 2 == 0 else "",
                "output": t.label,
            }
            for t in T
        ],
        prompt=f"{ASK} 0\n\n{FIRST.text}",
        answer=FIRST.label,
    ),
    Case(
        "alpaca: a system column",
        [{"instruction": ASK, "input": t.text, "output": t.label, "system": "You route tickets."} for t in T],
        system="You route tickets.",
        prompt=FIRST.text,
        columns=("system=system",),
    ),
    Case(
        "alpaca: history becomes earlier turns",
        [
            {"instruction": t.text, "input": "", "output": t.label, "history": [["Hello", "Good day"]]}
            for t in T
        ],
        roles="user assistant user assistant",
        prompt=FIRST.text,
        notes=("several assistant messages",),
    ),
    Case(
        "alpaca: an empty history",
        [{"instruction": t.text, "input": "", "output": t.label, "history": []} for t in T],
        roles="user assistant",
    ),
    Case(
        "alpaca: the whole prompt in a column text is not asked",
        [
            {
                "instruction": ASK,
                "input": t.text,
                "output": t.label,
                "text": f"### {ASK} {t.text} ### {t.label}",
            }
            for t in T
        ],
        prompt=f"{ASK}\n\n{FIRST.text}",
        columns=("not used: text",),
    ),
    Case(
        "alpaca: an instruction that is missing",
        [
            {"instruction": None, "input": "", "output": t.label}
            if t.number == 3
            else {"instruction": t.text, "input": "", "output": t.label}
            for t in T
        ],
        count=39,
        left_out=1,
        notes=("line 4", '"instruction"'),
    ),
    Case(
        "dolly: the context stands before the instruction",
        [
            {
                "instruction": f"Who wrote {t.number}?",
                "context": t.text,
                "response": t.label,
                "category": "qa",
            }
            for t in T
        ],
        prompt=f"{FIRST.text}\n\nWho wrote 0?",
        columns=("not used: category",),
    ),
    Case(
        "a prompt that never changes is the instruction of a text",
        [{"prompt": ASK, "text": t.text, "completion": t.label} for t in T],
        prompt=f"{ASK}\n\n{FIRST.text}",
    ),
]

QUESTIONS = [
    Case(
        "question, context, answer",
        [{"question": f"What is case {t.number}?", "context": t.text, "answer": t.label} for t in T],
        prompt=f"{FIRST.text}\n\nWhat is case 0?",
        answer=FIRST.label,
        columns=("context=context", "prompt=question", "completion=answer"),
    ),
    Case(
        "squad: answers in a dict",
        [
            {
                "id": f"q{t.number}",
                "title": "Tickets",
                "question": f"What is case {t.number}?",
                "context": t.text,
                "answers": {"text": [t.label], "answer_start": [3]},
            }
            for t in T
        ],
        answer=FIRST.label,
        columns=("not used: title", "id=id"),
    ),
    Case(
        "squad: several answers",
        [
            {
                "question": f"What is {t.number}?",
                "context": t.text,
                "answers": {"text": [t.label, "x"], "answer_start": [1, 2]},
            }
            for t in T
        ],
        answer=FIRST.label,
        notes=("several answers",),
    ),
    Case(
        "squad: no answer is an answer",
        [
            {
                "question": f"What is {t.number}?",
                "context": t.text,
                "answers": {"text": [], "answer_start": []},
            }
            for t in T
        ],
        answer="no answer",
        notes=("have an empty list of answers",),
    ),
    Case(
        "a list of answers", [{"question": t.text, "answers": [t.label, "y"]} for t in T], answer=FIRST.label
    ),
    Case(
        "boolq: a boolean answer",
        [{"question": f"Is {t.number} even?", "passage": t.text, "answer": t.number % 2 == 0} for t in T],
        answer="true",
        prompt=FIRST.text,
    ),
    Case(
        "prompt and completion",
        [{"prompt": t.text, "completion": t.label} for t in T],
        prompt=FIRST.text,
        answer=FIRST.label,
        roles="user assistant",
    ),
    Case(
        "prompt and completion with system",
        [{"system": "Route.", "prompt": t.text, "completion": t.label} for t in T],
        system="Route.",
    ),
    Case("query and response", [{"query": t.text, "response": t.label} for t in T], answer=FIRST.label),
    Case("input and output", [{"input": t.text, "output": t.label} for t in T], answer=FIRST.label),
    Case(
        "document and summary",
        [{"document": f"{t.text} {t.subject}", "summary": t.subject} for t in T],
        prompt=FIRST.text,
        answer=FIRST.subject,
    ),
    Case(
        "dialogue and summary",
        [{"id": f"d{t.number}", "dialogue": f"A: {t.text}\nB: ok", "summary": t.subject} for t in T],
        prompt="A: ",
        answer=FIRST.subject,
    ),
    Case(
        "article and highlights",
        [{"article": t.text, "highlights": t.subject, "id": f"a{t.number}"} for t in T],
        answer=FIRST.subject,
    ),
    Case(
        "a question and an answer in German",
        [{"Frage": t.text, "Antwort": t.subject} for t in T],
        prompt=FIRST.text,
        answer=FIRST.subject,
    ),
    Case(
        "gsm8k: a short answer beside a chat",
        [
            {
                "messages": chat(("user", t.text), ("assistant", f"So 1 + {t.number}\n#### {t.number + 1}")),
                "answer": str(t.number + 1),
            }
            for t in T
        ],
        reference={"answer": "1"},
    ),
    Case(
        "humaneval",
        [
            {
                "task_id": f"HumanEval/{t.number}",
                "prompt": f"def f{t.number}():\n",
                "canonical_solution": "    return 1\n",
                "test": "assert 1",
                "entry_point": f"f{t.number}",
            }
            for t in T
        ],
        answer="def f0():\n    return 1\n",
        reference={"prompt": "def f0():\n", "test": "assert 1", "entry_point": "f0"},
    ),
]


OBJECTS = [
    Case(
        "an extracted list of people with roles is no chat",
        [{"prompt": t.text, "completion": [{"role": "clerk", "name": "Ann"}]} for t in T],
        answer='[{"role": "clerk", "name": "Ann"}]',
    ),
    Case(
        "the same list as a text",
        [{"prompt": t.text, "completion": '[{"role": "user", "name": "Ann"}]'} for t in T],
        answer='[{"role": "user", "name": "Ann"}]',
    ),
    Case(
        "an e-mail as an object is no chat",
        [{"prompt": t.text, "completion": {"from": "ann@example.org", "text": t.subject}} for t in T],
        answer=json.dumps({"from": "ann@example.org", "text": FIRST.subject}),
    ),
    Case(
        "an input that is an object",
        [{"input": {"ticket": t.text}, "output": {"team": t.label}} for t in T],
        prompt=f'{{"ticket": "{FIRST.text}"}}',
        answer=f'{{"team": "{FIRST.label}"}}',
    ),
    Case(
        "entities beside a text, some rows without",
        [{"text": t.text, "entities": [{"type": "x", "start": 1}] if t.number % 2 else []} for t in T],
        answer="[]",
    ),
]
CASES = [*ALPACA, *QUESTIONS, *OBJECTS]
