"""What a certificate binds: the signature and every file beside it.

Each change to a folder that was handed on fails, with a sentence.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.core import atomic_files
from freehold.models.intake import made_here
from freehold.models.store import Store
from freehold.trust import certificate, envelope, signature
from freehold.trust.keys import Keyring
from tests.commands import Done, freehold
from tests.trust.corpus import gguf

BESIDE = (
    "NOTICE.txt",
    "README.md",
    "USE-RESTRICTIONS.txt",
    "bom.cdx.json",
    "certificate.html",
    "model.sig",
    "provenance.jsonl",
)


def stored(home: Path, name: str, text: str = "") -> None:
    """A model of a few bytes under terms that want a notice and restrictions beside it."""
    path = home.parent / f"{name.replace('/', '-')}.gguf"
    path.write_bytes(
        gguf({"general.architecture": "llama", "general.license": "gemma", "general.name": text or name})
    )
    Store(home).add(name, made_here({path.name: path}), {"source": f"file:{path.name}"}, licence="gemma")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clinic's home, in which two models are certified, and each handed on."""
    folder = tmp_path_factory.mktemp("clinic")
    home = folder / "home"
    assert freehold(home, "signer", "create", "clinic").code == 0
    for name in ("clinic/tickets", "clinic/letters"):
        stored(home, name)
        done = freehold(home, "certify", name, "--out", folder / name.partition("/")[2])
        assert done.code == 0, done.err
    return folder


@pytest.fixture
def handover(clinic: Path, tmp_path: Path) -> Path:
    """A copy of what was handed on, to be changed."""
    return Path(shutil.copytree(clinic / "tickets", tmp_path / "handover"))


@pytest.fixture
def reader(clinic: Path, tmp_path: Path) -> Path:
    """The home of somebody who trusts the clinic's key."""
    home = tmp_path / "reader"
    assert freehold(home, "signer", "trust", clinic / "home" / "keys" / "own" / "clinic.pub").code == 0
    return home


def refused(done: Done, *sentences: str, code: int = 6) -> None:
    assert done.code == code, done.out + done.err
    for sentence in sentences:
        assert sentence in done.err
    assert "Traceback" not in done.err
    assert "fault" not in done.err.partition("\n")[0]


def test_what_was_handed_on_holds_and_every_file_is_bound(handover: Path, reader: Path) -> None:
    done = freehold(reader, "verify", handover, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["not_bound"] == []
    names = {path.name for path in handover.iterdir()}
    assert set(told["files"]) == names - {"certificate.json"} >= {*BESIDE, "clinic-tickets.gguf"}
    assert f"{len(names) - 1} files as signed by clinic (" in freehold(reader, "verify", handover).out


@pytest.mark.parametrize("name", [*BESIDE, "clinic-tickets.gguf"])
def test_each_file_that_is_missing_or_changed_fails(handover: Path, reader: Path, name: str) -> None:
    path = handover / name
    whole = path.read_bytes()
    path.unlink()
    refused(freehold(reader, "verify", handover), f"{name} is missing")
    path.write_bytes(whole + b" ")
    refused(freehold(reader, "verify", handover), f"{name} was changed")
    path.write_bytes(whole)
    assert freehold(reader, "verify", handover).code == 0


def test_a_stripped_signature_with_files_added_fails(handover: Path, reader: Path) -> None:
    (handover / "model.sig").unlink()
    (handover / "modeling.py").write_text("import os")
    refused(
        freehold(reader, "verify", handover),
        "model.sig is missing",
        "modeling.py is extra: the certificate does not name it",
    )


def test_a_folder_without_its_certificate_fails(handover: Path, reader: Path) -> None:
    (handover / "certificate.json").unlink()
    refused(freehold(reader, "verify", handover), "there is no certificate", code=7)


def _extra_file(folder: Path) -> str:
    (folder / "extra.safetensors").write_bytes(b"x")
    return "extra.safetensors is extra"


def _hidden_file(folder: Path) -> str:
    (folder / ".hidden").write_bytes(b"")
    return ".hidden is extra"


def _file_in_a_subfolder(folder: Path) -> str:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "tokenizer.json").write_text("{}")
    return "a/b/tokenizer.json is extra"


