"""Sub-agents: whom an attempt may delegate to, how they start, what comes back.

Rules
- Only agents that the definition names, on a harness that can run inside another attempt (today: native), never itself
  and never one that stands above it: the chain of ancestors is on record and checked, so that A -> B -> A is refused
  even where both definitions allow it.
- Bounded in depth (`limits.delegation_depth`), in number (`limits.fan_out`), in time by what the parent has left, and
  in pace: a start beyond `limits.spawn_per_minute` waits for its turn, which is on record.
- A sub-agent has a stream and a transcript of its own, works in the same sandbox, and returns a bounded answer; the
  whole of it stays in its stream. The delegation is recorded before it starts, so after a crash the same one goes on.
- It cannot ask a person; it answers what it could not find out.
- It is paid from its parent's purses.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from quarterdeck.agents.attempt_log import Recording
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.ports import Ports
from quarterdeck.agents.routing import equipped
from quarterdeck.govern import chain
from quarterdeck.govern.port import Start, Window
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Agent, Answer, Harness
from quarterdeck.store.port import Tx
from quarterdeck.tools.bounds import bounded
from quarterdeck.tools.port import ToolResult

SUB_AGENTS: Final = (Harness.NATIVE,)
"""Harnesses whose agents can work inside of another one's attempt."""

ANSWER_LIMIT: Final = 8_000
MINUTE: Final = 60.0

Work = Callable[[Assignment], Awaitable[Finished]]


def delegates(assignment: Assignment) -> dict[str, str]:
    """Whom this agent may delegate to, name to description. Pure."""
    limits, agents = assignment.config.deck.limits, assignment.config.agents
    if assignment.depth >= limits.delegation_depth or limits.fan_out == 0:
        return {}
    return {
        name: agents[name].description
        for name in assignment.agent.delegates_to
        if name in agents
        and agents[name].harness in SUB_AGENTS
        and equipped(agents[name], assignment.config.deck)
        and name not in _line(assignment)
    }


def refusal(assignment: Assignment, agent: str, children: int) -> str:
    """Why it cannot be delegated to that agent; empty = it can. Pure. `children`: sub-agents it has had already."""
    line, limits = _line(assignment), assignment.config.deck.limits
    if agent == assignment.agent.name:
        return "an agent does not delegate to itself"
    if agent in line:
        return f"that would be a cycle: {' -> '.join((*line, agent))}"
    if agent in assignment.agent.delegates_to and assignment.depth >= limits.delegation_depth:
        return f"sub-agents stand at most {limits.delegation_depth} deep (limits.delegation_depth)"
    if children >= limits.fan_out:
        return f"{limits.fan_out} sub-agents are the most for one attempt (limits.fan_out)"
    allowed = delegates(assignment)
    return "" if agent in allowed else f"you may delegate to {', '.join(allowed) or 'nobody'}"


def _line(assignment: Assignment) -> tuple[str, ...]:
    """The agents from the outermost to this one."""
    return (*assignment.ancestors, assignment.agent.name)


async def spent_below(journal: Journal, delegations: Mapping[str, e.Delegated]) -> int:
    """Nano-USD spent by the sub-agents of an attempt, and by theirs."""
    total = 0
    for delegated in delegations.values():
        below: dict[str, e.Delegated] = {}
        after = 0
        while records := await journal.read(ids.attempt_stream(delegated.child), after):
            for record in records:
                match record.event:
                    case e.ModelAnswered() | e.ModelErred():
                        total += record.event.cost_nusd
                    case e.Delegated():
                        below[record.event.call] = record.event
                    case _:
                        pass
            after = records[-1].seq
        total += await spent_below(journal, below)
    return total


class Delegations:
    """The sub-agents of one attempt, whatever harness its own agent runs on."""

    def __init__(
        self, assignment: Assignment, ports: Ports, log: Recording, work: Work, left: Callable[[], float]
    ) -> None:
        """`work` carries an assignment of a sub-agent to its end; `left`: seconds of wall time that are left."""
        self._assignment = assignment
        self._ports = ports
        self._log = log
        self._work = work
        self._left = left
        self.below_nusd = 0
        """Nano-USD that sub-agents have spent."""

    async def open(self) -> None:
        """Sum up what sub-agents have spent before."""
        self.below_nusd = await spent_below(self._ports.journal, self._log.state.delegated)

    async def delegate(self, call: str, agent: str, task: str) -> ToolResult:
        """Let that agent work on `task`; its answer. Asked again for the same call, the same sub-agent goes on."""
        parent = self._assignment
        delegated = self._log.state.delegated
        known = delegated.get(call)
        if known is None:
            if why := refusal(parent, agent, len(delegated)):
                return _not_delegated(why)
            child = ids.child_attempt(parent.attempt, "sub", len(delegated) + 1)
            if why := await self._turn(child):
                return _not_delegated(why)
            known = e.Delegated(call=call, child=child, agent=agent, ancestors=_line(parent))
            await self._log.append(known)
        assignment = await self._child(known, parent.config.agents[agent], task)
        before = self.below_nusd
        try:
            finished = await self._work(assignment)
        finally:  # given up, it has spent money all the same
            self.below_nusd = max(before, await spent_below(self._ports.journal, self._log.state.delegated))
        return answer_of(agent, finished)

    async def _turn(self, child: str) -> str:
        """Wait until one more agent may start; why it may not, where that takes longer than the attempt has time."""
        parent, held = self._assignment, False
        while True:
            now = self._ports.clock.wall()
            turn, most = await self._taken(Start("agent", child, parent.run), now)
            reason = f"{most} attempts, reviews and sub-agents of the deck in a minute are the most"
            seconds = turn - now
            if seconds <= 0:
                if held:
                    await self._log.append(e.WorkReleased())
                return ""
            if not held:
                held = True
                event = e.WorkHeld(limit="spawn_per_minute", reason=reason, until=turn, starts=(child,))
                await self._log.append(event)
            if seconds > self._left():
                return f"{reason}, and its turn would come after this attempt's time (limits.spawn_per_minute)"
            await self._ports.sleep(seconds)

    async def _taken(self, start: Start, now: float) -> tuple[float, int]:
        """When it may start, and how many may in a minute."""
        own, starts = self._assignment.config.deck.limits, self._ports.starts
        turns: list[tuple[float, int]] = []

        def also(tx: Tx) -> None:
            most = starts.limits(tx, own, now).spawn_per_minute
            turns.append((starts.take(tx, start, Window(most, MINUTE), now), most))

        await self._ports.journal.commit(also=also)
        return turns[-1]

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


def _not_delegated(why: str) -> ToolResult:
    return ToolResult(f"Not delegated: {why}.", ok=False, flags=("refused",))


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
        ancestors=_line(parent),
        keep=parent.keep,
        remade=parent.remade,
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
