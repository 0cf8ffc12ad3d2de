"""Plans, changes and actions that wait for a person's word, over whole runs."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import store_kit
from deck_kit import Place, events, git, one, place_at, run_events, task
from test_goal import HAND_IN, planned, rule, scripted, writes

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.delivery.order import Order
from quarterdeck.journal.views import ApprovalView
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import Conflicting, NotFound
from quarterdeck.models.scripted.scenario import Turn, act

WRITES = 'printf "%s\\n" "attempt $ATTEMPT" "${FEEDBACK:-none}" > a.txt'


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


def approving(place: Place, **keys: object) -> None:
    """A repository in which that waits for a person."""
    lines = "".join(
        f'{key} = "{value}"\n' if isinstance(value, str) else f"{key} = {value}\n" for key, value in keys.items()
    )
    place.begin(deck=f"[approve]\n{lines}")


async def ordered(deck: Deck, place: Place, *tasks: dict[str, object], **fields: object) -> str:
    run = await deck.create(place.order(*(tasks or (task("a", WRITES),)), **{"sandbox": "none", **fields}))
    await deck.work(run)
    return run


async def only(deck: Deck) -> ApprovalView:
    (view,) = await deck.approvals()
    return view


async def decided(
    deck: Deck, view: ApprovalView, verdict: Literal["approve", "deny"] = "approve", reason: str = ""
) -> None:
    await deck.decide(view.approval, verdict, action_hash=view.action_hash, reason=reason, by="ada")


async def test_a_plan_waits_for_a_person_and_nothing_of_it_begins_before(place: Place) -> None:
    approving(place, plan="always")
    async with open_deck(place.settings) as deck:
        run = await ordered(deck, place)
        result = await deck.result(run)
        assert (result.status, result.exit_code) == (RunStatus.WAITING, 3)
        assert await deck.views.attempts(run) == []
        assert await deck.views.waits(run) == []  # it stands in the inbox once
        view = await only(deck)
        assert (view.what, view.run, view.task, view.risk, view.status) == ("plan", run, None, "low", "open")
        assert "instructions" in await deck.subject(view.approval)
        with pytest.raises(Conflicting, match="has changed"):
            await deck.decide(view.approval, "approve", action_hash="0" * 64, reason="", by="ada")
        with pytest.raises(NotFound):
            await deck.decide("a-nothing", "approve", action_hash=view.action_hash, reason="", by="ada")
        await decided(deck, view)
        with pytest.raises(Conflicting, match="approved already by ada"):
            await decided(deck, view, "deny", "too late")
        await deck.work(run)
        result = await deck.result(run)
        assert (result.status, result.exit_code) == (RunStatus.DONE, 0)
        kinds = [event.kind for event in await run_events(deck, run)]
        assert kinds.index("approval.asked") < kinds.index("approval.decided") < kinds.index("task.dispatched")


async def test_a_plan_of_a_persons_own_file_that_is_denied_ends_the_run(place: Place) -> None:
    approving(place, plan="always")
    async with open_deck(place.settings) as deck:
        run = await ordered(deck, place)
        await decided(deck, await only(deck), "deny", "not this week")
        await deck.work(run)
        result = await deck.result(run)
        assert (result.status, result.exit_code) == (RunStatus.FAILED, 4)
        assert "ada denied the plan: not this week" in result.reason
        assert one(result, "a").status is TaskStatus.BLOCKED
        await deck.control(run, "resume")  # somebody thought better of it: it is asked anew
        await deck.work(run)
        await decided(deck, await only(deck))
        await deck.work(run)
        assert (await deck.result(run)).exit_code == 0


async def test_a_change_waits_and_what_is_denied_comes_back_better(place: Place) -> None:
    approving(place, merge="risky")  # nobody reviews here, which is a risk
    async with open_deck(place.settings) as deck:
        run = await ordered(deck, place)
        assert (await deck.result(run)).exit_code == 3
        first = await only(deck)
        assert (first.what, first.task, first.attempt, first.agent) == ("merge", "a", f"{run}.a.1", "shell")
        assert first.why == ("nobody has reviewed it",)
        assert "+attempt 1" in await deck.subject(first.approval)
        await decided(deck, first, "deny", "say please")
        await deck.work(run)
        second = await only(deck)
        assert second.attempt == f"{run}.a.2"
        await decided(deck, second)
        await deck.work(run)
        result = await deck.result(run)
        assert result.status is RunStatus.DONE
        assert "human: ada denied the change: say please" in place.tree(result)["a.txt"]
        merged = [event for event in await run_events(deck, run) if isinstance(event, e.TaskMerged)]
        assert [event.reviewed for event in merged] == ["person"]


async def test_a_run_that_waits_says_where_its_changes_have_brought_the_branch(place: Place) -> None:
    approving(place, merge="always")
    async with open_deck(place.settings) as deck:
        run = await ordered(deck, place, task("a", "echo a > a.txt"), task("b", "echo b > b.txt"))
        result = await deck.result(run)
        assert result.target.sha == git(place.repository, "rev-parse", "HEAD"), "nothing has landed"
        await decided(deck, (await deck.approvals())[0])
        await deck.work(run)
        result = await deck.result(run)
        assert result.status is RunStatus.WAITING
        assert [result.target.sha] == [task.commit for task in result.tasks if task.status is TaskStatus.MERGED]


async def test_what_waited_when_its_run_was_cancelled_is_asked_again_when_it_goes_on(place: Place) -> None:
    approving(place, merge="always")
    async with open_deck(place.settings) as deck:
        run = await ordered(deck, place)
        first = await only(deck)
        await deck.control(run, "cancel")
        await deck.work(run)
        assert ((await deck.result(run)).status, await deck.approvals()) == (RunStatus.CANCELLED, [])
        await deck.control(run, "resume")
        await deck.work(run)
        again = await only(deck)
        assert (again.approval, again.action_hash) == (first.approval, first.action_hash)
        await decided(deck, again)
        await deck.work(run)
        assert (await deck.result(run)).status is RunStatus.DONE


async def test_what_waited_when_its_run_was_cancelled_is_asked_again_when_its_task_is_tried_again(
    place: Place,
) -> None:
    approving(place, merge="always")
    async with open_deck(place.settings) as deck:
        run = await ordered(deck, place)
        first = await only(deck)
        await deck.control(run, "cancel")
        await deck.work(run)
        assert ((await deck.result(run)).status, await deck.approvals()) == (RunStatus.CANCELLED, [])
        await deck.retry(run, "a", by="ada")
        await deck.work(run)
        again = await only(deck)
        assert again.action_hash == first.action_hash, "the same change, which nobody has to make twice"
        assert (await deck.result(run)).exit_code == 3
        await decided(deck, again)
        await deck.work(run)
        assert (await deck.result(run)).status is RunStatus.DONE
        landed = [event for event in await run_events(deck, run) if isinstance(event, e.TaskMerged)]
        assert [event.attempt for event in landed] == [first.attempt]


async def test_of_two_who_decide_at_once_one_is_refused(place: Place) -> None:
    approving(place, plan="always")
    async with open_deck(place.settings) as deck, open_deck(place.settings) as other:
        await ordered(deck, place)
        view = await only(deck)
        tries = (decided(deck, view), decided(other, view, "deny", "no"), decided(other, view), decided(deck, view))
        ends = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(end is None for end in ends) == 1
        assert all(isinstance(end, Conflicting) for end in ends if end is not None)


def test_who_watches_is_waited_for_and_who_does_not_is_told_the_next_command(place: Place) -> None:
    approving(place, plan="always")
    plan = str(place.plan(task("a", WRITES)))
    code, _, err = place.call("run", "--plan", plan, "--sandbox", "none")
    assert code == 3 and "next: quarterdeck inbox" in err, err
    code, out, err = place.call("inbox", "--json")
    assert (code, '"kind": "approval"' in out) == (0, True), err
    approval = out.split('"approval": "')[1].split('"')[0]
    code, out, err = place.call("inbox")
    assert code == 0 and " ago, expires in " in out and "risk low, may cost $" in out, out
    code, _, err = place.call("approve", approval[:6], "--hash", "f" * 16)
    assert code == 7, err
    code, out, err = place.call("approve", approval[:6], "--json")
    assert json.loads(out.splitlines()[0])["decided_at"] is not None
    assert code == 0 and "quarterdeck resume r-" in err, err
    run = err.split("quarterdeck resume ")[1].split()[0]
    assert place.call("resume", run)[0] == 0
    master, slave = pty.openpty()
    try:
        command = [sys.executable, "-m", "quarterdeck.cli.main", "run", "--plan", plan, "--sandbox", "none"]
        with subprocess.Popen(
            command,
            cwd=place.repository,
            env={**os.environ, "QUARTERDECK_HOME": str(place.home), **store_kit.told(place.home / "deck.db")},
            stdin=slave,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            said = ""
            while "goes on by itself" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            approval = said.split("quarterdeck approve ")[1].split()[0]
            code, _, err = place.call("approve", approval)
            assert code == 0 and "it goes on" in err, err
            assert process.wait(60) == 0
    finally:
        os.close(master)
        os.close(slave)


def _waits(place: Place) -> dict[str, object]:
    """The only thing that waits."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        code, out, err = place.call("inbox", "--json")
        assert code == 0, err
        if out.strip():
            found: dict[str, object] = json.loads(out.splitlines()[0])
            return found
    raise AssertionError("nothing waits")


