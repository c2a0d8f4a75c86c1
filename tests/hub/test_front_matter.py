"""What the head of a card states, and the tags that come of it."""

from __future__ import annotations

import pytest

from freehold.core.errors import BadData
from freehold.hub.front_matter import MOST_TAGS, of_card, read, tags_of


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("---\nlicense: mit\n---\n# A model", {"license": "mit"}),
        ("\ufeff---\r\nlicense: mit\r\n---\r\n", {"license": "mit"}),
        ("---  \na: [1, 2]\n---", {"a": [1, 2]}),
        ("---\n---\ntext", {}),
        ("# A model\n---\nlicense: mit\n---\n", {}),
        ("", {}),
        ("---\nlicense: mit\n", {}),
    ],
)
def test_the_yaml_at_the_head_of_a_card_is_read(text: str, values: dict[str, object]) -> None:
    assert read(text) == values


def test_values_that_json_has_not_become_text() -> None:
    head = "---\nday: 2026-01-31\nmost: .inf\n1: {2: .nan}\nok: true\nnothing:\n---\n"
    assert read(head) == {"day": "2026-01-31", "most": "inf", "1": {"2": "nan"}, "ok": True, "nothing": None}


@pytest.mark.parametrize("head", ["- a\n- b", "just text", "a: [", "a: b: c"])
def test_a_head_that_is_no_mapping_is_refused_and_the_card_still_stands(head: str) -> None:
    card = f"---\n{head}\n---\n"
    with pytest.raises(BadData, match="the card's metadata"):
        read(card)
    assert of_card(card) == {}


def test_tags_are_those_that_the_hugging_face_hub_derives() -> None:
    card = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["banking", "gguf"],
        "language": ["en", "de"],
        "datasets": "banking77",
        "base_model": ["org/base"],
        "license": "mit",
    }
    assert tags_of(card, ["a/model.gguf", "model.safetensors", "README.md", "LICENSE"], "model") == [
        "gguf",
        "safetensors",
        "transformers",
        "text-generation",
        "banking",
        "en",
        "de",
        "dataset:banking77",
        "base_model:org/base",
        "license:mit",
    ]


def test_a_data_sets_languages_and_tasks_carry_their_key() -> None:
    card = {"language": "en", "task_categories": ["text-classification"], "size_categories": "1K<n<10K"}
    assert tags_of(card, [], "dataset") == [
        "language:en",
        "task_categories:text-classification",
        "size_categories:1K<n<10K",
    ]


def test_what_is_no_text_makes_no_tag() -> None:
    assert tags_of({"tags": [1, None, "", {"a": "b"}, "real"], "license": ["mit", 2]}, [], "model") == [
        "real",
        "license:mit",
    ]


def test_very_many_tags_are_cut() -> None:
    assert len(tags_of({"tags": [str(n) for n in range(MOST_TAGS + 5)]}, [], "model")) == MOST_TAGS
