"""Text to vectors, with encoder models that are kept as a Sentence Transformers folder does.

Source of the folder's form: Sentence Transformers' ``modules.json`` (what follows the encoder),
``1_Pooling/config.json`` (how the tokens' vectors become one) and ``sentence_bert_config.json`` (the longest
text in tokens).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from freehold.core import extras, limited_process
from freehold.core.errors import BadData, BadModel, DoesNotFit, Unsupported
from freehold.inference import transformers_engine

#: Tokens in one call of the encoder, those that fill short texts up included.
BATCH_TOKENS = 8192
#: Characters for each token of the longest text: beyond these a text is too long, whatever it holds.
_MOST_CHARACTERS = 64
_TEXTS_AT_ONCE = 256
#: Tensors of what is put on an encoder and that vectors are not made with.
HEADS = re.compile(
    r"(^|\.)(pooler|cls|lm_head|classifier|vocab_transform|vocab_layer_norm|vocab_projector|mlm_head)\."
)
_POOLINGS = ("pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_max_tokens")


@dataclass(frozen=True)
class Embedded:
    """Vectors (texts, width), float32, and the tokens that were read for them."""

    vectors: np.ndarray
    tokens: int


class Embedder(Protocol):
    """A loaded embedding model."""

    #: tokens of the longest text, and numbers in a vector
    context_length: int
    width: int

    def embed(self, texts: Sequence[str], *, cut: bool = False) -> Embedded:
        """A vector for each text. Raises DoesNotFit for one that is too long, unless it is to be ``cut``, and
        BadData for one without a token."""
        ...

    def count(self, text: str) -> int:
        """Tokens of a text."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


def is_embedder(files: Sequence[str]) -> bool:
    """Whether a model's file names are those of an embedding model."""
    return any(name.endswith("1_Pooling/config.json") for name in files) and "config.json" in files


class SentenceEmbedder:
    """An encoder in a folder, in float32 on the processor. Raises BadModel, Unsupported."""

    def __init__(self, folder: Path):
        extras.need("torch", "an embedding model")
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel

        self._torch = torch
        pooling = _json(folder / "1_Pooling" / "config.json")
        chosen = [name for name in _POOLINGS if pooling.get(name)]
        if len(chosen) != 1 or any(
            value is True
            for name, value in pooling.items()
            if name.startswith("pooling_mode") and name not in _POOLINGS
        ):
            raise Unsupported(
                "1_Pooling/config.json asks for a pooling that is not supported",
                f"models with one of {', '.join(_POOLINGS)} can be served",
            )
        self._pooling = chosen[0]
        after = [str(step.get("type", "")).rpartition(".")[2] for step in _json(folder / "modules.json", [])]
        if unknown := [name for name in after if name not in ("Transformer", "Pooling", "Normalize")]:
            raise Unsupported(
                f"modules.json names {unknown[0][:40]!r}, which is not known here",
                "choose a model of encoder, pooling and normalization",
            )
        self._normalized = "Normalize" in after
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise BadModel(
                f"the embedding model cannot be loaded ({str(error).splitlines()[0]})",
                "fetch it again, or choose another",
            ) from error
        self._model: Any = transformers_engine.load(AutoModel, folder, beside=HEADS).eval()
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        config = self._model.config
        own = int(getattr(config, "max_position_embeddings", 512))
        self.context_length = min(
            own, int(_json(folder / "sentence_bert_config.json").get("max_seq_length") or own)
        )
        self.width = int(config.hidden_size)
        self._fill = int(config.pad_token_id or 0)

    def embed(self, texts: Sequence[str], *, cut: bool = False) -> Embedded:
        """See :class:`Embedder`."""
        rows = self._rows(list(texts), cut)
        for number, row in enumerate(rows):
            if not row:  # its vector would be the mean of nothing
                raise BadData(
                    f"text {number + 1} of {len(rows)} has no tokens for this model", "leave it out"
                )
            if len(row) > self.context_length and not cut:
                raise DoesNotFit(
                    f"text {number + 1} of {len(rows)} has {len(row)} tokens "
                    f"and this model reads {self.context_length}",
                    "cut it into shorter texts",
                )
            # the last token closes the text, whatever its length
            rows[number] = (
                row if len(row) <= self.context_length else [*row[: self.context_length - 1], row[-1]]
            )
        vectors = np.zeros((len(rows), self.width), dtype=np.float32)
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        while order:
            size = 1
            while size < len(order) and (size + 1) * len(rows[order[size]]) <= BATCH_TOKENS:
                size += 1
            limited_process.check()
            vectors[order[:size]] = self._vectors([rows[number] for number in order[:size]])
            del order[:size]
        return Embedded(vectors, sum(map(len, rows)))

    def _rows(self, texts: list[str], cut: bool) -> list[list[int]]:
        """The tokens of each text. Raises DoesNotFit."""
        most = _MOST_CHARACTERS * self.context_length
        for number, text in enumerate(texts):
            if len(text) > most and not cut:
                raise DoesNotFit(
                    f"text {number + 1} of {len(texts)} has {len(text):,} characters and this model reads "
                    f"{self.context_length} tokens",
                    "cut it into shorter texts",
                )
        rows: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            limited_process.check()
            part = [text[:most] for text in texts[start : start + _TEXTS_AT_ONCE]]
            rows += [encoding.ids for encoding in self._tokenizer.encode_batch(part)]
        return rows

    def count(self, text: str) -> int:
        """See :class:`Embedder`."""
        limited_process.check()
        return len(self._tokenizer.encode(text).ids)

    def _vectors(self, rows: list[list[int]]) -> np.ndarray:
        torch = self._torch
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[self._fill] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            if self._pooling == "pooling_mode_cls_token":
                found = hidden[:, 0]
            elif self._pooling == "pooling_mode_max_tokens":
                found = hidden.masked_fill(mask[..., None] == 0, float("-inf")).amax(1)
            else:
                found = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            return (torch.nn.functional.normalize(found, dim=-1) if self._normalized else found).numpy()

    def close(self) -> None:
        """See :class:`Embedder`."""
        self._model = None


def _json(path: Path, empty: Any = None) -> Any:
    """A file's JSON; ``empty``, or an empty object, where there is no file. Raises BadModel."""
    if not path.exists():
        return {} if empty is None else empty
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise BadModel(f"{path.name} is not valid JSON ({error})", "fetch it again") from error
    if not isinstance(value, dict | list):
        raise BadModel(f"{path.name} holds neither an object nor a list", "fetch it again")
    return value
