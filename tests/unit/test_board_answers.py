"""What is read on demand: each answer against the journal and the read tables that it is read from."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from board_kit import MODEL, TASKS, BoardDeck, a_deck, answered, asked, done, intended, started
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.board.answers import CostBy, EventRow, Timeline
from quarterdeck.board.approvals import Approvals
from quarterdeck.board.audit import Audit
from quarterdeck.board.diffs import parsed, unquoted
from quarterdeck.board.firstbad import Tried, first_bad
from quarterdeck.board.money import Money
from quarterdeck.board.readings import Readings
from quarterdeck.board.timeline import History
from quarterdeck.board.timelines import Timelines
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import DayCaps, chain_of, day_of, key_chain, run_purse
from quarterdeck.govern.days import held
from quarterdeck.govern.port import Chain
from quarterdeck.journal.port import Record
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Usage, to_usd
from quarterdeck.kernel.events import Node, Outcome, RunStatus
from quarterdeck.kernel.failures import FailureClass, NotFound
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.store.statements import migrations
from quarterdeck.workplace.mirror import Mirror

RUN, OTHER = "r-000000000aa", "r-000000000bb"


@pytest.fixture
async def deck(tmp_path: Path) -> AsyncIterator[BoardDeck]:
    async with a_deck(tmp_path) as deck:
        yield deck


async def _no_mirror(repository: str) -> Mirror:
    raise AssertionError(f"no diff is asked for: {repository}")


def _readings(deck: BoardDeck) -> Readings:
    return Readings(deck.store, deck.log, _no_mirror, Approvals(deck.store, deck.log).of)


async def _work(deck: BoardDeck, attempt: str, steps: int) -> None:
    for step in range(1, steps + 1):
        deck.clock.now += 1
        await deck.attempt(attempt, asked(step), answered(step), intended(step))
        deck.clock.now += 1
        await deck.attempt(attempt, done(step, flags=("timeout",) if step % 3 == 0 else ()))


def _spans(line: Timeline) -> set[tuple[object, ...]]:
    spans = line.spans
    columns = (spans.start, spans.end, spans.kind, spans.ok, spans.seq)
    lanes = [line.lanes[lane].attempt for lane in spans.lane]
    labels = [line.labels[label] for label in spans.label]
    return set(zip(lanes, labels, *columns, strict=True))


# --- the timeline -----------------------------------------------------------------------------------------


async def test_a_timeline_shows_each_call_and_node_once(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    await _work(deck, attempt, 3)
    await deck.attempt(attempt, e.QuestionAsked(question="which?"), asked(4), e.HarnessFinished(incarnation=1, ok=True))
    await deck.run(RUN, e.NodeStarted(node=Node.CHECK, task="one", attempt=attempt))
    await deck.run(RUN, e.NodeFinished(node=Node.CHECK, outcome=Outcome.FAILED, task="one", attempt=attempt))
    line = await Timelines(deck.store).timeline(RUN)
    found = [(label, kind, ok) for _, label, _, _, kind, ok, _ in sorted(_spans(line), key=lambda span: str(span[2:]))]
    assert found.count((MODEL, "model", 1)) == 3
    assert found.count((MODEL, "model", 0)) == 1, "the call under way when the agent ended has no good end"
    assert found.count(("read_file", "tool", 1)) == 2
    assert found.count(("read_file", "tool", 0)) == 1
    assert found.count(("question", "wait", -1)) == 1
    assert found.count(("check", "check", 0)) == 1
    assert len(found) == 9
    with pytest.raises(NotFound):
        await Timelines(deck.store).timeline("r-none")


async def test_a_timeline_is_the_same_however_it_is_read(deck: BoardDeck, monkeypatch: pytest.MonkeyPatch) -> None:
    await deck.order(RUN)
    await deck.order(OTHER)
    kept, pieces, after = Timelines(deck.store), dict[object, tuple[object, ...]](), 0
    for number in range(1, 4):
        attempt, other = await deck.start(RUN, TASKS[number % 3], number), await deck.start(OTHER, "one", number)
        await _work(deck, attempt, 2)
        await _work(deck, other, 5)
        await deck.attempt(attempt, asked(9))
        piece = await kept.timeline(RUN, after)
        pieces |= {(span[0], span[-1]): span for span in _spans(piece)}
        after = piece.next
    whole = _spans(await kept.timeline(RUN))
    assert set(pieces.values()) == whole
    for share in (0, 1000):  # always along the chains, always in one go
        monkeypatch.setattr("quarterdeck.board.timelines._DENSE", share)
        assert _spans(await Timelines(deck.store).timeline(RUN)) == whole


async def test_what_the_fast_way_cannot_read_is_decoded(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    strange = 'say "hi" \\ and é'
    await deck.attempt(attempt, intended(1, tool=strange), done(1, tool=strange))
    assert {span[1:2] + span[4:6] for span in _spans(await Timelines(deck.store).timeline(RUN))} == {
        (strange, "tool", 1)
    }
    assert History().answer(0, cut=False).spans.start == ()


# --- a run ------------------------------------------------------------------------------------------------


async def test_a_run_in_detail_is_what_the_read_tables_say(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    await _work(deck, attempt, 2)
    review = ids.child_attempt(attempt, "review", 1)
    await deck.attempt(review, started(review, agent="reviewer"), asked(1), answered(1))
    report = await deck.log.put(b"# It is done\n")
    await deck.run(RUN, e.RunReported(report_blob=report, retrospective_blob=None))
    await deck.run(RUN, e.RunFinished(status=RunStatus.PARTIAL, reason="so", exit_code=1, sha="5ha"))
    detail, views = await _readings(deck).run(RUN), Views(deck.store)
    view = await views.run(RUN)
    assert (detail.run.status, detail.run.cost_usd, detail.run.reason) == (view.status, to_usd(view.cost_nusd), "so")
    assert [(row.task, row.title) for row in detail.tasks] == [(name, f"Do {name}") for name in TASKS]
    assert detail.tasks[2].needs == TASKS[:2]
    shown = {row.attempt: (row.agent, row.cost_usd, row.parent, row.length) for row in detail.attempts}
    assert shown == {attempt: ("implementer", 0.002, None, 9), review: ("reviewer", 0.001, attempt, 3)}
    assert detail.report == "# It is done\n"
    assert detail.created.into == "main"
    with pytest.raises(NotFound):
        await _readings(deck).run("r-none")


async def test_a_thread_can_be_read_in_pages_from_either_end(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    blob = await deck.log.put(b'{"role":"user","blocks":[{"type":"text","text":"do it"}]}')
    await deck.attempt(attempt, e.TranscriptExtended(step=0, message_blob=blob, why="task"))
    await _work(deck, attempt, 5)
    await deck.attempt(attempt, e.MessageDelivered(message="m", how="result", text="take care"))
    readings = _readings(deck)
    whole = await readings.thread(attempt, after=0, limit=500)
    assert (whole.before, whole.after) == (None, None)
    assert [entry.kind for entry in whole.entries[:5]] == ["event", "prompt", "said", "call", "result"]
    assert (whole.entries[1].text, whole.entries[-1].kind, whole.entries[-1].text) == ("do it", "human", "take care")
    assert [entry.ok for entry in whole.entries if entry.kind == "result"] == [True, True, False, True, True]
    forward = [page := await readings.thread(attempt, after=0, limit=3)]
    while page.after is not None:
        forward.append(page := await readings.thread(attempt, after=page.after, limit=3))
    backward = [page := await readings.thread(attempt, limit=3)]
    while page.before is not None:
        backward.insert(0, page := await readings.thread(attempt, before=page.before, limit=3))
    for pages in (forward, backward):
        assert [entry for page in pages for entry in page.entries] == list(whole.entries)
    with pytest.raises(NotFound):
        await readings.thread(f"{attempt}.nobody")


# --- the first bad step -----------------------------------------------------------------------------------


def _tried(*events: e.EventBase) -> Tried:
    records = [Record("attempt/a", seq, float(seq), 1, event, "") for seq, event in enumerate(events, 1)]
    return Tried("a", [("a", record) for record in records])


def test_the_first_bad_step_is_where_nothing_worked_any_more() -> None:
    failed = e.CheckRan(results_blob="0" * 64, passed=False, seconds=1)
    ended = e.NodeFinished(node=Node.CHECK, outcome=Outcome.FAILED, reason="red")
    bad = first_bad(_tried(done(1, flags=("timeout",)), done(2), failed, ended))
    assert bad is not None
    assert (bad.seq, bad.what) == (3, "its own checks failed"), "an error that was got over is no bad step"
    row = first_bad(_tried(done(1), done(2, flags=("timeout",)), done(3, flags=("repeated",)), failed, ended))
    assert row is not None
    assert row.seq == 2
    assert first_bad(_tried(done(1), e.HarnessFinished(incarnation=1, ok=True))) is None
    again = (failed, started("r-1.t.1", incarnation=2), e.CheckRan(results_blob="0" * 64, passed=True, seconds=1))
    assert first_bad(_tried(*again)) is None, "what was tried again and worked is not bad"
    incident = e.IncidentOpened(failure=FailureClass.AUTH, subject=MODEL, reason="401", fix="")
    poor = first_bad(_tried(done(1), e.LimitReached(limit="usd", used=0.203129, allowed=0.3, complete_blob="b")))
    assert poor is not None
    assert (poor.what, poor.why) == ("its budget does not pay the next call", "$0.20 of $0.30 were spent")
    stopped = first_bad(_tried(incident, e.HarnessFinished(incarnation=1, ok=False, reason="auth")))
    assert stopped is not None
    assert stopped.what == f"{MODEL}: 401"


# --- money ------------------------------------------------------------------------------------------------


async def test_costs_are_the_same_by_every_dimension(deck: BoardDeck) -> None:
    caps = DayCaps(user=5.0, deck=20.0)
    for run in (RUN, OTHER):
        await deck.order(run)
        attempt = await deck.start(run, "one")
        await _work(deck, attempt, 2)
        deck.clock.now += 86_400
        await deck.attempt(
            attempt,
            e.ModelErred(step=9, model="x:y", failure=FailureClass.TRANSIENT, reason="", cost_nusd=7, estimated=True),
            e.AgentTurned(number=1, stop="end_turn", model="x:z", usage=Usage(input=5), cost_nusd=11, verified=False),
        )
        await deck.run(run, e.TaskMerged(task="one", attempt=attempt, commit="c"))
    money = Money(deck.store, deck.clock, lambda: caps)
    total = to_usd(sum(cost.cost_nusd for cost in await Views(deck.store).costs()))
    dimensions: tuple[CostBy, ...] = ("user", "agent", "model", "run", "day")
    for by in dimensions:
        costs = await money.costs(by, 30)
        assert sum(row.cost_usd for row in costs.rows) == pytest.approx(total)
        assert sum(row.estimated_usd for row in costs.rows) == pytest.approx(14e-9)
        assert sum(row.unverified_usd for row in costs.rows) == pytest.approx(22e-9)
        assert sum(row.changes for row in costs.rows) == (0 if by == "model" else 2)
        assert sum(burn.usd for burn in costs.burn) == pytest.approx(total)
    (user,) = (await money.costs("user", 30)).rows
    assert user.key == "ada"
    assert user.per_change_usd == pytest.approx(total / 2)
    assert [row.key for row in (await money.costs("day", 30)).rows] == ["2026-11-21", "2026-11-22", "2026-11-23"]
    assert [row.key for row in (await money.costs("day", 1)).rows] == ["2026-11-23"], "only today"


async def test_a_day_costs_what_its_purses_say_whoever_spent_it(deck: BoardDeck) -> None:
    """Also over keys of the gateway alone, which belong to no run: the command line and the dashboard say the same."""
    caps, treasury = DayCaps(user=5.0, deck=20.0), Budgets()
    await deck.log.commit(also=lambda tx: treasury.open(tx, run_purse(RUN), 10**9))
    await deck.order(RUN)
    attempt, now = await deck.start(RUN, "one"), deck.clock.now
    call = answered(1)
    chains = {
        ids.attempt_stream(attempt): chain_of(run=RUN, task="one", attempt=attempt, user="ada", days=caps, now=now),
        "key/k-1": key_chain("k-1", 1.0, "ada", caps, now),
        "key/k-2": key_chain("k-2", 1.0, "bob", caps, now),
    }

    async def spend(stream: str, chain: Chain) -> None:
        holder, cost = f"{stream}/1/1", call.cost_nusd
        await deck.log.commit(also=lambda tx: treasury.reserve(tx, chain, holder, cost))
        await deck.say(stream, asked(1), call)
        await deck.log.commit(also=lambda tx: treasury.settle(tx, holder, cost))

    for stream, chain in chains.items():
        await spend(stream, chain)
    assert call.cost_nusd > 0
    money, views, day = Money(deck.store, deck.clock, lambda: caps), Views(deck.store), day_of(now)
    purses = {(one.day, one.user): one.settled_nusd for one in held(await views.purses())}
    assert purses == {(day, ""): 3 * call.cost_nusd, (day, "ada"): 2 * call.cost_nusd, (day, "bob"): call.cost_nusd}
    (today,) = (await money.costs("day", 7)).rows
    assert (today.key, today.cost_usd) == (day, to_usd(3 * call.cost_nusd))
    shown = (await deck.live()).snapshot().deck
    assert shown is not None
    assert shown.today_usd == today.cost_usd
    people = (await money.costs("user", 7)).rows
    assert [(one.key, one.cost_usd, one.calls) for one in people] == [
        ("ada", to_usd(2 * call.cost_nusd), 1),
        ("bob", to_usd(call.cost_nusd), 0),
    ]
    assert sum(burn.usd for burn in (await money.costs("day", 7)).burn) == today.cost_usd
    await deck.attempt(attempt, e.AgentTurned(number=1, stop="x", model="x:z", cost_nusd=11, verified=False))
    (today,) = (await money.costs("day", 7)).rows
    assert (today.cost_usd, today.unverified_usd) == (to_usd(3 * call.cost_nusd + 11), to_usd(11)), "on top"
    deck.clock.now += 86_400
    assert (await money.costs("day", 1)).rows == ()
    assert (await money.costs("user", 1)).rows == ()


async def test_who_has_landed_something_and_cost_nothing_is_there(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    await deck.run(RUN, e.TaskMerged(task="one", attempt=attempt, commit="c"))
    money = Money(deck.store, deck.clock, lambda: DayCaps(user=5.0, deck=20.0))
    dimensions: tuple[CostBy, ...] = ("user", "agent", "run", "day")
    for by in dimensions:
        (row,) = (await money.costs(by, 30)).rows
        assert (row.changes, row.cost_usd, row.calls, row.per_change_usd) == (1, 0.0, 0, 0.0)
    assert (await money.costs("model", 30)).rows == ()


async def test_who_is_left_out_of_the_costs_is_told_also_where_nobody_cost_anything(
    deck: BoardDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in (RUN, OTHER):
        await deck.order(run)
        attempt = await deck.start(run, "one")
        await deck.run(run, e.TaskMerged(task="one", attempt=attempt, commit="c"))
    money = Money(deck.store, deck.clock, lambda: DayCaps(user=5.0, deck=20.0))
    assert not (await money.costs("run", 30)).cut
    monkeypatch.setattr("quarterdeck.board.money.MOST_ROWS", 1)
    costs = await money.costs("run", 30)
    assert (len(costs.rows), costs.cut) == (1, True)


_BEFORE = """
INSERT INTO runs
    (run, status, goal, repository, target, branch, base, budget_nusd, user, sandbox, created_at, updated_at)
