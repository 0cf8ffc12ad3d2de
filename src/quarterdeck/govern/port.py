"""The ports of government: policy and money.

Rules
- Every action has a decision, with the rules that made it. An error in deciding is a denial.
- `ask` is denied until a human has approved the exact action.
- Money is reserved before it can be spent; a refused reservation means the call does not leave.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from quarterdeck.kernel.config import LimitsSection
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
    also: tuple[str, ...] = ()
    """What else rules may call the tool: one of an outside server by its server, `mcp:server/tool`."""


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
    opened: bool = False
    """It must have been opened: without a cap of its own nothing is reserved in it."""


Chain = tuple[Link, ...]
"""All purses that a call is paid from, the innermost first. `govern.chain` makes them."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` starts within any `period` seconds."""

    limit: int
    period: float


@dataclass(frozen=True, slots=True)
class Start:
    """One start that somebody asks for."""

    kind: Literal["agent", "run", "trigger"]
    name: str
    """Unique: asking again for this name is the same start."""
    run: str
    who: str = ""
    """For whom it is counted; empty = for the whole deck."""


class Starts(Protocol):
    """How fast agents may be started, over the whole deck. Works inside the transaction of whoever asks."""

    def take(self, tx: Tx, start: Start, window: Window, now: float) -> float:
        """The moment (seconds since the epoch) of that start; one that is not later than `now` may happen. Asking again
        for the same start answers the same moment, or an earlier one."""
        ...

    def at_work(self, tx: Tx, *, agent: str = "", repository: str = "") -> int:
        """How many attempts and planners are at work now, over all runs; only that agent's attempts, or only those in
        that repository."""
        ...

    def limits(self, tx: Tx, own: LimitsSection, now: float) -> LimitsSection:
        """A run's own limits, as far as the deck allows them at `now`: what its operators' files say by then."""
        ...

    def drop(self, tx: Tx, run: str, now: float) -> None:
        """The run has ended: what was kept for it is free again."""
        ...


class Treasury(Protocol):
    """All purses. Amounts in nano-USD. Works inside the transactions of the events that spend.

    Settled + reserved of a purse never exceeds its cap at the moment of a reservation. What the operators' files say of
    days by then narrows the caps of a chain.
    """

    def open(self, tx: Tx, purse: str, cap_nusd: int) -> None:
        """Set (or raise) a cap that is kept: a run's."""
        ...

    def reserve(self, tx: Tx, chain: Chain, holder: str, amount_nusd: int) -> None:
        """Set money aside in every purse of the chain for `holder` (`<attempt>/<step>/<number>`: unique).

        Raises BudgetExhausted, which names the innermost purse that does not cover it; nothing is kept then.
        Reserving again for the same holder replaces its reservation. KeyError: a purse that must have been opened was
        not. ValueError: a chain of no purses, which would bound nothing."""
        ...

    def settle(self, tx: Tx, holder: str, cost_nusd: int) -> None:
        """Replace the reservation by what was spent, in exactly the purses that it was reserved in. A holder without
        reservation is an error (KeyError)."""
        ...

    def settle_late(self, tx: Tx, holder: str, cost_nusd: int) -> None:
        """As `settle`, for a call that an earlier process left open: where its run has ended meanwhile, it was counted
        by `settle_all`, and nothing happens."""
        ...

    def settle_all(self, tx: Tx, prefix: str) -> int:
        """Count every open reservation as spent whose holder begins with `prefix` (an attempt's: `<attempt>/`, a run's:
        `<run>.`); returns their sum. For work at which nobody works any more: what is still reserved then belongs to
        calls whose outcome nobody will learn."""
        ...
