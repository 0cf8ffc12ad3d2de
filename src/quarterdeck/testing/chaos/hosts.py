"""Where a worker runs: a host with a network of its own, where this machine can make one.

Rules
- A `Namespace` is a network namespace that one cable leads to. Pulled, nothing gets through in either direction and
  nobody is told: the database, the git remote and the models are all behind it.
- `Here` is no host of its own: what leads to the worker is held back on its way instead.
- Namespaces are made below one of our own (`apart`), so that nothing of the machine's network is touched, and
  everything ends with the process that made them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, Protocol

_TOOLS: Final = ("ip", "nsenter", "unshare")
_HOLD: Final = "ip link set lo up && echo ready && exec cat"
_MARK: Final = "--apart"


class Host(Protocol):
    """Where one worker runs."""

    @property
    def gateway(self) -> str:
        """The address at which it finds whatever is served to it."""
        ...

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command as it has to be started to run there."""
        ...

    def pull(self) -> bool:
        """Pull its cable; False = it has none."""
        ...

    def plug(self) -> None:
        """Put the cable back."""
        ...

    def close(self) -> None:
        """Take it away. Idempotent."""
        ...


class Here:
    """This machine's loopback."""

    gateway = "127.0.0.1"

    def inside(self, command: Sequence[str]) -> list[str]:
        return list(command)

    def pull(self) -> bool:
        return False

    def plug(self) -> None:
        """There is no cable."""

    def close(self) -> None:
        """Nothing was made."""


class Namespace:
    """A network namespace with one cable to ours. number: from 1, one for each host. Raises OSError."""

    def __init__(self, number: int) -> None:
        self._cable = f"host{number}"
        self.gateway = f"10.77.{number}.1"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", _HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        try:
            if not self._holder.stdout.readline():
                raise OSError("no network namespace could be made")
            self._lay(f"10.77.{number}.2")
        except OSError:
            self.close()
            raise

    def _lay(self, address: str) -> None:
        """Lay the cable."""
        there = str(self._holder.pid)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", there)
        _ip("address", "add", f"{self.gateway}/30", "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        for command in (("address", "add", f"{address}/30", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _done(self.inside(["ip", *command]))

    def inside(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--", *command]

    def pull(self) -> bool:
        _ip("link", "set", self._cable, "down")
        return True

    def plug(self) -> None:
        _ip("link", "set", self._cable, "up")

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()


def apart(arguments: Sequence[str], module: str) -> bool:
    """Whether this process has a network of its own. Where it could have one, it is started anew with one, its
    `arguments` ending with a mark (see `told`), and this does not return."""
    if _MARK in arguments:
        _ip("link", "set", "lo", "up")
        return True
    if os.geteuid() != 0 or not all(map(shutil.which, _TOOLS)):
        return False
    # The mounts too: a small disk is gone with the last process that sees it.
    trial = ["unshare", "--net", "--mount", "sh", "-c", "ip link add here type veth peer name there"]
    if subprocess.run(trial, capture_output=True).returncode != 0:
        return False
    command = ["unshare", "--net", "--mount", sys.executable, "-m", module, *arguments, _MARK]
    sys.stdout.flush()
    return bool(os.execvp(command[0], command))


def told(arguments: Sequence[str]) -> list[str]:
    """The arguments as they were given."""
    return [argument for argument in arguments if argument != _MARK]


def _ip(*arguments: str) -> None:
    _done(["ip", *arguments])


def _done(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
