"""Files as people keep them: what is read of each, what is said, what is refused."""

from pathlib import Path

import pytest

from freehold.core.errors import FreeholdError
from freehold.data.examples import read_dataset
from tests.data import (
    front_door_chats,
    front_door_columns,
    front_door_exports,
    front_door_files,
    front_door_labels,
    front_door_preferences,
    front_door_prompts,
)
from tests.data.front_door import Case

KINDS = (
    front_door_exports,
    front_door_prompts,
    front_door_chats,
    front_door_preferences,
    front_door_columns,
    front_door_labels,
    front_door_files,
)
CASES = [case for kind in KINDS for case in kind.CASES]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_file_is_read_or_refused_as_it_should(case: Case, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    if case.refused:
        with pytest.raises(FreeholdError) as caught:
            read_dataset(path, case.options)
        for phrase in case.refused:
            assert phrase in str(caught.value)
        return
    dataset = read_dataset(path, case.options)
    assert (len(dataset.examples), len(dataset.left_out)) == (case.count, case.left_out)
    first = dataset.examples[0]
    assert first.messages[-1][0] == "assistant"
    assert case.roles in (None, " ".join(role for role, _ in first.messages))
    assert case.prompt is None or case.prompt in first.question
    assert case.answer in (None, first.answer)
    assert case.system is None or case.system in dict(first.messages)["system"]
    assert case.reference in (None, first.reference)
    for phrase in case.columns:
        assert phrase in str(dataset.mapping)
    for phrase in case.notes:
        assert any(phrase in note for note in dataset.notes), dataset.notes
    assert not (case.silent and dataset.notes)


def test_there_are_many_cases_each_with_a_name_of_its_own() -> None:
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)
