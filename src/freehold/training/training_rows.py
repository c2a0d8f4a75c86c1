"""Rows as tokens, ready to be trained on: rows that are too long are left out here, and nowhere else.

A row is a prompt and an answer. Where the rows hold rejected answers, a row is a pair (preference tuning).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from freehold.core.errors import BadData
from freehold.data.examples import Example
from freehold.inference.interface import PromptEncoder

#: Prompt tokens, answer tokens.
Row = tuple[list[int], list[int]]
#: Prompt tokens, tokens of the chosen and of the rejected answer.
Pair = tuple[list[int], list[int], list[int]]
_Any = TypeVar("_Any", Row, Pair)


@dataclass(frozen=True)
class TrainingRows:
    """Rows, or pairs of a chosen and a rejected answer, for training and validation."""

    #: longest row that fits, tokens
    limit: int
    train: tuple[Row, ...] = ()
    valid: tuple[Row, ...] = ()
    pairs: tuple[Pair, ...] = ()
    valid_pairs: tuple[Pair, ...] = ()
    #: training rows longer than ``limit``
    train_left_out: int = 0
    #: validation rows longer than ``limit``
    valid_left_out: int = 0
    #: training rows without an answer, which teach nothing
    without_answer: int = 0

    @property
    def preferences(self) -> bool:
        """Whether these are pairs."""
        return bool(self.pairs)

    @property
    def count(self) -> int:
        """Rows or pairs in one epoch."""
        return len(self.pairs) or len(self.train)

    @property
    def valid_count(self) -> int:
        """Rows or pairs to validate on."""
        return len(self.valid_pairs) or len(self.valid)

    @property
    def all_rows(self) -> list[Row]:
        """Every row for training and validation; a pair counts as two."""
        pairs = (*self.pairs, *self.valid_pairs)
        return [*self.train, *self.valid, *((prompt, answer) for prompt, *both in pairs for answer in both)]

    def notes(self) -> list[str]:
        """A sentence for each group of rows that was left out."""
        too_long = f"longer than the model's context of {self.limit} tokens"
        train = self.count + self.train_left_out + self.without_answer
        valid = self.valid_count + self.valid_left_out
        groups = (
            (self.train_left_out, f"of {train} training rows: {too_long}"),
            (self.without_answer, f"of {train} training rows: their answers are empty"),
            (self.valid_left_out, f"of {valid} validation rows: {too_long}"),
        )
        return [f"left out {count} {which}" for count, which in groups if count]


def encode_rows(
    encoder: PromptEncoder,
    train: Sequence[Example],
    valid: Sequence[Example],
    limit: int,
    *,
    strict: bool = True,
    preferences: bool = True,
) -> TrainingRows:
    """The rows as tokens, without those longer than ``limit`` tokens. Pairs, where the rows hold rejected
    answers.

    ``strict``: raise BadData where there are no validation rows, or where only some rows hold a rejected
    answer; otherwise such rows are trained on without validation, and on the good answers alone.
    ``preferences``: False trains on the good answers also where every row holds a rejected one.
    Raises BadData where nothing is left to learn from.
    """
    if strict and not valid:
        raise BadData("there are no validation rows", "pass --valid, or give more rows")
    rows = (*train, *valid)
    with_rejected = sum("rejected" in example.reference for example in rows) if preferences else 0
    if with_rejected and with_rejected == len(rows):
        return _encode_pairs(encoder, train, valid, limit, strict=strict)
    if with_rejected and strict:
        raise BadData(
            f"{with_rejected} of {len(rows)} rows have a field 'rejected'", "give all rows one, or none"
        )
    kept, too_long = check_rows([encoder.row(example.messages) for example in train], limit)
    checks: list[Row] = [encoder.row(example.messages) for example in valid]
    short = [row for row in checks if len(row[0]) + len(row[1]) <= limit]
    if strict:
        _some_left(short, checks, limit, "validation")
    return TrainingRows(
        limit,
        train=tuple(kept),
        valid=tuple(short),
        train_left_out=len(too_long),
        valid_left_out=len(checks) - len(short),
        without_answer=len(train) - len(kept) - len(too_long),
    )


def check_rows(rows: Sequence[Row], limit: int) -> tuple[list[Row], list[int]]:
    """Rows that fit ``limit`` tokens and have an answer, and the indexes of those that are too long.

    Raises BadData when no row is left to learn from.
    """
    too_long = [index for index, (prompt, answer) in enumerate(rows) if len(prompt) + len(answer) > limit]
    left_out = set(too_long)
    kept = [row for index, row in enumerate(rows) if index not in left_out and row[1]]
    if not kept:
        raise BadData(
            f"no training row would teach anything: {len(too_long)} of {len(rows)} rows exceed {limit} "
            "tokens and the others have empty answers",
            "raise --context, or shorten the rows",
        )
    return kept, too_long


def _encode_pairs(
    encoder: PromptEncoder, train: Sequence[Example], valid: Sequence[Example], limit: int, *, strict: bool
) -> TrainingRows:
    pairs, checks = ([_pair(encoder, example) for example in part] for part in (train, valid))
    short, short_checks = (
        [pair for pair in part if len(pair[0]) + max(len(pair[1]), len(pair[2])) <= limit]
        for part in (pairs, checks)
    )
    _some_left(short, pairs, limit, "training")
    if strict:
        _some_left(short_checks, checks, limit, "validation")
    return TrainingRows(
        limit,
        pairs=tuple(short),
        valid_pairs=tuple(short_checks),
        train_left_out=len(pairs) - len(short),
        valid_left_out=len(checks) - len(short_checks),
    )


def _pair(encoder: PromptEncoder, example: Example) -> Pair:
    """Prompt, chosen and rejected answer of a row. Raises BadData where the two do not differ."""
    prompt, chosen = encoder.row(example.messages)
    same_prompt, rejected = encoder.row((*example.prompt, ("assistant", example.reference["rejected"])))
    if same_prompt != prompt or chosen == rejected:
        raise BadData(
            f"row {example.id}: the chosen and the rejected answer do not differ",
            "correct or remove the row",
        )
    return prompt, chosen, rejected


def _some_left(short: Sequence[_Any], rows: Sequence[_Any], limit: int, part: str) -> None:
    """Raises BadData where no row is short enough."""
    if not short:
        raise BadData(
            f"all {len(rows)} {part} rows are longer than the model's context of {limit} tokens",
            "shorten the rows, or choose another model",
        )
