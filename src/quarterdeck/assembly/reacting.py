"""What follows from an event wherever it is appended: results to publish, messages to people.

Rules
- The job is deferred in the transaction of the event, so that no kill between the two can lose it.
- Where several processes share the deck, it does not matter which of them appends the event: somebody is told if the
  file of any of them says so.
- The operator's deck.toml is read again when it has changed; one that is broken meanwhile changes nothing.
"""

import logging
from pathlib import Path

from quarterdeck.assembly.configured import wanted
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
        self._file = home / DECK_FILE
        self._stamp: tuple[int, int, int] | None = None
        self._last = operator_outside(home)

    def __call__(self) -> OperatorConfig:
        try:
            found = self._file.stat()
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


def reactions(engine: Engine, configured: OperatorsFile, *, shared: bool) -> Reactions:
    """What follows from which event, in its transaction. shared: several processes work on the deck, each with
    its own file."""

    def publish(tx: Tx, record: Record) -> None:
        run = record.stream.partition("/")[2]
        if tx.run("origin_of", run=run):
            about = FINISHED if isinstance(record.event, e.RunFinished) else WAITING
            engine.defer(tx, port.look(run, about))

    def tell(tx: Tx, record: Record) -> None:
        section = configured().notify
        if section.url is None and not shared:
            return
        need = READERS[type(record.event)](record)
        if need is None:
            return
        if (section.url is not None and need.kind in section.kinds) or (shared and wanted(tx, need.kind)):
            engine.defer(tx, notify(need))

    def both(tx: Tx, record: Record) -> None:
        publish(tx, record)
        tell(tx, record)

    found: dict[type[e.EventBase], Reaction] = dict.fromkeys(READERS, tell)
    return {**found, e.RunFinished: both, e.RunWaiting: both}
