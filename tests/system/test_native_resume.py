"""Killed at any point, the loop goes on exactly where it was: nothing finished is done again, nothing sent changes."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from agent_kit import RUN, Kit, Wire, deck, kit, scenario

from quarterdeck.agents.port import Finished
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.events import (
    EventBase,
    ModelAnswered,
    ModelAsked,
    ModelErred,
    NoteRecorded,
    Outcome,
    ToolDone,
    ToolIntended,
    TranscriptExtended,
)
from quarterdeck.kernel.failures import FailureClass, StaleClaim
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.scenario import Match, Rule, Turn, act

TURNS = (
    Turn(actions=(act("todo", items=["write", "check"]), act("note", text="hello is a file"))),
    Turn(text="I write.", actions=(act("write", path="hello.txt", content="hello\n"), act("read", path="hello.txt"))),
    Turn(actions=(act("edit", path="hello.txt", old="hello", new="hello world"),)),
    Turn(actions=(act("run", command="echo once >> log; cat hello.txt"),)),
    Turn(actions=(act("submit", summary="done"),)),
)
AGENT = Agent(name="implementer", prompt="You implement.")
POINTS = ("model.intended", "model.replied", "tool.intended", "tool.effected")


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the loop may handle it."""


class Trap:
    """Kills at the n-th time that a probe point is reached."""

    def __init__(self, point: str, at: int) -> None:
        self._point = point
        self._left = at

    def __call__(self, name: str) -> None:
        if name == self._point:
            self._left -= 1
            if self._left == 0:
                raise Killed

    @property
    def sprung(self) -> bool:
        return self._left <= 0


@pytest.fixture(autouse=True)
def _no_trap_is_left() -> Iterator[None]:
    yield
    probes.install(None)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path) as made:
        yield made


async def killed_then_resumed(wire: Wire, agent: Agent, trap: Trap, number: int, config: RunConfig) -> Finished:
    probes.install(trap)
    try:
        finished = await wire.work(agent, number, config=config)
        assert not trap.sprung
    except Killed:
        probes.install(None)
        finished = await wire.work(agent, number, config=config)
    finally:
        probes.install(None)
    return finished


def hashes(events: Sequence[EventBase]) -> list[str]:
    """The distinct requests in the order in which they were first sent."""
    return list(dict.fromkeys(event.request_hash for event in events if isinstance(event, ModelAsked)))


@pytest.mark.parametrize("model", ["anthropic:scripted", "openai:scripted"])
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_every_reach_of_a_point(bench: Kit, point: str, model: str) -> None:
    agent = AGENT.model_copy(update={"model": model})
    config = RunConfig(deck=deck())
    script = scenario(*TURNS)
    async with bench.native(script) as wire:
        at = 0
        while True:
            at += 1
            trap = Trap(point, at)
            await bench.sandbox.exec("rm -rf hello.txt log", timeout=10)
            before = len(wire.server.requests)
            # Every try stands in a stream of its own, but is told the same.
            finished = await killed_then_resumed(wire, agent, trap, at, config)
            events = await bench.events(ids.attempt_id(RUN, "greet", at))
            assert finished.outcome is Outcome.OK
            assert await bench.file("hello.txt") == "hello world\n"
            asked = len(wire.server.requests) - before
            _once(events, trap.sprung, point)
            log = await bench.sandbox.exec("cat log", timeout=10)
            unknown = [e for e in events if isinstance(e, ToolDone) and "unknown-outcome" in e.flags]
            assert log.stdout.count(b"once") == (0 if unknown and point == "tool.intended" else 1)
            assert (await bench.money())[1] == 0
            assert asked == len(TURNS) + (trap.sprung and point == "model.replied")
            if not trap.sprung:
                break
        assert at > len(TURNS)


