"""The native harness: our own loop, on any model behind the model port.

Rules
- It can be resumed: called again for the same attempt it goes on from the record.
- What is wrong with the machine is raised, so that nobody is blamed; everything else is how the attempt ended.
"""

import contextlib

from quarterdeck.agents import endings
from quarterdeck.agents.loop import Loop
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.routing import candidates
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadConfiguration, FailureClass, ModelFailed, QuarterdeckError, StaleClaim
from quarterdeck.workplace.port import NO_GEAR, Gear


class NativeHarness:
    """Runs native agents."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    @property
    def ports(self) -> Ports:
        """What it is built from: an agent that is not our loop gets its desk from the same parts."""
        return self._ports

    @property
    def resumable(self) -> bool:
        return True

    def prepare(self, agent: Agent, config: RunConfig) -> None:
        """Load the client of the agent's first model, and what its tool servers need, while its workspace is made."""
        with contextlib.suppress(BadConfiguration):  # `work` says so
            self._ports.models(candidates(agent, config.deck)[0])
        if self._ports.shed is not None:
            self._ports.shed.prepare(agent.tools)

    async def gear(self, agent: Agent, config: RunConfig) -> Gear:
        """Nothing beyond what every sandbox has."""
        return NO_GEAR

    async def work(self, assignment: Assignment) -> Finished:
        """Carry the attempt to its end. Raises SandboxFailed, StoreUnavailable, StaleClaim."""
        try:
            return await Loop(assignment, self._ports, self.work).run()
        except StaleClaim:
            raise
        except QuarterdeckError as error:
            failure = _class_of(error)
            if failure is FailureClass.INFRASTRUCTURE:
                raise
            return endings.failed(f"{error}{f' ({error.fix})' if error.fix else ''}", failure)


def _class_of(error: QuarterdeckError) -> FailureClass:
    """What an attempt that `error` ended has failed by. No other attempt has another configuration."""
    if isinstance(error, ModelFailed):
        return error.kind
    return FailureClass.CONFIGURATION if isinstance(error, BadConfiguration) else error.failure
