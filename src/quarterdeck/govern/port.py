"""The ports of government: policy and money.

Rules
- Every action has a decision, with the rules that made it. An error in deciding is a denial.
- `ask` is denied until a human has approved the exact action.
- Money is reserved before it can be spent; a refused reservation means the call does not leave.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from quarterdeck.store.port import Tx


@dataclass(frozen=True, slots=True)
class Action:
    """One requested action of one agent."""

    run: str
    task: str
    attempt: str
    agent: str
    tool: str
    arguments: Mapping[str, Any]
    effect: Literal["read", "write", "execute", "control"]
    approved_by: str | None = None
    """Who approved exactly this action, where it had to be asked."""


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Literal["allow", "ask", "deny"]
    rules: tuple[str, ...]
    """Names of the rules that decided."""
    reason: str = ""
    """For the agent and for people."""


class Policy(Protocol):
    def decide(self, action: Action) -> Decision:
        """Pure and quick (< 1 ms). An exception counts as deny."""
        ...


@dataclass(frozen=True, slots=True)
class Link:
    """One purse of a chain."""

    purse: str
    """`attempt/…`, `task/<run>/<task>`, `run/<run>`, `user/<user>/<YYYY-MM-DD>`, `deck/<YYYY-MM-DD>` (days in UTC)."""
    cap_nusd: int | None
    """None = the cap that it was opened with, or none of its own."""


Chain = tuple[Link, ...]
"""All purses that a call is paid from, the innermost first."""


class Treasury(Protocol):
    """The budgets of all runs. All amounts in nano-USD. Works inside the transactions of the events that spend.

    Settled + reserved of a run never exceeds its cap at the moment of a reservation.
    """

    def open(self, tx: Tx, run: str, cap_nusd: int) -> None:
        """Set (or raise) the cap of a run."""
        ...

    def reserve(self, tx: Tx, run: str, holder: str, amount_nusd: int) -> None:
        """Set money aside for `holder` (an attempt's step: unique). Raises BudgetExhausted, and nothing is kept then.
        Reserving again for the same holder replaces its reservation."""
        ...

    def settle(self, tx: Tx, run: str, holder: str, cost_nusd: int) -> None:
        """Replace the reservation by what was spent. A holder without reservation is an error (KeyError)."""
        ...

    def settle_all(self, tx: Tx, run: str) -> int:
        """Count every open reservation of a run as spent; returns their sum. For a run at which nobody works any more:
        what is still reserved then belongs to calls whose outcome nobody will learn."""
        ...
