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
    from freehold.servers.inference.options import ServerOptions
    from freehold.servers.inference.replicas import Cluster
    from freehold.servers.inference.vllm import VllmOptions

NAME = "serve"


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            help="NAMES of models in the store. The first is opened now, each other when it is first used."
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
        str, typer.Option(help="Address to listen on. Any address but loopback needs a key.")
    ] = "127.0.0.1",
    key_env: Annotated[
        str,
        typer.Option(
            help="Environment variable with a key that clients may send, beside those of 'freehold key'."
        ),
    ] = "",
    parallel: Annotated[
        int, typer.Option(help="Answers at the same time, of each model.", min=1, max=128)
    ] = 8,
    context: Annotated[
        int, typer.Option(help="Tokens of all running answers of a model together.", min=64)
    ] = 8192,
    gpu_layers: Annotated[
        int | None,
        typer.Option(
            help="Layers of each model on graphics cards; the default is as many as fit there.", min=0
        ),
    ] = None,
    memory: Annotated[
        str,
        typer.Option(
            help="Memory for all models, for example 8GiB. Beyond it the least recently used are closed."
        ),
    ] = "",
    states: Annotated[
        str,
        typer.Option(help="Disk space for computed states of long prompts, kept over restarts; 0B for none."),
    ] = "2GiB",
    waiting: Annotated[
        int, typer.Option(help="Maximum queue length; beyond it requests get 429.", min=1)
    ] = 64,
    deadline: Annotated[
        float, typer.Option(help="Longest time for an answer in seconds; 0: no limit.", min=0)
    ] = 600.0,
    guessing: Annotated[
        bool,
        typer.Option(
            "--guessing/--no-guessing",
            help="Use prompt-lookup speculative decoding, which speeds up answers that quote their input.",
        ),
    ] = True,
    reproducible: Annotated[
        bool,
        typer.Option(
            "--reproducible",
            help="At temperature 0 give the same answer to the same request, whatever else is asked. "
            "Each answer gets an equal share of --context.",
        ),
    ] = False,
    form: Annotated[
        bool,
        typer.Option(
            "--form/--no-form",
            help="Use each model's answer form: the labels, worked examples and system message of its trial.",
        ),
    ] = True,
    share_prompts: Annotated[
        Literal["all", "group", "key"],
        typer.Option(
            help="Who shares computed prompts that begin alike: key (nobody), group (a group's keys) or all. "
            "With all, response times reveal how other keys' prompts begin."
        ),
    ] = "group",
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate file, for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key file of the certificate.")] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of a web page that may use this server from a browser; may be repeated. Example: "
            "https://chat.example.org"
        ),
    ] = None,
    traces: Annotated[
        str,
        typer.Option(
            help="Address of an OpenTelemetry collector (OTLP over HTTP), for example http://127.0.0.1:4318."
        ),
    ] = "",
    log_prompts: Annotated[
        Path | None,
        typer.Option(help="FOLDER to log prompts and answers to. Without it they are not logged."),
    ] = None,
    log_days: Annotated[int, typer.Option(help="Days to keep each file of --log-prompts.", min=0)] = 0,
    engine: Annotated[
        str, typer.Option(help="llama.cpp, or vllm on a machine with a GPU where vLLM is installed.")
    ] = "llama.cpp",
    replicas: Annotated[
        int,
        typer.Option(
            help="Number of servers behind one address, by Ray Serve, on the cluster of RAY_ADDRESS or here.",
            min=1,
        ),
    ] = 1,
    override: Override = "",
    cores: Annotated[int, typer.Option(help="Processor cores of each replica.", min=1)] = 1,
    until_stdin_closes: Annotated[
        bool,
        typer.Option(
            "--until-stdin-closes",
            help="Shut down when standard input closes, as when the program that started this one ends.",
        ),
    ] = False,
    allow_host: AllowHost = None,
    connections: Connections = 0,
    connections_each: ConnectionsEach = 256,
    json: Json = False,
) -> None:
    """Serve models with OpenAI's, Anthropic's and Ollama's APIs. Ctrl-C finishes open requests and stops.

    Example: freehold serve smollm2 --port 8601, then use the base URL http://127.0.0.1:8601/v1 in a client
    """
    from freehold.core import settings
    from freehold.core.units import parse_bytes
    from freehold.models.store import Store
    from freehold.servers.inference.access import check_key
    from freehold.servers.inference.options import PoolOptions, ServerOptions
    from freehold.servers.inference.replicas import Cluster
    from freehold.servers.inference.vllm import VllmOptions
    from freehold.servers.listening import is_loopback
    from freehold.trust.gate import permit_models

    settings.go_quiet()
    allowed = site(host, allow_host or (), cors or ())
    key = settings.secret(key_env, "key")
    store, adapters = Store(), list(adapter or [])
    all_names = [*names, *adapters]
    check_key(store, host, key)
    _check_tls(tls_certificate, tls_key)
    if not override:  # denied before a model is converted; an override is recorded by the server itself
        permit_models(store, "serve", [store.find(name) for name in all_names])

    if engine == "vllm":
        _check_vllm_options(
            {
                "memory": memory,
                "traces": traces,
                "reproducible": reproducible,
                "log-prompts": log_prompts,
                "replicas": replicas > 1,
                "json": json,
                "allow-host": allow_host,
                "connections": connections,
                "gpu-layers": gpu_layers is not None,
            }
        )
        vllm_options = VllmOptions(host, port, context, parallel, tls_certificate, tls_key, list(cors or ()))
        _serve_by_vllm(store, names, adapters, vllm_options, key, form, override)
        return
    _convert_to_gguf(store, names, engine)
    if until_stdin_closes:
        _shut_down_with_stdin()
    if form and not json:
        _say_forms(store, all_names)
    options = ServerOptions(
        loopback=is_loopback(host),
        key=key,
        queue_length=waiting,
        deadline_s=deadline,
        site=allowed,
        limits=limits(connections, connections_each),
        traces=traces,
        log_folder=log_prompts,
        log_days=log_days,
        engine=PoolOptions(
            context_length=context,
            parallel=parallel,
            gpu_layers=gpu_layers,
            memory_bytes=parse_bytes(memory, "--memory", positive=True) if memory else 0,
            state_bytes=parse_bytes(states, "--states"),
            prompt_lookup=guessing,
            reproducible=reproducible,
            forms=form,
            sharing=share_prompts,
        ),
    )
    if replicas > 1:
        _check_no_tls(tls_certificate)
        _serve_replicas(store, names, adapters, options, Cluster(replicas, cores, host, port), json, override)
        return
    from freehold.servers.inference.app import serve

    serve(
        store,
        names,
        adapters,
        options,
        host=host,
        port=port,
        ready=lambda address: _say_ready(all_names, address, json, llama=True),
        tls=(tls_certificate, tls_key) if tls_certificate and tls_key else None,
        override=override,
        say=say,
    )


