"""Find a model: in the store, in the hub beside it, and in other hubs that the user named; ranked by what was
measured and what fits.

What another hub is asked for is what its API gives: names, tags, downloads, sizes of files and numbers of
weights. Where the shape of a model is not known, its memory is that of its weights, and the reason says so.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from freehold.core.errors import UsageError
from freehold.core.progress import Sink, silent, task
from freehold.hub import client
from freehold.hub.repositories import Repositories, Repository, check_repository_name
from freehold.hub.search_index import SearchQuery
from freehold.hub.variants import Variant, variants
from freehold.models.info import ModelInfo, stated_licence
from freehold.models.store import Model, Store
from freehold.trial.evidence import Evidence, Tried, likeness, stated, trials, words
from freehold.trust import licence as licences
from freehold.workflows import fit as fitting

SORTS = ("measured", "downloads", "size", "modified")
FORMATS = ("gguf", "safetensors")
#: Repositories of one hub that are looked into.
_LOOKED_AT = 100
#: Less likeness than this is chance: ordinary words that any two texts share.
ALIKE = 0.15
_IN_NAME = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class SearchOptions:
    """What is looked for. ``memory_bytes`` 0: any size; ``max_parameters`` 0: any; ``like``: the words of the
    user's own rows.
    """

    text: str = ""
    format: str = ""
    licence_policy: str = "any"
    max_parameters: int = 0
    memory_bytes: int = 0
    context: int = 2048
    sort: str = "measured"
    like: Counter[str] | None = None
    limit: int = 20


@dataclass(frozen=True)
class SearchHit:
    """A model that may do. ``where``: store, hub, or another hub's address; ``get``: the command that fetches
    or runs it.
    """

    name: str
    where: str
    file: str
    digest: str
    format: str
    parameters: int
    parameters_from: str
    size_bytes: int
    licence: str
    verdict: str
    reason: str
    downloads: int
    modified: float
    evidence: Evidence | None
    get: str


@dataclass(frozen=True)
class SearchResult:
    """What was found, best first; the trial whose task is most like the one asked about, and how alike; what
    was asked.
    """

    found: list[SearchHit]
    task: str
    likeness: float
    asked: list[str]


def find(
    store: Store, wanted: SearchOptions, hubs: tuple[str, ...] = (), token: str = "", sink: Sink = silent
) -> SearchResult:
    """Look in the store, in its hub, and in ``hubs`` (``hf`` or addresses).

    Raises NotFound for a hub that does not answer.
    """
    asking = wanted.like or words([wanted.text])
    alike = {one: likeness(asking, one.words) for one in trials()}
    known = sorted(alike, key=alike.__getitem__, reverse=True)
    best = alike[known[0]] if known else 0.0
    rows = _in_store(store, wanted, known)
    seen = {row.digest for row in rows if row.digest}
    rows += [row for row in _in_hub(store, wanted, known) if row.digest not in seen]
    for hub in hubs:
        rows += _elsewhere(hub, wanted, token, sink)
    kept = [row for row in rows if _wanted(row, wanted)]
    nearest = known[0].name if best >= ALIKE else ""
    return SearchResult(
        _ordered(kept, wanted, nearest)[: wanted.limit], nearest, best, ["the store", "its hub", *hubs]
    )


# -- where ----------------------------------------------------------------------------------------


def _in_store(store: Store, wanted: SearchOptions, known: list[Tried]) -> list[SearchHit]:
    found: list[SearchHit] = []
    for model in store.newest():
        evidence = _measured(known, model.digest)
        told = [
            model.name,
            model.info.architecture,
            model.info.licence,
            _readme(store, model),
            *(one.name for one in known if one.of(model.digest)),
        ]
        if _says(told, wanted.text):
            row = _row(
                model.name,
                "store",
                "",
                model.digest,
                model.info,
                wanted,
                evidence,
                f"freehold serve {model.name}",
            )
            found.append(replace(row, modified=model.created))
    return found


def _readme(store: Store, model: Model) -> str:
    return store.file(model, "README.md").read_text(errors="replace") if "README.md" in model.manifest else ""


def _in_hub(store: Store, wanted: SearchOptions, known: list[Tried]) -> list[SearchHit]:
    repositories = Repositories(store)
    tags = (wanted.format,) if wanted.format else ()
    sort = "modified" if wanted.sort == "modified" else "downloads"
    listed, _ = repositories.list(
        SearchQuery("model", text=wanted.text, tags=tags, sort=sort), limit=_LOOKED_AT
    )
    found: list[SearchHit] = []
    for one in listed:
        files = repositories.commit(one, "main").files
        all_of_it = variants(repositories.contents, files, stated_licence(one.card))
        for variant in all_of_it if len(all_of_it) < 2 else _chosen(all_of_it, wanted, known):
            found.append(
                _of_hub(
                    one, variant, wanted, known, several=sum(path.endswith(".gguf") for path in files) > 1
                )
            )
    return found


def _chosen(several: list[Variant], wanted: SearchOptions, known: list[Tried]) -> list[Variant]:
    """The variants that were measured, and the largest that fits, or the smallest where none does."""
    own = [one for one in several if one.info.format == wanted.format or not wanted.format]
    if not own:
        return []
    fits = [one for one in own if not wanted.memory_bytes or _fit("", one.info, wanted)[1] != "won't fit"]
    best = (
        max(fits, key=lambda one: one.info.size_bytes)
        if fits
        else min(own, key=lambda one: one.info.size_bytes)
    )
    return [one for one in own if one is best or _measured(known, one.digest) is not None]


def _of_hub(
    one: Repository, variant: Variant, wanted: SearchOptions, known: list[Tried], *, several: bool
) -> SearchHit:
    evidence = _measured(known, variant.digest) or stated(one.card)
    get = f"freehold pull hub:{one.name}" + (
        f":{variant.name}" if several and variant.info.format == "gguf" else ""
    )
    row = _row(
        one.name,
        "hub",
        variant.name if variant.info.format == "gguf" else "",
        variant.digest,
        variant.info,
        wanted,
        evidence,
        get,
    )
    return replace(row, downloads=one.downloads, modified=one.modified)


def _elsewhere(hub: str, wanted: SearchOptions, token: str, sink: Sink) -> list[SearchHit]:
    """Another hub's answer to the same question."""
    endpoint = "" if hub == "hf" else hub.rstrip("/")
    api = client.client(endpoint, token)
    found: list[SearchHit] = []
    sort = "last_modified" if wanted.sort == "modified" else "downloads"
    with client.explained(f"the list of {hub}"), task(sink, f"asking {hub}", 0, "models") as progress:
        properties: Any = ["downloads", "tags", "lastModified", "cardData", "gguf", "safetensors"]
        for one in api.list_models(
            search=wanted.text or None,
            filter=[wanted.format] if wanted.format else None,
            sort=sort,
            limit=_LOOKED_AT,
            expand=properties,
        ):
            check_repository_name(str(one.id))  # it becomes part of a command that the user copies
            card = dict(one.card_data.to_dict()) if one.card_data else {}
            licence = stated_licence(card) or next(
                (tag[8:] for tag in one.tags or [] if tag.startswith("license:")), ""
            )
            own = dict(one.gguf or {})
            parameters, origin = int(own.get("total") or 0), "the hub"
            format = (
                "gguf"
                if "gguf" in (one.tags or [])
                else "safetensors"
                if "safetensors" in (one.tags or [])
                else ""
            )
            if not parameters and one.safetensors is not None:
                parameters = one.safetensors.total
            if not parameters:
                parameters, origin = _from_name(one.id), "its name"
            shape = ModelInfo(
                format,
                str(own.get("architecture") or ""),
                parameters,
                int(own.get("context_length") or 0),
                "",
                None,
                licence,
                "the hub",
                0,
            )
            evidence = stated(card)
            get = (
                f"freehold pull hf:{one.id}"
                if not endpoint
                else f"HF_ENDPOINT={endpoint} freehold pull hf:{one.id}"
            )
            row = _row(one.id, hub, "", "", shape, wanted, evidence, get)
            modified = one.last_modified.timestamp() if one.last_modified else 0.0
            found.append(
                replace(
                    row,
                    parameters_from=origin if parameters else "",
                    downloads=one.downloads or 0,
                    modified=modified,
                )
            )
            progress.more(1)
    return found


