"""What keeping contents as chunks saves on real weights: a base and its fine-tunes, quantizations, a GGUF
with other metadata.

Run: python benchmarks/hub_chunks.py --data ../shared/data/banking77 [--steps 30]
     python benchmarks/hub_chunks.py --without-tuning     # the cases that need no tuned model
Needs the extra ``bench`` (peft) and the store's smollm2. The base is SmolLM2-135M in 16 bit, made from the
store's GGUF; the fine-tunes are trained on the data, one with adapters on all layers and one with the lower
20 of 30 frozen, and merged. Each file is pushed by the real client through Xet to a hub of its own that holds
only the file before it. The figure is how much the hub's xorbs grew when the second file was pushed: by who
pushed the first, by another who may read it, and by another who may not, whom the hub tells nothing. The peer
is a store of whole files, which keeps every byte of each.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import client_environment, start_hub

FREEHOLD = [sys.executable, "-m", "freehold.cli.main"]
#: Who pushes the second file, and whether the first is private.
ASKERS = {"same person": ("ada", False), "other, public": ("bob", False), "other, private": ("bob", True)}
_PUSH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], private=sys.argv[4] == "True", exist_ok=True)
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo=sys.argv[3], repo_id=sys.argv[1])
"""


def halved(folder: Path, target: Path, adapter: Path | None = None) -> Path:
    """A 16-bit safetensors file of the model in ``folder``, with an adapter merged in."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    model.half().save_pretrained(target)
    return target / "model.safetensors"


def adapter_of(name: str, work: Path) -> Path:
    """The PEFT adapter of a tuned model in the store."""
    from freehold.models.store import Store

    store = Store()
    model = store.find(name)
    folder = work / "adapter"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(store.file(model, file), folder / file)
    return folder


def renamed(source: Path, target: Path) -> Path:
    """The GGUF with another name in its metadata, of another length, so that all its tensors move."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    reader = GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = field.contents()
        if field.name == "general.name":
            value = f"{value}, as the clinic of the seventh district keeps it"
        sub = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, field.types[0], sub_type=sub)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def pushed(first: Path, second: Path, work: Path, other: str, *, private: bool) -> int:
    """How many bytes a fresh hub's xorbs grew with the second file, which ``other`` pushes after ada's
    first."""
    from freehold.hub.users import Users
    from freehold.models.store import Store

    home = work / "hub"
    shutil.rmtree(home, ignore_errors=True)
    accounts = Users(Store(home))
    tokens = {name: accounts.create_token(name) for name in ("ada", "bob")}
    server, address = start_hub(home)
    held = list[int]()
    for number, (who, file) in enumerate((("ada", first), (other, second))):
        # what the hub tells counts, not the client's memory
        shutil.rmtree(work / "client", ignore_errors=True)
        client = client_environment(address, work / "client") | {"HF_TOKEN": tokens[who]}
        words = [f"{who}/m{number}", str(file), f"model{file.suffix}", str(private)]
        subprocess.run([sys.executable, "-c", _PUSH, *words], env=client, check=True, capture_output=True)
        held.append(sum(path.stat().st_size for path in (home / "xorbs").rglob("*") if path.is_file()))
    server.terminate()
    server.wait(30)
    return held[1] - held[0]


def tuned_cases(work: Path, data: Path, steps: int) -> list[tuple[str, Path, Path]]:
    """(title, first file, second file) of the cases that need tuned models."""
    import tune_vs_trl

    from freehold.models.store import Store
    from freehold.quantization.quantize import quantize

    folder = tune_vs_trl.as_folder(work / "folder")
    base = halved(folder, work / "base")
    tuned: dict[int, Path] = {}
    for frozen in (0, 20):
        words = [
            "tune",
            "smollm2",
            str(data / "train.jsonl"),
            "--valid",
            str(data / "valid.jsonl"),
            "--steps",
            str(steps),
            "--frozen-layers",
            str(frozen),
            "--as",
            f"chunks/tuned{frozen}",
            "--no-resume",
        ]
        subprocess.run([*FREEHOLD, *words], check=True, capture_output=True)
        tuned[frozen] = halved(folder, work / f"tuned{frozen}", adapter_of(f"chunks/tuned{frozen}", work))
    store = Store()
    whole = store.weights(store.find("chunks/tuned0"))
    types = {kind: work / f"{kind}.gguf" for kind in ("Q8_0", "Q4_K_M", "Q5_K_M")}
    for kind, path in types.items():
        quantize(whole, path, kind)
    return [
        ("16 bit, tuned on all layers", base, tuned[0]),
        ("16 bit, tuned with 20 of 30 layers frozen", base, tuned[20]),
        ("Q4_K_M after Q8_0", types["Q8_0"], types["Q4_K_M"]),
        ("Q5_K_M after Q4_K_M", types["Q4_K_M"], types["Q5_K_M"]),
    ]


def plain_cases(work: Path) -> list[tuple[str, Path, Path]]:
    """(title, first file, second file) of the cases that need the store's GGUF alone."""
    from freehold.models.store import Store

    store = Store()
    gguf = store.weights(store.find("smollm2"))
    other, plain = renamed(gguf, work / "renamed.gguf"), work / "plain.gguf"
    shutil.copy(gguf, plain)
    return [("a GGUF with another name in it", plain, other), ("the same file again", plain, plain)]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--without-tuning", action="store_true")
    options = parser.parse_args()
    if options.data is None and not options.without_tuning:
        parser.error("--data is needed for the tuned models; or pass --without-tuning")
    sys.path.insert(0, str(Path(__file__).parent))
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        cases = [] if options.without_tuning else tuned_cases(work, options.data, options.steps)
        print(f"{'second file':44} {'MB':>7}" + "".join(f" {asker:>15}" for asker in ASKERS))
        for title, first, second in cases + plain_cases(work):
            size = second.stat().st_size
            saved = [
                1 - pushed(first, second, work, other, private=private) / size
                for other, private in ASKERS.values()
            ]
            print(f"{title:44} {size / 1e6:7.1f}" + "".join(f" {share:15.1%}" for share in saved), flush=True)


if __name__ == "__main__":
    main()
