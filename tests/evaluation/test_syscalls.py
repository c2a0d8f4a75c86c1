"""The filter of the sandbox, run as the kernel runs it: what it refuses, and what Python needs."""

from __future__ import annotations

import errno
import platform
import struct

import pytest

from freehold.core.errors import Unsupported
from freehold.evaluation import syscalls
from freehold.evaluation.syscalls import filter_program

X86_64, AARCH64 = 0xC000003E, 0xC00000B7
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000


def decided(program: bytes, number: int, audit: int, flags: int = 0) -> int:
    """What the program returns for a system call: the few instructions of BPF that a filter is made of."""
    data = struct.pack("<IIQ6Q", number, audit, 0, flags, 0, 0, 0, 0, 0)
    steps = list(struct.iter_unpack("<HBBI", program))
    at, loaded = 0, 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += yes if holds else no


@pytest.fixture(params=[("x86_64", X86_64, 0), ("aarch64", AARCH64, 1)], ids=["x86_64", "aarch64"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, int, int]:
    """(the program, the processor's number, its column of the table)"""
    name, audit, column = request.param
    monkeypatch.setattr(platform, "machine", lambda: name)
    return filter_program(), audit, column


def test_every_call_of_the_table_is_refused(processor: tuple[bytes, int, int]) -> None:
    program, audit, column = processor
    numbers = {name: both[column] for name, both in syscalls._REFUSED.items()}
    assert {
        name: decided(program, number, audit) for name, number in numbers.items() if number is not None
    } == {name: REFUSE | errno.EPERM for name, number in numbers.items() if number is not None}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("read", (0, 63)),
        ("write", (1, 64)),
        ("mmap", (9, 222)),
        ("exit_group", (231, 94)),
        ("futex", (202, 98)),
    ],
)
def test_what_python_needs_is_allowed(
    processor: tuple[bytes, int, int], name: str, numbers: tuple[int, int]
) -> None:
    program, audit, column = processor
    assert decided(program, numbers[column], audit) == ALLOW, name


def test_a_thread_may_start_and_a_process_may_not(processor: tuple[bytes, int, int]) -> None:
    program, audit, column = processor
    clone, thread, child = (56, 220)[column], 0x003D0F00, 17
    assert decided(program, clone, audit, thread) == ALLOW
    assert decided(program, clone, audit, child) == REFUSE | errno.EPERM


def test_clone3_does_not_exist_so_that_the_call_whose_flags_can_be_read_is_used(
    processor: tuple[bytes, int, int],
) -> None:
    program, audit, _ = processor
    assert decided(program, 435, audit) == REFUSE | errno.ENOSYS


def test_calls_by_another_processors_numbers_end_the_process(processor: tuple[bytes, int, int]) -> None:
    program, audit, _ = processor
    assert decided(program, 0, audit ^ 0x40000000) == KILL  # 32-bit calls on a 64-bit kernel
    assert decided(program, 0x40000000, audit) == KILL  # x32


def test_a_processor_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(Unsupported, match="riscv64"):
        filter_program()
