"""A landed change that turns out to have made its target red: found, taken back and sent back, over real repositories.

Luck, here, is a file outside of the repository that the check uses up: with it a change passes once.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import deck_kit
import pytest
from deck_kit import Place, one, place_at, run_events, task
from gate_kit import BRANCH, RUN, Deck, decks, git, grounds

from quarterdeck.assembly import open_deck
from quarterdeck.delivery import feedback, jobs
from quarterdeck.journal.pruning import prune
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Outcome, RunStatus, TaskStatus
from quarterdeck.testing import stories
from quarterdeck.workplace.ground import Ground


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    yield from grounds(tmp_path)


@pytest.fixture
async def deck(tmp_path: Path, ground: Ground) -> AsyncIterator[Deck]:
    async for made in decks(tmp_path, ground):
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that checks can write."""
    made = Path(tempfile.mkdtemp(prefix="quarterdeck-test-", dir="/var/tmp"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


def lucky(scratch: Path) -> str:
    """A check that passes once with LUCKY, and always without."""
    (scratch / "luck").touch()
    return f"sh ./check.sh && {{ test ! -e LUCKY || mv {scratch}/luck {scratch}/spent; }}"


def flaky(scratch: Path) -> str:
    """A check that passes at its second time with LUCKY, and then no more."""
    (scratch / "luck").touch()
    second = f"test ! -e LUCKY || {{ test -e {scratch}/first && mv {scratch}/luck {scratch}/spent; }}"
    return f"{second} || {{ touch {scratch}/first; false; }}"


def spoilt(scratch: Path) -> str:
    """A check that does not pass any more with LUCKY once something outside has changed."""
    return f"sh ./check.sh && {{ test ! -e LUCKY || test ! -e {scratch}/changed; }}"


# --- the gate ---------------------------------------------------------------------------------------------


async def test_what_landed_by_luck_is_taken_back_when_the_next_change_fails_on_it(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    checks = (lucky(deck.scratch),)
    await deck.queue(journal, engine, "lucky", {"LUCKY": "x"}, gate=checks)
    await deck.serve(engine, gate)
    await deck.queue(journal, engine, "next", {"next.txt": "n"}, gate=checks)
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do lucky", 'Revert "Do lucky"', "Do next"]
    assert (await deck.outcome(journal, "next")).outcome is Outcome.OK, "no good change is evicted"
    assert await deck.events(journal, e.ChangeReturned) == []
    (reverted,) = await deck.events(journal, e.ChangeReverted)
    assert isinstance(reverted, e.ChangeReverted)
    message = git(deck.repository, "show", "-s", "--format=%B", reverted.by)
    assert f"Reverts: {reverted.commit}" in message
    note = git(deck.repository, "notes", "--ref=quarterdeck", "show", reverted.by)
    assert f"quarterdeck show {RUN}.lucky.1" in note
    (blob,) = deck.wished
    told = e.decode(await journal.get(blob))
    assert isinstance(told, e.TaskReverted)
    assert (told.task, told.attempt, told.commit) == ("lucky", f"{RUN}.lucky.1", reverted.commit)
    (piece,) = await feedback.load(journal, told.feedback_blob)
    assert "cannot stat" in piece.detail, "the output of what failed"
    await deck.assert_sound(journal)


async def test_of_several_the_one_that_is_at_fault_is_taken_back(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    checks = (spoilt(deck.scratch),)
    for name, file in (("one", "one.txt"), ("bad", "LUCKY"), ("two", "two.txt"), ("three", "three.txt")):
        await deck.queue(journal, engine, name, {file: name}, gate=checks)
        await deck.serve(engine, gate)
    (deck.scratch / "changed").touch()
    await deck.queue(journal, engine, "next", {"next.txt": "n"}, gate=checks)
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one", "Do bad", "Do two", "Do three", 'Revert "Do bad"', "Do next"]
    probed = [
        event.why
        for event in await deck.events(journal, e.GateCheckStarted)
        if isinstance(event, e.GateCheckStarted) and "searched for" in event.why
    ]
    assert len(probed) == 8, "four commits, each twice"
    await deck.assert_sound(journal)


async def test_a_tree_that_flaked_is_looked_at_again_although_nothing_else_waits(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "lucky", {"LUCKY": "x"}, gate=(flaky(deck.scratch),))
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do lucky", 'Revert "Do lucky"']
    assert len(await deck.events(journal, e.FlakeSeen)) == 1
    assert len(deck.wished) == 1
    await deck.assert_sound(journal)


async def test_somebody_elses_red_commit_is_named_and_stays(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "one", {"one.txt": "1"})
    await deck.serve(engine, gate)
    foreign = deck.push({"BAD": "x"}, "Break it")
    for name in ("two", "three"):
        await deck.queue(journal, engine, name, {f"{name}.txt": name})
    await deck.serve(engine, gate)
    assert deck.tip == foreign
    (told,) = await deck.events(journal, e.CulpritFound)
    assert isinstance(told, e.CulpritFound)
    assert (told.action, told.commit, told.subject) == ("tell", foreign, "Break it")
    assert f"git revert {foreign[:12]}" in told.fix
    for name in ("two", "three"):
        news = await deck.outcome(journal, name)
        assert news.outcome is Outcome.HELD
        assert f"{foreign[:12]} (Break it), which is not from here, made {BRANCH} red" in news.reason
    assert await deck.events(journal, e.ChangeReverted) == []
    await deck.queue(journal, engine, "repair", {"BAD": None}, onto=foreign)
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do one", "Break it", "Do repair"]
    assert len(await deck.events(journal, e.TipMended)) == 1
    await deck.assert_sound(journal)


async def test_what_cannot_be_taken_back_is_told(deck: Deck) -> None:
    """A later change of the same lines is in the way."""
    journal, engine, gate = await deck.process()
    where = deck.scratch
    checks = (f"! grep -q TWO a.txt || test ! -e {where}/changed",)
    await deck.queue(journal, engine, "bad", {"a.txt": "one\nTWO\nthree\n"}, gate=checks)
    await deck.serve(engine, gate)
    await deck.queue(journal, engine, "later", {"a.txt": "one\nTWO!\nthree\n"}, onto=deck.tip or "", gate=checks)
    await deck.serve(engine, gate)
    (where / "changed").touch()
    await deck.queue(journal, engine, "next", {"next.txt": "n"}, gate=checks)
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do bad", "Do later"]
    told = [event for event in await deck.events(journal, e.CulpritFound) if isinstance(event, e.CulpritFound)]
    assert [event.action for event in told] == ["revert", "tell"]
    assert "it is not taken back" in told[-1].reason
    assert "--with-dependents" in told[-1].fix
    assert (await deck.outcome(journal, "next")).outcome is Outcome.HELD
    assert deck.wished == []


async def test_never_means_that_people_are_told(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    checks = (lucky(deck.scratch),)
    await deck.queue(journal, engine, "lucky", {"LUCKY": "x"}, gate=checks, merge={"revert": "never"})
    await deck.serve(engine, gate)
    await deck.queue(journal, engine, "next", {"next.txt": "n"}, gate=checks, merge={"revert": "never"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do lucky"]
    assert (await deck.outcome(journal, "next")).outcome is Outcome.HELD
    (told,) = await deck.events(journal, e.CulpritFound)
    assert isinstance(told, e.CulpritFound)
    assert (told.action, told.attempt) == ("tell", f"{RUN}.lucky.1")


@pytest.mark.parametrize("how", ["ended", "ended, and heard more since", "was taken out of the record"])
async def test_what_a_run_landed_that_has_ended_stays(deck: Deck, how: str) -> None:
    journal, engine, gate = await deck.process()
    checks = (lucky(deck.scratch),)
    await deck.queue(journal, engine, "lucky", {"LUCKY": "x"}, gate=checks)
    await deck.serve(engine, gate)
    run = await journal.claim(ids.run_stream(RUN))
    finished = e.RunFinished(status=RunStatus.DONE, exit_code=0, sha=deck.tip or "")
    await journal.append(run, stories.created(RUN), finished)
    if how.endswith("since"):
        told = e.TaskReverted(task="other", attempt=f"{RUN}.other.1", commit="1" * 40, by="2" * 40, reason="red")
        await journal.append(run, told)
    if how.endswith("record"):
        assert deck.store is not None
        await prune(deck.store, journal, [RUN], "ada")
        assert await journal.last(ids.run_stream(RUN)) is None
    await deck.queue(journal, engine, "next", {"next.txt": "n"}, gate=checks, run="r-00000000002")
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do lucky"], "nobody is there to do it again"
    assert deck.wished == []
    assert (await deck.outcome(journal, "next", "r-00000000002")).outcome is Outcome.HELD


# --- whole runs -------------------------------------------------------------------------------------------

WRITES_LUCKY = 'if test "$ATTEMPT" = 1; then touch LUCKY; else printf "%s\\n" "$FEEDBACK" > lucky.txt; fi'


def tasks() -> tuple[dict[str, object], ...]:
    first = task("lucky", WRITES_LUCKY, paths=["lucky.txt", "LUCKY"])
    return first, task("next", "echo n > next.txt", needs=["lucky"])


async def test_a_run_mends_what_landed_by_luck_and_says_so(place: Place, scratch: Path) -> None:
    place.begin(gate=lucky(scratch))
    async with deck_kit.carried(place, *tasks(), sandbox="none") as (deck, result):
        assert result.status is RunStatus.DONE, result
        assert one(result, "lucky").attempts == 2
        assert one(result, "next").attempts == 1
        tree = place.tree(result)
        assert sorted(tree) == ["lucky.txt", "next.txt"]
        assert "gate: it landed" in tree["lucky.txt"]
        (taken,) = [event for event in await run_events(deck, result.run) if isinstance(event, e.TaskReverted)]
        said = await deck.report(result.run)
        assert "## Taken back" in said
        assert "Nobody has reviewed 2 of these 2 changes: " in said
        assert f"{taken.commit[:12]} by {taken.by[:12]}" in said
        assert await deck.views.reds(0.0) == []
    code, out, _ = place.call("logs", result.run)
    assert code == 0
    assert f"{taken.commit[:10]} is taken back by {taken.by[:10]}" in out


async def test_a_run_does_not_end_while_it_is_in_doubt_what_it_landed(place: Place, scratch: Path) -> None:
    place.begin(gate=flaky(scratch))
    async with deck_kit.carried(place, tasks()[0], sandbox="none") as (deck, result):
        assert result.status is RunStatus.DONE, result
        assert one(result, "lucky").attempts == 2
        assert sorted(place.tree(result)) == ["lucky.txt"]
        kinds = [event.kind for event in await run_events(deck, result.run)]
        assert kinds.count("task.merged") == 2
        assert kinds.index("task.reverted") < kinds.index("run.reported")
        assert kinds.count("run.finished") == 1


async def test_a_person_is_asked_first_where_that_is_wanted(place: Place, scratch: Path) -> None:
    place.begin(gate=lucky(scratch), deck='[merge]\nrevert = "ask"\n')
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(*tasks(), sandbox="none"))
        await deck.work(run)
        result = await deck.result(run)
        assert (result.status, result.exit_code) == (RunStatus.WAITING, 3)
        (view,) = await deck.approvals()
        assert (view.what, view.run, view.task) == ("revert", run, "lucky")
        assert "deleted file" in await deck.subject(view.approval)
        assert one(result, "next").status is TaskStatus.GATING, "it is held by nobody"
        await deck.decide(view.approval, "approve", action_hash=view.action_hash, reason="", by="ada")
        await deck.work(run)
        result = await deck.result(run)
        assert result.status is RunStatus.DONE, result
        assert sorted(place.tree(result)) == ["lucky.txt", "next.txt"]


async def test_what_is_taken_back_when_its_run_has_been_cancelled_is_not_merged_any_more(
    place: Place, scratch: Path
) -> None:
    place.begin()
    waits = task("b", f"until test -e {scratch}/go; do sleep 0.05; done; echo b > b.txt", needs=["a"])
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt"), waits, sandbox="none"))
        work = asyncio.create_task(deck.work(run))
        async for record in deck.journal.follow(ids.run_stream(run)):
            if isinstance(record.event, e.TaskDispatched) and record.event.task == "b":
                break
        await deck.control(run, "cancel", by="ada")
        await work
        result = await deck.result(run)
        landed = one(result, "a").commit
        assert (result.status, one(result, "a").status) == (RunStatus.CANCELLED, TaskStatus.MERGED)
        assert landed is not None
        # Now the gate takes it back, which it had begun before, and says so.
        branch = result.target.branch
        back = git(place.repository, "commit-tree", "main^{tree}", "-p", branch, "-m", "Revert it")
        git(place.repository, "update-ref", f"refs/heads/{branch}", back, landed)
        told = e.TaskReverted(task="a", attempt=f"{run}.a.1", commit=landed, by=back, reason="it was taken back")
        parts = deck._parts
        job = jobs.control(run, "revert", by="gate", detail_blob=await parts.journal.put(e.encode(told)))
        await parts.journal.commit(also=lambda tx: parts.engine.defer(tx, job))
        await deck.work(run)
        result = await deck.result(run)
        taken = one(result, "a")
        assert result.status is RunStatus.CANCELLED
        assert (taken.status, taken.commit, taken.reason) == (TaskStatus.FAILED, None, "it was taken back")
        (scratch / "go").touch()
        await deck.control(run, "resume", by="ada")
        await deck.work(run)
        result = await deck.result(run)
        assert result.status is RunStatus.DONE, result
        assert sorted(place.tree(result)) == ["a.txt", "b.txt"], "nothing is built on what is not there"


async def test_a_person_says_no_and_the_rest_is_held_with_the_command_to_type(place: Place, scratch: Path) -> None:
    place.begin(gate=lucky(scratch), deck='[merge]\nrevert = "ask"\n')
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(*tasks(), sandbox="none"))
        await deck.work(run)
        (view,) = await deck.approvals()
        await deck.decide(view.approval, "deny", action_hash=view.action_hash, reason="I mend it myself", by="ada")
        await deck.work(run)
        result = await deck.result(run)
        assert result.status is RunStatus.PARTIAL
        assert one(result, "lucky").status is TaskStatus.MERGED
        assert one(result, "next").status is TaskStatus.FAILED
        assert "I mend it myself" in one(result, "next").reason
        (red,) = await deck.views.reds(0.0)
        assert f"quarterdeck revert {run}.lucky" in red.fix
    code, out, _ = place.call("inbox")
    assert code == 0
    assert f"what to do: once {run} has ended: quarterdeck revert {run}.lucky --with-dependents" in out
