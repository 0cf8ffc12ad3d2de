"""Attempts over HTTP: what is said to them."""

from typing import Final

from fastapi import APIRouter

from quarterdeck.doors.api import shapes
from quarterdeck.doors.api.context import MUTATES, AttemptId, Deck

router: Final = APIRouter(prefix="/attempts", tags=["attempts"])


@router.post("/{attempt}/messages", status_code=202, dependencies=MUTATES)
async def tell(attempt: AttemptId, asked: shapes.Message, deck: Deck) -> shapes.Told:
    """Say something to an agent at work; it reads it before its next step."""
    whom, message = await deck.tell("attempt", attempt, asked.text)
    return shapes.Told(attempt=whom.attempt, agent=whom.agent, message=message)
