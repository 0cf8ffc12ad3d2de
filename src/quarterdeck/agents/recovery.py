"""Which models an agent may ask. Pure."""

from quarterdeck.agents.port import Assignment
from quarterdeck.kernel.failures import BadConfiguration


def candidates(assignment: Assignment) -> tuple[str, ...]:
    """The models that may be asked, in order. Raises BadConfiguration."""
    if assignment.agent.model is not None:
        return (assignment.agent.model,)
    tier = assignment.agent.tier
    models = assignment.config.deck.tiers.get(tier, ())
    if not models:
        raise BadConfiguration(
            f"the agent `{assignment.agent.name}` has no model",
            why=f"the tier `{tier}` names none",
            fix=f'deck.toml: [tiers] {tier} = ["provider:model"]',
        )
    return models
