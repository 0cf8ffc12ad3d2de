"""Whose work the present one is: the ids that a line of the process's own log gets.

Rules
- Set around each job; whatever the job starts inherits it. It is known nowhere else, and decides nothing.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from quarterdeck.engine.port import Handler, Job


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a run; empty = it does not belong to one."""

    run: str = ""
    task: str = ""
    attempt: str = ""


_NOWHERE = Where()
_here: ContextVar[Where] = ContextVar("quarterdeck.where", default=_NOWHERE)


def here() -> Where:
    """Whose work the present one is."""
    return _here.get()


def named(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """The same handlers, each of which says whose work it does."""
    return {kind: _named(handler) for kind, handler in handlers.items()}


def _named(handler: Handler) -> Handler:
    async def perform(job: Job) -> None:
        token = _here.set(Where(job.run, str(job.payload.get("task") or ""), str(job.payload.get("attempt") or "")))
        try:
            await handler(job)
        finally:
            _here.reset(token)

    return perform