@pytest.mark.embedded("among many workers, one that was killed counts as living until it has been silent")
async def test_an_action_waits_through_a_kill_and_is_performed_exactly_once(place: Place) -> None:
    order = task("a", "write it", agent="implementer")
    append = Turn(actions=(act("run", command="echo once >> a.txt"),))
    async with scripted(place, rule("Task: a", append, HAND_IN), deck='[approve]\ntools = ["ru*"]\n'):
        plan = str(place.plan(order))
        with place.quarterdeck("run", "--plan", plan, "--sandbox", "none") as process:
            first = await asyncio.to_thread(_waits, place)
            os.kill(process.pid, signal.SIGKILL)
            process.wait(30)
        run, approval = str(first["run"]), str(first["approval"])
        assert (first["what"], first["agent"], first["risk"]) == ("tool", "implementer", "high")
        code, out, err = await asyncio.to_thread(place.call, "inbox", approval)
        assert code == 0 and "echo once >> a.txt" in out, err
        code, _, err = await asyncio.to_thread(place.call, "approve", approval)
        assert code == 0 and f"quarterdeck resume {run}" in err, err
        code, _, err = await asyncio.to_thread(place.call, "resume", run, QUARTERDECK_PROBE="tool.effected:1:kill")
        assert code == -signal.SIGKILL, err  # performed, and that is not on record
        code, out, err = await asyncio.to_thread(place.call, "resume", run)
        assert code == 0, err
        async with open_deck(place.settings) as deck:
            happened = await events(deck, f"attempt/{run}.a.1")
            asked = [each for each in happened if isinstance(each, e.ApprovalAsked)]
            intents = [each for each in happened if isinstance(each, e.ToolIntended) and each.tool == "run"]
            view = await deck.views.approval(approval)
            assert [each.approval for each in asked] == [approval]
            assert [(each.decision, each.approver, each.approval) for each in intents] == [("allow", view.by, approval)]
            assert place.tree(await deck.result(run))["a.txt"] == "once"