def _once(events: Sequence[EventBase], killed: bool, point: str) -> None:
    """Each call has one intent and one outcome; each step one answer; a repeated request is the same request."""
    intended = [event.call for event in events if isinstance(event, ToolIntended)]
    done = [event.call for event in events if isinstance(event, ToolDone)]
    assert intended == done
    assert len(set(done)) == 7
    assert len([event for event in events if isinstance(event, NoteRecorded)]) == 1
    answered = [event.step for event in events if isinstance(event, ModelAnswered)]
    assert answered == [1, 2, 3, 4, 5]
    assert len(hashes(events)) == 5
    lost = [event for event in events if isinstance(event, ModelErred)]
    assert len(lost) == (killed and point.startswith("model."))
    assert all(event.failure is FailureClass.INFRASTRUCTURE and event.cost_nusd > 0 for event in lost)
    assert [event.why for event in events if isinstance(event, TranscriptExtended)] == ["task"]


async def test_what_was_sent_before_stays_a_prefix(bench: Kit) -> None:
    """The provider's cache sees it: after a resume the next call still reads all that was sent before."""
    agent = AGENT.model_copy(update={"prompt": "You implement. " * 600})
    async with bench.native(scenario(*TURNS)) as wire:
        await killed_then_resumed(wire, agent, Trap("tool.effected", 5), 1, RunConfig(deck=deck()))
        usages = [asked.usage for asked in wire.server.requests]
    assert len(usages) == 5
    assert all(usage.input < 50 for usage in usages[1:])
    assert [usage.cache_read for usage in usages] == sorted(usage.cache_read for usage in usages)
    assert usages[1].cache_read > 2_000


