"""Attempts over HTTP: what they did, and what is said to them."""

from typing import Annotated, Final

from fastapi import APIRouter, Query

from quarterdeck.board.answers import Diff, Thread
from quarterdeck.doors.api import shapes
from quarterdeck.doors.api.context import MUTATES, Asking, AttemptId, Behind, Deck
from quarterdeck.doors.api.machine import MOST_RECORDS
from quarterdeck.kernel.failures import BadInput

Seq = Annotated[int | None, Query(ge=0, le=MOST_RECORDS, description="Number of a record in its stream.")]
Limit = Annotated[int, Query(ge=1, le=500, description="Records that are looked at.")]

router: Final = APIRouter(prefix="/attempts", tags=["attempts"])


@router.get("/{attempt}/thread")
async def thread(
    attempt: AttemptId, behind: Behind, after: Seq = None, before: Seq = None, limit: Limit = 100
) -> Thread:
    """A page of what it was told, said and did: `after` a record, `before` one, or the newest one."""
    if after is not None and before is not None:
        raise BadInput("`after` and `before` exclude each other")
    return await behind.shown.readings.thread(attempt, after=after, before=before, limit=limit)


@router.get("/{attempt}/diff")
async def diff(attempt: AttemptId, behind: Behind) -> Diff:
    """What its newest change does; 404 as long as it has none."""
    return await behind.shown.readings.diff(attempt)


@router.post("/{attempt}/messages", status_code=202, dependencies=MUTATES)
async def tell(attempt: AttemptId, asked: shapes.Message, deck: Deck, person: Asking) -> shapes.Told:
    """Say something to an agent at work; it reads it before its next step."""
    whom, message = await deck.tell("attempt", attempt, asked.text, by=person.name)
    return shapes.Told(attempt=whom.attempt, agent=whom.agent, message=message)


@router.post("/{attempt}/comments", status_code=202, dependencies=MUTATES)
async def comment(attempt: AttemptId, asked: shapes.Comment, deck: Deck, person: Asking) -> shapes.Commented:
    """Say something about its change; whoever works on the task, or will, reads it."""
    await deck.comment(attempt, asked.path, asked.line, asked.text, by=person.name)
    return shapes.Commented(attempt=attempt, path=asked.path, line=asked.line)
