"""Forms of answers work with whichever llama.cpp is loaded, and leave its log alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.core import engine_build

SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["sum"],
    "additionalProperties": False,
}
#: Answers with a schema and says which modules were imported for it.
PROGRAM = """
import json, sys
from pathlib import Path
from freehold.inference import grammar
from freehold.inference.engines import open_weights
from freehold.inference.request import GenerationRequest
from freehold.inference.interface import OpenOptions

path, schema = sys.argv[1:]
engine = open_weights(Path(path), OpenOptions(context_length=256))
prompt = tuple(engine.vocabulary.encode("What is 2 plus 2? As JSON:", start=True))
request = GenerationRequest(prompt, 20, grammar=grammar.of_schema(json.loads(schema)))
((_, answer),) = engine.generate([request])
print(json.dumps([answer.text, "llama_cpp" in sys.modules]))
"""


@pytest.mark.parametrize("build", engine_build.available(), ids=lambda build: build.kind)
def test_a_schema_holds_with_every_build_and_without_llama_cpp_python(
    build: engine_build.EngineBuild, smollm2: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(smollm2), json.dumps(SCHEMA)],
        env={**os.environ, engine_build.VARIABLE: build.kind},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    text, other_bindings = json.loads(done.stdout)
    assert set(json.loads(text)) == {"sum"}
    assert not other_bindings
