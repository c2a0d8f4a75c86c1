"""A real HTTP server in the manner of OpenAI's: it refuses what real ones refuse, and counts."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from freehold.core import progress
from freehold.core.errors import FreeholdError, UsageError
from freehold.data.examples import Example
from freehold.evaluation.measurement import Ask
from freehold.evaluation.metrics import choose
from freehold.trial import rival_client
from freehold.trial.rival import Endpoint, Rival, measured

SUMS = [Example(f"row-{i}", (("user", f"{i} plus 1?"), ("assistant", str(i + 1)))) for i in range(6)]
NUMBER = choose("number", SUMS)
COLOURS = [
    Example(f"c-{i}", (("user", f"text {i}"), ("assistant", colour)), {"label": colour})
    for i, colour in enumerate(["red", "blue"] * 10)
]
LABEL = choose("label", COLOURS, labels=("blue", "red"))
LABELS = Ask((), ("blue", "red"), 16)
FREE = {"zero-shot": Ask((), (), 16)}

#: (status, body, headers) for a request's body and its number.
Rule = Callable[[dict[str, Any], int], tuple[int, dict[str, Any], dict[str, str]] | None]


def completion(
    text: str | None, finish: str = "stop", **usage: Any
) -> tuple[int, dict[str, Any], dict[str, str]]:
    counts = {"prompt_tokens": 9, "completion_tokens": 1, **usage}
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": finish}], "usage": counts}, {}


def refusal(status: int, message: str, **more: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    return status, {"error": {"message": message, **more}}, {}


class Server(ThreadingHTTPServer):
    """Asks its rules in turn what to answer; else it adds 1 to even numbers and gets odd ones wrong."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rules: list[Rule] = []
        self.seen: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.keys: set[str] = set()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        self.seen.append(body)
        for rule in self.rules:
            reply = rule(body, len(self.seen))
            if reply is not None:
                break
        else:
            number = int(body["messages"][-1]["content"].split()[0])
            reply = completion(str(number + 1 if number % 2 == 0 else number))
        if reply[0] == 200:
            self.answered.append(body)
        return reply


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.keys.add(self.headers.get("authorization", ""))
        status, value, headers = self.server.answer(body)
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, text)
        # a client that a test has killed is not there any more
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


