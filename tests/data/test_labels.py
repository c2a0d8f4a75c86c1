"""Forms of one label, and files of labels."""

import json
from pathlib import Path

import pytest

from freehold.core.errors import BadData, NotFound
from freehold.data.examples import RowOptions, datasets_of, read_splits
from freehold.data.labels import describe, key_of, merging, read_labels, trimming, variants_of
from freehold.data.table import Row, Table


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Billing", "billing"),
        ("billing ", "billing"),
        ("bug  report", "bug report"),
        ("bug\u00a0report", "bug report"),
        ("bil\u200bling", "billing"),
        ("\ufeffbilling", "billing"),
        ("caf\u00e9", "cafe\u0301"),
        ("ｂｉｌｌｉｎｇ", "billing"),
        ("billing.", "billing"),
        ("STRASSE", "straße"),
    ],
)
def test_forms_of_one_label(one: str, other: str) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("billing", "bill"), ("C", "C++"), ("bug report", "bugreport"), ("1", "-1"), (".", "!"), ("A+", "A")],
)
def test_other_labels(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


def test_variants_have_their_most_frequent_form_first() -> None:
    labels = ["Billing"] * 12 + ["billing"] * 30 + ["billing "] * 2 + ["access"]
    assert variants_of(labels) == (("billing", "Billing", "billing "),)
    assert merging(labels) == {"billing": "billing", "Billing": "billing", "billing ": "billing"}
    counts = {"Billing": 12, "billing": 30, "billing ": 2, "access": 1}
    assert describe(counts, merged=False) == [
        'label variants: "billing" (30), "Billing" (12), "billing " (2): pass --merge-labels to read them as '
        '"billing"'
    ]


def test_the_form_merged_to_has_no_unseen_characters() -> None:
    assert set(merging(["billing "] * 5 + ["billing"]).values()) == {"billing"}


def test_spaces_are_taken_off_only_where_no_other_form_exists() -> None:
    assert trimming([" a", " b", "b"]) == {" a": "a"}


def rows(name: str, *labels: str) -> Table:
    """A table of texts with these labels."""
    placed = tuple(
        Row(f"{name}, line {n}", {"text": f"text number {n}", "label": label})
        for n, label in enumerate(labels)
    )
    return Table(name, "0", ("text", "label"), placed)


def test_splits_are_merged_to_the_same_form() -> None:
    tables = {
        "train": rows("train.csv", *["Billing"] * 3, *["access"] * 9),
        "test": rows("test.csv", *["billing"] * 5, *["ACCESS"] * 2),
    }
    read = datasets_of(tables, RowOptions(merge_labels=True))
    assert {e.answer for one in read.values() for e in one.examples} == {"billing", "access"}
    assert any('"billing" (5), "Billing" (3): read as "billing"' in note for note in read["train"].notes)
    kept = datasets_of(tables)
    assert {e.answer for e in kept["test"].examples} == {"billing", "ACCESS"}


def test_several_labels_are_merged_one_by_one() -> None:
    fields = [
        {"text": f"text {n}", "labels": ["Urgent", "billing"] if n % 2 else ["urgent", "access"]}
        for n in range(31)
    ]
    table = Table(
        "in.jsonl", "0", ("text", "labels"), tuple(Row(f"line {n}", one) for n, one in enumerate(fields))
    )
    read = datasets_of({"train": table}, RowOptions(merge_labels=True))["train"]
    assert {e.answer for e in read.examples} == {"billing, urgent", "access, urgent"}
    assert read.examples[1].reference == {"labels": '["billing", "urgent"]'}


def test_labels_of_files_given_apart_are_decided_together(tmp_path: Path) -> None:
    for part, label in (("train", "Yes"), ("test", "yes")):
        lines = (
            json.dumps({"text": f"row {n} of {part}", "label": label if n % 2 else "no"}) for n in range(20)
        )
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines))
    read = read_splits(tmp_path / "train.jsonl", None, tmp_path / "test.jsonl", RowOptions(merge_labels=True))
    assert {e.answer for one in read.values() for e in one.examples} == {"no", "yes"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "billing\n\naccess \nbilling\n"),
        ("labels.txt", "\ufeffbilling\r\naccess\r\n"),
        ("labels.json", '["billing", "access"]'),
        ("labels.csv", "label,count\nbilling,3\naccess,4\n"),
        ("labels.jsonl", '{"label": "billing"}\n{"label": "access"}\n'),
    ],
)
def test_a_file_of_labels(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read_labels(tmp_path / name) == ("billing", "access")


def test_files_that_hold_no_labels(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_labels(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(BadData, match="has no labels"):
        read_labels(tmp_path / "empty.txt")
    (tmp_path / "odd.json").write_text('[{"a": 1}]')
    with pytest.raises(BadData, match="not a label"):
        read_labels(tmp_path / "odd.json")
