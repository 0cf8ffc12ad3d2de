"""Fleets: whom an agent may delegate to, how fast agents start, who gets what, and who comes next when one fails."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agent_kit import Kit, Still, deck, kit, scenario

from quarterdeck.kernel.config import LimitsSection, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.events import Delegated, Outcome, ToolDone, WorkHeld, WorkReleased
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
