"""The scanner on malicious files built here, and on real clean ones."""

from __future__ import annotations

import json
import site
from pathlib import Path
from types import SimpleNamespace

import pytest

from freehold.core.errors import BadModel
from freehold.models.store import Store
from freehold.sources.source import Delivery, registered
from freehold.trust.scan import refuse, scan
from tests.entry import pull
from tests.trust.corpus import gguf, malicious, safetensors


def test_every_malicious_file_is_refused_and_none_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    corpus = malicious(mark)
    assert len(corpus) >= 40
    assert len({kind for kind, _ in corpus.values()}) >= 12
    for name, (kind, data) in corpus.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        found = scan({name: path})
        assert found, f"{name} ({kind}) was not refused"
        assert all(len(str(one)) < 700 and one.why for one in found)
    assert not mark.exists()


def test_names_and_links_that_lead_out(tmp_path: Path) -> None:
    fine = tmp_path / "fine.txt"
    fine.write_text("words")
    gone = tmp_path / "gone.txt"
    gone.symlink_to(tmp_path / "nowhere")
    assert [
        one.kind
        for one in scan(
            {"../up.txt": fine, "/etc/x.txt": fine, "a\\b.txt": fine, "gone.txt": gone, "folder": tmp_path}
        )
    ] == ["path"] * 2 + ["path", "link", "link"]


def test_a_pickle_says_what_it_would_call(tmp_path: Path) -> None:
    name, (_, data) = "system.pkl", malicious(tmp_path / "mark")["system.pkl"]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadModel, match=r"system\.pkl: it is a pickle, .* would call posix\.system"):
        refuse({name: tmp_path / name})


@pytest.mark.slow
def test_two_hundred_real_files_are_fine(tmp_path: Path) -> None:
    real = [
        path
        for path in sorted(Path(site.getsitepackages()[0]).rglob("*"))
        if path.suffix in (".json", ".md", ".txt") and path.is_file()
    ]
    picked = {
        f"{number}/{path.name}": path
        for number, path in enumerate(real)
        if path.stat().st_size and path.stat().st_size < 4 << 20
    }
    picked = dict(list(picked.items())[:400])
    assert len(picked) >= 200
    assert [str(one) for one in scan(picked)] == []


def test_clean_weights_and_templates(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] }}{% if loop.first and messages[0]['role"
        "'] != 'system' %}x{% endif %}{% endfor %}"
    )
    files = {
        "a.gguf": gguf({"general.architecture": "llama", "tokenizer.chat_template": template}),
        "b.safetensors": safetensors({"w": {"dtype": "F32", "shape": [32], "data_offsets": [0, 128]}}),
        "tokenizer_config.json": json.dumps({"chat_template": template}).encode(),
        "chat_template.jinja": template.encode(),
        "README.md": b"---\nlicense: mit\n---\nA model.\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert scan({name: tmp_path / name for name in files}) == []


def test_what_was_fetched_and_refused_lies_in_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = malicious(tmp_path / "mark")

    def fetch(_store: Store, _rest: str, landing: Path, _sink: object) -> Delivery:
        (landing / "model.safetensors").write_bytes(corpus["model.safetensors"][1])
        return Delivery({"model.safetensors": landing / "model.safetensors"}, {}, move=True)

    monkeypatch.setitem(registered(), "pypi", SimpleNamespace(ours=True, load=lambda: fetch))
    store = Store(tmp_path / "home")
    with pytest.raises(BadModel, match="refused as dangerous") as caught:
        pull(store, "pypi:evil", "evil")
    assert "quarantine" in caught.value.remedy
    (place,) = (store.folder / "quarantine").iterdir()
    assert "pypi:evil: refused as dangerous: model.safetensors" in (place / "WHY.txt").read_text()
    assert (place / "model.safetensors").exists()
    assert store.models() == []
    assert not (tmp_path / "mark").exists()
