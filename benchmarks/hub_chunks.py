"""What keeping contents as chunks saves on real weights: a base and its fine-tunes, quantizations, a GGUF with other metadata.

Run: python benchmarks/hub_chunks.py --data ../shared/data/banking77 [--steps 30]
Needs the extra ``bench`` (peft) and the store's smollm2. The base is SmolLM2-135M in 16 bit, made from the store's GGUF; the fine-tunes are
trained on the data, one with adapters on all layers and one with the lower 20 of 30 frozen, and merged. Each file is pushed by the real
client through Xet to a hub of its own that holds only the file before it; what is told is how much the hub's xorbs grew. The peer is a
store of whole files, which keeps every byte of each.
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
_PUSH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
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
    from freehold.hub.store import Store

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


def pushed(files: list[Path], work: Path) -> list[int]:
    """How many bytes a fresh hub's xorbs grew with each file."""
    home = work / "hub"
    shutil.rmtree(home, ignore_errors=True)
    server, address = start_hub(home)
    client = client_environment(address, work / "client")
    grown, before = list[int](), 0
    for number, file in enumerate(files):
        shutil.rmtree(
            work / "client", ignore_errors=True
        )  # the hub tells what it has, not the client's memory
        subprocess.run(
            [sys.executable, "-c", _PUSH, f"freehold/m{number}", str(file), f"model{file.suffix}"],
            env=client,
            check=True,
            capture_output=True,
        )
        now = sum(path.stat().st_size for path in (home / "xorbs").rglob("*") if path.is_file())
        grown.append(now - before)
        before = now
    server.terminate()
    server.wait(30)
    return grown


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    import tune_vs_trl

    from freehold.hub.store import Store

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = tune_vs_trl.as_folder(work / "folder")
        base = halved(folder, work / "base")
        tuned: dict[int, Path] = {}
        for frozen in (0, 20):
            words = [
                "tune",
                "smollm2",
                str(options.data / "train.jsonl"),
                "--valid",
                str(options.data / "valid.jsonl"),
                "--steps",
                str(options.steps),
            ]
            subprocess.run(
                [
                    *FREEHOLD,
                    *words,
                    "--frozen-layers",
                    str(frozen),
                    "--as",
                    f"chunks/tuned{frozen}",
                    "--no-resume",
                ],
                check=True,
                capture_output=True,
            )
            tuned[frozen] = halved(folder, work / f"tuned{frozen}", adapter_of(f"chunks/tuned{frozen}", work))
        store = Store()
        gguf = store.weights(store.find("smollm2"))
        from freehold.shrink.quantize import quantize

        whole = store.weights(store.find("chunks/tuned0"))
        types = {kind: work / f"{kind}.gguf" for kind in ("Q8_0", "Q4_K_M", "Q5_K_M")}
        for kind, path in types.items():
            quantize(whole, path, kind)
        other = renamed(gguf, work / "renamed.gguf")
        plain = work / "plain.gguf"
        shutil.copy(gguf, plain)
        cases = [
            ("16 bit, tuned on all layers", base, tuned[0]),
            ("16 bit, tuned with 20 of 30 layers frozen", base, tuned[20]),
            ("Q4_K_M after Q8_0", types["Q8_0"], types["Q4_K_M"]),
            ("Q5_K_M after Q4_K_M", types["Q4_K_M"], types["Q5_K_M"]),
            ("a GGUF with another name in it", plain, other),
            ("the same file again", plain, plain),
        ]
        print(f"{'second file':44} {'MB':>7} {'kept':>7} {'saved':>7}")
        for title, first, second in cases:
            grown = pushed([first, second], work)
            size = second.stat().st_size
            print(
                f"{title:44} {size / 1e6:7.1f} {grown[1] / 1e6:7.1f} {1 - grown[1] / size:7.1%}", flush=True
            )


if __name__ == "__main__":
    main()
