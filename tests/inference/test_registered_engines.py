"""Engines: the format of the weights chooses one of ours; another package's runs where it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.core.errors import FreeholdError, MissingPart, Unsupported, UsageError
from freehold.inference import engines
from freehold.inference.interface import Engine
from freehold.inference.llama_engine import LlamaEngine
from freehold.inference.loading import open_engine, open_vocabulary
from freehold.inference.request import GenerationRequest
from freehold.inference.transformers_engine import HfTokenizer
from tests.conftest import PluginPackage
from tests.hub.models import gguf
from tests.tiny import tokenizer

Install = Callable[[PluginPackage], Path]
ENGINE = """
class Opened:
    def __init__(self, weights, options):
        self.weights, self.options = weights, options

class Kind:
    formats = {formats}

    def open(self, weights, options):
        {body}

    def tokenizer(self, weights):
        raise AssertionError

ENGINE = Kind()
"""


def package(
    *, formats: str = '{"gguf"}', body: str = "return Opened(weights, options)", module: str = ""
) -> PluginPackage:
    """A package with the engine ``echo``."""
    text = module or ENGINE.format(formats=formats, body=body)
    return PluginPackage(
        {engines.GROUP: {"echo": "echo_plugin:ENGINE"}}, {"echo_plugin": text}, "echo", "3.0"
    )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return gguf(tmp_path / "model.gguf")


def test_the_format_chooses_among_freeholds_own(
    weights: Path, tmp_path: Path, install_plugin: Install
) -> None:
    install_plugin(package())
    with open_engine(weights, context_length=64) as engine:  # type: ignore[attr-defined]
        assert type(engine) is LlamaEngine
    (tmp_path / "folder").mkdir()
    tokenizer(tmp_path / "folder")
    assert isinstance(open_vocabulary(tmp_path / "folder"), HfTokenizer)
    assert engines.DEFAULTS == {"gguf": "llama.cpp", "safetensors": "transformers"}


def test_the_default_can_be_named_too(weights: Path) -> None:
    with open_engine(weights, context_length=64, engine="llama.cpp") as engine:  # type: ignore[attr-defined]
        assert type(engine) is LlamaEngine


def test_a_packages_engine_opens_the_weights_where_it_is_named(
    weights: Path, install_plugin: Install
) -> None:
    install_plugin(package())
    opened = open_engine(weights, context_length=64, parallel=2, threads=3, engine="echo")
    assert type(opened).__name__ == "Opened"
    assert opened.options == engines.OpenOptions(64, 2, None, 3)  # type: ignore[attr-defined]


def test_the_reproducible_engine_answers_alike_alone_and_beside_others(weights: Path) -> None:
    def answers(engine: Engine, prompts: list[str]) -> dict[str, str]:
        tokens = [tuple(engine.vocabulary.encode(prompt, start=True)) for prompt in prompts]
        requests = [GenerationRequest(prompt, 6) for prompt in tokens]
        return {prompts[index]: completion.text for index, completion in engine.generate(requests)}

    prompts = ["abc", "hello there", "zzz zzz zzz"]
    engine = open_engine(weights, context_length=192, parallel=3, engine="reproducible")
    together = answers(engine, prompts)
    assert {prompt: answers(engine, [prompt])[prompt] for prompt in prompts} == together
    with pytest.raises(Unsupported, match="does not score answers"):
        engine.score([([1], [2])])
    engine.close()


def test_the_reproducible_engine_takes_no_adapter(weights: Path) -> None:
    with pytest.raises(Unsupported, match="cannot add an adapter"):
        open_engine(weights, context_length=64, adapter=weights, engine="reproducible")


def test_an_unknown_engine_names_those_that_are_installed(weights: Path) -> None:
    with pytest.raises(UsageError, match="no installed package registers the engine 'llama'") as refused:
        open_engine(weights, context_length=64, engine="llama")
    assert "llama.cpp, reproducible, transformers" in refused.value.remedy


def test_an_engine_for_another_format_is_refused(weights: Path, install_plugin: Install) -> None:
    install_plugin(package(formats='{"safetensors"}'))
    with pytest.raises(Unsupported, match=r"'echo' of the package echo 3\.0 does not read gguf, only safe"):
        open_engine(weights, context_length=64, engine="echo")
    with pytest.raises(Unsupported, match="'transformers' of the package freehold .* does not read gguf"):
        open_engine(weights, context_length=64, engine="transformers")


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"module": "ENGINE = len\n"}, UsageError, "is not an engine: it has no 'formats'"),
        ({"module": "import nothing_of_this_name\n"}, MissingPart, "cannot be loaded"),
        ({"body": "raise KeyError('layers')"}, FreeholdError, "failed .KeyError: 'layers'"),
    ],
)
def test_an_engine_that_is_broken_names_its_package(
    weights: Path, install_plugin: Install, changed: dict[str, str], kind: type[FreeholdError], said: str
) -> None:
    install_plugin(package(**changed))
    with pytest.raises(kind, match=rf"the engine 'echo' of the package echo 3\.0 {said}"):
        open_engine(weights, context_length=64, engine="echo")