def _empty_folder(folder: Path) -> str:
    (folder / "later").mkdir()
    return "later/ is an empty folder"


def _name_of_another_case(folder: Path) -> str:
    (folder / "Notice.txt").write_text("yours to use as you like")
    return "Notice.txt is extra"


def _renamed(folder: Path) -> str:
    (folder / "NOTICE.txt").rename(folder / "notice.txt")
    return "notice.txt is extra"


def _link(folder: Path) -> str:
    (folder / "NOTICE.txt").rename(folder.parent / "aside.txt")
    (folder / "NOTICE.txt").symlink_to(folder.parent / "aside.txt")
    return "NOTICE.txt is a link"


def _linked_folder(folder: Path) -> str:
    (folder.parent / "elsewhere").mkdir()
    (folder / "more").symlink_to(folder.parent / "elsewhere")
    return "more is a link"


def _pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe is neither a file nor a folder"


def _socket(folder: Path) -> str:
    with socket.socket(socket.AF_UNIX) as opened:
        here = Path.cwd()
        os.chdir(folder)  # a socket's address is short
        try:
            opened.bind("s")
        finally:
            os.chdir(here)
    return "s is neither a file nor a folder"


def _pipe_for_a_certificate(folder: Path) -> str:
    (folder / "certificate.json").unlink()
    os.mkfifo(folder / "certificate.json")
    return "certificate.json is neither a file nor a folder"


def _linked_certificate(folder: Path) -> str:
    (folder / "certificate.json").rename(folder.parent / "certificate.json")
    (folder / "certificate.json").symlink_to(folder.parent / "certificate.json")
    return "certificate.json is a link"


def _endless_certificate(folder: Path) -> str:
    with (folder / "certificate.json").open("ab") as file:
        file.truncate(1 << 40)  # a hole, which takes no room on the disk
    return "certificate.json is longer than 64 MB"


def _rows(folder: Path) -> str:
    (folder / "task.json").write_text("{}")
    return "task.json is extra"


def _control_characters(folder: Path) -> str:
    (folder / "a\x1b[2J\nb").write_text("")
    return "a\\x1b[2J\\nb is extra"


def _attributes_that_do_more(folder: Path) -> str:
    (folder / ".gitattributes").write_text(" " * 90_000 + "\n*.gguf filter=evil\n")
    return ".gitattributes is extra"


@pytest.mark.parametrize(
    "change",
    [
        _extra_file,
        _hidden_file,
        _file_in_a_subfolder,
        _empty_folder,
        _name_of_another_case,
        _renamed,
        _link,
        _linked_folder,
        _pipe,
        _socket,
        _pipe_for_a_certificate,
        _linked_certificate,
        _endless_certificate,
        _rows,
        _control_characters,
        _attributes_that_do_more,
    ],
)
def test_what_the_certificate_does_not_name_fails(
    handover: Path, reader: Path, change: Callable[[Path], str]
) -> None:
    sentence = change(handover)
    refused(freehold(reader, "verify", handover), sentence)


def test_a_hubs_list_of_large_files_is_no_extra_file(handover: Path, reader: Path) -> None:
    (handover / ".gitattributes").write_text("*.gguf filter=lfs diff=lfs merge=lfs -text\n# ours\n")
    assert freehold(reader, "verify", handover).code == 0


def test_another_models_certificate_or_signature_fails(clinic: Path, handover: Path, reader: Path) -> None:
    shutil.copyfile(clinic / "letters" / "certificate.json", handover / "certificate.json")
    refused(
        freehold(reader, "verify", handover), "clinic-letters.gguf is missing", "clinic-tickets.gguf is extra"
    )
    shutil.copyfile(clinic / "tickets" / "certificate.json", handover / "certificate.json")
    shutil.copyfile(clinic / "letters" / "model.sig", handover / "model.sig")
    refused(freehold(reader, "verify", handover), "model.sig was changed")