class Pauses:
    """Waits for nothing and remembers how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return False


def endpoint(server: Server, key_env: str = "") -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{server.server_port}/v1/", "their-model", key_env)


def sums(server: Server, folder: Path, *, pauses: Pauses | None = None, key_env: str = "") -> Rival:
    kept = folder / "kept.jsonl"
    return measured(
        endpoint(server, key_env), NUMBER, FREE, (), SUMS, kept, progress.silent, pause=pauses or Pauses()
    )


def colours(server: Server, folder: Path, asks: dict[str, Ask], valid: int = 0) -> Rival:
    kept = folder / "kept.jsonl"
    rows = COLOURS[:valid], COLOURS[valid:]
    return measured(endpoint(server), LABEL, asks, *rows, kept, progress.silent, pause=Pauses())


def right_colour(body: dict[str, Any], _: int = 0) -> str:
    number = int(body["messages"][-1]["content"].split()[-1])
    return COLOURS[number].answer


# -- what is asked ----------------------------------------------------------------------------


def test_each_row_is_asked_once_with_the_key(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", "secret-1")
    rival = sums(server, tmp_path, key_env="THEIR_KEY")
    assert [answer.score for answer in rival.answers] == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    assert server.keys == {"Bearer secret-1"}
    assert all(
        b["model"] == "their-model" and b["max_tokens"] == 16 and b["temperature"] == 0 for b in server.seen
    )
    assert "secret-1" not in (tmp_path / "kept.jsonl").read_text()
    assert sums(server, tmp_path, key_env="THEIR_KEY") == rival
    assert len(server.seen) == 6


def test_a_missing_key_is_named_before_anything_leaves(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THEIR_KEY", raising=False)
    with pytest.raises(UsageError, match="THEIR_KEY"):
        sums(server, tmp_path, key_env="THEIR_KEY")
    assert server.seen == []


def test_labels_are_bound_by_a_schema_and_listed(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: completion(json.dumps({"label": right_colour(body)})))
    rival = colours(server, tmp_path, {"zero-shot": LABELS})
    assert {answer.score for answer in rival.answers} == {1.0}
    assert rival.answers[0].text == "red"
    form = server.seen[0]["response_format"]["json_schema"]["schema"]
    assert form["properties"]["label"]["enum"] == ["blue", "red"]
    assert "- blue\n- red" in server.seen[0]["messages"][0]["content"]
    assert any("JSON schema" in sentence for sentence in rival.conditions)
    assert len(server.seen) == len(COLOURS)


@pytest.mark.parametrize(
    "unable",
    [
        lambda body, n: (
            refusal(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported")
            if "response_format" in body
            else None
        ),
        lambda body, n: (
            completion("**Red**.") if "response_format" in body else None
        ),  # takes it and ignores it
    ],
)
def test_labels_are_listed_where_the_server_takes_no_schema(
    server: Server, tmp_path: Path, unable: Rule
) -> None:
    server.rules += [unable, lambda body, n: completion(f"Label: {right_colour(body).upper()}.")]
    rival = colours(server, tmp_path, {"zero-shot": LABELS})
    assert {answer.score for answer in rival.answers} == {1.0}
    assert "- blue\n- red" in server.seen[-1]["messages"][0]["content"]
    assert len(server.seen) == len(COLOURS) + 1
    assert any("no JSON schema" in sentence for sentence in rival.conditions)


def test_the_better_of_zero_and_few_shot_on_validation_rows_answers_the_test_rows(
    server: Server, tmp_path: Path
) -> None:
    shots = (COLOURS[0].messages, COLOURS[1].messages)

    def answer(body: dict[str, Any], _: int) -> Any:
        shown = len(body["messages"]) > 2
        return completion(json.dumps({"label": right_colour(body) if shown else "red"}))

    server.rules.append(answer)
    few = Ask(shots, ("blue", "red"), 16)
    rival = colours(server, tmp_path, {"zero-shot": LABELS, "few-shot": few}, valid=8)
    assert rival.how == "few-shot"
    assert rival.chosen_by == {"zero-shot": 0.5, "few-shot": 1.0}
    assert len(rival.answers) == 12
    assert len(server.seen) == 8 + 8 + 12
    assert server.seen[-1]["messages"][1:5] == [
        {"role": "user", "content": "text 0"},
        {"role": "assistant", "content": '{"label": "red"}'},
        {"role": "user", "content": "text 1"},
        {"role": "assistant", "content": '{"label": "blue"}'},
    ]
    assert "the same 2 worked examples as for the models here" in rival.conditions
    assert "8 validation rows (zero-shot 0.500 and few-shot 1.000)" in rival.conditions[0]


def test_without_validation_rows_the_choice_on_test_rows_is_said(server: Server, tmp_path: Path) -> None:
    ways = FREE | {"few-shot": Ask((SUMS[5].messages,), (), 16)}
    kept = tmp_path / "kept.jsonl"
    rival = measured(endpoint(server), NUMBER, ways, (), SUMS[:5], kept, progress.silent, pause=Pauses())
    assert rival.conditions[0] == "zero-shot, the better on 5 test rows (zero-shot 0.600 and few-shot 0.600)"
    assert len(rival.waits_ms) == 5
    assert sums(server, tmp_path).conditions[0] == "zero-shot, the only form asked"


# -- what servers refuse ------------------------------------------------------------------------


def strict(body: dict[str, Any], _: int) -> Any:
    """OpenAI's answers to what its reasoning models do not take."""
    if "max_tokens" in body:
        return refusal(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            code="unsupported_parameter",
        )
    if "temperature" in body:
        return refusal(
            400,
            "Unsupported value: 'temperature' does not support 0 with this model. "
            "Only the default (1) value is supported.",
            code="unsupported_value",
        )
    return None


