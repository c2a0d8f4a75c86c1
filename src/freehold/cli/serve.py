"""freehold serve"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from freehold.cli.listening import AllowHost, Connections, ConnectionsEach, limits, site
from freehold.cli.output import Json, print_json, say
from freehold.cli.permission import Override

if TYPE_CHECKING:
    from freehold.models.store import Store

NAME = "serve"


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            help="NAMES of models in the store; each is opened when it is first asked for, the first one now"
        ),
    ],
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME of a tuned model to serve as an adapter on its base's weights; may be repeated."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8601,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs keys.")
    ] = "127.0.0.1",
    key_env: Annotated[
        str,
        typer.Option(
            help="Environment variable that holds a key clients may send, beside those of 'freehold key'."
        ),
    ] = "",
    parallel: Annotated[int, typer.Option(help="Answers at once, of each model.", min=1, max=128)] = 8,
    context: Annotated[
        int, typer.Option(help="Tokens of all running answers of a model together.", min=64)
    ] = 8192,
    memory: Annotated[
        str, typer.Option(help="Memory for all models, e.g. 8GiB; those unused longest are closed beyond it.")
    ] = "",
    states: Annotated[
        str, typer.Option(help="Disk for the states of long prompts, kept over restarts; 0B keeps none.")
    ] = "2GiB",
    waiting: Annotated[
        int, typer.Option(help="Requests that may wait before others are told to come later (429).", min=1)
    ] = 64,
    deadline: Annotated[
        float, typer.Option(help="Seconds an answer may take at most; 0: no limit.", min=0)
    ] = 600.0,
    guessing: Annotated[
        bool,
        typer.Option(
            "--guessing/--no-guessing",
            help="Offer tokens by look-up: answers that quote their input come faster.",
        ),
    ] = True,
    reproducible: Annotated[
        bool,
        typer.Option(
            "--reproducible",
            help="Give each answer an equal share of --context to itself: at temperature 0 the same request is then "
            "answered alike, whatever else is asked.",
        ),
    ] = False,
    form: Annotated[
        bool,
        typer.Option(
            "--form/--no-form",
            help="Ask models as they were measured: labels, worked examples and system message of their answer form.",
        ),
    ] = True,
    share_prompts: Annotated[
        Literal["all", "group", "key"],
        typer.Option(
            help="Whose prompts are reused for a request that begins alike: key (its own key's), group (its key's group, "
            "else its key), all (everybody's, whose times then tell of each other's prompts)."
        ),
    ] = "group",
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate file, for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key file of the certificate.")] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(help="Address of a web page that may ask from a browser; may be repeated."),
    ] = None,
    traces: Annotated[
        str,
        typer.Option(
            help="Address of an OpenTelemetry collector (OTLP over HTTP), e.g. http://127.0.0.1:4318."
        ),
    ] = "",
    log_prompts: Annotated[
        Path | None,
        typer.Option(help="FOLDER to write prompts and answers to; without it they are written nowhere."),
    ] = None,
    log_days: Annotated[
        int, typer.Option(help="Days that each day's file of prompts is kept, with --log-prompts.", min=0)
    ] = 0,
    engine: Annotated[
        str, typer.Option(help="llama.cpp, or vllm on a machine with a GPU where vLLM is installed.")
    ] = "llama.cpp",
    replicas: Annotated[
        int,
        typer.Option(
            help="Servers behind one address, by Ray Serve; on the cluster of RAY_ADDRESS, or here.", min=1
        ),
    ] = 1,
    override: Override = "",
    cores: Annotated[int, typer.Option(help="Processor cores of each replica.", min=1)] = 1,
    until_stdin_closes: Annotated[
        bool,
        typer.Option(
            "--until-stdin-closes",
            help="End when standard input closes, as it does when the program that started this one ends.",
        ),
    ] = False,
    allow_host: AllowHost = None,
    connections: Connections = 0,
    connections_each: ConnectionsEach = 256,
    json: Json = False,
) -> None:
    """Serve models to clients of OpenAI's, Anthropic's and Ollama's APIs. Ctrl-C lets what is under way end.

    Example: freehold serve smollm2 --port 8601, then point a client's base URL at http://127.0.0.1:8601/v1
    """
    from freehold.core import settings
    from freehold.core.errors import UsageError
    from freehold.core.units import parse_bytes
    from freehold.models.store import Store
    from freehold.servers.inference.app import ServerOptions, check_key, serve
    from freehold.servers.inference.model_pool import EngineOptions
    from freehold.servers.listening import is_loopback
    from freehold.trust.gate import permit_models

    settings.go_quiet()
    allowed = site(host, allow_host or (), cors or ())
    key = settings.secret(key_env, "key")
    store = Store()
    check_key(store, host, key)
    _check_tls(tls_certificate, tls_key)
    if not override:  # refused before a model is converted; an override is recorded by the server itself
        permit_models(store, "serve", [store.find(name) for name in [*names, *(adapter or [])]])

    if engine == "vllm":
        from freehold.servers.inference import vllm

        if unheard := [
            f"--{name}"
            for name, given in (
                ("memory", memory),
                ("traces", traces),
                ("reproducible", reproducible),
                ("log-prompts", log_prompts),
                ("replicas", replicas > 1),
                ("json", json),
                ("allow-host", allow_host),
                ("connections", connections),
            )
            if given
        ]:
            raise UsageError(f"{unheard[0]} says nothing to vLLM", "leave it out, or leave out --engine vllm")
        vllm.refuse_forms(store, [*names, *(adapter or [])] if form else [])
        words = vllm.command(store, names, list(adapter or []), host=host, port=port, context=context, parallel=parallel, certificate=tls_certificate,
                             private_key=tls_key, origins=list(cors or ()), override=override, say=say)  # fmt: skip
        if not is_loopback(host) and not key:
            raise UsageError(
                f"listening on {host} lets others in, and vLLM knows one key only, which is not given",
                "give it with --key-env",
            )
        say(" ".join(words))
        vllm.run(words, vllm.environment(key))
        return
    _turn_into_gguf(store, names, engine)
    _end_with_stdin(until_stdin_closes)
    _say_forms(store, [*names, *(adapter or [])] if form and not json else [])

    def ready(address: str) -> None:
        if json:
            print_json({"models": [*names, *(adapter or [])], "base_url": f"{address}/v1"})
            import sys

            sys.stdout.flush()
        else:
            say(f"serving {', '.join([*names, *(adapter or [])])} at {address}/v1 (Ctrl-C ends it)")

    terms = EngineOptions(
        context,
        parallel,
        parse_bytes(memory, "--memory", positive=True) if memory else 0,
        parse_bytes(states, "--states"),
        guessing,
        reproducible,
        forms=form,
        sharing=share_prompts,
    )
    chosen = ServerOptions(
        is_loopback(host),
        key,
        waiting,
        deadline,
        site=allowed,
        limits=limits(connections, connections_each),
        traces=traces,
        log_folder=log_prompts,
        log_days=log_days,
        terms=terms,
    )
    if replicas > 1:
        import signal
        import threading

        from freehold.servers.inference import replicas as cluster

        if tls_certificate is not None:
            raise UsageError(
                "Ray's proxy serves no https itself",
                "put a proxy with the certificate before it, or serve one replica",
            )
        ended = threading.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: ended.set())
        cluster.run(
            store,
            names,
            list(adapter or []),
            chosen,
            replicas=replicas,
            cores=cores,
            host=host,
            port=port,
            ready=ready,
            ended=ended,
            override=override,
            say=say,
        )
        return
    serve(
        store,
        names,
        list(adapter or []),
        chosen,
        host=host,
        port=port,
        ready=ready,
        certificate=tls_certificate,
        private_key=tls_key,
        override=override,
        say=say,
    )


def _check_tls(certificate: Path | None, private_key: Path | None) -> None:
    """Raises UsageError where one is without the other, NotFound."""
    from freehold.core.errors import NotFound, UsageError

    if (certificate is None) != (private_key is None):
        raise UsageError(
            "a certificate and its private key go together", "give both --tls-certificate and --tls-key"
        )
    for file in (certificate, private_key):
        if file is not None and not file.is_file():
            raise NotFound(f"there is no file {file}", "check --tls-certificate and --tls-key")
    if private_key is not None and private_key.stat().st_mode & 0o004:
        say(f"everybody on this machine can read the private key {private_key}: chmod o-r {private_key}")


def _say_forms(store: Store, names: list[str]) -> None:
    """Say of each model how it is asked. Raises BadModel."""
    from freehold.models.answer_form import of_model

    for name in names:
        if (how := of_model(store, store.find(name))) is not None:
            say(f"{name} is asked as it was measured: {how.sentence()} (--no-form: as it stands)")


def _end_with_stdin(asked: bool) -> None:
    """Interrupt this process when its standard input closes, where that is asked for."""
    if not asked:
        return
    import os
    import signal
    import sys
    import threading

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _turn_into_gguf(store: Store, names: list[str], engine: str) -> None:
    """Turn what is not GGUF into GGUF, where the server finds it, and say so. Raises Unsupported, UsageError."""
    from freehold.core import progress
    from freehold.core.errors import UsageError
    from freehold.inference.embeddings import is_embedder
    from freehold.runtime.gguf_form import as_gguf

    if engine != "llama.cpp":
        raise UsageError(f"--engine {engine!r} is neither llama.cpp nor vllm", "leave it out")
    for name in names:
        model = store.find(name)
        if is_embedder(list(model.manifest)):
            continue
        form = as_gguf(store, model, sink=progress.for_stream())
        if form is not model:
            say(f"{name} is served by llama.cpp in its GGUF form, {form.name}")
