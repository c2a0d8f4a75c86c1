"""Each look at the same test rows is counted once, and only looks at the same rows are counted."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from freehold.trial.looks import look

ROWS = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(100)]


def test_the_first_look_is_the_first_and_the_same_judgement_again_stays_so(tmp_path: Path) -> None:
    assert look(tmp_path, "t1", "weights", ROWS).number == 1
    assert look(tmp_path, "t1", "weights", ROWS).number == 1
    assert look(tmp_path, "t2", "weights", list(reversed(ROWS))).number == 1


def test_another_variant_or_more_rows_is_another_look_and_names_the_trials_before(tmp_path: Path) -> None:
    look(tmp_path, "t1", "weights", ROWS[:50])
    assert look(tmp_path, "t2", "weights", ROWS).number == 2
    third = look(tmp_path, "t3", "other weights", ROWS)
    assert (third.number, third.before) == (3, ("t1", "t2"))


def test_other_rows_start_afresh_even_with_a_row_in_common(tmp_path: Path) -> None:
    look(tmp_path, "t1", "weights", ROWS[:50])
    assert look(tmp_path, "t2", "weights", ROWS[49:]).number == 1


def test_a_few_rows_among_many_new_ones_count(tmp_path: Path) -> None:
    look(tmp_path, "t1", "weights", ROWS[:5])
    assert look(tmp_path, "t2", "weights", ROWS).number == 2


def test_rows_are_kept_as_short_digests_that_nobody_else_reads(tmp_path: Path) -> None:
    folder = tmp_path / "looks"
    look(folder, "t1", "weights", ROWS)
    (file,) = folder.glob("*.json")
    assert ROWS[7] not in file.read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
