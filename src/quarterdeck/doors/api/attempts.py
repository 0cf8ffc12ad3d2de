"""Attempts over HTTP: what is said to them."""

from typing import Final

from fastapi import APIRouter

from quarterdeck.doors.api import shapes
from quarterdeck.doors.api.context import MUTATES, Asking, AttemptId, Deck

router: Final = APIRouter(prefix="/attempts", tags=["attempts"])


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
