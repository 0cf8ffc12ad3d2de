"""What the database takes for being in a worker's hands, held against what is.

Rules
- A claim whose answer was lost leaves a job under this worker's name that it knows nothing of: it lives and gives signs
  of life, so nobody would ever rescue it. What stands so at two looks in a row is given back. While a claim's answer
  may still come nothing is judged.
"""

from typing import Final

from quarterdeck.engine.procrastinate_manager import Manager
from quarterdeck.store.port import Store, Tx

_NONE: Final[frozenset[int]] = frozenset()


class Hands:
    """Of one worker."""

    def __init__(self, store: Store, manager: Manager) -> None:
        self._store = store
        self._manager = manager
        self._strange = _NONE
        """Jobs that stood in the database alone at the last look."""
        self._open = _NONE
        """Claims that were under way then."""

    async def give_back(self) -> None:
        """Give back everything: nothing is performed any more. Raises StoreUnavailable."""
        self._strange = self._open = _NONE
        await self._give_back(await self._claimed())

    async def look(self) -> None:
        """Give back what stands under this worker's name alone. Raises StoreUnavailable."""
        held = frozenset(self._manager.held)
        strange = await self._claimed() - held - frozenset(self._manager.held)
        if self._open & self._manager.claims:
            return  # the answer of one of these may bring what is strange until then
        lost, self._strange = self._strange & strange, strange - self._strange
        self._open = frozenset(self._manager.claims)
        await self._give_back(lost)

    async def _claimed(self) -> frozenset[int]:
        rows = await self._store.read("jobs_in_hand", worker=self._manager.worker)
        return frozenset(row["id"] for row in rows)

    async def _give_back(self, jobs: frozenset[int]) -> None:
        worker = self._manager.worker

        def work(tx: Tx) -> None:
            for job in sorted(jobs):
                tx.run("job_settle_back", job=job, worker=worker, delay=0.0)

        if jobs:
            await self._store.write(work)
