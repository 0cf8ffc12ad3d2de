"""A way to sandbox that this machine does not offer: by its operator's word, not for want of anything.

Rules
- Nothing is begun and nothing is attached. What was begun before the operator's word changed is cleared away all the
  same.
"""

from collections.abc import Callable

from quarterdeck.kernel.failures import SandboxUnavailable
from quarterdeck.workplace.port import Probe, Provider, Sandbox, Spec


class Withheld:
    """The provider `behind`, out of use. refusal: what whoever wants it is told."""

    def __init__(self, behind: Provider, refusal: Callable[[], SandboxUnavailable]) -> None:
        self._refusal = refusal
        self.name = behind.name
        self.reap = behind.reap
        self.discard = behind.discard

    async def probe(self, *, anew: bool = False) -> Probe:
        refused = self._refusal()
        return Probe(ok=False, detail=refused.message, fix=refused.fix)

    async def create(self, spec: Spec) -> Sandbox:
        """Raises SandboxUnavailable."""
        raise self._refusal()

    async def attach(self, spec: Spec) -> Sandbox | None:
        """Raises SandboxUnavailable."""
        raise self._refusal()
