"""The native harness: our own loop, on any model behind the model port.

Rules
- It can be resumed: called again for the same attempt it goes on from the record.
- What is wrong with the machine is raised, so that nobody is blamed; everything else is how the attempt ended.
"""

from quarterdeck.agents import endings
from quarterdeck.agents.loop import Loop
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.ports import Ports
from quarterdeck.kernel.failures import FailureClass, QuarterdeckError, StaleClaim


class NativeHarness:
    """Runs native agents."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    @property
    def resumable(self) -> bool:
        return True

    async def work(self, assignment: Assignment) -> Finished:
        """Carry the attempt to its end. Raises SandboxFailed, StoreUnavailable, StaleClaim."""
        try:
            return await Loop(assignment, self._ports, self.work).run()
        except StaleClaim:
            raise
        except QuarterdeckError as error:
            if error.failure is FailureClass.INFRASTRUCTURE:
                raise
            return endings.failed(f"{error}{f' ({error.fix})' if error.fix else ''}", error.failure)
