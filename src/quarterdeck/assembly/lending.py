"""Who has a CLI and no model of a deck's own can still have a goal planned and reviewed. Pure.

Rules
- Where a run is ordered with an agent that speaks ACP, native agents whose tier names no model work on that agent's
  CLI, with its login. Whoever has a model keeps it.
- Such an agent keeps its role, its prompt, its tools and its handoff; it delegates to nobody, because sub-agents are
  native. Sub-agents are not lent a CLI.
- It is said where people look for what a run was configured from.
"""

from typing import Final

from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Harness

LENT: Final = "agents: without a model of their own, on the CLI of "
"""How the line begins that says so."""


def lent(config: RunConfig) -> RunConfig:
    """The configuration in which nobody who certainly could not work is left without means. Idempotent."""
    host = config.agents.get(config.default_agent)
    if host is None or host.harness is not Harness.ACP:
        return config
    moved = {
        name: _on(host, agent)
        for name, agent in config.agents.items()
        if agent.harness is Harness.NATIVE and agent.expects != "answer" and not _has_model(agent, config)
    }
    if not moved:
        return config
    said = f"{LENT}{host.name}: {', '.join(sorted(moved))}"
    return config.model_copy(update={"agents": {**config.agents, **moved}, "origin": (*config.origin, said)})


def _has_model(agent: Agent, config: RunConfig) -> bool:
    return agent.model is not None or bool(config.deck.tiers.get(agent.tier))


def _on(host: Agent, agent: Agent) -> Agent:
    tools = None if agent.tools is None else tuple(name for name in agent.tools if name != "delegate")
    return agent.model_copy(
        update={
            "harness": Harness.ACP,
            "profile": host.profile,
            "command": host.command,
            "login": host.login,
            "model": host.model,
            "tools": tools,
            "delegates_to": (),
        }
    )