def test_a_model_that_refuses_max_tokens_and_temperature_is_asked_without_them(
    server: Server, tmp_path: Path
) -> None:
    server.rules.append(strict)
    rival = sums(server, tmp_path)
    assert len(rival.answers) == 6
    assert len(server.seen) == 6 + 2  # each refusal is remembered for the later rows
    assert server.seen[-1]["max_completion_tokens"] == 16
    assert any("the server's own temperature" in sentence for sentence in rival.conditions)
    sums(server, tmp_path)
    assert len(server.seen) == 8


def test_what_was_learnt_is_remembered_after_an_interruption(server: Server, tmp_path: Path) -> None:
    server.rules += [strict, lambda body, n: refusal(401, "no key") if n > 4 else None]
    with pytest.raises(FreeholdError, match="401"):
        sums(server, tmp_path)
    server.rules.pop()
    before = len(server.seen)
    sums(server, tmp_path)
    assert all("max_tokens" not in body for body in server.seen[before:])


def test_a_server_with_a_lower_limit_gets_its_limit(server: Server, tmp_path: Path) -> None:
    server.rules.append(
        lambda body, n: (
            refusal(400, "max_tokens is too large: 16. This model supports at most 12 completion tokens")
            if body["max_tokens"] > 12
            else None
        )
    )
    with pytest.raises(FreeholdError, match="400"):
        sums(server, tmp_path)  # fewer than 16 tokens are no limit to go by
    server.rules[0] = lambda body, n: (
        refusal(400, "max_tokens is too large: 4096. This model supports at most 2,048 tokens")
        if body["max_tokens"] > 2048
        else None
    )
    rival = measured(
        endpoint(server),
        NUMBER,
        {"zero-shot": Ask((), (), 4096)},
        (),
        SUMS,
        tmp_path / "k.jsonl",
        progress.silent,
    )
    assert len(rival.answers) == 6
    assert server.seen[-1]["max_tokens"] == 2048


def test_a_model_without_a_system_role_gets_the_labels_in_the_question(
    server: Server, tmp_path: Path
) -> None:
    server.rules += [
        lambda body, n: (
            refusal(400, "System role not supported") if body["messages"][0]["role"] == "system" else None
        ),
        lambda body, n: completion(json.dumps({"label": right_colour(body)})),
    ]
    rival = colours(server, tmp_path, {"zero-shot": LABELS})
    assert {answer.score for answer in rival.answers} == {1.0}
    assert "- blue\n- red" in server.seen[-1]["messages"][0]["content"]


def test_a_refusal_of_everything_is_one_sentence(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: refusal(400, "no such model: their-model"))
    with pytest.raises(FreeholdError, match=r"answered 400 .*no such model"):
        sums(server, tmp_path)
    assert len(server.seen) == 1


def test_a_row_that_the_server_does_not_take_is_counted_and_said(server: Server, tmp_path: Path) -> None:
    server.rules.append(
        lambda body, n: (
            refusal(400, "This model's context length is exceeded")
            if body["messages"][-1]["content"].startswith("4")
            else None
        )
    )
    rival = sums(server, tmp_path)
    assert rival.rejected == 1
    assert rival.answers[4].score == 0.0
    assert any("1 of 6 rows were not accepted by the server" in sentence for sentence in rival.conditions)


# -- reasoning, filters, limits -------------------------------------------------------------------


def test_a_reasoning_model_gets_a_larger_limit_and_its_tokens_are_counted(
    server: Server, tmp_path: Path
) -> None:
    def reason(body: dict[str, Any], _: int) -> Any:
        details = {"reasoning_tokens": min(body["max_tokens"], 300)}
        if body["max_tokens"] < 310:
            return completion(
                "", "length", completion_tokens=body["max_tokens"], completion_tokens_details=details
            )
        number = int(body["messages"][-1]["content"].split()[0])
        return completion(str(number + 1), completion_tokens=301, completion_tokens_details=details)

    server.rules.append(reason)
    rival = sums(server, tmp_path)
    assert [answer.score for answer in rival.answers] == [1.0] * 6
    assert rival.cut == 0
    assert len(server.answered) == 6 + 1  # the first row shows that the limit is too small
    assert rival.spent.reasoning_tokens == 6 * 300 + 16
    assert rival.spent.answer_tokens == 6 * 301 + 16
    assert any("raised from 16 as the model reasons first" in sentence for sentence in rival.conditions)
    assert any("answer tokens are hidden reasoning" in sentence for sentence in rival.conditions)
    sums(server, tmp_path)
    assert len(server.answered) == 7