VALUES ('r-1', 'done', 'g', '/r', 't', 'b', 'c', 9, 'ada', 'none', 1795262400, 1795262400);
INSERT INTO attempts (attempt, run, task, number, agent, harness, status, incarnation, started_at) VALUES
    ('r-1.t.1', 'r-1', 't', 1, 'implementer', 'native', 'merged', 1, 1795262400),
    ('r-1.t.1.review1', 'r-1', 't', 1, 'reviewer', 'native', 'finished', 1, 1795348800),
    ('r-1.u.1', 'r-1', 'u', 1, 'implementer', 'native', 'merged', 1, 1795262400);
INSERT INTO costs VALUES
    ('r-1', 't', 'r-1.t.1', 'p:m', 2, 1, 2, 3, 4, 40, 1), ('r-1', 't', 'r-1.t.1.review1', 'p:m', 1, 0, 0, 0, 1, 7, 0),
    ('r-1', '_plan', 'r-1._plan.1', 'p:m', 1, 0, 0, 0, 1, 5, 0);
INSERT INTO tasks (run, task, title, position, status, agent, attempt, updated_at) VALUES
    ('r-1', 't', 'T', 0, 'merged', 'implementer', 'r-1.t.1', 1795262400),
    ('r-1', 'u', 'U', 1, 'merged', 'implementer', 'r-1.u.1', 1795262400),
    ('r-1', 'v', 'V', 2, 'failed', 'implementer', 'r-1.v.1', 1795262400);
