"""Whom an agent escalates to. Pure.

Rules
- Each agent has its turn once, so that a circle of escalations ends.
- One that cannot work here (its tier has no model), or that hands in something else, is passed over; whom it escalates
  to is next.
- At the end of the line stands a person (`human`), or nobody.
"""

from collections.abc import Collection, Mapping

from quarterdeck.agents.roster import HUMAN
from quarterdeck.agents.routing import equipped
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.entities import Agent


def successor(
    name: str, tried: Collection[str], agents: Mapping[str, Agent], deck: DeckConfig, expects: str = "submission"
) -> str | None:
    """The agent that is next after `name`, `HUMAN`, or None. `tried`: those that have had their turn."""
    seen = {name, *tried}
    while (agent := agents.get(name)) is not None and (to := agent.escalates_to) is not None:
        if to == HUMAN:
            return HUMAN
        if to in seen or to not in agents:
            return None
        if agents[to].expects == expects and equipped(agents[to], deck):
            return to
        seen.add(to)
        name = to
    return None
