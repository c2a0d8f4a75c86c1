"""Types of request fields for all APIs: each has a range, and an error message for values outside of it.

The request models of all APIs derive from :class:`Fields` and use these types. JSON's ``null`` means that
a field is absent. What depends on the model (tokens of its vocabulary, its context) is checked in
``chat_request.py``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from freehold.core import strict_json
from freehold.core.errors import BadData
from freehold.servers.inference.tool_calls import JsonObject, ToolCall

MOST_MESSAGES, MOST_PARTS, MOST_TOOLS = 10_000, 10_000, 1024
MOST_STOPS, MOST_STOP_CHARACTERS = 16, 1024
MOST_BIASES, MOST_TOKENS = 1024, 1 << 20
#: Characters of a name, and of a JSON schema or grammar as text.
MOST_NAME, MOST_FORM = 512, 256 << 10
MOST_INT32 = 2**31 - 1
#: A temperature below this is 0: the division of logits by it would only lose digits.
LEAST_TEMPERATURE = 1e-6
_TOKEN = re.compile(r"0|[1-9][0-9]{0,9}")


def invalid(text: str, at: str = "") -> PydanticCustomError:
    """The error that a check raises; ``at``: the place in the field, such as ``0.name``."""
    return PydanticCustomError("field", "{text}", {"text": text, "at": at})


@dataclass(frozen=True, eq=False)
class Check:
    """The rule of a field."""

    #: returns the value to use, or raises :func:`invalid`
    check: Callable[[Any], Any]
    #: the rule as a JSON schema
    schema: JsonObject = field(default_factory=dict)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """The rule for pydantic, which calls this."""
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonObject:
        """The rule for the OpenAPI document; pydantic calls this."""
        return dict(self.schema)


class Fields(BaseModel):
    """A JSON object of a request; unknown fields are errors that name the field."""

    model_config = ConfigDict(extra="forbid")
    #: the error for an unknown field of this name
    unknown: ClassVar[Callable[[str], PydanticCustomError]] = lambda name: invalid(
        "this field is not known", name[:60]
    )

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        present = {name: part for name, part in value.items() if part is not None}
        if cls.model_config.get("extra") == "forbid":
            for name in present:  # pydantic would list all unknown fields, and there may be a million
                if name not in cls.model_fields:
                    raise cls.unknown(name)
        return present


class Loose(Fields):
    """A JSON object of a request; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


#: pydantic's type of error -> our message; its other messages are used as they are.
_SENTENCES = {
    "missing": "this field is required",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} item(s)",
    "string_type": "must be text",
    "none_required": "this field is not supported; leave it out",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of at most 64 bits",
    "bool_parsing": "must be true or false",
}


