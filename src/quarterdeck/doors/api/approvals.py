"""Approvals over HTTP: what waits for a person's word, exactly, and the word.

Rules
- A verdict is bound to the hash of what was looked at. One that is stale, that comes twice or too late is refused.
"""

import json
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from quarterdeck.board.port import ApprovalRow
from quarterdeck.delivery.plan import dump_plan
from quarterdeck.doors.api import shapes
from quarterdeck.doors.api.context import CREATES, Asking, Deck
from quarterdeck.doors.api.port import Served
from quarterdeck.doors.api.rows import approval_row
from quarterdeck.journal.views import ApprovalView
from quarterdeck.kernel.entities import Plan

router: Final = APIRouter(prefix="/approvals", tags=["approvals"])

ApprovalId = Annotated[str, Path(max_length=200, pattern=r"^[A-Za-z0-9._-]+$", description="Full id of an approval.")]


@router.get("")
async def approvals(
    deck: Deck, open: Annotated[bool, Query(description="Only what is not decided.")] = True
) -> tuple[ApprovalRow, ...]:
    """What waits for a person's word, longest first."""
    return tuple(approval_row(view) for view in await deck.approvals(open=open))


@router.get("/{approval}")
async def approval(approval: ApprovalId, deck: Deck) -> shapes.ApprovalDetail:
    """One, with exactly what is asked."""
    view = await deck.views.approval(approval)
    return shapes.ApprovalDetail(**dict(approval_row(view)), subject=await _subject(deck, view), diff=None)


async def _subject(deck: Served, view: ApprovalView) -> str:
    """The plan as YAML; the tool with its arguments, or the change, as JSON."""
    body = await deck.journal.get(view.subject_blob)
    if view.what == "plan":
        return dump_plan(Plan.model_validate_json(body))
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)


@router.post("/{approval}", dependencies=CREATES)
async def decide(approval: ApprovalId, asked: shapes.Verdict, deck: Deck, person: Asking) -> shapes.Decided:
    """Approve or deny; a denial says why."""
    await deck.decide(approval, asked.verdict, action_hash=asked.action_hash, reason=asked.reason, by=person.name)
    return shapes.Decided(approval=approval, verdict=asked.verdict)