# -- what of it -----------------------------------------------------------------------------------


def _row(
    name: str,
    where: str,
    file: str,
    digest: str,
    card: ModelInfo,
    wanted: SearchOptions,
    evidence: Evidence | None,
    get: str,
) -> SearchHit:
    size, verdict, reason = _fit(name, card, wanted)
    return SearchHit(
        name,
        where,
        file,
        digest,
        card.format,
        card.parameters,
        "its header" if card.parameters else "",
        size,
        card.licence,
        verdict,
        reason,
        0,
        0.0,
        evidence,
        get,
    )


def _fit(name: str, card: ModelInfo, wanted: SearchOptions) -> tuple[int, str, str]:
    """(bytes, verdict, why) in the memory asked about: a GGUF as it is, others as the largest quantization
    that fits.
    """
    memory, fixed = wanted.memory_bytes, card.size_bytes if card.format == "gguf" else 0
    if not fixed and not card.parameters:
        return card.size_bytes, "", "how large it is nobody says"
    if not memory:
        return card.size_bytes, "", ""
    plain = replace(card, format="gguf")
    tries = (
        [(card.quantization, fixed)]
        if fixed
        else [(kind, int(card.parameters * bits / 8)) for kind, bits in fitting.BITS.items()]
    )
    looks = [
        (kind, size, fitting.fit(name, kind, plain, size, memory, wanted.context, None, stored=False))
        for kind, size in tries
    ]
    kind, size, fit = next((look for look in looks if look[2].verdict != "won't fit"), looks[-1])
    made = "" if fixed else f" as {kind}"
    unknown = "" if card.layers else ", its context not counted since the shape is not known"
    return (
        size,
        fit.verdict,
        (f"{fit.need_bytes / 2**30:.2f} GiB{made}{unknown}" if not card.layers else fit.reason + made),
    )


