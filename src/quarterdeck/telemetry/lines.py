"""Log lines as JSON, one object each: what is recorded in the journal, and what the process itself has to say.

Rules
- Each line has `time`, `level`, `logger` and, where it belongs to one, `run`, `task` and `attempt`.
- An event's line says its kind and its figures. What was said or written stands in it with `content` alone.
- Writing happens on a thread with a bounded queue: a reader that does not read holds nothing up; lines are dropped and
  counted, and the next line that gets through says how many.
"""

import json
import logging
import queue
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import NUSD_PER_USD
from quarterdeck.telemetry.where import here

_ROOM: Final = 10_000
_LONGEST: Final = 2_000
_FIGURES: Final = frozenset(
    (
        *("agent", "attempt", "call", "check", "child", "commit", "decision", "estimated", "exit_code", "failure"),
        *("flags", "harness", "incarnation", "infrastructure", "cancelled", "limit", "model", "node", "number", "ok"),
        *("outcome", "passed", "rules", "run", "seconds", "status", "step", "stop", "task", "tasks", "tool", "usage"),
        *("tool_kind", "verdict", "approval", "before_tokens", "after_tokens", "blocking", "warnings", "version"),
    )
)
"""Fields that are told without `content`."""
_TEXTS: Final = frozenset(("goal", "reason", "question", "text", "title", "first", "fix", "detail", "why"))
"""Fields that somebody wrote."""
_LOUD: Final = (
    e.ModelErred,
    e.TaskFailed,
    e.TaskEscalated,
    e.IncidentOpened,
    e.NodeDelayed,
    e.GateDelayed,
    e.NoteFailed,
)


def line_of(record: Record, content: bool) -> dict[str, Any]:
    """An event as an object."""
    event = record.event
    where, _, name = record.stream.partition("/")
    told: dict[str, Any] = {
        "time": _time(record.at),
        "level": "warning" if isinstance(event, _LOUD) else "info",
        "logger": "quarterdeck.journal",
        "event": event.kind,
    }
    if where == "run":
        told["run"] = name
    elif where in ("attempt", "mail"):
        run, task, _ = ids.split_attempt(name)
        told |= {"run": run, "task": task, "attempt": name}
    told |= {"stream": record.stream, "seq": record.seq}
    for key, value in event.model_dump(mode="json").items():
        if value in (None, "", [], {}):
            continue
        if key.endswith("_nusd"):
            told[f"{key.removesuffix('_nusd')}_usd"] = value / NUSD_PER_USD
        elif (key in _FIGURES and key not in told) or (content and key in _TEXTS):
            told[key] = value[:_LONGEST] if isinstance(value, str) else value
    return told


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Lines(logging.Handler):
    """Writes lines to a file or to standard error, and takes what the product's loggers say while it is open."""

    def __init__(self, file: Path | None, content: bool, hide: Callable[[str], str], out: TextIO | None = None) -> None:
        """`hide`: takes secrets out of a text."""
        super().__init__()
        self._content = content
        self._hide = hide
        self._queue: queue.Queue[str | None] = queue.Queue(_ROOM)
        self._dropped = 0
        self._out = out or (file.open("a", encoding="utf-8") if file is not None else sys.stderr)
        self._owned = out is None and file is not None
        self._thread = threading.Thread(target=self._work, name="log lines", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Take what the product's loggers say, from now on."""
        logging.getLogger("quarterdeck").addHandler(self)

    def record(self, record: Record) -> None:
        """A line for an event."""
        self._put(line_of(record, self._content))

    def emit(self, record: logging.LogRecord) -> None:
        place = here()
        ids_here = {"run": place.run, "task": place.task, "attempt": place.attempt}
        told = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            **{name: value for name, value in ids_here.items() if value},
            "message": record.getMessage()[:_LONGEST],
        }
        if record.exc_info is not None and record.exc_info[0] is not None:
            told["error"] = record.exc_info[0].__name__
            told["trace"] = logging.Formatter().formatException(record.exc_info)[-4 * _LONGEST :]
        self._put(told)

    def _put(self, told: dict[str, Any]) -> None:
        if self._dropped:
            told = {**told, "dropped": self._dropped}
        try:
            self._queue.put_nowait(self._hide(json.dumps(told, ensure_ascii=True)))
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def _work(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._out.write(f"{line}\n")
                if self._queue.empty():
                    self._out.flush()
            except (OSError, ValueError):  # a full disk, a reader that left: the line is lost, the work is not
                self._dropped += 1

    def end(self, seconds: float) -> None:
        """Write what is left, for so long at most. Waits: not for an event loop."""
        logging.getLogger("quarterdeck").removeHandler(self)
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)
        if self._owned and not self._thread.is_alive():
            self._out.close()
