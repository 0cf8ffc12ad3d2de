"""Whether a server that answers is still the one that a process has worked with. Each new session of a writer asks.

Rules
- Another deck under the same name is not written into, nor one that a newer version has taken over.
- A server that lacks what this process has stored is not gone on with: after a failover, what the old server had not
  sent to the new one is lost, and where both run, each lacks what the other has. What the process believes is not true
  there.
"""

import time
from dataclasses import dataclass
from typing import Final

from quarterdeck.kernel.failures import StoreLost
from quarterdeck.store.port import Row
from quarterdeck.store.session import Session
from quarterdeck.store.statements import migrations

_REMEMBERED: Final = 43_200.0
"""Seconds for which a server keeps the last turn of a writer at least; it is a day (`session_forget`)."""


def must_be_the_same(found: Row | None, deck: str, where: str) -> None:
    """It holds that deck, in a form that this version knows. `found`: `session_deck`; None = there is none. Raises
    StoreLost."""
    if found is None or found["deck"] != deck:
        raise StoreLost(
            f"The database {where} holds another deck than before",
            why="what was stored in it is gone; merged commits stay in their branches",
            fix="restore it from a backup, then `quarterdeck ps`; without one, start the run again",
        )
    if found["version"] > migrations("postgres")[-1].version:
        raise StoreLost(
            f"The database {where} was taken over by a newer version of quarterdeck",
            fix="pip install --upgrade quarterdeck, and start again",
        )


@dataclass
class Stored:
    """What a writer knows to have stored: the number of its last turn that was committed."""

    writer: str
    number: int = 0
    _at: float = 0.0

    def heard(self, number: int) -> None:
        """That turn was committed."""
        self.number, self._at = number, time.monotonic()

    def must_be_in(self, session: Session, where: str) -> None:
        """Raises psycopg.Error, StoreLost."""
        if not self.number or time.monotonic() - self._at > _REMEMBERED:
            return
        rows = session.run("session_turned", {"writer": self.writer})
        if not rows or rows[0]["number"] < self.number:
            raise StoreLost(
                f"The database {where} lacks what this process has stored in it",
                why="it was restored from a copy, or a server answers to which the one before had not sent everything",
                fix="see that only one of them runs, look with `quarterdeck audit verify` and `quarterdeck ps`, and "
                "start it again; synchronous replication prevents it",
            )
