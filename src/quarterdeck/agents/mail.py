"""Messages of people to agents at work.

Rules
- A message is on record before anybody is told: in the stream `mail/<attempt>`. That it reached the agent is on record
  in the attempt's own stream. What stands in the one and not in the other is still to be delivered, after a crash too.
- It holds for the task: later attempts at it begin without knowing anything, and are told too.
- An agent that works in this process is told at once; it takes the message with its next step. A handoff that was made
  without knowing it is not taken, and not counted.
- Where a deck has many workers, another one may have put the message on record: each looks every few seconds for what
  there is for its own agents. Whoever listens may hear a message twice, and knows it by its id.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from quarterdeck.journal.port import Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.models.port import Flaw

_log = logging.getLogger(__name__)

KEPT: Final = 50
"""Messages that one attempt is told at most when it begins."""

_ROUND_SECONDS: Final = 2.0

FIRST: Final = Flaw(
    rule="message-first", why="Not taken yet: a person wrote to you. Heed what it says, then submit again."
)
"""Why a handoff is not taken that was made without knowing a message."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of a person."""

    id: str
    text: str
    by: str = ""


class Mail:
    """Who listens in this process."""

    def __init__(self) -> None:
        self._listeners: dict[str, Callable[[Letter], None]] = {}

    def listen(self, attempt: str, hear: Callable[[Letter], None]) -> None:
        """Call `hear` for each message to that attempt. Listen before looking at `waiting`, or one may be missed."""
        self._listeners[attempt] = hear

    def leave(self, attempt: str) -> None:
        """Listen no longer. Idempotent."""
        self._listeners.pop(attempt, None)

    def deliver(self, attempt: str, letter: Letter) -> bool:
        """Tell whoever listens; False where nobody does."""
        hear = self._listeners.get(attempt)
        if hear is not None:
            hear(letter)
        return hear is not None

    async def rounds(self, journal: Journal) -> None:
        """Tell those who listen here what other processes put on record, until cancelled."""
        told: dict[str, int] = {}
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            told = {attempt: seen for attempt, seen in told.items() if attempt in self._listeners}
            for run in {attempt.partition(".")[0] for attempt in self._listeners}:
                for stream, length in (await journal.lengths(ids.mail_stream(f"{run}."))).items():
                    attempt = stream.removeprefix(ids.mail_stream(""))
                    if attempt in self._listeners and length > told.get(attempt, 0):
                        try:
                            told[attempt] = await self._catch_up(journal, attempt, told.get(attempt, 0))
                        except StoreUnavailable:
                            raise
                        except Exception:  # noqa: BLE001 - recorded; whoever else listens has to hear all the same
                            _log.exception("what was said to %s could not be told", attempt)
                            told[attempt] = length

    async def _catch_up(self, journal: Journal, attempt: str, after: int) -> int:
        for record in await journal.read(ids.mail_stream(attempt), after=after):
            after = record.seq
            if isinstance(record.event, e.MessageSent):
                self.deliver(attempt, Letter(record.event.message, record.event.text, record.event.by))
        return after


async def waiting(journal: Journal, attempt: str, heard: Collection[str]) -> list[Letter]:
    """What that attempt's agent has not been told yet, oldest first. `heard`: ids that its own stream has."""
    letters = []
    for source in _sources(await journal.lengths(ids.mail_stream(_beginning(attempt))), attempt):
        for record in (await journal.read(ids.mail_stream(source)))[-KEPT:]:
            event = record.event
            if isinstance(event, e.MessageSent) and event.message not in heard:
                letters.append(Letter(event.message, event.text, event.by))
    return letters[-KEPT:]


def _beginning(attempt: str) -> str:
    """What the names of an attempt and of those before it at the same task have in common."""
    run, task, number = ids.split_attempt(attempt)
    return f"{run}.{task}." if attempt == ids.attempt_id(run, task, number) else attempt


def _sources(streams: Collection[str], attempt: str) -> list[str]:
    """The attempts whose messages are this one's, oldest first. Pure."""
    run, task, number = ids.split_attempt(attempt)
    own = attempt == ids.attempt_id(run, task, number)
    before = [ids.attempt_id(run, task, earlier) for earlier in range(1, number)] if own else []
    return [name for name in (*before, attempt) if ids.mail_stream(name) in streams]
