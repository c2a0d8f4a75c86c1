"""The one place that decides on what a model is trained, in which precision, and says why.

CUDA and ROCm cards are both ``cuda`` to torch; Apple's are ``mps``, Intel's ``xpu``. Nothing else in Freehold
asks torch for a card.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.core import machine
from freehold.core.errors import MissingPart, UsageError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
KINDS = ("cuda", "xpu", "mps", "cpu")
#: Memory of a card left to the driver, to what torch's allocator cannot use again, and to the screen.
RESERVE_BYTES = 1 << 30
#: Tokens that go through a card at once: enough rows to keep it busy. A processor is busy with far fewer.
CARD_TOKENS = 16384


@dataclass(frozen=True)
class Device:
    """Where tensors lie. ``where`` is torch's name, such as ``cuda:0``; memory in bytes; ``reason`` a
    sentence.
    """

    where: str
    name: str
    precision: str
    memory_bytes: int
    free_bytes: int
    flash: bool = False
    reason: str = ""

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`."""
        return self.where.partition(":")[0]

    @property
    def is_card(self) -> bool:
        """Whether it has memory of its own."""
        return self.kind in ("cuda", "xpu")

    @property
    def usable_bytes(self) -> int:
        """What a run may take of a card's memory; 0 (no limit) where memory is the machine's."""
        return max(self.free_bytes - RESERVE_BYTES, 0) if self.is_card else 0

    @property
    def torch(self) -> torch.device:
        """As torch wants it."""
        import torch

        return torch.device(self.where)

    def peak_bytes(self) -> int:
        """Most memory taken so far by this process: tensors on a card, resident memory elsewhere."""
        import torch

        if self.kind == "cuda":
            return int(torch.cuda.max_memory_allocated(self.torch))
        if self.kind == "xpu":
            return int(torch.xpu.max_memory_allocated(self.torch))
        return machine.peak_memory_bytes()

    def repeatable(self) -> None:
        """Let kernels add in one order only, so that the same run gives the same bits. For the whole process;
        a processor needs none of it.
        """
        import torch

        if self.kind != "cuda":
            return
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is made
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def made_with(self) -> dict[str, str]:
        """What a result's bytes depend on besides :func:`freehold.core.machine.made_with`: the card, where
        there is one.
        """
        return {} if self.kind == "cpu" else {"card": self.name}


def choose(name: str = "", known: Sequence[Device] | None = None) -> Device:
    """The device to train on and why. ``asked``: empty, ``auto``, one of :data:`KINDS`, or ``cuda:1``;
    ``known``: of :func:`devices`.

    Raises UsageError for a name that means nothing, MissingPart for a device that is not here.
    """
    known = devices() if known is None else known
    name = name.strip().lower()
    kind, _, number = name.partition(":")
    if (name and kind not in (*KINDS, "auto")) or (number and not number.isdigit()):
        raise UsageError(f"--device {name}: unknown kind of device", f"choose {', '.join(KINDS)} or cuda:1")
    if not name or kind == "auto":
        best = max(known, key=lambda device: (-KINDS.index(device.kind), device.free_bytes))
        return _because(best, _why_auto(best, known))
    fitting = [device for device in known if device.where == name or (not number and device.kind == kind)]
    if not fitting:
        raise MissingPart(
            f"--device {name}: {_absent(kind)}", f"available here: {', '.join(d.where for d in known)}"
        )
    return _because(max(fitting, key=lambda device: device.free_bytes), "as asked")


def _because(device: Device, reason: str) -> Device:
    """The device with its sentence."""
    log.debug("device %s: %s", device.where, reason)
    bits = "16 bit (bf16)" if device.precision == "bf16" else "32 bit, as it has no bf16"
    memory = (
        f", {device.free_bytes / 2**30:.1f} of {device.memory_bytes / 2**30:.1f} GiB free"
        if device.is_card
        else ""
    )
    return Device(
        device.where,
        device.name,
        device.precision,
        device.memory_bytes,
        device.free_bytes,
        device.flash,
        f"on {device.where} ({device.name}{memory}), {reason}, in {bits}",
    )


def _why_auto(best: Device, known: Sequence[Device]) -> str:
    same = sum(device.kind == best.kind for device in known)
    if best.kind == "cpu":
        return f"as {_absent('cuda')}"
    return "the GPU with the most free memory" if same > 1 else "the only GPU"


def _absent(kind: str) -> str:
    """Why there is no such device, as far as torch tells."""
    import torch

    if kind == "cuda":
        built = torch.version.cuda or torch.version.hip
        return "torch finds no GPU" if built else f"torch {torch.__version__} is built without CUDA and ROCm"
    if kind == "mps" and not torch.backends.mps.is_built():
        return f"torch {torch.__version__} is built without MPS"
    return f"torch finds no {kind} device"


def devices() -> list[Device]:
    """Every device that torch can use here, the processor last."""
    import torch

    all_devices: list[Device] = []
    if torch.cuda.is_available():
        all_devices += [_cuda(index) for index in range(torch.cuda.device_count())]
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        all_devices += [_xpu(index) for index in range(torch.xpu.device_count())]
    here = machine.look()
    if torch.backends.mps.is_available():
        bf16 = torch.backends.mps.is_macos_or_newer(14, 0)
        all_devices.append(
            Device("mps", here.processor, _precision(bf16), here.memory_bytes, here.free_memory_bytes)
        )
    all_devices.append(
        Device("cpu", here.processor, _precision(here.bf16), here.memory_bytes, here.free_memory_bytes)
    )
    return all_devices


def _precision(bf16: bool) -> str:
    return "bf16" if bf16 else "f32"


def _cuda(index: int) -> Device:
    import torch

    facts = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    # cards before Ampere compute bf16 by way of 32 bit: slower than 32 bit itself
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    modern = torch.version.hip is not None or facts.major >= 8
    flash = bf16 and modern and torch.backends.cuda.is_flash_attention_available()
    return Device(f"cuda:{index}", facts.name, _precision(bf16), total, free, flash)


def _xpu(index: int) -> Device:
    import torch

    facts = torch.xpu.get_device_properties(index)
    free, total = torch.xpu.mem_get_info(index)
    return Device(f"xpu:{index}", facts.name, _precision(torch.xpu.is_bf16_supported()), total, free)
