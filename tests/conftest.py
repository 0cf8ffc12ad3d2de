"""What holds for every test.

Rules
- No test reaches a real model or a real network: keys are taken out of the environment, and a connection to anything
  but this machine's loopback fails the test. The guard is an audit hook, so that no library can go around it.
- No test depends on the person who runs it: no global git configuration, no deck in their home.
- A test leaves no child process behind, and no program of ours.
"""

import asyncio
import ctypes
import gc
import ipaddress
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from audit_kit import hear
from hypothesis import HealthCheck, settings

from quarterdeck.testing.forked import FORKS
from quarterdeck.workplace import objects
from quarterdeck.workplace.ground import SHARED_ROOT

_PROVIDERS = ("ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "MISTRAL_", "AZURE_", "AWS_", "QUARTERDECK_")
_GRACE = 5.0
"""Seconds in which a child that is already ending may end."""
_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3
"""Bytes of memory that must be free for the tests' files to lie in it."""
_YOUNG = 10_000
"""Objects that were made since the last look for garbage, at which there is another one."""
_NEW_MOUNTS = 0x00020000
"""CLONE_NEWNS."""
_PRIVATE = 0x4000 | 0x40000
"""MS_REC and MS_PRIVATE."""


def _strip_environment() -> None:
    for name in list(os.environ):
        if name.startswith(_PROVIDERS):
            del os.environ[name]
    os.environ["GIT_CONFIG_GLOBAL"] = os.devnull
    os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
    os.environ["GIT_TERMINAL_PROMPT"] = "0"


def _watch_children() -> None:
    """Wait for child processes as the command line does: without a thread for each."""
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())


def _write_into_memory() -> None:
    """Have the tests' directories in memory, where there is room: a disk takes a tenth of the machine's time for them,
    and gives nothing for it. Whoever wants them elsewhere sets pytest's own variable."""
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or sys.platform != "linux" or not os.access(_MEMORY, os.W_OK):
        return
    place = os.statvfs(_MEMORY)
    words = Path("/proc/meminfo").read_text(encoding="ascii").split()
    free = min(place.f_bavail * place.f_frsize, int(words[words.index("MemAvailable:") + 1]) * 1024)
    if free >= _ROOM and not place.f_flag & os.ST_NOEXEC:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)
        if os.geteuid() == 0:
            _have_own_grounds()


def _have_own_grounds() -> None:
    """What root's decks have outside of their homes lies in memory as well, where this process and its children alone
    see it: those of the machine's own decks are out of reach. Where mounting is not allowed all stays as it is."""
    kernel = ctypes.CDLL(None)
    if kernel.unshare(_NEW_MOUNTS) == 0 and kernel.mount(b"none", b"/", None, _PRIVATE, None) == 0:
        SHARED_ROOT.mkdir(parents=True, exist_ok=True)
        kernel.mount(b"tmpfs", os.fsencode(SHARED_ROOT), b"tmpfs", 0, b"mode=0711")


def _is_loopback(host: object) -> bool:
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    text = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        _, address = arguments
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            pytest.fail(f"a test tried to reach {address[0]!r}: tests stay on this machine")
    elif event == "socket.getaddrinfo" and not _is_loopback(arguments[0]):
        pytest.fail(f"a test tried to look up {arguments[0]!r}: tests stay on this machine")


# No deadline for an example: the machine may be busy, and each test has a deadline of its own. The quick ones are the
# same each time: what a change is held up by is of that change. What is searched for is searched for on purpose:
# make unit ARGS=--hypothesis-profile=thorough
for _profile, _examples in (("quick", 25), ("thorough", 1_000)):
    settings.register_profile(
        _profile,
        deadline=None,
        max_examples=_examples,
        derandomize=_profile == "quick",
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("quick")

_strip_environment()
_watch_children()
_write_into_memory()
hear(_guard, "socket.connect", "socket.getaddrinfo")
gc.disable()  # what collecting makes stays


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", choices=("sqlite", "postgres", "both"), default="sqlite", help="where decks lie")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("both_stores")
    if config.getoption("--store") != "sqlite":
        config.pluginmanager.import_plugin("postgres_kit")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one group run in one worker, which builds what they share once."""
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            continue
        # pytest-xdist 3.8 writes the group behind a test's id, and does so where pytest 9.2 no longer looks.
        named = str(getattr(item, "_nodeid", item.nodeid))
        if named != item.nodeid:
            item._id = type(item.id).parse(named)
        if "@" not in item.nodeid.rpartition("]")[2]:
            raise pytest.UsageError(f"{item.nodeid} would not run in the worker of its group")


def pytest_collection_finish() -> None:
    """Thousands of tests are not looked through again and again for what nobody needs any more, and what each of them
    leaves is looked through seldom: a twentieth of their time went into it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
    gc.enable()


_decks = count()


@pytest.fixture(autouse=True)
def _deck_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deck that a test opens without naming a home lies in a temporary directory, in one of its own."""
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path_factory.getbasetemp() / f"deck{next(_decks)}"))


@pytest.fixture(scope="module")
def temporaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Temporary directories that this process makes lie below pytest's own, which go also where a run was killed: those
    of examples, of which one test has many, and of what is only over with the process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.getbasetemp()))
        yield


def _children() -> set[int]:
    """Living child processes of this process (Linux; elsewhere nothing is known)."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(int(pid) for pid in task.read_text().split())
        except FileNotFoundError:  # the thread has ended meanwhile
            continue
    return found


def _programs() -> set[int]:
    """Programs of ours that this process started and that have not ended."""
    return {program.pid for program in FORKS.alive()}


def _ends(pid: int, timeout: float) -> bool:
    """Whether the child ends within `timeout` seconds. One that has ended and was not waited for counts as ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout)[0])
    finally:
        os.close(handle)


@pytest.fixture(autouse=True)
def _no_child_left() -> Iterator[None]:
    before = _children() | _programs()
    yield
    objects.end_all()  # they stay for whoever looks next
    left = [pid for pid in (_children() | _programs()) - before - {FORKS.parent} if not _ends(pid, _GRACE)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"the test left child processes behind: {left}"


def pytest_sessionfinish() -> None:
    FORKS.end()


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
