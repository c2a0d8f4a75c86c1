"""freehold verify"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.output import Json, print_json

NAME = "verify"
NEEDS_ARGUMENTS = False


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="NAME of a stored model, or a FOLDER with a model and its evidence; every stored model if left out"
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Read every byte of a model again and hold it against its digest, its signature and its certificate. Needs no network.

    Exit codes: 0 all holds; 6 something was changed, or is signed by nobody you trust; 7 there is no such model or certificate; 14 expired.

    Example: freehold verify handover/
    """
    from freehold import progress
    from freehold.errors import BadModel
    from freehold.hub.store import Store
    from freehold.trust import certificate
    from freehold.trust.keys import Keyring

    folder = Path(name)
    if name and folder.is_dir() and (folder / certificate.FILE).exists():
        checked = certificate.check(folder, folder, Keyring())
        told: dict[str, Any] = {
            "folder": name,
            "model": checked.says["model"],
            "files": checked.files,
            "expires": checked.says["expires"],
        }
        _tell(told | {"signed_by": {"name": checked.key.name, "id": checked.key.id}}, json)
        return
    store = Store()
    models = [store.find(name)] if name else store.models()
    faults = store.verify(models, progress.for_stream())
    certified: list[dict[str, Any]] = []
    for model in models:
        if (certificate.place(store, model) / certificate.FILE).exists() and not faults:
            checked = certificate.check(store.folder_of(model), certificate.place(store, model), Keyring())
            certified.append(
                {
                    "model": model.name,
                    "expires": checked.says["expires"],
                    "signed_by": {"name": checked.key.name, "id": checked.key.id},
                }
            )
    if json:
        print_json({"models": [model.name for model in models], "faults": faults, "certified": certified})
    elif not faults:
        print(f"{len(models)} {'model is' if len(models) == 1 else 'models are'} as stored")
        for one in certified:
            print(
                f"{one['model']}: certificate holds until {one['expires'][:10]}, signed with {one['signed_by']['name']}"
            )
    if faults:
        raise BadModel("; ".join(faults), "pull it again, or restore the file from a backup")


def _tell(told: dict[str, Any], json: bool) -> None:
    if json:
        print_json(told)
        return
    print(
        f"{told['model']['name']}@{told['model']['revision'][:12]}: {len(told['files'])} files are what {told['signed_by']['name']} signed"
    )
    print(f"the certificate holds until {told['expires'][:10]}")