def test_a_certificate_of_an_older_revision_fails(tmp_path: Path) -> None:
    home = tmp_path / "home"
    freehold(home, "signer", "create", "clinic")
    stored(home, "m", "first")
    assert freehold(home, "certify", "m", "--out", tmp_path / "first").code == 0
    stored(home, "m", "second")
    assert freehold(home, "certify", "m", "--out", tmp_path / "second").code == 0
    shutil.copyfile(tmp_path / "first" / "certificate.json", tmp_path / "second" / "certificate.json")
    refused(freehold(home, "verify", tmp_path / "second"), "m.gguf was changed")
    first, second = (path for path in sorted((home / "attestations").iterdir(), key=os.path.getmtime))
    shutil.copytree(first, second, dirs_exist_ok=True)
    refused(freehold(home, "verify", "m"), "is of another revision")


# -- what is kept with a stored model ---------------------------------------------------------------


@pytest.fixture
def home(clinic: Path, tmp_path: Path) -> Path:
    """A copy of the clinic's home."""
    return Path(shutil.copytree(clinic / "home", tmp_path / "home", symlinks=True))


def evidence(home: Path) -> Path:
    store = Store(home)
    return certificate.evidence_folder(store, store.find("clinic/tickets"))


def test_what_is_kept_with_a_stored_model_is_bound_too(home: Path) -> None:
    assert "certificate valid until" in freehold(home, "verify", "clinic/tickets").out
    (evidence(home) / "NOTICE.txt").write_text("yours")
    (evidence(home) / "more.txt").write_text("")
    refused(freehold(home, "verify"), "NOTICE.txt was changed", "more.txt is extra")
    (evidence(home) / "certificate.json").unlink()
    refused(freehold(home, "verify", "clinic/tickets"), "the certificate of clinic/tickets is missing")


def test_what_does_not_hold_is_neither_pushed_nor_handed_on(home: Path, tmp_path: Path) -> None:
    (evidence(home) / "USE-RESTRICTIONS.txt").unlink()
    refused(
        freehold(home, "push", "clinic/tickets", "clinic/tickets", "--hub", "http://127.0.0.1:9"),
        "USE-RESTRICTIONS.txt is missing",
    )
    assert (
        freehold(home, "certify", "clinic/tickets", "--out", tmp_path / "again").code == 0
    )  # it is made again
    assert freehold(home, "verify", tmp_path / "again").code == 0


def test_a_policy_that_wants_a_certificate_asks_for_one_that_holds(home: Path) -> None:
    policy = home.parent / "policy.yaml"
    policy.write_text("name: ours\nlicences: {allow: any}\ncertificate: {serve: required, push: required}\n")
    assert freehold(home, "policy", "use", policy).code == 0
    assert freehold(home, "policy", "check", "clinic/tickets").code == 0
    (evidence(home) / "certificate.html").write_text("<p>the best model there is</p>")
    refused(freehold(home, "serve", "clinic/tickets", "--port", "0"), "certificate.html was changed", code=12)


# -- the statement itself ---------------------------------------------------------------------------


def resealed(
    folder: Path, home: Path, change: Callable[[dict[str, Any]], object], key_name: str = "clinic"
) -> None:
    """Sign the certificate in ``folder`` again, its statement changed: what the key's owner could do."""
    path = folder / certificate.FILE
    value = json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))
    change(value)
    key, private = Keyring(home / "keys").private(key_name)
    path.write_text(json.dumps(envelope.seal(value, private, key.id)))


def _dated(issued: str, expires: str) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["predicate"].update(issued=issued, expires=expires)


