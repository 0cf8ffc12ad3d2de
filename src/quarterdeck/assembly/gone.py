"""Messages whose trigger stands in no file any more, where each machine has a file of its own.

Rules
- A message waits for the machines that have its trigger (`engine.queues`). Once nobody has it, it is left to whoever
  works on the deck, who refuses it: that is on record, and a person is told.
- Nobody has it where no living process offers it, and no file has said so for a day: a machine that is away for a night
  loses nothing. Where it was taken out of the last file it is not said any more.
- Both for ten minutes in a row: a file that is being written, or a machine that is started again, loses nothing either.
- In a deck that lies in its home nothing waits for another machine: who works there refuses it.
"""

from functools import partial
from typing import Final

from quarterdeck.assembly.configured import had
from quarterdeck.engine.port import Engine, Untaken
from quarterdeck.kernel.clock import Clock
from quarterdeck.store.port import Store, Tx
from quarterdeck.triggers.port import trigger_named

LOOK: Final = 60.0
PATIENCE: Final = 600.0
"""Seconds."""


class Gone:
    """Looks for them, in a process that serves the deck."""

    def __init__(self, store: Store, engine: Engine, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._since: dict[str, float] = {}
        """By queue: since when nobody has offered it, by the monotonic clock."""
        self._looked_at = float("-inf")

    async def look(self) -> None:
        """Leave to anybody what nobody has the trigger of; at most once a minute. Raises StoreUnavailable."""
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK:
            return
        self._looked_at = now
        waiting = [one for one in await self._engine.untaken() if trigger_named(one.wants) is not None]
        self._since = {one.queue: self._since.get(one.queue, now) for one in waiting}
        for one in waiting:
            if now - self._since[one.queue] >= PATIENCE:
                await self._store.write(partial(self._leave, one))

    def _leave(self, one: Untaken, tx: Tx) -> None:
        if not had(tx, trigger_named(one.wants) or ""):
            self._engine.release(tx, one.queue)
