"""What holds for every test.

Rules
- No test reaches a real model or a real network: keys are taken out of the environment, and a connection to anything
  but this machine's loopback fails the test. The guard is an audit hook, so that no library can go around it.
- No test depends on the person who runs it: no global git configuration, no deck in their home.
- A test leaves no child process behind, and no program of ours.
"""

import asyncio
import ipaddress
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_kit
from hypothesis import HealthCheck, settings

from quarterdeck.testing.forked import FORKS

_PROVIDERS = ("ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "MISTRAL_", "AZURE_", "AWS_", "QUARTERDECK_")
_GRACE = 5.0
"""Seconds in which a child that is already ending may end."""


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


# No deadline for an example: the machine may be busy, and each test has a deadline of its own.
# More examples: make unit ARGS=--hypothesis-profile=thorough
for _profile, _examples in (("quick", 25), ("thorough", 1_000)):
    settings.register_profile(
        _profile, deadline=None, max_examples=_examples, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("quick")

_strip_environment()
_watch_children()
sys.addaudithook(_guard)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", choices=("sqlite", "postgres", "both"), default="sqlite", help="where decks lie")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--store") != "sqlite":
        config.pluginmanager.import_plugin("postgres_kit")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker
    if metafunc.config.getoption("--store") == "both" and mark("both_stores") and not mark("embedded"):
        metafunc.parametrize("store_kind", ("sqlite", "postgres"), indirect=True)


@pytest.fixture(autouse=True)
def store_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """In which kind of database the test's decks lie."""
    chosen = request.config.getoption("--store")
    embedded = chosen == "both" or request.node.get_closest_marker("embedded")
    kind: str = getattr(request, "param", "sqlite" if embedded else chosen)
    if kind == "sqlite":
        yield kind
    else:
        with store_kit.on(request.getfixturevalue("postgres_server")):
            yield kind


@pytest.fixture(autouse=True)
def _deck_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deck that a test opens without naming a home lies in a temporary directory."""
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path_factory.getbasetemp() / "deck"))


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
