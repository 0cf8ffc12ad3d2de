"""The tools of one attempt: ours, and those of outside servers that the agent's definition allows.

Rules
- Those of outside servers are gathered once, when the attempt begins, and recorded before the first model call;
  afterwards the record says what they are, so that a prompt sent again after a crash is the same to the byte.
- Whoever is equipped lets go of it when the attempt is over, however it ended.
"""

from collections.abc import Sequence

from quarterdeck.agents import handoffs
from quarterdeck.agents.attempt_log import Recording
from quarterdeck.agents.delegation import delegates
from quarterdeck.agents.port import Assignment
from quarterdeck.kernel import events as e
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.tools.port import Tool
from quarterdeck.tools.shed.needs import Needs, wants_servers
from quarterdeck.tools.shed.shed import NOTHING, Given, Outside, Shed
from quarterdeck.tools.toolbox import Toolbox


def own(assignment: Assignment, toolbox: Toolbox, names: Sequence[str] | None) -> dict[str, Tool]:
    """Our tools for this attempt, by name: those `names` (None = the default set) and what its place in the run asks
    for. A sub-agent asks nobody and records nothing for others: its parent does."""
    return toolbox.select(
        names,
        expects=assignment.agent.expects,
        handoff_schema=handoffs.schema(assignment.agent.expects),
        delegates=delegates(assignment),
        without=frozenset({"ask", "note"}) if assignment.depth else frozenset(),
    )


async def equipped(assignment: Assignment, shed: Shed | None, log: Recording, recorded: bytes | None) -> Outside:
    """The tools of outside servers for this attempt, callable until `let_go`.

    `recorded`: what an earlier `ToolsGiven` on this attempt's stream holds; else a new one is recorded.
    Raises BadConfiguration, ToolServerFailed where a tool that the definition names is not to be had.
    """
    if not wants_servers(assignment.agent.tools):
        return NOTHING
    if shed is None:
        raise BadConfiguration("tools of outside servers are not to be had here", fix="quarterdeck tools")
    needs = needs_of(assignment)
    try:
        if recorded is None:
            given = await shed.gather(needs)
            recorded, shown, found = given.encode(), len(given.shown), len(given.found)
            blob = await log.put(recorded)
            await log.append(e.ToolsGiven(tools_blob=blob, shown=shown, found=found, unavailable=given.unavailable))
        return shed.equip(needs, Given.decode(recorded))  # as it will be read after a crash
    except BaseException:
        await shed.release(assignment.attempt)
        raise


async def let_go(assignment: Assignment, shed: Shed | None) -> None:
    """The attempt is over: what ran for it alone may end."""
    if shed is not None and wants_servers(assignment.agent.tools):
        await shed.release(assignment.attempt)


def needs_of(assignment: Assignment) -> Needs:
    """What the shed has to know of an attempt."""
    return Needs(
        run=assignment.run,
        attempt=assignment.attempt,
        tools=assignment.agent.tools,
        deck=assignment.config.deck,
        sandbox=assignment.sandbox,
    )
