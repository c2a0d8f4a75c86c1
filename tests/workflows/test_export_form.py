"""What other programs get of a model's answer form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from freehold.data.templates import PLAIN
from freehold.models.answer_form import FILE, AnswerForm, parse
from freehold.workflows import export_form

FORM = AnswerForm(
    labels=("card lost", 'say "pin"', "back\\slash", "two\nlines"),
    system="Name the topic.",
    shots=((("user", "It is gone."), ("assistant", "card lost")),),
    max_tokens=9,
)


def test_the_grammar_allows_the_labels_to_the_letter_and_nothing_else() -> None:
    from llguidance import LLMatcher
    from llguidance.gbnf_to_lark import gbnf_to_lark

    from freehold.inference import grammar

    text = export_form.gbnf(FORM.labels)
    assert text == 'root ::= "card lost" | "say \\"pin\\"" | "back\\\\slash" | "two\\nlines"\n'
    assert grammar.of_gbnf(text)  # it is read
    assert LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(gbnf_to_lark(text))) == ""


def test_a_modelfile_carries_system_message_and_worked_examples() -> None:
    assert export_form.modelfile_lines(FORM) == [
        "PARAMETER num_predict 9",
        'SYSTEM """Name the topic."""',
        'MESSAGE user """It is gone."""',
        'MESSAGE assistant """card lost"""',
    ]
    assert export_form.modelfile_lines(AnswerForm()) == []


def test_what_a_modelfile_cannot_hold_is_left_to_the_reader_and_said() -> None:
    for text in ('He said """no"""', 'It ends in "quotes"'):
        form = replace(FORM, system=text, shots=((("user", text), ("assistant", "x")),))
        assert export_form.modelfile_lines(form) == ["PARAMETER num_predict 9"]
        note = export_form.note(form, "a/b", "ollama", "a-b.gguf")
        assert "send it yourself" in note
        assert "send them all yourself" in note


def test_files_beside_an_export_hold_the_whole_form(tmp_path: Path) -> None:
    written = export_form.write(FORM, tmp_path, "a/b", "gguf", "a-b.gguf")
    assert {path.name for path in written} == {FILE, "labels.gbnf", "HOW-TO-ASK.md"}
    assert parse((tmp_path / FILE).read_bytes()) == FORM
    note = (tmp_path / "HOW-TO-ASK.md").read_text()
    assert "4 labels, a system message, 1 worked example, greedy" in note
    for phrase in ("labels.gbnf", "`system`", "`shots`", "`temperature` 0"):
        assert phrase in note
    assert "Ollama" not in note

    free = AnswerForm(schema='{"type": "object"}', plain=True, max_tokens=64)
    written = export_form.write(free, tmp_path / "plain", "a/b", "merged", "a-b-f16.gguf")
    assert {path.name for path in written} == {FILE, "schema.json", "template.jinja", "HOW-TO-ASK.md"}
    assert (tmp_path / "plain" / "template.jinja").read_text() == PLAIN
    note = (tmp_path / "plain" / "HOW-TO-ASK.md").read_text()
    assert "`max_tokens` 64" in note
    assert "--chat-template-file template.jinja" in note
    assert export_form.write(None, tmp_path / "none", "a/b", "gguf", "a-b.gguf") == []
