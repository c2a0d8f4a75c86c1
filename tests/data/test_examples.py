"""Rows become examples: ids, digests, faults, splits."""

import json
from pathlib import Path

import pytest

from freehold.core.errors import BadData, UsageError
from freehold.data.examples import RowOptions, datasets_of, read_dataset, read_splits
from freehold.data.table import Fault, Row, Table


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def rows(count: int, **more: object) -> list[dict[str, object]]:
    return [{"text": f"the text of row {n}", "label": "ab"[n % 2], **more} for n in range(count)]


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
def test_one_row_is_enough_to_tell_its_shape(tmp_path: Path, row: object, question: str, answer: str) -> None:
    (example,) = read_dataset(write(tmp_path / "rows.jsonl", row)).examples
    assert (example.question, example.answer) == (question, answer)


def test_every_bad_row_is_named_with_line_and_column_at_once(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    file = write(
        tmp_path / "rows.jsonl",
        good,
        "{broken",
        {"messages": [{"role": "robot", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]},
        good,
    )
    with pytest.raises(BadData) as caught:
        read_dataset(file)
    faults = caught.value.faults
    assert [fault.split(", ")[1][:6] for fault in faults] == ["line 2", "line 3", "line 4"]
    assert "column \"messages[0]\": has the role 'robot'" in faults[1]
    assert "has no message of the user before the answer" in faults[2]
    assert "--on-bad-row skip" in caught.value.remedy


def test_rows_left_out_are_listed(tmp_path: Path) -> None:
    file = write(
        tmp_path / "rows.jsonl", *rows(30), {"text": "no label", "label": None}, {"text": "", "label": "a"}
    )
    read = read_dataset(file, RowOptions(on_bad_row="skip"))
    assert read.left_out == (
        Fault('rows.jsonl, line 31, column "label"', "no value"),
        Fault('rows.jsonl, line 32, column "text"', "empty value"),
    )


@pytest.mark.parametrize(("bad", "read"), [(1, True), (2, True), (3, False)])
def test_one_percent_of_the_rows_may_be_bad(tmp_path: Path, bad: int, read: bool) -> None:
    file = write(tmp_path / "rows.jsonl", *rows(200 - bad), *[{"text": "x", "label": None}] * bad)
    if read:
        assert len(read_dataset(file).left_out) == bad
    else:
        with pytest.raises(BadData, match="3 of 200 rows"):
            read_dataset(file)


def test_only_twenty_faults_are_shown(tmp_path: Path) -> None:
    with pytest.raises(BadData) as caught:
        read_dataset(write(tmp_path / "rows.jsonl", *rows(30), *[{"text": "x", "label": None}] * 25))
    assert len(caught.value.faults) == 25
    assert "... and 5 more" in caught.value.message


def test_an_option_that_is_not_known() -> None:
    with pytest.raises(UsageError, match="--on-bad-row ignore"):
        RowOptions(on_bad_row="ignore")


def test_repeated_ids_stay_apart(tmp_path: Path) -> None:
    named = [
        {**row, "id": identity} for row, identity in zip(rows(5), ["a", "a", "a-2", "b", "a"], strict=True)
    ]
    read = read_dataset(write(tmp_path / "rows.jsonl", *named))
    ids = [example.id for example in read.examples]
    assert len(set(ids)) == 5
    assert ids[:1] == ["a"]
    assert ids[2:4] == ["a-2", "b"]


def test_rows_without_ids_are_named_by_their_place(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", {"text": "x y", "label": None}, *rows(9))
    assert [example.id for example in read_dataset(file).examples][:2] == ["rows-2", "rows-3"]


def test_the_digest_of_an_example_does_not_know_its_id(tmp_path: Path) -> None:
    one = read_dataset(write(tmp_path / "a.jsonl", *rows(3, id=1))).examples[0]
    other = read_dataset(write(tmp_path / "b.jsonl", *rows(3, id=2))).examples[0]
    assert one.id != other.id
    assert one.digest == other.digest


def test_csv_and_parquet_read_as_jsonl_does(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.csv").write_text('text,label\n"hello, world",greeting\nbye,parting\n')
    pq.write_table(
        pa.table({"text": ["hello, world", "bye"], "label": ["greeting", "parting"]}), tmp_path / "a.parquet"
    )
    write(
        tmp_path / "a.jsonl",
        {"text": "hello, world", "label": "greeting"},
        {"text": "bye", "label": "parting"},
    )
    read = [
        [e.messages for e in read_dataset(tmp_path / f"a.{kind}").examples]
        for kind in ("csv", "parquet", "jsonl")
    ]
    assert read[0] == read[1] == read[2]


# -- splits ---------------------------------------------------------------------------------------


def test_files_given_apart_are_read_with_one_mapping(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *rows(30, note="x"))
    test = write(tmp_path / "test.jsonl", *rows(2))
    read = read_splits(train, None, test)
    assert list(read) == ["train", "test"]
    assert read["test"].mapping.columns == read["train"].mapping.columns == {"text": "text", "label": "label"}
    assert (read["train"].mapping.unused, read["test"].mapping.unused) == (("note",), ())


def test_a_split_with_other_columns_gets_its_own_mapping(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *rows(30))
    test = write(
        tmp_path / "test.jsonl", *[{"body": row["text"], "category": row["label"]} for row in rows(30)]
    )
    read = read_splits(train, None, test)["test"]
    assert read.mapping.columns == {"text": "body", "label": "category"}
    assert any("test.jsonl has other columns than the train rows: text=body" in note for note in read.notes)


def test_a_folder_with_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", *rows(30))
    write(tmp_path / "validation.jsonl", *rows(5))
    write(tmp_path / "test.jsonl", *rows(6))
    assert {part: len(one.examples) for part, one in read_splits(tmp_path).items()} == {
        "train": 30,
        "valid": 5,
        "test": 6,
    }
    with pytest.raises(UsageError, match="several splits"):
        read_dataset(tmp_path)


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    bad = [{"text": "x y", "label": None}] * 5
    with pytest.raises(BadData) as caught:
        read_splits(
            write(tmp_path / "a.jsonl", *rows(9), *bad), None, write(tmp_path / "b.jsonl", *rows(9), *bad)
        )
    assert len(caught.value.faults) == 10
    assert "a.jsonl: 5 of 14" in caught.value.message
    assert "b.jsonl: 5 of 14" in caught.value.message


def test_a_word_is_missing_or_not_in_all_splits_alike() -> None:
    def table(name: str, count: int, nones: int) -> Table:
        labels = ["none" if n < nones else "ab"[n % 2] for n in range(count)]
        fields = [{"text": f"some text {n}", "label": label} for n, label in enumerate(labels)]
        return Table(
            name, "0", ("text", "label"), tuple(Row(f"{name}, line {n}", one) for n, one in enumerate(fields))
        )

    read = datasets_of({"train": table("train", 40, 20), "test": table("test", 40, 1)})
    assert len(read["test"].examples) == 40
    assert read["test"].examples[0].answer == "none"


def test_fences_stay_where_one_split_has_other_answers() -> None:
    def table(name: str, answer: str) -> Table:
        fields = [{"prompt": f"some text {n}", "completion": answer} for n in range(9)]
        return Table(
            name, "0", ("prompt", "completion"), tuple(Row(f"line {n}", one) for n, one in enumerate(fields))
        )

    fenced = '```json\n{"a": 1}\n```'
    assert datasets_of({"train": table("a", fenced)})["train"].examples[0].answer == '{"a": 1}'
    assert (
        datasets_of({"train": table("a", fenced), "test": table("b", "no")})["train"].examples[0].answer
        == fenced
    )


def test_masked_rows_read_back_as_they_were_written(tmp_path: Path) -> None:
    fields = [{"text": f"text {n}", "labels": ["urgent", "ab"[n % 2]]} for n in range(12)]
    read = read_dataset(write(tmp_path / "a.jsonl", *fields)).examples
    lines = [
        {"id": e.id, "messages": [{"role": r, "content": c} for r, c in e.messages], **e.reference}
        for e in read
    ]
    again = read_dataset(write(tmp_path / "b.jsonl", *lines)).examples
    assert [(e.messages, e.reference) for e in again] == [(e.messages, e.reference) for e in read]
