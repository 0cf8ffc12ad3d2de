"""Fleets: whom an agent may delegate to, how fast agents start, who gets what, and who comes next when one fails."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from agent_kit import Kit, Still, deck, kit, scenario
from deck_kit import AGENT, REVIEWER, SHELL, carried, git, place_at, task

from quarterdeck.agents.roster import build_roster, shipped_agents
from quarterdeck.assembly import Deck, open_deck
from quarterdeck.delivery.nodes.implement import carried_over
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import LimitsSection, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.events import (
    Delegated,
    HarnessFinished,
    HarnessStarted,
    ModelAsked,
    Outcome,
    RunPlanned,
    RunStatus,
    TaskDispatched,
    ToolDone,
    ToolIntended,
    WorkHeld,
    WorkReleased,
)
from quarterdeck.models.scripted.scenario import Match, Rule, Turn, act

SUBMIT = Turn(actions=(act("submit", summary="done"),))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path) as made:
        yield made


def ask(agent: str) -> Any:
    """The delegation of something to that agent, whether it is offered or not."""
    return act("tool", name="delegate", args={"agent": agent, "task": "Look."})


async def answers(bench: Kit, attempt: str = "r-test.greet.1") -> list[tuple[bool, str]]:
    """What the delegations of an attempt came back with."""
    done = [each for each in await bench.events(attempt) if isinstance(each, ToolDone) and each.tool == "delegate"]
    return [(each.ok, (await bench.journal.get(each.result_blob)).decode()) for each in done]


# --- delegation -------------------------------------------------------------------------------------------


async def test_nobody_delegates_to_himself_or_upwards_even_where_the_definitions_say_so(bench: Kit) -> None:
    lead = Agent(name="implementer", delegates_to=("implementer", "scout"))
    scout = Agent(name="scout", expects="answer", delegates_to=("implementer", "scout", "planner"))
    planner = Agent(name="planner", expects="answer", delegates_to=("scout", "implementer", "reviewer"))
    reviewer = Agent(name="reviewer", expects="answer")
    config = RunConfig(deck=deck(), agents={each.name: each for each in (lead, scout, planner, reviewer)})
    rules = (
        Rule(match=Match(first="Role: implementer"), turns=(Turn(actions=(ask("implementer"), ask("scout"))), SUBMIT)),
        Rule(match=Match(first="Role: scout"), turns=(Turn(actions=(ask("implementer"), ask("planner"))), SUBMIT)),
        Rule(match=Match(first="Role: planner"), turns=(SUBMIT,)),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(lead, config=config)
    assert finished.outcome is Outcome.OK
    first, second = await answers(bench)
    assert first == (False, "Not delegated: an agent does not delegate to itself.")
    assert second == (True, "done")
    up, down = await answers(bench, "r-test.greet.1.sub1")
    assert up == (False, "Not delegated: that would be a cycle: implementer -> scout -> implementer.")
    assert down == (True, "done")
    lines = [each.ancestors for each in await bench.events("r-test.greet.1.sub1") if isinstance(each, Delegated)]
    assert lines == [("implementer", "scout")]
    assert await bench.events("r-test.greet.1.sub1.sub1.sub1") == []


async def test_sub_agents_beyond_the_pace_wait_for_their_turn(bench: Kit) -> None:
    lead = Agent(name="implementer", delegates_to=("scout",))
    limits = LimitsSection(spawn_per_minute=2, fan_out=5)
    agents = {"implementer": lead, "scout": Agent(name="scout", expects="answer")}
    config = RunConfig(deck=deck(limits=limits), agents=agents)
    many = Turn(actions=tuple(ask("scout") for _ in range(6)))
    rules = (
        Rule(match=Match(first="Role: scout"), turns=(SUBMIT,)),
        Rule(match=Match(first="Role: implementer"), turns=(many, SUBMIT)),
    )
    async with bench.native(scenario(rules=rules), clock=Still()) as wire:
        finished = await wire.work(lead, config=config)
    assert finished.outcome is Outcome.OK
    assert [ok for ok, _ in await answers(bench)] == [*[True] * 5, False]
    held = [each for each in await bench.events() if isinstance(each, WorkHeld)]
    assert [(each.limit, each.starts) for each in held] == [
        ("spawn_per_minute", ("r-test.greet.1.sub3",)),
        ("spawn_per_minute", ("r-test.greet.1.sub5",)),
    ]
    assert sum(isinstance(each, WorkReleased) for each in await bench.events()) == 2
    assert [round(seconds) for seconds in wire.slept] == [60, 60]


async def test_a_turn_after_the_attempts_time_is_not_waited_for(bench: Kit) -> None:
    lead = Agent(name="implementer", delegates_to=("scout",))
    limits = LimitsSection(spawn_per_minute=1, wall=30)
    agents = {"implementer": lead, "scout": Agent(name="scout", expects="answer")}
    rules = (
        Rule(match=Match(first="Role: scout"), turns=(SUBMIT,)),
        Rule(match=Match(first="Role: implementer"), turns=(Turn(actions=(ask("scout"), ask("scout"))), SUBMIT)),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(lead, config=RunConfig(deck=deck(limits=limits), agents=agents))
    assert finished.outcome is Outcome.OK
    _, second = await answers(bench)
    assert not second[0]
    assert "its turn would come after this attempt's time" in second[1]


async def test_the_brain_decides_and_the_hands_type(bench: Kit) -> None:
    shipped = build_roster(shipped_agents(), {}, {}).agents
    tiers = {"brain": ("anthropic:second",), "hands": ("openai:scripted",)}
    config = RunConfig(deck=deck(tiers=tiers), agents=dict(shipped))
    scout, hands = (act("delegate", agent=name, task="Do it.") for name in ("scout", "implementer"))
    write = Turn(actions=(act("write", path="hello.txt", content="hello\n"),))
    rules = (
        Rule(match=Match(first="Role: debugger"), turns=(Turn(actions=(scout,)), Turn(actions=(hands,)), SUBMIT)),
        Rule(match=Match(first="Role: scout"), turns=(Turn(actions=(act("search", pattern="hello"),)), SUBMIT)),
        Rule(match=Match(first="Role: implementer"), turns=(write, SUBMIT)),
    )
    async with bench.native(scenario(rules=rules), policy=DefaultPolicy()) as wire:
        finished = await wire.work(shipped["debugger"], config=config)
        asked = Counter((request.tag, request.model) for request in wire.server.requests)
    assert finished.outcome is Outcome.OK
    assert await bench.file("hello.txt") == "hello\n"
    assert asked == {
        ("r-test.greet.1", "second"): 3,
        ("r-test.greet.1.sub1", "scripted"): 2,
        ("r-test.greet.1.sub2", "scripted"): 2,
    }
    below = [each for each in await bench.events("r-test.greet.1.sub2") if isinstance(each, ModelAsked)]
    assert {each.model for each in below} == {"openai:scripted"}
    done = [each for each in await bench.events("r-test.greet.1.sub1") if isinstance(each, ToolIntended)]
    assert [each.tool for each in done] == ["search", "submit"]


# --- storms -----------------------------------------------------------------------------------------------


class Movable(SystemClock):
    """The machine's clock, which a test moves on."""

    def __init__(self) -> None:
        self.gone = 0.0

    def wall(self) -> float:
        return super().wall() + self.gone

    def monotonic(self) -> float:
        return super().monotonic() + self.gone


