"""llama.cpp's own converter, in a process of its own: ``python -m freehold.quantization.converter_process``.

The converter is that of the llama.cpp which the engine is built from, unchanged, in an archive that
:mod:`freehold.quantization.pack_converter` writes. It brings its own version of the package ``gguf``, which
must not meet the installed one: hence the process.

Each line on standard input is a :class:`Job` in JSON, each line on standard output its answer: ``{}``, or
``{"error": ..., "unknown": true where llama.cpp does not know the architecture}``.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from freehold.quantization.pack_converter import ARCHIVE


@dataclass(frozen=True)
class Job:
    """One file to write."""

    #: folder with config.json, tokenizer and safetensors files; no code in it is ever run
    source: str
    #: GGUF file to write
    target: str
    #: name of the type that matrices get: F16 or BF16
    kind: str
    #: tokens and their types of a byte-level BPE tokenizer, by number; empty for another kind of tokenizer
    tokens: list[str] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    #: pairs of tokens that are merged, first to last
    merges: list[str] = field(default_factory=list)
    #: llama.cpp's name of the rule by which such a tokenizer splits text
    rule: str = ""
    #: role -> number of a special token, e.g. bos
    special: dict[str, int] = field(default_factory=dict)
    #: whether every text starts with the start token
    adds_start: bool = False
    chat_template: str = ""
    licence: str = ""
    #: write the metadata and the tokenizer only
    vocabulary_only: bool = False

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def convert(job: Job) -> None:
    """Write the file. Raises what the converter raises, which can be anything."""
    import gguf
    import torch
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class  # type: ignore

    source = Path(job.source)
    with torch.inference_mode():
        settings = ModelBase.load_hparams(source, False)
        architecture = get_model_architecture(settings, ModelType.TEXT)
        kind = get_model_class(architecture, mmproj=False)
        if getattr(kind, "supports_mtp_export", False):
            kind.no_mtp = True  # heads that draft further tokens: the engine does not use them
        # the class itself: some architectures choose their tokenizer's form while they are made
        _use_tokenizer(kind, job)
        file_type = getattr(gguf.LlamaFileType, f"MOSTLY_{job.kind}")
        model: Any = kind(source, file_type, Path(job.target), model_name=source.name)
        model = getattr(model, "impl", model)  # some classes only choose another one
        if not job.vocabulary_only:
            model.prepare_tensors()
        model.prepare_metadata(vocab_only=job.vocabulary_only)
        _complete(model.gguf_writer, job)
        model.gguf_writer.write_header_to_file(path=model.fname_out)
        model.gguf_writer.write_kv_data_to_file()
        if not job.vocabulary_only:
            model.gguf_writer.write_tensors_to_file(progress=False)
        model.gguf_writer.close()


def _use_tokenizer(kind: Any, job: Job) -> None:
    """Let a class of the converter write this job's tokens, and not run code of the model to find them."""
    from conversion.base import TextModel  # type: ignore

    TextModel.get_vocab_base = lambda self: (job.tokens, job.types, job.rule)
    TextModel.get_vocab_base_pre = lambda self, tokenizer: job.rule
    if "set_vocab" not in vars(kind) or not hasattr(kind, "_freehold_set_vocab"):
        kind._freehold_set_vocab = kind.set_vocab  # noqa: SLF001

    def set_vocab(self: Any) -> None:
        try:
            kind._freehold_set_vocab(self)  # noqa: SLF001
        except Exception:  # what a missing file or token breaks there has no common class
            if job.tokens:
                self._set_vocab_gpt2()
            else:
                self._set_vocab_llama_hf()

    kind.set_vocab = set_vocab


def _complete(writer: Any, job: Job) -> None:
    """Put in what the model's own files say and the converter may have left out."""
    for role, number in job.special.items():
        getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(job.adds_start)
    if job.merges:
        writer.add_token_merges(job.merges)
    if job.licence:
        writer.add_license(job.licence)
    if job.chat_template:
        writer.add_chat_template(job.chat_template)


def _answer(line: str) -> dict[str, object]:
    try:
        convert(Job(**json.loads(line)))
    except Exception as error:  # the converter raises whatever its code for an architecture runs into
        unknown = isinstance(error, NotImplementedError)
        return {"error": str(error) or type(error).__name__, "unknown": unknown}
    return {}


def main() -> None:
    """Answer jobs until standard input ends."""
    # first: the converter's own package gguf comes from the archive
    sys.path.insert(0, str(ARCHIVE))
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # the converter prints
        for line in sys.stdin:
            print(json.dumps(_answer(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