def _from_name(name: str) -> int:
    """Weights as a model's name has them, ``3B`` or ``135M``; 0 where it has none."""
    found = _IN_NAME.findall(name.rpartition("/")[2].replace("_", "-"))
    return int(float(found[-1][0]) * (1e9 if found[-1][1].lower() == "b" else 1e6)) if found else 0


def _measured(known: list[Tried], digest: str) -> Evidence | None:
    """The figure of the trial most like what is asked about, of those that measured these weights."""
    return next((evidence for one in known if (evidence := one.of(digest)) is not None), None)


def _says(texts: list[str], asked: str) -> bool:
    """Whether every word asked for begins a word of the texts."""
    there = {word for text in texts for word in re.findall(r"[^\W_]+", text.lower())}
    return all(
        any(word.startswith(start) for word in there) for start in re.findall(r"[^\W_]+", asked.lower())
    )


def _wanted(row: SearchHit, wanted: SearchOptions) -> bool:
    """Whether a row meets the limits; what is not known meets none."""
    if wanted.format and row.format != wanted.format:
        return False
    if wanted.max_parameters and not 0 < row.parameters <= wanted.max_parameters:
        return False
    if wanted.memory_bytes and row.verdict not in ("ideal", "tight"):
        return False
    return licences.allowed(row.licence, wanted.licence_policy)[0] is True


def _ordered(rows: list[SearchHit], wanted: SearchOptions, nearest: str) -> list[SearchHit]:
    """Best first: figures on the likest task by their lower bound, figures on others, what cards state, then
    downloads.
    """

    def measured(row: SearchHit) -> tuple[float, ...]:
        own = row.evidence
        if own is None:
            return (0.0, 0.0, row.downloads)
        if not own.trial:
            return (1.0, 0.0, row.downloads)
        return (3.0 if own.task == nearest else 2.0, own.low or 0.0, row.downloads)

    keys = {
        "measured": measured,
        "downloads": lambda row: (row.downloads,),
        "size": lambda row: (-row.size_bytes,),
        "modified": lambda row: (row.modified,),
    }
    return sorted(rows, key=keys[wanted.sort], reverse=True)


def parse_parameters(text: str) -> int:
    """``3B`` or ``135M`` -> how many. Raises UsageError for neither."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bBmM])", text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no number of parameters", "write for example 3B or 135M")
    return int(float(found[1]) * (1e9 if found[2] in "bB" else 1e6))