INSERT INTO waits (run, task, attempt, question, since) VALUES ('r-1', '', '', 'the run waits', 1);
"""


@pytest.mark.embedded("upgrades a file of an older version; PostgreSQL's upgrades are tested with its store")
async def test_what_was_spent_and_landed_before_is_counted_too(tmp_path: Path) -> None:
    path = tmp_path / "deck.db"
    steps = [step for step in migrations() if step.version < 6]
    with contextlib.closing(sqlite3.connect(path)) as old:
        for statement in (statement for step in steps for statement in step.statements):
            old.execute(statement)
        old.executescript(_BEFORE)
        old.execute(f"PRAGMA user_version = {len(steps)}")
        old.commit()
    store = await SqliteStore.open(path, durability="normal")
    try:
        rows = await store.read("costs_by", by="agent", since="2026-11-21", limit=9)
        assert [(row["key"], row["calls"], row["cost_nusd"], row["estimated_nusd"]) for row in rows] == [
            ("implementer", 2, 40, 20),
            ("reviewer", 1, 7, 0),
            ("", 1, 5, 0),
        ]
        assert [row["key"] for row in await store.read("costs_by", by="day", since="", limit=9)] == [
            "2026-11-21",
            "2026-11-22",
        ]
        assert await store.read("board_landings", day="") == [{"changes": 2, "unreviewed": 1}]
        assert [wait.what for wait in await Views(store).waits()] == ["run"]
    finally:
        await store.close()


# --- the journal ------------------------------------------------------------------------------------------


async def test_a_search_goes_through_everything_in_bounded_steps(
    deck: BoardDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.board.audit.LOOK", 7)
    await deck.order(RUN)
    one, two = await deck.start(RUN, "one"), await deck.start(RUN, "two")
    await _work(deck, one, 4)
    await _work(deck, two, 4)
    await deck.attempt(one, e.NoteRecorded(task="one", text='he said "é"'))
    audit = Audit(deck.store)

    async def every(**asks: str) -> list[EventRow]:
        rows: list[EventRow] = []
        before: int | None = None
        while True:
            found = await audit.events(**asks, before=before, limit=3)
            assert found.looked <= 7
            rows += found.events
            if found.before is None:
                return rows
            before = found.before

    total = (await audit.chains()).events
    assert [row.id for row in await every()] == list(range(total, 0, -1))
    assert {row.kind for row in await every(kind="tool.done")} == {"tool.done"}
    assert len(await every(kind="tool.done")) == 8
    assert [row.seq for row in await every(stream=f"attempt/{one}")] == list(range(18, 0, -1))
    assert len(await every(stream=f"attempt/{one}", kind="tool.done")) == 4
    assert len(await every(stream=f"attempt/{RUN}.", kind="tool.done")) == 8
    (note,) = await every(text='said "é"')
    assert (note.stream, note.body["text"]) == (f"attempt/{one}", 'he said "é"')
    assert await every(text="nowhere") == []
    records = await deck.log.read(f"attempt/{one}")
    assert (note.seq, note.hash) == (records[-1].seq, records[-1].hash)


async def test_the_state_of_the_chains(deck: BoardDeck) -> None:
    await deck.order(RUN)
    audit = Audit(deck.store)
    before = await audit.chains()
    assert (before.events, before.streams, before.anchored_at, before.since_anchor) == (2, 1, None, 2)
    await deck.log.anchor(await deck.log.claim(ids.DECK_STREAM))
    await deck.start(RUN, "one")
    after = await audit.chains()
    assert (after.anchored_at, after.anchored_streams, after.since_anchor) == (deck.clock.now, 1, 3)


# --- diffs ------------------------------------------------------------------------------------------------

_DIFF = """\
diff --git a/old name.py b/new.py
similarity index 90%
rename from old name.py
rename to new.py
--- a/old name.py
+++ b/new.py
@@ -1,3 +1,3 @@ def f():
 one
