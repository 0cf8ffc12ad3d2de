"""Which models an attempt asks, and in which order. Pure.

Rules
- An agent asks the models of its tier, the first one first; an agent with a fixed model asks that one only.
- A task whose attempt failed by its agent's own fault gets the next higher tier with its next attempt, up to the
  highest that has models. What a provider, the machine or an empty purse did is nobody's fault and raises nothing.
- A reviewer asks a model of another vendor than the one whose work it reads first, where its tier has one: models of
  one family overlook the same mistakes. The others stay as failover.
"""

from dataclasses import dataclass

from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent, Harness
from quarterdeck.kernel.failures import BadConfiguration


@dataclass(frozen=True, slots=True)
class Route:
    """The models of one attempt."""

    agent: Agent
    """With the tier that this attempt has."""
    why: str = ""
    """Why it is not the agent's usual way; empty = it is."""
    apart_from: str = ""
    """Provider whose models are asked last."""


def candidates(agent: Agent, deck: DeckConfig, apart_from: str = "") -> tuple[str, ...]:
    """The models that may be asked (`provider:model`), in order. Raises BadConfiguration."""
    if agent.model is not None:
        return (agent.model,)
    models = deck.tiers.get(agent.tier, ())
    if not models:
        raise BadConfiguration(
            f"the agent `{agent.name}` has no model",
            why=f"the tier `{agent.tier}` names none",
            fix=f'deck.toml: [tiers] {agent.tier} = ["provider:model"]',
        )
    return tuple(sorted(models, key=lambda name: vendor(name) == apart_from))


def models_of(config: RunConfig) -> set[str]:
    """Every model that a run may come to ask."""
    fixed = {agent.model for agent in config.agents.values() if agent.model is not None}
    return fixed.union(*config.deck.tiers.values())


def equipped(agent: Agent, deck: DeckConfig) -> bool:
    """Whether there is a model for it, as far as it needs one."""
    return agent.harness is not Harness.NATIVE or bool(agent.model or deck.tiers.get(agent.tier))


def vendor(model: str) -> str:
    """The provider of `provider:model`."""
    return model.partition(":")[0]


def tiered(agent: Agent) -> bool:
    """Whether its tier decides which models it asks."""
    return agent.harness is not Harness.COMMAND and agent.model is None


def raised(agent: Agent, deck: DeckConfig, faults: int) -> str:
    """The tier of an attempt before which `faults` attempts of the same agent failed by their own fault."""
    order = deck.routing.order
    if not tiered(agent) or faults <= 0 or agent.tier not in order:
        return agent.tier
    above = [tier for tier in order[order.index(agent.tier) + 1 :] if deck.tiers.get(tier)]
    return above[min(faults, len(above)) - 1] if above else agent.tier


def of_author(agent: Agent, tier: str | None) -> Route:
    """The route of an attempt at a task that was given `tier`."""
    if tier is None or tier == agent.tier:
        return Route(agent)
    why = f"tier {tier} instead of {agent.tier}: the attempt before failed by its own fault"
    return Route(agent.model_copy(update={"tier": tier}), why)


def of_reviewer(agent: Agent, deck: DeckConfig, author: str | None) -> Route:
    """The route of a review of what the model `author` made; None = no model is known to have made it."""
    models = () if agent.model is not None else deck.tiers.get(agent.tier, ())
    if author is None or not models or all(vendor(name) == vendor(author) for name in models):
        return Route(agent)
    if vendor(models[0]) != vendor(author):
        return Route(agent, apart_from=vendor(author))
    first = candidates(agent, deck, vendor(author))[0]
    return Route(agent, f"{first} first: {author} is the author's, of the same vendor as {models[0]}", vendor(author))
