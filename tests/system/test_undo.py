"""Undo: what landed is taken back through the same gate, and a configuration is rolled back to another run's."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deck_kit import Place, carried, events, git, one, place_at, run_events, task

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.delivery.order import RevertOrder, RunResult
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import Conflicting, Exit

pytestmark = pytest.mark.sandbox


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        made.begin()
        yield made


def add(name: str, **fields: Any) -> dict[str, Any]:
    """A task that writes a file of its own."""
    return task(name, f"echo {name} > {name}.txt", **fields)


async def undo(deck: Deck, of: str, **fields: Any) -> RunResult:
    """Take it back to the end of the run that does it."""
    run = await deck.revert(RevertOrder(of=of, user="ada", **fields))
    await deck.work(run)
    return await deck.result(run)


def subjects(place: Place, branch: str) -> list[str]:
    """Subjects of the commits since the beginning, newest first."""
    return git(place.repository, "log", "--format=%s", f"main..{branch}").splitlines()


def trailer(place: Place, commit: str | None, key: str) -> str:
    return git(place.repository, "log", "-1", f"--format=%(trailers:key={key},valueonly)", str(commit)).strip()


async def checks(deck: Deck, target: str) -> int:
    """Checks of merged trees so far."""
    found = await events(deck, ids.gate_stream(target))
    return sum(isinstance(event, e.GateCheckStarted) for event in found)


# --- what is taken back -----------------------------------------------------------------------------------


async def test_one_task_is_taken_back_although_the_target_moved_on(place: Place) -> None:
    async with carried(place, add("a"), add("b"), into="work") as (deck, first):
        landed = one(first, "a").commit
        await deck.work(await deck.create(place.order(add("c"), into="work")))
        before = await checks(deck, (await deck.views.run(first.run)).target)

        result = await undo(deck, f"{first.run}.a")

        assert (result.status, result.exit_code, result.reverts) == (RunStatus.DONE, 0, f"{first.run}.a")
        assert place.tree(result) == {"b.txt": "b", "c.txt": "c"}
        done = one(result, "revert-a")
        assert subjects(place, "work")[0] == 'Revert "a"'
        assert trailer(place, done.commit, "Reverts") == landed
        assert trailer(place, done.commit, "Quarterdeck-Run") == result.run
        assert trailer(place, done.commit, "Quarterdeck-Task") == "revert-a"
        assert trailer(place, done.commit, "Assisted-by") == ""
        # The merged tree is one that nobody had seen: it was checked before the branch moved onto it.
        gate = await events(deck, ids.gate_stream((await deck.views.run(first.run)).target))
        assert await checks(deck, (await deck.views.run(first.run)).target) == before + 1
        green = [event.tree for event in gate if isinstance(event, e.GateCheckFinished) and event.passed]
        assert git(place.repository, "rev-parse", f"{done.commit}^{{tree}}") in green
        # The note leads to the thread, and the thread is there.
        note = git(place.repository, "notes", "--ref=quarterdeck", "show", str(done.commit))
        assert f"thread: quarterdeck show {result.run}.revert-a.1" in note
        assert await deck.resolve(f"{result.run}.revert-a.1") == ("attempt", f"{result.run}.revert-a.1")
        assert (await deck.verify()).faults == ()
    assert git(place.repository, "fsck", "--strict") == ""


async def test_a_run_is_taken_back_newest_first_and_brought_back_again(place: Place) -> None:
    grow = "echo {0} >> shared.txt"
    first_task = task("one", grow.format("one"), paths=["shared.txt"])
    second_task = task("two", grow.format("two"), paths=["shared.txt"], needs=["one"])
    async with carried(place, first_task, second_task, into="work") as (deck, first):
        target = (await deck.views.run(first.run)).target
        before = await checks(deck, target)

        back = await undo(deck, first.run)

        assert place.tree(back) == {}
        assert subjects(place, "work")[:2] == ['Revert "one"', 'Revert "two"']
        # Every tree on the way back is one that the branch stood on: nothing has to be checked again.
        assert await checks(deck, target) <= before + 1

        again = await undo(deck, back.run)

        assert place.tree(again) == {"shared.txt": "one\ntwo\nthree\none\ntwo"}
        assert [item.id for item in again.tasks] == ["reapply-one", "reapply-two"]
        assert subjects(place, "work")[:2] == ['Reapply "two"', 'Reapply "one"']
        # What was brought back can be taken back again, from either end.
        assert place.tree(await undo(deck, f"{first.run}.two")) == {"shared.txt": "one\ntwo\nthree\none"}


async def test_it_can_be_taken_back_where_it_was_merged_to(place: Place) -> None:
    """The branch of the run is gone, its commit came to another branch by a merge and one by hand."""
    async with carried(place, add("a"), add("b")) as (deck, first):
        git(place.repository, "switch", "-q", "-c", "release", "main")
        git(place.repository, "merge", "-q", "--no-ff", "-m", "take it", str(one(first, "a").commit))
        git(place.repository, "cherry-pick", str(one(first, "b").commit))
        git(place.repository, "switch", "-q", "main")
        git(place.repository, "branch", "-D", first.target.branch)
        with pytest.raises(Exception, match="no branch"):
            await deck.revert(RevertOrder(of=first.run, user="ada"))
        result = await undo(deck, first.run, into="release")
        assert result.status is RunStatus.DONE
        assert git(place.repository, "diff", "--name-only", "main", "release") == ""


# --- what is refused --------------------------------------------------------------------------------------


async def test_what_others_need_is_taken_back_only_with_them(place: Place) -> None:
    after = task("after", "cat base.txt > after.txt", needs=["base"])
    last = task("last", "cat after.txt > last.txt", needs=["after"])
    async with carried(place, add("base"), after, last, add("other"), into="work") as (deck, first):
        with pytest.raises(Conflicting, match="after, last need base") as refused:
            await deck.revert(RevertOrder(of=f"{first.run}.base", user="ada"))
        assert "--with-dependents" in refused.value.fix
        result = await undo(deck, f"{first.run}.base", with_dependents=True)
        assert place.tree(result) == {"other.txt": "other"}
        planned = [event for event in await run_events(deck, result.run) if isinstance(event, e.RunPlanned)]
        assert planned[0].warnings == ("taken back too, because they need base: after, last",)


async def test_later_work_on_the_same_lines_is_named(place: Place) -> None:
    shared = {"paths": ["shared.txt"]}
    async with carried(place, task("one", "sed -i s/two/TWO/ shared.txt", **shared), into="work") as (deck, first):
        over = await deck.create(place.order(task("over", "sed -i s/TWO/zwei/ shared.txt", **shared), into="work"))
        await deck.work(over)
        commit = str(one(await deck.result(over), "over").commit)
        with pytest.raises(Conflicting, match=r"shared\.txt") as refused:
            await deck.revert(RevertOrder(of=f"{first.run}.one", user="ada"))
        assert commit[:12] in refused.value.why
        assert refused.value.fix.startswith(f"quarterdeck revert {over}.over")
        assert refused.value.exit_code == Exit.STALE
        # With the later one taken back first it works, and the file is as it was.
        await undo(deck, over)
        assert place.tree(await undo(deck, first.run)) == {}


async def test_what_never_landed_or_is_gone_already_is_refused(place: Place) -> None:
    async with carried(place, add("good"), task("bad", "false"), into="work") as (deck, first):
        assert one(first, "bad").status is TaskStatus.FAILED
        with pytest.raises(Conflicting, match="bad never landed"):
            await deck.revert(RevertOrder(of=f"{first.run}.bad", user="ada"))
        await undo(deck, first.run)
        for of in (first.run, f"{first.run}.good"):
            with pytest.raises(Conflicting, match="taken back already"):
                await deck.revert(RevertOrder(of=of, user="ada"))
        nothing = await deck.create(place.order(task("none", "false"), into="other"))
        await deck.work(nothing)
        with pytest.raises(Conflicting, match="nothing of .* landed"):
            await deck.revert(RevertOrder(of=nothing, user="ada"))


async def test_a_revert_that_breaks_the_checks_does_not_land(place: Place) -> None:
    """The gate decides, not the order: here something that landed later needs what is taken back."""
    async with carried(place, add("a"), into="work") as (deck, first):
        tip = place.commit({"a-user": "needs a\n", "check.sh": "test ! -e a-user || test -e a.txt\n"})
        git(place.repository, "switch", "-q", "work")
        git(place.repository, "merge", "-q", "-m", "more", tip)
        git(place.repository, "switch", "-q", "main")
        before = git(place.repository, "rev-parse", "work")
        result = await undo(deck, first.run)
        assert (result.status, result.exit_code) == (RunStatus.FAILED, Exit.FAILED)
        assert "checks failed on the merged tree" in one(result, "revert-a").reason
        assert git(place.repository, "rev-parse", "work") == before


# --- the command ------------------------------------------------------------------------------------------


async def test_the_command_survives_kills_and_ends_like_a_run(place: Place) -> None:
    async with carried(place, add("a"), add("b"), into="work") as (_, result):
        first = result.run

    def killed(point: str, *arguments: str) -> None:
        with place.quarterdeck(*arguments, "--json", QUARTERDECK_PROBE=f"{point}:1:kill") as process:
            process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL

    killed("change.pinned", "revert", f"{first}.a")
    async with open_deck(place.settings) as deck:
        run = (await deck.views.runs())[0].run
        with pytest.raises(Conflicting, match=f"{run} is taking {first}.a back already"):
            await deck.revert(RevertOrder(of=first, user="ada"))
    killed("gate.moved", "resume", run)
    moved = git(place.repository, "rev-parse", "work")

    code, out, _ = place.call("resume", run, "--json")
    ended = json.loads(out.splitlines()[-1])
    assert (code, ended["kind"], ended["status"], ended["reverts"]) == (0, "run.finished", "done", f"{first}.a")
    assert [(item["id"], item["status"]) for item in ended["tasks"]] == [("revert-a", "merged")]
    assert git(place.repository, "rev-parse", "work") == moved == ended["target"]["sha"]
    assert subjects(place, "work").count('Revert "a"') == 1

    code, out, err = place.call("revert", f"{first}.a.1")
    assert (code, out) == (Exit.STALE, "")
    assert f"{first}.a is taken back already" in err
