"""The merge gate over real git repositories, a real journal and engine, and real check processes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from gate_kit import BRANCH, RUN, Deck, Killed, decks, git, grounds

from quarterdeck.delivery import feedback, jobs
from quarterdeck.delivery.gate import merging
from quarterdeck.delivery.nodes.ending import missing
from quarterdeck.engine.port import POISON_DEATHS
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import BadConfiguration, GitFailed, SandboxFailed, StoreUnavailable
from quarterdeck.workplace.ground import Ground


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    yield from grounds(tmp_path)


@pytest.fixture
async def deck(tmp_path: Path, ground: Ground) -> AsyncIterator[Deck]:
    async for made in decks(tmp_path, ground):
        yield made


# --- what lands -------------------------------------------------------------------------------------------


async def test_independent_changes_land_in_order_and_are_checked_at_the_same_time(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    deck.shop.together = asyncio.Barrier(3)  # nobody gets through unless three checks are there at once
    for task in ("one", "two", "three"):
        await deck.queue(journal, engine, task, {f"{task}.txt": task})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one", "Do two", "Do three"]
    message = git(deck.repository, "show", "-s", "--format=%B", BRANCH)
    assert message == f"Do three\n\nQuarterdeck-Run: {RUN}\nQuarterdeck-Task: three\nAssisted-by: implementer"
    assert (await deck.outcome(journal, "two")).commit == git(deck.repository, "rev-parse", f"{BRANCH}~1")
    assert deck.told
    await deck.assert_sound(journal)


async def test_an_existing_branch_moves_forward_and_a_second_run_uses_the_same_gate(deck: Deck) -> None:
    git(deck.repository, "branch", BRANCH, deck.base)
    first = deck.push({"before.txt": "x"})
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "one", {"one.txt": "1"}, onto=first)
    await deck.queue(journal, engine, "one", {"other.txt": "1"}, run="r-00000000002", gate=("test -e one.txt",))
    await deck.serve(engine, gate)
    assert deck.subjects() == ["from somebody else", "Do one", "Do one"]
    assert set(deck.told) == {RUN, "r-00000000002"}


async def test_a_change_submitted_again_is_not_queued_again(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one"]
    assert len(await deck.events(journal, e.ChangeQueued)) == 1
    assert (await deck.outcome(journal, "one")).outcome is Outcome.OK


# --- what does not ----------------------------------------------------------------------------------------


async def test_a_conflict_goes_back_with_the_other_sides_intent(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "ours", {"a.txt": "one\nTWO\nthree\n"})
    await deck.queue(journal, engine, "theirs", {"a.txt": "one\nzwei\nthree\n"})
    await deck.queue(journal, engine, "free", {"free.txt": "f"})
    await deck.serve(engine, gate)
    assert sorted(deck.subjects()) == ["Do free", "Do ours"], "what meets nobody lands when its check ends"
    news = await deck.outcome(journal, "theirs")
    assert news.outcome is Outcome.CONFLICT
    assert "a.txt" in news.reason
    (piece,) = await feedback.load(journal, news.feedback_blob)
    assert piece.source == "conflict"
    assert "Do ours (task ours" in piece.detail
    assert "+TWO" in piece.detail
    (returned,) = await deck.events(journal, e.ChangeReturned)
    assert isinstance(returned, e.ChangeReturned)
    assert returned.against == (ids.attempt_id(RUN, "ours", 1),)
    await deck.assert_sound(journal)


async def test_a_failing_change_is_blamed_and_the_ones_behind_it_land(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    checks = ("echo looking; sh ./check.sh",)
    await deck.queue(journal, engine, "one", {"one.txt": "1"}, gate=checks)
    await deck.queue(journal, engine, "bad", {"BAD": "x"}, gate=checks)
    await deck.queue(journal, engine, "two", {"two.txt": "2"}, gate=checks)
    await deck.serve(engine, gate)
    assert sorted(deck.subjects()) == ["Do one", "Do two"]
    news = await deck.outcome(journal, "bad")
    assert news.outcome is Outcome.FAILED
    assert "sh ./check.sh` failed: exit 1" in news.reason
    (piece,) = await feedback.load(journal, news.feedback_blob)
    assert piece.source == "gate"
    assert "looking" in piece.detail
    await deck.assert_sound(journal)


async def test_a_flake_is_run_once_more_and_recorded(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    marker = deck.scratch / "marker"
    await deck.queue(journal, engine, "one", {"one.txt": "1"}, gate=(f"test -e {marker} || ! touch {marker}",))
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one"]
    assert len(await deck.events(journal, e.FlakeSeen)) == 1
    started = await deck.events(journal, e.GateCheckStarted)
    assert [event.number for event in started if isinstance(event, e.GateCheckStarted) and event.stack] == [1, 2]


async def test_a_red_target_blames_nobody_and_is_repaired_by_whoever_can(deck: Deck) -> None:
    deck.push({"BAD": "x"})
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.queue(journal, engine, "two", {"two.txt": "2"})
    await deck.serve(engine, gate)
    for task in ("one", "two"):
        news = await deck.outcome(journal, task)
        assert news.outcome is Outcome.HELD
        assert "sh ./check.sh" in news.reason
    await deck.queue(journal, engine, "three", {"three.txt": "3"})
    await deck.queue(journal, engine, "repair", {"BAD": None}, onto=str(deck.tip))
    await deck.serve(engine, gate)
    # On top of each other they may land in one step, in the queue's order; alone the red one may not come first, which
    # a sound deck shows: where the target stood had passed.
    assert sorted(deck.subjects()) == ["Do repair", "Do three", "from somebody else"]
    await deck.assert_sound(journal)


async def test_checks_that_cannot_be_run_blame_nobody(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    failures = iter([SandboxFailed("no space left"), OSError(28, "No space left on device")])

    def door(_commit: str) -> None:
        if (error := next(failures, None)) is not None:
            raise error

    deck.shop.door = door
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one"]
    finished = await deck.events(journal, e.GateCheckFinished)
    assert [isinstance(f, e.GateCheckFinished) and f.infrastructure for f in finished] == [True, True, False]


async def test_an_environment_that_cannot_be_built_is_the_changes_fault(deck: Deck) -> None:
    journal, engine, gate = await deck.process()

    def door(commit: str) -> None:
        if commit != deck.base:
            raise BadConfiguration("the environment cannot be built", why="no such package")

    deck.shop.door = door
    await deck.queue(journal, engine, "one", {"requirements.txt": "nonsense"})
    await deck.serve(engine, gate)
    news = await deck.outcome(journal, "one")
    assert news.outcome is Outcome.FAILED
    assert "the environment cannot be built" in news.reason


async def test_a_branch_that_is_checked_out_holds_the_change_with_the_fix(deck: Deck) -> None:
    git(deck.repository, "worktree", "add", "-q", "-b", BRANCH, str(deck.root / "tree"))
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    news = await deck.outcome(journal, "one")
    assert news.outcome is Outcome.HELD
    assert "is checked out in" in news.reason
    assert deck.tip == deck.base


async def test_a_cancelled_run_leaves_the_queue(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.queue(journal, engine, "two", {"two.txt": "2"}, run="r-00000000002")
    withdrawal = jobs.gate_withdraw(deck.target, RUN)
    stop: list[str] = []

    async def serve() -> None:
        await deck.serve(engine, gate)

    def door(commit: str) -> None:
        if not stop:
            stop.append(commit)
            raise Killed

    deck.shop.door = door
    with pytest.raises(Killed):
        await serve()
    journal, engine, gate = await deck.process()
    await journal.commit(also=lambda tx: engine.defer(tx, withdrawal))
    await deck.serve(engine, gate)
    assert (await deck.outcome(journal, "one")).outcome is Outcome.CANCELLED
    assert deck.subjects() == ["Do two"]


async def test_a_check_that_nobody_wants_any_more_is_stopped(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    withdrawals = []

    def door(_commit: str) -> None:
        job = jobs.gate_withdraw(deck.target, RUN)
        withdrawals.append(asyncio.ensure_future(journal.commit(also=lambda tx: engine.defer(tx, job))))

    deck.shop.door = door
    # Reading from a pipe that nobody writes to never ends; the check's own deadline is longer than the test's.
    await deck.queue(journal, engine, "one", {"one.txt": "1"}, gate=("mkfifo p && cat p",), timeout="1h")
    await deck.serve(engine, gate)
    await asyncio.gather(*withdrawals)
    (finished,) = await deck.events(journal, e.GateCheckFinished)
    assert isinstance(finished, e.GateCheckFinished)
    assert finished.cancelled
    assert (await deck.outcome(journal, "one")).outcome is Outcome.CANCELLED
    assert deck.tip is None
    assert not list(deck.ground.workspaces.iterdir())


async def test_a_held_change_submitted_again_by_a_run_that_is_cancelled_does_not_land(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    attempt = ids.attempt_id(RUN, "one", 1)
    news = await journal.claim(ids.attempt_stream(attempt))
    await journal.append(news, e.NodeFinished(node=Node.GATE, outcome=Outcome.HELD, task="one", attempt=attempt))
    run = await journal.claim(ids.run_stream(RUN))
    await journal.append(run, e.RunResumed(by="a"), e.RunCancelled(by="a"))
    withdrawal = jobs.gate_withdraw(deck.target, RUN, (attempt,))
    await journal.commit(also=lambda tx: engine.defer(tx, withdrawal))
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    assert deck.tip is None
    last = await journal.last(ids.attempt_stream(attempt))
    assert last is not None
    assert isinstance(last.event, e.NodeFinished)
    assert last.event.outcome is Outcome.CANCELLED
    assert RUN in deck.told
    await journal.append(run, e.RunResumed(by="a"))
    await deck.queue(journal, engine, "two", {"two.txt": "2"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do two"]


# --- the machine ------------------------------------------------------------------------------------------


async def test_a_note_that_cannot_be_written_does_not_stand_in_the_way(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = deck.repository / ".git" / "refs" / "notes" / "quarterdeck.lock"
    lock.parent.mkdir()
    lock.touch()
    with monkeypatch.context() as hasty:
        hasty.setattr(merging, "NOTE_SECONDS", 0.5)
        journal, engine, gate = await deck.process()
        await deck.queue(journal, engine, "one", {"one.txt": "1"})
        await deck.queue(journal, engine, "two", {"two.txt": "2"})
        await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one", "Do two"]
    failed = [event.attempt for event in await deck.events(journal, e.NoteFailed) if isinstance(event, e.NoteFailed)]
    assert failed == [ids.attempt_id(RUN, task, 1) for task in ("one", "two")]
    journal, engine, gate = await deck.process()
    lock.unlink()
    await deck.queue(journal, engine, "three", {"three.txt": "3"})
    await deck.serve(engine, gate)
    assert len(await deck.events(journal, e.NoteWritten)) == 2
    await deck.assert_sound(journal)


async def test_a_note_is_owed_where_the_database_was_away_just_after_the_landing(deck: Deck) -> None:
    """Nothing is queued any more then, so nothing else would wake the gate of a branch that one run alone lands on."""
    away = iter([StoreUnavailable("The connection was lost")])

    def lost(at: str) -> None:
        if at == "gate.landed" and (error := next(away, None)) is not None:
            raise error

    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    probes.install(lost)
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one"]
    assert deck.store is not None
    left = await deck.store.read("left_jobs", poison=POISON_DEATHS)
    assert [(row["kind"], row["status"]) for row in left] == [("gate.advance", "waiting")]
    await gate.advance(jobs.gate_advance(deck.target))
    await deck.assert_sound(journal)


async def test_trouble_with_the_machine_is_on_record_and_waited_out(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    failures = iter([GitFailed("git has no memory"), OSError(28, "No space left on device")])

    wake, again = jobs.gate_advance(deck.target), list[asyncio.Future[None]]()

    def way() -> None:
        deck.clock.ahead += 120  # further than any pause, so that nobody has to wait
        if (error := next(failures, None)) is not None:
            again.append(asyncio.ensure_future(journal.commit(also=lambda tx: engine.defer(tx, wake))))
            raise error

    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    deck.shop.way = way
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one"]
    delays = [event for event in await deck.events(journal, e.GateDelayed) if isinstance(event, e.GateDelayed)]
    assert [(event.number, event.seconds) for event in delays] == [(1, 2.0), (2, 60.0)]
    assert "git has no memory" in delays[0].reason
    await deck.assert_sound(journal)


async def test_when_trouble_with_the_machine_lasts_the_changes_are_held(deck: Deck) -> None:
    journal, engine, gate = await deck.process()

    wake, again = jobs.gate_advance(deck.target), list[asyncio.Future[None]]()

    def way() -> None:
        deck.clock.ahead += 900
        if len(again) < 8:
            again.append(asyncio.ensure_future(journal.commit(also=lambda tx: engine.defer(tx, wake))))
        raise GitFailed("git has no memory")

    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.queue(journal, engine, "two", {"two.txt": "2"})
    deck.shop.way = way
    await deck.serve(engine, gate)
    for task in ("one", "two"):
        news = await deck.outcome(journal, task)
        assert news.outcome is Outcome.HELD
        assert "git has no memory" in news.reason
    assert 3 <= len(await deck.events(journal, e.GateDelayed)) <= 6
    deck.shop.way = lambda: None
    await deck.queue(journal, engine, "three", {"three.txt": "3"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do three"]


async def test_a_repository_that_goes_away_in_the_middle_holds_the_changes(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    away = deck.root / "away"

    def somebody(point: str) -> None:
        if point == "gate.checked" and not away.exists():
            deck.repository.rename(away)

    probes.install(somebody)
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    news = await deck.outcome(journal, "one")
    assert news.outcome is Outcome.HELD
    assert "repository does not exist" in news.reason
    assert git(away, "for-each-ref", f"refs/heads/{BRANCH}") == ""


# --- other people -----------------------------------------------------------------------------------------


async def test_somebody_else_moves_the_target_in_the_middle(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    moved: list[str] = []

    def somebody(point: str) -> None:
        if point == "gate.checked" and not moved:
            moved.append(deck.push({"else.txt": "e"}))

    probes.install(somebody)
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.queue(journal, engine, "two", {"two.txt": "2"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["from somebody else", "Do one", "Do two"]
    assert moved[0] == git(deck.repository, "rev-parse", f"{BRANCH}~2")
    await deck.assert_sound(journal)


async def test_somebody_else_moves_the_target_between_intent_and_move(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    moved: list[str] = []

    def somebody(point: str) -> None:
        if point == "gate.intended" and not moved:
            moved.append(deck.push({"else.txt": "e"}))

    probes.install(somebody)
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["from somebody else", "Do one"]
    await deck.assert_sound(journal)


async def test_a_rewritten_history_does_not_bring_back_what_was_taken_out(deck: Deck) -> None:
    unwanted = deck.push({"unwanted.txt": "u"})
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "one", {"one.txt": "1"}, onto=unwanted)
    git(deck.repository, "update-ref", f"refs/heads/{BRANCH}", deck.base)
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one"]
    assert "unwanted.txt" not in git(deck.repository, "ls-tree", "--name-only", BRANCH).splitlines()


async def test_a_change_that_somebody_else_merged_is_not_merged_again(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    deck.push({"one.txt": "1"}, f"By hand\n\nQuarterdeck-Run: {RUN}\nQuarterdeck-Task: one")
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["By hand"]
    assert (await deck.outcome(journal, "one")).commit == deck.tip


async def test_what_landed_and_was_taken_off_the_branch_again_is_noticed(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    for task in ("one", "two"):
        await deck.queue(journal, engine, task, {f"{task}.txt": task})
    await deck.serve(engine, gate)
    landed = git(deck.repository, "log", "--reverse", "--format=%H", f"{deck.base}..{BRANCH}").split()
    mirror = await deck.shop.mirror(str(deck.repository))
    assert await missing(mirror, deck.base, landed[1], landed) == frozenset()
    git(deck.repository, "update-ref", f"refs/heads/{BRANCH}", landed[0])
    on_top = deck.push({"else.txt": "e"})
    assert await missing(mirror, deck.base, on_top, landed) == {landed[1]}
    assert await missing(mirror, on_top, on_top, landed) == {landed[1]}


# --- crashes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["gate.queued", "gate.checked", "gate.intended", "gate.moved", "gate.landed"])
async def test_killed_at_a_probe_point_a_fresh_gate_goes_on(deck: Deck, point: str) -> None:
    journal, engine, gate = await deck.process()
    for task, files in (("one", {"one.txt": "1"}), ("bad", {"BAD": "x"}), ("two", {"two.txt": "2"})):
        await deck.queue(journal, engine, task, files)
    journal = await deck.outlive(point, engine, gate, 4)
    assert sorted(deck.subjects()) == ["Do one", "Do two"]
    assert (await deck.outcome(journal, "bad")).outcome is Outcome.FAILED
    await deck.assert_sound(journal)


async def test_a_gate_picks_up_what_another_worker_left_undone(deck: Deck) -> None:
    """Not only a new process: also one that had the gate before the other one, and has it again."""
    journal, engine, mine = await deck.process()
    other = deck.gate(journal, engine)
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, mine)

    def breaks(at: str) -> None:
        if at == "gate.landed":
            raise RuntimeError(at)

    probes.install(breaks)
    await deck.queue(journal, engine, "two", {"two.txt": "2"})
    with pytest.raises(AssertionError):
        await deck.serve(engine, other)
    probes.install(None)
    await deck.queue(journal, engine, "three", {"three.txt": "3"})
    with suppress(AssertionError):  # what broke is kept on record
        await deck.serve(engine, mine)
    assert deck.subjects() == ["Do one", "Do two", "Do three"]
    await deck.assert_sound(journal)
