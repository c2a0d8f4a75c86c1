import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from freehold.core.errors import UsageError
from freehold.hub import repository_checks
from freehold.hub import search_index as under_test
from freehold.hub.commits import Change, File, git_oid
from freehold.hub.repositories import Repositories
from freehold.hub.search_index import DAY, Entry, SearchIndex, SearchQuery, tokens_of
from freehold.hub.search_table import Match
from freehold.models import catalogue as tables
from freehold.models.store import Store

pytestmark = pytest.mark.usefixtures("each_database")

WORDS = ["bank", "bert", "berta", "clinic", "law", "school", "small", "tiny", "übung"]
TAGS = [
    "license:mit",
    "license:apache-2.0",
    "C++",
    "c--",
    'a "quoted" tag',
    "pipeline:text generation",
    "日本語",
]


def entries(count: int) -> list[Entry]:
    chance = random.Random(3)
    found: list[Entry] = []
    for number in range(1, count + 1):
        name = f"org{chance.randrange(7)}/{'-'.join(chance.sample(WORDS, 2))}-{number}"
        # many share a number of downloads, a day or both
        downloads = int(chance.paretovariate(0.6)) - 1
        modified = 1.7e9 + chance.choice([0, 0, chance.randrange(90)]) * DAY + chance.randrange(DAY)
        tags = chance.sample(TAGS, chance.randrange(4))
        found.append(
            Entry(
                number,
                chance.choice(["model", "model", "dataset"]),
                name,
                name.split("/", maxsplit=1)[0],
                chance.random() < 0.1,
                modified,
                downloads,
                tags,
                f"# Card\nThis is for the {chance.choice(WORDS)} office.",
            )
        )
    return found


def filled(folder: Path, found: list[Entry]) -> SearchIndex:
    engine = Store(folder).engine
    index = SearchIndex(engine)
    with engine.begin() as connection:
        connection.execute(
            tables.repositories.insert(),
            [
                {
                    "id": e.id,
                    "kind": e.kind,
                    "name": e.name,
                    "folded": e.name.lower(),
                    "author": e.author,
                    "private": e.private,
                    "gated": "",
                    "created": e.id,
                    "modified": e.modified,
                    "downloads": e.downloads,
                    "tags": list(e.tags),
                    "card": {},
                }
                for e in found
            ],
        )
        index.put(connection, found)
    return index


def plain(found: list[Entry], query: SearchQuery) -> list[int]:
    """The same search without an index."""

    def wanted(entry: Entry) -> bool:
        words = entry.name.lower().replace("/", "-").split("-")
        text = [*words, *entry.card.lower().replace(".", " ").replace("#", " ").split()]
        return (
            entry.kind == query.kind
            and all(any(word.startswith(one) for word in words) for one in query.words.lower().split())
            and all(
                one in text or any(word.startswith(one) for word in words)
                for one in query.text.lower().split()
            )
            and all(tag.lower() in [own.lower() for own in entry.tags] for tag in query.tags)
            and query.author.lower() in ("", entry.author.lower())
            and (query.names is None or not entry.private or entry.author in query.names)
        )

    keys = {
        "modified": lambda e: (e.modified, e.id),
        "created": lambda e: (e.id, e.id),
        "downloads": lambda e: (e.downloads, e.id),
    }
    return [
        entry.id for entry in sorted(filter(wanted, found), key=keys[query.sort], reverse=query.descending)
    ]


@pytest.mark.parametrize(
    "limits",
    [(1000, 20_000), (5, 40), (0, 0)],
    ids=["few are sorted", "steps are sorted", "steps are walked"],
)
def test_pages_are_those_of_a_search_without_an_index(
    tmp_path: Path, limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "FEW", limits[0])
    monkeypatch.setattr(under_test, "MANY", limits[1])
    found = entries(400)
    index = filled(tmp_path, found)
    chance = random.Random(4)
    for _ in range(60):
        query = SearchQuery(
            chance.choice(["model", "dataset"]),
            words=chance.choice(["", "ber", "BANK", "small ti", "übu", "nothing"]),
            text=chance.choice(["", "", "office", "law card"]),
            author=chance.choice(["", "", "org3", "ORG1"]),
            tags=tuple(chance.sample(TAGS, chance.choice([0, 0, 1, 2]))),
            names=chance.choice([None, (), ("org2", "org3")]),
            sort=chance.choice(["modified", "created", "downloads"]),
            descending=chance.random() < 0.7,
        )
        got: list[int] = []
        cursor = ""
        for _ in range(100):
            page, cursor = index.page(query, cursor, 23)
            got += page
            if not cursor:
                break
        assert got == plain(found, query), query


def test_facets_count_tags(tmp_path: Path) -> None:
    found = entries(400)
    index = filled(tmp_path, found)
    models = [e for e in found if e.kind == "model" and not e.private]
    facets = index.facets(SearchQuery("model", names=()), ["license:"])
    assert facets.counts == {
        tag: n
        for tag, n in sorted(
            ((t, sum(t in e.tags for e in models)) for t in TAGS[:2]), key=lambda one: -one[1]
        )
    }
    assert (facets.of, facets.complete) == (len(models), True)
    banks = [e for e in models if "bank" in e.name]
    facets = index.facets(SearchQuery("model", words="bank", names=()))
    assert facets.counts == {tag: n for tag in TAGS if (n := sum(tag in e.tags for e in banks))}
    assert (facets.of, facets.complete) == (len(banks), True)