async def test_a_sub_agent_goes_on_where_it_was(bench: Kit) -> None:
    lead = AGENT.model_copy(update={"delegates_to": ("scout",)})
    scout = Agent(name="scout", expects="answer")
    config = RunConfig(deck=deck(), agents={"scout": scout, "implementer": lead})
    look = Turn(actions=(act("run", command="echo looked >> log"),))
    rules = (
        Rule(match=Match(first="Role: scout"), turns=(look, Turn(actions=(act("submit", summary="Seen."),)))),
        Rule(
            match=Match(first="Role: implementer"),
            turns=(Turn(actions=(act("delegate", agent="scout", task="Look."),)), TURNS[-1]),
        ),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await killed_then_resumed(wire, lead, Trap("model.replied", 3), 1, config)
        tags = [asked.tag for asked in wire.server.requests]
    assert finished.outcome is Outcome.OK
    assert tags == ["r-test.greet.1", *["r-test.greet.1.sub1"] * 3, "r-test.greet.1"]
    assert (await bench.file("log")) == "looked\n"
    assert [event.call for event in await bench.events() if isinstance(event, ToolDone)] == ["1.0", "2.0"]


async def test_a_process_that_comes_back_from_the_dead_writes_nothing(bench: Kit) -> None:
    async with bench.native(scenario(*TURNS)) as wire:
        old = await bench.assignment(AGENT)
        await bench.again(old)
        with pytest.raises(StaleClaim):
            await wire.harness.work(old)
        assert len(wire.server.requests) == 0
    assert await bench.events() == []


async def test_a_finished_attempt_is_not_worked_on_again(bench: Kit) -> None:
    async with bench.native(scenario(*TURNS)) as wire:
        first = await wire.work(AGENT)
        events = await bench.events()
        assert await wire.work(AGENT) == first
        assert len(wire.server.requests) == 5
    assert await bench.events() == events


async def cancelled_at(wire: Wire, point: str, at: int, agent: Agent, config: RunConfig) -> None:
    """Work until the n-th reach of a point, and be cancelled right after it."""
    here, left = asyncio.Event(), [at]

    def watch(name: str) -> None:
        left[0] -= name == point
        if not left[0]:
            here.set()

    probes.install(watch)
    working = asyncio.create_task(wire.work(agent, config=config))
    await here.wait()
    probes.install(None)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_cancelled_call_counts_as_spent_and_is_made_anew(bench: Kit) -> None:
    config = RunConfig(deck=deck())
    hanging = scenario(*TURNS, faults=(Fault(kind=Kind.HANG, times=0),))
    async with bench.native(hanging) as wire:
        for times in (1, 2):
            await cancelled_at(wire, "model.intended", 1, AGENT, config)
            events = await bench.events()
            asked = [event for event in events if isinstance(event, ModelAsked)]
            erred = [event for event in events if isinstance(event, ModelErred)]
            assert [event.number for event in asked] == [*range(1, times + 1)]
            assert [event.cost_nusd for event in erred] == [event.reserved_nusd for event in asked]
            assert await bench.money() == (sum(event.cost_nusd for event in erred), 0)
    async with bench.native(scenario(*TURNS)) as wire:
        assert (await wire.work(AGENT, config=config)).outcome is Outcome.OK
    events = await bench.events()
    assert len([event for event in events if isinstance(event, ModelErred)]) == 2
    assert [event.step for event in events if isinstance(event, ModelAnswered)] == [1, 2, 3, 4, 5]
    spent = sum(event.cost_nusd for event in events if isinstance(event, ModelErred | ModelAnswered))
    assert await bench.money() == (spent, 0)


async def test_a_cancelled_sub_agent_leaves_nothing_reserved(bench: Kit) -> None:
    lead = AGENT.model_copy(update={"delegates_to": ("scout",)})
    config = RunConfig(deck=deck(), agents={"scout": Agent(name="scout", expects="answer"), "implementer": lead})
    hang = (Fault(kind=Kind.HANG, times=0),)
    rules = (
        Rule(match=Match(first="Role: scout"), turns=TURNS[-1:], faults=hang),
        Rule(
            match=Match(first="Role: implementer"), turns=(Turn(actions=(act("delegate", agent="scout", task="x"),)),)
        ),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        await cancelled_at(wire, "model.intended", 2, lead, config)
    (erred,) = [event for event in await bench.events(f"{RUN}.greet.1.sub1") if isinstance(event, ModelErred)]
    assert erred.cost_nusd > 0
    assert (await bench.money())[1] == 0


async def test_a_call_under_way_that_another_worker_took_over_is_left_to_it(bench: Kit) -> None:
    async with bench.native(scenario(*TURNS, faults=(Fault(kind=Kind.HANG, times=0),))) as wire:
        asked = asyncio.Event()
        probes.install(lambda name: asked.set() if name == "model.intended" else None)
        old = await bench.assignment(AGENT)
        working = asyncio.create_task(wire.harness.work(old))
        await asked.wait()
        probes.install(None)
        await bench.again(old)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert (await bench.money())[1] > 0
    async with bench.native(scenario(*TURNS)) as wire:
        assert (await wire.work(AGENT)).outcome is Outcome.OK
    assert len([event for event in await bench.events() if isinstance(event, ModelErred)]) == 1
    assert (await bench.money())[1] == 0


async def test_a_call_that_the_end_of_its_run_has_counted_is_not_counted_again(bench: Kit) -> None:
    """The attempt goes on when the run is resumed: a reviewer of work that was kept."""
    probes.install(Trap("model.intended", 1))
    async with bench.native(scenario(*TURNS)) as wire:
        with pytest.raises(Killed):
            await wire.work(AGENT)
        probes.install(None)
        counted = await bench.store.write(lambda tx: bench.treasury.settle_all(tx, f"{RUN}."))
        assert await bench.money() == (counted, 0)
        assert (await wire.work(AGENT)).outcome is Outcome.OK
    answers = [event.cost_nusd for event in await bench.events() if isinstance(event, ModelAnswered)]
    assert await bench.money() == (counted + sum(answers), 0)
    (erred,) = [event for event in await bench.events() if isinstance(event, ModelErred)]
    assert erred.cost_nusd == counted > 0


async def test_a_call_that_is_run_again_is_decided_again(bench: Kit) -> None:
    script = scenario(Turn(actions=(act("write", path="hello.txt", content="x"),)), TURNS[-1])
    probes.install(Trap("tool.intended", 1))
    async with bench.native(script) as wire:
        with pytest.raises(Killed):
            await wire.work(AGENT)
    probes.install(None)
    stricter = DefaultPolicy({"implementer": frozenset({"submit"})})
    async with bench.native(script, policy=stricter) as wire:
        assert (await wire.work(AGENT)).outcome is Outcome.OK
    done = [event for event in await bench.events() if isinstance(event, ToolDone)]
    assert [(event.tool, event.flags) for event in done] == [("write", ("denied",)), ("submit", ("ends",))]
    assert (await bench.sandbox.exec("ls", timeout=10)).stdout == b""