def test_answers_that_stay_cut_are_counted_and_said(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: completion("", "length", completion_tokens=body["max_tokens"]))
    rival = sums(server, tmp_path)
    assert rival.cut == 6
    assert server.seen[-1]["max_tokens"] == 16384
    assert any("6 of 6 answers were cut at the token limit" in sentence for sentence in rival.conditions)
    asked = len(server.seen)
    assert sums(server, tmp_path).cut == 6
    assert len(server.seen) == asked


def test_thoughts_in_the_text_are_not_the_answer(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: completion("<think>1, 2, 7</think>\n1"))
    assert sums(server, tmp_path).answers[0].text == "1"


def test_answers_that_a_filter_withholds_are_counted_and_said(server: Server, tmp_path: Path) -> None:
    def filtered(body: dict[str, Any], _: int) -> Any:
        question = body["messages"][-1]["content"]
        if question.startswith("0"):
            return refusal(400, "The response was filtered", code="content_filter")
        if question.startswith("2"):
            return completion(None, "content_filter")
        return None

    server.rules.append(filtered)
    rival = sums(server, tmp_path)
    assert rival.refused == 2
    assert [answer.score for answer in rival.answers] == [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert any(
        "2 of 6 answers were withheld by a content filter" in sentence for sentence in rival.conditions
    )


def test_missing_token_counts_are_said(server: Server, tmp_path: Path) -> None:
    server.rules.append(
        lambda body, n: (200, {"choices": [{"message": {"content": "1"}, "finish_reason": "stop"}]}, {})
    )
    assert any("counted no tokens for 6 of 6" in sentence for sentence in sums(server, tmp_path).conditions)


def test_waits_are_those_of_rows_asked_one_at_a_time(server: Server, tmp_path: Path) -> None:
    def slow(body: dict[str, Any], n: int) -> Any:
        time.sleep(0.03)

    server.rules.append(slow)
    rival = measured(
        endpoint(server), NUMBER, FREE, SUMS[:2], SUMS[2:], tmp_path / "k.jsonl", progress.silent, lone_rows=3
    )
    assert len(rival.waits_ms) == 3
    assert all(30 <= wait < 1000 for wait in rival.waits_ms)


# -- busy and broken servers ----------------------------------------------------------------------


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server: Server, tmp_path: Path) -> None:
    def busy(body: dict[str, Any], n: int) -> Any:
        return {
            1: (429, {"error": "busy"}, {"Retry-After": "7"}),
            2: (503, {}, {"retry-after-ms": "250"}),
            3: (500, {}, {}),
            4: (200, {"error": {"code": 502, "message": "upstream"}}, {}),
        }.get(n)

    server.rules.append(busy)
    pauses = Pauses()
    assert len(sums(server, tmp_path, pauses=pauses).answers) == 6
    assert pauses.seconds[:2] == [7.0, 0.25]
    assert 0 < pauses.seconds[2] <= 2 < pauses.seconds[3] <= 4


def test_a_server_that_asks_for_an_hour_is_left_alone(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: (429, {}, {"Retry-After": "3600"}) if n > 3 else None)
    pauses = Pauses()
    with pytest.raises(FreeholdError, match="asks to wait 3,600 s"):
        sums(server, tmp_path, pauses=pauses)
    assert pauses.seconds == []
    server.rules.clear()
    assert len(sums(server, tmp_path).answers) == 6
    assert len(server.answered) == 6


def test_an_empty_account_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: refusal(429, "You exceeded your quota", code="insufficient_quota"))
    with pytest.raises(FreeholdError, match="insufficient_quota"):
        sums(server, tmp_path)
    assert len(server.seen) == 1


