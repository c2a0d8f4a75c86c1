"""Find a model: in the store, in the hub beside it, and in other hubs that the user named; ranked by what was
measured and what fits.

What another hub is asked for is what its API gives: names, tags, downloads, sizes of files and numbers of
weights. Where the shape of a model is not known, its memory is that of its weights, and the reason says so.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from freehold.core.errors import UsageError
from freehold.core.progress import Sink, silent, task
from freehold.hub import client
from freehold.hub.commits import Repository, check_repository_name
from freehold.hub.repositories import Repositories
from freehold.hub.search_index import SearchQuery
from freehold.hub.variants import Variant, variants
from freehold.models.info import ModelInfo, stated_licence
from freehold.models.store import Model, Store
from freehold.trial.evidence import Evidence, FinishedTrial, likeness, stated, trials, words
from freehold.trust import licence as licences
from freehold.workflows import fit as fitting

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo as HubModel

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

    hits: list[SearchHit]
    task: str
    likeness: float
    searched: list[str]


def find(
    store: Store, options: SearchOptions, hubs: tuple[str, ...] = (), token: str = "", sink: Sink = silent
) -> SearchResult:
    """Look in the store, in its hub, and in ``hubs`` (``hf`` or addresses).

    Raises NotFound for a hub that does not answer.
    """
    query = options.like or words([options.text])
    alikeness = {trial: likeness(query, trial.words) for trial in trials()}
    known = sorted(alikeness, key=alikeness.__getitem__, reverse=True)
    best = alikeness[known[0]] if known else 0.0
    rows = _in_store(store, options, known)
    seen = {row.digest for row in rows if row.digest}
    rows += [row for row in _in_hub(store, options, known) if row.digest not in seen]
    for hub in hubs:
        rows += _elsewhere(hub, options, token, sink)
    hits = [row for row in rows if _within_limits(row, options)]
    nearest = known[0].name if best >= ALIKE else ""
    return SearchResult(
        _ordered(hits, options, nearest)[: options.limit], nearest, best, ["the store", "its hub", *hubs]
    )


# -- where ----------------------------------------------------------------------------------------


def _in_store(store: Store, options: SearchOptions, past_trials: list[FinishedTrial]) -> list[SearchHit]:
    hits: list[SearchHit] = []
    for model in store.newest():
        evidence = _measured(past_trials, model.digest)
        texts = [
            model.name,
            model.info.architecture,
            model.info.licence,
            _readme(store, model),
            *(trial.name for trial in past_trials if trial.of(model.digest)),
        ]
        if _says(texts, options.text):
            row = _row(
                model.name,
                "store",
                "",
                model.digest,
                model.info,
                options,
                evidence,
                f"freehold serve {model.name}",
            )
            hits.append(replace(row, modified=model.created))
    return hits


def _readme(store: Store, model: Model) -> str:
    return store.file(model, "README.md").read_text(errors="replace") if "README.md" in model.manifest else ""


def _in_hub(store: Store, options: SearchOptions, past_trials: list[FinishedTrial]) -> list[SearchHit]:
    repositories = Repositories(store)
    tags = (options.format,) if options.format else ()
    sort = "modified" if options.sort == "modified" else "downloads"
    listed, _ = repositories.list(
        SearchQuery("model", text=options.text, tags=tags, sort=sort), limit=_LOOKED_AT
    )
    hits: list[SearchHit] = []
    for repository in listed:
        files = repositories.commit(repository, "main").files
        repository_variants = variants(repositories.contents, files, stated_licence(repository.card))
        for variant in (
            repository_variants
            if len(repository_variants) < 2
            else _chosen(repository_variants, options, past_trials)
        ):
            hits.append(
                _of_hub(
                    repository,
                    variant,
                    options,
                    past_trials,
                    several=sum(path.endswith(".gguf") for path in files) > 1,
                )
            )
    return hits


def _chosen(
    all_variants: list[Variant], options: SearchOptions, past_trials: list[FinishedTrial]
) -> list[Variant]:
    """The variants that were measured, and the largest that fits, or the smallest where none does."""
    candidates = [
        variant for variant in all_variants if variant.info.format == options.format or not options.format
    ]
    if not candidates:
        return []
    fits = [
        variant
        for variant in candidates
        if not options.memory_bytes or _fit("", variant.info, options)[1] != "won't fit"
    ]
    best = (
        max(fits, key=lambda variant: variant.info.size_bytes)
        if fits
        else min(candidates, key=lambda variant: variant.info.size_bytes)
    )
    return [
        variant
        for variant in candidates
        if variant is best or _measured(past_trials, variant.digest) is not None
    ]


def _of_hub(
    repository: Repository,
    variant: Variant,
    options: SearchOptions,
    past_trials: list[FinishedTrial],
    *,
    several: bool,
) -> SearchHit:
    evidence = _measured(past_trials, variant.digest) or stated(repository.card)
    get = f"freehold pull hub:{repository.name}" + (
        f":{variant.name}" if several and variant.info.format == "gguf" else ""
    )
    row = _row(
        repository.name,
        "hub",
        variant.name if variant.info.format == "gguf" else "",
        variant.digest,
        variant.info,
        options,
        evidence,
        get,
    )
    return replace(row, downloads=repository.downloads, modified=repository.modified)


#: What another hub is asked for about each model.
_PROPERTIES: Any = ["downloads", "tags", "lastModified", "cardData", "gguf", "safetensors"]


def _elsewhere(hub: str, options: SearchOptions, token: str, sink: Sink) -> list[SearchHit]:
    """The answer of another hub to the same query."""
    endpoint = "" if hub == "hf" else hub.rstrip("/")
    api = client.client(endpoint, token)
    hits: list[SearchHit] = []
    with client.explained(f"the list of {hub}"), task(sink, f"asking {hub}", 0, "models") as progress:
        for listed in api.list_models(
            search=options.text or None,
            filter=[options.format] if options.format else None,
            sort="last_modified" if options.sort == "modified" else "downloads",
            limit=_LOOKED_AT,
            expand=_PROPERTIES,
        ):
            check_repository_name(str(listed.id))  # it becomes part of a command that the user copies
            hits.append(_of_another_hub(listed, hub, endpoint, options))
            progress.more(1)
    return hits


def _of_another_hub(listed: HubModel, hub: str, endpoint: str, options: SearchOptions) -> SearchHit:
    """A model as another hub lists it."""
    card = dict(listed.card_data.to_dict()) if listed.card_data else {}
    tags = listed.tags or []
    licence = stated_licence(card) or next((tag[8:] for tag in tags if tag.startswith("license:")), "")
    header = dict(listed.gguf or {})
    parameters, origin = int(header.get("total") or 0), "the hub"
    if not parameters and listed.safetensors is not None:
        parameters = listed.safetensors.total
    if not parameters:
        parameters, origin = _from_name(listed.id), "its name"
    shape = ModelInfo(
        next((format for format in FORMATS if format in tags), ""),
        str(header.get("architecture") or ""),
        parameters,
        int(header.get("context_length") or 0),
        "",
        None,
        licence,
        "the hub",
        0,
    )
    setting = f"HF_ENDPOINT={endpoint} " if endpoint else ""
    get = f"{setting}freehold pull hf:{listed.id}"
    return replace(
        _row(listed.id, hub, "", "", shape, options, stated(card), get),
        parameters_from=origin if parameters else "",
        downloads=listed.downloads or 0,
        modified=listed.last_modified.timestamp() if listed.last_modified else 0.0,
    )


# -- what of it -----------------------------------------------------------------------------------


def _row(
    name: str,
    where: str,
    file: str,
    digest: str,
    card: ModelInfo,
    options: SearchOptions,
    evidence: Evidence | None,
    get: str,
) -> SearchHit:
    size, verdict, reason = _fit(name, card, options)
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


def _fit(name: str, card: ModelInfo, options: SearchOptions) -> tuple[int, str, str]:
    """(bytes, verdict, why) in the memory asked about: a GGUF as it is, others as the largest quantization
    that fits.
    """
    memory, fixed = options.memory_bytes, card.size_bytes if card.format == "gguf" else 0
    if not fixed and not card.parameters:
        return card.size_bytes, "", "its size is not known"
    if not memory:
        return card.size_bytes, "", ""
    plain = replace(card, format="gguf")
    tries = (
        [(card.quantization, fixed)]
        if fixed
        else [(kind, int(card.parameters * bits / 8)) for kind, bits in fitting.BITS.items()]
    )
    candidates = [
        (kind, size, fitting.fit(name, kind, plain, size, memory, options.context, None, stored=False))
        for kind, size in tries
    ]
    kind, size, fit = next(
        (candidate for candidate in candidates if candidate[2].verdict != "won't fit"), candidates[-1]
    )
    text = "" if fixed else f" as {kind}"
    unknown = "" if card.layers else ", its context not counted since the shape is not known"
    return (
        size,
        fit.verdict,
        (f"{fit.need_bytes / 2**30:.2f} GiB{text}{unknown}" if not card.layers else fit.reason + text),
    )


def _from_name(name: str) -> int:
    """Weights as a model's name has them, ``3B`` or ``135M``; 0 where it has none."""
    numbers = _IN_NAME.findall(name.rpartition("/")[2].replace("_", "-"))
    return int(float(numbers[-1][0]) * (1e9 if numbers[-1][1].lower() == "b" else 1e6)) if numbers else 0


