"""A chat template is a foreign program: whatever it does, rendering ends soon with text or with a
sentence."""

from __future__ import annotations

import json
import threading
import time

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from freehold.core import limited_process
from freehold.core.errors import Unsupported
from freehold.data.rendering import Stopped, rendered
from freehold.data.templates import ChatTemplate

ASK = (("user", "Hi"),)
LOOPS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)
_DOUBLED = (
    "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b ="
    " [ns.b, ns.b] %}{% endfor %}"
)
BOMBS = {
    "loops": LOOPS,
    "loops that skip": (
        "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}"
    ),
    "a constant that grows": "{{ 'a' * 10**9 }}",
    "text that doubles": (
        "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{"
        " ns.s }}"
    ),
    "a list that holds itself twice": _DOUBLED + "{{ ns.a }}",
    "lists that are compared": _DOUBLED + "{{ ns.a == ns.b }}",
    "a huge number": "{% set n = 10 ** 8 %}{{ (10 ** n)|string|length }}",
    "a filter": "{{ 'a'|center(10**10) }}",
    "a filter of filters": "{{ range(99999)|map('center', 99999)|join }}",
    "a method": "{{ 'a'.ljust(10**10) }}",
    "a format": "{{ '%2000000000d'|format(1) }}",
    "another format": "{{ '{:>4000000000}'.format('') }}",
    "text without end": "{{ 'x' * 40000000 }}",
    "words without end": "{{ lipsum(n=100000) }}",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=list(BOMBS))
def test_a_template_that_grows_or_does_not_end_is_stopped(source: str) -> None:
    with pytest.raises(Stopped, match=r"it (took|made) more than"):
        ChatTemplate(source, "its own").prompt(ASK)


@pytest.mark.parametrize(
    "source",
    [
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% for m in messages %}",
        "{{ messages[0].content.nothing.here }}",
    ],
)
def test_a_template_that_is_wrong_is_said_in_a_sentence(source: str) -> None:
    with pytest.raises(Unsupported, match="chat template"):
        ChatTemplate(source, "its own").prompt(ASK)


def test_templates_are_rendered_again_after_one_was_stopped() -> None:
    with pytest.raises(Stopped):
        ChatTemplate(LOOPS, "its own").prompt(ASK)
    assert ChatTemplate("{{ messages[0].content }}", "its own").prompt(ASK) == "Hi"


def test_rendering_ends_when_its_client_has_left() -> None:
    left = threading.Event()
    threading.Timer(0.2, left.set).start()
    began = time.process_time()
    with limited_process.until(left.is_set), pytest.raises(limited_process.Stopped):
        ChatTemplate(LOOPS, "its own").prompt(ASK)
    assert time.process_time() - began < 2  # waited, and did not compute


def test_ordinary_templates_give_what_jinja_gives() -> None:
    variables = {
        "messages": [
            {"role": "system", "content": "Be brief. \u00e9\U0001f600\ud83d"},
            {"role": "user", "content": "Hi\n<b>&'\""},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": {"z": 1, "a": [1.5, None, True]}}}],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "bos_token": "<s>",
    }
    source = """{{- bos_token }}
{%- if tools is defined and tools %}
    {% for tool in tools %}{{ tool | tojson(indent=2) }}{{ "\\n" }}{% endfor %}
{%- endif %}
{%- set ns = namespace(first=true) %}
{%- for message in messages if message.role != 'tool' %}
    {%- if loop.last %}last {% endif %}
    {{ '<|' ~ message['role'] ~ '|>' + message.content | trim -}}
    {{ message.tool_calls | default([]) | length }}
    {%- for call in message.tool_calls or [] %}{{ call.function.arguments.items() | list -}}
    {{ call }}{% endfor %}
    {%- if not ns.first %}{% continue %}{% endif %}
    {%- set ns.first = false %}
{%- endfor %}"""
    plain = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    plain.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    assert rendered(source, variables) == plain.from_string(source).render(**variables)
