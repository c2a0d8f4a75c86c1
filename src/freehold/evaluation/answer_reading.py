"""What an answer says, whatever surrounds it: one way to read answers of models here and of APIs."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from freehold.data.values import json_value
from freehold.evaluation.task_kinds import unfenced

#: Marks that may surround a label and say nothing: quotes, brackets, Markdown, the end of a sentence.
_AROUND = " \t\r\n\"'`*_.,;:!?()[]{}<>«»‹›“”„‟‘’‚「」『』《》。，、；：！？…"
_THINKING = re.compile(r"\s*<(think|thinking|reasoning)>(?P<inside>.*?)(?P<end></\1>|\Z)", re.S)
#: ``Label: x``, ``The category is x``: up to three words, then a colon, an equals sign or "is".
_NAMED = re.compile(r"\W*(?P<name>\w+(?:\W\w+){0,2}?)\W*?(?:[:=：]|\bis\b)(?P<rest>.+)", re.S)
_BULLET = re.compile(r"[-•–]\s+")


def final_answer(text: str) -> str:
    """The answer without the reasoning before it; empty where it ends in the middle of the reasoning."""
    match = _THINKING.match(text)
    return text[match.end() :].strip() if match else text


def cut_in_thought(text: str) -> bool:
    """Whether a text ends in the middle of its reasoning."""
    match = _THINKING.match(text)
    return match is not None and not match["end"]


@dataclass(frozen=True)
class LabelReader:
    """Reads which of ``labels`` an answer names.

    Case, surrounding punctuation, quotes, Markdown, a name before it (``Label: x``), a code block and a JSON
    object with one value are ignored, as long as no two labels become the same.
    """

    labels: frozenset[str]

    def read(self, answer: str) -> str:
        """The label as the label set has it; the answer without surrounding space where it names none."""
        text = answer.strip()
        if text in self.labels:
            return text
        for form in _forms(text):
            label = self._named(form)
            if label:
                return label
        match = _NAMED.fullmatch(text)
        if match and not self._named(match["name"]):
            return self._named(match["rest"]) or text
        return text

    def _named(self, text: str) -> str:
        """The label that a text is, apart from what surrounds it; "" for none."""
        bare = _bare(text)
        return bare if bare in self.labels else self._by_key.get(bare.casefold(), "")

    @cached_property
    def _by_key(self) -> dict[str, str]:
        """Label by its bare form in lower case; forms that several labels share are left out."""
        known: dict[str, list[str]] = {}
        for label in self.labels:
            known.setdefault(_bare(label).casefold(), []).append(label)
        return {key: labels[0] for key, labels in known.items() if len(labels) == 1}

    def read_all(self, answers: Iterable[str]) -> frozenset[str]:
        """The labels of an answer that may name several."""
        return frozenset(map(self.read, answers))


def _bare(text: str) -> str:
    """A text in one Unicode form without what surrounds it; the text itself where nothing else is left."""
    whole = " ".join(unicodedata.normalize("NFKC", text).split())
    return _BULLET.sub("", whole, count=1).strip(_AROUND) or whole


def _forms(text: str) -> Iterator[str]:
    """What the label may be: the text, the inside of its code block, the one value of its JSON object."""
    yield text
    inside = unfenced(text)
    yield inside
    try:
        value = json_value(inside)
    except ValueError:
        return
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str | int | float):
        yield value if isinstance(value, str) else json.dumps(value)
