"""The same trial or server on a rented card: task files for SkyPilot and dstack, and what they cost.

Nothing is rented and nothing is sent here. :func:`plan` says which files would leave this machine and what
an hour costs; :func:`write` writes the task files. Prices are never guessed: they come from the person, or
from the catalogue that SkyPilot keeps on this machine, with its date.
"""

from __future__ import annotations

import csv
import importlib.metadata
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml  # noqa: TID251  # written only; what is read goes through freehold.core.yaml_text

from freehold.core import atomic_files
from freehold.core.errors import UsageError
from freehold.core.wording import did_you_mean
from freehold.models.store import Model, Store

#: Verbs that can run on a rented machine.
VERBS = ("trial", "serve")
#: Options of those verbs that name a file, which is sent.
FILE_OPTIONS = ("--valid", "--test", "--task", "--labels", "--rival")
#: The option that brings the hourly price into the break-even.
PRICE_OPTION = "--hardware-per-hour"
#: Folders on the rented machine.
REMOTE_FILES, REMOTE_REPORT = "~/freehold-files", "~/freehold-report"
#: Where a server listens on the rented machine; it is reached through an SSH tunnel, so no port is open.
PORT = 8601
#: File names of what is written.
SKYPILOT, DSTACK = "skypilot.yaml", "dstack.dstack.yml"


@dataclass(frozen=True)
class Card:
    """The card to rent."""

    #: as SkyPilot and dstack name it, e.g. ``L4`` or ``H100``
    name: str
    count: int = 1


@dataclass(frozen=True)
class Price:
    """Dollars per hour for the machine, and where that figure is from."""

    dollars_per_hour: float
    source: str


@dataclass(frozen=True)
class Sent:
    """A file that leaves this machine."""

    #: "rows" or "model"
    kind: str
    path: Path
    #: bytes; of a model, those of its files in the store
    size_bytes: int
    #: the command that makes the file; empty where it exists
    made_by: str = ""


@dataclass(frozen=True)
class RentPlan:
    """What would run where, what would leave this machine, and what an hour costs."""

    card: Card
    #: the command on the rented machine
    command: tuple[str, ...]
    sent: tuple[Sent, ...]
    #: what pip installs on the rented machine
    requirement: str
    #: None where no price is known on this machine
    price: Price | None

    @property
    def verb(self) -> str:
        """``trial`` or ``serve``."""
        return self.command[0]

    @property
    def name(self) -> str:
        """The name of the task."""
        return f"freehold-{self.verb}"


def parse_card(text: str) -> Card:
    """``L4`` or ``H100:2``. Raises UsageError."""
    matched = re.fullmatch(r"([A-Za-z][A-Za-z0-9-]*)(?::([1-9]\d?))?", text)
    if matched is None:
        raise UsageError(f"--card {text} is not a card", "write its name and how many, e.g. L4 or H100:2")
    return Card(matched[1], int(matched[2] or 1))


def plan(
    store: Store,
    arguments: Sequence[str],
    card: Card,
    requirement: str = "",
    catalogue: Path | None = None,
    *,
    spellings: Mapping[str, bool],
) -> RentPlan:
    """What ``freehold ARGUMENTS`` would take on a rented machine. Raises UsageError, NotFound.

    ``catalogue``: SkyPilot's folder of catalogues; the default is where SkyPilot keeps it. ``spellings``: the
    options of the verb as the command line has them, each with whether it takes a value.
    """
    if not arguments or arguments[0] not in VERBS:
        raise UsageError(
            f"freehold {' '.join(arguments[:1])} cannot be rented for",
            "write the command to run after --, e.g. freehold rent --dry-run --card L4 -- trial rows.jsonl",
        )
    verb, *rest = arguments
    options, positional = _parsed(verb, rest, spellings)
    if not positional:
        raise UsageError(f"freehold {verb} needs an argument", f"see freehold {verb} --help")
    price = _price(options, card, catalogue or Path("~/.sky/catalogs").expanduser())
    models = _models(store, positional if verb == "serve" else options.get("--model", []))
    rows = [] if verb == "serve" else [positional[0]]
    rows += [value for option in FILE_OPTIONS for value in options.get(option, [])]
    sent = [*(_rows(path) for path in rows), *(_archive(model) for model in models)]
    names = [entry.path.name for entry in sent]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"two files are named {repeated[0]}, and all go to one folder", "rename one of the files"
        )
    return RentPlan(
        card,
        tuple(_remote(arguments, rows, price if verb == "trial" else None)),
        tuple(sent),
        requirement or f"freehold=={importlib.metadata.version('freehold')}",
        price,
    )


