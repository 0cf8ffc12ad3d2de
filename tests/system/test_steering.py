"""What people say to runs at work: another try with another agent, more money, an answer to one question."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from deck_kit import AGENT, SHELL, Place, one, place_at, run_events, task
from test_goal import HAND_IN, rule, scripted, writes

from quarterdeck.assembly import open_deck
from quarterdeck.engine.port import Job
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import BadInput, Conflicting, NotFound
from quarterdeck.models.scripted.scenario import Turn, act
from quarterdeck.triggers import port
from quarterdeck.workplace.ground import Ground


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


BY_NAME = SHELL.replace("env=dict(os.environ,", "env=dict(os.environ, WHO='{name}',")


async def test_a_failed_task_is_tried_by_another_agent_after_its_run_has_ended(place: Place) -> None:
    agents = {
        f".quarterdeck/agents/{name}.md": AGENT.format(
            name=name, code=json.dumps(BY_NAME.replace("{name}", name)), wall=20
        )
        for name in ("junior", "senior")
    }
    place.begin(agents, deck="[limits]\nattempts = 1\n")
    only_senior = 'test "$WHO" = senior && echo "$WHO: $FEEDBACK" > a.txt'
    needs_it = task("b", "echo b > b.txt", agent="senior", needs=["a"])
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", only_senior, agent="junior"), needs_it, sandbox="none"))
        await deck.work(run)
        result = await deck.result(run)
        assert (result.status, one(result, "b").status) == (RunStatus.FAILED, TaskStatus.BLOCKED)
        with pytest.raises(NotFound, match="no agent"):
            await deck.retry(run, "a", agent="nobody", by="ada")
        with pytest.raises(Conflicting, match="is blocked"):
            await deck.retry(run, "b", by="ada")
        attempt = f"{run}.a.1"
        await deck.comment(attempt, "a.txt", 3, "Sign it.", by="ada")
        await deck.retry(run, "a", agent="senior", by="ada")
        await deck.work(run)
        result = await deck.result(run)
        assert (result.status, result.exit_code) == (RunStatus.DONE, 0)
        assert place.tree(result)["a.txt"].startswith("senior: ")
        assert "A comment on your change, a.txt:3: Sign it." in place.tree(result)["a.txt"]
        dispatched = [each for each in await run_events(deck, run) if isinstance(each, e.TaskDispatched)]
        assert [(each.task, each.agent) for each in dispatched] == [("a", "junior"), ("a", "senior"), ("b", "senior")]
        with pytest.raises(Conflicting, match="is merged"):
            await deck.retry(run, "a", by="ada")
        with pytest.raises(Conflicting, match="has landed"):
            await deck.comment(attempt, "a.txt", None, "Too late.", by="ada")


async def test_a_budget_is_raised_while_its_run_is_not_finished(place: Place) -> None:
    place.begin(deck='[approve]\nplan = "always"\n')
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt"), sandbox="none", budget_usd=1.0))
        await deck.work(run)
        with pytest.raises(Conflicting, match="only be raised"):
            await deck.raise_budget(run, 1.0, by="ada")
        await deck.raise_budget(run, 2.5, by="ada")
        await deck.settle()
        assert (await deck.views.run(run)).budget_nusd == 2_500_000_000
        assert [purse.cap_nusd for purse in await deck.views.purses(f"run/{run}")] == [2_500_000_000]
        assert (await deck.views.run(run)).status is RunStatus.WAITING  # nothing else has changed
        with pytest.raises(Conflicting, match="nothing is asked"):
            await deck.answer(run, "Yes.", by="ada")
        with pytest.raises(BadInput):
            await deck.answer(run, " ", by="ada")
        await deck.control(run, "cancel")
        await deck.work(run)
        assert await deck.approvals() == []
        with pytest.raises(Conflicting, match="has ended"):
            await deck.raise_budget(run, 5.0, by="ada")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("cancel", "pause"), RunStatus.CANCELLED),
        (("pause", "cancel", "pause"), RunStatus.CANCELLED),
        (("pause", "resume", "pause"), RunStatus.PAUSED),
        (("cancel", "resume", "cancel"), RunStatus.CANCELLED),
        (("cancel", "resume", "pause"), RunStatus.PAUSED),
        (("cancel", "resume"), RunStatus.DONE),
    ],
)
async def test_of_what_people_say_before_anybody_hears_the_last_word_counts(
    place: Place, words: tuple[str, ...], status: RunStatus
) -> None:
    place.begin()
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt"), sandbox="none"))
        for word in words:
            await deck.control(run, word)
        await deck.work(run)
        view = await deck.views.run(run)
        assert view.status is status
        assert (view.finished_at is not None) is status.finished, "a cancelled run ends"


async def test_a_word_is_passed_on_also_where_the_run_is_as_it_says_by_now(place: Place) -> None:
    """Somebody may have said the contrary meanwhile, and not been heard yet: as here, where nobody serves."""
    place.begin()
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt"), sandbox="none"))
        await deck.control(run, "pause")
        await deck.settle()
        await deck.control(run, "resume")
    assert place.call("pause", run)[0] == 0
    async with open_deck(place.settings) as deck:
        await deck.work(run)
        assert (await deck.views.run(run)).status is RunStatus.PAUSED


async def test_who_waits_for_a_persons_word_performs_what_concerns_the_world_outside_too(place: Place) -> None:
    place.begin(deck='[approve]\nplan = "always"\n')
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt"), sandbox="none"))
        await deck.work(run)
        assert (await deck.views.run(run)).status is RunStatus.WAITING
        waiting, parts = asyncio.create_task(deck.moved(run)), deck._parts
        job = Job(kind=port.CLOCK, key="k", lock="k", run="")  # a message, a result: whatever comes meanwhile
        await parts.journal.commit(also=lambda tx: parts.engine.defer(tx, job))
        mark = 0
        while await parts.engine.unfinished():
            mark = await parts.store.changed(mark, 5.0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await parts.engine.failed() == [], "it would never be done"


async def test_more_money_reaches_who_ran_out_of_it_and_who_is_at_work(place: Place) -> None:
    """One task has ended for want of money and another was kept from beginning while a third is at work: all three are
    done with the new budget."""
    dear = [writes("a", f"a{n} " * 2000) for n in range(5)]
    hold = Turn(actions=(act("run", command="until test -e go; do sleep 0.05; done; rm go"),))
    rules = (
        # The dear one begins when the other one is at work for certain: else either may run out of money.
        rule("Task: a\nRole: implementer\nAttempt: 1\n", hold, *dear, HAND_IN),
        rule("Task: a\n", *dear, HAND_IN),
        rule("Task: b\n", writes("b", "b"), hold, *[writes("b", f"b{n} " * 2000) for n in range(5)], HAND_IN),
        rule("Task: c\n", writes("c", "c"), HAND_IN),
    )
    tasks = [task(name, "do it", agent="implementer") for name in "abc"]
    async with scripted(place, *rules, output=2048) as server, open_deck(place.settings) as deck:
        run = await deck.create(place.order(*tasks, sandbox="none", budget_usd=0.12, max_parallel=2))
        work = asyncio.create_task(deck.work(run))
        for name in "ab":
            async for record in deck.journal.follow(ids.attempt_stream(f"{run}.{name}.1")):
                if isinstance(record.event, e.ToolIntended) and record.event.tool == "run":
                    break
        workspaces = Ground(place.home).workspaces
        (workspaces / f"{run}.a.1-1" / "w" / "go").touch()
        ended: set[str] = set()
        async for record in deck.journal.follow(ids.run_stream(run)):
            if isinstance(record.event, e.TaskBlocked | e.TaskFailed):
                ended.add(record.event.task)
            if ended >= {"a", "c"}:
                break
        rows = {row.task: row.status for row in await deck.views.tasks(run)}
        assert (rows["a"], rows["c"]) == (TaskStatus.FAILED, TaskStatus.BLOCKED)
        await deck.raise_budget(run, 5.0, by="ada")
        async for record in deck.journal.follow(ids.run_stream(run)):
            if isinstance(record.event, e.BudgetRaised):
                break
        (workspaces / f"{run}.b.1-1" / "w" / "go").touch()
        await work
        result = await deck.result(run)
        assert (result.status, result.reason) == (RunStatus.DONE, "")
        assert [one(result, name).attempts for name in "abc"] == [2, 1, 1]
        assert 0.12 < result.cost_usd == pytest.approx(server.total.nusd / 1e9)
