"""How many examples a property is tried with.

Rules
- A number written at a test would hold for every profile: a search on purpose would look no further than a quick run.
"""

from hypothesis import settings


def at_least(examples: int) -> settings:
    """So many in a quick run, and as many as the profile says where that is more."""
    return settings(max_examples=max(examples, settings().max_examples))
