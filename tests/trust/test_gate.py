"""One gate for every way a model gets in: names, dangers and the policy, from Python and from the command
line.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import freehold
from freehold.core.errors import BadModel, FreeholdError, PolicyDenied
from freehold.hub.blob_store import BlobStore
from freehold.hub.client import read_address
from freehold.hub.commits import Change, lfs_file
from freehold.hub.mirror import mirror
from freehold.hub.repositories import Repositories
from freehold.models.archive import archive
from freehold.models.intake import Admitted, admit, made_here
from freehold.models.store import Store
from freehold.servers.hub.app import make_app
from freehold.sources import fetch
from freehold.sources.source import Delivery, registered
from freehold.trust import gate, policy
from tests.entry import Quick, restore
from tests.hub.client import Client
from tests.hub.models import decoder, gguf
from tests.hub.serving import freehold as typed
from tests.hub.serving import hub_at
from tests.servers.hub.test_pages import push

PICKLE = b"\x80\x04cos\nsystem\n(S'touch /tmp/never'\ntR."
KINDS = ("pypi", "known", "hf", "hub", "file", "ollama")
NO_MIT = "name: strict\nlicences: {refuse: [mit]}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def untouched(home: Path, around: Path) -> bool:
    """Whether no model is in the store, nothing lies in its blobs, and nothing was written beside it."""
    store = Store(home)
    files = [path for path in (*store.blobs.rglob("*"), *store.incoming.rglob("*")) if path.is_file()]
    strange = [path for path in around.rglob("*outside*") if not path.name.endswith((".tar", ".gguf"))]
    return not store.models() and not [path for path in files if path.suffix != ".lock"] and not strange


def brought(monkeypatch: pytest.MonkeyPatch, kind: str, files: dict[str, bytes], licence: str = "") -> None:
    """Let a source of this kind bring these files."""

    def delivered(_store: Store, _rest: str, landing: Path, _sink: object) -> Delivery:
        made: dict[str, Path] = {}
        for number, (name, data) in enumerate(files.items()):
            made[name] = landing / str(number)
            made[name].write_bytes(data)
        return Delivery(made, {}, licence, "said", move=kind != "file")

    monkeypatch.setitem(registered(), kind, SimpleNamespace(ours=True, load=lambda: delivered))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["../../outside.gguf", "/tmp/outside.gguf", "a\u202efugg.gguf", ".GIT/x.gguf"]
)
def test_no_source_brings_an_unsafe_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    brought(monkeypatch, kind, {name: gguf(tmp_path / "m.gguf").read_bytes()})
    with pytest.raises(BadModel, match="unsafe name"):
        freehold.pull(f"{kind}:x", "x", store=Store(home))
    assert untouched(home, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_no_source_brings_a_pickle(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    brought(monkeypatch, kind, {"m.gguf": gguf(tmp_path / "m.gguf").read_bytes(), "helper.json": PICKLE})
    with pytest.raises(BadModel, match=r"refused as dangerous: helper\.json"):
        freehold.pull(f"{kind}:x", "x", store=Store(home))
    assert untouched(home, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_no_source_brings_what_the_policy_refuses(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    home.mkdir(exist_ok=True)
    policy.put_in_force(NO_MIT, "here")
    brought(monkeypatch, kind, {"m.gguf": gguf(tmp_path / "m.gguf").read_bytes()}, "mit")
    with pytest.raises(PolicyDenied, match=r"licences\.refuse"):
        freehold.pull(f"{kind}:x", "x", store=Store(home))
    assert untouched(home, tmp_path)


def test_a_source_that_the_policy_forbids_is_not_even_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(exist_ok=True)
    policy.put_in_force("name: strict\nsources: {forbid: [hf]}\n", "here")

    def delivered(*_: object) -> Delivery:
        raise AssertionError("it was asked")

    monkeypatch.setitem(registered(), "hf", SimpleNamespace(ours=True, load=lambda: delivered))
    with pytest.raises(PolicyDenied, match=r"sources\.forbid"):
        freehold.pull("hf:a/b", "x", store=Store(home))


def test_two_names_that_one_disk_takes_for_the_same_are_refused(home: Path, tmp_path: Path) -> None:
    files = {name: gguf(tmp_path / "m.gguf") for name in ("a.gguf", "A.gguf")}
    with pytest.raises(BadModel, match="differ only in case"):
        admit(files, Quick(Store(home)), source="file:x")


def test_the_store_takes_nothing_that_was_not_looked_at(home: Path, tmp_path: Path) -> None:
    files = {"m.gguf": gguf(tmp_path / "m.gguf")}
    with pytest.raises(TypeError):
        Store(home).add("x", files, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Admitted(files, object())
    with pytest.raises(TypeError):
        fetch.pull(Store(home), "file:x", "x")  # type: ignore[call-arg]
    with pytest.raises(BadModel, match="unsafe name"):
        made_here({"../m.gguf": files["m.gguf"]})


def test_a_file_that_changes_after_it_was_looked_at_is_not_stored(home: Path, tmp_path: Path) -> None:
    path = gguf(tmp_path / "m.gguf")
    store = Store(home)
    admitted = admit({"m.gguf": path}, Quick(store), source="file:x")
    path.write_bytes(gguf(tmp_path / "other.gguf", fields={"general.name": "other"}).read_bytes())
    with pytest.raises(BadModel, match="changed while it was being stored"):
        store.add("x", admitted, {})
    assert untouched(home, tmp_path)


def test_only_the_rooms_that_make_models_say_that_they_made_them() -> None:
    root = Path(freehold.__file__).parent
    users: set[str] = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name) and node.id in ("made_here", "Admitted", "_SEAL"):
                users.add(f"{path.relative_to(root).parts[0]} {node.id}")
    assert users == {
        "models Admitted",
        "models _SEAL",
        "runtime made_here",
        "sources Admitted",
        "trial made_here",
        "workflows made_here",
    }


# -- archives ---------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """An archive of a whole model."""
    store = Store(tmp_path / "first")
    path = gguf(tmp_path / "first.gguf", fields={"general.license": "mit"})
    model = fetch.pull(store, f"file:{path}", "one", Quick(store))
    return archive(store, model, tmp_path / "kept.tar")


def members(kept: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(kept) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def written(kept: Path, parts: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    target = kept.with_name("made.tar")
    with tarfile.open(target, "w", format=form) as tar:
        for member, data in parts:
            tar.addfile(member, io.BytesIO(data) if member.isfile() else None)
    return target


def edited(kept: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The archive with its list changed; its revision stays true to the files that it lists."""
    from freehold.core import atomic_files

    parts = members(kept)
    value = json.loads(parts[0][1])
    change(value)
    with contextlib.suppress(TypeError, KeyError, AttributeError):
        value["revision"] = atomic_files.digest_of(
            {name: (record["sha256"], record["bytes"]) for name, record in value["files"].items()}
        )
    data = json.dumps(value).encode()
    parts[0][0].size = len(data)
    return written(kept, [(parts[0][0], data), *parts[1:]])


