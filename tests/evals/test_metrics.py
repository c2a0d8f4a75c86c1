from pathlib import Path

import pytest

from freehold.data.examples import Example
from freehold.errors import UsageError
from freehold.evals import metrics


def row(answer: str, **reference: str) -> Example:
    return Example("r", (("user", "q"), ("assistant", answer)), reference)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("so 1,234.50 dollars\n#### 18", "18"), ("about 3 or 4.", "4"), ("#### 1,000.00", "1000"), ("-7", "-7"), ("none", None), ("100", "100")],
)
def test_the_number_of_an_answer(text: str, wanted: str | None) -> None:
    assert metrics.last_number(text) == wanted


def test_json_fields() -> None:
    example = row('{"a": 1, "b": {"c": "x"}}')
    assert metrics.fields(example, '```json\n{"a": 1, "b": {"c": "x"}}\n```') == 1.0
    assert metrics.fields(example, '{"a": 1, "b": {"c": "y"}}') == 0.5
    assert metrics.fields(example, "no json") == 0.0


def test_code_is_run_against_its_tests_and_limited() -> None:
    example = row("", entry_point="add", prompt="def add(a, b):\n", test="def check(f):\n    assert f(1, 2) == 3\n")
    assert metrics.code(example, "    return a + b\n") == 1.0
    assert metrics.code(example, "```python\ndef add(a, b):\n    return a + b\n```") == 1.0
    assert metrics.code(example, "    return a - b\n") == 0.0
    assert metrics.code(example, "    while True: pass\n") == 0.0
    assert metrics.code(example, "    x = bytearray(3 << 30)\n    return a + b\n") == 0.0


def test_code_has_no_network() -> None:
    example = row("", entry_point="f", prompt="def f():\n", test="def check(f):\n    f()\n")
    dial = "    import socket\n    server = socket.create_server(('127.0.0.1', 0))\n    socket.create_connection(server.getsockname(), 2)\n"
    from freehold.evals import sandbox

    if not sandbox._without_network():
        pytest.skip("this system allows no network namespace")
    assert metrics.code(example, dial) == 0.0


@pytest.mark.parametrize(
    ("answers", "kind"),
    [(["x #### 3", "y #### 4"], "number"), (['{"a": 1}', '{"a": 2}'], "json"), (["yes", "no"] * 10, "label"), (["one thing", "another"], "text")],
)
def test_the_kind_of_task_is_found(answers: list[str], kind: str) -> None:
    assert metrics.detect([row(answer) for answer in answers]) == kind


def test_a_users_own_function(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def half(row, answer):\n    return 0.5 if answer else 2\n")
    metric = metrics.choose(f"{tmp_path / 'mine.py'}:half", [])
    assert metric.grade(row("a"), "x") == 0.5
    with pytest.raises(UsageError, match="returned 2 for row r"):
        metric.grade(row("a"), "")
