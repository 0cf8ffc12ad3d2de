"""What follows from an event wherever it is appended: results to publish, messages to people.

Rules
- The job is deferred in the transaction of the event, so that no kill between the two can lose it.
- The operator's deck.toml is read again when it has changed; one that is broken meanwhile changes nothing.
"""

import logging
from pathlib import Path

from quarterdeck.engine.port import Engine
from quarterdeck.journal.port import Reaction, Reactions, Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import OperatorConfig
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings import DECK_FILE, operator_outside
from quarterdeck.store.port import Tx
from quarterdeck.triggers import port
from quarterdeck.triggers.needs import READERS, notify
from quarterdeck.triggers.publishing import FINISHED, WAITING

_log = logging.getLogger(__name__)


class OperatorsFile:
    """The operator's deck.toml, as it is now."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stamp: tuple[int, int, int] | None = None
        self._last = operator_outside(home)

    def __call__(self) -> OperatorConfig:
        try:
            found = (self._home / DECK_FILE).stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            try:
                self._last = operator_outside(self._home)
                self._stamp = stamp
            except BadConfiguration as error:  # whoever edits it now is told by the next command
                _log.warning("triggers stay as they were: %s", error)
        return self._last


def reactions(engine: Engine, configured: OperatorsFile) -> Reactions:
    """What follows from which event, in its transaction."""

    def publish(tx: Tx, record: Record) -> None:
        run = record.stream.partition("/")[2]
        if tx.run("origin_of", run=run):
            about = FINISHED if isinstance(record.event, e.RunFinished) else WAITING
            engine.defer(tx, port.publish(run, about))

    def tell(tx: Tx, record: Record) -> None:
        section = configured().notify
        need = READERS[type(record.event)](record) if section.url is not None else None
        if need is not None and need.kind in section.kinds:
            engine.defer(tx, notify(need))

    def both(tx: Tx, record: Record) -> None:
        publish(tx, record)
        tell(tx, record)

    found: dict[type[e.EventBase], Reaction] = dict.fromkeys(READERS, tell)
    return {**found, e.RunFinished: both, e.RunWaiting: both}
