"""What vLLM would be started with, and where it is installed its own reading of that."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.core.errors import MissingPart, StepFailed, Unsupported, UsageError
from freehold.models.intake import made_here
from freehold.models.store import Model, Store
from freehold.servers.inference import vllm

_PARSED = """
import json, sys
import vllm.platforms
from vllm.platforms.cpu import CpuPlatform
vllm.platforms.current_platform = CpuPlatform()  # a machine without a GPU has none of its own
from vllm.entrypoints.common.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:])
plain = {key: value for key, value in vars(parsed).items() if isinstance(value, str | int | list)}
print(json.dumps(plain, default=lambda module: [module.name, module.path]))
"""


@pytest.fixture
def stored(smollm2_folder: Path, smollm2: Path, tmp_path: Path) -> tuple[Store, Model]:
    """A store with the model as safetensors, two adapters of it, and a GGUF."""
    store = Store(tmp_path / "home")
    files = {path.name: path for path in smollm2_folder.iterdir() if path.is_file()}
    model = store.add("smollm2", made_here(files), {"source": "test"})
    store.add("packed", made_here({"model.gguf": smollm2}), {"source": "test"})
    for name, rank in (("one", 6), ("two", 24)):
        config, weights = tmp_path / f"{name}.json", tmp_path / f"{name}.safetensors"
        config.write_text(json.dumps({"r": rank}))
        weights.write_bytes(b"weights")  # vLLM reads them, we do not
        parts = {"model.gguf": smollm2, "adapter_config.json": config, "adapter_model.safetensors": weights}
        store.add(
            name,
            made_here(parts),
            {"source": "test"},
            lineage=model.made_into(),
        )
    return store, model


def made(store: Store, *adapters: str, names: tuple[str, ...] = ("smollm2",)) -> list[str]:
    options = vllm.VllmOptions("127.0.0.1", 8601, 100_000, 16, origins=["https://a.example"])
    return vllm.command(store, names, adapters, options)


def test_the_command_line_is_what_vllm_reads(stored: tuple[Store, Model]) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: it wants a GPU's libraries")
    store, model = stored
    words = made(store, "one", "two")
    done = subprocess.run(
        [sys.executable, "-c", _PARSED, *words[2:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["model_tag"] == str(store.folder_of(model))
    assert (told["served_model_name"], told["host"], told["port"]) == (["smollm2"], "127.0.0.1", 8601)
    assert (told["max_model_len"], told["max_num_seqs"], told["max_lora_rank"], told["max_loras"]) == (
        model.info.context_length,
        16,
        32,
        2,
    )
    assert [name for name, _ in told["lora_modules"]] == ["one", "two"]
    assert told["allowed_origins"] == ["https://a.example"]


def test_folders_hold_the_files_by_name(stored: tuple[Store, Model]) -> None:
    store, _ = stored
    words = made(store, "one", "two")
    folder = Path(words[2])
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    modules = words[words.index("--lora-modules") + 1 :][:2]
    assert json.loads((Path(modules[0].partition("=")[2]) / "adapter_config.json").read_text()) == {"r": 6}
    assert words[words.index("--max-lora-rank") + 1] == "32"


def test_what_it_cannot_serve_is_refused(stored: tuple[Store, Model], tmp_path: Path) -> None:
    store, _ = stored
    with pytest.raises(UsageError, match="serves one model, and 2 are named"):
        made(store, names=("smollm2", "packed"))
    with pytest.raises(Unsupported, match="packed is gguf, and vLLM reads safetensors"):
        made(store, names=("packed",))
    with pytest.raises(Unsupported, match="has no PEFT adapter"):
        made(store, "packed")
    store.add(
        "stray",
        made_here(
            {
                "model.gguf": store.weights(store.find("packed")),
                "adapter_model.safetensors": tmp_path / "one.safetensors",
            }
        ),
        {"source": "test"},
    )
    with pytest.raises(Unsupported, match="was tuned on another model"):
        made(store, "stray")


def test_it_is_run_with_its_key_out_of_sight_and_without_reporting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match="not installed"):
        vllm.run(["vllm", "serve"], vllm.environment("secret"))
    stand_in = tmp_path / "vllm"
    stand_in.write_text(
        f"#!{sys.executable}\nimport os,"
        f' pathlib\npathlib.Path("{tmp_path}/told").write_text("\\n".join(f"{{k}}={{v}}" for k, v in'
        " os.environ.items()))\nraise SystemExit(3)\n"
    )
    stand_in.chmod(0o755)
    with pytest.raises(StepFailed, match="code 3"):
        vllm.run(["vllm", "serve"], vllm.environment("secret"))
    told = (tmp_path / "told").read_text().splitlines()
    assert {"VLLM_API_KEY=secret", "VLLM_NO_USAGE_STATS=1", "HF_HUB_OFFLINE=1"} <= set(told)
