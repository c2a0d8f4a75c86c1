"""freehold scan"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import Json, print_json
from freehold.core.wording import counted

NAME = "scan"


def command(
    path: Annotated[Path, typer.Argument(help="File or folder to scan.")],
    json: Json = False,
) -> None:
    """Scan the files of a model for dangerous content, without loading or running them.

    Exit code 6 if anything is found.

    Example: freehold scan downloads/model
    """
    from freehold.core.errors import BadModel, NotFound
    from freehold.trust.scan import scan

    if not path.exists():
        raise NotFound(f"there is no file or folder {path}", "check the path")
    files = (
        {path.name: path}
        if path.is_file()
        else {
            entry.relative_to(path).as_posix(): entry
            for entry in sorted(path.rglob("*"))
            if not entry.is_dir() or entry.is_symlink()
        }
    )
    findings = scan(files)
    if json:
        print_json({"files": len(files), "findings": [vars(entry) for entry in findings]})
    else:
        print(
            "\n".join(str(entry) for entry in findings)
            or f"{counted(len(files), 'file')}, nothing dangerous found"
        )
    if findings:
        raise BadModel(
            f"{counted(len({finding.file for finding in findings}), 'file')} of {len(files)} may be "
            "dangerous",
            "do not load them; ask for safetensors or GGUF",
        )
