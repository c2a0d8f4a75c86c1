"""What an archive needs beside the model to run years later on a machine with no network: the engine's
wheels, and a program to ask it.

The wheels are those of llama-cpp-python and of what it needs, in the versions installed here, fetched or
built by pip with the user's own registry settings; they fit machines of this system, processor family and
Python version, which the note beside them names.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from freehold.core import atomic_files, engine_build
from freehold.core.errors import MissingPart, NotFound, Unsupported
from freehold.core.progress import Sink, task
from freehold.models.store import Model

ENGINE = engine_build.BUILT_PACKAGE

PROGRAM = '''"""Ask the model in this archive: python runtime/run.py "your question".

README.txt says how to install what it needs.
"""

import json
import pathlib
import sys

from llama_cpp import Llama, LlamaGrammar
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

PLAIN, PLAIN_STOP = "@plain", "@stop"
files = pathlib.Path(__file__).absolute().parent.parent / "files"
weights = next(files.glob("*.gguf"))
form = {"labels": [], "schema": None, "system": "", "shots": [], "plain": False, "max_tokens": 512}
if (files / "answer_form.json").exists():  # the form in which it was measured
    form = json.loads((files / "answer_form.json").read_text())
elif (files / "task.json").exists():  # an older tuned model: the form of its training rows
    rows = json.loads((files / "task.json").read_text())["train"]
    system = {row["messages"][0][1] if row["messages"][0][0] == "system" else "" for row in rows}
    form["system"] = system.pop() if len(system) == 1 else ""
messages = [message for shot in form["shots"] for message in shot]
messages.append({"role": "user", "content": " ".join(sys.argv[1:])})
if form["system"]:
    messages.insert(0, {"role": "system", "content": form["system"]})
more = {}
if form["labels"]:
    rule = "root ::= " + " | ".join(json.dumps(label, ensure_ascii=False) for label in form["labels"])
    more["grammar"] = LlamaGrammar.from_string(rule, verbose=False)
elif form["schema"]:
    more["grammar"] = LlamaGrammar.from_json_schema(json.dumps(form["schema"]), verbose=False)
model = Llama(str(weights), n_ctx=4096, verbose=False)
if form["plain"]:
    end = model._model.token_get_text(model.token_eos())
    plain = Jinja2ChatFormatter(PLAIN, eos_token=end, bos_token="", stop_token_ids=[model.token_eos()])
    model.chat_handler = plain.to_chat_handler()
    more["stop"] = [PLAIN_STOP]
answer = model.create_chat_completion(
    messages=messages, temperature=0.0, max_tokens=form["max_tokens"] or 512, **more
)
print(answer["choices"][0]["message"]["content"])
'''

NOTE = """The model {name}@{revision}, and what runs it without a network.

Unpack the archive, and in the folder that holds files/ and runtime/:

    sha256sum --check SHA256SUMS
    python3 -m venv runtime/env
    runtime/env/bin/pip install --no-index --find-links runtime/wheels {engine}
    runtime/env/bin/python runtime/run.py "your question"

The wheels are for {system} on {processor} with Python {python}. files/{weights} is a
plain GGUF file: any llama.cpp program of today or later reads it, on other machines too.
"""


def gather(
    model: Model, folder: Path, sink: Sink, *, plain_template: str, plain_stop: str
) -> dict[str, Path]:
    """Files of the archive's ``runtime/`` by name, the wheels put into ``folder``.

    ``plain_template``, ``plain_stop``: for models that were measured with the plain template. Raises
    Unsupported, MissingPart, NotFound.
    """
    if model.info.format != "gguf":
        raise Unsupported(
            f"{model.name} is {model.info.format}; a runtime is packed with GGUF models",
            "archive a GGUF of it, or leave --with-runtime out",
        )
    if engine_build.built() is None:
        raise MissingPart(
            "a runtime is packed with the text engine that was built here, and none was",
            "freehold engine build",
        )
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in _closure(ENGINE)]
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    _fetch_wheels(pinned, wheels, sink)
    weights = next(name for name in model.manifest if name.endswith(".gguf"))
    note = NOTE.format(
        name=model.name,
        revision=model.revision[:12],
        engine=ENGINE,
        system=platform.system(),
        processor=platform.machine(),
        python=".".join(platform.python_version_tuple()[:2]),
        weights=weights,
    )
    atomic_files.write_atomically(folder / "README.txt", note)
    atomic_files.write_atomically(folder / "run.py", program(plain_template, plain_stop))
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _fetch_wheels(pinned: list[str], wheels: Path, sink: Sink) -> None:
    """Put the wheels of packages into a folder. Raises MissingPart, NotFound."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--wheel-dir",
        str(wheels),
        *pinned,
    ]
    with task(
        sink, f"packing the runtime ({len(pinned)} wheels; the engine is built if pip has not kept it)"
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if "No module named pip" in done.stderr:
            raise MissingPart(
                "this environment has no pip, which fetches and builds wheels", "python -m ensurepip"
            )
        cause = next(
            (line for line in reversed(done.stderr.strip().splitlines()) if "ERROR" in line), "pip failed"
        )
        raise NotFound(
            f"the wheels of the runtime could not be fetched ({cause.removeprefix('ERROR: ')})",
            "check the network, or leave --with-runtime out",
        )


def program(plain_template: str, plain_stop: str) -> str:
    """The program that asks the model; the plain template is written into it."""
    return PROGRAM.replace('"@plain"', repr(plain_template)).replace('"@stop"', repr(plain_stop))


def _closure(name: str) -> list[str]:
    """A distribution and all it needs, as installed here."""
    names: dict[str, None] = {}
    pending = [name]
    while pending:
        one = pending.pop()
        if one.lower() in names:
            continue
        names[one.lower()] = None
        for line in importlib.metadata.requires(one) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    return list(names)
