"""Approvals over HTTP: what waits for a person's word, exactly, and the word.

Rules
- A verdict is bound to the hash of what was looked at. One that is stale, that comes twice or too late is refused.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from quarterdeck.board.answers import ApprovalDetail
from quarterdeck.board.approvals import approval_row
from quarterdeck.board.port import ApprovalRow
from quarterdeck.doors.api import shapes
from quarterdeck.doors.api.context import CREATES, Asking, Behind, Deck

router: Final = APIRouter(prefix="/approvals", tags=["approvals"])

ApprovalId = Annotated[str, Path(max_length=200, pattern=r"^[A-Za-z0-9._-]+$", description="Full id of an approval.")]


@router.get("")
async def approvals(
    deck: Deck, open: Annotated[bool, Query(description="Only what is not decided.")] = True
) -> tuple[ApprovalRow, ...]:
    """What waits for a person's word, longest first."""
    return tuple(approval_row(view) for view in await deck.approvals(open=open))


@router.get("/{approval}")
async def approval(approval: ApprovalId, behind: Behind) -> ApprovalDetail:
    """One, with exactly what is asked."""
    return await behind.shown.approvals.detail(approval, behind.shown.readings)


@router.post("/{approval}", dependencies=CREATES)
async def decide(approval: ApprovalId, asked: shapes.Verdict, deck: Deck, person: Asking) -> shapes.Decided:
    """Approve or deny; a denial says why."""
    await deck.decide(approval, asked.verdict, action_hash=asked.action_hash, reason=asked.reason, by=person.name)
    return shapes.Decided(approval=approval, verdict=asked.verdict)