def test_what_is_put_again_or_removed_leaves_nothing(tmp_path: Path) -> None:
    found = entries(40)
    index = filled(tmp_path, found)
    with index.engine.begin() as connection:
        index.put(
            connection,
            [
                Entry(e.id, e.kind, f"org/new-{e.id}", "org", False, e.modified, e.downloads, ["new"])
                for e in found[:20]
            ],
        )
        for e in found[20:]:
            index.remove(connection, e.id)
    with index.engine.connect() as connection:
        connection.execute(tables.repositories.select().limit(1))
        for table, column in ((tables.tag_counts, "tag"), (tables.name_words, "word")):
            rows = connection.execute(
                sa.select(table.c[column], sa.func.sum(table.c["count"])).group_by(table.c[column])
            ).all()
            assert {name for name, count in rows if count} <= {"new", "org"} | {str(n) for n in range(41)}
        for word in WORDS:
            assert numbers_of(index, connection, f"mn:{word}", f"dn:{word}") == []
        assert len(numbers_of(index, connection, "mt:new", "dt:new")) == 20


def numbers_of(index: SearchIndex, connection: sa.Connection, *either: str) -> list[int]:
    condition, values = index._search.condition(Match(any_of=(either,)))
    return [
        row[0]
        for row in index._search.run(connection, f"SELECT search.rowid FROM search WHERE {condition}", values)
    ]


@pytest.mark.parametrize("cursor", ["x", "1", "nan:1", "inf:1", "1:2:3", "1:99999999999999999999"])
def test_a_cursor_that_is_none_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(UsageError, match="is not a valid cursor"):
        SearchIndex(Store(tmp_path).engine).page(SearchQuery("model"), cursor)


def test_tokens_cannot_leave_their_quotes() -> None:
    entry = Entry(1, "model", 'a/b" OR "k:dataset', 'a" OR "v:public', True, 0, 0, ['t" OR "v:public'], "")
    assert not any('"' in one or " " in one for one in tokens_of(entry))
    assert "mv:public" not in tokens_of(entry)


def test_commits_moves_settings_and_removal_reach_the_index(tmp_path: Path) -> None:
    repositories = Repositories(Store(tmp_path))
    repo = repositories.create("model", "ada/first")
    card = b"---\nlicense: mit\n---\nFor hospitals."
    readme = File(repositories.contents.put(card), len(card), False, git_oid("blob", card))
    repositories.apply(repo, "main", Change("card", put={"README.md": readme}), "ada")

    def names(**asked: object) -> list[str]:
        return [one.name for one in repositories.list(SearchQuery("model", names=(), **asked))[0]]  # type: ignore[arg-type]

    assert names(tags=("license:mit",)) == names(text="hospitals") == names(words="fir") == ["ada/first"]
    repositories.move(repo, "bob/second")
    assert names(text="hospitals") == names(author="bob") == ["bob/second"]
    assert names(words="first") == []
    repositories.settings(repo, private=True)
    assert names(text="hospitals") == names() == []
    repositories.settings(repo, private=False)
    for _ in range(3):
        repositories.downloaded(repo)
    assert names(words="second", sort="downloads") == ["bob/second"]
    repositories.delete(repo)
    assert names(words="second") == []


def test_a_catalogue_without_an_index_gets_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Repositories(store).create("model", "ada/first")
    with store.engine.begin() as connection:
        connection.execute(tables.documents.delete())
        for table in ("documents", "search"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    assert [
        one.name for one in Repositories(Store(tmp_path)).list(SearchQuery("model", words="first"))[0]
    ] == ["ada/first"]


def test_what_search_and_collection_have_lost_is_found_and_mended(tmp_path: Path) -> None:
    repositories = Repositories(Store(tmp_path))
    repo = repositories.create("model", "ada/first")
    repositories.create("model", "ada/second")
    with repositories.engine.begin() as connection:
        repositories.index.remove(connection, repo.id)
        connection.execute(tables.holdings.delete().where(tables.holdings.c.repository == repo.id))
    faults = repository_checks.check(repositories)
    assert len(faults) == 2
    assert "its entry in the search index is out of date" in faults[1]
    assert ".gitattributes is not protected" in faults[0]
    assert len(repository_checks.repair(repositories)) == 2
    assert repository_checks.check(repositories) == []
    assert repository_checks.repair(repositories) == []
    assert len(repositories.list(SearchQuery("model", words="first"))[0]) == 1


def test_only_commits_to_main_change_where_a_repository_stands(tmp_path: Path) -> None:
    repositories = Repositories(Store(tmp_path))
    repo = repositories.create("model", "ada/first")
    before = repositories.find("model", "ada/first").modified
    repositories.add_ref(repo, "branch", "side", repositories.resolve(repo, "main"))
    repositories.apply(repo, "side", Change("aside"), "ada")
    repositories.discuss(repo, "a question", "ada")
    assert repositories.find("model", "ada/first").modified == before
    repositories.apply(repo, "main", Change("more"), "ada")
    assert repositories.find("model", "ada/first").modified > before
    assert repository_checks.check(repositories) == []
