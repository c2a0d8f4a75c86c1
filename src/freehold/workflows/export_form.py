"""What an exported model says of how it is asked: files in the formats of other programs, and what these
cannot carry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from freehold.core import atomic_files
from freehold.data.templates import PLAIN, PLAIN_STOP
from freehold.models import answer_form
from freehold.models.answer_form import AnswerForm

GRAMMAR, SCHEMA, TEMPLATE, NOTE = "labels.gbnf", "schema.json", "template.jinja", "HOW-TO-ASK.md"
#: Ends a text of several lines in a Modelfile, so that no text may hold it.
_FENCE = '"""'


def gbnf(labels: Sequence[str]) -> str:
    """A grammar in llama.cpp's notation that allows exactly these labels."""
    return "root ::= " + " | ".join(json.dumps(label, ensure_ascii=False) for label in labels) + "\n"


def write(form: AnswerForm | None, out: Path, name: str, to: str, file: str) -> list[Path]:
    """Write the form and what other programs need of it beside an export; nothing for a model without one.

    ``name``: the model's; ``file``: the exported file or folder; ``to``: the format.
    """
    if form is None:
        return []
    texts = {answer_form.FILE: form.as_text(), NOTE: note(form, name, to, file)}
    if form.labels:
        texts[GRAMMAR] = gbnf(form.labels)
    if form.schema:
        texts[SCHEMA] = form.schema + "\n"
    if form.plain:
        texts[TEMPLATE] = PLAIN
    for written, text in texts.items():
        atomic_files.write_atomically(out / written, text)
    return [out / written for written in texts]


def note(form: AnswerForm, name: str, to: str, file: str) -> str:
    """HOW-TO-ASK.md: what was measured, and what to do in each program to ask in the same way."""
    lines = [
        f"# Answer form of {name}",
        "",
        f"It was measured like this: {form.sentence()}. "
        "Its figures are valid only for prompts in the same form.",
        "",
        "## With Freehold",
        "",
        f"`{answer_form.FILE}` holds the whole form. Keep it beside the model:",
        "`freehold pull file:FOLDER --as NAME` takes both, and `freehold serve`, `run`, `chat` and",
        "`freehold.load` then use this form automatically.",
        "",
        "## With llama.cpp, llamafile and programs built on them",
        "",
        *(f"- {line}" for line in _by_hand(form)),
    ]
    if to == "ollama":
        lines += ["", "## With Ollama", "", *(f"- {line}" for line in _ollama(form))]
    if to in ("peft", "merged"):
        lines += ["", f"`{file}` holds weights alone: nothing of the form is inside it."]
    return "\n".join(lines) + "\n"


def _by_hand(form: AnswerForm) -> list[str]:
    """What a GGUF file cannot carry, and how to say it in a request."""
    lines = [
        "A GGUF file holds weights, tokenizer and chat template. "
        "Everything below must come with each request."
    ]
    if form.plain:
        lines.append(
            f"Template: start the server with `--chat-template-file {TEMPLATE}`, and stop at "
            f"{json.dumps(PLAIN_STOP)} (field `stop`). The template inside the file is not the one that was "
            "measured."
        )
    if form.system:
        lines.append("System message: the field `system` of the form, as the first message.")
    if form.shots:
        lines.append(
            "Worked examples: the messages in `shots` of the form, in their order, before the question."
        )
    if form.labels:
        lines.append(
            f"Labels: the content of `{GRAMMAR}` as the field `grammar`. Without it the model may answer "
            "anything, and the figures are not valid."
        )
    if form.schema:
        lines.append(f"Schema: the content of `{SCHEMA}` as `response_format`.")
    if form.max_tokens and not form.labels:
        lines.append(f"Longest answer: `max_tokens` {form.max_tokens}.")
    lines.append("Drawing: `temperature` 0.")
    return lines


def _ollama(form: AnswerForm) -> list[str]:
    """What the Modelfile carries and what it does not."""
    carried = ["template", "temperature 0"]
    carried += ["system message"] if form.system and _fits(form.system) else []
    carried += ["worked examples"] if form.shots and _shots_fit(form) else []
    lines = [
        f"The Modelfile carries: {', '.join(carried)}. "
        "Ask with `/api/chat`; `/api/generate` leaves out examples."
    ]
    if form.system or form.shots:
        lines.append("Send no system message of your own: Ollama would put it behind the worked examples.")
    if form.labels:
        lines.append(
            f"A Modelfile cannot limit answers to the {len(form.labels):,} labels, and Ollama takes no "
            "grammar. The model may answer anything there, so the figures are not valid: compare each answer "
            "with the labels yourself."
        )
    if form.schema:
        lines.append(f"A Modelfile cannot hold a schema: send the content of `{SCHEMA}` as `format`.")
    if form.system and not _fits(form.system):
        lines.append("The system message has quotation marks that a Modelfile cannot hold: send it yourself.")
    if form.shots and not _shots_fit(form):
        lines.append(
            "A worked example has quotation marks that a Modelfile cannot hold: send them all yourself."
        )
    return lines


def modelfile_lines(form: AnswerForm) -> list[str]:
    """Lines of a Modelfile for what Ollama can carry of the form."""
    lines = [f"PARAMETER num_predict {form.max_tokens}"] if form.max_tokens else []
    if form.system and _fits(form.system):
        lines.append(f"SYSTEM {_FENCE}{form.system}{_FENCE}")
    if form.shots and _shots_fit(form):
        lines += [f"MESSAGE {role} {_FENCE}{text}{_FENCE}" for role, text in form.shown]
    return lines


def _fits(text: str) -> bool:
    return _FENCE not in text and not text.endswith('"')


def _shots_fit(form: AnswerForm) -> bool:
    return all(_fits(text) for _, text in form.shown)