@pytest.mark.parametrize(
    ("change", "sentence", "code"),
    [
        (_dated("2199-01-01T00:00:00Z", "2199-02-01T00:00:00Z"), "was issued on 2199-01-01", 6),
        (_dated("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"), "expired on 2020-02-01", 14),
        (_dated("2020-02-01T00:00:00Z", "2020-01-01T00:00:00Z"), "ends before it begins", 6),
        (_dated("2020-01-01T00:00:00Z", "when I say so"), "'expires' is not a time", 6),
        (_dated("2020-01-01T00:00:00Z", "9"), "'expires' is not a time", 6),
        (lambda v: v.update(predicateType="urn:freehold:certificate:v3"), "statement of another kind", 6),
        (lambda v: v.update(predicateType="urn:freehold:revocation:v1"), "statement of another kind", 6),
        (lambda v: v.pop("predicate"), "a statement without a predicate", 6),
        (lambda v: v.update(subject=[{"name": "x"}]), "does not state clearly what it is about", 6),
        (lambda v: v.update(subject=v["subject"] * 2), "is named twice", 6),
        (lambda v: v["predicate"]["beside"].pop("model.sig"), "does not include a signature", 6),
        (lambda v: v["predicate"]["beside"].pop("NOTICE.txt"), "NOTICE.txt is extra", 6),
        (
            lambda v: v["predicate"].update(beside=["model.sig"]),
            "does not state clearly which files go with it",
            6,
        ),
        (lambda v: v["predicate"]["beside"].update({"../x": "0" * 64}), "names an unsafe file", 6),
        (lambda v: v["predicate"]["beside"].update({"NOTICE.TXT": "0" * 64}), "treat as one file", 6),
        (lambda v: v["predicate"]["signed_by"].update(id="0" * 64), "names another key than", 6),
        (
            lambda v: v.update(_type="https://in-toto.io/Statement/v2"),
            "does not hold an in-toto statement of version 1",
            6,
        ),
    ],
)
def test_statements_that_are_not_what_they_should_be_fail(
    clinic: Path,
    handover: Path,
    reader: Path,
    change: Callable[[dict[str, Any]], object],
    sentence: str,
    code: int,
) -> None:
    resealed(handover, clinic / "home", change)
    refused(freehold(reader, "verify", handover), sentence, code=code)


def _payload(sealed: dict[str, Any], change: Callable[[bytes], bytes], clinic: Path) -> dict[str, Any]:
    """The envelope with other bytes in it, signed as an owner of the key could."""
    _, private = Keyring(clinic / "home" / "keys").private("clinic")
    payload = change(base64.b64decode(sealed["payload"]))
    signed = private.sign(
        b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload),
        envelope.digest_for(private),
    )
    made = copy.deepcopy(sealed)
    made["payload"] = base64.b64encode(payload).decode()
    made["signatures"][0]["sig"] = base64.b64encode(signed).decode()
    return made


def test_keys_that_appear_twice_and_numbers_that_are_none(clinic: Path, handover: Path, reader: Path) -> None:
    path = handover / certificate.FILE
    sealed = json.loads(path.read_text())
    for change, sentence in (
        (
            lambda data: data.replace(b'"expires":', b'"expires":"2199-01-01T00:00:00Z","expires":'),
            "the key 'expires' appears twice",
        ),
        (lambda data: data[:-1] + b',"x":NaN}', "NaN is not a JSON number"),
        (lambda data: b"[" * 100_000, "is nested too deeply"),
    ):
        path.write_text(json.dumps(_payload(sealed, change, clinic)))
        refused(freehold(reader, "verify", handover), sentence)
    path.write_text(json.dumps(sealed).replace('"payloadType"', '"payloadType": "x", "payloadType"'))
    refused(freehold(reader, "verify", handover), "the key 'payloadType' appears twice")


def test_an_envelope_bears_one_signature_over_one_type(clinic: Path, handover: Path, reader: Path) -> None:
    path = handover / certificate.FILE
    sealed = json.loads(path.read_text())
    own, stranger = sealed["signatures"][0], {"keyid": "ab" * 32, "sig": "AAAA"}
    for signatures, sentence in (
        ([own, stranger], "has 2 signatures"),
        ([stranger, own], "has 2 signatures"),
        ([], "has 0 signatures"),
        ({"0": own}, "has no list of signatures"),
        ([stranger], "is signed by abababababababab, a key that you do not trust"),
        ([{**own, "sig": "!"}], "is not a signed statement"),
        ([{**own, "sig": "AAAA"}], "was changed after"),
    ):
        path.write_text(json.dumps({**sealed, "signatures": signatures}))
        refused(freehold(reader, "verify", handover), sentence)
    path.write_text(json.dumps({**sealed, "payloadType": "application/json"}))
    refused(freehold(reader, "verify", handover), "was changed after")
    path.write_text("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"))
    refused(freehold(reader, "verify", handover), "is not valid JSON")


