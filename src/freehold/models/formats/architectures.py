"""Which architectures transformers has built in, read from its own tables without importing it: that takes
seconds and runs torch.

Source: transformers' ``models/auto/auto_mappings.py`` and ``models/auto/modeling_auto.py``.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

from freehold.core.errors import MissingPart


def is_built_in(model_type: str) -> bool:
    """Whether transformers knows a ``model_type`` without code that comes with a model."""
    return model_type in _table("auto_mappings.py", "CONFIG_MAPPING_NAMES")


def causal_class(model_type: str) -> str:
    """The class by which transformers answers with models of this type, e.g. ``LlamaForCausalLM``; '' where
    there is none.
    """
    return _table("modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES").get(model_type, "")


def kind_of(model_type: str) -> str:
    """What models of a type do that do not answer with text from text, in words; '' where that is not
    known."""
    for table, words in _KINDS:
        if model_type in _table("modeling_auto.py", table):
            return words
    return ""


#: Tables of transformers in the order they are asked, and what their models are.
_KINDS = (
    ("MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES", "a speech model"),
    ("MODEL_FOR_CTC_MAPPING_NAMES", "a speech model"),
    ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "an encoder-decoder"),
    ("MODEL_FOR_MASKED_LM_MAPPING_NAMES", "an encoder"),
    ("MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES", "a model of images and texts"),
    ("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES", "an image model"),
    ("MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES", "an image model"),
    ("MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES", "an image model"),
    ("MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES", "a model that makes sound"),
    ("MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES", "a sound model"),
    ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", "a model of images and texts"),
    ("MODEL_FOR_TIME_SERIES_PREDICTION_MAPPING_NAMES", "a model of time series"),
)


@functools.cache
def _table(file: str, name: str) -> dict[str, str]:
    """A table of names in one of transformers' files; empty where this version has no such table. Raises
    MissingPart.
    """
    for node in _parsed(file).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets) and isinstance(
            node, ast.Assign
        ):
            return _pairs(node.value)
    return {}


def _pairs(value: ast.expr) -> dict[str, str]:
    """``OrderedDict([(key, value), ...])`` as a dict; a value that is several names is the first."""
    found: dict[str, str] = {}
    lists = value.args if isinstance(value, ast.Call) else []
    for pair in lists[0].elts if lists and isinstance(lists[0], ast.List) else []:
        if isinstance(pair, ast.Tuple):
            key, name = ast.literal_eval(pair.elts[0]), ast.literal_eval(pair.elts[1])
            found[str(key)] = str(name[0] if isinstance(name, tuple | list) else name)
    return found


@functools.cache
def _parsed(file: str) -> ast.Module:
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise MissingPart("transformers is not installed", "pip install freehold")
    return ast.parse((Path(spec.origin).parent / "models" / "auto" / file).read_text())
