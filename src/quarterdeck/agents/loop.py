"""The native agent loop. It reads its next move off the record, so going on after a crash is the normal case.

    until the attempt has ended, one pass after the other:
        a call without an outcome?   perform it, through the action gate
        a bound is reached?          stop
        otherwise                    remind, compact near the window's end, ask the model

Rules
- Every pass does one thing and records it; whatever happens between two passes, the next one goes on from the record.
- Only a handoff accepted by `submit` is success. A bound ends the work with a report of what is complete.
- What a person says meanwhile stands at the end of the newest message before the model is asked again.
"""

from quarterdeck.agents import endings, equipment, limits, prompts, stopping
from quarterdeck.agents.attempt_log import AttemptLog
from quarterdeck.agents.calls import ModelCalls, OverBound, Prompt
from quarterdeck.agents.compaction import Compaction, TooSmall
from quarterdeck.agents.delegation import Work
from quarterdeck.agents.desk import AgentDesk
from quarterdeck.agents.gate import ActionGate
from quarterdeck.agents.limits import Used
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.remarks import Remarks
from quarterdeck.agents.worktime import WorkTime
from quarterdeck.kernel.failures import FailureClass, ModelFailed


class Loop:
    """One attempt of one native agent."""

    _gate: ActionGate
    _prompt: Prompt
    _compaction: Compaction

    def __init__(self, assignment: Assignment, ports: Ports, work: Work) -> None:
        """`work` carries a sub-agent's assignment to its end."""
        self._assignment = assignment
        self._ports = ports
        self._log = AttemptLog(ports.journal, assignment.claim)
        self._bounds = limits.bounds_of(assignment)
        self._time = WorkTime(self._bounds.wall, ports.clock)
        self._desk = AgentDesk(assignment, ports, self._log, work, self._time.left)
        self._calls = ModelCalls(assignment, ports, self._log, self._time.left)
        self._remarks = Remarks(assignment, ports, self._log)

    async def run(self) -> Finished:
        """Carry the attempt to its end. Raises SandboxFailed, StoreUnavailable, StaleClaim."""
        self._remarks.listen()
        try:
            await self._open()
            finished = None
            while finished is None:
                finished = await self._pass()
            await self._log.recorded()
            return finished
        finally:
            self._remarks.leave()
            await equipment.let_go(self._assignment, self._ports.shed)

    async def _open(self) -> None:
        """Take the attempt up where its record ends, or begin it. Its tools, part of every prompt, are fixed here."""
        assignment, ports, log = self._assignment, self._ports, self._log
        await log.open()
        outside = await equipment.equipped(assignment, ports.shed, log, log.state.given)
        tools = {**equipment.own(assignment, ports.toolbox, assignment.agent.tools), **outside.shown}
        self._gate = ActionGate(assignment, ports, log, tools, self._desk, outside.hidden, self._time.waiting)
        self._prompt = Prompt(prompts.system_prompt(assignment), tuple(tool.spec for tool in tools.values()))
        self._compaction = Compaction(log, self._calls, self._prompt)
        await self._desk.open()
        await self._calls.heal()
        self._time.before = log.state.seconds
        if not log.state.messages:
            await log.say(prompts.first_message(assignment), "task")
        await self._remarks.open()

    async def _pass(self) -> Finished | None:
        """Do the one thing that is next; how the attempt has ended, None = it has not."""
        state = self._log.state
        if finished := endings.ended(state, self._assignment):
            return finished
        if owed := state.owed():
            await self._gate.perform(self._remarks.heeding(owed[0]), max(1.0, self._time.left()))
        elif reached := limits.reached(self._bounds, state, self._used()):
            await stopping.at_bound(self._log, reached, self._assignment.sandbox)
        else:
            return await self._think()
        return None

    async def _think(self) -> Finished | None:
        """Ask the model what is next; how the attempt ends where none can be asked."""
        state = self._log.state
        try:
            await self._remarks.say(self._bounds, self._used())
            await self._compaction.where_needed()
            await self._calls.ask(self._prompt)
        except OverBound as over:
            await stopping.at_bound(self._log, over.reached, self._assignment.sandbox)
        except TooSmall as error:
            return endings.failed(str(error), FailureClass.CONTEXT)
        except ModelFailed as error:
            if error.kind is FailureClass.INFRASTRUCTURE:
                raise
            squeezable = state.too_long and not state.squeezes
            if not squeezable and self._time.left() > 0:  # else the next pass shortens the prompt, or stops
                return await stopping.unanswered(self._log, error, self._calls.model, self._assignment)
        return None

    def _used(self) -> Used:
        return Used(self._time.used(), self._desk.below_nusd)
