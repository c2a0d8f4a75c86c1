"""Which build of llama.cpp computes texts here: found by looking, without loading it.

Two kinds come from packages. **Built**: llama-cpp-python, compiled for this very processor or card by
``freehold engine build``. **Prebuilt**: the library in xllamacpp's wheel, which needs no compiler and uses
AVX2 on x86. The built one is used where it is installed, the prebuilt one until then. ``FREEHOLD_ENGINE``
chooses otherwise: ``built``, ``prebuilt``, or a folder that holds a llama.cpp of one's own.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from freehold.core.cpu_facts import cpu_flags
from freehold.core.errors import MissingPart, UsageError

#: The environment variable that chooses a build.
VARIABLE = "FREEHOLD_ENGINE"
BUILT, PREBUILT = "built", "prebuilt"
#: Distribution and version of each kind. The bindings are made for these two
#: (:mod:`freehold.inference.llama_api`).
BUILT_PACKAGE, BUILT_VERSION = "llama-cpp-python", "0.3.36"
PREBUILT_PACKAGE, PREBUILT_VERSION = "xllamacpp", "2026.9.11063"
#: What the prebuilt library's instructions need of an x86 processor.
PREBUILT_FLAGS = frozenset({"avx2", "fma", "f16c", "bmi2"})
#: Parts of ggml's libraries' names, each a kind of card.
_CARDS = ("cuda", "hip", "vulkan", "metal", "sycl", "musa")
_BUILD = "freehold engine build"


@dataclass(frozen=True)
class EngineBuild:
    """A build of llama.cpp. ``llama`` and ``ggml``: the libraries with its functions and with ggml's, the
    same file where both are in one. ``cards``: kinds of cards it was built for.
    """

    kind: str
    package: str
    version: str
    llama: Path
    ggml: Path
    cards: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Short and exact, for reports and digests: ``llama-cpp-python 0.3.36, cuda``."""
        return ", ".join((f"{self.package} {self.version}", *self.cards))

    def __str__(self) -> str:
        """For people."""
        where = {
            BUILT: "built on this machine",
            PREBUILT: f"prebuilt; for full speed: {_BUILD}",
        }
        return f"llama.cpp of {self.name} ({where.get(self.kind, f'from {self.llama.parent}')})"


def choose() -> EngineBuild:
    """The build to use. Raises MissingPart if there is none or the processor cannot run it, UsageError for a
    wrong ``FREEHOLD_ENGINE``.
    """
    choice = os.environ.get(VARIABLE, "")
    if choice not in ("", BUILT, PREBUILT):
        return _in_folder(Path(choice).expanduser())
    build = None
    if choice != PREBUILT:
        build = built()
    if build is None and choice != BUILT:
        build = _prebuilt()
    if build is None:
        raise _missing(choice)
    return build


def available() -> list[EngineBuild]:
    """The builds of packages that are installed here, the one that is used by default first."""
    return [build for build in (built(), _prebuilt()) if build is not None]


def hold(build: EngineBuild) -> None:
    """Let this process and those it starts use this build from now on, even if another is installed
    meanwhile.
    """
    os.environ[VARIABLE] = build.kind if build.kind in (BUILT, PREBUILT) else str(build.llama.parent)


def named(name: str) -> EngineBuild | None:
    """The build of that name, where it is here."""
    return next((build for build in (choose(), *available()) if build.name == name), None)


def built() -> EngineBuild | None:
    """The build that was compiled on this machine, where there is one."""
    folder = _package_folder("llama_cpp", BUILT_PACKAGE)
    return (
        None if folder is None else _libraries(folder / "lib", BUILT, BUILT_PACKAGE, _version(BUILT_PACKAGE))
    )


def _prebuilt() -> EngineBuild | None:
    folder = _package_folder("xllamacpp", PREBUILT_PACKAGE)
    library = next(iter(sorted(folder.glob("xllamacpp*.so"))), None) if folder else None
    if library is None:  # on Windows the library keeps its functions to itself
        return None
    return EngineBuild(PREBUILT, PREBUILT_PACKAGE, _version(PREBUILT_PACKAGE), library, library)


def _in_folder(folder: Path) -> EngineBuild:
    build = _libraries(folder, "folder", "llama.cpp", "") if folder.is_dir() else None
    if build is None:
        raise UsageError(
            f"{VARIABLE}={folder}: there is no {_file_name('llama')} in such a folder",
            f"set it to {BUILT}, {PREBUILT}, or the folder of llama.cpp's shared libraries",
        )
    digest = hashlib.sha256(build.llama.read_bytes() + build.ggml.read_bytes()).hexdigest()
    return EngineBuild(build.kind, build.package, digest[:12], build.llama, build.ggml, build.cards)


def _libraries(folder: Path, kind: str, package: str, version: str) -> EngineBuild | None:
    """The build whose shared libraries lie in a folder; None if they do not."""
    llama, ggml = folder / _file_name("llama"), folder / _file_name("ggml-base")
    if not (llama.exists() and ggml.exists()):
        return None
    cards = tuple(card for card in _CARDS if (folder / _file_name(f"ggml-{card}")).exists())
    return EngineBuild(kind, package, version, llama, ggml, cards)


def _file_name(library: str) -> str:
    if sys.platform == "win32":
        return f"{library}.dll"
    return f"lib{library}.{'dylib' if sys.platform == 'darwin' else 'so'}"


def _package_folder(module: str, distribution: str) -> Path | None:
    """Where a package lies, not imported. A package that is being installed has no RECORD yet, and counts as
    absent.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    try:
        complete = importlib.metadata.distribution(distribution).read_text("RECORD") is not None
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(next(iter(spec.submodule_search_locations))) if complete else None


def _version(distribution: str) -> str:
    return importlib.metadata.version(distribution)


def check_processor(build: EngineBuild) -> None:
    """Raises MissingPart where the processor lacks instructions of the prebuilt library: it would end the
    process.
    """
    flags = cpu_flags()
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if build.kind == PREBUILT and x86 and flags and (lacking := PREBUILT_FLAGS - flags):
        raise MissingPart(
            f"the prebuilt text engine needs a processor with {', '.join(sorted(lacking))}",
            f"build it for this processor: {_BUILD}",
        )


def _missing(choice: str) -> MissingPart:
    if choice == PREBUILT:
        return MissingPart(
            f"{VARIABLE}={PREBUILT}, but the prebuilt text engine is not installed",
            f"pip install {PREBUILT_PACKAGE}=={PREBUILT_VERSION}, or unset {VARIABLE}",
        )
    if choice == BUILT or sys.platform == "win32":
        why = (
            f"{VARIABLE}={BUILT}, but"
            if choice == BUILT
            else "there is no prebuilt text engine for Windows, and"
        )
        return MissingPart(f"{why} none was built here", f"{_BUILD} (needs a C++ compiler and some minutes)")
    return MissingPart(
        "the text engine is not installed",
        f"pip install {PREBUILT_PACKAGE}=={PREBUILT_VERSION}, or build it: {_BUILD}",
    )
