import json
from pathlib import Path

import pytest

from freehold.data.examples import parse_columns, read_examples
from freehold.errors import BadData, UsageError


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "a", "b"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "a", "b"),
        ({"prompt": "a", "completion": "b"}, "a", "b"),
        ({"input": "a", "output": {"k": 1}}, "a", '{"k": 1}'),
        ({"text": "a", "label": 3}, "a", "3"),
    ],
)
def test_each_shape_of_row_becomes_an_example(tmp_path: Path, row: object, question: str, answer: str) -> None:
    (example,) = read_examples(write(tmp_path / "rows.jsonl", row)).examples
    assert (example.question, example.answer) == (question, answer)


def test_csv_and_parquet_read_as_jsonl_does(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.csv").write_text('text,label\n"hello, world",greeting\nbye,parting\n')
    pq.write_table(pa.table({"text": ["hello, world", "bye"], "label": ["greeting", "parting"]}), tmp_path / "a.parquet")
    from_csv = [(e.question, e.answer) for e in read_examples(tmp_path / "a.csv").examples]
    assert (
        from_csv
        == [(e.question, e.answer) for e in read_examples(tmp_path / "a.parquet").examples]
        == [("hello, world", "greeting"), ("bye", "parting")]
    )


def test_every_bad_row_is_named_with_line_and_field_at_once(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    file = write(
        tmp_path / "rows.jsonl",
        good,
        "{broken",
        {"messages": [{"role": "robot", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]},
        {"messages": "none"},
    )
    with pytest.raises(BadData) as caught:
        read_examples(file)
    faults = caught.value.faults
    assert [fault.split(":")[1] for fault in faults] == ["2", "3", "4", "5"]
    assert "messages'[0].role is 'robot'" in faults[1]
    assert "last message is from 'user'" in faults[2]


def test_unknown_columns_are_listed_with_a_suggestion(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", {"body": "a", "team": "b"})
    with pytest.raises(BadData, match=r"columns body, team.*--columns prompt=body,completion=team"):
        read_examples(file)
    (example,) = read_examples(file, parse_columns("text=body,label=team")).examples
    assert example.answer == "b"
    with pytest.raises(BadData, match="did you mean 'team'"):
        read_examples(file, parse_columns("text=body,label=taem"))
    with pytest.raises(UsageError):
        parse_columns("colour=red")


def test_bytes_that_are_not_utf8_are_placed(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "a", "label": "b"}\n{"text": "\xff", "label": "b"}\n')
    with pytest.raises(BadData, match=r"rows.jsonl:2: byte 38 is not UTF-8"):
        read_examples(tmp_path / "rows.jsonl")


def test_a_line_separator_inside_a_text_is_no_end_of_row(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a\u2028b\x85c", "label": "x"}\n', encoding="utf-8")
    (example,) = read_examples(tmp_path / "rows.jsonl").examples
    assert example.question == "a\u2028b\x85c"