async def test_a_denied_action_is_not_performed_and_the_agent_is_told_why(place: Place) -> None:
    order = task("a", "write it", agent="implementer")
    wrong = Turn(actions=(act("run", command="echo wrong > a.txt"),))
    rules = (rule("Task: a", wrong, writes("a", "right"), HAND_IN),)
    async with scripted(place, *rules, deck='[approve]\ntools = ["run"]\n'), open_deck(place.settings) as deck:
        run = await deck.create(place.order(order, sandbox="none"))
        work = asyncio.create_task(deck.work(run))
        async for record in deck.journal.follow(f"attempt/{run}.a.1"):
            if isinstance(record.event, e.ApprovalAsked):
                break
        await decided(deck, await only(deck), "deny", "use your files")
        await work
        result = await deck.result(run)
        assert (result.status, place.tree(result)["a.txt"]) == (RunStatus.DONE, "right")
        done = [event for event in await events(deck, f"attempt/{run}.a.1") if isinstance(event, e.ToolDone)]
        told = (await deck.journal.get(done[0].result_blob)).decode()
        assert done[0].flags == ("denied",) and "ada said no: use your files" in told


async def test_a_plan_that_is_denied_is_made_anew_with_the_reason(place: Place) -> None:
    first, second = planned({"id": "a"}), planned({"id": "b"})
    rules = (
        rule("(?s)Role: planner.*fewer words", second),
        rule("Role: planner", first),
        rule("Task: b", writes("b", "b"), HAND_IN),
    )
    async with scripted(place, *rules, deck='[approve]\nplan = "always"\n'), open_deck(place.settings) as deck:
        order = Order(goal="Make it so", repository=place.repository, user="ada", sandbox="none")
        run = await deck.create(order)
        await deck.work(run)
        await decided(deck, await only(deck), "deny", "fewer words")
        await deck.work(run)
        assert [row.task for row in await deck.views.tasks(run)] == ["b"]
        await decided(deck, await only(deck))
        await deck.work(run)
        assert (await deck.result(run)).status is RunStatus.DONE
        assert len(await deck.approvals(open=False)) == 2
