"""Undo: what landed is taken back through the same gate, and a configuration is rolled back to another run's."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import store_kit
from deck_kit import Place, carried, events, git, one, place_at, run_events, task

from quarterdeck.assembly import Deck
from quarterdeck.cli.main import main
from quarterdeck.delivery.gate.merging import GONE
from quarterdeck.delivery.order import RevertOrder, RunResult
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import Conflicting, Exit, NotFound

pytestmark = pytest.mark.sandbox


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        made.begin(deck="[limits]\nattempts = 1\n")
        yield made


def add(name: str, **fields: Any) -> dict[str, Any]:
    """A task that writes a file of its own."""
    return task(name, f"echo {name} > {name}.txt", **fields)


Quarterdeck = Callable[..., tuple[int, str, str]]


@pytest.fixture
def quarterdeck(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Quarterdeck:
    """The command line inside this process: exit code, stdout, stderr."""
    for name, value in {"QUARTERDECK_HOME": str(place.home), **store_kit.told(place.home / "deck.db")}.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return code, *capsys.readouterr()

    return call


def first_run(place: Place, *tasks: dict[str, Any], **fields: Any) -> str:
    """Id of a run of these tasks that has ended."""

    async def carry() -> str:
        async with carried(place, *tasks, **fields) as (_, result):
            return result.run

    return asyncio.run(carry())


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
    async with carried(place, add("a"), add("b", needs=["a"])) as (deck, first):
        git(place.repository, "switch", "-q", "-c", "release", "main")
        git(place.repository, "merge", "-q", "--no-ff", "-m", "take it", str(one(first, "a").commit))
        git(place.repository, "cherry-pick", str(one(first, "b").commit))
        git(place.repository, "switch", "-q", "main")
        git(place.repository, "branch", "-D", first.target.branch)
        with pytest.raises(NotFound, match="no branch"):
            await deck.revert(RevertOrder(of=first.run, user="ada"))
        with pytest.raises(Conflicting, match="b needs a") as needed:
            await deck.revert(RevertOrder(of=f"{first.run}.a", into="release", user="ada"))
        assert needed.value.fix.endswith(" --with-dependents --into release"), "what it says to type works there"
        with pytest.raises(Conflicting, match=r"^main does not hold") as strange:
            await deck.revert(RevertOrder(of=first.run, into="main", user="ada"))
        assert strange.value.why == f"it landed on {first.target.branch}"
        result = await undo(deck, first.run, into="release")
        assert result.status is RunStatus.DONE
        assert git(place.repository, "diff", "--name-only", "main", "release") == ""
        with pytest.raises(Conflicting, match="taken back already") as already:
            await deck.revert(RevertOrder(of=first.run, into="release", user="ada"))
        assert already.value.fix.startswith(f"quarterdeck revert {result.run} --into release ")


# --- what is refused --------------------------------------------------------------------------------------


async def test_what_others_need_is_taken_back_only_with_them(place: Place) -> None:
    after = task("after", "cat base.txt > after.txt", needs=["base"])
    async with carried(place, add("base"), after, add("other"), into="work") as (deck, first):
        with pytest.raises(Conflicting, match="after needs base") as refused:
            await deck.revert(RevertOrder(of=f"{first.run}.base", user="ada"))
        assert "--with-dependents" in refused.value.fix
        result = await undo(deck, f"{first.run}.base", with_dependents=True)
        assert place.tree(result) == {"other.txt": "other"}
        planned = [event for event in await run_events(deck, result.run) if isinstance(event, e.RunPlanned)]
        assert planned[0].warnings == ("taken back too, because they need base: after",)


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
        back = await undo(deck, first.run)
        for of in (first.run, f"{first.run}.good"):
            with pytest.raises(Conflicting, match="taken back already") as refused:
                await deck.revert(RevertOrder(of=of, user="ada"))
            assert f"task revert-good of {back.run}" in refused.value.why
            assert refused.value.fix.startswith(f"quarterdeck revert {back.run} ")
        with pytest.raises(NotFound, match=r"^there is no branch nowhere$"):
            await deck.revert(RevertOrder(of=first.run, into="nowhere", user="ada"))


async def test_of_what_somebody_took_back_by_hand_nothing_is_left(place: Place) -> None:
    async with carried(place, add("a"), add("b"), into="work") as (deck, first):
        git(place.repository, "switch", "-q", "work")
        git(place.repository, "rm", "-q", "a.txt")
        git(place.repository, "commit", "-qm", "no a")
        git(place.repository, "switch", "-q", "main")
        with pytest.raises(Conflicting, match=r"does not hold what .* changed any more \(a\)"):
            await deck.revert(RevertOrder(of=f"{first.run}.a", user="ada"))
        result = await undo(deck, first.run)
        assert (result.status, [item.id for item in result.tasks]) == (RunStatus.DONE, ["revert-b"])
        planned = [event for event in await run_events(deck, result.run) if isinstance(event, e.RunPlanned)]
        assert planned[0].warnings == ("nothing is left to take back of a",)


async def test_a_revert_that_breaks_the_checks_does_not_land(place: Place) -> None:
    """The gate decides, not the order: here something that landed later needs what is taken back. When that is gone,
    the same run can be resumed."""
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
        with pytest.raises(Conflicting, match=r"nothing of r-.* landed"):
            await deck.revert(RevertOrder(of=result.run, user="ada"))
        git(place.repository, "switch", "-q", "work")
        git(place.repository, "rm", "-q", "a-user")
        git(place.repository, "commit", "-qm", "no user of a")
        git(place.repository, "switch", "-q", "main")
        await deck.control(result.run, "resume")
        await deck.work(result.run)
        assert "a.txt" not in git(place.repository, "ls-tree", "--name-only", "work").splitlines()
        assert (await deck.result(result.run)).status is RunStatus.DONE


async def test_a_branch_that_is_checked_out_moves_with_its_files(place: Place) -> None:
    async with carried(place, add("a"), into="main") as (deck, first):
        assert (place.repository / "a.txt").exists()
        result = await undo(deck, first.run)
        assert result.status is RunStatus.DONE
        assert not (place.repository / "a.txt").exists()
        assert git(place.repository, "status", "--porcelain") == ""


async def test_what_comes_between_the_order_and_the_gate_is_seen(place: Place) -> None:
    on_line = task("line", "sed -i s/two/TWO/ shared.txt", paths=["shared.txt"])
    async with carried(place, on_line, add("a"), into="work") as (deck, first):
        line = await deck.revert(RevertOrder(of=f"{first.run}.line", user="ada"))
        file = await deck.revert(RevertOrder(of=f"{first.run}.a", user="ada"))
        git(place.repository, "switch", "-q", "work")
        theirs = place.commit({"shared.txt": "one\nzwei\nthree\n"})
        git(place.repository, "revert", "--no-edit", str(one(first, "a").commit))
        git(place.repository, "switch", "-q", "main")
        before = git(place.repository, "rev-parse", "work")

        await deck.work(line)
        await deck.work(file)

        reason = one(await deck.result(line), "revert-line").reason
        assert reason == f"does not merge with what landed meanwhile: shared.txt; in the way: {theirs[:12]}"
        assert one(await deck.result(file), "revert-a").reason == GONE
        assert git(place.repository, "rev-parse", "work") == before


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_survives_kills_and_ends_like_a_run(place: Place, quarterdeck: Quarterdeck) -> None:
    first = first_run(place, add("a"), add("b"), into="work")

    def killed(point: str, *arguments: str) -> None:
        with place.quarterdeck(*arguments, "--json", QUARTERDECK_PROBE=f"{point}:1:kill") as process:
            process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL

    killed("change.pinned", "revert", f"{first}.a")
    run = str(json.loads(quarterdeck("ps", "--json")[1].splitlines()[0])["run"])
    code, _, err = quarterdeck("revert", first)
    assert code == Exit.STALE
    assert f"{run} is taking {first}.a back already" in err
    killed("gate.moved", "resume", run)
    moved = git(place.repository, "rev-parse", "work")

    code, out, _ = quarterdeck("resume", run, "--json")
    ended = json.loads(out.splitlines()[-1])
    assert (code, ended["kind"], ended["status"], ended["reverts"]) == (0, "run.finished", "done", f"{first}.a")
    assert [(item["id"], item["status"]) for item in ended["tasks"]] == [("revert-a", "merged")]
    assert git(place.repository, "rev-parse", "work") == moved == ended["target"]["sha"]
    assert subjects(place, "work").count('Revert "a"') == 1

    for what in (first, f"{first}.a"):
        shown = json.loads(quarterdeck("show", what, "--json")[1])
        assert shown["reverted_by"] == [{"run": run, "of": f"{first}.a", "status": "done"}]
    assert json.loads(quarterdeck("show", f"{first}.b", "--json")[1])["reverted_by"] == []
    assert f"taken back by {run}, done ({first}.a)" in quarterdeck("show", first)[1]
    assert f"reverts    {first}.a" in quarterdeck("show", run)[1]

    code, out, err = quarterdeck("revert", f"{first}.a.1")
    assert (code, out) == (Exit.STALE, "")
    assert f"{first}.a is taken back already" in err


# --- configuration ----------------------------------------------------------------------------------------


async def test_a_run_uses_exactly_the_configuration_of_another_one(place: Place) -> None:
    async with carried(place, add("a")) as (deck, first):
        old = await deck.ordered(first.run)
        agents = place.repository / ".quarterdeck" / "agents"
        (agents / "shell.md").write_text((agents / "shell.md").read_text() + "Another prompt.\n")
        place.commit({".quarterdeck/deck.toml": '[checks]\ngate = ["false"]\n', "AGENTS.md": "Be brief.\n"})

        fresh = await deck.create(place.order(add("b")))
        again = await deck.create(place.order(add("b"), config_of=first.run))

        assert (await deck.ordered(fresh)).config_blob != old.config_blob
        ordered = await deck.ordered(again)
        assert (ordered.config_blob, ordered.config_of) == (old.config_blob, first.run)
        assert ordered.base == git(place.repository, "rev-parse", "main")
        await deck.control(fresh, "cancel")
        await deck.work(again)
        assert (await deck.result(again)).status is RunStatus.DONE  # the gate of today refuses everything
        # What the order itself says still holds.
        narrow = await deck.create(place.order(add("b"), config_of=first.run, max_parallel=1, budget_usd=0.5))
        frozen, used = await deck.frozen(narrow), await deck.frozen(first.run)
        assert (frozen.deck.deck.max_parallel, frozen.deck.budget.run) == (1, 0.5)
        assert (frozen.agents, frozen.deck.checks) == (used.agents, used.deck.checks)


def test_a_broken_configuration_is_gone_round(place: Place, quarterdeck: Quarterdeck) -> None:
    first = first_run(place, add("a"))
    plan = ("--repo", str(place.repository), "--plan", str(place.plan(add("b"))))
    place.commit({".quarterdeck/agents/shell.md": "no front matter"})
    assert quarterdeck("run", *plan)[0] == Exit.USAGE
    code, out, err = quarterdeck("run", *plan, "--config-of", first, "--json")
    assert (code, json.loads(out.splitlines()[-1])["status"]) == (0, "done"), err
    assert "today's configuration cannot be used" in err


def test_the_repositorys_files_are_written_back(place: Place, quarterdeck: Quarterdeck) -> None:
    first = first_run(place, add("a"))
    folder = place.repository / ".quarterdeck"
    before = (folder / "deck.toml").read_text()
    place.commit(
        {
            ".quarterdeck/deck.toml": before + "wall = '1m'\n",
            ".quarterdeck/agents/new.md": "---\nname: new\ndescription: new\n---\nDo it.\n",
        }
    )

    code, out, err = quarterdeck("config", "--of", first, "--diff")
    assert code == 0, err
    assert '-wall = "30m"' in out
    assert '+wall = "1m"' in out
    assert "+[agent new]" in out

    (folder / "deck.toml").write_text("# mine\n")
    code, out, err = quarterdeck("config", "--of", first, "--write")
    assert (code, out) == (Exit.STALE, "")
    assert "deck.toml" in err
    assert (folder / "deck.toml").read_text() == "# mine\n"

    git(place.repository, "checkout", "-q", "--", ".quarterdeck")
    code, out, err = quarterdeck("config", "--of", first, "--write", "--json")
    assert (code, json.loads(out)["files"]) == (0, [".quarterdeck/agents/new.md", ".quarterdeck/deck.toml"]), err
    assert (folder / "deck.toml").read_text() == before
    assert not (folder / "agents" / "new.md").exists()
    code, out, err = quarterdeck("config", "--of", first, "--write")
    assert (code, out) == (0, "")
    assert f".quarterdeck/ is as {first} found it" in err
    git(place.repository, "commit", "-qam", "back")
    code, out, _ = quarterdeck("config", "--of", first, "--diff", "--json")
    assert (code, json.loads(out)["lines"]) == (0, [])
