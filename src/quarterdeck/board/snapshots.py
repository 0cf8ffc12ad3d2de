"""A snapshot of the board, put in the order in which it is shown. Pure."""

from collections.abc import Collection
from typing import TypeVar

from quarterdeck.board.board import Board
from quarterdeck.board.port import AgentRow, ApprovalRow, DeckRow, GateRow, NeedRow, RunRow, Snapshot, Topic
from quarterdeck.kernel.entities import Value

V = TypeVar("V", bound=Value)


def snapshot(board: Board, now: float, topics: Collection[Topic], run: str | None) -> Snapshot:
    """What the last frame shows of these topics, at `now` (seconds since the epoch)."""

    def rows(topic: Topic, kind: type[V]) -> list[V]:
        shown = board.shown[topic].values() if topic in topics else ()
        return [row for row in shown if isinstance(row, kind)]

    deck = rows(Topic.DECK, DeckRow)
    tasks = board.tasks.get(run, {}).values() if run is not None else ()
    return Snapshot(
        seq=board.seq,
        at=now,
        deck=deck[0] if deck else None,
        runs=tuple(sorted(rows(Topic.RUNS, RunRow), key=lambda row: (row.created_at, row.run), reverse=True)),
        agents=tuple(sorted(rows(Topic.AGENTS, AgentRow), key=lambda row: row.attempt)),
        needs=tuple(sorted(rows(Topic.NEEDS, NeedRow), key=lambda row: (-row.rank, row.since, row.id))),
        gates=tuple(sorted(rows(Topic.GATES, GateRow), key=lambda row: (row.repository, row.branch))),
        approvals=tuple(sorted(rows(Topic.APPROVALS, ApprovalRow), key=lambda row: (row.since, row.approval))),
        run=run,
        tasks=tuple(sorted(tasks, key=lambda row: (row.position, row.task))),
    )