def _parsed(
    verb: str, arguments: Sequence[str], spellings: Mapping[str, bool]
) -> tuple[dict[str, list[str]], list[str]]:
    """(values by option, positional arguments) of a command. Raises UsageError."""
    options: dict[str, list[str]] = {}
    positional: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if not argument.startswith("-"):
            positional.append(argument)
            continue
        name, equals, value = argument.partition("=")
        if name not in spellings:
            raise UsageError(
                f"freehold {verb} has no option {name}",
                f"{did_you_mean(name, spellings)}See freehold {verb} --help",
            )
        if not spellings[name]:
            continue
        if not equals and not left:
            raise UsageError(f"{name} has no value", "write the value after the option")
        options.setdefault(name, []).append(value if equals else left.pop(0))
    return options, positional


def _models(store: Store, names: Sequence[str]) -> list[Model]:
    """The models that are sent. Raises UsageError where none is named, NotFound."""
    if not names:
        raise UsageError(
            "no model is named, so every model in the store would be sent",
            "name those to send with --model",
        )
    return [store.find(name) for name in dict.fromkeys(names)]


def _rows(text: str) -> Sent:
    """A file of rows. Raises UsageError for what is not a file on this machine."""
    path = Path(text)
    if not path.is_file():
        raise UsageError(f"{text} is not a file on this machine", "pass the rows as a file")
    return Sent("rows", path, path.stat().st_size)


def _archive(model: Model) -> Sent:
    """A model as the archive that the rented machine restores."""
    path = Path(f"{model.name.replace('/', '-')}.tar")
    size = sum(size for _, size in model.manifest.values())
    return Sent("model", path, size, f"freehold archive {shlex.quote(model.name)} -o {path}")


def _remote(arguments: Sequence[str], rows: Sequence[str], price: Price | None) -> Iterator[str]:
    """The command with the paths of the rented machine, and with the price of an hour."""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if equals and option in FILE_OPTIONS:
            yield f"{option}={REMOTE_FILES}/{Path(value).name}"
        else:
            yield f"{REMOTE_FILES}/{Path(argument).name}" if argument in rows else argument
    if arguments[0] == "trial":
        yield from ("--yes", "--out", REMOTE_REPORT)
        if price is not None and not any(entry.startswith(PRICE_OPTION) for entry in arguments):
            yield from (PRICE_OPTION, f"{price.dollars_per_hour:g}")
    else:
        yield from ("--port", str(PORT))


# -- the price ------------------------------------------------------------------------------------------


def _price(options: dict[str, list[str]], card: Card, catalogue: Path) -> Price | None:
    """The price that the command names, else the cheapest of SkyPilot's catalogue, else none."""
    if given := options.get(PRICE_OPTION):
        from freehold.costs.money import parse_range

        return Price(parse_range(given[-1], PRICE_OPTION).central, f"set by {PRICE_OPTION}")
    offers = [offer for file in sorted(catalogue.glob("*/*/vms.csv")) for offer in _offers(file, card)]
    return min(offers, key=lambda offer: offer.dollars_per_hour, default=None)


def _offers(file: Path, card: Card) -> Iterator[Price]:
    """Prices of on-demand machines with this card in one cloud's catalogue."""
    day = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    with file.open(newline="", encoding="utf-8") as opened:
        for row in csv.DictReader(opened):
            named = (row.get("AcceleratorName") or "").lower() == card.name.lower()
            if named and float(row.get("AcceleratorCount") or 0) == card.count and row.get("Price"):
                where = f"{file.parent.name}, {row.get('InstanceType') or 'machine'}, {row.get('Region')}"
                yield Price(float(row["Price"]), f"SkyPilot's catalogue of {day} on this machine: {where}")


