"""Which files of a folder are read as which split."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freehold.core.errors import BadData
from freehold.data.folders import split_of
from freehold.data.readers import read_tables


def folder(base: Path, **files: str) -> Path:
    """A folder with these files, by path."""
    for name, row in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row)
    return base


def files(*names: str) -> dict[str, str]:
    return {
        name: json.dumps({"from": name}) + "\n" if name.endswith(("l", "json")) else f"from,x\n{name},1\n"
        for name in names
    }


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (
            ["train.jsonl", "valid.jsonl", "test.jsonl"],
            {"train": "train.jsonl", "valid": "valid.jsonl", "test": "test.jsonl"},
        ),
        (["train.csv", "val.csv"], {"train": "train.csv", "valid": "val.csv"}),
        (
            ["train.csv", "dev.csv", "test.csv"],
            {"train": "train.csv", "valid": "dev.csv", "test": "test.csv"},
        ),
        (["data/train.jsonl", "data/eval.jsonl"], {"train": "data/train.jsonl", "valid": "data/eval.jsonl"}),
        (
            ["tickets_train.csv", "tickets-test.csv"],
            {"train": "tickets_train.csv", "test": "tickets-test.csv"},
        ),
        (["Train.CSV".lower(), "TEST.csv"], {"train": "train.csv", "test": "TEST.csv"}),
        (["train/rows.jsonl", "test/rows.jsonl"], {"train": "train/rows.jsonl", "test": "test/rows.jsonl"}),
        (["rows.jsonl"], {"train": "rows.jsonl"}),
        (["rows.jsonl", ".cache/x.jsonl", "README.md", "dataset_info.json"], {"train": "rows.jsonl"}),
        (["test.jsonl"], {"test": "test.jsonl"}),
        (["training_data.csv", "contest.csv"], {"train": "training_data.csv"}),
    ],
)
def test_names_say_which_split_a_file_is(tmp_path: Path, names: list[str], read: dict[str, str]) -> None:
    tables = read_tables(folder(tmp_path, **files(*names)))
    assert {split: table.rows[0].fields["from"] for split, table in tables.items()} == read
    for split, table in tables.items():
        assert f'The {split} rows are those of "{read[split]}".' in table.notes


def test_files_that_are_not_read_are_said(tmp_path: Path) -> None:
    tables = read_tables(folder(tmp_path, **files("train.csv", "test.csv", "labels.csv")))
    assert tables["train"].notes[-1] == 'Files in the folder that are not used: "labels.csv".'


def test_shards_are_joined_in_order(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(2):
        rows = pa.Table.from_pylist([{"n": number * 10 + i} for i in range(3)])
        pq.write_table(rows, tmp_path / "data" / f"train-{number:05d}-of-00002.parquet")
    table = read_tables(tmp_path)["train"]
    assert [row.fields["n"] for row in table.rows] == [0, 1, 2, 10, 11, 12]
    assert table.rows[3].place == "train-00001-of-00002.parquet, row 1"
    (tmp_path / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(BadData, match=r"has only 1 of 2 parts \(train-00000-of-00002\.parquet"):
        read_tables(tmp_path)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ["train.csv", "train.jsonl"],
            'several files that could be the training rows: "train.csv", "train.jsonl"',
        ),
        (["a.csv", "b.csv"], 'several files that could be the training rows: "a.csv", "b.csv"'),
        (["main/train.csv", "other/train.csv"], '"main/train.csv", "other/train.csv"'),
        (["train.csv", "dev.csv", "valid.csv"], "several files that could be the validation rows"),
        ([], "has no data files"),
        (["README.md"], "has no data files"),
    ],
)
def test_a_folder_that_leaves_a_choice_is_refused(tmp_path: Path, names: list[str], says: str) -> None:
    with pytest.raises(BadData) as caught:
        read_tables(folder(tmp_path, **files(*names)))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train.jsonl", "train"),
        ("latest.csv", ""),
        ("test/train.csv", "train"),
        ("train-test.csv", ""),
        ("x/validation/0000.parquet", "valid"),
    ],
)
def test_only_whole_words_name_a_split(path: str, split: str) -> None:
    assert split_of(Path(path)) == split


@pytest.fixture
def saved() -> Any:
    return pytest.importorskip("datasets")


def test_a_saved_dataset_of_splits_is_read(tmp_path: Path, saved: Any) -> None:
    features = saved.Features(
        {"text": saved.Value("string"), "label": saved.ClassLabel(names=["ham", "spam"])}
    )
    rows = saved.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    saved.DatasetDict({"train": rows, "validation": rows.select([1])}).save_to_disk(tmp_path / "d")
    tables = read_tables(tmp_path / "d")
    assert [row.fields for row in tables["train"].rows] == [
        {"text": "a", "label": "ham"},
        {"text": "b", "label": "spam"},
    ]
    assert [row.fields for row in tables["valid"].rows] == [{"text": "b", "label": "spam"}]
    rows.save_to_disk(tmp_path / "one")
    assert len(read_tables(tmp_path / "one")["train"].rows) == 2
    next((tmp_path / "one").glob("*.arrow")).unlink()
    with pytest.raises(BadData, match="has no file"):
        read_tables(tmp_path / "one")
