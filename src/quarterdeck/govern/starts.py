"""How fast agents may be started: so many within any window of time, over the whole deck, across restarts.

Rules
- Within any stretch of `period` seconds at most `limit` start. Who comes too early gets the first moment at which it
  would be in order; that moment is kept for it, so nobody overtakes and nobody has to ask in vain.
- Asking again for the same start answers the same moment, or an earlier one where others gave theirs up.
- Moments that only another clock can have kept hold nobody: a clock that stepped back must not stop the deck.
- What bounds a run's starts is the least of what the run was ordered with and of what the files of the deck's machines
  say by then (`agreeing`), read in the same transaction.
- The arithmetic is `slot`, pure; `Windows` keeps the moments, in the transaction of whoever asks.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from quarterdeck.govern.agreeing import narrowed
from quarterdeck.govern.port import Start, Window
from quarterdeck.kernel import remotes
from quarterdeck.kernel.config import LimitsSection
from quarterdeck.store.port import Tx

REMEMBERED: Final = 24
"""Periods after which a start is forgotten: one whose turn has come may have to wait for something else meanwhile, and
must not lose its turn by that."""


def slot(taken: Sequence[float], now: float, window: Window) -> float:
    """The first moment from `now` on at which one more start is in order. Pure.

    `taken`: the moments of the others, past and to come, in any order.
    """
    farthest = now + window.period * (len(taken) / window.limit + 2)
    near = sorted(at for at in taken if now - window.period < at <= farthest)
    if len(near) < window.limit:
        return now
    return max(now, near[-window.limit] + window.period)


def _nothing_said(tx: Tx, now: float) -> Mapping[str, int]:
    return {}


class Windows:
    """The `Starts` in the table `starts`. said: what the files of the deck's machines say of `[limits]` now, by key."""

    def __init__(self, said: Callable[[Tx, float], Mapping[str, int]] = _nothing_said) -> None:
        self._said = said

    def limits(self, tx: Tx, own: LimitsSection, now: float) -> LimitsSection:
        """A run's own limits, as far as the deck allows them at `now`: what its operators' files say by then."""
        return narrowed(own, self._said(tx, now))

    def take(self, tx: Tx, start: Start, window: Window, now: float) -> float:
        """The moment (seconds since the epoch) of that start; one that is not later than `now` may happen."""
        since = now - window.period
        tx.run("starts_forget", kind=start.kind, who=start.who, since=now - REMEMBERED * window.period)
        mine = tx.run("start_get", kind=start.kind, name=start.name)
        if mine and mine[0]["at"] <= now:
            return float(mine[0]["at"])
        others = tx.run("starts_of", kind=start.kind, who=start.who, since=since, name=start.name)
        at = slot([row["at"] for row in others], now, window)
        if mine:
            at = min(at, float(mine[0]["at"]))
        tx.run("start_set", kind=start.kind, name=start.name, who=start.who, run=start.run, at=at)
        return at

    def at_work(self, tx: Tx, *, agent: str = "", repository: str = "") -> int:
        """How many attempts and planners are at work now, over all runs; only that agent's attempts, or only those in
        that repository, however its URL was spelled."""
        if agent:
            return int(tx.run("starts_at_work_by", agent=agent)[0]["n"])
        if repository:
            return int(tx.run("starts_at_work_in", identity=remotes.identity(repository))[0]["n"])
        return int(tx.run("starts_at_work")[0]["n"])

    def drop(self, tx: Tx, run: str, now: float) -> None:
        """The run has ended: what was kept for it is free again."""
        tx.run("starts_drop", run=run, now=now)
