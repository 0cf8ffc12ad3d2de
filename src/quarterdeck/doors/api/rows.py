"""Views of the journal as rows that are shown. Pure."""

from quarterdeck.board.port import ApprovalRow
from quarterdeck.journal.views import ApprovalView
from quarterdeck.kernel.entities import to_usd


def approval_row(view: ApprovalView) -> ApprovalRow:
    """An approval as it is shown: money in USD."""
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
