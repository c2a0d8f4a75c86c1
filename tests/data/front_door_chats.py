"""Shapes of rows: chats, with tools and without."""

from __future__ import annotations

import json

from tests.data.front_door import FIRST, Case, T, chat, table

TOOL = {"type": "function", "function": {"name": "route", "parameters": {"type": "object"}}}


def call(**arguments: str) -> dict[str, object]:
    """An assistant message of OpenAI's form that calls a function."""
    function = {"name": "route", "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


SHAREGPT = [
    Case(
        "sharegpt: from and value",
        [
            {"conversations": chat(("human", t.text), ("gpt", t.label), role="from", content="value")}
            for t in T
        ],
        prompt=FIRST.text,
        answer=FIRST.label,
        columns=("messages=conversations",),
    ),
    Case(
        "sharegpt: a system column",
        [
            {
                "system": "Answer in capitals.",
                "conversations": chat(
                    ("human", t.text), ("gpt", t.label.upper()), role="from", content="value"
                ),
            }
            for t in T
        ],
        system="Answer in capitals.",
        answer=FIRST.label.upper(),
    ),
    Case(
        "sharegpt: function calls and observations",
        [
            {
                "conversations": chat(
                    ("human", t.text),
                    ("function_call", '{"name": "look", "arguments": {"n": 1}}'),
                    ("observation", "found"),
                    ("gpt", t.label),
                    role="from",
                    content="value",
                ),
                "tools": "[]",
            }
            for t in T
        ],
        roles="user assistant user assistant",
        prompt="Function result: found",
        answer=FIRST.label,
        notes=("function calls", "Function result"),
    ),
    Case(
        "sharegpt: tools stand in the system message",
        [
            {
                "conversations": chat(("human", t.text), ("gpt", t.label), role="from", content="value"),
                "tools": json.dumps([TOOL]),
            }
            for t in T
        ],
        system='"name": "route"',
        notes=("function definitions",),
    ),
    Case(
        "sharegpt: an empty system message is none",
        [
            {
                "conversations": chat(
                    ("system", ""), ("human", t.text), ("gpt", t.label), role="from", content="value"
                )
            }
            for t in T
        ],
        roles="user assistant",
    ),
    Case(
        "sharegpt: the assistant begins",
        [
            {
                "conversations": chat(
                    ("gpt", "Welcome."), ("human", t.text), ("gpt", t.label), role="from", content="value"
                )
            }
            for t in T
        ],
        roles="system user assistant",
        system="Welcome.",
        notes=("begin with the assistant",),
    ),
    Case(
        "sharegpt: several turns",
        [
            {
                "conversations": chat(
                    ("human", "Hi"),
                    ("gpt", "Yes?"),
                    ("human", t.text),
                    ("gpt", t.label),
                    role="from",
                    content="value",
                )
            }
            for t in T
        ],
        roles="user assistant user assistant",
        prompt=FIRST.text,
        notes=("the last one is the expected answer",),
    ),
    Case(
        "sharegpt: printed by Python in a CSV file",
        table(
            ("id", "conversations"),
            [
                (t.number, str(chat(("human", t.text), ("gpt", t.label), role="from", content="value")))
                for t in T
            ],
        ),
        file="in.csv",
        prompt=FIRST.text,
        answer=FIRST.label,
    ),
]

OPENAI = [
    Case(
        "openai: system, user, assistant",
        [{"messages": chat(("system", "Route."), ("user", t.text), ("assistant", t.label))} for t in T],
        roles="system user assistant",
        system="Route.",
        prompt=FIRST.text,
        answer=FIRST.label,
        silent=True,
    ),
    Case(
        "openai: the answer is a function call",
        [
            {
                "messages": [*chat(("user", t.text)), call(team=t.label)],
                "tools": [TOOL],
                "parallel_tool_calls": False,
            }
            for t in T
        ],
        answer=json.dumps({"name": "route", "arguments": {"team": FIRST.label}}),
        system='"name": "route"',
        columns=("not used: parallel_tool_calls",),
    ),
    Case(
        "openai: two calls at once are a list",
        [
            {
                "messages": [
                    *chat(("user", t.text)),
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {"type": "function", "function": {"name": "a", "arguments": "{}"}},
                            {"type": "function", "function": {"name": "b", "arguments": "{}"}},
                        ],
                    },
                ]
            }
            for t in T
        ],
        answer='[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]',
    ),
    Case(
        "openai: a tool's result",
        [
            {
                "messages": [
                    *chat(("user", t.text)),
                    call(),
                    {"role": "tool", "tool_call_id": "c1", "content": "found"},
                    *chat(("assistant", t.label)),
                ]
            }
            for t in T
        ],
        roles="user assistant user assistant",
        prompt="Function result: found",
        answer=FIRST.label,
    ),
    Case(
        "openai: two results follow each other",
        [
            {
                "messages": [
                    *chat(("user", t.text)),
                    call(),
                    *chat(("tool", "one"), ("tool", "two"), ("assistant", t.label)),
                ]
            }
            for t in T
        ],
        roles="user assistant user assistant",
        prompt="Function result: one\n\nFunction result: two",
        notes=("joined",),
    ),
    Case(
        "openai: the old form of a call",
        [
            {
                "messages": [
                    *chat(("user", t.text)),
                    {
                        "role": "assistant",
                        "content": None,
                        "function_call": {"name": "route", "arguments": "{}"},
                    },
                    {"role": "function", "name": "route", "content": "ok"},
                    *chat(("assistant", t.label)),
                ]
            }
            for t in T
        ],
        roles="user assistant user assistant",
        answer=FIRST.label,
    ),
    Case(
        "openai: words and a call",
        [{"messages": [*chat(("user", t.text)), {**call(), "content": "One moment."}]} for t in T],
        answer='One moment.\n{"name": "route", "arguments": {}}',
    ),
    Case(
        "openai: developer is system",
        [{"messages": chat(("developer", "Route."), ("user", t.text), ("assistant", t.label))} for t in T],
        system="Route.",
    ),
    Case(
        "openai: content in parts",
        [
            {
                "messages": chat(
                    ("user", [{"type": "text", "text": "Ticket:"}, {"type": "text", "text": t.text}]),
                    ("assistant", t.label),
                )
            }
            for t in T
        ],
        prompt=f"Ticket:\n{FIRST.text}",
    ),
    Case(
        "openai: an image is refused",
        [
            {
                "messages": chat(
                    ("user", [{"type": "image_url", "image_url": {"url": "x"}}]), ("assistant", t.label)
                )
            }
            for t in T
        ],
        refused=("an image", "only text"),
    ),
    Case(
        "openai: sound is refused",
        [{"messages": chat(("user", [{"type": "input_audio"}]), ("assistant", t.label))} for t in T],
        refused=("sound",),
    ),
    Case(
        "openai: weight 0 is no answer",
        [
            {
                "messages": [
                    *chat(("user", t.text), ("assistant", t.label)),
                    {"role": "user", "content": "Sure?"},
                    {"role": "assistant", "content": "No", "weight": 0},
                ]
            }
            for t in T
        ],
        answer=FIRST.label,
        notes=("weight 0",),
    ),
    Case(
        "openai: weight 1 is the answer",
        [
            {
                "messages": [
                    *chat(("user", "Hi")),
                    {"role": "assistant", "content": "?", "weight": 0},
                    *chat(("user", t.text)),
                    {"role": "assistant", "content": t.label, "weight": 1},
                ]
            }
            for t in T
        ],
        answer=FIRST.label,
        roles="user assistant user assistant",
    ),
    Case(
        "openai: all of weight 0",
        [
            {"messages": [*chat(("user", t.text)), {"role": "assistant", "content": t.label, "weight": 0}]}
            for t in T
        ],
        refused=("weight 0",),
    ),
    Case(
        "openai: a refusal is an answer",
        [
            {
                "messages": [
                    *chat(("user", t.text)),
                    {"role": "assistant", "content": None, "refusal": "I cannot."},
                ]
            }
            for t in T
        ],
        answer="I cannot.",
    ),
    Case(
        "openai: names of speakers are said",
        [
            {"messages": [{"role": "user", "name": "ann", "content": t.text}, *chat(("assistant", t.label))]}
            for t in T
        ],
        notes=("name the speaker",),
    ),
    Case(
        "chat: a user turn after the answer",
        [{"messages": chat(("user", t.text), ("assistant", t.label), ("user", "Thanks"))} for t in T],
        answer=FIRST.label,
        notes=("40 rows continue after",),
    ),
    Case(
        "chat: no answer in any row",
        [{"messages": chat(("user", t.text))} for t in T],
        refused=("no message of the assistant",),
    ),
    Case(
        "chat: the answers are in another column",
        [{"messages": chat(("user", t.text)), "completion": t.label} for t in T],
        answer=FIRST.label,
        columns=("prompt=messages", "completion=completion"),
    ),
    Case(
        "chat: an unknown role",
        [{"messages": chat(("robot", t.text), ("assistant", t.label))} for t in T],
        refused=("'robot'", "system, user, assistant, tool"),
    ),
    Case(
        "chat: a message that is empty",
        [{"messages": chat(("user", t.text), ("assistant", "" if t.number == 5 else t.label))} for t in T],
        count=39,
        left_out=1,
        notes=("line 6", "empty"),
    ),
    Case(
        "chat: content null without a call",
        [{"messages": chat(("user", t.text), ("assistant", None))} for t in T],
        refused=("empty",),
    ),
    Case(
        "chat: a system message in the middle",
        [
            {
                "messages": chat(
                    ("user", "Hi"),
                    ("assistant", "Yes?"),
                    ("system", "Be short."),
                    ("user", t.text),
                    ("assistant", t.label),
                )
            }
            for t in T
        ],
        system="Be short.",
        roles="system user assistant user assistant",
        notes=("after the beginning",),
    ),
    Case(
        "chat: two user messages are joined",
        [{"messages": chat(("user", "Hello"), ("user", t.text), ("assistant", t.label))} for t in T],
        prompt=f"Hello\n\n{FIRST.text}",
        notes=("joined",),
    ),
    Case(
        "chat: capital roles",
        [{"messages": chat(("User", t.text), ("Assistant", t.label))} for t in T],
        answer=FIRST.label,
    ),
    Case(
        "chat: a list in a text",
        [{"messages": json.dumps(chat(("user", t.text), ("assistant", t.label)))} for t in T],
        answer=FIRST.label,
    ),
    Case(
        "chat: a label that is the answer is kept",
        [{"messages": chat(("user", t.text), ("assistant", t.label)), "label": t.label} for t in T],
        reference={"label": FIRST.label},
    ),
    Case(
        "chat: a label that is not the answer is not used",
        [{"messages": chat(("user", t.text), ("assistant", t.label)), "label": t.number % 3} for t in T],
        reference={},
        columns=("not used: label",),
    ),
    Case(
        "chat: only the assistant speaks",
        [{"messages": chat(("system", "Hi"), ("assistant", t.label))} for t in T],
        refused=("no message of the user",),
    ),
    Case(
        "chat: 'messages' holds no list",
        [{"messages": "none", "x": 1} for t in T],
        refused=("none of the columns",),
    ),
]


CASES = [*SHAREGPT, *OPENAI]
