"""What holds over a deck whose machines have files of their own: the least that any of them says. Pure.

Rules
- Who says nothing has no say: a key that a file leaves out is not said, whatever its default is.
- That something is not bounded can be said too. It is the most that there is, so any bound that somebody says is less.
"""

from collections.abc import Mapping
from typing import Final, Literal

from quarterdeck.kernel.config import Bound, LimitsSection

Kind = Literal["calls_per_minute", "calls_at_once", "days", "limits", "notify", "trigger"]
"""`days`: nano-USD by `user` and `deck`. `limits`: of agents, by key of `[limits]`. Calls: by provider. `notify`: 1
by the kind of need that people are told of. `trigger`: 1 by its name."""

Said = Mapping[tuple[Kind, str], int]
"""How much of what, by kind and name."""

ENDLESS: Final = 1 << 62
"""Said where nothing is to be bounded."""

STARTS: Final = ("spawn_per_minute", "runs_per_hour", "agents_at_once", "one_agent_at_once", "repository_at_once")
"""Keys of `[limits]` that hold over the whole deck."""


def number(bound: Bound) -> int:
    """A bound as a number."""
    return ENDLESS if bound == "none" else bound


def bound(most: int) -> Bound:
    """A number as a bound."""
    return "none" if most >= ENDLESS else most


def narrowed(own: LimitsSection, said: Mapping[str, int]) -> LimitsSection:
    """The limits of a run, as far as the deck allows them now. `said`: by key of `[limits]`."""
    asked = {key: number(getattr(own, key)) for key in STARTS if key in said}
    less = {key: bound(said[key]) for key, most in asked.items() if said[key] < most}
    return own.model_copy(update=less) if less else own
