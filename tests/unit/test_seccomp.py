"""The system call filter, run by an interpreter of classic BPF."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.workplace import seccomp

ALLOW = seccomp.ALLOW
MACHINES = ("x86_64", "aarch64")


def run(program: bytes, number: int, arguments: tuple[int, ...] = (), *, audit: int) -> int:
    """What the kernel would answer: linux/Documentation/networking/filter.rst, the part that the filter uses."""
    padded = (*arguments, *(0 for _ in range(6 - len(arguments))))
    data = struct.pack("<iIQ6Q", number, audit, 0, *(value & 0xFFFFFFFFFFFFFFFF for value in padded))
    code = [struct.unpack_from("<HBBI", program, offset) for offset in range(0, len(program), 8)]
    accumulator, position = 0, 0
    for _ in range(4096):
        operation, yes, no, constant = code[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif operation == 0x06:
            return int(constant)
        else:
            taken = {0x15: accumulator == constant, 0x25: accumulator > constant, 0x45: bool(accumulator & constant)}
            position += yes if taken[operation] else no
    raise AssertionError("the filter does not end")


def answer(machine: str, call: str | int, *arguments: int) -> int:
    number = call if isinstance(call, int) else seccomp.number(call, machine)
    return run(seccomp.program(machine), number, arguments, audit=seccomp.ARCHITECTURES[machine].audit)


def error(number: int) -> int:
    return 0x00050000 | number


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "call",
    [
        "ptrace",
        "process_vm_readv",
        "keyctl",
        "add_key",
        "request_key",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "mount",
        "umount2",
        "pivot_root",
        "fsopen",
        "fsmount",
        "open_tree",
        "move_mount",
        "unshare",
        "setns",
        "kexec_load",
        "init_module",
        "swapon",
        "reboot",
        "open_by_handle_at",
        "pidfd_getfd",
    ],
)
def test_dangerous_calls_are_refused(machine: str, call: str) -> None:
    assert answer(machine, call) == error(errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("call", ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_create"])
def test_calls_with_a_fallback_look_absent(machine: str, call: str) -> None:
    assert answer(machine, call) == error(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (17, ALLOW),  # fork
        (0x003D0F00, ALLOW),  # a thread
        (0x10000000 | 17, error(errno.EPERM)),
        (0x00020000, error(errno.EPERM)),
        (0x20000000, error(errno.EPERM)),
        (0x40000000, error(errno.EPERM)),
        (0x02000000, error(errno.EPERM)),
    ],
)
def test_clone_makes_threads_and_children_but_no_namespaces(machine: str, flags: int, expected: int) -> None:
    assert answer(machine, "clone", flags) == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("family", "protocol", "expected"),
    [
        (1, 0, ALLOW),
        (2, 6, ALLOW),
        (10, 17, ALLOW),
        (16, 0, ALLOW),
        (16, 12, error(errno.EAFNOSUPPORT)),
        (17, 3, error(errno.EAFNOSUPPORT)),
        (40, 0, error(errno.EAFNOSUPPORT)),
        (38, 0, error(errno.EAFNOSUPPORT)),
        (0x1_0000_0000 | 40, 0, error(errno.EAFNOSUPPORT)),
    ],
)
def test_socket_families(machine: str, family: int, protocol: int, expected: int) -> None:
    assert answer(machine, "socket", family, 1, protocol) == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (0x5412, error(errno.EPERM)),
        (0xDEADBEEF_00005412, error(errno.EPERM)),
        (0x541C, error(errno.EPERM)),
        (0x5413, ALLOW),
        (0x5401, ALLOW),
    ],
)
def test_terminal_input_cannot_be_injected(machine: str, request_: int, expected: int) -> None:
    assert answer(machine, "ioctl", 0, request_) == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("size", "expected"), [(56, ALLOW), (65536, ALLOW), (65537, error(errno.EINVAL)), (1 << 32, error(errno.EINVAL))]
)
def test_shared_memory_segments_stay_small(machine: str, size: int, expected: int) -> None:
    assert answer(machine, "shmget", 0, size) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_is_kept_in_the_kernel_that_nobody_counts(machine: str) -> None:
    assert {answer(machine, call, 0, 0) for call in ("msgget", "vmsplice")} == {error(errno.ENOSYS)}
    assert [answer(machine, "semget", 0, n) for n in (0, 17, 64)] == [ALLOW] * 3
    assert [answer(machine, "semget", 0, n) for n in (65, 0xFFFFFFFF)] == [error(errno.EINVAL)] * 2
    heard = [option for option in range(100) if answer(machine, "setsockopt", 3, 1, option) == error(0)]
    assert heard == [7, 8, 32, 33], "SO_SNDBUF, SO_RCVBUF, and both by force"
    assert {answer(machine, "setsockopt", 3, level, 7) for level in (0, 6, 41)} == {ALLOW}


def test_another_architecture_ends_the_process() -> None:
    program = seccomp.program("x86_64")
    assert run(program, 1, audit=0x40000003) == seccomp.KILL
    assert run(program, 1, audit=seccomp.ARCHITECTURES["x86_64"].audit) == ALLOW


@given(st.integers(min_value=0, max_value=0x3FFFFFFF))
def test_the_x32_table_is_closed(number: int) -> None:
    assert answer("x86_64", 0x40000000 | number) == error(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
@given(st.integers(min_value=0, max_value=600), st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6))
def test_every_call_gets_an_answer_and_files_stay_usable(machine: str, number: int, arguments: list[int]) -> None:
    given_answer = answer(machine, number, *arguments)
    assert given_answer == ALLOW or given_answer >> 16 == 5
    ordinary = {"x86_64": (0, 1, 2, 3, 9, 59, 61, 257, 262), "aarch64": (63, 64, 56, 57, 222, 221, 260, 79)}[machine]
    if number in ordinary:
        assert given_answer == ALLOW


def test_a_filter_fits_into_a_pipe_and_the_kernel() -> None:
    assert all(len(seccomp.program(machine)) // 8 < 4096 for machine in MACHINES)
    assert all(len(seccomp.program(machine)) < 65536 for machine in MACHINES)


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(KeyError):
        seccomp.program("vax")