def _say_ready(names: list[str], address: str, json: bool, *, llama: bool = False) -> None:
    if json:
        import sys

        print_json({"models": names, "base_url": f"{address}/v1"})
        sys.stdout.flush()
    else:
        say(f"serving {', '.join(names)} at {address}/v1 (Ctrl-C to stop)")
        if llama:
            from freehold.core import engine_build

            say(f"text engine: {engine_build.choose()}")


def _check_tls(certificate: Path | None, private_key: Path | None) -> None:
    """Raises UsageError where only one of the two is named, NotFound where a file is missing."""
    from freehold.core.errors import NotFound, UsageError

    if (certificate is None) != (private_key is None):
        raise UsageError(
            "https needs both a certificate and its private key", "pass --tls-certificate and --tls-key"
        )
    for file in (certificate, private_key):
        if file is not None and not file.is_file():
            raise NotFound(f"there is no file {file}", "check --tls-certificate and --tls-key")
    if private_key is not None and private_key.stat().st_mode & 0o004:
        say(f"everybody on this machine can read the private key {private_key}: chmod o-r {private_key}")


def _check_no_tls(certificate: Path | None) -> None:
    """Raises UsageError for https with replicas."""
    from freehold.core.errors import UsageError

    if certificate is not None:
        raise UsageError(
            "https is not possible with --replicas",
            "put a proxy with the certificate before the server, or serve one replica",
        )


def _check_vllm_options(values: dict[str, object]) -> None:
    """Raises UsageError for an option with a value that vLLM does not have. ``values``: by option."""
    from freehold.core.errors import UsageError

    for name, value in values.items():
        if value:
            raise UsageError(f"--{name} does not work with vLLM", "leave it out, or leave out --engine vllm")


def _serve_by_vllm(
    store: Store,
    names: list[str],
    adapters: list[str],
    options: VllmOptions,
    key: str,
    form: bool,
    override: str,
) -> None:
    """Serve with vLLM's own server. Raises UsageError, Unsupported, MissingPart, StepFailed."""
    from freehold.core.errors import UsageError
    from freehold.servers.inference import vllm
    from freehold.servers.listening import is_loopback

    if form:
        vllm.refuse_forms(store, [*names, *adapters])
    words = vllm.command(store, names, adapters, options, override=override, say=say)
    if not is_loopback(options.host) and not key:
        raise UsageError(
            f"other machines can reach {options.host}, and vLLM has no key", "pass its key with --key-env"
        )
    say(" ".join(words))
    vllm.run(words, vllm.environment(key))


def _serve_replicas(
    store: Store,
    names: list[str],
    adapters: list[str],
    options: ServerOptions,
    cluster: Cluster,
    json: bool,
    override: str,
) -> None:
    """Serve with Ray until interrupted. Raises MissingPart, Unsupported."""
    import signal
    import threading

    from freehold.servers.inference import replicas

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    replicas.run(
        store,
        names,
        adapters,
        options,
        cluster,
        ready=lambda address: _say_ready([*names, *adapters], address, json),
        ended=ended,
        override=override,
        say=say,
    )


def _say_forms(store: Store, names: list[str]) -> None:
    """Say which answer form each model has. Raises BadModel."""
    from freehold.models.answer_form import of_model

    for name in names:
        if (form := of_model(store, store.find(name))) is not None:
            say(f"{name} uses its answer form: {form.sentence()} (--no-form: without it)")


def _shut_down_with_stdin() -> None:
    """Interrupt this process when its standard input closes."""
    import os
    import signal
    import sys
    import threading

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _convert_to_gguf(store: Store, names: list[str], engine: str) -> None:
    """Convert models that are not GGUF, and say so. Raises Unsupported, UsageError."""
    from freehold.core import progress
    from freehold.core.errors import UsageError
    from freehold.inference.embeddings import is_embedder
    from freehold.runtime.gguf_form import as_gguf

    if engine != "llama.cpp":
        raise UsageError(f"--engine must be llama.cpp or vllm, not {engine!r}", "leave it out for llama.cpp")
    for name in names:
        model = store.find(name)
        if is_embedder(list(model.manifest)):
            continue
        converted = as_gguf(store, model, sink=progress.for_stream())
        if converted is not model:
            say(f"{name} is served in its GGUF form, {converted.name}")
