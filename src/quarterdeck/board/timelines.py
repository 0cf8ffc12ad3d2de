"""The timeline of a run, out of the journal.

Rules
- The newest timelines are kept with what they were made of: asked again, only what came since is read.
- Records are read where they lie: in one go where they lie together, along their chains where they are few among many
  others. Both find the same.
- What is read takes a thread of its own, so that nobody else waits for a large run.
"""

import asyncio
from typing import Final

from quarterdeck.board.answers import Timeline
from quarterdeck.board.timeline import History
from quarterdeck.kernel.failures import NotFound
from quarterdeck.store.port import Row, Store

MOST: Final = 200_000
"""Records that are taken over for one answer."""
_KEPT: Final = 4
"""Timelines that are kept."""
_DENSE: Final = 4
"""Records of other runs that may lie between two of this one, for them to be read in one go."""


class Timelines:
    """The timelines of one deck's runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, History] = {}
        self._busy = asyncio.Lock()

    async def timeline(self, run: str, after: int = 0) -> Timeline:
        """The run's spans that began or ended `after` (the `next` of an earlier answer; 0 = all). Raises NotFound."""
        async with self._busy:
            history = self._kept.pop(run, None) or History()
            rows = await self._rows(run, history.last)
            if not rows and not history.last:
                raise NotFound(f"There is no run {run}", fix="quarterdeck ps")
            answer = await asyncio.to_thread(_answered, history, rows, after)
            self._kept[run] = history
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
            return answer

    async def _rows(self, run: str, after: int) -> list[Row]:
        extent = (await self._store.read("run_extent", run=run))[0]
        if not extent["records"] or extent["last"] <= after:
            return []
        begins = max(after, extent["first"] - 1)
        if extent["last"] - begins <= _DENSE * extent["records"]:
            return await self._store.read("run_records_dense", run=run, after=begins, last=extent["last"], limit=MOST)
        rows = await self._store.read("run_records", run=run, after=after, limit=MOST)
        rows.sort(key=lambda row: int(row["id"]))
        return rows


def _answered(history: History, rows: list[Row], after: int) -> Timeline:
    for row in rows:
        history.take(row)
    return history.answer(after, cut=len(rows) >= MOST)
