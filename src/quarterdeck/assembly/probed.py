"""A process that a test stops, kills or breaks at the point that it names (`QUARTERDECK_PROBE`)."""

import os
import signal

from quarterdeck.kernel import probes
from quarterdeck.kernel.failures import Stop
from quarterdeck.settings import ProbeAction, ProbeSpec, Settings


def install(settings: Settings) -> None:
    """See to it that this process does at a probe point what a test asked for."""
    if settings.probe is not None:
        probes.install(_Probe(settings.probe))


class _Probe:
    """Does to this process what a test asked for, at the point where it asked for it."""

    def __init__(self, spec: ProbeSpec) -> None:
        self._spec = spec
        self._left = spec.count

    def __call__(self, name: str) -> None:
        if name != self._spec.name:
            return
        self._left -= 1
        if self._left != 0:
            return
        match self._spec.action:
            case ProbeAction.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case ProbeAction.STOP:
                os.kill(os.getpid(), signal.SIGSTOP)
            case ProbeAction.RAISE:
                raise Stop(f"stopped at {name}")
