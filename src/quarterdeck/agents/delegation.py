"""The desk of one attempt: what its tools may ask of their surroundings, and the sub-agents it delegates to.

Rules
- A desk tool has no effect of its own: what it changes is handed to the action gate and recorded with the outcome, so
  repeating a call whose outcome was lost records it once.
- A sub-agent has a stream and a transcript of its own, works in the same sandbox, and returns a bounded answer. The
  delegation is recorded before it starts, so after a crash the same sub-agent goes on.
- Bounded: depth 2, 8 sub-agents an attempt, only those the definition names, never itself, and paid from its
  parent's purses. A sub-agent cannot ask a person; it answers what it could not find out.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from quarterdeck.agents import handoffs
from quarterdeck.agents.attempt_log import Recording, Standing
from quarterdeck.agents.handoffs import Refused
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.transcript import Transcript
from quarterdeck.govern import chain
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Agent, Answer, Harness, TodoItem
from quarterdeck.kernel.ids import PLANNER_TASK
from quarterdeck.tools.bounds import bounded
from quarterdeck.tools.port import ToolResult

MAX_DEPTH: Final = 2
MAX_CHILDREN: Final = 8
ANSWER_LIMIT: Final = 8_000

Work = Callable[[Assignment], Awaitable[Finished]]


def delegates(assignment: Assignment) -> dict[str, str]:
    """Whom this agent may delegate to, name to description."""
    if assignment.depth >= MAX_DEPTH:
        return {}
    agents = assignment.config.agents
    return {
        name: agents[name].description
        for name in assignment.agent.delegates_to
        if name in agents and name != assignment.agent.name and agents[name].harness is Harness.NATIVE
    }


async def spent_below(journal: Journal, state: Standing) -> int:
    """Nano-USD spent by the sub-agents of an attempt, and by theirs."""
    total = 0
    for delegated in state.delegated.values():
        child = Transcript()
        after = 0
        while records := await journal.read(ids.attempt_stream(delegated.child), after):
            for record in records:
                match record.event:
                    case e.ModelAnswered() | e.ModelErred():
                        total += record.event.cost_nusd
                    case e.Delegated():
                        child.delegated[record.event.call] = record.event
                    case _:
                        pass
            after = records[-1].seq
        total += await spent_below(journal, child)
    return total


class AgentDesk:
    """Implements `Desk` for one attempt."""

    def __init__(
        self,
        assignment: Assignment,
        ports: Ports,
        log: Recording,
        work: Work,
        left: Callable[[], float],
    ) -> None:
        """`work` carries an assignment of a sub-agent to its end; `left`: seconds of wall time that are left."""
        self._assignment = assignment
        self._ports = ports
        self._log = log
        self._work = work
        self._left = left
        self._pending: list[e.EventBase] = []
        self.below_nusd = 0

    async def open(self) -> None:
        """Sum up what sub-agents have spent before."""
        self.below_nusd = await spent_below(self._ports.journal, self._log.state)

    async def take(self) -> tuple[e.EventBase, ...]:
        """Events to record with the outcome of the present call."""
        pending, self._pending = tuple(self._pending), []
        return pending

    @property
    def handoff_schema(self) -> dict[str, Any]:
        return handoffs.schema(self._assignment.agent.expects)

    async def todo(self, items: tuple[TodoItem, ...]) -> ToolResult:
        blob = await self._log.put(b"[" + b",".join(item.model_dump_json().encode() for item in items) + b"]")
        self._pending.append(e.TodoChanged(items_blob=blob))
        open_items = sum(item.status != "done" for item in items)
        return ToolResult(f"{len(items)} steps, {open_items} of them open.")

    async def note(self, text: str) -> ToolResult:
        task = self._assignment.task
        self._pending.append(e.NoteRecorded(task=task.id if task is not None else PLANNER_TASK, text=text))
        return ToolResult("Recorded; the other tasks of this run will see it.")

    async def ask(self, question: str) -> ToolResult:
        self._pending.append(e.QuestionAsked(question=question))
        return ToolResult("Your question waits for a person.", ends=True)

    async def submit(self, handoff: Mapping[str, Any]) -> ToolResult:
        agent = self._assignment.agent
        found = handoffs.parse(agent.expects, handoff, goal=self._assignment.goal)
        if not isinstance(found, Refused) and (wrong := self._ports.inspect(self._assignment, found)):
            found = handoffs.refuse(agent.expects, list(wrong))
        if isinstance(found, Refused):
            return ToolResult(found.reason, ok=False, flags=("refused-handoff",))
        return ToolResult("Accepted.", ends=True)

    async def delegate(self, call: str, agent: str, task: str) -> ToolResult:
        known = self._log.state.delegated.get(call)
        if known is None:
            if refusal := self._may_not(agent):
                return ToolResult(f"Not delegated: {refusal}.", ok=False, flags=("refused",))
            number = len(self._log.state.delegated) + 1
            child = ids.child_attempt(self._assignment.attempt, "sub", number)
            known = e.Delegated(call=call, child=child, agent=agent)
            await self._log.append(known)
        assignment = await self._child(known, self._assignment.config.agents[agent], task)
        before = self.below_nusd
        try:
            finished = await self._work(assignment)
        finally:  # given up, it has spent money all the same
            self.below_nusd = max(before, await spent_below(self._ports.journal, self._log.state))
        return answer_of(agent, finished)

    def _may_not(self, agent: str) -> str:
        """Why it cannot be delegated to that agent; empty = it can."""
        allowed = delegates(self._assignment)
        if agent == self._assignment.agent.name:
            return "an agent does not delegate to itself"
        if agent not in allowed:
            return f"you may delegate to {', '.join(allowed) or 'nobody'}"
        if len(self._log.state.delegated) >= MAX_CHILDREN:
            return f"{MAX_CHILDREN} sub-agents are the most for one attempt"
        return ""

    async def _child(self, delegated: e.Delegated, agent: Agent, task: str) -> Assignment:
        """The sub-agent's work order, with its stream claimed."""
        parent = self._assignment
        stream = ids.attempt_stream(delegated.child)
        claim = await self._ports.journal.claim(stream)
        started = await self._ports.journal.read(stream, limit=1)
        if not started:
            await self._ports.journal.append(claim, _started(parent, delegated))
        return _order(parent, delegated, self._bounded(agent), task, claim)

    def _bounded(self, agent: Agent) -> Agent:
        """The sub-agent's definition, with no more time than its parent has left; its money is its parent's too."""
        wall = self._left()
        wall = max(1.0, min(wall, agent.limits.wall or wall))
        limits = agent.limits.model_copy(update={"wall": wall})
        return agent.model_copy(update={"expects": "answer", "limits": limits})


