"""Who uploaded what: for one repository and a day, or for a xorb as long as clients remember it."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.hub import uploads
from freehold.hub.uploads import XORB_S, Uploads, forget_old
from freehold.models import catalogue
from freehold.models.store import Store

DIGEST, OTHER, XORB = "a" * 64, "b" * 64, "c" * 64


class Time:
    """A clock that is set by hand, in seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1e9

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(uploads, "time", clock)
    return clock


@pytest.fixture
def records(tmp_path: Path) -> Uploads:
    return Uploads(Store(tmp_path).engine)


def rows(records: Uploads) -> int:
    with records._engine.begin() as connection:
        forget_old(connection)
        return len(connection.execute(catalogue.uploads.select()).all())


def test_a_content_counts_for_its_uploader_and_repository(records: Uploads, clock: Time) -> None:
    records.content("ada", 1, DIGEST)
    assert records.contents_of("ada", 1, [DIGEST, OTHER]) == {DIGEST}
    assert records.contents_of("bob", 1, [DIGEST]) == set()
    assert records.contents_of("ada", 2, [DIGEST]) == set()
    assert records.contents_of("ada", 1, []) == set()
    assert records.xorbs_of("ada", [DIGEST]) == set()


def test_a_content_counts_for_a_day(records: Uploads, clock: Time) -> None:
    records.content("ada", 1, DIGEST)
    clock.now += catalogue.CONTENT_S - 1
    assert records.contents_of("ada", 1, [DIGEST]) == {DIGEST}
    assert rows(records) == 1
    clock.now += 2
    assert records.contents_of("ada", 1, [DIGEST]) == set()
    assert rows(records) == 0


def test_uploading_again_begins_the_day_anew(records: Uploads, clock: Time) -> None:
    records.content("ada", 1, DIGEST)
    clock.now += catalogue.CONTENT_S - 1
    records.content("ada", 1, DIGEST)
    clock.now += 10
    assert records.contents_of("ada", 1, [DIGEST]) == {DIGEST}


def test_a_content_counts_until_a_commit_names_it(records: Uploads, clock: Time) -> None:
    for repository in (1, 2):
        records.content("ada", repository, DIGEST)
    records.content("bob", 1, DIGEST)
    records.committed("ada", 1, [DIGEST, OTHER])
    assert records.contents_of("ada", 1, [DIGEST]) == set()
    assert records.contents_of("ada", 2, [DIGEST]) == {DIGEST}
    assert records.contents_of("bob", 1, [DIGEST]) == {DIGEST}


def test_a_xorb_counts_in_every_repository_as_long_as_clients_remember_it(
    records: Uploads, clock: Time
) -> None:
    records.xorb("ada", XORB)
    records.committed("ada", 1, [XORB])
    clock.now += XORB_S - 1
    assert records.xorbs_of("ada", [XORB, OTHER]) == {XORB}
    assert records.xorbs_of("bob", [XORB]) == set()
    assert rows(records) == 1
    clock.now += 2
    assert records.xorbs_of("ada", [XORB]) == set()
    assert rows(records) == 0


def test_a_xorb_that_a_content_is_made_of_is_kept_for_that_content(records: Uploads, clock: Time) -> None:
    records.xorb("ada", XORB)
    records.packed("ada", [XORB])
    assert records.xorbs_of("ada", [XORB]) == {XORB}
    with records._engine.connect() as connection:
        assert [row.kept for row in connection.execute(catalogue.uploads.select())] == [False]


def test_more_digests_than_a_statement_may_have_are_looked_at_in_parts(records: Uploads, clock: Time) -> None:
    records.content("ada", 1, DIGEST)
    names = [f"{number:064x}" for number in range(3000)]
    assert records.contents_of("ada", 1, [*names, DIGEST]) == {DIGEST}