def error_sentence(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors as one sentence that names the field."""
    first = errors[0]
    context: JsonObject = first.get("ctx") or {}
    where = [str(part)[:60] for part in first["loc"][1:]]
    if first["type"] == "missing" and not where:
        return "the request has no body: send a JSON object"
    if first["type"] == "literal_error":
        text = _must_be_one_of(first["input"], context["expected"])
    else:
        text = _SENTENCES.get(first["type"], "{msg}").format_map({**context, "msg": first["msg"]})
    at = ".".join([*where, *([context["at"]] if context.get("at") else [])])
    return f"{at}: {text}" if at else f"the request {text}"


def _must_be_one_of(value: Any, expected: str) -> str:
    """The message for a value that is none of pydantic's ``'a', 'b' or 'c'``."""
    words = expected.replace("'", "").replace(" or ", ", ")
    if "," not in words:
        return f"must be {words.lower()}"
    return (
        f"must be one of {words}, not {value[:40]!r}" if isinstance(value, str) else f"must be one of {words}"
    )


# -- numbers, words, flags -------------------------------------------------------------------------


def _number(low: float, high: float, *, above: bool = False) -> Check:
    """A finite number from ``low`` (``above``: not ``low`` itself) to ``high``."""
    span = f"above {low:g} and up to {high:g}" if above else f"from {low:g} to {high:g}"
    allowed = f"must be a number {span}"

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(allowed)
        if not low <= value <= high or (above and value == low):
            raise invalid(allowed)
        return float(value)

    bound = "exclusiveMinimum" if above else "minimum"
    return Check(check, {"type": "number", bound: low, "maximum": high})


def _whole(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``; 3.0 is one."""
    allowed = f"must be a whole number from {low} to {high}"

    def check(value: Any) -> int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not low <= value <= high:
            raise invalid(allowed)
        return int(value)

    return Check(check, {"type": "integer", "minimum": low, "maximum": high})


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise invalid("must be true or false")
    return value


def text_at(value: Any, at: str = "", most: int = 0) -> str:
    """A text of at most ``most`` characters (0: no limit). Raises invalid."""
    if not isinstance(value, str):
        raise invalid("must be text", at)
    if most and len(value) > most:
        raise invalid(f"must have at most {most} characters", at)
    return value


def name_at(value: Any, at: str = "") -> str:
    """A name: a short text without control characters. Raises invalid."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text_at(value, at, MOST_NAME)):
        raise invalid("must be a name without control characters", at)
    return value


def object_at(value: Any, at: str = "") -> JsonObject:
    """A JSON object. Raises invalid."""
    if not isinstance(value, dict):
        raise invalid("must be an object", at)
    return value


def list_at(value: Any, at: str = "", most: int = MOST_PARTS) -> list[Any]:
    """A JSON list of at most ``most`` values. Raises invalid."""
    if not isinstance(value, list | tuple):
        raise invalid("must be a list", at)
    if len(value) > most:
        raise invalid(f"must have at most {most} items", at)
    return list(value)


def _temperature(high: float) -> Check:
    rule = _number(0, high)

    def check(value: Any) -> float:
        number = rule.check(value)
        return number if number >= LEAST_TEMPERATURE else 0.0

    return Check(check, rule.schema)


def _top_k(value: Any) -> int:
    number = _TOP_K.check(value)
    return max(number, 0)


_TOP_K = _whole(-1, MOST_INT32)
Flag = Annotated[bool, Check(_flag, {"type": "boolean"})]
Temperature = Annotated[float, _temperature(2)]
#: Anthropic's temperature: at most 1.
TemperatureToOne = Annotated[float, _temperature(1)]
TopP = Annotated[float, _number(0, 1, above=True)]
MinP = Annotated[float, _number(0, 1)]
#: 0 and -1 mean no limit.
TopK = Annotated[int, Check(_top_k, _TOP_K.schema)]
RepeatPenalty = Annotated[float, _number(0.01, 10)]
Penalty = Annotated[float, _number(-2, 2)]
#: Any 64-bit number, with a sign or without.
Seed = Annotated[int, _whole(-(2**63), 2**64 - 1)]
MaxTokens = Annotated[int, _whole(1, MOST_INT32)]
#: Ollama's name for max_tokens; below 1 means no limit.
NumPredict = Annotated[int, _whole(-2, MOST_INT32)]
#: How many of the last tokens the repeat penalty applies to; 0: none, -1: all.
RepeatLast = Annotated[int, _whole(-1, MOST_INT32)]
Answers = Annotated[int, _whole(1, 8)]
OneAnswer = Annotated[int, _whole(1, 1)]
TopLogprobs = Annotated[int, _whole(0, 20)]
Dimensions = Annotated[int, _whole(1, 1 << 16)]
ToolCalls = Annotated[int, _whole(0, MOST_INT32)]
Passages = Annotated[int, _whole(1, 50)]
Name = Annotated[str, Check(name_at, {"type": "string", "maxLength": MOST_NAME})]
Text = Annotated[str, Check(text_at, {"type": "string"})]
Object = Annotated[JsonObject, Check(object_at, {"type": "object"})]


def _query(value: Any) -> str:
    if not text_at(value).strip():
        raise invalid("must be text that is not empty")
    return value


Query = Annotated[str, Check(_query, {"type": "string", "minLength": 1})]


# -- stop texts, grammars and token biases ------------------------------------------------------------


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else list_at(value)
    if len(stops) > MOST_STOPS or any(
        not isinstance(stop, str) or not 0 < len(stop) <= MOST_STOP_CHARACTERS for stop in stops
    ):
        raise invalid(f"must be up to {MOST_STOPS} texts of 1 to {MOST_STOP_CHARACTERS} characters")
    return tuple(stops)


def _biases(value: Any) -> tuple[tuple[int, float], ...]:
    if len(object_at(value)) > MOST_BIASES:
        raise invalid(f"must have at most {MOST_BIASES} tokens")
    for name, amount in value.items():
        if not _TOKEN.fullmatch(name) or int(name) > MOST_INT32:
            raise invalid("keys must be token numbers", name[:60])
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not -100 <= amount <= 100:
            raise invalid("must be a number from -100 to 100", name)
    return tuple((int(name), float(amount)) for name, amount in value.items())


def _token_ids(value: Any) -> list[int]:
    tokens = list_at(value, most=MOST_TOKENS)
    if any(type(token) is not int or not 0 <= token <= MOST_INT32 for token in tokens):
        raise invalid(f"must be whole numbers from 0 to {MOST_INT32}")
    return tokens


def _prompts(value: Any) -> tuple[str | list[int], ...]:
    """One text, several texts, one list of tokens, or several; as several."""
    if isinstance(value, str):
        return (value,)
    items = list_at(value, most=MOST_TOKENS)
    if not items:
        raise invalid("must not be empty")
    if all(isinstance(item, str) for item in items):
        return tuple(items)
    if all(isinstance(item, list) for item in items):
        return tuple(_token_ids(item) for item in items)
    return (_token_ids(items),)


def _form(value: Any) -> str:
    return text_at(value, most=MOST_FORM)


def schema_at(value: Any, at: str = "") -> JsonObject:
    """A JSON schema whose references stay inside of it. Raises invalid."""
    if len(json.dumps(object_at(value, at))) > MOST_FORM:
        raise invalid(f"must have at most {MOST_FORM} characters", at)
    unchecked: list[Any] = [value]
    while unchecked:
        part = unchecked.pop()
        if isinstance(part, dict):
            target = part.get("$ref", "#")
            if isinstance(target, str) and not target.startswith("#"):
                raise invalid(
                    f"$ref must point to a place in the same schema (#/...), not to {target[:60]!r}", at
                )
            unchecked += part.values()
        elif isinstance(part, list):
            unchecked += part
    return value


_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": MOST_INT32}}
StopSequences = Annotated[tuple[str, ...], Check(_stops, _TEXTS)]
_BIAS = {"type": "number", "minimum": -100, "maximum": 100}
LogitBias = Annotated[
    tuple[tuple[int, float], ...], Check(_biases, {"type": "object", "additionalProperties": _BIAS})
]
TokenIds = Annotated[list[int], Check(_token_ids, _TOKENS)]
Prompts = Annotated[
    tuple[str | list[int], ...],
    Check(_prompts, {"anyOf": [*_TEXTS["anyOf"], _TOKENS, {"type": "array", "items": _TOKENS}]}),
]
Grammar = Annotated[str, Check(_form, {"type": "string", "maxLength": MOST_FORM})]
Schema = Annotated[JsonObject, Check(schema_at, {"type": "object"})]


def texts(most: int, *, empty: bool) -> Check:
    """A text or a list of up to ``most`` texts, as a list. ``empty``: whether the list and its texts may
    be empty.
    """

    def check(value: Any) -> list[str]:
        items = [value] if isinstance(value, str) else list_at(value, most=most)
        if any(not isinstance(item, str) for item in items):
            raise invalid("must be text or a list of texts")
        if not empty and (not items or not all(items)):
            raise invalid(f"give 1 to {most} texts, none of them empty")
        return items

    return Check(check, _TEXTS)


# -- messages and functions ----------------------------------------------------------------------------


def kind_shown(kind: Any) -> str:
    """The type of a part for a message; where it is not text, the name of its Python type."""
    return repr(kind[:40] if isinstance(kind, str) else type(kind).__name__)


def text_of(value: Any, at: str = "") -> str:
    """The text of a message's content: text, or a list of parts that are all text. Raises invalid."""
    if value is None or isinstance(value, str):
        return value or ""
    parts = enumerate(list_at(value, at))
    return "".join(_part_text(part, f"{at}.{number}" if at else str(number)) for number, part in parts)


def _part_text(part: Any, at: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", "input_text", "output_text") or not isinstance(part.get("text"), str):
        shown = kind_shown(kind if isinstance(kind, str) else type(part).__name__)
        raise invalid(f"this model reads text only, and a part is of type {shown}", at)
    return part["text"]


def arguments_of(value: Any, at: str = "") -> JsonObject:
    """A call's arguments: an object, or an object written as JSON text. Raises invalid."""
    if isinstance(value, str):
        try:
            value = strict_json.read(value.encode()) if value.strip() else {}
        except BadData:
            value = None
    if not isinstance(value, dict):
        raise invalid("must be a JSON object", at)
    return value


def _tools(value: Any) -> list[JsonObject]:
    """Functions as OpenAI's APIs write them: ``{"type": "function", "function": {...}}``, or all in one
    object.
    """
    tools = list_at(value, most=MOST_TOOLS)
    for number, tool in enumerate(tools):
        kind = object_at(tool, str(number)).get("type")
        if kind != "function":
            raise invalid(f"the type {kind_shown(kind)} is not supported; use functions", str(number))
        at = f"{number}.function" if "function" in tool else str(number)
        check_function(object_at(tool.get("function", tool), at), at, "parameters")
    return tools


def check_function(function: JsonObject, at: str, parameters: str) -> None:
    """Check a function's name, description, and the JSON schema in its field ``parameters``. Raises
    invalid.
    """
    if not name_at(function.get("name"), f"{at}.name"):
        raise invalid("must not be empty", f"{at}.name")
    if function.get("description") is not None:
        text_at(function["description"], f"{at}.description")
    if function.get(parameters) is not None:
        schema_at(function[parameters], f"{at}.{parameters}")


def _choice(value: Any) -> str | JsonObject:
    """A word, or an object that names a function, as OpenAI's APIs write it."""
    if isinstance(value, str):
        if value not in ("auto", "none", "required"):
            raise invalid(f"must be one of auto, none, required, not {value[:40]!r}")
        return value
    function = object_at(value).get("function", value)
    if not name_at(object_at(function, "function").get("name"), "name"):
        raise invalid("must not be empty", "name")
    return value


def _calls(value: Any) -> tuple[ToolCall, ...]:
    """The calls in an assistant's message."""
    return tuple(_call(call, str(number)) for number, call in enumerate(list_at(value)))


def _call(value: Any, at: str) -> ToolCall:
    if object_at(value, at).get("type", "function") != "function":
        raise invalid("must be 'function'", f"{at}.type")
    function = object_at(value.get("function"), f"{at}.function")
    name = name_at(function.get("name"), f"{at}.function.name")
    arguments = function.get("arguments")
    arguments = {} if arguments is None else arguments_of(arguments, f"{at}.function.arguments")
    call_id = "" if value.get("id") is None else name_at(value["id"], f"{at}.id")
    return ToolCall(call_id, name, arguments)


def _names(value: Any) -> list[str]:
    return [name_at(name) for name in list_at(value, most=500)]


_PARTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}
_OBJECTS = {"type": "array", "items": {"type": "object"}}
Content = Annotated[str, Check(text_of, _PARTS)]
#: As they came, since the Responses API repeats them.
Tools = Annotated[list[JsonObject], Check(_tools, _OBJECTS)]
ToolChoice = Annotated[
    str | JsonObject,
    Check(_choice, {"anyOf": [{"enum": ["auto", "none", "required"]}, {"type": "object"}]}),
]
Calls = Annotated[tuple[ToolCall, ...], Check(_calls, _OBJECTS)]
Names = Annotated[list[str], Check(_names, {"type": "array", "items": {"type": "string"}})]
