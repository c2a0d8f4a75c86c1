"""The same command on a machine with a GPU: vLLM's own server, started with the options of ``freehold
serve``.

vLLM reads safetensors and PEFT adapters from folders. It has its own APIs, batches and metrics, so
Freehold's keys, limits and accounts do not apply, and options that do not apply are errors. Its usage
reports and its access to hubs are turned off.

Source of the options: ``make_arg_parser`` of vLLM 0.33 (vllm/entrypoints/common/cli_args.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from freehold.core.errors import MissingPart, StepFailed, Unsupported, UsageError
from freehold.models.answer_form import of_model
from freehold.models.store import Model, Store
from freehold.trust.gate import Say, permit_models, quiet

#: The adapter ranks that vLLM can be started with.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class VllmOptions:
    """The options of ``freehold serve`` that vLLM has too."""

    host: str
    port: int
    #: tokens of one request with its answer
    context: int
    #: answers at once
    parallel: int
    certificate: Path | None = None
    private_key: Path | None = None
    #: other sites whose pages may send requests
    origins: Sequence[str] = ()


def command(
    store: Store,
    names: Sequence[str],
    adapters: Sequence[str],
    options: VllmOptions,
    *,
    override: str = "",
    say: Say = quiet,
) -> list[str]:
    """vLLM's command line. ``override``: the reason for going against the policy.

    Raises NotFound, UsageError, Unsupported, PolicyDenied.
    """
    permit_models(store, "serve", [store.find(name) for name in [*names, *adapters]], override, say)
    model = _only_model(store, names)
    words = [
        *("vllm", "serve", str(store.folder_of(model)), "--served-model-name", model.name),
        *("--host", options.host, "--port", str(options.port)),
        *("--max-model-len", str(min(options.context, model.info.context_length or options.context))),
        *("--max-num-seqs", str(options.parallel)),
    ]
    if adapters:
        words += _adapter_words(store, model, adapters)
    if options.certificate is not None:
        words += ["--ssl-certfile", str(options.certificate), "--ssl-keyfile", str(options.private_key)]
    if options.origins:
        words += ["--allowed-origins", json.dumps(list(options.origins))]
    return words


def _only_model(store: Store, names: Sequence[str]) -> Model:
    """The one model that vLLM serves. Raises NotFound, UsageError, Unsupported."""
    if len(names) != 1:
        raise UsageError(
            f"vLLM serves one model, and {len(names)} are named",
            "start a server for each, or leave out --engine vllm",
        )
    model = store.find(names[0])
    if model.info.format != "safetensors":
        raise Unsupported(
            f"{model.name} is {model.info.format}, and vLLM reads safetensors",
            "pull the model's safetensors, or leave out --engine vllm",
        )
    return model


def _adapter_words(store: Store, model: Model, names: Sequence[str]) -> list[str]:
    """The part of the command line for adapters. Raises NotFound, Unsupported."""
    folders = {name: _adapter_folder(store, model, name) for name in names}
    rank = max(_rank(folder) for folder in folders.values())
    room = next((most for most in RANKS if most >= rank), 0)
    if not room:
        raise Unsupported(
            f"an adapter has rank {rank}, and vLLM takes at most {RANKS[-1]}", "tune with a smaller --rank"
        )
    modules = [f"{name}={folder}" for name, folder in folders.items()]
    return [
        *("--enable-lora", "--max-loras", str(len(names)), "--max-lora-rank", str(room)),
        *("--lora-modules", *modules),
    ]


def _adapter_folder(store: Store, model: Model, name: str) -> Path:
    """The folder of a PEFT adapter on the model. Raises NotFound, Unsupported."""
    adapter = store.find(name)
    if "adapter_model.safetensors" not in adapter.manifest:
        raise Unsupported(f"{name} has no PEFT adapter", "name a model that 'freehold tune' has made")
    base = adapter.info.lineage.base
    if base is None or base.digest != model.digest:
        named = base.model if base is not None else "another model"
        raise Unsupported(
            f"the adapter {name} was tuned on {named}, not on {model.name}",
            "name that model",
        )
    return store.folder_of(adapter)


def _rank(folder: Path) -> int:
    return int(json.loads((folder / "adapter_config.json").read_text())["r"])


def refuse_forms(store: Store, names: Sequence[str]) -> None:
    """Raises Unsupported for a model with an answer form, which vLLM does not apply."""
    for name in names:
        form = of_model(store, store.find(name))
        if form is not None:
            raise Unsupported(
                f"{name} was measured with an answer form ({form.sentence()}), which vLLM does not apply",
                "pass --no-form and apply it in your requests, or leave out --engine vllm",
            )


def environment(key: str) -> dict[str, str]:
    """The environment of vLLM. The key is here, since others on the machine can read a command line."""
    settings = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    return {**os.environ, **settings, **({"VLLM_API_KEY": key} if key else {})}


def run(words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run vLLM until it ends or is interrupted. Raises MissingPart, StepFailed."""
    if shutil.which(words[0], path=environ.get("PATH")) is None:
        raise MissingPart(
            "vLLM is not installed here",
            "on a machine with a GPU: pip install vllm; elsewhere leave out --engine vllm",
        )
    with subprocess.Popen(list(words), env=dict(environ)) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if code:
        raise StepFailed(f"vLLM ended with code {code}", "read its messages above")
