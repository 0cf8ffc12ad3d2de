"""What a person is asked to allow: as a row, and exactly.

Rules
- What is shown is what the hash of the action names: the tool with its arguments, the plan, the change and its diff.
"""

import json
from typing import Final

from quarterdeck.board.answers import ApprovalDetail
from quarterdeck.board.port import ApprovalRow
from quarterdeck.board.readings import Readings
from quarterdeck.delivery.plans.plan import dump_plan
from quarterdeck.journal.port import Journal
from quarterdeck.journal.views import ApprovalView, Views
from quarterdeck.kernel.entities import Plan, to_usd
from quarterdeck.kernel.failures import GitFailed, NotFound
from quarterdeck.store.port import Store

TEXT: Final = 64_000
"""Characters of an action that are shown."""


def approval_row(view: ApprovalView) -> ApprovalRow:
    """The approval as it is shown."""
    return ApprovalRow(
        approval=view.approval,
        what=view.what,
        run=view.run,
        task=view.task,
        attempt=view.attempt,
        agent=view.agent,
        title=view.title,
        action_hash=view.action_hash,
        risk=view.risk,
        why=view.why,
        cost_usd=to_usd(view.cost_nusd),
        since=view.since,
        expires_at=view.expires_at,
        status=view.status,
        by=view.by,
        reason=view.reason,
    )


class Approvals:
    """The approvals of one deck."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._views = Views(store)
        self._journal = journal

    async def open(self) -> tuple[ApprovalRow, ...]:
        """Those that wait, the oldest first."""
        return tuple(approval_row(view) for view in await self._views.approvals())

    async def of(self, run: str) -> tuple[ApprovalRow, ...]:
        """All of a run, the oldest first."""
        return tuple(approval_row(view) for view in await self._views.approvals(run, open=False))

    async def detail(self, approval: str, readings: Readings) -> ApprovalDetail:
        """What exactly is asked. Raises NotFound."""
        view = await self._views.approval(approval)
        body = await self._journal.get(view.subject_blob)
        text = shown(view.what, body)
        diff = None
        if view.what == "merge" and view.attempt is not None:
            try:
                diff = await readings.diff(view.attempt)
            except (NotFound, GitFailed):
                diff = None  # the mirror was lost: the approval is shown without, and its subject says what it is
        return ApprovalDetail(**dict(approval_row(view)), subject=text[:TEXT], cut=len(text) > TEXT, diff=diff)


def shown(what: str, body: bytes) -> str:
    """The action of an approval in a form for people. Pure."""
    if what == "plan":
        return dump_plan(Plan.model_validate_json(body))
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "replace")
