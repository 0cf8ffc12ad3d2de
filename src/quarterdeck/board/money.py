"""What was spent, on whom and on what, and how fast.

Rules
- Sums come from tables that are kept with every commit: by day, run, agent and model, and by stretches of ten minutes.
  Nothing is added up over the history.
- What a day has cost, and a person's part of it, its purses say (`govern.days`): they know of every call that was paid
  for, those tables only of what runs asked. What is in no purse, an agent's own word, comes on top.
- What is an estimate and what only an agent says of itself stand beside the sum, never hidden in it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from quarterdeck.board.answers import Burn, CostBy, CostRow, Costs, PurseRow
from quarterdeck.board.port import Tokens
from quarterdeck.govern.chain import DayCaps
from quarterdeck.govern.days import settled
from quarterdeck.journal.changes import BURN_SECONDS
from quarterdeck.journal.views import purse_of
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.entities import to_usd
from quarterdeck.store.port import Row, Store

MOST_DAYS: Final = 366
MOST_ROWS: Final = 200
_PURSES: Final = 50
_DAY: Final = 86_400
_NOTHING: Final[Row] = dict.fromkeys(
    (
        *("calls", "input", "cache_read", "cache_write", "output"),
        *("cost_nusd", "estimated_nusd", "unverified_nusd"),
    ),
    0,
)


class Money:
    """The costs of one deck. `caps`: what the operator allows in a day now."""

    def __init__(self, store: Store, clock: Clock, caps: Callable[[], DayCaps]) -> None:
        self._store = store
        self._clock = clock
        self._caps = caps

    async def costs(self, by: CostBy, days: int = 7) -> Costs:
        """What was spent in the last `days` days (UTC, today included), by one dimension."""
        days = max(1, min(days, MOST_DAYS))
        now = self._clock.wall()
        step = stretch(days)
        since = _day(now - (days - 1) * _DAY)
        bounds: dict[str, Any] = {"by": by, "since": since}
        rows, changes, burn, of_day, of_runs, purses = await self._store.reads(
            ("costs_by", {**bounds, "limit": MOST_ROWS + 1}),
            ("changes_by", bounds),
            ("burn_by", {"step": step, "since": _midnight(now) - (days - 1) * _DAY}),
            ("purses_of_day", {"day": _day(now), "limit": _PURSES}),
            ("purses_of_open_runs", {"limit": _PURSES}),
            ("view_purses", _named(by, since)),
        )
        if by in ("day", "user"):
            rows = paid(rows, settled(map(purse_of, purses), by, since))
        landed = {row["key"]: row["changes"] for row in changes}
        known = [_row(row, landed.pop(row["key"], 0)) for row in rows]
        free = sorted(landed.items(), key=lambda each: (-each[1], each[0]))  # who has landed something and cost nothing
        known += [_row({**_NOTHING, "key": key}, changes) for key, changes in free]
        found = known[:MOST_ROWS]
        if by == "day":
            found.sort(key=lambda row: row.key)
        return Costs(
            rows=tuple(found),
            cut=len(known) > len(found),
            caps=tuple(_purse(row, self._caps()) for row in (*of_day, *of_runs)),
            burn=tuple(Burn(at=float(row["start"]), usd=to_usd(row["cost_nusd"])) for row in burn),
            burn_s=float(step),
        )


def paid(rows: list[Row], spent: Mapping[str, int]) -> list[Row]:
    """Sums over what runs asked, with what the purses of the same keys have settled (nano-USD) as what was spent, the
    most expensive first. Where no purse is on record, it stays as it is. Pure."""
    found = [
        {**row, "cost_nusd": spent[row["key"]] + row["unverified_nusd"]} if row["key"] in spent else row for row in rows
    ]
    if len(rows) <= MOST_ROWS:  # else those that are not among them may have been left out
        known = {row["key"] for row in rows}
        found += [
            {**_NOTHING, "key": key, "cost_nusd": nusd} for key, nusd in spent.items() if nusd and key not in known
        ]
    return sorted(found, key=lambda row: (-row["cost_nusd"], row["key"]))


def _named(by: CostBy, since: str) -> dict[str, str]:
    """Between which names the purses of that dimension lie ('/' and '0' are neighbours)."""
    if by == "day":
        return {"first": f"deck/{since}", "last": "deck0"}
    return {"first": "user/", "last": "user0" if by == "user" else "user/"}


def stretch(days: int) -> int:
    """Seconds over which spending is summed where so many days are looked at: some hundred stretches at most."""
    if days <= 2:
        return BURN_SECONDS
    return 3600 if days <= 14 else _DAY


def _row(row: Row, changes: int) -> CostRow:
    cost = to_usd(row["cost_nusd"])
    return CostRow(
        key=row["key"],
        calls=row["calls"],
        tokens=Tokens(
            input=row["input"], cache_read=row["cache_read"], cache_write=row["cache_write"], output=row["output"]
        ),
        cost_usd=cost,
        estimated_usd=to_usd(row["estimated_nusd"]),
        unverified_usd=to_usd(row["unverified_nusd"]),
        changes=changes,
        per_change_usd=round(cost / changes, 9) if changes else None,
    )


def _purse(row: Row, caps: DayCaps) -> PurseRow:
    kind = row["purse"].partition("/")[0]
    of_day = {"deck": caps.deck, "user": caps.user}.get(kind)
    cap = to_usd(row["cap"]) if row["cap"] is not None else of_day
    return PurseRow(
        purse=row["purse"],
        cap_usd=cap,
        settled_usd=to_usd(row["settled"]),
        reserved_usd=to_usd(row["reserved"]),
    )


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _midnight(at: float) -> int:
    return int(at // _DAY) * _DAY
