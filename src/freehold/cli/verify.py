"""freehold verify"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import Json, print_json
from freehold.core.json_types import JsonObject
from freehold.core.wording import counted

if TYPE_CHECKING:
    from freehold.models.store import Model, Store
    from freehold.trust.certificate import Checked

NAME = "verify"
NEEDS_ARGUMENTS = False


@dataclass(frozen=True)
class _Stored:
    """Sentences on stored models' damage, (model, certificate that holds), and models that have none."""

    faults: list[str]
    certified: list[tuple[str, Checked]]
    without: list[str]


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a model in the store, or a folder with a model and its evidence; the default is "
            "every stored model."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Check every byte of a model against its digest, its signature and its certificate.

    No network is needed. In a folder, a file that is missing, changed or not named by the certificate fails.

    Exit codes: 0 everything is valid; 6 something was changed, or is not signed by a key you trust;
    7 there is no such model or certificate; 14 the certificate has expired.

    Example: freehold verify handover/
    """
    from freehold.core import progress
    from freehold.core.errors import BadModel
    from freehold.models.store import Store

    if name and Path(name).is_dir() and _is_folder(name):
        _verify_folder(Path(name), json)
        return
    store = Store()
    models = [store.find(name)] if name else store.models()
    faults = store.verify(models, progress.for_stream())
    result = _Stored(faults, [], []) if faults else _certificates(store, models)
    if json:
        print_json(_as_json(models, result))
    elif not result.faults:
        _print(models, result)
    if result.faults:
        remedy = "pull it again, or restore the file from a backup"
        raise BadModel(
            "; ".join(result.faults), remedy if faults else "certify the model again, or fetch it again"
        )


def _is_folder(name: str) -> bool:
    """Whether a folder is meant, where a stored model may have the same name."""
    from freehold.core.errors import NotFound
    from freehold.models.store import Store
    from freehold.trust.certificate import FILE

    if (Path(name) / FILE).exists():
        return True
    try:
        Store().find(name)
    except NotFound:
        return True
    return False


def _verify_folder(folder: Path, json: bool) -> None:
    from freehold.trust import certificate
    from freehold.trust.keys import Keyring

    checked = certificate.check_folder(folder, Keyring())
    if json:
        print_json(
            {
                "folder": str(folder),
                "model": checked.says["model"],
                "files": checked.files,
                **_certificate_json(checked),
            }
        )
        return
    model = checked.says["model"]
    print(
        f"{model['name']}@{model['revision'][:12]}: {counted(len(checked.files), 'file')} as signed by "
        f"{_who(checked)}"
    )
    print(f"the certificate is valid until {checked.says['expires'][:10]}")
    for line in _unbound(checked):
        print(line)


def _certificates(store: Store, models: list[Model]) -> _Stored:
    """Each certificate checked; one that fails does not hide the next.

    Raises Expired where nothing else is wrong.
    """
    from freehold.core.errors import BadModel, Expired, NotFound
    from freehold.trust import certificate
    from freehold.trust.keys import Keyring

    result, expired = _Stored([], [], []), None
    for model in models:
        try:
            certificate.refuse_stripped(store, model)
            result.certified.append((model.name, certificate.check_stored(store, model, Keyring())))
        except NotFound:
            result.without.append(model.name)
        except BadModel as error:
            result.faults.append(f"{model.name}: {error.message}")
        except Expired as error:
            expired = error
    if expired is not None and not result.faults:
        raise expired
    return result


def _certificate_json(checked: Checked) -> JsonObject:
    return {
        "issued": checked.says["issued"],
        "expires": checked.says["expires"],
        "signed_by": {"name": checked.key.name, "id": checked.key.id},
        "not_bound": list(checked.not_bound),
    }


def _who(checked: Checked) -> str:
    return f"{checked.key.name} ({checked.key.id[:16]})"


def _unbound(checked: Checked) -> list[str]:
    if not checked.not_bound:
        return []
    names = ", ".join(checked.not_bound)
    return [
        f"not checked: {names}. The certificate is of an older format (version 1), which does not bind them: "
        "they may have been replaced or removed. Certifying the model again binds every file."
    ]


def _as_json(models: list[Model], result: _Stored) -> JsonObject:
    certified = [{"model": name, **_certificate_json(checked)} for name, checked in result.certified]
    return {
        "models": [model.name for model in models],
        "faults": result.faults,
        "certified": certified,
        "without_certificate": result.without,
    }


def _print(models: list[Model], result: _Stored) -> None:
    print(f"{counted(len(models), 'model is', 'models are')} as stored")
    for name, checked in result.certified:
        until = checked.says["expires"][:10]
        print(f"{name}: certificate valid until {until}, signed with {_who(checked)}")
        for line in _unbound(checked):
            print(line)
    for name in result.without:
        print(f"{name}: has no certificate")
