"""Requests for ``api_fuzz.py``: valid ones of each API, and hypothesis' ways to break them."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

HELLO = [{"role": "user", "content": "Hello world"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]}
FUNCTION = {"name": "look_up", "description": "Find it.", "parameters": SCHEMA}
DEEP: Any = 1
for _ in range(150):
    DEEP = [DEEP]


@dataclass(frozen=True)
class Sent:
    """A request. ``body``: a JSON value, lines of them, bytes, or None for none."""

    method: str
    path: tuple[str, ...]
    body: Any = None
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    lines: bool = False
    raw: bytes | None = field(default=None)

    @property
    def url(self) -> str:
        """Path and query as they go over the wire."""
        asked = urlencode([(name, text.encode("utf-8", "surrogatepass")) for name, text in self.query])
        return f"/{self.written_path}" + (f"?{asked}" if asked else "")

    @property
    def written_path(self) -> str:
        """The path as it goes over the wire."""
        return "/".join(quote(part.encode("utf-8", "surrogatepass"), safe="") for part in self.path)

    def content(self) -> bytes | None:
        """The body's bytes."""
        if self.raw is not None:
            return self.raw
        if self.lines and isinstance(self.body, list):
            return "\n".join(map(json.dumps, self.body)).encode()
        return None if self.body is None else json.dumps(self.body).encode()

    def sent_headers(self, token: str) -> dict[str, str]:
        """Headers, with a token where one is needed."""
        known = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        return known | dict(self.headers)

    def __str__(self) -> str:
        body = self.content()
        return f"{self.method} {self.url[:300]} {dict(self.headers)} {None if body is None else body[:600]!r}"


def _post(path: str, body: Any, **more: Any) -> Sent:
    return Sent("POST", tuple(path.split("/")), body, **more)


def _get(path: str, **query: str) -> Sent:
    return Sent("GET", tuple(path.split("/")), query=tuple(query.items()))


