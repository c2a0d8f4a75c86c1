"""Pack llama.cpp's converter from the source package of the engine.

    pip download llama-cpp-python==0.3.36 --no-deps --no-binary :all:
    python -m freehold.quantization.pack_converter llama_cpp_python-0.3.36.tar.gz

``make setup`` does both. The archive holds the folders ``conversion`` and ``gguf`` of llama.cpp, unchanged,
and its licence. No others are ever run: their sha256 is in this file.
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from freehold.core import atomic_files
from freehold.core.errors import BadData, FreeholdError, MissingPart, UsageError

ARCHIVE = Path(__file__).parent / "llama_cpp_converter.zip"
#: sha256 of the list of files that is packed from ``ENGINE``.
DIGEST = "b193b5355e1c25526aaadb70f0b8d0f16fcec7ecc62bcb014f91c1d0cee3e641"
ENGINE = "llama-cpp-python==0.3.36"
#: Folder in llama.cpp's source -> folder in the archive.
FOLDERS = {"conversion": "conversion", "gguf-py/gguf": "gguf"}
FILES = {"LICENSE": "LICENSE"}
#: A zip file has no time zone, and nothing before 1980.
_TIME = (1980, 1, 1, 0, 0, 0)


def require() -> None:
    """Raises MissingPart where the archive is not there, or is not the one that was checked."""
    remedy = (
        "run make setup, or: pip download "
        f"{ENGINE} --no-deps --no-binary :all:; python -m freehold.quantization.pack_converter FILE"
    )
    if not ARCHIVE.exists():
        raise MissingPart("llama.cpp's converter is not installed", remedy)
    with zipfile.ZipFile(ARCHIVE) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if digest_of(files) != DIGEST:
        raise MissingPart("llama.cpp's converter is not the one that Freehold was checked with", remedy)


def digest_of(files: dict[str, bytes]) -> str:
    """sha256 over names and contents, in the order of the names."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pack(source: Path) -> None:
    """Write the archive from a source package (``.tar.gz``). Raises BadData for another one."""
    try:
        with tarfile.open(source) as package:
            files = _converter_files(package)
    except (OSError, tarfile.TarError) as error:
        raise BadData(f"{source} cannot be read ({error})", f"pass the source package of {ENGINE}") from error
    if digest_of(files) != DIGEST:
        raise BadData(f"{source} is not the source package of {ENGINE}", "download that version")
    with atomic_files.replacing(ARCHIVE) as part, zipfile.ZipFile(part, "w") as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _TIME), data, zipfile.ZIP_DEFLATED)


def _converter_files(package: tarfile.TarFile) -> dict[str, bytes]:
    """Name in the archive -> contents."""
    files: dict[str, bytes] = {}
    for member in package.getmembers():
        parts = PurePosixPath(member.name).parts[1:]
        if parts[:2] != ("vendor", "llama.cpp") or not member.isfile():
            continue
        inside = "/".join(parts[2:])
        name = FILES.get(inside)
        for folder, target in FOLDERS.items():
            if inside.startswith(f"{folder}/") and inside.endswith(".py") and "/scripts/" not in inside:
                name = target + inside.removeprefix(folder)
        opened = package.extractfile(member) if name else None
        if name and opened:
            files[name] = opened.read()
    return files


def main() -> None:
    """Pack the file named on the command line."""
    try:
        if len(sys.argv) != 2:
            raise UsageError("one argument is needed: the source package", f"the .tar.gz of {ENGINE}")
        pack(Path(sys.argv[1]))
    except FreeholdError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