def _measured(past_trials: list[FinishedTrial], digest: str) -> Evidence | None:
    """The figure of these weights in the trial that is most like the query."""
    return next((evidence for trial in past_trials if (evidence := trial.of(digest)) is not None), None)


def _says(texts: list[str], words: str) -> bool:
    """Whether every word of the query begins a word of the texts."""
    present = {word for text in texts for word in re.findall(r"[^\W_]+", text.lower())}
    return all(
        any(word.startswith(start) for word in present) for start in re.findall(r"[^\W_]+", words.lower())
    )


def _within_limits(row: SearchHit, options: SearchOptions) -> bool:
    """Whether a row meets the limits; what is not known meets none."""
    if options.format and row.format != options.format:
        return False
    if options.max_parameters and not 0 < row.parameters <= options.max_parameters:
        return False
    if options.memory_bytes and row.verdict not in ("ideal", "tight"):
        return False
    return licences.allowed(row.licence, options.licence_policy)[0] is True


def _ordered(rows: list[SearchHit], options: SearchOptions, nearest: str) -> list[SearchHit]:
    """Best first: figures on the likest task by their lower bound, figures on others, what cards state, then
    downloads.
    """

    def measured(row: SearchHit) -> tuple[float, ...]:
        evidence = row.evidence
        if evidence is None:
            return (0.0, 0.0, row.downloads)
        if not evidence.trial:
            return (1.0, 0.0, row.downloads)
        return (3.0 if evidence.task == nearest else 2.0, evidence.low or 0.0, row.downloads)

    keys = {
        "measured": measured,
        "downloads": lambda row: (row.downloads,),
        "size": lambda row: (-row.size_bytes,),
        "modified": lambda row: (row.modified,),
    }
    return sorted(rows, key=keys[options.sort], reverse=True)


def parse_parameters(text: str) -> int:
    """``3B`` or ``135M`` -> how many. Raises UsageError for neither."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bBmM])", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a number of parameters", "write for example 3B or 135M")
    return int(float(match[1]) * (1e9 if match[2] in "bB" else 1e6))
