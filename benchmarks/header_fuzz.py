"""A million damaged headers of safetensors and GGUF files: each is read or refused in one sentence, in
bounded time and memory.

Run: python benchmarks/header_fuzz.py [--count 1000000] [--seed 0]
Half of each kind, and beside them a tenth as many folders whose config.json, index, tokenizer.json,
tokenizer_config.json or adapter_config.json says something else. Headers are valid small ones, changed in one
to six places: bytes, numbers set to extremes, pieces cut out, doubled or moved, and in safetensors' JSON
values of other kinds, doubled names and deep nesting. Reported: how many were refused, the slowest, and how
much resident memory has grown. The physical floor is writing and mapping the file: a plain write and read of
the same bytes is timed beside it.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from freehold.core.errors import BadModel, Unsupported
from freehold.models import file_checks
from freehold.models.formats import gguf, peft, safetensors
from freehold.models.info import read_info
from freehold.trust import scan

EXTREMES = [0, 1, 7, 8, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1]
ODD: list[Any] = [
    None,
    True,
    -1,
    1.5,
    1e400,
    float("nan"),
    2**70,
    "",
    "F32",
    [],
    [1],
    {},
    {"dtype": "F32"},
    "\ud800",
    [[[]]],
    "x" * 300,
]


def small_gguf() -> bytes:
    """A whole GGUF file with every kind of metadata and three tensors."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    scalars = [
        (0, "<B"),
        (1, "<b"),
        (2, "<H"),
        (3, "<h"),
        (4, "<I"),
        (5, "<i"),
        (6, "<f"),
        (7, "<?"),
        (10, "<Q"),
        (11, "<q"),
        (12, "<d"),
    ]
    fields = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("general.file_type") + struct.pack("<II", 4, 1),
    ]
    fields += [
        text(f"kind.{kind}") + struct.pack("<I", kind) + struct.pack(form, 1) for kind, form in scalars
    ]
    fields.append(text("some.texts") + struct.pack("<IIQ", 9, 8, 100) + text("token") * 100)
    fields.append(text("some.numbers") + struct.pack("<IIQ", 9, 4, 3) + struct.pack("<3I", 1, 2, 3))
    tensors, offset = list[bytes](), 0
    for number in range(3):
        tensors.append(text(f"blk.{number}.weight") + struct.pack("<IQQIQ", 2, 32, 4, 0, offset))
        offset += 512
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(offset)


def small_safetensors() -> bytes:
    """A whole safetensors file of four tensors."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for number in range(4):
        table[f"layer.{number}.weight"] = {
            "dtype": "F32",
            "shape": [4, 8],
            "data_offsets": [128 * number, 128 * (number + 1)],
        }
    head = json.dumps(table).encode()
    return struct.pack("<Q", len(head)) + head + bytes(512)


def small_adapter() -> bytes:
    """A whole safetensors file with the two factors of one matrix."""
    before = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    table = {
        f"{before}{side}.weight": {"dtype": "F32", "shape": shape, "data_offsets": [128 * at, 128 * (at + 1)]}
        for at, (side, shape) in enumerate({"A": [4, 8], "B": [8, 4]}.items())
    }
    head = json.dumps(table).encode()
    return struct.pack("<Q", len(head)) + head + bytes(256)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes, changed in one to six places."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(found) or 1)
        kind = chance.randrange(6)
        if kind == 0 and found:
            found[at] = chance.randrange(256)
        elif kind == 1:
            value = chance.choice(EXTREMES)
            width = chance.choice([4, 8])
            found[at : at + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
        elif kind == 2:
            del found[at : at + chance.randint(1, 64)]
        elif kind == 3:
            end = min(len(found), at + chance.randint(1, 64))
            found[at:at] = found[at:end]
        elif kind == 4:
            other = chance.randrange(len(found) or 1)
            found[at : at + 8], found[other : other + 8] = found[other : other + 8], found[at : at + 8]
        else:
            found[at:at] = chance.randbytes(chance.randint(1, 16))
    return bytes(found)


def damaged_table(data: bytes, chance: random.Random) -> bytes:
    """A safetensors file whose JSON stays JSON and says something else."""
    length = struct.unpack_from("<Q", data)[0]
    table = json.loads(data[8 : 8 + length])
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(list(table))
        kind = chance.randrange(4)
        if kind == 0:
            table[name] = copy.deepcopy(chance.choice(ODD))
        elif kind == 1 and isinstance(table[name], dict):
            table[name][chance.choice(["dtype", "shape", "data_offsets"])] = copy.deepcopy(
                chance.choice([*ODD, [chance.choice(ODD), chance.choice(ODD)]])
            )
        elif kind == 2:
            del table[name]
        else:
            table[chance.choice(["", "layer.9", "__metadata__", "x" * 70_000])] = copy.deepcopy(
                chance.choice([*ODD, *table.values()])
            )
        if not table:
            break
    text = json.dumps(table)
    if chance.random() < 0.1:
        text = text[:-1] + ', "layer.1.weight": ' + json.dumps(chance.choice(ODD)) + "}"  # a name twice
    if chance.random() < 0.02:
        depth = chance.choice([900, 5_000, 100_000])
        text = '{"a": ' + "[" * depth + "]" * depth + "}"
    head = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(head)) + head + data[8 + length :]


#: Name -> a small whole file of the JSON that lies beside weights.
BESIDE: dict[str, Any] = {
    "config.json": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 16,
        "max_position_embeddings": 64,
        "torch_dtype": "float32",
        "rope_scaling": None,
        "quantization_config": {"quant_method": "gptq", "bits": 4},
    },
    "model.safetensors.index.json": {
        "metadata": {"total_size": 512},
        "weight_map": {f"layer.{number}.weight": "model.safetensors" for number in range(4)},
    },
    "tokenizer.json": {
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "<s>", "special": True}],
        "model": {"type": "BPE", "vocab": {"a": 1, "b": 2}, "merges": ["a b"]},
    },
    "tokenizer_config.json": {
        "chat_template": "{{ messages }}",
        "eos_token": {"content": "</s>"},
        "model_max_length": 64,
    },
    "adapter_config.json": {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "some/base",
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {},
        "bias": "none",
    },
}


def damaged_json(value: Any, chance: random.Random) -> Any:
    """A value with one to three of its parts, however deep, in another form."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        within = value
        while chance.random() < 0.5:
            inner = [
                each
                for each in (within.values() if isinstance(within, dict) else within)
                if isinstance(each, dict | list) and each
            ]
            if not inner:
                break
            within = chance.choice(inner)
        key = chance.choice(list(within) if isinstance(within, dict) else range(len(within)))
        within[key] = copy.deepcopy(chance.choice([*ODD, value]))
    return value


