"""What events change in the read tables, as values; and how the changes of one commit are written.

Rules
- Setting statements run in the order of the events.
- Spending is a sum, so it is merged and written once per commit: that keeps a model event cheap.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import add
from typing import Any, Final, TypeVar

from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Usage
from quarterdeck.store.port import Tx

K = TypeVar("K")

_DAY: Final = 86_400
BURN_SECONDS: Final = 600
"""How long each stretch of time is over which spending is summed."""
_MANY: Final = 4
"""Attempts whose agents are asked for at once."""


@dataclass(frozen=True, slots=True)
class Set:
    """One statement with its parameters."""

    statement: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spend:
    """A model call's tokens and money."""

    attempt: str
    """Empty = a key of the gateway alone, which belongs to no run: only how fast the deck spends tells of it."""
    at: float
    model: str
    usage: Usage
    cost_nusd: int
    estimated: bool
    verified: bool = True
    """False: only the agent itself says so."""


Op = Set | Spend


_Sums = tuple[int, ...]
"""Of model calls: how many, tokens of the four kinds, cost, how many are estimated, what those cost, and what of the
cost is unverified."""


class Changes:
    """What the events of one commit change, gathered so that it is written with few statements."""

    def __init__(self) -> None:
        self._sets: list[Set] = []
        self._costs: dict[tuple[str, str, str], _Sums] = {}
        self._burnt: dict[int, int] = {}

    def add(self, ops: list[Op]) -> None:
        for op in ops:
            if isinstance(op, Spend):
                self._spend(op)
            else:
                self._sets.append(op)

    def _spend(self, op: Spend) -> None:
        usage, cost = op.usage, op.cost_nusd
        if op.attempt:
            tokens = usage.input, usage.cache_read, usage.cache_write, usage.output
            estimated = cost if op.estimated and op.verified else 0
            unverified = 0 if op.verified else cost
            sums = (1, *tokens, cost, op.estimated, estimated, unverified)
            _sum(self._costs, (op.attempt, op.model, day_of(op.at)), sums)
        if cost:
            stretch = int(op.at // BURN_SECONDS) * BURN_SECONDS
            self._burnt[stretch] = self._burnt.get(stretch, 0) + cost

    def apply(self, tx: Tx) -> None:
        """Write everything gathered."""
        for statement, sets in groupby(self._sets, key=lambda op: op.statement):
            tx.run_many(statement, [op.values for op in sets])
        if self._costs:
            self._apply_costs(tx)
        if self._burnt:
            tx.run_many("project_burn", list(self._burnt.items()))

    def _apply_costs(self, tx: Tx) -> None:
        costs: list[tuple[Any, ...]] = []
        spending: dict[tuple[Any, ...], _Sums] = {}
        runs: dict[str, _Sums] = {}
        whose = self._whose(tx)
        for (attempt, model, day), sums in self._costs.items():
            run, task, _ = ids.split_attempt(attempt)
            costs.append((run, task, attempt, model, *sums[:7]))
            agent = whose.get(attempt)
            _sum(spending, (day, run, attempt if agent is None else "", agent, model), sums)
            _sum(runs, run, sums)
        tx.run_many("project_costs", costs)
        tx.run_many("project_spending", [(*place, *sums[:6], *sums[7:]) for place, sums in spending.items()])
        tx.run_many("project_run_costs", [(run, *sums[1:6]) for run, sums in runs.items()])

    def _whose(self, tx: Tx) -> dict[str, str]:
        """The agents of the attempts. Of few attempts the database looks by itself, and of many at once: what agents
        of one name have spent is then one row."""
        attempts = {attempt for attempt, _, _ in self._costs}
        if len(attempts) < _MANY:
            return {}
        return {row["attempt"]: row["agent"] for row in tx.run("project_agents", attempts=json.dumps(sorted(attempts)))}


def _sum(sums: dict[K, _Sums], place: K, more: _Sums) -> None:
    before = sums.get(place)
    sums[place] = more if before is None else tuple(map(add, before, more))


def day_of(at: float) -> str:
    """The day (UTC) of a moment."""
    return _day(int(at // _DAY))


@lru_cache(maxsize=8)
def _day(number: int) -> str:
    """The `number`-th day since the epoch. Remembered: many events are of the same one."""
    return time.strftime("%Y-%m-%d", time.gmtime(number * _DAY))