-two
+-- zwei
 three
diff --git "a/\\303\\244.txt" "b/\\303\\244.txt"
new file mode 100644
--- /dev/null
+++ "b/\\303\\244.txt"
@@ -0,0 +1 @@
+x
\\ No newline at end of file
diff --git a/gone b/gone
deleted file mode 100644
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-y
diff --git a/image.png b/image.png
Binary files a/image.png and b/image.png differ
"""


def test_a_diff_of_git_as_values() -> None:
    diff = parsed(_DIFF, "b", "c")
    found = [(file.path, file.old_path, file.status, file.binary, file.added, file.removed) for file in diff.files]
    assert found == [
        ("new.py", "old name.py", "renamed", False, 1, 1),
        ("ä.txt", None, "added", False, 1, 0),
        ("gone", None, "deleted", False, 0, 1),
        ("image.png", None, "modified", True, 0, 0),
    ]
    lines = diff.files[0].hunks[0].lines
    assert [(line.kind, line.old, line.new, line.text) for line in lines] == [
        (" ", 1, 1, "one"),
        ("-", 2, None, "two"),
        ("+", None, 2, "-- zwei"),
        (" ", 3, 3, "three"),
    ]


@given(st.lists(st.sampled_from(_DIFF.split("\n")) | st.text(max_size=30)))
def test_no_text_breaks_the_reader_of_diffs(lines: list[str]) -> None:
    diff = parsed("\n".join(lines), "b", "c")
    assert sum(file.added for file in diff.files) <= len("\n".join(lines))


@given(st.text())
def test_no_name_breaks_unquoting(name: str) -> None:
    assert unquoted(name) or name in ("", '""')


def test_a_long_diff_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.board.diffs.FILE_LINES", 5)
    body = "".join(f"+{number}\n" for number in range(9))
    diff = parsed(f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,9 @@\n{body}", "b", "c")
    (file,) = diff.files
    assert (file.cut, file.added, len(file.hunks[0].lines), diff.cut) == (True, 9, 5, False)
