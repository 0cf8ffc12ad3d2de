"""What the board starts from, and reads again: read tables and the newest records, as cells.

Rules
- History is not read: of runs those that have not ended and the newest others, of each agent at work and each gate the
  newest records.
- What belongs together is read as of one commit, and says as of which record that was.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Final

from quarterdeck.board import agents, gates
from quarterdeck.board.agents import AgentCell
from quarterdeck.board.gates import GateCell
from quarterdeck.board.port import RECENT_RUNS, Unreviewed
from quarterdeck.board.runs import Facts, RunCell, counted
from quarterdeck.board.scene import Ended, Inbox, Incident, Notice, Waiting
from quarterdeck.board.tail import Raw, raw
from quarterdeck.delivery.briefing import Briefings
from quarterdeck.govern.days import settled
from quarterdeck.journal.port import Journal
from quarterdeck.journal.views import WaitView, purse_of, run_of, task_of
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import to_usd
from quarterdeck.kernel.events import RunPlanned, TaskStatus
from quarterdeck.kernel.failures import NotFound
from quarterdeck.store.port import Row, Store

OPEN_RUNS: Final = 2_000
"""Runs that have not ended and are shown, the newest first."""
BACK: Final = 400
"""Newest records of an agent's or a gate's stream that are read."""
LATELY: Final = 86_400.0
"""Seconds for which what ended or was noticed is worth a look."""
OPEN_GATES: Final = 500
"""Gates of runs that have not ended and are shown."""
RECENT_GATES: Final = 20
"""Gates of runs that have ended and are shown: by default each run has a branch, and so a gate, of its own."""
MOST: Final = 500
"""Rows of one kind that a person is shown as waiting."""
_CHUNK: Final = 50
_PLANNED_WITHIN: Final = 2_000
"""Records of a run among which its plan is looked for."""


class Loader:
    """Reads cells from one store."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._briefings = Briefings(journal)

    async def mark(self) -> int:
        """Id of the newest record."""
        return int((await self._store.read("event_last"))[0]["last"])

    async def shown(self) -> list[str]:
        """The runs that are shown."""
        return [row["run"] for row in await self._store.read("board_shown", open=OPEN_RUNS, ended=RECENT_RUNS)]

    async def runs(
        self, names: Iterable[str], known: Collection[str] | None, facts: dict[str, Facts], pinned: Collection[str]
    ) -> list[tuple[RunCell, list[AgentCell]]]:
        """Some runs with those of their agents at work that are not `known` (None = no agents). `facts`: of runs that
        were read before. Of a run that has ended and is not `pinned`, only what the list of runs shows is kept."""
        wanted, found = list(dict.fromkeys(names)), []
        for start in range(0, len(wanted), _CHUNK):
            chunk = json.dumps(wanted[start : start + _CHUNK])
            last, rows, tasks, attempts = await self._store.reads(
                ("event_last", {}),
                ("board_runs", {"names": chunk}),
                ("board_tasks", {"names": chunk}),
                ("board_attempts", {"names": chunk}),
            )
            cells = {row["run"]: _cell(row, last[0]["last"], tasks) for row in rows}
            going = [run for run, cell in cells.items() if not cell.finished]
            at_work = []
            if known is not None:
                fresh = [row for row in attempts if row["run"] in going and row["attempt"] not in known]
                at_work = await self._agents(fresh)
            for run, cell in cells.items():
                if cell.finished and run not in pinned:
                    cell.tasks, cell.reviewed = None, frozenset()
                else:
                    cell.facts = await self._facts(cell, facts.get(run))
                found.append((cell, [agent for agent in at_work if agent.run == run]))
        return found

    async def _facts(self, cell: RunCell, known: Facts | None) -> Facts:
        if known is not None and known.config is not None and (known.tasks or not cell.tasks):
            return known
        try:
            briefing = await self._briefings.run(cell.run)
            blob = briefing.created.plan_blob
            if blob is None and cell.tasks:
                records = await self._journal.read(ids.run_stream(cell.run), limit=_PLANNED_WITHIN)
                planned = [record.event for record in records if isinstance(record.event, RunPlanned)]
                blob = planned[-1].plan_blob if planned else None
            plan = await self._briefings.plan(blob) if cell.tasks else None
        except NotFound:
            return Facts()  # nothing is known of its configuration: it is shown without
        return Facts(briefing.config, {task.id: task for task in plan.tasks} if plan is not None else {})

    async def _agents(self, rows: list[Row]) -> list[AgentCell]:
        found: list[AgentCell] = []
        rows = [row for row in rows if row["harness"] != "git"]
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            last, records, spent = await self._store.reads(
                ("event_last", {}),
                ("tail_of", {"names": json.dumps([ids.attempt_stream(r["attempt"]) for r in chunk]), "back": BACK}),
                ("board_spent", {"names": json.dumps([[r["run"], r["attempt"]] for r in chunk])}),
            )
            by_stream: dict[str, list[Raw]] = {}
            for record in map(raw, records):
                by_stream.setdefault(record.stream, []).append(record)
            costs = {row["attempt"]: row["cost_nusd"] for row in spent}
            for row in chunk:
                cell = _agent(row, by_stream.get(ids.attempt_stream(row["attempt"]), []))
                cell.spent_nusd, cell.last_id = costs.get(row["attempt"], 0), last[0]["last"]
                if not cell.ended:
                    found.append(cell)
        return found

    async def targets(self) -> list[str]:
        """The gates that are shown."""
        return [row["target"] for row in await self._store.read("board_targets", open=OPEN_GATES, ended=RECENT_GATES)]

    async def gate(self, target: str) -> GateCell:
        """One gate, with what is on record about it."""
        stream = ids.gate_stream(target)
        first, last, records = await self._store.reads(
            ("events_of", {"stream": stream, "after": 0, "limit": 1}),
            ("event_last", {}),
            ("tail_of", {"names": json.dumps([stream]), "back": BACK}),
        )
        tail = [raw(row) for row in records]
        cell = GateCell(target)
        if first and tail and tail[0].seq > 1:
            row = first[0]
            gates.take(cell, raw({**row, "id": 1, "stream": stream}))
        for record in tail:
            gates.take(cell, record)
        cell.last_id = last[0]["last"]
        cell.reviewed = await self.reviewed(cell)
        return cell

    async def reviewed(self, cell: GateCell) -> frozenset[str]:
        """Which of the changes that landed have an accepting review."""
        names = json.dumps([change.attempt for change in cell.landed])
        return frozenset(row["attempt"] for row in await self._store.read("board_reviewed", names=names))

    async def inbox(self, now: float) -> Inbox:
        """What the read tables say that a person should look at."""
        since = now - LATELY
        bounds: dict[str, Any] = {"since": since, "limit": MOST}
        waits, incidents, notices, ended = await self._store.reads(
            ("board_waits", {"limit": MOST}),
            ("board_incidents", bounds),
            ("board_notices", bounds),
            ("board_failed", bounds),
        )
        return Inbox(
            tuple(_waiting(row) for row in waits),
            tuple(Incident(**row) for row in incidents),
            tuple(_notice(row) for row in notices),
            tuple(
                Ended(
                    run=row["run"],
                    goal=row["goal"],
                    status=row["status"],
                    reason=row["reason"],
                    exit_code=row["exit_code"],
                    at=row["finished_at"],
                    task=row["task"],
                )
                for row in ended
            ),
        )

    async def landings(self) -> Unreviewed:
        """How many changes have landed, and how many of them nobody had reviewed."""
        row = (await self._store.read("board_landings", day=""))[0]
        return Unreviewed(merged=row["unreviewed"], total=row["changes"])

    async def spending(self, now: float, day: str) -> tuple[dict[int, int], int]:
        """What each stretch of the last two hours has cost, and what the day has: nano-USD."""
        burn, purses = await self._store.reads(
            ("board_burn", {"since": int(now - 7200)}),
            ("view_purses", {"first": f"deck/{day}", "last": f"deck/{day}\0"}),
        )
        return {row["at"]: row["cost_nusd"] for row in burn}, settled(map(purse_of, purses), "day", day).get(day, 0)


