"""The filter of system calls that a process in the sandbox is under, as a program for Linux's seccomp."""

from __future__ import annotations

import platform
import struct

from freehold.core.errors import Unsupported

#: Refused system calls with their numbers on x86-64 and on AArch64; None where there is no such call.
#: Sources: Linux's asm/unistd_64.h and asm-generic/unistd.h.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Further processes.
    "fork": (57, None),
    "vfork": (58, None),
    # The network, and lines to other processes.
    "socket": (41, 198),
    "socketpair": (53, 199),
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    # Mounts and name spaces.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, None),
    # Memory and queues that no limit of a process counts.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # What only a system's own programs need.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "personality": (135, 92),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "fanotify_init": (300, 262),
}
#: Processor -> (its number for audits, its column above, its number of clone).
_PROCESSORS = {"x86_64": (0xC000003E, 0, 56), "aarch64": (0xC00000B7, 1, 220)}
_CLONE3 = 435
_CLONE_THREAD = 0x10000
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE = 0x00050000
_EPERM, _ENOSYS = 1, 38


def filter_program() -> bytes:
    """The program for this processor. Raises Unsupported where its system calls are not known."""
    known = _PROCESSORS.get(platform.machine())
    if known is None:
        raise Unsupported(f"answers cannot be confined on this processor ({platform.machine()})")
    audit, column, clone = known
    refused = [numbers[column] for numbers in _REFUSED.values()]
    steps = [
        _step(_LOAD, 4),
        _step(_EQUAL, audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, 0),
        _step(_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _KILL),
        # glibc falls back to clone where clone3, whose flags a filter cannot read, does not exist.
        *_unless(_CLONE3, _ENOSYS),
        *(step for number in refused if number is not None for step in _unless(number, _EPERM)),
        # A thread may start, a process may not.
        _step(_EQUAL, clone, 0, 3),
        _step(_LOAD, 16),
        _step(_ANY_BIT, _CLONE_THREAD, 1, 0),
        _step(_RETURN, _REFUSE | _EPERM),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def _unless(number: int, error: int) -> list[bytes]:
    return [_step(_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE | error)]


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)
