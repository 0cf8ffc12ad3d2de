"""The desk of one native attempt: what its tools may ask of their surroundings.

Rules
- A desk tool has no effect of its own: what it changes is handed to the action gate and recorded with the outcome, so
  repeating a call whose outcome was lost records it once.
- Delegating is the exception: it is recorded before the sub-agent starts (`agents.delegation`).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from quarterdeck.agents import handoffs, touching
from quarterdeck.agents.attempt_log import Recording
from quarterdeck.agents.beside import changes_code
from quarterdeck.agents.delegation import Delegations, Work
from quarterdeck.agents.glancing import glance
from quarterdeck.agents.handoffs import Refused
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.ports import Ports
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import TodoItem
from quarterdeck.tools.port import Edited, ToolResult

_SMALL: Final = 8 * 1024
"""Characters of a file that is taken apart at once; a larger one in a thread, so that nobody waits for it."""


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
        self._pending: list[e.EventBase] = []
        self._delegations = Delegations(assignment, ports, log, work, left)

    @property
    def below_nusd(self) -> int:
        """Nano-USD that sub-agents have spent."""
        return self._delegations.below_nusd

    async def open(self) -> None:
        """Sum up what sub-agents have spent before."""
        await self._delegations.open()

    async def take(self) -> tuple[e.EventBase, ...]:
        """Events to record with the outcome of the present call."""
        pending, self._pending = tuple(self._pending), []
        return pending

    async def edited(self, edited: Edited) -> None:
        """The present call has changed a file: what of it is new is recorded with its outcome."""
        if self._ports.touches is None or not changes_code(self._assignment):
            return
        before = edited.before or ""
        if max(len(before), len(edited.after)) <= _SMALL:
            spots = glance(edited.path, before, edited.after)
        else:
            spots = await asyncio.to_thread(glance, edited.path, before, edited.after)
        event = touching.grown(self._log.state.trace, edited.path, spots)
        if event is not None:
            self._pending.append(event)

    async def todo(self, items: tuple[TodoItem, ...]) -> ToolResult:
        blob = await self._log.put(b"[" + b",".join(item.model_dump_json().encode() for item in items) + b"]")
        self._pending.append(e.TodoChanged(items_blob=blob))
        open_items = sum(item.status != "done" for item in items)
        return ToolResult(f"{len(items)} steps, {open_items} of them open.")

    async def note(self, text: str) -> ToolResult:
        self._pending.append(e.NoteRecorded(task=self._assignment.task_id, text=text))
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
        return await self._delegations.delegate(call, agent, task)