def _cell(row: Row, since: int, tasks: Iterable[Row]) -> RunCell:
    own = [task for task in tasks if task["run"] == row["run"]]
    views = {task["task"]: task_of(task) for task in own}
    return RunCell(
        view=run_of(row),
        version=row["version"],
        since=since,
        counts=counted(Counter(TaskStatus(task["status"]) for task in own)),
        tasks=views,
        reviewed=frozenset(task["task"] for task in own if task["reviewed"]),
    )


def _agent(row: Row, records: list[Raw]) -> AgentCell:
    cell = AgentCell(
        attempt=row["attempt"],
        run=row["run"],
        task=row["task"],
        agent=row["agent"],
        harness=row["harness"],
        number=row["number"],
        incarnation=row["incarnation"],
        started_at=row["started_at"],
        last_at=row["started_at"],
        tail_from=records[0].seq if records else 1,
    )
    for record in records:
        agents.take(cell, record)
    cell.useful_at = cell.useful_at or cell.started_at
    return cell


def _waiting(row: Row) -> Waiting:
    names = ("run", "task", "attempt", "question", "since", "what")
    return Waiting(WaitView(**{name: row[name] for name in names}), row["title"], row["agent"])


def _notice(row: Row) -> Notice:
    return Notice(row["run"], row["about"], row["name"], row["at"], to_usd(row["spent"]), to_usd(row["usual"]))
