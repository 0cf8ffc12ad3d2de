"""The bounds of one attempt. Pure.

Rules
- Bounded by turns, wall time, tokens and USD; the agent's own limits come first, then its task's, then the deck's.
- What a task may spend is for all its attempts and reviews together: its purse refuses, whatever is bounded here.
- Wall time is time at work: what was recorded before a crash plus what has passed since.
- Tokens are new tokens: what a cache served again is not counted, or the bound would measure patience, not work.
- Money is asked before a call, not after it: the worst case of the next call must fit.
"""

from dataclasses import dataclass
from typing import Literal

from quarterdeck.agents.port import Assignment
from quarterdeck.agents.transcript import Transcript
from quarterdeck.govern.chain import OWN, kind_of
from quarterdeck.kernel.entities import to_nusd, to_usd
from quarterdeck.kernel.failures import BudgetExhausted

Limit = Literal["turns", "wall", "tokens", "usd"]


@dataclass(frozen=True, slots=True)
class Bounds:
    turns: int
    wall: float
    """Seconds."""
    tokens: int
    nusd: int | None
    """What it could spend at most if nobody else spent anything of it; None = only the run's and the day's budget."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A bound that stops the work."""

    limit: Limit
    used: float
    allowed: float
    reason: str
    exhausted: bool = False
    """The run's or the day's budget, not a bound of the attempt or its task."""
    final: bool = False
    """Another attempt meets it too: the task's own budget."""


@dataclass(frozen=True, slots=True)
class Used:
    """What an attempt has used beyond what its transcript says."""

    wall: float
    """Seconds at work."""
    below_nusd: int = 0
    """Spent by its sub-agents."""


def bounds_of(assignment: Assignment) -> Bounds:
    """The bounds of this assignment."""
    own, deck = assignment.agent.limits, assignment.config.deck.limits
    task = assignment.task.budget_usd if assignment.task is not None else None
    caps = [to_nusd(usd) for usd in (own.usd, task) if usd is not None]
    return Bounds(
        turns=own.turns or deck.turns,
        wall=own.wall or deck.wall,
        tokens=own.tokens or deck.tokens,
        nusd=min(caps, default=None),
    )


def new_tokens(state: Transcript) -> int:
    """Tokens of the attempt that no cache served."""
    return state.usage.input + state.usage.cache_write + state.usage.output


def shares(bounds: Bounds, state: Transcript, used: Used) -> dict[Limit, tuple[float, float]]:
    """(used, allowed) of each bound; USD in USD."""
    found: dict[Limit, tuple[float, float]] = {
        "turns": (state.turns, bounds.turns),
        "wall": (used.wall, bounds.wall),
        "tokens": (new_tokens(state), bounds.tokens),
    }
    if bounds.nusd is not None:
        found["usd"] = (to_usd(state.cost_nusd + used.below_nusd), to_usd(bounds.nusd))
    return found


def reached(bounds: Bounds, state: Transcript, used: Used) -> Reached | None:
    """The first bound that is used up, or None."""
    for limit, (amount, allowed) in shares(bounds, state, used).items():
        if amount >= allowed:
            reason = (
                f"the limit of {words(limit, allowed)} was reached" if allowed else f"no {limit} left for this task"
            )
            return Reached(limit, amount, allowed, reason)
    return None


def refused(error: BudgetExhausted) -> Reached:
    """The bound that a refused reservation met."""
    cap, free = to_usd(error.cap_nusd), to_usd(error.free_nusd)
    kind = kind_of(error.purse)
    return Reached("usd", cap - free, cap, error.told, exhausted=kind not in OWN, final=kind == "task")


def words(limit: Limit, amount: float) -> str:
    """An amount of that bound in words."""
    match limit:
        case "turns":
            return f"{amount:.0f} turns"
        case "wall":
            return f"{amount:.0f} s"
        case "tokens":
            return f"{amount:.0f} tokens"
        case "usd":
            return f"{amount:.2f} USD"