def test_answers_paid_for_are_kept_when_the_server_breaks(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: refusal(500, "out of order") if n > 4 else None)
    with pytest.raises(FreeholdError, match=r"answered 500 .*out of order"):
        sums(server, tmp_path)
    server.rules.clear()
    assert len(sums(server, tmp_path).answers) == 6
    assert sorted(body["messages"][-1]["content"][0] for body in server.answered) == list("012345")


def test_no_server_is_one_sentence(tmp_path: Path) -> None:
    nowhere = Endpoint("http://127.0.0.1:9/v1", "m", "")
    with pytest.raises(FreeholdError, match="could not be reached"):
        measured(nowhere, NUMBER, FREE, (), SUMS, tmp_path / "k.jsonl", progress.silent, pause=Pauses())


def test_another_kind_of_server_is_one_sentence(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: (200, {"message": "welcome"}, {}))
    with pytest.raises(FreeholdError, match="something other than a chat completion"):
        sums(server, tmp_path)


# -- what is kept ---------------------------------------------------------------------------------


def test_a_changed_condition_asks_anew_and_an_old_one_is_not_paid_twice(
    server: Server, tmp_path: Path
) -> None:
    shown = {"zero-shot": Ask((SUMS[5].messages,), (), 16)}
    kept = tmp_path / "kept.jsonl"
    sums(server, tmp_path)
    measured(endpoint(server), NUMBER, shown, (), SUMS[:5], kept, progress.silent, pause=Pauses())
    assert len(server.answered) == 11
    sums(server, tmp_path)
    measured(endpoint(server), NUMBER, shown, (), SUMS[:5], kept, progress.silent, pause=Pauses())
    assert len(server.answered) == 11


_KILLED = """
import json, sys
from pathlib import Path
from freehold.core import progress
from freehold.evaluation.measurement import Ask
from tests.trial.test_rival import NUMBER, SUMS
from freehold.trial.rival import Endpoint, measured
asks = {"zero-shot": Ask((), (), 16)}
measured(Endpoint(sys.argv[1], "their-model", ""), NUMBER, asks, (), SUMS, Path(sys.argv[2]), progress.silent)
"""


def test_a_killed_run_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    waiting, killed = threading.Event(), threading.Event()

    def stuck(body: dict[str, Any], n: int) -> Any:
        if n == 4:
            waiting.set()
            killed.wait(60)

    server.rules.append(stuck)
    kept = tmp_path / "kept.jsonl"
    command = [sys.executable, "-c", _KILLED, endpoint(server).url, str(kept)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    assert waiting.wait(60)
    process.kill()
    process.wait()
    killed.set()
    came = len(kept.read_text().split("\n")) - 1
    assert 1 <= came < 6
    with kept.open("a") as file:
        file.write('{"asked": "torn')
    server.rules.clear()
    assert len(sums(server, tmp_path).answers) == 6
    # each row was kept once: those that had come before the kill were not asked for again
    rows = [json.loads(line)["row"] for line in kept.read_text().split("\n")[:-1]]
    assert len(rows) == len(set(rows)) == 6


def test_an_interruption_between_tries_keeps_what_came(server: Server, tmp_path: Path) -> None:
    class Interrupted(Pauses):
        def __call__(self, seconds: float) -> bool:
            raise KeyboardInterrupt

    server.rules.append(lambda body, n: (429, {}, {}) if n == 3 else None)
    with pytest.raises(KeyboardInterrupt):
        sums(server, tmp_path, pauses=Interrupted())
    assert len(sums(server, tmp_path).answers) == 6
    assert len(server.answered) == 6


def test_waits_between_tries_grow_and_end(server: Server, tmp_path: Path) -> None:
    server.rules.append(lambda body, n: (503, {}, {}))
    pauses = Pauses()
    with pytest.raises(FreeholdError, match="503"):
        sums(server, tmp_path, pauses=pauses)
    assert len(pauses.seconds) == rival_client.TRIES - 1
    assert max(pauses.seconds) <= 30
