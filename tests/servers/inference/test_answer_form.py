"""What of a model's answer form is applied to a request, and what a request replaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from freehold.core.errors import BadModel
from freehold.data.templates import choose
from freehold.inference.interface import PromptEncoder
from freehold.inference.prompt_encoder import choices_of, request_of
from freehold.inference.request import GenerationRequest
from freehold.models.answer_form import AnswerForm
from freehold.servers.inference import api_anthropic, api_ollama, api_openai, api_responses
from freehold.servers.inference.chat_request import ChatRequest, Message, generation_request
from freehold.servers.inference.tool_calls import Tool

FORM = AnswerForm(
    labels=("card", "pin"),
    system="Name the topic.",
    shots=((("user", "It is gone."), ("assistant", "card")),),
    max_tokens=9,
)
FREE = replace(FORM, labels=(), shots=())
EXAMPLES = "### Question\nIt is gone.\n\n### Answer\ncard</s>\n\n"
QUESTION = [Message("user", "Where?")]
TALK = [*QUESTION, Message("assistant", "Here."), Message("user", "Why?")]


class Letters:
    """A vocabulary in which each character is a token; NUL ends a turn."""

    bos_token, eos_token, end, size = "", "</s>", 0, 0x110000

    def encode(self, text: str, *, start: bool) -> list[int]:
        return [ord(letter) for letter in text.replace("</s>", "\0")]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens)).replace("\0", "</s>")

    def is_end(self, token: int) -> bool:
        return token == 0


ENCODER = PromptEncoder(choose(None, bos_token="", eos_token="</s>"), Letters())


def request_for(chat: ChatRequest, form: AnswerForm = FORM) -> tuple[str, GenerationRequest]:
    """The prompt's text, and the engine's request."""
    request = generation_request(chat, ENCODER, form, choices_of(ENCODER, form), 4096)
    return Letters().decode(request.tokens), request


def test_a_question_is_asked_as_it_was_measured() -> None:
    prompt, request = request_for(ChatRequest("m", QUESTION))
    assert prompt == f"Name the topic.\n\n{EXAMPLES}### Question\nWhere?\n\n### Answer\n"
    assert request.choices is not None
    assert request.choices.answers == ("card", "pin")
    assert request.max_tokens == len("card") + 1  # and the end of the turn
    measured = request_of(ENCODER, FORM, (("user", "Where?"),))
    assert (measured.tokens, measured.max_tokens, measured.stops) == (
        request.tokens,
        request.max_tokens,
        request.stops,
    )


def test_a_system_message_of_the_callers_own_replaces_that_of_the_form_alone() -> None:
    prompt, request = request_for(ChatRequest("m", [Message("system", "Be brief."), *QUESTION]))
    assert prompt == f"Be brief.\n\n{EXAMPLES}### Question\nWhere?\n\n### Answer\n"
    assert request.choices is not None


@pytest.mark.parametrize("given", ["gbnf:root ::= [0-9]", "json", {"type": "object"}])
def test_a_grammar_or_schema_of_the_callers_own_replaces_labels_alone(given: Any) -> None:
    prompt, request = request_for(ChatRequest("m", QUESTION, form=given))
    assert EXAMPLES in prompt
    assert request.choices is None
    assert request.grammar
    assert request.max_tokens == FORM.max_tokens


def test_a_conversation_is_not_a_row_and_gets_the_system_message_alone() -> None:
    prompt, request = request_for(ChatRequest("m", TALK))
    assert prompt.startswith("Name the topic.\n\n### Question\nWhere?")
    assert "It is gone." not in prompt
    assert (request.choices, request.grammar, request.max_tokens) == (None, None, 1024)


def test_a_conversation_is_a_row_where_rows_are_conversations() -> None:
    prompt, request = request_for(ChatRequest("m", TALK), replace(FORM, conversations=True))
    assert prompt.startswith(f"Name the topic.\n\n{EXAMPLES}### Question\nWhere?")
    assert request.choices is not None


def test_functions_that_may_be_called_make_it_a_request_of_another_kind() -> None:
    tools = (Tool("look_up", "", {}),)
    prompt, request = request_for(ChatRequest("m", QUESTION, tools=tools))
    assert "It is gone." not in prompt
    assert request.choices is None
    assert request_for(ChatRequest("m", QUESTION, tools=tools, tool_choice="none"))[1].choices is not None


def test_nothing_is_applied_where_the_caller_says_so() -> None:
    prompt, request = request_for(ChatRequest("m", QUESTION, answer_form=False))
    assert prompt == "### Question\nWhere?\n\n### Answer\n"
    assert (request.choices, request.max_tokens) == (None, 1024)


def test_a_prompt_without_messages_is_taken_as_it_is() -> None:
    prompt, request = request_for(ChatRequest("m", prompt="Where?"))
    assert (prompt, request.choices) == ("Where?", None)


def test_lengths_are_the_forms_unless_the_caller_names_one() -> None:
    assert request_for(ChatRequest("m", QUESTION), FREE)[1].max_tokens == 9
    assert request_for(ChatRequest("m", QUESTION, max_tokens=40), FREE)[1].max_tokens == 40
    assert request_for(ChatRequest("m", QUESTION, max_tokens=2))[1].max_tokens == 2


def test_a_schema_binds_the_answer() -> None:
    form = replace(FREE, schema='{"type": "object"}')
    assert request_for(ChatRequest("m", QUESTION), form)[1].grammar
    assert request_for(ChatRequest("m", TALK), form)[1].grammar is None


def test_labels_that_a_model_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(BadModel, match="'a' and 'a</s>' are the same tokens"):
        choices_of(ENCODER, AnswerForm(labels=("a", "a</s>")))


OFF = {"model": "m", "answer_form": False}
ASKED = {"messages": [{"role": "user", "content": "Where?"}]}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (api_openai.ChatCompletionRequest, OFF | ASKED),
        (api_anthropic.MessagesRequest, OFF | ASKED | {"max_tokens": 5}),
        (api_responses.ResponsesRequest, OFF | {"input": "Where?"}),
        (api_ollama.OllamaChatRequest, OFF | ASKED),
        (api_ollama.OllamaChatRequest, ASKED | {"model": "m", "options": {"answer_form": False}}),
    ],
    ids=["openai", "anthropic", "responses", "ollama", "ollama's options"],
)
def test_every_api_has_the_field_that_turns_it_off(kind: Any, body: dict[str, Any]) -> None:
    assert kind.model_validate(body).chat_request().answer_form is False
