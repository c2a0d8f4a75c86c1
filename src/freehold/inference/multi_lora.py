"""Several adapters in one decode call: each token goes through its own.

llama.cpp applies its adapters to every token of a call. Here all adapters of a base are laid side by side
into one of the summed rank: what enters it is multiplied by all their first factors at once, and before the
second factors are applied, what is not a token's own adapter's is set to zero. So the base's weights are read
once for all. Tokens of no adapter keep nothing.

The zeros are set between two operations of llama.cpp's graph, by the callback that it offers for looking at
results (``cb_eval``).

Source of the arithmetic: B1 A1 x + B2 A2 x = [B1 B2] [A1; A2] x; the name of the idea is from Sheng et al.
2023, "S-LoRA" (arXiv 2311.03285), which does it with kernels of its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from freehold.core.errors import BadModel, FreeholdError, Unsupported
from freehold.inference.observe import Tensor
from freehold.models.formats import gguf

_ENDS = (".lora_a", ".lora_b")
# where llama.cpp's tensors keep what is looked at, in bytes
_LENGTHS, _SOURCES, _NAME, _DATA = (getattr(Tensor, name).offset for name in ("ne", "src", "name", "data"))


def join(adapters: Mapping[str, Path], target: Path, architecture: str) -> dict[str, slice]:
    """Write all adapters as one, in 16 bit; the rows of its rank that are each adapter's. Raises BadModel.

    Scales are folded into the second factors.
    """
    from gguf import GGUFReader

    read = {name: GGUFReader(str(path)) for name, path in adapters.items()}
    factors: dict[str, dict[str, np.ndarray]] = {}
    places: dict[str, slice] = {}
    start = 0
    for name, reader in read.items():
        factors[name] = {
            tensor.name: np.asarray(tensor.data, dtype=np.float32)
            for tensor in reader.tensors
            if tensor.name.endswith(_ENDS)
        }
        ranks = {array.shape[0] for key, array in factors[name].items() if key.endswith(".lora_a")}
        if not ranks or any(
            key.removesuffix(".lora_a") + ".lora_b" not in factors[name]
            for key in factors[name]
            if key.endswith(".lora_a")
        ):
            raise BadModel(f"the adapter {name} holds no pairs of factors", "tune it again")
        places[name] = slice(start, start + max(ranks))
        start = places[name].stop
    width = _width(places)
    joined: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for stem in sorted({key[:-7] for own in factors.values() for key in own}):
        own = {
            name: (found[f"{stem}.lora_a"], found[f"{stem}.lora_b"])
            for name, found in factors.items()
            if f"{stem}.lora_a" in found
        }
        a0, b0 = next(iter(own.values()))
        a, b = (
            np.zeros((width, a0.shape[1]), dtype=np.float16),
            np.zeros((b0.shape[0], width), dtype=np.float16),
        )
        for name, (first, second) in own.items():
            place = slice(places[name].start, places[name].start + first.shape[0])
            a[place] = first
            b[:, place] = second * (_alpha(read[name]) / first.shape[0])
        joined[stem] = a, b
    gguf.write_adapter(target, architecture, float(width), joined)
    return places


def _width(places: Mapping[str, slice]) -> int:
    """The summed rank, in whole blocks."""
    return -(-max(place.stop for place in places.values()) // 16) * 16


def _alpha(reader: Any) -> float:
    return float(reader.fields["adapter.lora.alpha"].contents())


class MultiLora:
    """The callback, and which token of the next call is whose."""

    def __init__(self) -> None:
        self._rows: dict[str, np.ndarray] = {}
        self._mask = self._outputs = np.zeros((0, 0), dtype=np.float32)
        self._factors: dict[int | None, bool] = {}
        self._on = False
        self.failed: FreeholdError | None = None

    def learn(self, places: Mapping[str, slice]) -> None:
        """Which rows of the rank are whose, as :func:`join` returns them."""
        self._rows = {name: np.zeros(_width(places), dtype=np.float32) for name in ("", *places)}
        for name, place in places.items():
            self._rows[name][place] = 1.0

    def choose(self, runs: Sequence[tuple[str, int, int]]) -> None:
        """For the next call: (adapter, tokens, how many of the last give logits) of each run of tokens, in
        the batch's order; nothing for a call in which all tokens are one adapter's.
        """
        self._on, self.failed = bool(runs), None
        if runs:
            self._mask = np.concatenate(
                [np.repeat(self._rows[name][None], count, 0) for name, count, _ in runs]
            )
            self._outputs = np.concatenate(
                [np.repeat(self._rows[name][None], wanted, 0) for name, _, wanted in runs]
            )

    def seen(self, address: int, ask: bool, _: Any) -> bool:
        """llama.cpp asks whether an operation's result is to be looked at, and then shows it.

        Nothing may be raised from here.
        """
        if not self._on:
            return False
        if ask:
            first = ctypes.c_void_p.from_address(address + _SOURCES).value
            known = self._factors.get(first)
            if known is None:  # a weight keeps its address, so that one look is enough
                known = self._factors[first] = first is not None and ctypes.string_at(
                    first + _NAME, 64
                ).partition(b"\0")[0].endswith(b".lora_a")
            return known
        try:
            self._mask_out(address)
        except Exception as error:
            self.failed = (
                error
                if isinstance(error, FreeholdError)
                else Unsupported(f"adapters cannot share a call ({error})", "serve one adapter")
            )
            return False
        return True

    def _mask_out(self, address: int) -> None:
        width, count = (ctypes.c_int64.from_address(address + _LENGTHS + 8 * at).value for at in range(2))
        if not count:
            return
        # after the last layer's attention only the tokens that give logits go on
        mask = self._mask if count == len(self._mask) else self._outputs
        data = ctypes.c_void_p.from_address(address + _DATA).value
        if (count, width) != mask.shape or data is None:
            raise Unsupported(
                "this build of llama.cpp lays out adapters differently",
                "install the pinned llama-cpp-python, or serve one adapter",
            )
        found = np.ctypeslib.as_array((ctypes.c_float * mask.size).from_address(data))
        found *= mask.ravel()


def architecture_of(path: Path) -> str:
    """The architecture that a GGUF file names."""
    return str(gguf.read_header(path).fields["general.architecture"])
