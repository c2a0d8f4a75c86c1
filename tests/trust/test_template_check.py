"""Chat templates are tried on the way in: one that does not end is refused, one that answers nobody is
told.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freehold.core.errors import BadModel
from freehold.trust.scan import notes, refuse, scan
from tests.tiny import TEMPLATE
from tests.trust.corpus import gguf

# no number in it is large, and no name unusual
ENDLESS = (
    "{% for a in messages * 9999 %}{% for b in messages * 9999 %}{% for c in messages "
    "* 9999 %}{% endfor %}{% endfor %}{% endfor %}"
)
GROWING = (
    "{% set ns = namespace(s=messages[0].content) %}{% for i in range(99) %}{% set "
    "ns.s = ns.s ~ ns.s %}{% endfor %}"
)


def given(folder: Path, name: str, template: str) -> dict[str, Path]:
    data = {
        ".gguf": lambda: gguf({"general.architecture": "llama", "tokenizer.chat_template": template}),
        ".json": lambda: json.dumps({"chat_template": [{"name": "default", "template": template}]}).encode(),
        ".jinja": template.encode,
    }[Path(name).suffix]()
    (folder / name).write_bytes(data)
    return {name: folder / name}


@pytest.mark.parametrize("template", [ENDLESS, GROWING], ids=["endless", "growing"])
@pytest.mark.parametrize("name", ["model.gguf", "tokenizer_config.json", "chat_template.jinja"])
def test_a_template_that_does_not_end_is_refused(tmp_path: Path, name: str, template: str) -> None:
    with pytest.raises(BadModel, match="its chat template took more than .* on an ordinary conversation"):
        refuse(given(tmp_path, name, template))


@pytest.mark.parametrize("name", ["model.gguf", "tokenizer_config.json", "chat_template.jinja"])
def test_a_template_that_answers_nobody_is_told_and_let_in(tmp_path: Path, name: str) -> None:
    files = given(tmp_path, name, "{{ raise_exception('not today') }}")
    assert scan(files) == []
    assert [note.partition(":")[0] for note in notes(files)] == [name]
    assert "not today" in notes(files)[0]


def test_a_template_that_takes_no_system_message_is_ordinary(tmp_path: Path) -> None:
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    files = given(tmp_path, "chat_template.jinja", template)
    assert (scan(files), notes(files)) == ([], [])


def test_a_file_with_a_thousand_templates_is_refused_without_trying_them(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"chat_template": [{"template": f"{ENDLESS}{n}"} for n in range(1000)]}))
    assert [one.why for one in scan({path.name: path})] == ["it has 1,000 chat templates"]
