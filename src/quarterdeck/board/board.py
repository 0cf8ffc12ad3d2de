"""The board: everything that is shown live, folded from records and read tables. Pure.

Rules
- Records say what happened to agents and gates, and what was spent. What a run's own stream says is taken from its read
  tables: they are read again when it has grown. `stale` names what has to be read; `put_…` takes it over.
- What was read includes records that are still to come: each cell remembers up to which record it is current, and takes
  none twice.
- Agents of a run are shown while the run has not ended and nobody else has taken their place.
- A frame names what differs from the frame before it, and nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.board import agents, gates
from quarterdeck.board.agents import AgentCell
from quarterdeck.board.frames import Frame, Move, Moves, Rows, difference
from quarterdeck.board.gates import GateCell
from quarterdeck.board.needs import needs
from quarterdeck.board.port import AgentRow, ApprovalRow, DeckRow, NeedRow, TaskRow, Topic, Unreviewed
from quarterdeck.board.runs import RunCell, run_row, task_rows
from quarterdeck.board.scene import Inbox, Scene, Stuck
from quarterdeck.board.tail import Raw
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Value, to_usd
from quarterdeck.kernel.events import TaskStatus
from quarterdeck.kernel.states import AT_WORK

_SPENDING: Final = frozenset({"model.answered", "model.erred", "agent.turned"})
_INBOX: Final = frozenset({"question.asked", "question.answered", "incident.opened"})
_REDS: Final = frozenset({"culprit.found", "tip.mended"})
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Around:
    """What no journal says: how this machine and this server are."""

    version: str = ""
    started_at: float = 0.0
    working: bool = False
    today_nusd: int = 0
    today_cap_usd: float | None = None
    inbox_limit: int | None = None
    trouble: str = ""


@dataclass(slots=True)
class Stale:
    """What has to be read before the next frame."""

    runs: set[str] = field(default_factory=set)
    gates: set[str] = field(default_factory=set)
    """Gates that are not known yet."""
    reviewed: set[str] = field(default_factory=set)
    """Gates whose landed changes may have been reviewed."""
    inbox: bool = True
    approvals: bool = True
    landings: bool = True


class Board:
    """Cells by what they are about, and the rows that were shown last."""

    def __init__(self, seq: int) -> None:
        """`seq`: of the frame before the first one."""
        self.seq = seq
        self.stale = Stale()
        self.runs: dict[str, RunCell] = {}
        self.agents: dict[str, AgentCell] = {}
        self.gates: dict[str, GateCell] = {}
        self.inbox = Inbox()
        self.approvals: tuple[ApprovalRow, ...] = ()
        self.around = Around()
        self.burn: dict[int, int] = {}
        """Nano-USD by the beginning of each stretch of time."""
        self.unreviewed = Unreviewed()
        self.pinned: dict[str, int] = {}
        """Runs that are followed, and by how many."""
        self.shown: Rows = {topic: {} for topic in Topic}
        self.tasks: dict[str, dict[str, TaskRow]] = {}
        """Task rows that were shown last, of runs that are followed."""
        self._dirty: dict[Topic, set[str]] = {topic: set() for topic in Topic}
        self._retold: set[str] = set()
        """Runs whose task rows may have changed."""
        self._touched: dict[str, dict[str, int]] = {}
        self._odd: set[str] = set()
        """Agents that a person may have to look at."""
        self._quiet: dict[str, float] = {}
        """Agents that count as silent unless something comes, and when."""

    def anew(self) -> "Board":
        """An empty board that goes on where this one is: with those who follow, and with what they were shown."""
        board = Board(self.seq)
        board.pinned, board.shown, board.tasks = self.pinned, self.shown, self.tasks
        board._dirty = {topic: set(rows) for topic, rows in self.shown.items()}
        board._retold = set(self.pinned)
        return board

    # --- taking over ----------------------------------------------------------------------------------------

    def take(self, records: Iterable[Raw]) -> None:
        """Take records over, in the order of the commits."""
        for raw in records:
            where, _, name = raw.stream.partition("/")
            if where == "attempt":
                self._attempt(name, raw)
            elif where == "run":
                self._run(name, raw)
            elif where == "gate":
                self._gate(name, raw)
            elif where == "approval":
                self._approval(raw)
            if where != "gate" and (run := name.partition(".")[0]) in self.pinned:
                self._touched.setdefault(run, {})[raw.stream] = raw.seq

    def _run(self, run: str, raw: Raw) -> None:
        self.stale.runs.add(run)
        self.stale.inbox = self.stale.approvals = True
        if raw.kind == "task.merged":
            self.stale.landings = True

    def _attempt(self, attempt: str, raw: Raw) -> None:
        run = attempt.partition(".")[0]
        cell = self.agents.get(attempt)
        if raw.kind == "attempt.started" and cell is None:
            if run not in self.runs or self.runs[run].tasks is None:
                self.stale.runs.add(run)  # its agents are read with it
                return
            cell = agents.begun(raw)
            if cell is not None:
                self.agents[attempt] = cell
        if cell is not None:
            agents.take(cell, raw)
            self._dirty[Topic.AGENTS].add(attempt)
            if cell.ended:
                del self.agents[attempt]
        if raw.kind in _SPENDING:
            self._spend(run, raw)
        elif raw.kind in _INBOX:
            self.stale.inbox = True
        elif raw.kind == "harness.finished" or raw.kind.startswith("approval."):
            self.stale.approvals = True

    def _spend(self, run: str, raw: Raw) -> None:
        cell = self.runs.get(run)
        if cell is None:
            self.stale.runs.add(run)
            return
        event = raw.event
        if isinstance(event, e.AgentTurned) and event.verified:
            return
        assert isinstance(event, e.ModelAnswered | e.ModelErred | e.AgentTurned)
        cell.spend(raw.id, event.usage, event.cost_nusd)
        self._dirty[Topic.RUNS].add(run)

    def _gate(self, target: str, raw: Raw) -> None:
        cell = self.gates.get(target)
        self.stale.inbox |= raw.kind in _REDS
        self.stale.approvals |= raw.kind.startswith("approval.")
        if cell is None:
            self.stale.gates.add(target)
            return
        gates.take(cell, raw)
        self._dirty[Topic.GATES].add(target)
        if raw.kind == "change.landed":
            self.stale.reviewed.add(target)

    def _approval(self, raw: Raw) -> None:
        self.stale.approvals = True
        event = raw.event
        row = self.shown[Topic.APPROVALS].get(getattr(event, "approval", ""))
        if isinstance(row, ApprovalRow):
            self.stale.runs.add(row.run)  # the change counts as reviewed, the run goes on

    def put_run(self, cell: RunCell, at_work: Iterable[AgentCell]) -> None:
        """Take over what the read tables say about a run, and its agents that are not known yet."""
        run = cell.run
        if run in self.runs and cell.facts.config is None:
            cell.facts = self.runs[run].facts
        self.runs[run] = cell
        for agent in at_work:
            self.agents.setdefault(agent.attempt, agent)
        for agent in [agent for agent in self.agents.values() if agent.run == run]:
            self._dirty[Topic.AGENTS].add(agent.attempt)
            if cell.finished:
                del self.agents[agent.attempt]
        self._dirty[Topic.RUNS].add(run)
        self._retold.add(run)

    def put_gate(self, cell: GateCell) -> None:
        """Take over a gate that was not known."""
        self.gates[cell.target] = cell
        self._dirty[Topic.GATES].add(cell.target)

    def put_reviewed(self, target: str, attempts: frozenset[str]) -> None:
        """Which of a gate's landed changes have an accepting review."""
        self.gates[target].reviewed = attempts
        self._dirty[Topic.GATES].add(target)

    def drop_runs(self, kept: frozenset[str]) -> None:
        """Forget runs that are neither among `kept` nor followed."""
        for run in [run for run in self.runs if run not in kept and run not in self.pinned]:
            del self.runs[run]
            self._dirty[Topic.RUNS].add(run)

    def drop_gates(self, kept: frozenset[str]) -> None:
        """Forget gates that are not among `kept`."""
        for target in [target for target, cell in self.gates.items() if target not in kept and not cell.queue]:
            del self.gates[target]
            self._dirty[Topic.GATES].add(target)

    def pin(self, run: str) -> None:
        """Somebody follows that run: its tasks are shown."""
        self.pinned[run] = self.pinned.get(run, 0) + 1
        self._retold.add(run)
        if run not in self.runs or self.runs[run].tasks is None:
            self.stale.runs.add(run)

    def unpin(self, run: str) -> None:
        """One of those who follow that run has left."""
        self.pinned[run] -= 1
        if not self.pinned[run]:
            del self.pinned[run]
            self.tasks.pop(run, None)
            self._touched.pop(run, None)

    # --- showing --------------------------------------------------------------------------------------------

    def frame(self, now: float) -> Frame | None:
        """What differs from the last frame at `now` (seconds since the epoch); None = nothing does."""
        for attempt in [attempt for attempt, after in self._quiet.items() if now > after]:
            self._dirty[Topic.AGENTS].add(attempt)
            del self._quiet[attempt]
        changes: dict[Topic, Moves] = {topic: {} for topic in Topic}
        for run in self._dirty[Topic.RUNS]:
            cell = self.runs.get(run)
            self._show(changes, Topic.RUNS, run, run_row(cell) if cell is not None else None)
        for attempt in self._dirty[Topic.AGENTS]:
            self._show(changes, Topic.AGENTS, attempt, self._agent_row(attempt, now))
        for target in self._dirty[Topic.GATES]:
            gate = self.gates.get(target)
            row = gates.gate_row(gate) if gate is not None else None
            # A run knows its gate before anything has come to it: until then there is nothing to show.
            empty = row == gates.gate_row(GateCell(target))
            self._show(changes, Topic.GATES, target, None if empty else row)
        fresh: Rows = {topic: {} for topic in Topic}
        rows = needs(self._scene(now))
        fresh[Topic.NEEDS] = {row.id: row for row in rows}
        fresh[Topic.APPROVALS] = {row.approval: row for row in self.approvals}
        fresh[Topic.DECK] = {"deck": self._deck_row(now)}
        for topic in (Topic.NEEDS, Topic.APPROVALS, Topic.DECK):
            changes[topic] = difference(self.shown[topic], fresh[topic])
            self.shown[topic] = fresh[topic]
        followed = [run for run in self.pinned if run in self._retold]
        tasks = {run: changed for run in followed if (changed := self._tasks(run))}
        self._retold.clear()
        touched, self._touched = self._touched, {}
        for dirty in self._dirty.values():
            dirty.clear()
        if not any(changes.values()) and not tasks and not touched:
            return None
        self.seq += 1
        return Frame(self.seq, now, changes, tasks, touched)

    def _show(self, changes: dict[Topic, Moves], topic: Topic, key: str, row: Value | None) -> None:
        shown = self.shown[topic]
        before = shown.get(key)
        newer = getattr(before, "last_at", None) != getattr(row, "last_at", None)
        if not newer and before == row:  # two rows are compared only where it is not plain that they differ
            return
        changes[topic][key] = Move(before, row)
        if row is None:
            del shown[key]
        else:
            shown[key] = row

    def _tasks(self, run: str) -> Moves:
        cell = self.runs.get(run)
        fresh = {row.task: row for row in task_rows(cell)} if cell is not None else {}
        changed = difference(self.tasks.get(run, {}), fresh)
        self.tasks[run] = fresh
        return changed

    def _at_work(self, agent: AgentCell) -> bool:
        run = self.runs.get(agent.run)
        if run is None or run.finished:
            return False
        if agent.task == ids.PLANNER_TASK:
            return not any(
                other.run == agent.run and other.role == "plan" and other.number > agent.number
                for other in self.agents.values()
            )
        current = run.task(agent.task)
        return current is not None and current.attempt == agent.base and current.status in AT_WORK

    def _agent_row(self, attempt: str, now: float) -> AgentRow | None:
        cell = self.agents.get(attempt)
        if cell is None or not self._at_work(cell):
            self._quiet.pop(attempt, None)
            self._odd.discard(attempt)
            return None
        run = self.runs[cell.run]
        after = cell.silent_after
        silent = after is not None and now > after
        if after is not None and not silent:
            self._quiet[attempt] = after
        else:
            self._quiet.pop(attempt, None)
        if silent or cell.waits_on == "retry":
            self._odd.add(attempt)
        else:
            self._odd.discard(attempt)
        task = run.task(cell.task)
        max_turns, cap, window = run.facts.of(cell.agent, cell.task, cell.model)
        return AgentRow(
            attempt=cell.attempt,
            run=cell.run,
            task=cell.task if cell.task != ids.PLANNER_TASK else "",
            title=task.title if task is not None else "",
            agent=cell.agent,
            harness=cell.harness,
            model=cell.model,
            node=cell.role,
            incarnation=cell.incarnation,
            steps=cell.steps,
            started_at=cell.started_at,
            last_at=cell.last_at,
            useful_at=cell.useful_at,
            useful=cell.useful,
            cadence_s=round(cell.cadence, 1),
            silent=silent,
            silent_after=after,
            waits_on=cell.waits_on,
            waits_since=cell.waits_since,
            context_tokens=cell.context_tokens,
            context_window=window,
            spent_usd=to_usd(cell.spent_nusd),
            cap_usd=to_usd(cap) if cap is not None else None,
            turns=cell.turns,
            max_turns=max_turns,
            parent=cell.parent,
        )

    def _scene(self, now: float) -> Scene:
        going = [cell for cell in self.runs.values() if not cell.finished]
        return Scene(
            now=now,
            inbox=self.inbox,
            approvals=self.approvals,
            agents=[self.agents[attempt] for attempt in sorted(self._odd)],
            gates=tuple(self.gates.values()),
            runs=[cell.view for cell in going],
            spent=[(cell.view, cell.view.cost_nusd + cell.spent_nusd) for cell in going],
            stuck=_stuck(going),
            working=self.around.working,
            trouble=self.around.trouble,
            today_usd=to_usd(self.around.today_nusd),
            today_cap_usd=self.around.today_cap_usd,
            seen={key: row.since for key, row in self.shown[Topic.NEEDS].items() if isinstance(row, NeedRow)},
        )

    def _deck_row(self, now: float) -> DeckRow:
        around, waiting = self.around, len(self.approvals) + len(self.inbox.waits)
        return DeckRow(
            version=around.version,
            started_at=around.started_at,
            working=around.working,
            today_usd=to_usd(around.today_nusd),
            today_cap_usd=around.today_cap_usd,
            burn_usd_h=burnt(self.burn, now),
            agents=len(self.shown[Topic.AGENTS]),
            inbox_open=waiting,
            inbox_limit=around.inbox_limit,
            slowed=around.inbox_limit is not None and waiting > around.inbox_limit,
            unreviewed=self.unreviewed,
            trouble=around.trouble,
        )


def _stuck(cells: Iterable[RunCell]) -> list[Stuck]:
    return [
        Stuck(task.run, task.task, task.title, task.attempt, task.reason, task.updated_at)
        for cell in cells
        if cell.counts.failed
        for task in (cell.tasks or {}).values()
        if task.status is TaskStatus.FAILED
    ]


def burnt(stretches: Mapping[int, int], now: float) -> float:
    """USD that the hour before `now` has cost."""
    return round(sum(to_usd(nusd) for at, nusd in stretches.items() if at > now - _HOUR), 6)