_DRAWN = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.05,
    "repeat_penalty": 1.1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "seed": 7,
}
_TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": "b"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "found"},
]
_BLOCKS = [
    {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t1", "name": "look_up", "input": {"a": "b"}}],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "found"}]}
        ],
    },
]
_ITEMS = [
    {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
    {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"a": "b"}'},
    {"type": "function_call_output", "call_id": "c1", "output": "found"},
]
_SMALL = {"num_predict": 3}
_SERVER = [
    _post(
        "v1/chat/completions",
        {
            "model": "tiny",
            "messages": HELLO,
            "max_tokens": 3,
            **_DRAWN,
            "logit_bias": {"5": 1.0},
            "stop": ["x"],
            "n": 2,
            "logprobs": True,
            "top_logprobs": 2,
            "user": "u",
            "metadata": {"a": "b"},
        },
    ),
    _post(
        "v1/chat/completions",
        {
            "model": "tiny",
            "messages": _TALK,
            "max_tokens": 3,
            "stream": True,
            "stream_options": {"include_usage": True},
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": "auto",
        },
    ),
    _post(
        "v1/chat/completions",
        {
            "model": "tiny",
            "messages": HELLO,
            "max_tokens": 3,
            "tool_choice": {"type": "function", "function": {"name": "look_up"}},
            "tools": [{"type": "function", "function": FUNCTION}],
        },
    ),
    _post(
        "v1/chat/completions",
        {
            "model": "tiny",
            "messages": HELLO,
            "max_completion_tokens": 3,
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
        },
    ),
    _post(
        "v1/chat/completions",
        {
            "model": "tiny",
            "messages": HELLO,
            "max_tokens": 3,
            "grammar": "root ::= [0-9]+",
            "answer_form": False,
        },
    ),
    _post(
        "v1/completions",
        {
            "model": "tiny",
            "prompt": "Hello",
            "max_tokens": 3,
            **_DRAWN,
            "logprobs": 2,
            "echo": False,
            "best_of": 1,
        },
    ),
    _post(
        "v1/completions",
        {
            "model": "tiny",
            "prompt": [[40, 41], [42]],
            "max_tokens": 3,
            "stream": True,
            "logit_bias": {"7": -100},
        },
    ),
    _post(
        "v1/responses",
        {
            "model": "tiny",
            "input": "Hello",
            "instructions": "Be brief.",
            "max_output_tokens": 3,
            "temperature": 0.5,
            "top_p": 0.9,
            "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}},
            "metadata": {"a": "b"},
        },
    ),
    _post(
        "v1/responses",
        {
            "model": "tiny",
            "input": _ITEMS,
            "max_output_tokens": 3,
            "stream": True,
            "tools": [{"type": "function", **FUNCTION}],
            "tool_choice": "auto",
            "include": [],
            "store": False,
        },
    ),
    _post(
        "v1/embeddings",
        {"model": "vectors", "input": ["Hello", "world"], "encoding_format": "float", "dimensions": 32},
    ),
    _post("tokenize", {"model": "tiny", "content": "Hello", "add_special": True}),
    _post("tokenize", {"messages": _TALK[:2]}),
    _post("detokenize", {"model": "tiny", "tokens": [40, 41]}),
    _post(
        "v1/messages",
        {
            "model": "tiny",
            "max_tokens": 3,
            "messages": _BLOCKS,
            "system": [{"type": "text", "text": "Be brief."}],
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
            "stop_sequences": ["x"],
            "tools": [{"name": "look_up", "description": "d", "input_schema": SCHEMA}],
            "tool_choice": {"type": "tool", "name": "look_up"},
            "metadata": {"user_id": "u"},
        },
    ),
    _post(
        "v1/messages",
        {
            "model": "tiny",
            "max_tokens": 3,
            "messages": HELLO,
            "stream": True,
            "thinking": {"type": "disabled"},
        },
    ),
    _post("v1/messages/count_tokens", {"model": "tiny", "messages": _BLOCKS, "system": "Be brief."}),
    _post(
        "api/chat",
        {
            "model": "tiny",
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
                },
            ],
            "options": {**_DRAWN, "num_predict": 3, "stop": ["x"], "num_ctx": 512, "repeat_last_n": 8},
            "keep_alive": "5m",
        },
    ),
    _post(
        "api/chat",
        {
            "model": "tiny:latest",
            "messages": HELLO,
            "stream": False,
            "format": SCHEMA,
            "options": _SMALL,
            "think": False,
            "tools": [{"type": "function", "function": FUNCTION}],
        },
    ),
    _post(
        "api/generate",
        {
            "model": "tiny",
            "prompt": "Hello",
            "system": "Be brief.",
            "raw": False,
            "stream": False,
            "format": "json",
            "options": _SMALL,
        },
    ),
    _post(
        "api/embed",
        {"model": "vectors", "input": ["Hello"], "truncate": True, "options": {}, "keep_alive": 0},
    ),
    _post("api/embeddings", {"model": "vectors", "prompt": "Hello"}),
    _post("api/show", {"model": "tiny"}),
    _post("v1/documents/search", {"query": "Hello", "documents": [], "limit": 4, "model": "vectors"}),
    Sent(
        "POST",
        ("v1", "documents"),
        None,
        (("name", "a.txt"), ("model", "vectors")),
        raw=b"Hello world. " * 20,
    ),
    Sent("DELETE", ("v1", "documents", "x"), None, (("model", "vectors"),)),
    _get("v1/documents", model="vectors"),
    _get("v1/models"),
    _get("v1/models/tiny"),
    _get("api/tags"),
    _get("api/ps"),
    _get("ready"),
    _get("v1/responses/resp_1"),
]
_FILE = {
    "path": "README.md",
    "content": base64.b64encode(b"---\nlicense: mit\n---\n# A").decode(),
    "encoding": "base64",
}
_HEAD = {"key": "header", "value": {"summary": "card", "description": "d", "parentCommit": ""}}
_REPO = "api/models/freehold/a"
_HUB = [
    _post("api/repos/create", {"name": "a", "organization": "freehold", "type": "model", "private": False}),
    _post(f"{_REPO}/commit/main", [_HEAD, {"key": "file", "value": _FILE}], lines=True),
    _post(f"{_REPO}/discussions", {"title": "a change", "description": "d", "pullRequest": True}),
    _post(f"{_REPO}/discussions/1/comment", {"comment": "c"}),
    _post(f"{_REPO}/discussions/1/title", {"title": "t"}),
    _post(f"{_REPO}/discussions/1/status", {"status": "closed", "comment": "c"}),
    _post(f"{_REPO}/discussions/1/merge", {"comment": "c"}),
    _post(f"{_REPO}/discussions/1/comment/x/edit", {"content": "c"}),
    _post(f"{_REPO}/discussions/1/comment/x/hide", None),
    _post("api/repos/create", {"name": "other/b", "type": "dataset", "visibility": "private"}),
    _post("api/repos/move", {"fromRepo": "freehold/gone", "toRepo": "freehold/there", "type": "model"}),
    Sent("DELETE", ("api", "repos", "delete"), {"name": "gone", "organization": "freehold", "type": "model"}),
    Sent("PUT", (*_REPO.split("/"), "settings"), {"private": False, "gated": False}),
    _post(f"{_REPO}/branch/dev", {"startingPoint": "main", "emptyBranch": False}),
    Sent("DELETE", (*_REPO.split("/"), "branch", "dev")),
    _post(f"{_REPO}/tag/main", {"tag": "v1"}),
    _post(f"{_REPO}/super-squash/dev", {"message": "m"}),
    _post(
        f"{_REPO}/commit/main",
        [
            _HEAD,
            {"key": "deletedFile", "value": {"path": "x"}},
            {"key": "copyFile", "value": {"path": "y", "src": "README.md"}},
            {"key": "lfsFile", "value": {"path": "z", "algo": "sha256", "oid": "0" * 64, "size": 3}},
        ],
        lines=True,
    ),
    _post(
        f"{_REPO}/commit/main",
        [_HEAD, {"key": "deletedFolder", "value": {"path": "x"}}],
        lines=True,
        query=(("create_pr", "1"),),
    ),
    _post(
        f"{_REPO}/preupload/main",
        {"files": [{"path": "a.bin", "size": 4, "sample": "AAAA"}], "gitIgnore": "*.x"},
    ),
    _post(
        "freehold/a.git/info/lfs/objects/batch",
        {
            "operation": "upload",
            "objects": [{"oid": "0" * 64, "size": 3}],
            "transfers": ["basic", "multipart"],
        },
    ),
    _post(
        "freehold/a.git/info/lfs/objects/batch",
        {"operation": "download", "objects": [{"oid": "0" * 64, "size": 3}]},
    ),
    _post(f"{_REPO}/lfs-verify", {"oid": "0" * 64, "size": 3}),
    _post(f"{_REPO}/paths-info/main", {"paths": ["README.md"], "expand": True}),
    _post("api/validate-yaml", {"content": "---\nlicense: mit\n---\n", "repoType": "model"}),
    _post(f"{_REPO}/user-access-request/grant", {"user": "freehold"}),
    _post(
        f"{_REPO}/user-access-request/handle",
        {"user": "freehold", "status": "accepted", "rejectionReason": "r"},
    ),
    _post("freehold/a/ask-access", None),
    _get(
        "api/models",
        search="a",
        author="freehold",
        filter="license:mit",
        sort="downloads",
        direction="-1",
        limit="5",
        full="true",
        expand="sha",
        cursor="",
    ),
    _get("api/datasets", search="b", limit="5", cursor="1.0:1"),
    _get(_REPO, blobs="true", securityStatus="true", expand="siblings"),
    _get(f"{_REPO}/revision/main", blobs="true"),
    _get(f"{_REPO}/tree/main", recursive="true", expand="true", limit="3", cursor="a"),
    _get(f"{_REPO}/tree/main/x", limit="3"),
    _get(f"{_REPO}/commits/main", p="0", limit="5"),
    _get(f"{_REPO}/refs"),
    _get(f"{_REPO}/auth-check"),
    _get(f"{_REPO}/auth-check/write"),
    _get(f"{_REPO}/discussions", p="0", type="all", status="open", author="freehold"),
    _get(f"{_REPO}/discussions/1", diff="1"),
    _get(f"{_REPO}/user-access-request/pending"),
    _get(f"{_REPO}/xet-read-token/main"),
    _get("api/whoami-v2"),
    _get("api/models-tags-by-type"),
    _get("freehold/a/resolve/main/README.md"),
    replace(_get("freehold/a/resolve/main/README.md"), headers=(("Range", "bytes=0-3"),)),
    _get("lfs/" + "0" * 64, size="3", expires="99999999999", signature="00"),
    _get("", kind="model", q="a", tag="license:mit", author="freehold", sort="modified", cursor=""),
    _get("freehold/a"),
    _get("freehold/a/tree/main"),
    _get("freehold/a/blob/main/README.md"),
    _get("freehold/a/commits/main", after="0"),
    _get("freehold/a/commit/main", since="main"),
    _get("freehold/a/discussions"),
    _get("freehold/a/discussions/1"),
    _get("freehold/a/lineage"),
    _get("datasets/other/b"),
]
BASES: dict[str, list[Sent]] = {"server": _SERVER, "hub": _HUB, "keyed": _HUB}

