"""Which cells of the cache are taken, and what of a text goes into one decode call."""

from __future__ import annotations

import llama_cpp

from freehold.inference.sequences import Cells, KvSequence, TokenBatch


def test_cells_are_taken_and_given_back() -> None:
    cells = Cells(4)
    first = cells.take(3)
    assert cells.free == 1
    assert len(set(first)) == 3
    cells.release(first[:2])
    assert cells.free == 3
    assert set(cells.take(3)).isdisjoint(first[2:])
    assert cells.free == 0


def test_a_cell_that_two_sequences_have_is_free_when_both_have_given_it_back() -> None:
    cells = Cells(2)
    mine = cells.take(2)
    theirs = cells.share(mine)
    assert theirs == mine
    assert theirs is not mine
    cells.release(mine)
    assert cells.free == 0
    cells.release(theirs)
    assert cells.free == 2


def test_no_cells_are_taken_where_none_are_needed() -> None:
    cells = Cells(2)
    assert cells.take(0) == []
    assert cells.free == 2


def test_a_sequence_serves_its_own_adapter_and_scope() -> None:
    sequence = KvSequence(1, "tuned", "key ada")
    assert sequence.serves("tuned", "key ada")
    assert not sequence.serves("", "key ada")
    assert not sequence.serves("tuned", "")


def test_a_batch_holds_runs_of_tokens_with_their_positions() -> None:
    batch = TokenBatch(llama_cpp, 8)
    batch.add(0, [5, 6, 7], 10, 2, 1)
    batch.add(3, [8, 9], 0, 4, 2)
    batch.add(5, [1, 2], 3, 0, 0)
    assert batch.tokens[:7].tolist() == [5, 6, 7, 8, 9, 1, 2]
    assert batch.positions[:7].tolist() == [10, 11, 12, 0, 1, 3, 4]
    assert batch.sequences[:7].tolist() == [2, 2, 2, 4, 4, 0, 0]
    assert batch.outputs[:7].tolist() == [0, 0, 1, 1, 1, 0, 0]


def test_llama_cpps_structure_reads_what_is_in_the_arrays() -> None:
    batch = TokenBatch(llama_cpp, 4)
    batch.add(0, [5, 6], 3, 1, 1)
    row = 1
    assert (batch.struct.token[row], batch.struct.pos[row], batch.struct.seq_id[row][0]) == (6, 4, 1)
    assert (batch.struct.n_seq_id[row], batch.struct.logits[row], batch.struct.logits[0]) == (1, 1, 0)


def test_rows_are_written_over_by_the_next_call() -> None:
    batch = TokenBatch(llama_cpp, 4)
    batch.add(0, [5, 6, 7], 0, 1, 3)
    batch.add(0, [9, 9, 9], 5, 2, 1)
    assert batch.outputs.tolist() == [0, 0, 1, 0]
    assert batch.sequences.tolist() == [2, 2, 2, 0]
