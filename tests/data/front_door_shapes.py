"""Shapes of rows: instructions, chats, tools, questions, preferences."""

from __future__ import annotations

import json

from tests.data.front_door import FIRST, Case, T, chat, given, table

ASK = "Which team handles this ticket?"
TOOL = {"type": "function", "function": {"name": "route", "parameters": {"type": "object"}}}


def call(**arguments: str) -> dict[str, object]:
    """An assistant message of OpenAI's form that calls a function."""
    function = {"name": "route", "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]}


ALPACA = [
    Case("alpaca: the input stands after the instruction", [{"instruction": ASK, "input": t.text, "output": t.label} for t in T],
         prompt=f"{ASK}\n\n{FIRST.text}", answer=FIRST.label, columns=("instruction=instruction", "input=input", "completion=output")),
    Case("alpaca: an empty input is left away", [{"instruction": t.text, "input": "", "output": t.label} for t in T],
         prompt=FIRST.text, answer=FIRST.label, roles="user assistant"),
    Case("alpaca: some inputs are empty", [{"instruction": f"{ASK} {t.number}", "input": t.text if t.number % 2 == 0 else "", "output": t.label} for t in T],
         prompt=f"{ASK} 0\n\n{FIRST.text}", answer=FIRST.label),
    Case("alpaca: a system column", [{"instruction": ASK, "input": t.text, "output": t.label, "system": "You route tickets."} for t in T],
         system="You route tickets.", prompt=FIRST.text, columns=("system=system",)),
    Case("alpaca: history becomes earlier turns",
         [{"instruction": t.text, "input": "", "output": t.label, "history": [["Hello", "Good day"]]} for t in T],
         roles="user assistant user assistant", prompt=FIRST.text, notes=("several assistant messages",)),
    Case("alpaca: an empty history", [{"instruction": t.text, "input": "", "output": t.label, "history": []} for t in T], roles="user assistant"),
    Case("alpaca: the whole prompt in a column text is not asked",
         [{"instruction": ASK, "input": t.text, "output": t.label, "text": f"### {ASK} {t.text} ### {t.label}"} for t in T],
         prompt=f"{ASK}\n\n{FIRST.text}", columns=("not used: text",)),
    Case("alpaca: an instruction that is missing", [{"instruction": None, "input": "", "output": t.label} if t.number == 3 else
         {"instruction": t.text, "input": "", "output": t.label} for t in T], count=39, left_out=1, notes=("line 4", '"instruction"')),
    Case("dolly: the context stands before the instruction",
         [{"instruction": f"Who wrote {t.number}?", "context": t.text, "response": t.label, "category": "qa"} for t in T],
         prompt=f"{FIRST.text}\n\nWho wrote 0?", columns=("not used: category",)),
    Case("a prompt that never changes is the instruction of a text",
         [{"prompt": ASK, "text": t.text, "completion": t.label} for t in T], prompt=f"{ASK}\n\n{FIRST.text}"),
]  # fmt: skip

SHAREGPT = [
    Case("sharegpt: from and value", [{"conversations": chat(("human", t.text), ("gpt", t.label), role="from", content="value")} for t in T],
         prompt=FIRST.text, answer=FIRST.label, columns=("messages=conversations",)),
    Case("sharegpt: a system column", [{"system": "Answer in capitals.", "conversations": chat(("human", t.text), ("gpt", t.label.upper()), role="from", content="value")} for t in T],
         system="Answer in capitals.", answer=FIRST.label.upper()),
    Case("sharegpt: function calls and observations", [
        {"conversations": chat(("human", t.text), ("function_call", '{"name": "look", "arguments": {"n": 1}}'), ("observation", "found"), ("gpt", t.label), role="from", content="value"), "tools": "[]"} for t in T],
         roles="user assistant user assistant", prompt="Function result: found", answer=FIRST.label, notes=("function calls", "Function result")),
    Case("sharegpt: tools stand in the system message", [
        {"conversations": chat(("human", t.text), ("gpt", t.label), role="from", content="value"), "tools": json.dumps([TOOL])} for t in T],
         system='"name": "route"', notes=("function definitions",)),
    Case("sharegpt: an empty system message is none", [
        {"conversations": chat(("system", ""), ("human", t.text), ("gpt", t.label), role="from", content="value")} for t in T], roles="user assistant"),
    Case("sharegpt: the assistant begins", [
        {"conversations": chat(("gpt", "Welcome."), ("human", t.text), ("gpt", t.label), role="from", content="value")} for t in T],
         roles="system user assistant", system="Welcome.", notes=("begin with the assistant",)),
    Case("sharegpt: several turns", [
        {"conversations": chat(("human", "Hi"), ("gpt", "Yes?"), ("human", t.text), ("gpt", t.label), role="from", content="value")} for t in T],
         roles="user assistant user assistant", prompt=FIRST.text, notes=("the last one is the wanted answer",)),
    Case("sharegpt: printed by Python in a CSV file", table(("id", "conversations"), [
        (t.number, str(chat(("human", t.text), ("gpt", t.label), role="from", content="value"))) for t in T]), file="in.csv", prompt=FIRST.text, answer=FIRST.label),
]  # fmt: skip

OPENAI = [
    Case("openai: system, user, assistant", [{"messages": chat(("system", "Route."), ("user", t.text), ("assistant", t.label))} for t in T],
         roles="system user assistant", system="Route.", prompt=FIRST.text, answer=FIRST.label, silent=True),
    Case("openai: the answer is a function call", [{"messages": [*chat(("user", t.text)), call(team=t.label)], "tools": [TOOL], "parallel_tool_calls": False} for t in T],
         answer=json.dumps({"name": "route", "arguments": {"team": FIRST.label}}), system='"name": "route"', columns=("not used: parallel_tool_calls",)),
    Case("openai: two calls at once are a list", [{"messages": [*chat(("user", t.text)), {"role": "assistant", "content": None, "tool_calls": [
        {"type": "function", "function": {"name": "a", "arguments": "{}"}}, {"type": "function", "function": {"name": "b", "arguments": "{}"}}]}]} for t in T],
         answer='[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]'),
    Case("openai: a tool's result", [{"messages": [*chat(("user", t.text)), call(), {"role": "tool", "tool_call_id": "c1", "content": "found"}, *chat(("assistant", t.label))]} for t in T],
         roles="user assistant user assistant", prompt="Function result: found", answer=FIRST.label),
    Case("openai: two results follow each other", [{"messages": [*chat(("user", t.text)), call(), *chat(("tool", "one"), ("tool", "two"), ("assistant", t.label))]} for t in T],
         roles="user assistant user assistant", prompt="Function result: one\n\nFunction result: two", notes=("joined",)),
    Case("openai: the old form of a call", [{"messages": [*chat(("user", t.text)), {"role": "assistant", "content": None, "function_call": {"name": "route", "arguments": "{}"}},
        {"role": "function", "name": "route", "content": "ok"}, *chat(("assistant", t.label))]} for t in T], roles="user assistant user assistant", answer=FIRST.label),
    Case("openai: words and a call", [{"messages": [*chat(("user", t.text)), {**call(), "content": "One moment."}]} for t in T], answer='One moment.\n{"name": "route", "arguments": {}}'),
    Case("openai: developer is system", [{"messages": chat(("developer", "Route."), ("user", t.text), ("assistant", t.label))} for t in T], system="Route."),
    Case("openai: content in parts", [{"messages": chat(("user", [{"type": "text", "text": "Ticket:"}, {"type": "text", "text": t.text}]), ("assistant", t.label))} for t in T],
         prompt=f"Ticket:\n{FIRST.text}"),
    Case("openai: an image is refused", [{"messages": chat(("user", [{"type": "image_url", "image_url": {"url": "x"}}]), ("assistant", t.label))} for t in T],
         refused=("an image", "only text")),
    Case("openai: sound is refused", [{"messages": chat(("user", [{"type": "input_audio"}]), ("assistant", t.label))} for t in T], refused=("sound",)),
    Case("openai: weight 0 is no answer", [{"messages": [*chat(("user", t.text), ("assistant", t.label)), {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "No", "weight": 0}]} for t in T],
         answer=FIRST.label, notes=("weight 0",)),
    Case("openai: weight 1 is the answer", [{"messages": [*chat(("user", "Hi")), {"role": "assistant", "content": "?", "weight": 0}, *chat(("user", t.text)), {"role": "assistant", "content": t.label, "weight": 1}]} for t in T],
         answer=FIRST.label, roles="user assistant user assistant"),
    Case("openai: all of weight 0", [{"messages": [*chat(("user", t.text)), {"role": "assistant", "content": t.label, "weight": 0}]} for t in T], refused=("weight 0",)),
    Case("openai: a refusal is an answer", [{"messages": [*chat(("user", t.text)), {"role": "assistant", "content": None, "refusal": "I cannot."}]} for t in T], answer="I cannot."),
    Case("openai: names of speakers are said", [{"messages": [{"role": "user", "name": "ann", "content": t.text}, *chat(("assistant", t.label))]} for t in T], notes=("name the speaker",)),
    Case("chat: a user turn after the answer", [{"messages": chat(("user", t.text), ("assistant", t.label), ("user", "Thanks"))} for t in T], answer=FIRST.label, notes=("40 rows go on after",)),
    Case("chat: no answer in any row", [{"messages": chat(("user", t.text))} for t in T], refused=("no message of the assistant",)),
    Case("chat: the answers are in another column", [{"messages": chat(("user", t.text)), "completion": t.label} for t in T],
         answer=FIRST.label, columns=("prompt=messages", "completion=completion")),
    Case("chat: an unknown role", [{"messages": chat(("robot", t.text), ("assistant", t.label))} for t in T], refused=("'robot'", "system, user, assistant, tool")),
    Case("chat: a message that is empty", [{"messages": chat(("user", t.text), ("assistant", "" if t.number == 5 else t.label))} for t in T],
         count=39, left_out=1, notes=("line 6", "empty")),
    Case("chat: content null without a call", [{"messages": chat(("user", t.text), ("assistant", None))} for t in T], refused=("empty",)),
    Case("chat: a system message in the middle", [{"messages": chat(("user", "Hi"), ("assistant", "Yes?"), ("system", "Be short."), ("user", t.text), ("assistant", t.label))} for t in T],
         system="Be short.", roles="system user assistant user assistant", notes=("after the beginning",)),
    Case("chat: two user messages are joined", [{"messages": chat(("user", "Hello"), ("user", t.text), ("assistant", t.label))} for t in T], prompt=f"Hello\n\n{FIRST.text}", notes=("joined",)),
    Case("chat: capital roles", [{"messages": chat(("User", t.text), ("Assistant", t.label))} for t in T], answer=FIRST.label),
    Case("chat: a list in a text", [{"messages": json.dumps(chat(("user", t.text), ("assistant", t.label)))} for t in T], answer=FIRST.label),
    Case("chat: a label that is the answer is kept", [{"messages": chat(("user", t.text), ("assistant", t.label)), "label": t.label} for t in T], reference={"label": FIRST.label}),
    Case("chat: a label that is not the answer is not used", [{"messages": chat(("user", t.text), ("assistant", t.label)), "label": t.number % 3} for t in T],
         reference={}, columns=("not used: label",)),
    Case("chat: only the assistant speaks", [{"messages": chat(("system", "Hi"), ("assistant", t.label))} for t in T], refused=("no message of the user",)),
    Case("chat: 'messages' holds no list", [{"messages": "none", "x": 1} for t in T], refused=("none of the columns",)),
]  # fmt: skip

QUESTIONS = [
    Case("question, context, answer", [{"question": f"What is case {t.number}?", "context": t.text, "answer": t.label} for t in T],
         prompt=f"{FIRST.text}\n\nWhat is case 0?", answer=FIRST.label, columns=("context=context", "prompt=question", "completion=answer")),
    Case("squad: answers in a dict", [{"id": f"q{t.number}", "title": "Tickets", "question": f"What is case {t.number}?", "context": t.text,
         "answers": {"text": [t.label], "answer_start": [3]}} for t in T], answer=FIRST.label, columns=("not used: title", "id=id")),
    Case("squad: several answers", [{"question": f"What is {t.number}?", "context": t.text, "answers": {"text": [t.label, "x"], "answer_start": [1, 2]}} for t in T],
         answer=FIRST.label, notes=("several answers",)),
    Case("squad: no answer is an answer", [{"question": f"What is {t.number}?", "context": t.text, "answers": {"text": [], "answer_start": []}} for t in T],
         answer="no answer", notes=("list no answer",)),
    Case("a list of answers", [{"question": t.text, "answers": [t.label, "y"]} for t in T], answer=FIRST.label),
    Case("boolq: a boolean answer", [{"question": f"Is {t.number} even?", "passage": t.text, "answer": t.number % 2 == 0} for t in T], answer="true", prompt=FIRST.text),
    Case("prompt and completion", [{"prompt": t.text, "completion": t.label} for t in T], prompt=FIRST.text, answer=FIRST.label, roles="user assistant"),
    Case("prompt and completion with system", [{"system": "Route.", "prompt": t.text, "completion": t.label} for t in T], system="Route."),
    Case("query and response", [{"query": t.text, "response": t.label} for t in T], answer=FIRST.label),
    Case("input and output", [{"input": t.text, "output": t.label} for t in T], answer=FIRST.label),
    Case("document and summary", [{"document": f"{t.text} {t.subject}", "summary": t.subject} for t in T], prompt=FIRST.text, answer=FIRST.subject),
    Case("dialogue and summary", [{"id": f"d{t.number}", "dialogue": f"A: {t.text}\nB: ok", "summary": t.subject} for t in T], prompt="A: ", answer=FIRST.subject),
    Case("article and highlights", [{"article": t.text, "highlights": t.subject, "id": f"a{t.number}"} for t in T], answer=FIRST.subject),
    Case("a question and an answer in German", [{"Frage": t.text, "Antwort": t.subject} for t in T], prompt=FIRST.text, answer=FIRST.subject),
    Case("gsm8k: a short answer beside a chat", [{"messages": chat(("user", t.text), ("assistant", f"So 1 + {t.number}\n#### {t.number + 1}")), "answer": str(t.number + 1)} for t in T],
         reference={"answer": "1"}),
    Case("humaneval", [{"task_id": f"HumanEval/{t.number}", "prompt": f"def f{t.number}():\n", "canonical_solution": "    return 1\n", "test": "assert 1", "entry_point": f"f{t.number}"} for t in T],
         answer="def f0():\n    return 1\n", reference={"prompt": "def f0():\n", "test": "assert 1", "entry_point": "f0"}),
]  # fmt: skip

PREFERENCES = [
    Case("chosen and rejected texts", [{"prompt": t.text, "chosen": t.label, "rejected": "no idea"} for t in T],
         prompt=FIRST.text, answer=FIRST.label, reference={"rejected": "no idea"}, columns=("completion=chosen", "rejected=rejected")),
    Case("chosen and rejected messages", [{"prompt": chat(("user", t.text)), "chosen": chat(("assistant", t.label)), "rejected": chat(("assistant", "no idea"))} for t in T],
         prompt=FIRST.text, answer=FIRST.label, reference={"rejected": "no idea"}, roles="user assistant"),
    Case("whole conversations: the prompt is what both begin with",
         [{"chosen": chat(("user", t.text), ("assistant", t.label)), "rejected": chat(("user", t.text), ("assistant", "no idea"))} for t in T],
         prompt=FIRST.text, answer=FIRST.label, reference={"rejected": "no idea"}),
    Case("ultrafeedback: a prompt and whole conversations",
         [{"prompt": t.text, "chosen": chat(("user", t.text), ("assistant", t.label)), "rejected": chat(("user", t.text), ("assistant", "no")), "score_chosen": 8.0} for t in T],
         roles="user assistant", answer=FIRST.label, columns=("not used: score_chosen",)),
    Case("hh: dialogues in one text", [{"chosen": f"\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: {t.text}\n\nAssistant: {t.label}",
         "rejected": f"\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: {t.text}\n\nAssistant: no"} for t in T], roles="user assistant user assistant", answer=FIRST.label, reference={"rejected": "no"}),
    Case("openai preference rows", [{"input": {"messages": chat(("user", t.text)), "tools": []}, "preferred_output": chat(("assistant", t.label)), "non_preferred_output": chat(("assistant", "no"))} for t in T],
         prompt=FIRST.text, answer=FIRST.label, reference={"rejected": "no"}),
    Case("other names of the two answers", [{"question": t.text, "chosen_response": t.label, "rejected_response": "no"} for t in T], answer=FIRST.label, reference={"rejected": "no"}),
    Case("preferred and dispreferred", [{"prompt": t.text, "preferred": t.label, "dispreferred": "no"} for t in T], answer=FIRST.label),
    Case("a system column beside a preference", [{"system": "Route.", "prompt": t.text, "chosen": t.label, "rejected": "no"} for t in T], system="Route."),
    Case("texts without a prompt", [{"chosen": t.text, "rejected": "no idea"} for t in T], refused=("there is no prompt",)),
    Case("two equal answers", [{"prompt": t.text, "chosen": t.label, "rejected": t.label if t.number == 0 else "no"} for t in T], count=39, left_out=1, notes=("are the same",)),
    Case("no rejected answer in a row", [{"prompt": t.text, "chosen": t.label, "rejected": None if t.number == 0 else "no"} for t in T], count=39, left_out=1, notes=('"rejected"',)),
    Case("only the chosen one is asked for", [{"prompt": t.text, "chosen": t.label, "rejected": "no"} for t in T], options=given("prompt=prompt,completion=chosen"),
         reference={}, answer=FIRST.label, columns=("(given)", "not used: rejected")),
    Case("trl: prompt and completion as messages", [{"prompt": chat(("system", "Route."), ("user", t.text)), "completion": chat(("assistant", t.label))} for t in T],
         system="Route.", prompt=FIRST.text, answer=FIRST.label),
    Case("kto: bad answers are left out", [{"prompt": t.text, "completion": t.label if t.number % 2 == 0 else "no idea", "label": t.number % 2 == 0} for t in T],
         count=20, answer=FIRST.label, notes=("20 rows are marked as bad answers",), columns=("good=label",)),
    Case("kto: as messages", [{"prompt": chat(("user", t.text)), "completion": chat(("assistant", t.label)), "label": t.number % 4 > 0} for t in T],
         count=30, notes=("10 rows are marked as bad",)),
    Case("kto: True and False in a CSV file", table(("prompt", "completion", "label"), [(t.text, t.label, t.number % 2 == 0) for t in T]), file="in.csv", count=20, notes=("20 rows are marked",)),
    Case("kto: only bad answers", [{"prompt": t.text, "completion": t.label, "label": False} for t in T], refused=("no row is left",)),
    Case("kto: 0 and 1 are not clear", [{"prompt": t.text, "completion": t.label, "label": t.number % 2} for t in T], refused=("0 and 1", "good=label")),
    Case("kto: 0 and 1 as said", [{"prompt": t.text, "completion": t.label, "label": t.number % 2} for t in T], options=given("prompt=prompt,completion=completion,good=label"), count=20),
]  # fmt: skip

CASES = [*ALPACA, *SHAREGPT, *OPENAI, *QUESTIONS, *PREFERENCES]