# -- the files ------------------------------------------------------------------------------------------


def skypilot(plan: RentPlan) -> str:
    """The task file for ``sky launch``."""
    setup, run = _scripts(plan)
    task: dict[str, Any] = {
        "name": plan.name,
        "resources": {"accelerators": f"{plan.card.name}:{plan.card.count}"},
        "file_mounts": {_remote_path(sent): f"./{sent.path.name}" for sent in plan.sent},
        "setup": setup,
        "run": run,
    }
    return _yaml(plan, task, f"sky launch -c {plan.name} -i 30 {SKYPILOT}")


def dstack(plan: RentPlan) -> str:
    """The run file for ``dstack apply``."""
    setup, run = _scripts(plan)
    task: dict[str, Any] = {
        "type": "task",
        "name": plan.name,
        "python": "3.11",
        "files": [f"./{sent.path.name}:{_remote_path(sent)}" for sent in plan.sent],
        "commands": [*setup.splitlines(), *run.splitlines()],
        "resources": {"gpu": f"{plan.card.name}:{plan.card.count}"},
    }
    if plan.verb == "serve":
        task["ports"] = [str(PORT)]
    return _yaml(plan, task, f"dstack apply -f {DSTACK}")


def _remote_path(sent: Sent) -> str:
    return f"{REMOTE_FILES}/{sent.path.name}"


def _scripts(plan: RentPlan) -> tuple[str, str]:
    """(what prepares the rented machine, what runs there)."""
    restored = [f"freehold restore {_quoted(_remote_path(s))}" for s in plan.sent if s.kind == "model"]
    setup = "\n".join([f"pip install {shlex.quote(plan.requirement)}", *restored])
    return setup, "freehold " + " ".join(_quoted(part) for part in plan.command)


def _quoted(part: str) -> str:
    """For the shell; a leading ``~/`` stays what it is."""
    return f"~/{shlex.quote(part[2:])}" if part.startswith("~/") else shlex.quote(part)


def _yaml(plan: RentPlan, task: dict[str, Any], command: str) -> str:
    comments = [f"# {' '.join(line.splitlines())}" for line in leaving(plan)]
    head = "\n".join([*comments, f"# {price_sentence(plan)}", f"# start it with: {command}"])
    return f"{head}\n{yaml.safe_dump(task, sort_keys=False, width=100)}"


# -- what is said ---------------------------------------------------------------------------------------


def leaving(plan: RentPlan) -> list[str]:
    """What leaves this machine when the task is started, a line for each file."""
    lines = ["When you start this task, these files leave this machine, for the cloud that you rent from:"]
    for sent in plan.sent:
        made = f"; make it with: {sent.made_by}" if sent.made_by else ""
        lines.append(f"  {sent.kind}: {sent.path} ({sent.size_bytes / 1e6:,.1f} MB){made}")
    return lines


def price_sentence(plan: RentPlan) -> str:
    """What an hour costs and where the figure is from; where there is none, how to give one."""
    card = f"{plan.card.count} x {plan.card.name}"
    if plan.price is None:
        return (
            f"The price of {card} is not known: SkyPilot's catalogue is not on this machine or does not have "
            f"it. Pass {PRICE_OPTION} DOLLARS after the verb; 'sky gpus list' downloads the catalogue."
        )
    return f"An hour with {card} costs ${plan.price.dollars_per_hour:g} ({plan.price.source})."


def write(plan: RentPlan, folder: Path) -> tuple[Path, Path]:
    """Write the task files for SkyPilot and dstack into ``folder``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / SKYPILOT, folder / DSTACK
    for file, text in zip(files, (skypilot(plan), dstack(plan)), strict=True):
        atomic_files.write_atomically(file, text)
    return files
