"""What is shown of a real run, while it goes on and afterwards, against the journal and the read tables."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from deck_kit import Place, place_at
from test_goal import ACCEPT, CHANGE, HAND_IN, carry, planned, rule, scripted, writes

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.assembly.showing import show
from quarterdeck.board.port import AgentRow, Delta, Snapshot, Topic
from quarterdeck.board.shown import Shown
from quarterdeck.board.stream import Watch
from quarterdeck.delivery.gate import posting
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import to_usd
from quarterdeck.models.scripted.scenario import Rule

pytestmark = pytest.mark.sandbox

RULES: tuple[Rule, ...] = (
    rule("Role: planner", planned({"id": "a"}, {"id": "b", "needs": ["a"]})),
    rule("Task: a\nRole: reviewer", ACCEPT),
    rule(r"(?s)Task: b\nRole: reviewer.*\+please", ACCEPT),
    rule("Task: b\nRole: reviewer", CHANGE),
    rule("Task: a\nRole: implementer", writes("a", "a"), HAND_IN),
    rule(r"(?s)Task: b\nRole: implementer.*\(review\)", writes("b", "please"), HAND_IN),
    rule("Task: b\nRole: implementer", writes("b", "do!"), HAND_IN),
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


class _Viewer:
    """Somebody who looks all the time: what it was sent, and every agent that it ever saw."""

    def __init__(self) -> None:
        self.agents: dict[str, AgentRow] = {}
        self.seen: dict[str, list[AgentRow]] = {}
        self.statuses: list[str] = []

    async def watch(self, shown: Shown) -> None:
        stream = shown.streams.open(Watch(frozenset({Topic.RUNS, Topic.AGENTS})))
        async for data in stream:
            kind, _, rest = data.decode().partition("\n")
            body = rest.partition("data: ")[2].strip()
            if kind == "event: snapshot":
                self._take(Snapshot.model_validate_json(body).agents, ())
            elif kind == "event: delta":
                delta = Delta.model_validate_json(body)
                changed = (_with(self.agents[key], fields) for key, fields in delta.agents.changed.items())
                self._take((*delta.agents.set, *changed), delta.agents.gone)
                told = (*map(vars, delta.runs.set), *delta.runs.changed.values())
                self.statuses += [str(fields["status"]) for fields in told if "status" in fields]

    def _take(self, rows: tuple[AgentRow, ...], gone: tuple[str, ...]) -> None:
        for row in rows:
            self.agents[row.attempt] = row
            self.seen.setdefault(row.attempt, []).append(row)
        for attempt in gone:
            self.agents.pop(attempt, None)


def _with(row: AgentRow, fields: dict[str, Any]) -> AgentRow:
    return AgentRow.model_validate({**row.model_dump(), **fields})


@asynccontextmanager
async def _watched(deck: Deck) -> AsyncIterator[tuple[Shown, _Viewer]]:
    shown, viewer = show(deck._parts), _Viewer()
    tasks = [asyncio.create_task(shown.live.run()), asyncio.create_task(viewer.watch(shown))]
    try:
        yield shown, viewer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _records(deck: Deck, run: str) -> dict[str, list[Record]]:
    streams = await deck.journal.streams(f"attempt/{run}.")
    return {stream.partition("/")[2]: await deck.journal.read(stream) for stream in streams}


async def test_every_row_of_a_real_run_is_what_the_journal_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("TICK", "AROUND"):
        monkeypatch.setattr(f"quarterdeck.board.live.{pause}", 0.0)  # a scripted model is fast: show every step of it
    async with (
        scripted(place, *RULES, deck='[review]\nagent = "reviewer"\n'),
        open_deck(place.settings) as deck,
        _watched(deck) as (shown, viewer),
    ):
        await shown.live.ready()
        result = await carry(deck, place)
        await shown.live.follow(result.run)
        shot = shown.live.snapshot(run=result.run)
        records = await _records(deck, result.run)
        await _run_and_tasks(deck, shot, result.run)
        await _agents(deck, viewer, records)
        await _gate(deck, shot, result.run)
        await _on_demand(deck, shown, result.run, records)
        assert shot.deck is not None
        assert (shot.deck.agents, shot.deck.unreviewed.merged, shot.deck.unreviewed.total) == (0, 0, 2)
        assert shot.deck.today_usd == pytest.approx(result.cost_usd)
        assert shot.needs == ()


async def _run_and_tasks(deck: Deck, shot: Snapshot, run: str) -> None:
    view, (row,) = await deck.views.run(run), shot.runs
    assert (row.run, row.status, row.goal, row.branch) == (run, view.status, view.goal, view.branch)
    assert (row.cost_usd, row.budget_usd) == (to_usd(view.cost_nusd), to_usd(view.budget_nusd))
    spent = view.usage
    assert (row.tokens.input, row.tokens.cache_read, row.tokens.output) == (spent.input, spent.cache_read, spent.output)
    assert (row.finished_at, row.updated_at, row.held) == (view.finished_at, view.updated_at, "")
    assert row.version == (await deck.journal.lengths(ids.run_stream(run)))[ids.run_stream(run)]
    assert (row.tasks.total, row.tasks.merged, row.tasks.active) == (2, 2, 0)
    tasks = await deck.views.tasks(run)
    found = [(t.task, t.status, t.attempt, t.commit, t.attempts, t.agent) for t in shot.tasks]
    assert found == [(t.task, t.status, t.attempt, t.commit, t.attempts, t.agent) for t in tasks]
    assert [(t.needs, t.paths, t.reviewed) for t in shot.tasks] == [((), ("a.txt",), True), (("a",), ("b.txt",), True)]


async def _agents(deck: Deck, viewer: _Viewer, records: dict[str, list[Record]]) -> None:
    """Who was seen at work, and how it stood when it was seen last."""
    assert viewer.agents == {}, "nobody is at work any more"
    begun = {name: r.event for name, rows in records.items() for r in rows if isinstance(r.event, e.AttemptStarted)}
    assert set(viewer.seen) <= set(begun)
    assert {rows[0].node for rows in viewer.seen.values()} == {"plan", "implement", "review"}
    for name, rows in viewer.seen.items():
        event, last = begun[name], rows[-1]
        assert (last.agent, last.task or ids.PLANNER_TASK) == (event.agent, event.task)
        answers = [r.event for r in records[name] if isinstance(r.event, e.ModelAnswered)]
        assert last.turns <= len(answers)
        assert last.context_window == 100_000 or not last.turns
        assert last.spent_usd <= to_usd(sum(answer.cost_nusd for answer in answers)) + 1e-12
        assert {row.useful_at for row in rows} <= {r.at for r in records[name]}
        assert all(row.waits_on in ("", "model", "environment") or row.waits_on.startswith("tool ") for row in rows)
        assert not any(row.silent for row in rows)
    assert viewer.statuses[-1] == "done"
    assert "running" in viewer.statuses


async def _gate(deck: Deck, shot: Snapshot, run: str) -> None:
    (row,) = shot.gates
    records = await deck.journal.read(ids.gate_stream(row.target))
    state = posting.fold(records)
    assert (row.tip, row.branch, row.repository, row.queue) == (state.tip, state.branch, state.repository, ())
    assert row.tip_green is True
    assert {change.attempt: change.commit for change in row.landed} == dict(state.landed)
    assert all(change.reviewed and change.title == change.task for change in row.landed)
    finished = [r.event for r in records if isinstance(r.event, e.GateCheckFinished) and not r.event.cancelled]
    assert [check.passed for check in row.checks] == [event.passed for event in reversed(finished)]


async def _on_demand(deck: Deck, shown: Shown, run: str, records: dict[str, list[Record]]) -> None:
    detail = await shown.readings.run(run)
    costs = {cost.attempt: to_usd(cost.cost_nusd) for cost in await deck.views.costs(run)}
    assert {row.attempt: row.cost_usd for row in detail.attempts if row.cost_usd} == pytest.approx(costs)
    assert all(row.length == len(records[row.attempt]) for row in detail.attempts)
    assert detail.report == await deck.report(run)
    assert detail.first_bad is None
    line = await shown.timelines.timeline(run)
    kinds, events = Counter(line.spans.kind), [r.event for rows in records.values() for r in rows]
    assert kinds["model"] == sum(isinstance(event, e.ModelAsked) for event in events)
    assert kinds["tool"] == sum(isinstance(event, e.ToolIntended) for event in events)
    assert -1 not in line.spans.ok
    assert {lane.attempt for lane in line.lanes} == {row.attempt for row in detail.attempts}
    for name in [row.attempt for row in detail.attempts]:
        rows = records[name]
        thread = await shown.readings.thread(name, after=0, limit=500)
        calls = [entry.tool for entry in thread.entries if entry.kind == "call"]
        assert calls == [r.event.tool for r in rows if isinstance(r.event, e.ToolIntended)]
        said = sum(entry.cost_usd for entry in thread.entries)
        assert said == pytest.approx(costs.get(name, 0.0))
    task = (await deck.views.tasks(run))[1]
    assert task.attempt is not None
    diff = await shown.readings.diff(task.attempt)
    (file,) = diff.files
    assert (file.path, file.status, file.added, file.removed) == ("b.txt", "added", 1, 0)
    assert [text.text for hunk in file.hunks for text in hunk.lines] == ["please"]
    by_agent = await shown.money.costs("agent", 1)
    assert sum(row.cost_usd for row in by_agent.rows) == pytest.approx(detail.run.cost_usd)
    assert {row.key: row.changes for row in by_agent.rows}["implementer"] == 2
    found = await shown.audit.events(stream=ids.run_stream(run), limit=500)
    chained = await deck.journal.read(ids.run_stream(run))
    assert [(row.seq, row.hash, row.kind) for row in reversed(found.events)] == [
        (r.seq, r.hash, r.event.kind) for r in chained
    ]
