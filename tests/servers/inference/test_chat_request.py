"""Messages of any API, as templates take them: with functions of their own, or as text where a template has
none."""

from __future__ import annotations

import pytest

from freehold.data.templates import PLAIN, ChatTemplate
from freehold.inference.interface import PromptEncoder
from freehold.models.answer_form import AnswerForm
from freehold.servers.inference.api_errors import ApiError
from freehold.servers.inference.chat_request import (
    ChatRequest,
    Message,
    answer_grammar,
    prompt_tokens,
    with_system,
)
from freehold.servers.inference.tool_calls import Tool, ToolCall
from tests.servers.inference.test_answer_form import Letters

CALL = ToolCall("call_1", "weather", {"city": "Paris"})
TOOLS = (Tool("weather", "", {"type": "object"}), Tool("time", "", {"type": "object"}))
CHAT = [
    Message("user", "Weather?"),
    Message("assistant", "", (CALL,)),
    Message("tool", "sunny", call_id="call_1"),
    Message("tool", "warm", call_id="call_2"),
]


def prompt(chat: ChatRequest, template: str = PLAIN) -> str:
    encoder = PromptEncoder(ChatTemplate(template, "test", "", "</s>"), Letters())
    return Letters().decode(prompt_tokens(chat, encoder, AnswerForm()))


def test_a_message_has_the_keys_of_openais_api_and_no_others() -> None:
    assert Message("user", "Hi").for_template() == {"role": "user", "content": "Hi"}
    assert CHAT[1].for_template()["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}
    ]
    assert CHAT[2].for_template()["tool_call_id"] == "call_1"


def test_a_template_without_functions_gets_calls_and_results_as_text() -> None:
    text = prompt(ChatRequest("m", CHAT, tools=TOOLS))
    assert text.startswith("You can call these functions, each given as JSON:\n")
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>' in text
    # results that follow each other are one message
    results = "<tool_response>\nsunny\n</tool_response>\n<tool_response>\nwarm\n</tool_response>"
    assert f"### Question\n{results}\n\n### Answer\n" in text


def test_a_template_with_functions_gets_them_as_they_are() -> None:
    template = "{% for t in tools %}[{{ t.function.name }}]{% endfor %}{{ messages[1].tool_calls[0].id }}"
    assert prompt(ChatRequest("m", CHAT, tools=TOOLS), template) == "[weather][time]call_1"
    assert prompt(ChatRequest("m", CHAT, tools=TOOLS, tool_choice="none"), template) == "call_1"


def test_a_required_call_follows_the_schema_of_the_tools_it_may_call() -> None:
    one = answer_grammar(ChatRequest("m", CHAT, tools=TOOLS, tool_choice="time"), AnswerForm())
    assert one is not None
    assert (one.before, one.after) == ("<tool_call>\n", "\n</tool_call>")
    assert '"const": "time"' in one.text
    assert "weather" not in one.text
    any_of = answer_grammar(ChatRequest("m", CHAT, tools=TOOLS, tool_choice="required"), AnswerForm())
    assert any_of is not None
    assert '"anyOf"' in any_of.text
    with pytest.raises(ApiError, match="none of the tools"):
        answer_grammar(ChatRequest("m", CHAT, tools=TOOLS, tool_choice="other"), AnswerForm())


def test_instructions_are_joined_to_a_system_message_since_templates_take_one() -> None:
    assert with_system([Message("user", "Hi")], "") == [Message("user", "Hi")]
    assert with_system([Message("user", "Hi")], "Be kind.")[0] == Message("system", "Be kind.")
    assert with_system([Message("system", "Be brief.")], "Be kind.") == [
        Message("system", "Be kind.\n\nBe brief.")
    ]