def _started(parent: Assignment, delegated: e.Delegated) -> e.AttemptStarted:
    _, task, _ = ids.split_attempt(delegated.child)
    return e.AttemptStarted(
        run=parent.run,
        task=task,
        number=parent.number,
        agent=delegated.agent,
        harness=Harness.NATIVE,
        incarnation=parent.incarnation,
        base="",
        workspace=parent.sandbox.id,
        parent=parent.attempt,
    )


def _order(parent: Assignment, delegated: e.Delegated, agent: Agent, task: str, claim: Claim) -> Assignment:
    return Assignment(
        run=parent.run,
        attempt=delegated.child,
        number=parent.number,
        incarnation=parent.incarnation,
        agent=agent,
        claim=claim,
        sandbox=parent.sandbox,
        config=parent.config,
        goal=task,
        task=parent.task,
        chain=chain.delegated(parent.chain, delegated.child, agent.limits.usd),
        depth=parent.depth + 1,
        extra={"delegated": task},
    )


def answer_of(agent: str, finished: Finished) -> ToolResult:
    """What the parent is told. Pure."""
    if isinstance(finished.handoff, Answer):
        text, cut = bounded(finished.handoff.summary, ANSWER_LIMIT)
        return ToolResult(text, flags=("truncated",) if cut else ())
    detail = "\n".join(item.detail for item in finished.feedback if item.detail)
    text, _ = bounded(
        f"`{agent}` did not finish: {finished.reason or finished.outcome}\n{detail}".strip(), ANSWER_LIMIT
    )
    return ToolResult(text, ok=False)
