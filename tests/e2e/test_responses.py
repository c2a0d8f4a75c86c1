"""The Responses API through the official client and through an agent framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.servers.inference.serving import server

pytestmark = pytest.mark.slow

WEATHER: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "Weather of a city",
    "parameters": WEATHER,
    "strict": True,
}


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with server(home) as running:
        yield running


@pytest.fixture(scope="module")
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def test_a_response_whole_and_streamed(client: openai.OpenAI) -> None:
    asked: Any = {
        "model": "smollm2",
        "instructions": "Answer in a few words.",
        "input": "What is 2 plus 2?",
        "max_output_tokens": 30,
    }
    whole = client.responses.create(**asked)
    assert whole.status == "completed"
    assert "4" in whole.output_text
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    assert whole.usage.model_extra["energy_joules"] > 0
    with client.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert [kind for kind in dict.fromkeys(kinds) if not kind.endswith("delta")] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    same = client.chat.completions.create(
        model="smollm2",
        messages=[
            {"role": "system", "content": "Answer in a few words."},
            {"role": "user", "content": "What is 2 plus 2?"},
        ],
        max_tokens=30,
    )
    assert same.choices[0].message.content == whole.output_text


def test_a_short_limit_leaves_it_incomplete(client: openai.OpenAI) -> None:
    found = client.responses.create(model="smollm2", input="Tell me about the sea.", max_output_tokens=3)
    assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    *_, last = client.responses.create(
        model="smollm2", input="Tell me about the sea.", max_output_tokens=3, stream=True
    )
    assert last.type == "response.incomplete"


def test_a_function_is_called_and_its_result_read(client: openai.OpenAI) -> None:
    question: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "What is the weather in Paris?"}]}
    ]
    first = client.responses.create(
        model="smollm2", input=question, tools=[TOOL], tool_choice="required", max_output_tokens=80
    )
    (call,) = first.output
    assert call.type == "function_call"
    assert set(json.loads(call.arguments)) == {"city"}
    events = list(
        client.responses.create(
            model="smollm2",
            input=question,
            tools=[TOOL],
            tool_choice="required",
            max_output_tokens=80,
            stream=True,
        )
    )
    (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert done.arguments == call.arguments
    assert not any(event.type == "response.output_text.delta" for event in events)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny, 21 degrees"}
    second = client.responses.create(
        model="smollm2",
        input=[*question, call.model_dump(), result],
        tools=[TOOL],
        tool_choice="none",
        max_output_tokens=40,
    )
    assert second.output_text


def test_a_schema_is_kept_to(client: openai.OpenAI) -> None:
    form: Any = {"format": {"type": "json_schema", "name": "weather", "schema": WEATHER, "strict": True}}
    found = client.responses.create(
        model="smollm2", input="Weather in Paris?", text=form, max_output_tokens=60
    )
    assert set(json.loads(found.output_text)) == {"city"}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"previous_response_id": "resp_1"}, "send the whole conversation as input"),
        ({"input": []}, "input: it is empty"),
        ({"input": [{"type": "image_generation_call"}]}, "input.0.type"),
        ({"input": [{"type": [""]}]}, "input.0.type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "reads text only",
        ),
        ({"text": {"format": {"type": "xml"}}}, "must be one of text, json_object, json_schema"),
        ({"tools": [{"type": "web_search"}]}, "use functions"),
        ({"background": True}, "background"),
        ({"conversation": "c"}, "this field is not known"),
    ],
)
def test_what_it_does_not_do_is_refused(address: str, more: dict[str, Any], told: str) -> None:
    answer = httpx.post(f"{address}/v1/responses", json={"model": "smollm2", "input": "Hello"} | more)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
    assert httpx.get(f"{address}/v1/responses/resp_1").status_code == 404


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_an_agent_of_a_framework_works_against_it(address: str, api: str) -> None:
    """The agent must call its function first (the framework asks for that with tool_choice, and lifts it
    afterwards), then answers.
    """
    import agents

    agents.set_tracing_disabled(True)
    asked: list[str] = []

    @agents.function_tool
    def weather(city: str) -> str:
        """Weather of a city."""
        asked.append(city)
        return "sunny, 21 degrees"

    client = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    kind = agents.OpenAIResponsesModel if api == "responses" else agents.OpenAIChatCompletionsModel
    agent = agents.Agent(
        name="Forecaster",
        instructions="You tell the weather.",
        tools=[weather],
        model=kind("smollm2", client),
        model_settings=agents.ModelSettings(tool_choice="required", max_tokens=80),
    )

    async def run() -> tuple[str, str]:
        whole = await agents.Runner.run(agent, "What is the weather in Paris?", max_turns=6)
        streamed = agents.Runner.run_streamed(agent, "What is the weather in Paris?", max_turns=6)
        async for _ in streamed.stream_events():
            pass
        return str(whole.final_output), str(streamed.final_output)

    whole, streamed = asyncio.run(run())
    assert len(asked) >= 2
    assert whole
    assert streamed
