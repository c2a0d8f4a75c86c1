"""llama.cpp's C interface is bound as llama-cpp-python binds it, and another version's library is refused."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from freehold.core import engine_build
from freehold.core.engine_build import EngineBuild
from freehold.core.errors import MissingPart, Unsupported
from freehold.inference import llama_api
from freehold.inference.llama_api import LlamaLibrary

theirs: Any = pytest.importorskip("llama_cpp").llama_cpp
STRUCTURES = (
    "llama_batch",
    "llama_model_params",
    "llama_context_params",
    "llama_model_imatrix_data",
    "llama_model_quantize_params",
)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_lie_as_in_llama_cpp_pythons_bindings(name: str) -> None:
    ours, other = getattr(llama_api, name), getattr(theirs, name)
    assert ctypes.sizeof(ours) == ctypes.sizeof(other)
    assert [field for field, _ in ours._fields_] == [field for field, *_ in other._fields_]
    for field, _ in ours._fields_:
        assert getattr(ours, field).offset == getattr(other, field).offset, field
        assert getattr(ours, field).size == getattr(other, field).size, field


def _size(kind: Any) -> tuple[int, str]:
    """Bytes of a C type and its kind; of pointers and callbacks only that they are some."""
    if kind is None:
        return 0, ""
    code = getattr(kind, "_type_", "")
    return ctypes.sizeof(kind), code if isinstance(code, str) and code not in ("P", "z") else "pointer"


@pytest.mark.parametrize("name", sorted(llama_api.LLAMA_FUNCTIONS))
def test_functions_take_and_give_what_they_do_in_llama_cpp_pythons_bindings(name: str) -> None:
    result, arguments = llama_api.LLAMA_FUNCTIONS[name]
    other = getattr(theirs, name)
    assert [_size(kind) for kind in (result, *arguments)] == [
        _size(kind) for kind in (other.restype, *other.argtypes)
    ]


@pytest.mark.parametrize("kind", ["built", "prebuilt"])
def test_both_packages_libraries_pass_the_check(kind: str) -> None:
    build = next((build for build in engine_build.available() if build.kind == kind), None)
    if build is None:
        pytest.skip(f"no {kind} engine is installed")
    library = LlamaLibrary(build)
    assert library.instructions
    assert library.llama_model_default_params().n_gpu_layers == -1


def test_a_process_stays_with_the_build_that_it_loaded_though_another_is_installed() -> None:
    program = (
        "from freehold.core import engine_build; from freehold.inference.llama import library\n"
        "before = engine_build.built; engine_build.built = lambda: None\n"
        "loaded = library().build; engine_build.built = before\n"
        "print(loaded == engine_build.choose(), loaded.kind)"
    )
    environment = {name: value for name, value in os.environ.items() if name != engine_build.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "True prebuilt\n"


def test_what_a_library_lacks_is_refused_when_it_is_used() -> None:
    prebuilt = next((build for build in engine_build.available() if build.kind == "prebuilt"), None)
    if prebuilt is None:
        pytest.skip("no prebuilt engine is installed")
    library = LlamaLibrary(prebuilt)
    assert not library.holds("llama_model_quantize")
    with pytest.raises(
        Unsupported, match="holds no llama_model_quantize; build one that can: freehold engine"
    ):
        _ = library.llama_model_quantize


#: A library whose context parameters are those of a later llama.cpp: eight bytes more in the middle.
LATER = """
#include <string.h>
struct model { char bytes[72]; char flags[8]; };
struct context { int words[32]; void *more; char flags[8]; void *rest[3]; };
struct model llama_model_default_params(void) {
  struct model m; memset(&m, 0, sizeof m);
  int *w = (int *)m.bytes; w[4] = -1; w[5] = 1; w[6] = -1; w[7] = 1; m.flags[2] = 1; return m;
}
struct context llama_context_default_params(void) {
  struct context c; memset(&c, 0, sizeof c); c.words[0] = 512; return c;
}
"""


@pytest.mark.parametrize("source", [LATER, "int nothing(void) { return 0; }"], ids=["later", "other"])
def test_another_versions_library_is_refused(source: str, tmp_path: Path) -> None:
    (tmp_path / "l.c").write_text(source)
    library = tmp_path / "libllama.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "l.c"], check=True)
    with pytest.raises(Unsupported, match="another version of llama.cpp.*(has more than|has no)"):
        LlamaLibrary(EngineBuild("folder", "llama.cpp", "x", library, library))


def test_a_library_that_the_system_cannot_load_is_said(tmp_path: Path) -> None:
    file = tmp_path / "libllama.so"
    file.write_text("not a library")
    with pytest.raises(MissingPart, match=r"cannot load the text engine's libllama\.so"):
        LlamaLibrary(EngineBuild("folder", "llama.cpp", "x", file, file))