def odd(kind: bytes, name: str = "files/first.gguf", **values: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in values.items():
        setattr(member, field, value)
    return member


@pytest.mark.parametrize(
    "member",
    [
        odd(tarfile.SYMTYPE, linkname="/etc/passwd"),
        odd(tarfile.SYMTYPE, "files", linkname="/tmp"),
        odd(tarfile.LNKTYPE, linkname="/etc/passwd"),
        odd(tarfile.CHRTYPE, devmajor=1, devminor=5),
        odd(tarfile.BLKTYPE, devmajor=8),
        odd(tarfile.FIFOTYPE),
        odd(tarfile.DIRTYPE, "files/outside"),
        odd(tarfile.REGTYPE, "/tmp/outside"),
        odd(tarfile.REGTYPE, "files/../../outside"),
        odd(tarfile.REGTYPE, "files/first.gguf"),
    ],
    ids=[
        "link",
        "folder link",
        "hard link",
        "device",
        "block device",
        "pipe",
        "folder",
        "absolute",
        "up",
        "twice",
    ],
)
def test_an_archive_brings_nothing_but_the_files_of_its_list(
    home: Path, tmp_path: Path, kept: Path, member: tarfile.TarInfo
) -> None:
    for parts in ([*members(kept)[:2], (member, b""), *members(kept)[2:]], [*members(kept), (member, b"")]):
        with pytest.raises(BadModel):
            restore(Store(home), written(kept, parts))
        assert untouched(home, tmp_path)


def huge(value: dict[str, Any], size: object) -> None:
    next(iter(value["files"].values()))["bytes"] = size


@pytest.mark.parametrize(
    "change",
    [
        lambda value: huge(value, 1 << 49),
        lambda value: huge(value, 1 << 60),
        lambda value: huge(value, -1),
        lambda value: huge(value, "12"),
        lambda value: huge(value, 10**400),
        lambda value: huge(value, float("inf")),
        lambda value: value.update(files={"x" * 9: {"sha256": "z", "bytes": 1}}),
        lambda value: value.update(runtime=3),
        lambda value: value["card"].update(licence={"a": 1}),
        lambda value: value["card"].update(lineage=[{"step": "base"}]),
        lambda value: value["card"].update(lineage=[{"step": "tuned", "model": {"a": 1}}]),
        lambda value: value["card"].update(lineage="x"),
        lambda value: value["card"].update(parameters="many"),
        lambda value: value["card"].update(unknown=1),
        lambda value: value["card"].update(provenance={"x": "y" * (5 << 20)}),
        lambda value: value.update(name="../x"),
    ],
)
def test_what_an_archive_says_of_itself_is_checked(
    home: Path, tmp_path: Path, kept: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(FreeholdError):
        restore(Store(home), edited(kept, change))
    assert untouched(home, tmp_path)


def test_an_archive_that_swells_is_refused(home: Path, tmp_path: Path, kept: Path) -> None:
    import gzip

    packed = tmp_path / "packed.tar"
    packed.write_bytes(gzip.compress(kept.read_bytes()))
    deep = tmp_path / "deep.tar"
    data = b"[" * 200_000
    info = tarfile.TarInfo("freehold.json")
    info.size = len(data)
    with tarfile.open(deep, "w") as tar:
        tar.addfile(info, io.BytesIO(data))
    header = tmp_path / "header.tar"
    long = odd(tarfile.XHDTYPE, "long", size=1 << 40)
    header.write_bytes(long.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    sparse = tmp_path / "sparse.tar"
    parts = members(kept)
    weights = parts[-1][0]
    weights.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": weights.name,
        "GNU.sparse.realsize": str(weights.size),
    }
    map_of = b"0\n".ljust(512, b"\0")
    body = map_of + parts[-1][1]
    info = odd(tarfile.REGTYPE, weights.name, size=len(body), pax_headers=weights.pax_headers)
    sparse = written(kept, [*parts[:-1], (info, body)])
    for file in (packed, deep, header, sparse):
        with pytest.raises(BadModel):
            restore(Store(home), file)
        assert untouched(home, tmp_path)


def test_an_archive_with_a_pickle_is_refused_from_python_and_the_command_line(
    home: Path, tmp_path: Path, kept: Path
) -> None:
    record = {"sha256": hashlib.sha256(PICKLE).hexdigest(), "bytes": len(PICKLE)}
    made = edited(kept, lambda value: value["files"].update({"helper.json": record}))
    info = tarfile.TarInfo("files/helper.json")
    info.size = len(PICKLE)
    made = written(kept, [*members(made), (info, PICKLE)])
    with pytest.raises(BadModel, match=r"refused as dangerous: helper\.json"):
        freehold.restore(made, store=Store(home))
    assert typed(home, "restore", str(made)).returncode == 6
    assert untouched(home, tmp_path)


def test_an_archive_that_the_policy_refuses_stays_out(home: Path, tmp_path: Path, kept: Path) -> None:
    home.mkdir(exist_ok=True)
    policy.put_in_force(NO_MIT, "here")
    with pytest.raises(PolicyDenied, match=r"licences\.refuse"):
        freehold.restore(kept, store=Store(home))
    done = typed(home, "restore", str(kept))
    assert done.returncode == 12, done.stderr
    assert untouched(home, tmp_path)


# -- the hub ----------------------------------------------------------------------------------------


@pytest.fixture
def client(home: Path) -> Client:
    store = Store(home)
    return Client(make_app(store, strict=True))


def test_a_commit_to_the_hub_passes_the_same_rules(home: Path, client: Client) -> None:
    push(client, "ada/one", {"README.md": b"---\nlicense: apache-2.0\n---\n"})
    policy.put_in_force(NO_MIT, "here")
    for files, told in (
        ({"../outside": b"x"}, "cannot be a file's path"),
        ({"helper.pkl": PICKLE}, "does not accept unsafe files"),
        ({"README.md": b"---\nlicense: mit\n---\n"}, r"licences\.refuse"),
    ):
        with pytest.raises(AssertionError, match=told):
            push(client, "ada/one", files)
    found = Repositories(Store(home))
    assert set(found.commit(found.find("model", "ada/one"), "main").files) == {".gitattributes", "README.md"}


def test_a_request_is_merged_through_the_gate(home: Path) -> None:
    store = Store(home)
    open_hub = Repositories(store)
    repo = open_hub.create("model", "ada/one", owner="ada")
    upload = store.incoming / "pickle"
    upload.write_bytes(PICKLE)
    digest = hashlib.sha256(PICKLE).hexdigest()
    open_hub.contents.accept(upload, digest, len(PICKLE))
    change = Change("a pickle", put={"helper.pkl": lfs_file(digest, len(PICKLE))})
    open_hub.propose(repo, open_hub.resolve(repo, "main"), change, "eve")
    contents = BlobStore(store)
    strict = Repositories(store, contents, gate.commits(store, contents, strict=True))
    from freehold.hub.discussions import Discussions

    with pytest.raises(PolicyDenied, match="does not accept unsafe files"):
        strict.merge(repo, Discussions(store.engine).find(repo.id, 1), "ada")


def test_a_mirror_passes_the_gate(home: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    push(
        Client(make_app(other)),
        "ada/one",
        {"helper.pkl": PICKLE, "README.md": b"---\nlicense: mit\n---\n"},
    )
    store = Store(home)
    contents = BlobStore(store)
    policy.put_in_force(NO_MIT, "here")
    with hub_at(tmp_path / "other") as address:
        for strict, told in ((True, "does not accept unsafe files"), (False, r"licences\.refuse")):
            admitting = Repositories(store, contents, gate.commits(store, contents, strict=strict))
            with pytest.raises(PolicyDenied, match=told):
                mirror(admitting, read_address(f"{address}/ada/one"))
        repo = admitting.find("model", "ada/one")
        assert set(admitting.commit(repo, "main").files) == {".gitattributes"}
        forbidden = typed(home, "mirror", f"{address}/ada/one", "--as", "ada/two", "--refuse-unsafe")
        assert forbidden.returncode == 12, forbidden.stderr


@pytest.mark.slow
def test_the_command_line_and_python_try_the_model_in_an_engine(home: Path, tmp_path: Path) -> None:
    folder = decoder(tmp_path / "m")
    assert freehold.pull(f"file:{folder}", "good", store=Store(home)).info.format == "safetensors"
    broken = gguf(tmp_path / "broken.gguf", left_out=("output_norm.weight",))
    with pytest.raises(BadModel, match="llama.cpp cannot load"):
        freehold.pull(f"file:{broken}", "broken", store=Store(home))
    assert typed(home, "pull", f"file:{broken}", "--as", "broken").returncode == 6
