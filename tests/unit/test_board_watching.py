"""What needs a person, who is silent, and what viewers are sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_kit import MODEL, BoardDeck, a_deck, answered, asked, checking, done, intended, queued, started

from quarterdeck.board.agents import FIRST, FLOOR, AgentCell, take
from quarterdeck.board.frames import MOST_FRAMES, Frame, History
from quarterdeck.board.live import Live
from quarterdeck.board.port import NeedRow, Snapshot, Topic
from quarterdeck.board.stream import Streams, Watch, seen_of, topics_of
from quarterdeck.board.tail import Raw
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Node, Outcome, RunStatus
from quarterdeck.kernel.failures import FailureClass, NotFound, StoreUnavailable
from quarterdeck.store.port import Ask, Row

RUN, OTHER = "r-000000000aa", "r-000000000bb"
ALL = Watch(frozenset(Topic))


@pytest.fixture
async def deck(tmp_path: Path) -> AsyncIterator[BoardDeck]:
    async with a_deck(tmp_path) as deck:
        yield deck


def _needs(live: Live) -> list[NeedRow]:
    return list(live.snapshot().needs)


# --- silence ----------------------------------------------------------------------------------------------


def _told(*story: tuple[float, e.EventBase]) -> AgentCell:
    cell = AgentCell("r-1.t.1", "r-1", "t", "implementer", "native", 1)
    for number, (at, event) in enumerate(story, 1):
        take(cell, Raw(number, "attempt/r-1.t.1", number, at, event.kind, e.encode(event)))
    return cell


def test_each_agent_is_held_against_its_own_cadence() -> None:
    begun = (0.0, started("r-1.t.1"))
    assert _told(begun).silent_after == FIRST
    quick = _told(begun, *[(float(at), done(at)) for at in (1, 3, 5, 7)])
    assert (quick.cadence, quick.silent_after) == (2.0, 7 + FLOOR)
    slow = _told(begun, *[(float(at), done(at)) for at in (100, 300, 600, 700)])
    assert slow.silent_after == 700 + 1.5 * 300
    assert not slow.silent(1150)
    assert slow.silent(1151)


def test_a_call_that_is_refused_or_repeated_is_no_progress() -> None:
    cell = _told((0.0, started("r-1.t.1")), (5.0, intended(1)), (6.0, done(1)), (99.0, done(2, flags=("repeated",))))
    assert (cell.useful, cell.useful_at, cell.last_at) == ("read_file", 6.0, 99.0)


def test_time_in_which_a_person_is_waited_for_is_nobodys_silence() -> None:
    begun = [(0.0, started("r-1.t.1")), *[(float(at), done(at)) for at in (1, 2, 3)]]
    waits = _told(*begun, (4.0, intended(4, decision="ask")))
    assert (waits.waits_on, waits.waits_since, waits.silent_after) == ("approval", 4.0, None)
    goes_on = _told(*begun, (4.0, intended(4, decision="ask")), (9000.0, done(4)), (9001.0, done(5)))
    assert (goes_on.waits_on, goes_on.longest) == ("", 1.0)


def test_an_agent_whose_action_waits_for_a_yes_waits_for_a_person_until_it_is_given() -> None:
    wants = e.ApprovalAsked(
        approval="a-1",
        what="tool",
        run="r-1",
        task="t",
        attempt="r-1.t.1",
        agent="implementer",
        action_hash="0" * 64,
        title="implementer wants to use search",
        subject_blob="0" * 64,
        risk="low",
        expires_at=9e9,
    )
    waits = _told((0.0, started("r-1.t.1")), (5.0, wants))
    assert (waits.waits_on, waits.waits_since, waits.silent_after) == ("approval", 5.0, None)
    given = _told((0.0, started("r-1.t.1")), (5.0, wants), (9.0, intended(1)))
    assert given.waits_on == "tool read_file"
    refused = _told((0.0, started("r-1.t.1")), (5.0, wants), (9.0, intended(1, decision="deny")))
    assert refused.waits_on == ""


# --- what needs a person ----------------------------------------------------------------------------------


async def test_one_refused_key_is_one_thing_to_mend_however_many_it_stops(deck: BoardDeck) -> None:
    incident = e.IncidentOpened(failure=FailureClass.AUTH, subject=MODEL, reason="401", fix="set the key")
    for number in range(20):
        run = f"r-0000000{number:02d}xx"
        await deck.order(run)
        await deck.attempt(await deck.start(run, "one"), incident)
        await deck.run(run, e.TaskFailed(task="one", reason=f"401 at {run}"))
        await deck.run(run, e.RunFinished(status=RunStatus.FAILED, reason="1 of 3 failed", exit_code=1, sha="s"))
    live = await deck.live()
    (need,) = _needs(live)
    assert (need.kind, need.severity, need.count, len(need.runs)) == ("incident", "now", 20, 20)
    assert need.next.startswith("quarterdeck resume r-")
    assert need.actions == ("open",)  # an order would be about the first of them only
    await deck.run("r-000000000xx", e.RunResumed(by="ada"))
    deck.clock.now += 1
    await live.step()
    assert _needs(live)[0].count == 19
    assert _needs(live)[0].id == need.id


async def test_a_model_that_there_is_not_is_no_matter_of_going_on(deck: BoardDeck) -> None:
    missing = e.IncidentOpened(failure=FailureClass.CONFIGURATION, subject=MODEL, reason="404", fix="correct its name")
    await deck.order(RUN)
    await deck.attempt(await deck.start(RUN, "one"), missing)
    (need,) = _needs(await deck.live())
    assert (need.title, need.next) == (f"{MODEL}: it is not there", f"quarterdeck show {RUN}")
    assert "correct its name" in need.detail


async def test_the_same_question_of_two_agents_is_answered_twice(deck: BoardDeck) -> None:
    await deck.order(RUN)
    for task in ("one", "two"):
        await deck.attempt(await deck.start(RUN, task), e.QuestionAsked(question="Which way?"))
    found = _needs(await deck.live())
    assert {need.attempt for need in found} == {f"{RUN}.one.1", f"{RUN}.two.1"}
    assert all(need.count == 1 and "answer" in need.actions for need in found)


async def test_the_most_urgent_comes_first(deck: BoardDeck) -> None:
    await deck.order(RUN)
    await deck.order(OTHER)
    attempt = await deck.start(RUN, "one")
    await deck.start(RUN, "two")
    await deck.run(RUN, e.SpendNoticed(about="run", name=RUN, spent_nusd=9, usual_nusd=1, bound_nusd=2, samples=5))
    await deck.attempt(attempt, e.QuestionAsked(question="Which way?"))
    await deck.run(OTHER, e.RunFinished(status=RunStatus.PARTIAL, reason="no money: run", exit_code=5, sha="s"))
    deck.clock.now += FIRST + 1
    live = await deck.live()
    found = [(need.kind, need.severity, need.count) for need in _needs(live)]
    assert found == [("question", "now", 1), ("budget", "soon", 1), ("silent", "soon", 1), ("notice", "info", 1)]
    assert live.snapshot().deck is not None
    deck.around = replace(deck.around, working=False)
    deck.clock.now += 2
    await live.step()
    first = _needs(live)[0]
    assert (first.kind, first.runs, first.next) == ("infrastructure", (RUN,), "quarterdeck up")


async def test_a_gate_is_shown_once_something_has_come_to_it(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    live = await deck.live()
    assert live.snapshot().gates == ()
    await deck.say("gate/main", queued(attempt))
    await live.step()
    assert [gate.target for gate in live.snapshot().gates] == ["main"]


async def test_by_which_way_a_change_was_merged_is_shown_and_what_was_tried_in_vain(deck: BoardDeck) -> None:
    await deck.order(RUN)
    one, two = await deck.start(RUN, "one"), await deck.start(RUN, "two")
    live = await deck.live()
    lost = (e.LostWay(way="git", reason="conflict in a.py"),)
    await deck.say("gate/main", queued(one), queued(two))
    await deck.say(
        "gate/main",
        e.MergeResolved(attempt=one, way="entity", lost=lost, onto="b", tree="t"),
        e.ChangeLanded(attempt=one, old="b", new="c"),
        e.ChangeReturned(attempt=two, outcome=Outcome.CONFLICT, reason="does not merge", lost=lost),
    )
    await live.step()
    (gate,) = live.snapshot().gates
    assert [change.merged for change in gate.landed] == ["merged by entity (git: conflict in a.py)"]
    assert [change.together for change in gate.landed] == [1]
    assert [change.tried for change in gate.returned] == ["git: conflict in a.py"]


async def test_changes_that_landed_in_one_step_say_so_and_a_gate_that_cannot_work_why(deck: BoardDeck) -> None:
    await deck.order(RUN)
    one, two, three = [await deck.start(RUN, task) for task in ("one", "two", "three")]
    live = await deck.live()
    await deck.say("gate/main", queued(one), queued(two), queued(three))
    step = e.LandingIntended(attempt=two, old="b", new="d", tree="t", stack=(one, two), commits=("c", "d"))
    await deck.say("gate/main", step, e.ChangeLanded(attempt=one, old="b", new="c"))
    await deck.say("gate/main", e.ChangeLanded(attempt=two, old="c", new="d"))
    await deck.say("gate/main", e.LandingIntended(attempt=three, old="d", new="f", tree="t"))
    await deck.say("gate/main", e.ChangeLanded(attempt=three, old="d", new="f"))
    await deck.say("gate/main", e.GateDelayed(reason="the disk is full", seconds=5))
    await live.step()
    (gate,) = live.snapshot().gates
    assert [(change.attempt, change.together) for change in gate.landed] == [(three, 1), (two, 2), (one, 2)]
    assert gate.stall == "the disk is full"


async def test_what_was_taken_back_stands_among_what_came_back_and_a_red_target_needs_a_person(
    deck: BoardDeck,
) -> None:
    await deck.order(RUN)
    one = await deck.start(RUN, "one")
    live = await deck.live()
    await deck.say("gate/main", queued(one), e.ChangeLanded(attempt=one, old="b", new="c"))
    back = ids.revert_attempt(one)
    await deck.say("gate/main", queued(back), e.ChangeLanded(attempt=back, old="c", new="d"))
    await deck.say("gate/main", e.ChangeReverted(attempt=one, commit="c", by="d", reason="exit 1"))
    await live.step()
    (gate,) = live.snapshot().gates
    assert [(change.attempt, change.task) for change in gate.landed] == [(back, "one"), (one, "one")]
    assert [(change.task, change.outcome) for change in gate.returned] == [("one", Outcome.FAILED)]
    assert gate.returned[0].reason == "taken back as d: the branch was red with it: exit 1"
    told = e.CulpritFound(tip="t" * 40, run=RUN, action="tell", reason="abc made main red", fix="git revert abc")
    await deck.say("gate/main", told)
    await live.step()
    (need,) = [need for need in live.snapshot().needs if need.kind == "incident"]
    assert (need.title, need.next, need.runs) == ("Red target: abc made main red", "git revert abc", (RUN,))
    await deck.say("gate/main", e.TipMended(tip="u" * 40, run=RUN))
    await live.step()
    assert not [need for need in live.snapshot().needs if need.kind == "incident"]


async def test_a_change_that_clashes_with_one_ahead_shows_it_until_that_has_landed_or_left(deck: BoardDeck) -> None:
    await deck.order(RUN)
    one, two = await deck.start(RUN, "one"), await deck.start(RUN, "two")
    live = await deck.live()

    async def shown(*events: e.EventBase) -> tuple[str, tuple[str, ...]]:
        await deck.say("gate/main", *events)
        await live.step()
        change = live.snapshot().gates[0].queue[-1]
        return change.state, change.against

    waits = e.ChangeClashed(attempt=two, against=(one,))
    assert await shown(queued(one), queued(two), checking(one), waits) == ("conflict", (one,))
    assert await shown(checking(two)) == ("checking", (one,))
    dropped = e.GateCheckFinished(check=f"k-{two}", tree=f"t-{two}", passed=False, cancelled=True)
    assert await shown(dropped) == ("conflict", (one,))
    assert await shown(e.ChangeClashed(attempt=two)) == ("waiting", ())
    assert await shown(waits, e.ChangeLanded(attempt=one, old="base", new="n")) == ("waiting", ())


async def test_a_review_is_counted_and_its_absence_too(deck: BoardDeck) -> None:
    await deck.order(RUN)
    one, two = await deck.start(RUN, "one"), await deck.start(RUN, "two")
    await deck.attempt(one, e.NodeFinished(node=Node.REVIEW, outcome=Outcome.OK, task="one", attempt=one))
    live = await deck.live()
    for attempt, task in ((one, "one"), (two, "two")):
        await deck.say("gate/main", queued(attempt), checking(attempt))
        await deck.say("gate/main", e.GateCheckFinished(check=f"k-{attempt}", tree=f"t-{attempt}", passed=True))
        await deck.say("gate/main", e.ChangeLanded(attempt=attempt, old="b", new=f"c-{task}"))
        await deck.run(RUN, e.TaskMerged(task=task, attempt=attempt, commit=f"c-{task}"))
    await live.step()
    shot = live.snapshot()
    (gate,) = shot.gates
    assert [(change.task, change.reviewed) for change in gate.landed] == [("two", False), ("one", True)]
    assert (gate.tip, gate.tip_green, gate.queue) == ("c-two", True, ())
    assert shot.deck is not None
    assert (shot.deck.unreviewed.merged, shot.deck.unreviewed.total) == (1, 2)


# --- viewers ----------------------------------------------------------------------------------------------


def _parsed(data: bytes) -> tuple[str, int, dict[str, Any]]:
    fields = dict(line.split(": ", 1) for line in data.decode().strip().splitlines())
    return fields["event"], int(fields["id"]), json.loads(fields["data"])


async def test_a_viewer_gets_a_snapshot_and_then_only_what_changed(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    live = await deck.live()
    stream = Streams(live).open(Watch(frozenset({Topic.AGENTS}), RUN))
    assert (await anext(stream)).startswith(b"retry: ")
    event, first, snapshot = _parsed(await anext(stream))
    assert event == "snapshot"
    assert [row["attempt"] for row in snapshot["agents"]] == [attempt]
    assert (snapshot["runs"], snapshot["deck"], len(snapshot["tasks"])) == ([], None, 3)
    await deck.attempt(attempt, asked(1))
    await live.step()
    event, second, delta = _parsed(await anext(stream))
    assert (event, second > first) == ("delta", True)
    assert (delta["agents"]["set"], list(delta["agents"]["changed"])) == ([], [attempt])
    assert delta["agents"]["changed"][attempt]["waits_on"] == "model"
    assert {"attempt", "run", "title"}.isdisjoint(delta["agents"]["changed"][attempt]), "only what differs"
    assert delta["touched"] == {f"attempt/{attempt}": 2}
    assert delta["runs"] == {"set": [], "changed": {}, "gone": []}
    await stream.aclose()
    assert not live._board.pinned


async def test_a_viewer_that_comes_back_goes_on_where_it_was_or_begins_anew(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    live = await deck.live()
    streams, seen = Streams(live), live.seq
    for step in range(1, 4):
        await deck.attempt(attempt, asked(step), answered(step))
        await live.step()
    back = streams.open(ALL, seen)
    await anext(back)
    event, _, delta = _parsed(await anext(back))
    assert (event, delta["agents"]["changed"][attempt]["turns"]) == ("delta", 3)
    for stranger in (1, live.seq + 7):
        anew = streams.open(ALL, stranger)
        await anext(anew)
        assert _parsed(await anext(anew))[0] == "snapshot"


async def test_a_slow_viewer_gets_a_fresh_snapshot_never_a_gap(deck: BoardDeck) -> None:
    await deck.order(RUN)
    attempt = await deck.start(RUN, "one")
    live = await deck.live()
    slow = Streams(live).open(ALL)
    await anext(slow)
    await anext(slow)
    for step in range(MOST_FRAMES + 1):
        await deck.attempt(attempt, asked(step))
        await live.step()
    event, seq, snapshot = _parsed(await anext(slow))
    assert (event, seq) == ("snapshot", live.seq)
    assert Snapshot.model_validate(snapshot).agents == live.snapshot().agents


async def test_nobody_follows_a_run_that_is_not_there(deck: BoardDeck) -> None:
    live = await deck.live()
    with pytest.raises(NotFound):
        await anext(Streams(live).open(Watch(frozenset(Topic), "r-nowhere")))
    assert not live._board.pinned


async def test_the_board_runs_by_itself_and_outlives_a_broken_store(
    deck: BoardDeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.board.live.RETRY", 0.0)
    monkeypatch.setattr("quarterdeck.board.live.TICK", 0.0)
    await deck.order(RUN)
    live = await deck.live()
    seen = live.seq
    real, refusals = deck.store.read, 2

    async def read(statement: str, /, **parameters: Any) -> list[Row]:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise StoreUnavailable("The disk is full")
        return await real(statement, **parameters)

    monkeypatch.setattr(deck.store, "read", read)
    running = asyncio.create_task(live.run())
    try:
        assert await live.changed(seen, 30)
        assert live.snapshot().deck is not None
        assert [need.title for need in _needs(live) if need.kind == "infrastructure"] == ["The disk is full"]
        deck.clock.now += 2
        attempt = await deck.start(RUN, "one")
        async with asyncio.timeout(30):
            while not live.snapshot().agents or _needs(live):
                await live.changed(live.seq, 1)
        assert live.snapshot().agents[0].attempt == attempt
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_board_begins_anew_after_a_bug_and_nobody_sees_a_gap(
    deck: BoardDeck, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("quarterdeck.board.live.RETRY", 0.0)
    monkeypatch.setattr("quarterdeck.board.live.TICK", 0.0)
    await deck.order(RUN)
    gone, stays = await deck.start(RUN, "one"), await deck.start(RUN, "two")
    live = await deck.live()
    stream = Streams(live).open(Watch(frozenset({Topic.AGENTS}), RUN))
    await anext(stream)
    assert len(_parsed(await anext(stream))[2]["agents"]) == 2
    real, bugs = deck.store.reads, 1

    async def reads(*asks: Ask) -> list[list[Row]]:
        nonlocal bugs
        if bugs and asks[0][0] == "board_waits":
            bugs -= 1
            raise ValueError("a bug")
        return await real(*asks)

    monkeypatch.setattr(deck.store, "reads", reads)
    await deck.attempt(stays, e.QuestionAsked(question="which?"))
    await deck.attempt(gone, e.HarnessFinished(incarnation=1, ok=True))
    running = asyncio.create_task(live.run())
    try:
        async with asyncio.timeout(30):
            while not (delta := _parsed(await anext(stream))[2])["agents"]["gone"]:
                continue
        assert delta["agents"]["gone"] == [gone]
        assert [row.attempt for row in live.snapshot().agents] == [stays]
        assert "a bug in the board" in caplog.text
        await stream.aclose()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_frames_are_remembered_without_gaps_and_bounded() -> None:
    history = History()
    assert history.since(7, 7) == []
    for seq in range(1, MOST_FRAMES + 10):
        history.add(Frame(seq, 0.0, {}))
    newest = MOST_FRAMES + 9
    assert history.since(newest - 1, newest) == [Frame(newest, 0.0, {})]
    assert len(history.since(9, newest) or ()) == MOST_FRAMES
    assert history.since(8, newest) is None
    assert history.since(newest + 1, newest) is None


def test_what_a_viewer_asks_for_is_read_strictly() -> None:
    assert topics_of("") == frozenset(Topic)
    assert topics_of("deck, runs") == {Topic.DECK, Topic.RUNS}
    with pytest.raises(ValueError, match="nothing"):
        topics_of("deck,nothing")
    assert [seen_of(text) for text in (None, "", "12", "-1", "x", "9" * 40, "١")] == [None, None, 12] + [None] * 4
