"""Whole runs of plan files with command agents: real repositories, sandboxes, checks, merges and processes."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import store_kit
from deck_kit import CRITIC, REVIEWER, Place, carried, events, git, one, place_at, run_events, task
from store_kit import open_at

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.delivery.order import Order
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import Conflicting, Exit, NotFound, QuarterdeckError
from quarterdeck.workplace.ground import Ground

pytestmark = pytest.mark.sandbox


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


async def until(deck: Deck, run: str, wanted: type[e.EventBase], **fields: object) -> None:
    """Wait until such an event of the run is on record."""
    async with asyncio.timeout(30):
        async for record in deck.events(run):
            if isinstance(record.event, wanted) and all(getattr(record.event, k) == v for k, v in fields.items()):
                return


# --- what merges ------------------------------------------------------------------------------------------


async def test_tasks_become_commits_and_nothing_else_moves(place: Place) -> None:
    place.begin()
    head, status = git(place.repository, "rev-parse", "HEAD"), git(place.repository, "status", "--porcelain")
    tasks = (
        task("a", "echo a > a.txt"),
        task("b", "echo b > b.txt", verify=["grep b b.txt"]),
        task("c", "cat a.txt b.txt > c.txt", needs=["a", "b"]),
    )
    async with carried(place, *tasks) as (deck, result):
        assert (result.status, result.exit_code, result.reason) == (RunStatus.DONE, Exit.DONE, "")
        assert place.tree(result) == {"a.txt": "a", "b.txt": "b", "c.txt": "a\nb"}
        assert "3 of 3 tasks merged" in await deck.report(result.run)
        statuses = {view.status for view in await deck.views.attempts(result.run)}
        assert statuses == {"merged"}
    assert git(place.repository, "rev-list", "--count", f"main..{result.target.branch}") == "3"
    message = git(place.repository, "log", "-1", "--format=%B", result.target.branch)
    assert f"Quarterdeck-Run: {result.run}\nQuarterdeck-Task: c" in message
    assert git(place.repository, "rev-parse", "HEAD") == head
    assert git(place.repository, "status", "--porcelain") == status
    git(place.repository, "fsck", "--strict")


async def test_a_run_is_stored_once(place: Place) -> None:
    """Whoever gave the request to one server gives it to another one, which does not hear of the first."""
    place.begin()
    order = place.order(task("a", "echo a > a.txt"))
    async with open_deck(place.settings) as one_server, open_deck(place.settings) as another:
        run = ids.new_run_id(0.0)
        await one_server.create(order, run=run)
        with pytest.raises(Conflicting, match="exists already"):
            await another.create(order, run=run)
        kinds = [event.kind for event in await run_events(another, run)]
        assert kinds == ["run.created", "run.planned"]


async def test_a_conflict_goes_back_with_the_other_sides_intent(place: Place) -> None:
    place.begin()
    script = (
        'if [ "$ATTEMPT" = 1 ]; then sed -i "s/two/{0}/" shared.txt; '
        'else printf %s "$FEEDBACK" > {0}.txt; sed -i "s/^\\(.*\\)$/\\1/; 2s/$/ and {0}/" shared.txt; fi'
    )
    tasks = [
        task(name, script.format(name), title=f"Say {name}", paths=["shared.txt", f"{name}.txt"])
        for name in ("left", "right")
    ]
    async with carried(place, *tasks) as (deck, result):
        assert result.status is RunStatus.DONE, result.reason
        assert sorted(item.attempts for item in result.tasks) == [1, 2]
        later = next(item.id for item in result.tasks if item.attempts == 2)
        earlier = "left" if later == "right" else "right"
        tree = place.tree(result)
        assert tree["shared.txt"] == f"one\n{earlier} and {later}\nthree"
        told = tree[f"{later}.txt"]
        assert "conflict: " in told
        assert f"Say {earlier}" in told
        assert "shared.txt" in told
        ends = [x for x in await run_events(deck, result.run) if isinstance(x, e.NodeFinished)]
        assert Outcome.CONFLICT in [x.outcome for x in ends]


async def test_what_verify_rejects_is_told_to_the_next_attempt(place: Place) -> None:
    place.begin()
    script = 'if [ "$ATTEMPT" = 1 ]; then echo bad > a.txt; else printf "good %s" "$FEEDBACK" > a.txt; fi'
    async with carried(place, task("a", script, verify=["cat a.txt; grep good a.txt"])) as (deck, result):
        assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, 2)
        assert "verify: `cat a.txt; grep good a.txt` failed: exit 1" in place.tree(result)["a.txt"]
        report = await deck.report(result.run)
        assert f"`{result.run}.a.1` check failed" in report
        assert "`a` merged after 2 attempts" in report


async def test_the_reviewer_is_heard(place: Place) -> None:
    place.begin(deck='[review]\nagent = "critic"\n')
    tasks = (
        task("a", 'if [ "$ATTEMPT" = 1 ]; then echo please-change > a.txt; else echo "$FEEDBACK" > a.txt; fi'),
        task("b", "echo please-change > b.txt; echo $ATTEMPT >> b.txt"),
    )
    async with carried(place, *tasks) as (deck, result):
        assert (result.status, result.exit_code) == (RunStatus.PARTIAL, Exit.FAILED)
        assert place.tree(result)["a.txt"] == "review: take that line out"
        assert one(result, "b").status is TaskStatus.FAILED
        assert one(result, "b").reason.startswith("the reviewer still wants a change after 2 rounds: take that line")
        assert one(result, "b").attempts == 3
        reviews = [view for view in await deck.views.attempts(result.run) if "review" in view.attempt]
        assert len(reviews) == 5
        assert {view.status for view in reviews} <= {"finished", "change"}


async def test_a_reviewer_that_has_ended_is_not_put_to_work_again(place: Place) -> None:
    fails_first = CRITIC.replace("bad=", "d['attempt'] == 1 and sys.exit(1); bad=")
    critic = REVIEWER.format(code=json.dumps(fails_first))
    place.begin({".quarterdeck/agents/critic.md": critic}, deck='[review]\nagent = "critic"\n')
    plan = place.plan(task("a", "echo a > a.txt"))
    # The author is the first to end, the failing reviewer the second; the third is killed before its end is stored.
    code, out, err = place.call("run", "--plan", str(plan), "--json", QUARTERDECK_PROBE="harness.finished:3:kill")
    assert code == -signal.SIGKILL, err
    run = json.loads(out.splitlines()[0])["run"]
    code, out, err = place.call("resume", run, "--json")
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["tasks"][0]["attempts"] == 1
    async with open_deck(place.settings) as deck:
        streams = await deck.journal.streams(f"attempt/{run}.a.1.review")
        counts = [sum(isinstance(x, e.HarnessStarted) for x in await events(deck, name)) for name in streams]
        assert counts == [1, 2]


class _Backwards(SystemClock):
    """A wall clock that is behind itself at each look."""

    def __init__(self) -> None:
        self._now = super().wall()

    def wall(self) -> float:
        self._now -= 0.001
        return self._now


async def test_a_review_that_is_tried_again_is_made_again_whatever_clocks_say(place: Place) -> None:
    fails_first = CRITIC.replace("bad=", "d['attempt'] == 1 and sys.exit(1); bad=")
    place.begin(
        {".quarterdeck/agents/critic.md": REVIEWER.format(code=json.dumps(fails_first))},
        deck='[review]\nagent = "critic"\n[limits]\nattempts = 1\n',
    )
    async with open_deck(place.settings, _Backwards()) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt")))
        await deck.work(run)
        assert "the reviewer" in one(await deck.result(run), "a").reason
        await deck.control(run, "resume")
        await deck.work(run)
        assert (await deck.result(run)).status is RunStatus.DONE, (await deck.result(run)).reason
        streams = await deck.journal.streams(f"attempt/{run}.a.1.review")
        counts = [sum(isinstance(x, e.HarnessStarted) for x in await events(deck, name)) for name in streams]
        assert counts == [1, 1]


async def test_a_command_attempt_that_was_cut_off_starts_again_and_is_not_counted(place: Place) -> None:
    place.begin(deck="[limits]\nattempts = 1\n")
    plan = place.plan(task("a", "echo $ATTEMPT > a.txt"))
    code, out, err = place.call("run", "--plan", str(plan), "--json", QUARTERDECK_PROBE="harness.finished:1:kill")
    assert code == -signal.SIGKILL, err
    run = json.loads(out.splitlines()[0])["run"]
    assert place.call("resume", run)[0] == 0
    async with open_deck(place.settings) as deck:
        (attempt,) = await deck.views.attempts(run)
        assert (attempt.number, attempt.incarnation) == (1, 2)
        assert list(Ground(place.home).workspaces.iterdir()) == [], "workspaces are gone when the run has ended"


# --- agents that do not do what they should -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "says"),
    store_kit.first_on_both(
        "what the agent did is another reason",
        [
            ("echo x > a.txt; echo y > elsewhere.txt", "outside of the task's paths (a.txt): elsewhere.txt"),
            (
                "mkdir -p .quarterdeck; echo x > .quarterdeck/deck.toml",
                "these must never change: .quarterdeck/deck.toml",
            ),
            ("true", "nothing differs from the base"),
            ("echo x > a.txt; exit 7", "ended with exit code 7"),
            (
                "echo so far; printf 'Traceback\\n\\033[31mKeyError: 1\\033[0m\\n\\n' >&2; exit 7",
                "exit code 7: KeyError: 1",
            ),
            ("echo there is no such ticket; exit 7", "exit code 7: there is no such ticket"),
            ("echo x > a.txt; sleep 60", "was stopped after 1 s (limits.wall)"),
            ("ln -s .. a.txt", "the symbolic link a.txt leads out of the repository"),
            ("head -c 3000000 /dev/zero > a.txt", "bytes in changed files, at most 2000000 may be"),
            ("kill -9 $PPID", "ended by signal 9"),
        ],
    ),
)
async def test_bad_attempts_fail_with_a_reason(place: Place, script: str, says: str) -> None:
    place.begin(deck="[limits]\nattempts = 1\n", wall=1 if "limits.wall" in says else 60)
    async with carried(place, task("a", script)) as (deck, result):
        assert (result.status, result.exit_code) == (RunStatus.FAILED, Exit.FAILED)
        assert says in one(result, "a").reason
        assert place.repository.joinpath("check.sh").exists()
        assert says in await deck.report(result.run)


async def test_attempts_that_never_began_for_want_of_an_environment_say_so(place: Place) -> None:
    place.begin(deck='[limits]\nattempts = 2\n[sandbox]\nsetup = ["echo ERROR: no such package; echo bye; exit 3"]\n')
    async with carried(place, task("a", "echo x > a.txt"), task("b", "echo x > b.txt")) as (deck, result):
        for name in ("a", "b"):
            assert "ended with 3: ERROR: no such package" in one(result, name).reason
            assert "correct [sandbox] setup" in one(result, name).reason
            assert one(result, name).reason.count("ERROR") == 2, "once in the command, once as what it said"
            assert one(result, name).attempts == 1, "another one would have the same environment"
            with pytest.raises(NotFound, match=r"never began.*no such package") as told:
                await deck.resolve(f"{result.run}.{name}.1")
            assert told.value.fix == f"quarterdeck show {result.run}.{name}"
        for number in ("2", "²", "9" * 5_000):
            with pytest.raises(NotFound, match="there is no run, task or attempt"):
                await deck.resolve(f"{result.run}.a.{number}")


@pytest.mark.parametrize(
    "script",
    store_kit.first_on_both(
        "what the agent did to its own git is not looked at",
        [
            "echo x > a.txt; rm -rf .git",
            "echo x > a.txt; git add .; git -c user.name=x -c user.email=x@y commit -qm mine; git checkout -q --detach",
            "echo x > a.txt; rm -rf .git; git init -q .; git add a.txt",
            "echo x > a.txt; echo 'gitdir: /nowhere' > .gitx; rm -rf .git; mv .gitx .git",
            "echo x > a.txt; printf '[core]\\nfsmonitor = touch /workspace/b\\n' > .git/config; touch .git/index.lock",
        ],
    ),
)
async def test_whatever_an_agent_does_to_its_git_its_files_are_the_change(place: Place, script: str) -> None:
    place.begin()
    async with carried(place, task("a", script)) as (_, result):
        assert result.status is RunStatus.DONE, result.reason
        assert place.tree(result) == {"a.txt": "x"}


async def test_a_nested_repository_never_becomes_a_submodule(place: Place) -> None:
    place.begin(deck="[limits]\nattempts = 1\n")
    script = (
        "mkdir sub; cd sub; git init -q .; echo x > f; git add f; git -c user.name=x -c user.email=x@y commit -qm m"
    )
    async with carried(place, task("a", script, paths=["sub/"])) as (_, result):
        assert "a repository lies inside the workspace, and its files would be lost: sub" in result.reason


async def test_strange_names(place: Place) -> None:
    place.begin(deck="[limits]\nattempts = 1\n")
    tasks = (
        task("a", "echo é > 'ä b.txt'; printf x > \"$(printf 'new\\nline.txt')\"", paths=["*.txt"]),
        task("b", r"""python3 -c "open(b'\xff.txt', 'w').write('x')" """, paths=["*.txt"]),
    )
    async with carried(place, *tasks) as (deck, result):
        assert one(result, "a").status is TaskStatus.MERGED, one(result, "a").reason
        assert "is not UTF-8" in one(result, "b").reason
        assert await deck.export(result.run, place.root / "out")
    names = git(place.repository, "ls-tree", "-z", "--name-only", result.target.branch).split("\0")
    assert {"ä b.txt", "new\nline.txt"} <= set(names)


async def test_many_long_names_fit_the_record(place: Place) -> None:
    place.begin()
    script = "mkdir -p x; for i in $(seq 500); do printf y > x/$i-$(printf 'n%.0s' $(seq 200)); done"
    async with carried(place, task("a", script, paths=["x/"])) as (_, result):
        assert result.status is RunStatus.DONE, result.reason


# --- the gate ----------------------------------------------------------------------------------------------


async def test_a_red_base_is_nobodys_fault_and_its_work_is_kept(place: Place) -> None:
    place.begin({"check.sh": "test -e GREEN\n"}, deck='[deck]\ninto = "work"\n')
    async with carried(place, task("a", "echo a > a.txt")) as (deck, result):
        assert (result.status, result.exit_code) == (RunStatus.FAILED, Exit.FAILED)
        assert one(result, "a").attempts == 1
        assert "sh check.sh" in result.reason
        ends = [x for x in await run_events(deck, result.run) if isinstance(x, e.NodeFinished)]
        assert [x.outcome for x in ends if x.node is Node.GATE] == [Outcome.HELD]
        # Somebody mends the base; the change goes in as it is.
        git(place.repository, "switch", "-q", "-c", "mended")
        place.commit({"GREEN": ""})
        git(place.repository, "branch", "-f", "work", "mended")
        await deck.control(result.run, "resume")
        await deck.work(result.run)
        result = await deck.result(result.run)
        assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, 1), result


async def test_a_flaky_check_is_tried_once_more(place: Place) -> None:
    # Outside of every workspace, so that the check can fail on the first try alone: hence no sandbox.
    scratch = Ground(place.home).prepare().root / "scratch"
    scratch.mkdir()
    scratch.chmod(0o777)
    place.begin({"check.sh": f"test ! -e a.txt && exit 0; if mkdir {scratch}/seen; then exit 1; fi\n"})
    async with carried(place, task("a", "echo a > a.txt"), sandbox="none") as (deck, result):
        assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, 1)
        assert "failed and then passed on the same tree" in await deck.report(result.run)


# --- people -------------------------------------------------------------------------------------------------


async def test_pause_resume_and_cancel_while_another_process_works(place: Place) -> None:
    place.begin()
    async with open_deck(place.settings) as owner, open_deck(place.settings) as other:
        slow = "echo a > a.txt; sleep 0.5"
        run = await owner.create(place.order(task("a", slow), task("b", "echo b > b.txt", needs=["a"])))
        working = asyncio.create_task(owner.work(run))
        await until(other, run, e.HarnessStarted)
        await other.control(run, "pause")
        await other.settle()
        await working
        assert (await owner.result(run)).status is RunStatus.PAUSED
        assert (await owner.result(run)).exit_code == Exit.WAITING
        await other.control(run, "resume")
        await other.work(run)
        assert (await owner.result(run)).status is RunStatus.DONE


async def test_cancel_while_running_keeps_what_is_merged(place: Place) -> None:
    place.begin()
    async with open_deck(place.settings) as owner, open_deck(place.settings) as other:
        run = await owner.create(place.order(task("a", "echo a > a.txt"), task("b", "sleep 60", needs=["a"])))
        working = asyncio.create_task(owner.work(run))
        await until(other, run, e.HarnessStarted)
        await until(other, run, e.TaskDispatched, task="b")
        await other.control(run, "cancel")
        await other.settle()
        async with asyncio.timeout(15):
            await working
        result = await owner.result(run)
        assert (result.status, result.exit_code) == (RunStatus.CANCELLED, Exit.INTERRUPTED)
        assert [item.status for item in result.tasks] == [TaskStatus.MERGED, TaskStatus.CANCELLED]
        assert "1 of 2 tasks merged" in await owner.report(run)


async def test_cancel_while_a_change_is_in_the_gate(place: Place) -> None:
    place.begin({"check.sh": "test ! -e a.txt || sleep 60\n"})
    async with open_deck(place.settings) as owner, open_deck(place.settings) as other:
        run = await owner.create(place.order(task("a", "echo a > a.txt")))
        working = asyncio.create_task(owner.work(run))
        await until(other, run, e.ChangeQueued)
        await other.control(run, "cancel")
        async with asyncio.timeout(15):
            await working
        result = await owner.result(run)
        assert (result.status, one(result, "a").status) == (RunStatus.CANCELLED, TaskStatus.CANCELLED)


async def test_what_was_in_the_gate_at_a_cancel_is_not_made_again(place: Place) -> None:
    open_door = "test ! -e a.txt || cat door"  # nobody writes to it in the beginning
    place.begin({"check.sh": f"test -e door || mkfifo door; {open_door}\n"})
    async with open_deck(place.settings) as owner, open_deck(place.settings) as other:
        run = await owner.create(place.order(task("a", "echo a > a.txt"), sandbox="none"))
        working = asyncio.create_task(owner.work(run))
        await until(other, run, e.ChangeQueued)
        for word in ("cancel", "resume", "cancel"):  # what is withdrawn twice is one thing, too
            await other.control(run, word)
        async with asyncio.timeout(15):
            await working
        assert (await owner.result(run)).status is RunStatus.CANCELLED
        target = (await owner.result(run)).target.branch
        git(place.repository, "branch", target, place.commit({"door": "open"}))
        await owner.control(run, "resume")
        await owner.work(run)
        result = await owner.result(run)
        assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, 1)
        assert (await owner.verify()).faults == ()


@pytest.mark.embedded("among many workers, one that was killed counts as living until it has been silent")
@pytest.mark.parametrize("point", ["workspace.ready", "gate.queued", "change.pinned"])
async def test_cancel_when_nobody_works_on_it(place: Place, point: str) -> None:
    place.begin()
    plan = place.plan(task("a", "echo a > a.txt"), task("b", "echo b > b.txt", needs=["a"]))
    code, out, err = place.call("run", "--plan", str(plan), "--json", QUARTERDECK_PROBE=f"{point}:1:kill")
    assert code == -signal.SIGKILL, err
    async with open_deck(place.settings) as deck:
        (view,) = await deck.views.runs()
        assert not view.status.finished
        code, out, err = place.call("cancel", view.run, "--json")
        assert (code, json.loads(out.splitlines()[-1])["status"]) == (0, "cancelled"), err
        assert isinstance((await run_events(deck, view.run))[-1], e.RunFinished)
        await deck.control(view.run, "resume")
        await deck.work(view.run)
        assert (await deck.result(view.run)).status is RunStatus.DONE
        assert (await deck.verify()).faults == ()


async def test_pause_when_nobody_works_on_it(place: Place) -> None:
    place.begin()
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt")))
        await deck.control(run, "pause")
        await deck.settle()
        assert (await deck.result(run)).status is RunStatus.PAUSED
        await deck.control(run, "cancel")
        await deck.settle()
        assert (await deck.result(run)).status is RunStatus.CANCELLED


async def test_a_finished_run_repeats_its_line_and_code(place: Place) -> None:
    place.begin(deck="[limits]\nattempts = 1\n")
    plan = place.plan(task("a", "exit 1"))
    code, out, _ = place.call("run", "--plan", str(plan), "--json")
    assert code == Exit.FAILED
    last = json.loads(out.splitlines()[-1])
    assert (last["kind"], last["status"]) == ("run.finished", "failed")
    again, out, err = place.call("resume", last["run"], "--json")
    assert (again, json.loads(out.splitlines()[-1])) == (code, last), err
    retried, out, _ = place.call("resume", last["run"], "--retry", "--json")
    assert (retried, json.loads(out.splitlines()[-1])["tasks"][0]["attempts"]) == (code, 2)


# --- several processes ---------------------------------------------------------------------------------------


async def test_two_runs_in_two_repositories_and_the_follower_takes_over(place: Place) -> None:
    place.begin()
    place.begin(name="second")
    first = place.plan(task("a", "echo a > a.txt; sleep 60"))
    async with open_deck(place.settings) as deck:
        with place.quarterdeck("run", "--plan", str(first), "--json") as owner:
            assert owner.stdout is not None
            run = json.loads(owner.stdout.readline())["run"]
            await until(deck, run, e.HarnessStarted)
            second = place.root / "second.json"
            second.write_text(json.dumps({"v": 1, "goal": "g", "tasks": [task("b", "echo b > b.txt")]}))
            command = ("run", "--plan", str(second), "--repo", str(place.root / "second"), "--json")
            code, out, err = await asyncio.to_thread(place.call, *command)
            assert code == 0, err  # the owner worked on it
            other = json.loads(out.splitlines()[-1])
            assert other["target"]["branch"] in git(place.root / "second", "branch")
            owned = [x for x in await events(deck, ids.DECK_STREAM) if isinstance(x, e.DeckOwned)]
            assert [x.pid for x in owned] == [owner.pid]

            with place.quarterdeck("run", "--plan", str(second), "--repo", str(place.root / "second")) as follower:
                await until_runs(deck, 3)
                owner.kill()
                owner.wait()
                await until_owned(deck, follower.pid)
                await until_finished(deck, 2)
                await deck.control(run, "cancel")
                _, err = await asyncio.to_thread(follower.communicate, timeout=40)
                assert follower.returncode == 0, err
        assert (await deck.result(run)).status is RunStatus.CANCELLED


async def until_runs(deck: Deck, count: int) -> None:
    await until_true(deck, lambda runs: len(runs) >= count)


async def until_finished(deck: Deck, count: int) -> None:
    await until_true(deck, lambda runs: sum(run.status.finished for run in runs) >= count)


async def until_true(deck: Deck, holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(30):
        async for _ in deck.journal.follow(ids.DECK_STREAM):
            break
        mark = 0
        while not holds(await deck.views.runs()):
            mark = await deck._parts.store.changed(mark, 0.2)


async def until_owned(deck: Deck, pid: int) -> None:
    async with asyncio.timeout(30):
        async for record in deck.journal.follow(ids.DECK_STREAM):
            if isinstance(record.event, e.DeckOwned) and record.event.pid == pid:
                return


# --- what is refused -----------------------------------------------------------------------------------------


async def refused(place: Place, **fields: Any) -> str:
    """The order is bad usage, and leaves no run; what is said of it."""
    async with open_deck(place.settings) as deck:
        with pytest.raises(QuarterdeckError) as caught:
            await deck.create(Order(repository=place.repository, user="ada", **fields))
        assert await deck.views.runs() == []
    error = caught.value
    assert error.exit_code == Exit.USAGE
    assert error.why or error.fix
    return f"{error}\n{error.fix}"


async def test_what_cannot_work_is_refused_before_a_run_exists(place: Place) -> None:
    place.begin()
    good = place.plan(task("a", "echo a > a.txt"))
    bad = place.root / "bad.yaml"
    bad.write_text("v: 1\ngoal: g\ntasks:\n  - {id: a, title: A, paths: [a], needs: [zzz]}\n")
    assert "zzz" in await refused(place, plan_path=bad)
    other = place.root / "other.json"
    other.write_text(json.dumps({"v": 1, "goal": "g", "tasks": [task("a", "true", agent="nobody")]}))
    assert "nobody" in await refused(place, plan_path=other)
    assert "there is no agent 'ghost'" in await refused(place, goal="g", agent="ghost")
    assert "nowhere" in await refused(place, plan_path=good, base="nowhere")
    assert "there is no sandbox called 'moon'" in await refused(place, plan_path=good, sandbox="moon")
    assert "'a..b' is not a possible name of a branch" in await refused(place, plan_path=good, into="a..b")
    assert "[tiers]" in await refused(place, goal="g")
    git(place.repository, "switch", "-q", "-c", "mine")
    (place.repository / "dirty").write_text("x")
    assert "stash" in await refused(place, plan_path=good, into="mine")

    code, _, err = place.call("run", "--plan", str(bad))
    assert (code, "zzz" in err, "Traceback" in err) == (Exit.USAGE, True, False), err
    assert place.call("ps", "--json")[:2] == (0, "")


async def test_no_gate_no_run(place: Place) -> None:
    place.begin(gate=None)
    assert "[checks] gate" in await refused(place, plan_path=place.plan(task("a", "echo a > a.txt")))


# --- afterwards ----------------------------------------------------------------------------------------------


async def test_everything_is_exported_and_tampering_is_found(place: Place) -> None:
    place.begin()
    async with carried(place, task("a", "echo a > a.txt")) as (deck, result):
        out = place.root / "out"
        files = {path.relative_to(out).as_posix() for path in await deck.export(result.run, out)}
        wanted = {"result.json", "report.md", "plan.yaml", f"run/{result.run}.jsonl", f"attempt/{result.run}.a.1.jsonl"}
        assert wanted <= files
        assert f"changes/{result.run}.a.1.patch" in files
    assert place.call("audit", "verify")[0] == 0
    store = await open_at(place.home / "deck.db")
    await store.write(lambda tx: tx.run("prune_stream", stream=ids.run_stream(result.run)))
    await store.close()
    code, said, err = place.call("audit", "verify")
    assert code != 0
    assert f"run/{result.run}" in said + err


async def test_a_machine_that_is_not_well_delays_and_blames_nobody(place: Place) -> None:
    place.begin()
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt")))
        place.repository.rename(place.root / "away")
        working = asyncio.create_task(deck.work(run))
        await until(deck, run, e.NodeDelayed)
        (place.root / "away").rename(place.repository)
        await working
        result = await deck.result(run)
        assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, 1)
