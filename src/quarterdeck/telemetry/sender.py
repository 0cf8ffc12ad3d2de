"""Delivery to a collector that may be slow, wrong or gone: a bounded queue and one thread.

Rules
- Putting never waits. What does not fit is dropped and counted; so is what the collector refused several times.
- The thread ends with the process: it holds nothing up. `stop` gives it a last moment to deliver what is left.
- That the collector takes nothing is told once, not with every try.
- `settled` only names records whose spans were delivered, or given up for good: a later process goes on from there, so
  what a sudden end took with it is sent again, under the same ids.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from quarterdeck.telemetry.port import Instrument, Span

_log = logging.getLogger(__name__)

BATCH: Final = 512
TRIES: Final = 5
_BYTES: Final = 32 * 1024 * 1024
_SPAN_BYTES: Final = 1024
"""What a span without bodies is taken for."""
_LONGEST_WAIT: Final = 30.0


class Target(Protocol):
    """Who spans and measures are delivered to, on the thread that calls."""

    def send(self, spans: Sequence[Span]) -> bool: ...

    def measure(self, instrument: Instrument, value: float, labels: Mapping[str, str]) -> None: ...

    def flush(self, seconds: float) -> bool: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    span: Span
    mark: int
    bytes: int


class Sender:
    """Delivers to `target`. `interval`: seconds between two deliveries of metrics."""

    def __init__(
        self,
        target: Target,
        interval: float,
        settled: int,
        *,
        room: int = _BYTES,
        wait: Callable[[int], float] | None = None,
    ) -> None:
        """`wait`: seconds before the try after so many refused ones."""
        self._target = target
        self._interval = interval
        self._room = room
        self._wait = wait or (lambda refused: min(2.0**refused, _LONGEST_WAIT))
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._mark = self._settled = settled
        self._dropped = 0
        self._refused: set[str] = set()
        self._changed = threading.Condition()
        self._stopping = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._thread.start()

    def put(self, span: Span, mark: int) -> None:
        """Deliver it some time. `mark`: of the record that ended it."""
        size = _SPAN_BYTES + sum(len(value) for value in span.attributes.values() if isinstance(value, str))
        with self._changed:
            if self._bytes + size > self._room:
                self._dropped += 1
                return
            self._queue.append(_Waiting(span, mark, size))
            self._bytes += size
            if len(self._queue) >= BATCH:
                self._changed.notify()

    def reached(self, mark: int) -> None:
        """All records up to `mark` have been put."""
        with self._changed:
            self._mark = mark
            if self._queue:
                self._changed.notify()

    @property
    def settled(self) -> int:
        """The record up to which nothing is left to do."""
        with self._changed:
            return self._settled if self._queue else self._mark

    def take_dropped(self) -> int:
        """How many spans were dropped since this was last asked."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def stop(self, seconds: float) -> bool:
        """Deliver what is left, for so long at most; whether all of it was settled. Waits: not for an event loop."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        ended = self._ended.wait(seconds)
        self._target.close()
        return ended and not self._queue and "metrics" not in self._refused

    # --- the thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        flushed = monotonic()
        refused = 0
        try:
            while True:
                batch = self._next(flushed + self._interval, refused)
                if batch:
                    refused = self._deliver(batch, refused)
                last = self._stopping and (not self._queue or refused > 0)
                if last or monotonic() >= flushed + self._interval:
                    self._heard("metrics", self._target.flush(self._interval))
                    flushed = monotonic()
                if last:
                    return
        except Exception:  # noqa: BLE001 - told, and nothing else may suffer from it
            _log.exception("telemetry is no longer delivered")
        finally:
            self._ended.set()

    def _heard(self, what: str, taken: bool) -> None:
        """What came of a try. Whoever stops this sender tells himself what was left."""
        if taken:
            self._refused.discard(what)
        elif what not in self._refused:
            self._refused.add(what)
            if not self._stopping:
                _log.warning("the collector takes no %s; they are tried again, as far as there is room for them", what)

    def _next(self, due: float, refused: int) -> list[_Waiting]:
        """What to deliver now; waits for it, for the next delivery of metrics, or for the end."""
        pause = monotonic() + self._wait(refused) if refused else 0.0
        with self._changed:
            while not self._stopping and monotonic() < due and (not self._queue or monotonic() < pause):
                self._changed.wait(max(0.0, min(due, pause if self._queue else due) - monotonic()))
            if monotonic() < pause and not self._stopping:
                return []
            return [self._queue[place] for place in range(min(BATCH, len(self._queue)))]

    def _deliver(self, batch: list[_Waiting], refused: int) -> int:
        """How often in a row this batch was refused by now; 0 = it is settled."""
        taken = self._target.send([waiting.span for waiting in batch])
        self._heard("spans", taken)
        if not taken and refused + 1 < TRIES:
            return refused + 1
        with self._changed:
            for waiting in batch:
                self._queue.popleft()
                self._bytes -= waiting.bytes
            # One record may end several spans: it is not done with before the last of them is.
            self._settled = self._queue[0].mark - 1 if self._queue else batch[-1].mark
            self._dropped += 0 if taken else len(batch)
        return 0