def test_a_set_signed_again_by_another_key_says_whose(handover: Path, reader: Path, tmp_path: Path) -> None:
    thief = tmp_path / "thief"
    thief_key = json.loads(freehold(thief, "signer", "create", "clinic", "--json").out)["id"]
    (handover / "NOTICE.txt").write_text("yours")
    (handover / "model.sig").unlink()
    signature.sign(handover, handover / "model.sig", Keyring(thief / "keys"), "clinic")
    digests = {name: atomic_files.sha256_file(handover / name) for name in ("NOTICE.txt", "model.sig")}
    resealed(handover, thief, lambda value: value["predicate"]["beside"].update(digests))
    refused(freehold(reader, "verify", handover), f"signed by {thief_key[:16]}, a key that you do not trust")
    public = thief / "keys" / "own" / "clinic.pub"
    refused(freehold(reader, "signer", "trust", public), "could be taken for 'clinic'", code=2)
    assert freehold(reader, "signer", "trust", public, "--as", "somebody").code == 0
    refused(freehold(reader, "verify", handover), "names another key than the one that signed it (somebody)")
    resealed(handover, thief, lambda value: value["predicate"]["signed_by"].update(id=thief_key))
    assert f"as signed by somebody ({thief_key[:16]})" in freehold(reader, "verify", handover).out


def test_a_signature_by_another_key_than_the_certificates_fails(
    clinic: Path, handover: Path, reader: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    freehold(other, "signer", "create", "other")
    freehold(reader, "signer", "trust", other / "keys" / "own" / "other.pub")
    (handover / "model.sig").unlink()
    signature.sign(handover, handover / "model.sig", Keyring(other / "keys"), "other")
    digest = atomic_files.sha256_file(handover / "model.sig")
    resealed(
        handover, clinic / "home", lambda value: value["predicate"]["beside"].update({"model.sig": digest})
    )
    refused(freehold(reader, "verify", handover), "model.sig is signed by 'other'")


def test_days_that_are_no_time_span(home: Path) -> None:
    for days in ("inf", "1e9"):
        refused(freehold(home, "certify", "clinic/tickets", "--days", days), "cannot be valid for", code=2)


# -- certificates of earlier releases ---------------------------------------------------------------


@pytest.fixture
def old(clinic: Path, tmp_path: Path) -> Path:
    """A folder as version 1 made it.

    Its certificate binds the model's files, the bill and the steps, its signature the model's files.
    """
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copyfile(clinic / "tickets" / "clinic-tickets.gguf", folder / "clinic-tickets.gguf")
    signature.sign(folder, folder / "model.sig", Keyring(clinic / "home" / "keys"), "clinic")
    for name in BESIDE:
        if name not in ("model.sig", "README.md"):
            shutil.copyfile(clinic / "tickets" / name, folder / name)
    shutil.copyfile(clinic / "tickets" / "certificate.json", folder / "certificate.json")

    def as_then(value: dict[str, Any]) -> None:
        value["predicateType"] = "urn:freehold:certificate:v1"
        bound = value["predicate"]["beside"]
        value["predicate"]["beside"] = {name: bound[name] for name in ("bom.cdx.json", "provenance.jsonl")}

    resealed(folder, clinic / "home", as_then)
    return folder


def test_an_old_certificate_is_read_and_what_it_does_not_bind_is_said(old: Path, reader: Path) -> None:
    done = freehold(reader, "verify", old)
    assert done.code == 0, done.err
    assert "not checked: NOTICE.txt, USE-RESTRICTIONS.txt, certificate.html" in done.out
    (old / "NOTICE.txt").write_text("yours")
    told = json.loads(freehold(reader, "verify", old, "--json").out)
    assert told["not_bound"] == ["NOTICE.txt", "USE-RESTRICTIONS.txt", "certificate.html"]


def test_an_old_certificate_needs_its_signature_and_takes_no_extra_file(old: Path, reader: Path) -> None:
    (old / "extra.bin").write_bytes(b"")
    refused(freehold(reader, "verify", old), "extra.bin is extra")
    (old / "extra.bin").unlink()
    (old / "model.sig").unlink()
    refused(freehold(reader, "verify", old), "the signature was removed")


def test_a_new_certificate_cannot_pass_as_an_old_one(old: Path, handover: Path, reader: Path) -> None:
    """Nor can an old certificate of the same model stand in for the new one.

    The signature beside it binds more.
    """
    shutil.copyfile(old / "certificate.json", handover / "certificate.json")
    (handover / "README.md").unlink()
    refused(freehold(reader, "verify", handover), "model.sig and the certificate disagree about")
