"""The same verb on a machine with a GPU: vLLM's own server, started with what ``freehold serve`` was told.

vLLM reads safetensors and PEFT adapters from folders; it has its own APIs, batches and metrics, so keys, limits and accounts of ours do not
apply, and options that say nothing to it are refused by name. It is kept from reporting its use and from asking any hub.

Source of the options: ``make_arg_parser`` of vLLM 0.33 (vllm/entrypoints/common/cli_args.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from freehold.core.errors import MissingPart, StepFailed, Unsupported, UsageError
from freehold.models.answer_form import of_model
from freehold.models.store import Store
from freehold.trust.gate import Say, permit_models, quiet

#: Ranks that vLLM makes room for.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def command(store: Store, names: Sequence[str], adapters: Sequence[str], *, host: str, port: int, context: int, parallel: int,
            certificate: Path | None = None, private_key: Path | None = None, origins: Sequence[str] = (), override: str = "",
            say: Say = quiet) -> list[str]:  # fmt: skip
    """vLLM's command line. ``context``: tokens of one request with its answer. Raises NotFound, UsageError, Unsupported, and
    PolicyDenied where the policy lets one of the models not be served. ``override``: the reason for going against it."""
    permit_models(store, "serve", [store.find(name) for name in [*names, *adapters]], override, say)
    if len(names) != 1:
        raise UsageError(
            f"vLLM serves one model and {len(names)} are named",
            "start a server for each, or leave out --engine vllm",
        )
    model = store.find(names[0])
    if model.info.format != "safetensors":
        raise Unsupported(
            f"{model.name} is {model.info.format} and vLLM reads safetensors",
            "pull the model's safetensors, or leave out --engine vllm",
        )
    words = [
        "vllm", "serve", str(store.folder_of(model)), "--served-model-name", model.name, "--host", host, "--port", str(port),
        "--max-model-len", str(min(context, model.info.context_length or context)), "--max-num-seqs", str(parallel),
    ]  # fmt: skip
    if adapters:
        modules, ranks = list[str](), list[int]()
        for name in adapters:
            adapter = store.find(name)
            if "adapter_model.safetensors" not in adapter.manifest:
                raise Unsupported(f"{name} holds no PEFT adapter", "name one that 'freehold tune' has made")
            base = adapter.info.lineage.base
            if base is None or base.digest != model.digest:
                named = base.model if base is not None else "another model"
                raise Unsupported(
                    f"the adapter {name} was tuned on {named}, not on {model.name}",
                    "name that model",
                )
            folder = store.folder_of(adapter)
            modules.append(f"{name}={folder}")
            ranks.append(int(json.loads((folder / "adapter_config.json").read_text())["r"]))
        room = next((rank for rank in RANKS if rank >= max(ranks)), 0)
        if not room:
            raise Unsupported(
                f"an adapter has rank {max(ranks)} and vLLM takes up to {RANKS[-1]}",
                "tune with a smaller --rank",
            )
        words += [
            "--enable-lora",
            "--max-loras",
            str(len(adapters)),
            "--max-lora-rank",
            str(room),
            "--lora-modules",
            *modules,
        ]
    if certificate is not None:
        words += ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(private_key)]
    if origins:
        words += ["--allowed-origins", json.dumps(list(origins))]
    return words


def refuse_forms(store: Store, names: Sequence[str]) -> None:
    """Raises Unsupported for a model that was measured in a form that vLLM would not ask it in."""
    for name in names:
        form = of_model(store, store.find(name))
        if form is not None:
            raise Unsupported(
                f"{name} was measured with an answer form ({form.sentence()}), which vLLM does not apply",
                "pass --no-form and ask it so yourself, or leave out --engine vllm",
            )


def environment(key: str) -> dict[str, str]:
    """What vLLM is told beside its command line, where others on the machine would see the key."""
    own = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    return {**os.environ, **own, **({"VLLM_API_KEY": key} if key else {})}


def run(words: Sequence[str], given: Mapping[str, str]) -> None:
    """Run vLLM until it ends or is interrupted. Raises MissingPart, StepFailed."""
    if shutil.which(words[0], path=given.get("PATH")) is None:
        raise MissingPart(
            "vLLM is not installed here",
            "on a machine with a GPU: pip install vllm; elsewhere leave out --engine vllm",
        )
    with subprocess.Popen(list(words), env=dict(given)) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if code:
        raise StepFailed(f"vLLM ended with code {code}", "its reason stands above")