AWKWARD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    5,
    2**31 - 1,
    2**31,
    -(2**31),
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**400,
    0.5,
    -0.0,
    1.5,
    5e-324,
    1e-300,
    1e-9,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "\0",
    "a\0b",
    "\n",
    "1",
    "nan",
    "main",
    "tiny",
    "\ud800",
    "\udc00x",
    "\u202e",
    "\U0001f600",
    "../..",
    "/",
    "x" * 5000,
    "x" * 200_000,
    "²",
    "refs/pr/1",
    "refs/heads/main",
    "0" * 64,
    "0" * 40,
    "gbnf:root ::= root",
    "(a+)+$",
    [],
    {},
    [None],
    [[]],
    [0],
    ["x"],
    [""],
    ["x"] * 2000,
    [{}],
    [1] * 3000,
    {"": 0},
    {"type": "text"},
    {"type": "text", "text": 5},
    {"type": "image_url", "image_url": {"url": "http://x/"}},
    {"$ref": "#"},
    {"$ref": "http://x/"},
    {"$ref": "#/nowhere"},
    {"type": "string", "pattern": "(a{1000}){1000}"},
    {"type": "string", "pattern": "("},
    {"anyOf": [{"const": n} for n in range(300)]},
    {"type": "object", "properties": {"a": {"$ref": "#"}}},
    {"type": "array", "minItems": 10**9},
    {"enum": []},
    {"5": float("nan")},
    {"-1": 1},
    {"99999999999": 1},
    {"1e3": 1},
    {"٣": 1},
    {"999": 1},
    DEEP,
    [DEEP] * 3,
    {"name": "\ud800"},
    {"function": 5},
    {"function": {"name": 5}},
]
#: What hypothesis makes values of, and words of paths and queries.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
WORDS = st.text(st.characters(), max_size=12)
_AWKWARD_WORDS = [value if isinstance(value, str) else json.dumps(value)[:2000] for value in AWKWARD]
_HEADERS = [
    ("Content-Type", ""),
    ("Content-Type", "text/plain"),
    ("Content-Type", "application/json; charset=utf-16"),
    ("Content-Encoding", "gzip"),
    ("Content-Type", "multipart/form-data; boundary=x"),
    ("Range", "bytes=9-1"),
    ("Range", "bytes=-"),
    ("Range", "bytes=-99999999999999999999"),
    ("Accept", "text/html"),
    ("Range", "bytes=0-99999999999999999999999"),
    ("If-None-Match", "*"),
    ("Authorization", "Bearer x"),
    ("Authorization", "Basic !!"),
    ("traceparent", "00-x"),
    ("X-Api-Key", "x" * 300),
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("Origin", "http://elsewhere.example"),
]


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the whole of it first."""
    yield at
    for key, part in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from _places(part, (*at, key))


@dataclass(frozen=True)
class Breaking:
    """Breaks requests: ``chance`` draws what and where, ``values`` and ``words`` are hypothesis' own beside
    the awkward ones."""

    chance: random.Random
    values: Sequence[Any]
    words: Sequence[str]

    def request(self, bases: Sequence[Sent]) -> Sent:
        """A valid request with one to three places that are not; one of eight is as it was."""
        sent = self.chance.choice(bases)
        for _ in range(self.chance.choice([0, 1, 1, 1, 1, 2, 2, 3])):
            sent = self._broken(sent)
        return sent

    def _broken(self, sent: Sent) -> Sent:
        kind = self.chance.randrange(20)
        if sent.raw is None and sent.body is not None and kind < 13:
            return replace(sent, body=self._value_in(sent.body))
        if kind < 15 and (data := sent.content()) is not None:
            return replace(sent, raw=self._bytes(data))
        if kind == 15:
            return replace(sent, headers=(*sent.headers, self.chance.choice(_HEADERS)))
        if kind == 17:
            methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
            return replace(sent, method=self.chance.choice(methods))
        if sent.query and kind != 16:
            name = self.chance.choice([*(name for name, _ in sent.query), "x"])
            kept = tuple(pair for pair in sent.query if pair[0] != name)
            return replace(sent, query=(*kept, (name, self._word()[:20_000])))
        at = self.chance.randrange(len(sent.path))
        return replace(sent, path=(*sent.path[:at], self._word()[:3000], *sent.path[at + 1 :]))

    def _word(self) -> str:
        return self.chance.choice(self.chance.choice([_AWKWARD_WORDS, self.words]))

    def _value(self) -> Any:
        return copy.deepcopy(self.chance.choice(self.chance.choice([AWKWARD, AWKWARD, self.values])))

    def _value_in(self, body: Any) -> Any:
        """A JSON value with another one at one of its places."""
        path = self.chance.choice(list(_places(body)))
        if not path:
            return self._value()
        body = copy.deepcopy(body)
        parent = body
        for key in path[:-1]:
            parent = parent[key]
        kind = self.chance.randrange(10)
        if kind == 0:
            del parent[path[-1]]
        elif kind == 1 and isinstance(parent, dict):
            parent[self.chance.choice([*self.words, "model", "stop", "\ud800", "x" * 3000])] = self._value()
        elif kind == 2 and isinstance(parent, list):
            parent.extend([parent[0]] * self.chance.choice([1, 40, 2000]))
        else:
            parent[path[-1]] = self._value()
        return body

    def _bytes(self, data: bytes) -> bytes:
        """Bytes that were cut, doubled or changed."""
        at = self.chance.randrange(len(data) or 1)
        return self.chance.choice(
            [
                data[:at],
                data[at:],
                data + data,
                data[:at] + b"\xff" + data[at:],
                b"\xef\xbb\xbf" + data,
                b"",
                b"null",
                data.decode("utf-8", "replace").encode("utf-16"),
                data[:at] + b"\0" + data[at:],
                b"[" * 5000,
                b'{"a":' * 3000,
                data.replace(b"{", b'{"model":"tiny","model":"x",', 1),
                data + b"}",
                b"1" * 5000,
                data[:at] + b'"\\ud800"' + data[at + 1 :],
                b"\x1f\x8b" + data,
            ]
        )


def fitting(document: dict[str, Any]) -> Iterator[Any]:
    """schemathesis' strategies for each operation of an OpenAPI document: requests that fit it, and ones that
    do not."""
    import schemathesis
    from schemathesis import GenerationMode

    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except Exception:  # an operation without parameters cannot be broken
                continue
            yield strategy.map(_of_case)


def _of_case(case: Any) -> Sent:
    sent = case.as_transport_kwargs(base_url="http://x")
    path = sent["url"].removeprefix("http://x/")
    body = sent.get("json")
    data = sent.get("data")
    raw = (
        data
        if isinstance(data, bytes)
        else data.encode("utf-8", "surrogatepass")
        if isinstance(data, str)
        else None
    )
    query = sent.get("params") or {}
    pairs = [
        (name, value)
        for name, many in query.items()
        for value in (many if isinstance(many, list) else [many])
    ]
    return Fitted(
        sent["method"], (path,), body, tuple((str(name), str(value)) for name, value in pairs), raw=raw
    )


class Fitted(Sent):
    """A request whose path is written as it goes over the wire."""

    @property
    def written_path(self) -> str:
        """The path as it goes over the wire."""
        return self.path[0]
