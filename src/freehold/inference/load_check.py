"""Whether an engine here loads a model, asked before the model is stored: names and shapes of every tensor,
none of its weights read.

llama.cpp and transformers each have their own idea of what an architecture holds, so they are asked, in a
process of its own: native code that aborts on a foreign file must not take the program along. llama.cpp
allocates nothing then, and transformers builds the model without memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from freehold.core import settings
from freehold.core.errors import BadModel, FreeholdError, Unsupported, from_json, to_json
from freehold.models import file_selection

_LONGEST_S = 300
#: Letters of several alphabets, marks and a line break: what a tokenizer must be able to cut.
_SAMPLE = "Grüße, 世界!\n\t3.14 — Привет"


def try_out(files: Mapping[str, Path], folder: Path) -> None:
    """Raises BadModel or Unsupported where the engine of these files, named as they will be stored, does not
    load them.

    ``folder``: where links to them under their names may lie meanwhile.
    """
    weights = linked(files, folder / "model")
    command = [sys.executable, "-P", "-m", "freehold.inference.load_check", str(weights)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
            env=settings.without_secrets(),
        )
    except subprocess.TimeoutExpired as error:
        raise BadModel(
            f"{weights.name} could not be checked within {_LONGEST_S} s", "choose another model"
        ) from error
    if done.returncode:
        said = [
            line.strip()
            for line in done.stderr.splitlines()
            if any(mark in line for mark in ("what():", "ASSERT", "Error"))
        ]
        reason = (said or [f"exit {done.returncode}"])[-1]
        raise BadModel(
            f"the engine crashed while loading {weights.name} ({reason[:160]})",
            "fetch it again, or choose another",
        )
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if answer:
        raise from_json(answer)


def linked(files: Mapping[str, Path], view: Path) -> Path:
    """What an engine loads: the GGUF file, or the folder ``view`` of links to the files under their names."""
    for name, path in files.items():
        (view / name).parent.mkdir(parents=True, exist_ok=True)
        (view / name).unlink(missing_ok=True)
        (view / name).symlink_to(path.absolute())
    return next((view / name for name in files if name.endswith(".gguf")), view)


def load(weights: Path) -> None:
    """Load a GGUF file or a safetensors folder without its weights. Raises BadModel, Unsupported."""
    if weights.is_dir():
        _with_transformers(weights)
    else:
        _with_llama(weights)


def _with_llama(weights: Path) -> None:
    from freehold.inference import llama

    lib = llama.library()
    params = lib.llama_model_default_params()
    params.no_alloc, params.load_mode = True, lib.LLAMA_LOAD_MODE_NONE
    heard: list[str] = []
    with llama.heard(heard.append):
        model = lib.llama_model_load_from_file(os.fsencode(weights), params)
    if model:
        # a vocabulary without a token for each byte ends llama.cpp's process at the first text that needs one
        llama.LlamaTokenizer(model=model).encode(_SAMPLE, start=True)
        lib.llama_model_free(model)
        return
    said = next(
        (
            line.rpartition("error loading model: ")[2].strip()
            for line in heard
            if "error loading model: " in line
        ),
        "no reason given",
    )
    if "unknown model architecture" in said:
        name = said.rpartition(":")[2].strip()
        raise Unsupported(
            f"this version of llama.cpp does not support the architecture {name}",
            "choose another model, or update Freehold",
        )
    if "unknown pre-tokenizer" in said:
        raise Unsupported(
            f"this version of llama.cpp does not support the model's tokenizer ({said[:120]})",
            "get a newer GGUF of the model, or update Freehold",
        )
    raise BadModel(
        f"llama.cpp cannot load {weights.name} ({said[:200]})", "fetch it again, or choose another model"
    )


def _with_transformers(folder: Path) -> None:
    import transformers

    from freehold.inference import transformers_engine
    from freehold.inference.embeddings import HEADS, is_embedder

    transformers.utils.logging.disable_progress_bar()
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if is_embedder(names):
        transformers_engine.load(transformers.AutoModel, folder, beside=HEADS, device_map="meta")
        return
    transformers_engine.load(transformers.AutoModelForCausalLM, folder, device_map="meta")
    if file_selection.has_tokenizer(names):
        transformers_engine.HfTokenizer(folder)


def main() -> None:
    """Look at the weights named on the command line and print what keeps them out, as JSON; nothing but
    braces where nothing does.
    """
    settings.go_quiet()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answer
    answer: dict[str, str] = {}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            load(Path(sys.argv[1]))
    except FreeholdError as error:
        answer = to_json(error)
    print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
