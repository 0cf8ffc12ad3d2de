"""The system calls that are refused inside a sandbox, as a classic BPF program. Pure.

Rules
- A deny list: what lets a process look into another one, make namespaces or mounts, reach parts of the kernel that
  have a history of escapes, inject terminal input, or hold memory that no watchdog can see.
- Refused calls fail with an error a program can handle; a call by another architecture's convention ends the process,
  because its numbers would mean something else here.
- `clone3` hides its flags behind a pointer, so it is answered with ENOSYS, and the C library falls back to `clone`.
- How large a socket's buffer is to be is heard and not heeded, as the kernel itself may do: the watchdog counts them.
- Arguments that the kernel reads as 32 bits are compared as 32 bits: high bits must not help to slip through.

Sources: linux/seccomp.h, linux/filter.h, linux/audit.h; the call tables of x86-64 and of asm-generic (aarch64).
"""

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000

_LOAD, _EQUAL, _GREATER, _BITS, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCH = 0, 4
_X32_BIT: Final = 0x40000000

_NEW_NAMESPACES: Final = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000
"""CLONE_NEWCGROUP, UTS, IPC, USER, PID, NET and NS. (CLONE_NEWTIME cannot be given to clone.)"""

_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
_SHARED_MEMORY_LIMIT: Final = 64 * 1024
_SEMAPHORES: Final = 64
"""Of one set: there may be 32,000 sets, and the kernel holds 64 bytes for each semaphore."""
_SOL_SOCKET: Final = 1
_BUFFER_SIZES: Final = (7, 8, 32, 33)
"""SO_SNDBUF, SO_RCVBUF and the same by force."""

_REFUSED: Final = {
    # looking into, and taking over, other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "perf_event_open": (298, 241),
    # parts of the kernel with a history
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # the machine
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "vhangup": (153, 58),
}
_ABSENT: Final = {
    # answered as if the kernel did not have them, so that programs use what they used before
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    # memory that is in no process's share once it is not mapped: the watchdog could not see it
    "io_uring_register": (427, 427),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "msgget": (68, 186),
    "vmsplice": (278, 75),
}
_CONDITIONAL: Final = {
    "clone": (56, 220),
    "ioctl": (16, 29),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "shmget": (29, 194),
    "semget": (64, 190),
    "setsockopt": (54, 208),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the program depends on."""

    audit: int
    """AUDIT_ARCH_* of linux/audit.h."""
    column: int
    """Column of the tables above."""
    x32: bool = False
    """It has a second table of calls above 0x40000000."""


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "x86_64": Architecture(0xC000003E, 0, x32=True),
    "aarch64": Architecture(0xC00000B7, 1),
}
"""By `platform.machine()`."""

Instruction = tuple[int, int, int, int]


def program(machine: str) -> bytes:
    """The filter for `machine` as an array of `struct sock_filter`. Raises KeyError for a machine without a table."""
    architecture = ARCHITECTURES[machine]
    code = [*_header(architecture)]
    for refused, answer in ((_REFUSED, errno.EPERM), (_ABSENT, errno.ENOSYS)):
        for numbers in refused.values():
            code += [_when_equal(numbers[architecture.column], 1), _answer(answer)]
    for name, rule in _rules().items():
        code += [_when_equal(_CONDITIONAL[name][architecture.column], len(rule)), *rule]
    code.append((_RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def number(name: str, machine: str) -> int:
    """The number of a call that the filter knows. Raises KeyError."""
    tables = {**_REFUSED, **_ABSENT, **_CONDITIONAL}
    return tables[name][ARCHITECTURES[machine].column]


def _header(architecture: Architecture) -> list[Instruction]:
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if architecture.x32:
        code += [(_BITS, 0, 1, _X32_BIT), _answer(errno.ENOSYS)]
    return code


def _rules() -> dict[str, list[Instruction]]:
    """What is done for calls that depend on their arguments. Each ends in an answer on every way."""
    allow: Instruction = (_RETURN, 0, 0, ALLOW)
    family = [
        (_LOAD, 0, 0, _low(0)),
        (_EQUAL, 5, 0, _UNIX),
        (_EQUAL, 4, 0, _INET),
        (_EQUAL, 3, 0, _INET6),
        (_EQUAL, 0, 3, _NETLINK),
        (_LOAD, 0, 0, _low(2)),
        (_EQUAL, 0, 1, _NETLINK_ROUTE),  # what listing the interfaces needs; no other netlink family
        allow,
        _answer(errno.EAFNOSUPPORT),
    ]
    return {
        "clone": [(_LOAD, 0, 0, _low(0)), (_BITS, 0, 1, _NEW_NAMESPACES), _answer(errno.EPERM), allow],
        "ioctl": [
            (_LOAD, 0, 0, _low(1)),
            (_EQUAL, 1, 0, _TIOCSTI),
            (_EQUAL, 0, 1, _TIOCLINUX),
            _answer(errno.EPERM),
            allow,
        ],
        "socket": family,
        "socketpair": family,
        "shmget": [
            (_LOAD, 0, 0, _high(1)),
            (_EQUAL, 0, 2, 0),
            (_LOAD, 0, 0, _low(1)),
            (_GREATER, 0, 1, _SHARED_MEMORY_LIMIT),
            _answer(errno.EINVAL),
            allow,
        ],
        "semget": [(_LOAD, 0, 0, _low(1)), (_GREATER, 0, 1, _SEMAPHORES), _answer(errno.EINVAL), allow],
        "setsockopt": [
            (_LOAD, 0, 0, _low(1)),
            (_EQUAL, 0, len(_BUFFER_SIZES) + 2, _SOL_SOCKET),
            (_LOAD, 0, 0, _low(2)),
            *((_EQUAL, left, int(left == 0), size) for left, size in zip((3, 2, 1, 0), _BUFFER_SIZES, strict=True)),
            _answer(0),
            allow,
        ],
    }


def _low(argument: int) -> int:
    return 16 + 8 * argument


def _high(argument: int) -> int:
    return 20 + 8 * argument


def _when_equal(value: int, skip: int) -> Instruction:
    """Fall through where the accumulator is `value`, else skip instructions."""
    return (_EQUAL, 0, skip, value)


def _answer(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)