def damaged_folders(folder: Path, count: int, chance: random.Random) -> int:
    """How many of so many damaged folders were refused. Raises whatever is no BadModel and no Unsupported."""
    refused = 0
    (folder / "model.safetensors").write_bytes(small_safetensors())
    (folder / "adapter_model.safetensors").write_bytes(small_safetensors())
    (folder / "adapter.safetensors").write_bytes(small_adapter())
    for _ in range(count):
        names = chance.choice([list(BESIDE)[:4], list(BESIDE)[2:]])
        hurt = chance.choice(names)
        for name in names:
            value = damaged_json(BESIDE[name], chance) if name == hurt else BESIDE[name]
            text = json.dumps(value)
            if name == hurt and chance.random() < 0.2:
                text = damaged(text.encode(), chance).decode("latin-1")
            (folder / name).write_text(
                text, encoding=chance.choice(["utf-8", "utf-8", "utf-8", "utf-16"]), errors="replace"
            )
        weights = "model.safetensors" if "config.json" in names else "adapter_model.safetensors"
        files = {name: folder / name for name in [*names, weights]}
        said = ""
        try:
            doubts = scan.refuse(files)
            file_checks.check(files)
            if doubts:
                refused += 1
                continue
            scan.notes(files)
            read_info(files)
            if "adapter_config.json" in names:
                peft.peft_facts(files["adapter_config.json"], folder / "adapter.safetensors")
        except (BadModel, Unsupported) as error:
            refused, said = refused + 1, str(error)
        assert "\n" not in said, said
        assert len(said) < 1000, said[:200]
    return refused


def main(count: int, seed: int = 0) -> dict[str, Any]:
    """Damage and read; what came of it. Raises whatever a reader raises that is no BadModel."""
    chance = random.Random(seed)
    kinds = {
        "gguf": (gguf.read_header, small_gguf()),
        "safetensors": (safetensors.read_header, small_safetensors()),
    }
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for name, (read, whole) in kinds.items():
            path = Path(folder) / f"whole.{name}"
            path.write_bytes(whole)
            read(path)  # what is whole is read
        refused, slowest, reading, plain = 0, 0.0, 0.0, 0.0
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(count):
            name = "gguf" if number % 2 else "safetensors"
            read, whole = kinds[name]
            data = (
                damaged_table(whole, chance)
                if name == "safetensors" and chance.random() < 0.5
                else damaged(whole, chance)
            )
            path = Path(folder) / f"damaged.{name}"
            began = time.perf_counter()
            path.write_bytes(data)
            path.read_bytes()
            plain += time.perf_counter() - began
            began, told = time.perf_counter(), ""
            try:
                read(path)
            except (BadModel, Unsupported) as error:
                refused, told = refused + 1, str(error)
            took = time.perf_counter() - began
            assert "\n" not in told, told
            assert len(told) < 1000, told[:200]
            reading, slowest = reading + took, max(slowest, took)
            if number % 10_000 == 9_999 and sys.stderr.isatty():
                print(f"\r{number + 1:,} of {count:,}", end="", file=sys.stderr)
        refused_folders = damaged_folders(Path(folder), count // 10, chance)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return {
        "headers": count,
        "folders": count // 10,
        "folders_refused": refused_folders,
        "refused": refused,
        "read": count - refused,
        "slowest_ms": round(slowest * 1000, 2),
        "mean_us": round(reading / count * 1e6, 1),
        "plain_write_and_read_us": round(plain / count * 1e6, 1),
        "memory_grown_mb": round(grown / 1000, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(main(options.count, options.seed))
