"""What events change in the read tables, as values; and how the changes of one commit are written.

Rules
- Setting statements run in the order of the events.
- Spending is a sum, so it is merged and written once per commit: that keeps a model event cheap.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Usage
from quarterdeck.store.port import Tx

BURN_SECONDS: Final = 600
"""How long each stretch of time is over which spending is summed."""

_COUNTS: Final = (
    *("calls", "input", "cache_read", "cache_write", "output", "cost", "estimated"),
    *("estimated_cost", "unverified_cost"),
)


@dataclass(frozen=True, slots=True)
class Set:
    """One statement with its parameters."""

    statement: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spend:
    """A model call's tokens and money."""

    attempt: str
    at: float
    model: str
    usage: Usage
    cost_nusd: int
    estimated: bool
    verified: bool = True
    """False: only the agent itself says so."""


Op = Set | Spend


class Changes:
    """What the events of one commit change, gathered so that it is written with few statements."""

    def __init__(self) -> None:
        self._sets: list[Set] = []
        self._costs: dict[tuple[str, str, str], list[int]] = {}
        self._burnt: dict[int, int] = {}

    def add(self, ops: list[Op]) -> None:
        for op in ops:
            if isinstance(op, Spend):
                self._spend(op)
            else:
                self._sets.append(op)

    def _spend(self, op: Spend) -> None:
        sums = self._costs.setdefault((op.attempt, op.model, day_of(op.at)), [0] * len(_COUNTS))
        usage, cost = op.usage, op.cost_nusd
        unverified = 0 if op.verified else cost
        estimated = cost - unverified if op.estimated else 0
        counts = (usage.input, usage.cache_read, usage.cache_write, usage.output, cost, op.estimated)
        for place, count in enumerate((1, *counts, estimated, unverified)):
            sums[place] += count
        if cost:
            stretch = int(op.at // BURN_SECONDS) * BURN_SECONDS
            self._burnt[stretch] = self._burnt.get(stretch, 0) + cost

    def apply(self, tx: Tx) -> None:
        """Write everything gathered."""
        for statement, sets in groupby(self._sets, key=lambda op: op.statement):
            tx.run_many(statement, [op.values for op in sets])
        if self._costs:
            self._apply_costs(tx)

    def _apply_costs(self, tx: Tx) -> None:
        rows: list[dict[str, Any]] = []
        totals: dict[str, dict[str, Any]] = {}
        for (attempt, model, day), sums in self._costs.items():
            run, task, _ = ids.split_attempt(attempt)
            counts = dict(zip(_COUNTS, sums, strict=True))
            rows.append({"run": run, "task": task, "attempt": attempt, "model": model, "day": day, **counts})
            total = totals.setdefault(run, {"run": run, **dict.fromkeys(_COUNTS, 0)})
            for name, count in counts.items():
                total[name] += count
        tx.run_many("project_costs", rows)
        tx.run_many("project_spending", rows)
        tx.run_many("project_run_costs", list(totals.values()))
        if self._burnt:
            tx.run_many("project_burn", list(self._burnt.items()))


def day_of(at: float) -> str:
    """The day (UTC) of a moment."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))