STORM = """
[limits]
attempts = 1
spawn_per_minute = 5
runs_per_hour = 8
agents_at_once = 2
"""


async def until(serving: "asyncio.Task[None]", condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the deck will bring about while it serves."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.wait({serving}, timeout=0.2)
            assert not serving.done()


@pytest.mark.embedded("a deck on PostgreSQL has its server's clock, which a test does not set")
async def test_a_trigger_that_orders_500_runs_starts_no_storm(tmp_path: Path) -> None:
    clock, few = Movable(), asyncio.Semaphore(6)
    with place_at(tmp_path) as place:
        place.begin(deck=STORM)
        async with open_deck(place.settings, clock) as deck:
            order = place.order(task("a", "true"), sandbox="none", into="work")
            first = await deck.create(order)
            like = order.model_copy(update={"config_of": first})

            async def create() -> str:
                async with few:
                    return await deck.create(like)

            runs = [first, *await asyncio.gather(*(create() for _ in range(499)))]

            async def settled(finished: int, waiting: dict[str, int]) -> bool:
                views = await deck.views.runs()
                held = Counter(view.reason.split(" of ")[0] for view in views if view.finished_at is None)
                return sum(view.finished_at is not None for view in views) == finished and held == waiting

            serving = asyncio.create_task(deck.work(first))
            try:
                wait_for = {"8 runs": 492, "5 attempts, reviews and sub-agents": 3}
                await until(serving, lambda: settled(5, wait_for))
                listed = await asyncio.to_thread(place.call, "ps")
                assert "is held: 8 runs of ada in an hour are the most; its turn is at 20" in listed[2]
                assert "and 492 more are held" in listed[2]
                clock.gone += 61
                await deck.journal.commit(also=lambda tx: None)
                await until(serving, lambda: settled(8, {"8 runs": 492}))
                clock.gone += 3600
                await deck.journal.commit(also=lambda tx: None)
                await until(serving, lambda: settled(13, {"8 runs": 484, "5 attempts, reviews and sub-agents": 3}))
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

            records = [record for run in runs for record in await deck.journal.read(ids.run_stream(run))]
            started = sorted(record.at for record in records if isinstance(record.event, TaskDispatched))
            assert len(started) == 13
            assert max(sum(at - 60 < other <= at for other in started) for at in started) == 5
            assert max(sum(at - 3600 < other <= at for other in started) for at in started) == 8
            held = [record.event for record in records if isinstance(record.event, WorkHeld)]
            assert len([each for each in held if each.limit == "runs_per_hour"]) == 492
            assert all(
                "runs of ada in an hour are the most; its turn is at 20" in each.reason
                for each in held
                if each.limit == "runs_per_hour"
            )
            turns = Counter(round(each.until / 3600) for each in held if each.limit == "runs_per_hour")
            assert max(turns.values()) <= 8
            assert len(turns) == 62
            ends = [(await deck.views.run(run)).status for run in runs]
            assert Counter(ends) == {RunStatus.FAILED: 13, RunStatus.RUNNING: 487}
            assert await most_at_once(deck, runs) <= 2


async def most_at_once(deck: Deck, runs: list[str]) -> int:
    """How many agents were alive at the same moment."""
    moves = [
        (record.at, 1 if isinstance(record.event, HarnessStarted) else -1)
        for run in runs
        for record in await deck.journal.read(ids.attempt_stream(f"{run}.a.1"))
        if isinstance(record.event, HarnessStarted | HarnessFinished)
    ]
    alive = most = 0
    for _, move in sorted(moves):
        alive += move
        most = max(most, alive)
    return most


# --- owners and escalation ----------------------------------------------------------------------------------


def worker(name: str, more: str) -> dict[str, str]:
    """A command agent that does what its task says, with more of a definition."""
    text = AGENT.format(name=name, code=json.dumps(SHELL), wall=20)
    return {f".quarterdeck/agents/{name}.md": text.replace("harness: command\n", f"harness: command\n{more}\n")}


async def test_owners_get_their_work_and_what_they_cannot_do_goes_on_to_others(tmp_path: Path) -> None:
    fleet = {**worker("api", "owns: [api/]\nescalates_to: fixer"), **worker("fixer", "escalates_to: human")}
    owned = task("owned", "mkdir -p api; echo 1 > api/one.txt", paths=["api/one.txt"], agent=None)
    beyond = task("beyond", "echo 1 > beyond.txt", paths=["api/two.txt", "beyond.txt"], agent="api")
    stuck = task("stuck", 'case "$FEEDBACK" in *"use a spoon"*) echo 1 > stuck.txt;; *) exit 3;; esac', agent="fixer")
    with place_at(tmp_path) as place:
        place.begin(fleet, deck="[limits]\nattempts = 1\n")
        async with open_deck(place.settings) as deck:
            run = await deck.create(place.order(owned, beyond, stuck))
            await deck.work(run)
            assert (await deck.views.run(run)).status is RunStatus.WAITING
            (wait,) = await deck.views.waits(run)
            stopped = next(row for row in await deck.views.tasks(run) if row.task == "stuck")
            assert stopped.reason == wait.question.partition("\n")[0]
            assert wait.attempt == f"{run}.stuck.1"
            assert "The task stuck (stuck) is not done after 1 attempt by fixer." in wait.question
            assert "ended with exit code 3" in wait.question
            assert f'quarterdeck resume {run} --answer "..."' in wait.question
            code, out, _ = place.call("inbox")
            assert code == 0
            assert "The task stuck (stuck) is not done" in out
            assert f"answer: quarterdeck answer {run}.stuck.1 TEXT" in out
            await deck.control(run, "resume", answer="use a spoon")
            await deck.work(run)
            result = await deck.result(run)
            records = [record.event for record in await deck.journal.read(ids.run_stream(run))]
    given = [(each.task, each.agent, each.why) for each in records if isinstance(each, TaskDispatched)]
    assert ("owned", "api", "owns api/") in given
    why = next(why for name, agent, why in given if (name, agent) == ("beyond", "fixer"))
    assert why == "api escalates: the change is not acceptable: outside of what api owns (api/): beyond.txt"
    assert [agent for name, agent, _ in given if name == "stuck"] == ["fixer", "fixer"]
    planned = next(each for each in records if isinstance(each, RunPlanned))
    assert any("task beyond: `api` owns only a part" in warning for warning in planned.warnings)
    assert result.status is RunStatus.DONE


async def test_a_reviewer_without_a_verdict_gives_way_to_another(tmp_path: Path) -> None:
    mute = REVIEWER.replace("name: critic", "name: mute").replace(
        "expects: review", "expects: review\nescalates_to: critic"
    )
    fleet = {".quarterdeck/agents/mute.md": mute.format(code=json.dumps("print('well')"))}
    with place_at(tmp_path) as place:
        place.begin(fleet, deck='[review]\nagent = "mute"\n')
        async with carried(place, task("a", "echo 1 > a.txt")) as (deck, result):
            assert result.status is RunStatus.DONE
            attempts = {each.attempt: each.agent for each in await deck.views.attempts(result.run)}
    assert attempts[f"{result.run}.a.1.review1"] == "mute"
    assert attempts[f"{result.run}.a.1.review2"] == "critic"


@pytest.mark.parametrize("clashes", [False, True])
async def test_earlier_work_goes_on_or_is_shown_where_it_does_not_merge(tmp_path: Path, *, clashes: bool) -> None:
    with place_at(tmp_path) as place:
        repository = place.begin()
        base = git(repository, "rev-parse", "HEAD")
        earlier = place.commit({"shared.txt": "one\nTWO\nthree\n"})
        git(repository, "checkout", "-q", "-b", "landed", base)
        landed = place.commit({"shared.txt" if clashes else "other.txt": "one\n2\nthree\n"})
        async with open_deck(place.settings) as deck:
            mirror = await deck._parts.workshop.mirror(str(repository))
            for commit in (base, earlier, landed):
                await mirror.fetch(commit)
            tree, shown = await carried_over(mirror, landed, earlier)
            if not clashes:
                assert tree is not None
                assert await mirror.show(tree, "shared.txt", 100) == b"one\nTWO\nthree\n"
                assert shown == ()
                return
    assert tree is None
    (piece,) = shown
    assert (piece.source, "-two\n+TWO" in piece.detail) == ("conflict", True)
